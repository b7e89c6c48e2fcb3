//! `cargo xtask gpu run`: all stages on this machine, for people who own a GPU.

use super::{Device, pack, report};
use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to run on.
    #[arg(long, value_enum, default_value = "cuda")]
    pub(crate) device: Device,
    /// Stages to run, in this order.
    #[arg(value_parser = ["A", "B", "C"], default_values_t = ["A".to_owned(), "B".to_owned(), "C".to_owned()])]
    pub(crate) stages: Vec<String>,
    /// Where results go [default: runs/gpu].
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// full, or small for a software driver.
    #[arg(long, value_parser = ["full", "small"])]
    pub(crate) sizes: Option<String>,
}

/// Packs and runs; stops at the first stage that fails.
///
/// # Errors
/// Packing or a stage fails.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    // On this machine nothing has to be small.
    let packing =
        pack::Options { device: options.device, out: None, limit_mb: Some(1_000), without_tests: false };
    let kit = pack::run(workspace, &packing)?;
    let out = options.out.clone().unwrap_or_else(|| workspace.path("runs/gpu"));
    for stage in &options.stages {
        let mut command = Command::new("bash");
        command.arg(kit.join("run.sh")).arg(stage).args(["--device", options.device.name()]);
        command.arg("--out").arg(&out).arg("--work").arg(workspace.target("gpu-work"));
        if let Some(sizes) = &options.sizes {
            command.args(["--sizes", sizes]);
        }
        shell::announce(&command);
        let status = command.status()?;
        if !status.success() {
            bail!("stage {stage} ended with {status}; {} says what failed", out.join("report.md").display());
        }
    }
    Ok(())
}

/// Puts what `run` measured last into BENCHMARKS.md.
///
/// # Errors
/// Nothing was measured.
pub(crate) fn into_benchmarks(workspace: &Workspace) -> Result<()> {
    report::into_benchmarks(workspace, &workspace.target("gpu-work/state"))
}
