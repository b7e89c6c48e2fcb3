//! `cargo xtask …`: the commands of a newcomer (`demo`, `test`) and of a developer (`check`, `web`, `bench`, `cuda`, `gpu`,
//! `manifest`).
//!
//! Every command says what it is about to run or install before doing so, works from any folder of the repository, and
//! exits with 0 only if all of it succeeded.
#![allow(clippy::print_stdout, reason = "a command line talks to people on standard output")]

mod bench;
mod check;
mod counts;
mod cuda;
mod demo;
mod digest;
mod gpu;
mod http;
mod install;
mod manifest;
mod report;
mod server;
mod shell;
mod test;
mod tools;
mod web;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Commands of the TokenUnify for Neuroglancer repository.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything, make a small synthetic EM volume (or take yours) and open it in Neuroglancer.
    Demo(demo::Options),
    /// Run every test: Rust, WebAssembly in a browser, TypeScript, the whole site in a browser, Python peers.
    Test(test::Options),
    /// Formatting, lints, documentation, types, manifest: everything that needs no test run.
    Check,
    /// Build the WebAssembly module and the site into web/dist.
    Web,
    /// Run the benchmarks and refresh BENCHMARKS.md.
    Bench(bench::Options),
    /// Prepare this machine for building with `--features cuda`, and say what running needs.
    Cuda,
    /// Measure and train on a GPU: here, or with a kit on a machine that has neither cargo nor network.
    #[command(subcommand)]
    Gpu(gpu::Command),
    /// Recompute sizes, hashes and parameters of the models in plugin-manifest/manifest.json.
    Manifest,
}

fn main() -> Result<()> {
    let command = Arguments::parse().command;
    // Some of this runs where there is no repository.
    if let Command::Gpu(command) = &command {
        return gpu::run(command);
    }
    let workspace = workspace::Workspace::find()?;
    match command {
        Command::Demo(options) => demo::run(&workspace, &options),
        Command::Test(options) => test::run(&workspace, &options),
        Command::Check => check::run(&workspace),
        Command::Web => web::run(&workspace).map(drop),
        Command::Bench(options) => bench::run(&workspace, &options),
        Command::Cuda => cuda::run(&workspace),
        Command::Gpu(command) => gpu::run(&command),
        Command::Manifest => manifest::refresh_source(&workspace),
    }
}
