//! `tu-train ablate`: the same commands that a person would type, one row after the other.

mod row;
mod table;

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use tu_train::finetune::Modules;
use tu_train::pretrain::Objective;

use super::Common;
use super::inputs::read_file;
use super::report::Report;
use row::{Row, RowResult};

/// Compare what is trained, or what it is pretrained with: one row each, scored on the same validation region
///
/// Every row is a chain of tu-train commands, which are shown and kept with the result. OUT receives a folder for each row and
/// seed, and table.md, table.json and table.svg, written anew after every row. Rows that are finished are not run again,
/// and one that was interrupted goes on.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train ablate modules --init pretrained/model.safetensors --raw em.zarr/raw --labels em.zarr/labels --roi 0:170,:,: --val-roi 180:250,:,: --out modules
  tu-train ablate objectives --data em.zarr/raw --raw em.zarr/raw --labels em.zarr/labels --roi 0:170,:,: --val-roi 180:250,:,: --out objectives
  tu-train ablate objectives --rows none,mae,dbmim,byol,curriculum --seeds 1,2,3 --pretrain-steps 2000 --steps 500 --data em.zarr/raw --raw em.zarr/raw --labels em.zarr/labels --val-roi 180:250,:,: --out comparison

`tu-train ablate modules --help` and `tu-train ablate objectives --help` list all options.")]
pub(super) struct Options {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(clap::Subcommand)]
enum Kind {
    /// Fine-tune different parts of one pretrained network
    Modules(ModuleOptions),
    /// Pretrain with different objectives, then fine-tune alike
    Objectives(ObjectiveOptions),
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train ablate modules --init pretrained/model.safetensors --raw em.zarr/raw --labels em.zarr/labels --roi 0:170,:,: --val-roi 180:250,:,: --out modules
  tu-train ablate modules --rows mamba,all --seeds 1,2,3 --steps 300 --crop 16,64,64 --init m.safetensors --raw em.zarr/raw --labels em.zarr/labels --val-roi 180:250,:,: --out quick")]
struct ModuleOptions {
    /// Pretrained model that every row starts from
    #[arg(long, value_name = "MODEL")]
    init: PathBuf,
    /// Parts that are trained, one row each
    #[arg(
        long,
        value_name = "MODULES,…",
        value_delimiter = ',',
        default_value = "mamba,encoder,decoder,mamba+encoder,all"
    )]
    rows: Vec<String>,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train ablate objectives --data em.zarr/raw --raw em.zarr/raw --labels em.zarr/labels --roi 0:170,:,: --val-roi 180:250,:,: --out objectives
  tu-train ablate objectives --rows none,mae,curriculum --pretrain-steps 300 --pretrain-crop 8,64,64 --steps 300 --crop 8,64,64 --data em.zarr/raw --raw em.zarr/raw --labels em.zarr/labels --val-roi 180:250,:,: --out quick")]
struct ObjectiveOptions {
    /// EM to pretrain on
    #[arg(long, value_name = "VOL", num_args = 1.., required = true)]
    data: Vec<String>,
    /// Objectives, one row each; `none` fine-tunes from random weights
    #[arg(
        long,
        value_name = "OBJECTIVE,…",
        value_delimiter = ',',
        default_value = "random,next,random+next,random+next-all,curriculum"
    )]
    rows: Vec<String>,
    /// Steps of pretraining
    #[arg(long, value_name = "STEPS", default_value_t = 1000)]
    pretrain_steps: u64,
    /// Crop of pretraining in voxels [default: that of its settings]
    #[arg(long, value_name = "Z,Y,X")]
    pretrain_crop: Option<String>,
    /// Settings of pretraining as TOML
    #[arg(long, value_name = "F.toml")]
    pretrain_config: Option<PathBuf>,
    /// tiny, small, base, 100m, 200m, 500m or 1b
    #[arg(long, default_value = "tiny")]
    preset: String,
    #[command(flatten)]
    tuning: Tuning,
}

/// What is the same in all rows.
#[derive(clap::Args)]
struct Tuning {
    /// EM with labels
    #[arg(long, value_name = "VOL")]
    raw: String,
    /// Its labels
    #[arg(long, value_name = "VOL")]
    labels: String,
    /// Region to fine-tune on [default: all of it]
    #[arg(long, value_name = "z0:z1,y0:y1,x0:x1")]
    roi: Option<String>,
    /// Region that chooses the post-processing and that is scored
    #[arg(long, value_name = "z0:z1,y0:y1,x0:x1")]
    val_roi: String,
    /// Folder for rows and table
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// Steps of fine-tuning
    #[arg(long, default_value_t = 1000)]
    steps: u64,
    /// Crop of fine-tuning in voxels [default: that of its settings]
    #[arg(long, value_name = "Z,Y,X")]
    crop: Option<String>,
    /// Settings of fine-tuning as TOML
    #[arg(long, value_name = "F.toml")]
    config: Option<PathBuf>,
    /// Seeds; every row is run once with each
    #[arg(long, value_name = "SEED,…", value_delimiter = ',', default_value = "1")]
    seeds: Vec<u64>,
    /// auto, cpu, cuda or wgpu
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: String,
}

pub(super) fn run(common: &Common, options: &Options) -> anyhow::Result<Report> {
    let (kind, title, tuning, rows) = match &options.kind {
        Kind::Modules(options) => ("modules", "Trained modules", &options.tuning, module_rows(options)?),
        Kind::Objectives(options) => {
            ("objectives", "Pretraining objectives", &options.tuning, objective_rows(options)?)
        }
    };
    let mut results: Vec<RowResult> = Vec::new();
    let mut reused = 0;
    for row in &rows {
        let (result, fresh) = row.run(common, &tuning.device)?;
        reused += usize::from(!fresh);
        results.push(result);
        table::write(&tuning.out, title, &results)?;
    }
    let out = tuning.out.display().to_string();
    let text = format!("{}\n{out}: table.md, table.json, table.svg", table::markdown(title, &results));
    let json = json!({
        "command": "ablate", "kind": kind, "out": out, "rows": table::json(&results), "runs": results.len(),
        "reused_runs": reused,
    });
    Ok(Report::new(text, json))
}

fn module_rows(options: &ModuleOptions) -> anyhow::Result<Vec<Row>> {
    options.rows.iter().try_for_each(|name| Modules::from_str(name).map(|_| ()))?;
    check_rows(&options.rows, &options.tuning)?;
    let inputs = hashes(&[("init", Some(&options.init)), ("config", options.tuning.config.as_ref())])?;
    Ok(each_row(&options.rows, &options.tuning, &inputs, |name, seed, row| {
        row.commands.push(options.tuning.finetune(row, seed, Some(&options.init), name));
    }))
}

fn objective_rows(options: &ObjectiveOptions) -> anyhow::Result<Vec<Row>> {
    for name in options.rows.iter().filter(|name| *name != "none") {
        Objective::from_str(name)?;
    }
    check_rows(&options.rows, &options.tuning)?;
    let (pretraining, tuning) = (options.pretrain_config.as_ref(), options.tuning.config.as_ref());
    let inputs = hashes(&[("pretrain_config", pretraining), ("config", tuning)])?;
    Ok(each_row(&options.rows, &options.tuning, &inputs, |name, seed, row| {
        let pretrained = row.folder.join("pretrained");
        let mut init = None;
        if name != "none" {
            let mut command =
                words(&["pretrain", "--objective", name, "--preset", &options.preset, "--data"]);
            command.extend(options.data.iter().cloned());
            command.extend(words(&[
                "--steps",
                &options.pretrain_steps.to_string(),
                "--seed",
                &seed.to_string(),
            ]));
            push(&mut command, "--config", options.pretrain_config.as_ref().map(|p| p.display().to_string()));
            push(&mut command, "--crop", options.pretrain_crop.clone());
            push(&mut command, "--out", Some(pretrained.display().to_string()));
            command.push("--resume".into());
            row.commands.push(command);
            init = Some(pretrained.join("model.safetensors"));
        }
        let mut command = options.tuning.finetune(row, seed, init.as_deref(), "all");
        if name == "none" {
            command.extend(words(&["--preset", &options.preset]));
        }
        row.commands.push(command);
    }))
}

fn check_rows(names: &[String], tuning: &Tuning) -> anyhow::Result<()> {
    let twice = |list: &[String]| (1..list.len()).any(|i| list[..i].contains(&list[i]));
    let seeds: Vec<String> = tuning.seeds.iter().map(u64::to_string).collect();
    if names.is_empty() || seeds.is_empty() || twice(names) || twice(&seeds) {
        bail!("--rows and --seeds: name at least one of each, and none twice");
    }
    Ok(())
}

/// Hashes of the files that decide a result.
fn hashes(files: &[(&str, Option<&PathBuf>)]) -> anyhow::Result<Map<String, Value>> {
    let mut hashes = Map::new();
    for (name, path) in files {
        if let Some(path) = path {
            let hash = tu_model::sha256_hex(&read_file(name, path)?);
            hashes.insert(format!("{name}_sha256"), hash.into());
        }
    }
    Ok(hashes)
}

/// Rows for all names and seeds, completed by `fill` and by segmenting and scoring the validation region.
fn each_row(
    names: &[String],
    tuning: &Tuning,
    inputs: &Map<String, Value>,
    fill: impl Fn(&str, u64, &mut Row),
) -> Vec<Row> {
    let mut rows = Vec::new();
    for name in names {
        for &seed in &tuning.seeds {
            let folder = tuning.out.join(name).join(format!("seed-{seed}"));
            let mut row = Row { name: name.clone(), seed, folder, inputs: inputs.clone(), commands: vec![] };
            fill(name, seed, &mut row);
            let path = |file: &str| row.folder.join(file).display().to_string();
            let (model, segments) = (path("tuned/model.safetensors"), path("segments.zarr"));
            row.commands.push(words(&[
                "segment",
                "--input",
                &tuning.raw,
                "--model",
                &model,
                "--output",
                &segments,
                "--roi",
                &tuning.val_roi,
                "--resume",
            ]));
            row.commands.push(words(&["evaluate", "--segmentation", &segments, "--truth", &tuning.labels]));
            rows.push(row);
        }
    }
    rows
}

impl Tuning {
    /// The fine-tuning of a row.
    fn finetune(&self, row: &Row, seed: u64, init: Option<&std::path::Path>, modules: &str) -> Vec<String> {
        let mut command = words(&["finetune", "--raw", &self.raw, "--labels", &self.labels]);
        push(&mut command, "--roi", self.roi.clone());
        command.extend(words(&["--val-roi", &self.val_roi, "--modules", modules]));
        push(&mut command, "--init", init.map(|path| path.display().to_string()));
        push(&mut command, "--config", self.config.as_ref().map(|path| path.display().to_string()));
        push(&mut command, "--crop", self.crop.clone());
        command.extend(words(&["--steps", &self.steps.to_string(), "--seed", &seed.to_string()]));
        push(&mut command, "--out", Some(row.folder.join("tuned").display().to_string()));
        command.push("--resume".into());
        command
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn push(command: &mut Vec<String>, option: &str, value: Option<String>) {
    if let Some(value) = value {
        command.extend([option.to_owned(), value]);
    }
}

/// Runs one tu-train command in this process and returns its result.
fn execute(common: &Common, command: &[String]) -> anyhow::Result<Value> {
    use clap::Parser;
    let line = || format!("tu-train {}", command.join(" "));
    let arguments = std::iter::once("tu-train").chain(command.iter().map(String::as_str));
    let parsed = super::Cli::try_parse_from(arguments)
        .map_err(|e| anyhow::anyhow!("{}", e.to_string().trim_end()))
        .with_context(line)?;
    let Some(parsed) = parsed.command else { bail!("{}: no command", line()) };
    let report = super::dispatch(common, parsed).with_context(line)?;
    if let Some(failure) = report.failure() {
        bail!("{}: {failure}", line());
    }
    Ok(report.into_json())
}
