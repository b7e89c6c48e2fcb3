//! `cargo xtask gpu …`: measuring and training on a GPU, here or on a machine without cargo and network.
//!
//! | command | what it does |
//! |---|---|
//! | `pack` | builds everything and packs it into `gpu/kit`, which `gpu/run.sh` runs anywhere |
//! | `run` | packs, and runs all stages on this machine |
//! | `report` | one page from the notes and logs of the stages; `run.sh` calls it after every step |
//! | `verdict` | whether the GPU computes what the processor does, from the same logs |
//!
//! The last two need no repository: the binary of this very program travels with the kit. [gpu/README.md](../../../gpu/README.md) says what
//! the stages do.

mod data;
mod manifest;
mod pack;
mod report;
mod run;
mod state;
mod verdict;

use crate::workspace::Workspace;
use anyhow::Result;
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Build everything that a GPU machine needs and pack it into gpu/kit.
    Pack(pack::Options),
    /// Build and run all stages on this machine.
    Run(run::Options),
    /// Write report.md and results.json from what stages noted.
    Report {
        /// The stages' notes and logs: WORK/state, or state.tar.gz of the results, unpacked.
        #[arg(long)]
        state: PathBuf,
        /// Where the report goes.
        #[arg(long)]
        out: PathBuf,
        /// Put the table of speeds into BENCHMARKS.md as well.
        #[arg(long)]
        benchmarks: bool,
    },
    /// End with 1 if the last self-checks found the GPU further off than rounding explains.
    Verdict {
        /// The stages' notes and logs: WORK/state.
        #[arg(long)]
        state: PathBuf,
    },
}

/// What the programs are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Device {
    /// NVIDIA, with Vulkan on the same card in the same programs.
    Cuda,
    /// Any GPU with a Vulkan driver.
    Wgpu,
    /// The processor: for rehearsals.
    Cpu,
}

impl Device {
    /// Name on the command lines of our programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Cpu => "cpu",
        }
    }

    /// Cargo features of `tu-train` and `tu-kernels`.
    pub(crate) fn features(self) -> &'static str {
        match self {
            Self::Cuda => "cuda,wgpu",
            Self::Wgpu => "wgpu",
            Self::Cpu => "",
        }
    }
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Pack(options) => pack::run(&Workspace::find()?, options).map(drop),
        Command::Run(options) => run::run(&Workspace::find()?, options),
        Command::Report { state, out, benchmarks } => {
            report::write(state, out)?;
            if *benchmarks { report::into_benchmarks(&Workspace::find()?, state) } else { Ok(()) }
        }
        Command::Verdict { state } => verdict::run(state),
    }
}

/// The program with the tests of the kernels on a device.
pub(crate) fn kernel_tests(device: Device) -> &'static str {
    if device == Device::Cpu { "cpu" } else { "device" }
}

/// Stages A and B on this machine.
///
/// # Errors
/// Building or a step fails.
pub(crate) fn measure(workspace: &Workspace, device: Device) -> Result<()> {
    let stages = vec!["A".to_owned(), "B".to_owned()];
    run::run(workspace, &run::Options { device, stages, out: None, sizes: Some("full".to_owned()) })
}

/// Puts what [`measure`] found into BENCHMARKS.md.
///
/// # Errors
/// Nothing was measured, or the page has no place for it.
pub(crate) fn into_benchmarks(workspace: &Workspace) -> Result<()> {
    run::into_benchmarks(workspace)
}
