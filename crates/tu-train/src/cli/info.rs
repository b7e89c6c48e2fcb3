//! `tu-train info`.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde_json::json;
use tu_model::model_file::read_metadata;
use tu_volume::Volume;

use super::inputs::read_file;
use super::report::Report;

/// Describe a model file or a volume
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train info models/tiny-fib25.safetensors
  tu-train info https://host/em.zarr --json")]
pub(super) struct Options {
    /// A model file, or a volume's path or URL
    #[arg(value_name = "MODEL|VOL")]
    input: String,
}

pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let path = Path::new(&options.input);
    if path.is_file() || options.input.ends_with(".safetensors") {
        model(path)
    } else {
        volume(&options.input)
    }
}

fn model(path: &Path) -> anyhow::Result<Report> {
    let bytes = read_file("model", path)?;
    let metadata = read_metadata(&bytes).with_context(|| format!("model {}", path.display()))?;
    let parameters = metadata.architecture.parameter_count();
    let sha256 = tu_model::sha256_hex(&bytes);
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:18}{value}");
    };
    let a = &metadata.architecture;
    line("model", path.display().to_string());
    line("parameters", format!("{parameters} ({} preset)", metadata.preset.as_deref().unwrap_or("no")));
    line("widths", format!("{:?} / {}, {:?} Mamba layers", a.features, a.hidden, a.depths));
    line("output", metadata.channels.join(", "));
    line("trained at", format!("{:?} nm (z, y, x)", metadata.voxel_nm_zyx));
    line("tile", format!("{:?} voxels with a halo of {:?} (z, y, x)", metadata.tile_zyx, metadata.halo_zyx));
    line("fragments", metadata.fragment_method.name().to_owned());
    line("agglomeration", format!("{} below {}", metadata.scoring, metadata.threshold));
    let p = &metadata.provenance;
    line(
        "training data",
        if p.training_data.is_empty() { "not stated".into() } else { p.training_data.join(", ") },
    );
    line("objective", format!("{}, {} steps, seed {}", p.objective, p.steps, p.seed));
    if !p.notes.is_empty() {
        line("notes", p.notes.clone());
    }
    line("licence", if metadata.licence.is_empty() { "not stated".into() } else { metadata.licence.clone() });
    line("file", format!("{} bytes, SHA-256 {sha256}", bytes.len()));
    line(
        "known answer",
        metadata.known_answer.as_ref().map_or_else(
            || "none; tu-train known-answer writes one".to_owned(),
            |known| format!("{} values of the window of seed {}", known.values.len(), known.seed),
        ),
    );
    let json = json!({
        "command": "info", "kind": "model", "input": path.display().to_string(), "parameters": parameters,
        "bytes": bytes.len(), "sha256": sha256, "metadata": metadata,
    });
    Ok(Report::new(text, json))
}

fn volume(url: &str) -> anyhow::Result<Report> {
    let volume = Volume::open(url)?;
    let shape = volume.shape_zyx();
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:18}{value}");
    };
    line("volume", url.to_owned());
    line("format", volume.format().to_owned());
    line("shape", format!("{shape:?} voxels (z, y, x)"));
    if volume.channels() != 1 {
        line("channels", volume.channels().to_string());
    }
    line("type", volume.data_type().name().to_owned());
    let size = volume.voxel_nm_zyx();
    line("voxel size", size.map_or_else(|| "not stated".to_owned(), |nm| format!("{nm:?} nm (z, y, x)")));
    line("voxel offset", format!("{:?} (z, y, x)", volume.voxel_offset_zyx()));
    line("chunks", format!("{:?} voxels (z, y, x)", volume.chunk_zyx()));
    line("scales", volume.scales().to_string());
    let json = json!({
        "command": "info", "kind": "volume", "input": url, "format": volume.format(), "shape_zyx": shape,
        "channels": volume.channels(), "data_type": volume.data_type().name(), "voxel_nm_zyx": size,
        "voxel_offset_zyx": volume.voxel_offset_zyx(), "chunk_zyx": volume.chunk_zyx(), "scales": volume.scales(),
        "attributes": volume.attributes(),
    });
    Ok(Report::new(text, json))
}
