//! `tu-train import`.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use serde_json::json;
use tu_train::checkpoint::write_file;
use tu_train::import::{ImportError, Origin, PUBLISHED_VOXEL_NM_ZYX, UNKNOWN_LICENCE, import};

use super::Common;
use super::inputs::Triple;
use super::known_answer::sealed;
use super::report::Report;

/// Convert a PyTorch checkpoint of the published EMmamba to a model file
///
/// The file is read without running anything in it. The architecture is told from the shapes of its tensors, and the
/// model computes what the PyTorch network does. The report says which tensors were mapped, missing, unexpected or
/// unfit; if any is missing or unfit, nothing is written.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train import --from official.pth --out model.safetensors
  tu-train import --from official.pth --out model.safetensors --voxel-nm 30,6,6 --licence 'CC BY-NC 4.0' --json
  tu-train info model.safetensors

Checkpoints of pretraining are taken as well: fine-tune from them with tu-train finetune --init.")]
pub(super) struct Options {
    /// The checkpoint, a file of torch.save from PyTorch 1.6 on
    #[arg(long, value_name = "official.pth")]
    from: PathBuf,
    /// The model file; must not exist
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,
    /// Voxel size of the training data in nanometres [default: 35,8,8, that of the published data]
    #[arg(long, value_name = "Z,Y,X")]
    voxel_nm: Option<Triple<f64>>,
    /// Licence of the weights, an SPDX name or a sentence [default: unknown]
    #[arg(long, value_name = "TEXT", default_value = UNKNOWN_LICENCE, hide_default_value = true)]
    licence: String,
}

pub(super) fn run(common: &Common, options: &Options) -> anyhow::Result<Report> {
    let (from, out) = (options.from.display(), options.out.display());
    if let Some(Triple(voxel_nm)) = options.voxel_nm
        && !voxel_nm.iter().all(|nm| nm.is_finite() && *nm > 0.0)
    {
        bail!("--voxel-nm: {voxel_nm:?} is no size: give three positive numbers of nanometres, z,y,x");
    }
    if options.out.exists() {
        bail!("--out {out}: it exists already: remove it or give another path");
    }
    let context = || format!("checkpoint {from}");
    let file = File::open(&options.from).map_err(ImportError::from).with_context(context)?;
    let origin = Origin {
        name: options.from.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        voxel_nm_zyx: options.voxel_nm.map_or(PUBLISHED_VOXEL_NM_ZYX, |nm| nm.0),
        licence: options.licence.clone(),
        notes: match options.voxel_nm {
            Some(_) => String::new(),
            None => "voxel size assumed to be that of the published data".to_owned(),
        },
    };
    let imported = import(BufReader::new(file), &origin).with_context(context)?;
    let report = &imported.report;
    let json = |model| {
        json!({
            "command": "import", "from": from.to_string(), "sha256": imported.sha256, "model": model,
            "voxel_nm_zyx": origin.voxel_nm_zyx, "licence": origin.licence, "report": report,
        })
    };
    let Some(model) = &imported.model else {
        let failure = format!(
            "checkpoint {from}: {} tensors are missing and {} unfit, as the report says: {out} was not written; give a whole checkpoint of EMmamba",
            report.missing.len(),
            report.mismatched.len()
        );
        return Ok(Report::failed(report.to_string(), json(None), failure));
    };
    let model = sealed(model, &options.out, common)?;
    write_file(&options.out, &model).map_err(|e| {
        anyhow!("--out {out}: cannot be written: {e}: check the folder, its permissions and its room")
    })?;
    let mut text = report.to_string();
    if options.voxel_nm.is_none() {
        text += &format!(
            "warning        voxel size {:?} nm (z, y, x) is assumed: give --voxel-nm\n",
            origin.voxel_nm_zyx
        );
    }
    text += &format!("licence        {}\n", origin.licence);
    text += &format!("{out}: {} bytes", model.len());
    Ok(Report::new(text, json(Some(out.to_string()))))
}
