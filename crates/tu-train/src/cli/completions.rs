//! `tu-train completions`.

use clap::CommandFactory;

use super::report::Report;

/// Print a script that completes tu-train's commands and options in a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train completions bash > ~/.local/share/bash-completion/completions/tu-train
  tu-train completions fish > ~/.config/fish/completions/tu-train.fish")]
pub(super) struct Options {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn run(options: &Options) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut super::Cli::command(), "tu-train", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let json =
        serde_json::json!({ "command": "completions", "shell": options.shell.to_string(), "script": script });
    Report::new(script, json)
}
