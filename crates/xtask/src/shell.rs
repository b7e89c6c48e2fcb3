//! Running other programs: always shown, always checked.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;

/// `cargo`, the one that runs us, with the variables removed that it set for this very process.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_BIN_NAME" {
            command.env_remove(&name);
        }
    }
    command
}

/// First program of these names on `PATH`.
pub(crate) fn find_on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let suffixes: &[&str] = if cfg!(windows) { &[".exe", ".cmd", ""] } else { &[""] };
    names.iter().find_map(|name| {
        folders.iter().find_map(|folder| {
            suffixes.iter().map(|suffix| folder.join(format!("{name}{suffix}"))).find(|file| file.is_file())
        })
    })
}

/// Runs a program with its output on the terminal; an exit status other than 0 is an error that names the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().with_context(|| not_started(command))?;
    if !status.success() {
        bail!("`{}` ended with {status}", text_of(command));
    }
    Ok(())
}

/// Runs a program and returns what it wrote to standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| not_started(command))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", text_of(command), output.status, reason.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program, shows its output as it comes and hands every line (of both streams) to `on_line`.
pub(crate) fn tee(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<ExitStatus> {
    announce(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| not_started(command))?;
    let (sender, lines) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|stream| forward(stream, sender.clone())),
        child.stderr.take().map(|stream| forward(stream, sender)),
    ];
    for line in lines {
        println!("{line}");
        on_line(&line);
    }
    for reader in readers.into_iter().flatten() {
        // A reader that panicked has lost lines, not the exit status.
        let _ = reader.join();
    }
    child.wait().with_context(|| format!("cannot wait for `{}`", text_of(command)))
}

fn forward(stream: impl Read + Send + 'static, sender: mpsc::Sender<String>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(count) if count > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            if sender.send(line).is_err() {
                return;
            }
            bytes.clear();
        }
    })
}

/// Runs a program, shows its output as it comes and returns it; an exit status other than 0 is an error that names the command.
pub(crate) fn printed(command: &mut Command) -> Result<String> {
    let mut text = String::new();
    let status = tee(command, |line| {
        text.push_str(line);
        text.push('\n');
    })?;
    if !status.success() {
        bail!("{} ended with {status}", text_of(command));
    }
    Ok(text)
}

/// Prints the command as one would type it.
pub(crate) fn announce(command: &Command) {
    println!("$ {}", text_of(command));
}

/// The command as one would type it, without its environment.
pub(crate) fn text_of(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    command.get_args().fold(name, |text, argument| {
        let argument = argument.to_string_lossy();
        if argument.contains([' ', '|', '"']) {
            format!("{text} '{argument}'")
        } else {
            format!("{text} {argument}")
        }
    })
}

fn not_started(command: &Command) -> String {
    format!("cannot start `{}`: is it installed and on PATH?", text_of(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_an_error_that_names_it() {
        let error = run(Command::new("cargo").arg("no-such-command-at-all")).unwrap_err().to_string();
        assert!(error.contains("cargo no-such-command-at-all"), "{error}");
    }

    #[test]
    fn a_missing_program_is_an_error_that_says_what_to_check() {
        let error = capture(&mut Command::new("no-such-program-at-all")).unwrap_err().to_string();
        assert!(error.contains("no-such-program-at-all") && error.contains("PATH"), "{error}");
    }

    #[test]
    fn tee_sees_every_line_of_both_streams() {
        let mut seen = Vec::new();
        let status = tee(Command::new("cargo").arg("--version"), |line| seen.push(line.to_owned())).unwrap();
        assert!(status.success() && seen.iter().any(|line| line.starts_with("cargo ")), "{seen:?}");
    }
}
