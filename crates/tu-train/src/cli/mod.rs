//! Commands, their options and what they print.

mod ablate;
mod affinities;
mod agglomerate;
mod calibrate;
mod completions;
mod evaluate;
mod finetune;
mod import;
mod info;
mod inputs;
mod known_answer;
mod phantom;
mod pretrain;
mod probe_rollout;
mod progress;
mod report;
mod run_report;
mod segment;
mod selfcheck;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use report::Report;

const GUIDE: &str = "\
tu-train segments neurons in electron microscopy and trains the network that does it.

Three commands to begin with, on synthetic data, from the top of the repository:

  tu-train phantom  --out phantom.zarr --shape 64,256,256 --voxel-nm 10,10,10
  tu-train segment  --input phantom.zarr/raw --model models/tiny-fib25.safetensors --output segments.zarr
  tu-train evaluate --segmentation segments.zarr --truth phantom.zarr/labels

`tu-train --help` lists all commands, `tu-train COMMAND --help` explains one with examples.";

/// Segment neurons in electron microscopy, and train the network that does it.
///
/// Volumes are paths or URLs as Neuroglancer takes them: zarr 2 and 3, OME-NGFF, precomputed; local or over HTTP.
/// Axes are z, y, x everywhere. Nothing is sent anywhere.
#[derive(Parser)]
#[command(name = "tu-train", version, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Options of every command.
#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
struct Common {
    /// Print one JSON object, last on standard output, in place of text
    #[arg(long, global = true)]
    json: bool,
    /// Show no progress
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Processor threads to use [default: all]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Common {
    fn threads(&self) -> usize {
        self.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
    }

    fn progress(&self) -> progress::Bars {
        progress::Bars::new(!self.quiet)
    }
}

#[derive(Subcommand)]
enum Command {
    Phantom(phantom::Options),
    Pretrain(Box<pretrain::Options>),
    Finetune(Box<finetune::Options>),
    Import(import::Options),
    Affinities(affinities::Options),
    Segment(Box<segment::Options>),
    Agglomerate(agglomerate::Options),
    Evaluate(evaluate::Options),
    Calibrate(calibrate::Options),
    Report(run_report::Options),
    ProbeRollout(Box<probe_rollout::Options>),
    Ablate(Box<ablate::Options>),
    Selfcheck(selfcheck::Options),
    Info(info::Options),
    KnownAnswer(known_answer::Options),
    Completions(completions::Options),
}

/// Reads the command line, runs the command, prints what it came to.
pub(super) fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let Some(command) = command else {
        println!("{GUIDE}");
        return ExitCode::SUCCESS;
    };
    match run(&common, command) {
        Ok(report) => {
            report.print(common.json);
            match report.failure() {
                None => ExitCode::SUCCESS,
                Some(failure) => {
                    eprintln!("error: {failure}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(common: &Common, command: Command) -> anyhow::Result<Report> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(common.threads())
        .build_global()
        .context("threads: the system grants none: close other programs or lower --threads")?;
    dispatch(common, command)
}

/// Runs a command on the threads that there are.
fn dispatch(common: &Common, command: Command) -> anyhow::Result<Report> {
    match command {
        Command::Phantom(options) => phantom::run(&options),
        Command::Pretrain(options) => pretrain::run(common, &options),
        Command::Finetune(options) => finetune::run(common, &options),
        Command::Import(options) => import::run(common, &options),
        Command::Affinities(options) => affinities::run(common, &options),
        Command::Segment(options) => segment::run(common, &options),
        Command::Agglomerate(options) => agglomerate::run(common, &options),
        Command::Evaluate(options) => evaluate::run(common, &options),
        Command::Calibrate(options) => calibrate::run(common, &options),
        Command::Report(options) => run_report::run(&options),
        Command::ProbeRollout(options) => probe_rollout::run(common, &options),
        Command::Ablate(options) => ablate::run(common, &options),
        Command::Selfcheck(options) => selfcheck::run(common, &options),
        Command::Info(options) => info::run(&options),
        Command::KnownAnswer(options) => known_answer::run(common, &options),
        Command::Completions(options) => Ok(completions::run(&options)),
    }
}
