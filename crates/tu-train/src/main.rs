//! `tu-train`: the command line of TokenUnify. Results go to standard output, everything else to standard error, and
//! the exit code is 0 only if all that was asked for was done.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this program talks to people")]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
