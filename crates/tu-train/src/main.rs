//! `tu-train`: the command line of TokenUnify. Results go to standard output, everything else to standard error, and
//! the exit code is 0 only if all that was asked for was done.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this program talks to people")]

mod cli;

use std::process::ExitCode;

/// Tensors of tens of megabytes come and go with every operation; the system's allocator gives each back to the kernel and
/// takes fresh pages for the next, which costs a tenth of a training step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
