//! `cargo xtask bench`: runs every benchmark of the workspace and keeps what they print in BENCHMARKS.md.
//!
//! A benchmark is a cargo example whose name begins with `bench` or ends in `_speed` or `_time`. It prints its own table; nothing is interpreted here,
//! so that what stands in the file is what was measured.

use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::Command;

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only benchmarks whose `package/name` contains this.
    #[arg(long)]
    only: Option<String>,
    /// Print, but leave BENCHMARKS.md as it is.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let chosen: Vec<(String, String)> = benchmarks(workspace)?
        .into_iter()
        .filter(|(package, name)| {
            options.only.as_ref().is_none_or(|only| format!("{package}/{name}").contains(only))
        })
        .collect();
    if chosen.is_empty() {
        bail!("no benchmark matches: a benchmark is a cargo example named bench…, …_speed or …_time");
    }
    let mut measured = format!("\n{}\n", machine()?);
    for (package, name) in chosen {
        let mut text = String::new();
        let mut command = shell::cargo();
        command
            .args(["run", "--release", "--quiet", "-p", &package, "--example", &name])
            .current_dir(workspace.root());
        let status = shell::tee(&mut command, |line| {
            text.push_str(line);
            text.push('\n');
        })?;
        if !status.success() {
            bail!("benchmark {package}/{name} ended with {status}");
        }
        measured += &format!("\n### {package}: {name}\n\n```text\n{}\n```\n", text.trim_end());
    }
    if options.dry_run {
        return Ok(());
    }
    let path = workspace.path("BENCHMARKS.md");
    let page = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    std::fs::write(&path, replace(&page, &measured)?)?;
    println!("Refreshed {}", path.display());
    Ok(())
}

fn benchmarks(workspace: &Workspace) -> Result<Vec<(String, String)>> {
    let mut command = shell::cargo();
    command.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(workspace.root());
    let metadata: Value = serde_json::from_str(&shell::capture(&mut command)?)?;
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for package in list(&metadata, "packages") {
        for target in list(&package, "targets") {
            let is_example = list(&target, "kind").iter().any(|kind| kind == "example");
            let name = text(&target, "name");
            if is_example
                && (name.starts_with("bench") || name.ends_with("_speed") || name.ends_with("_time"))
            {
                found.push((text(&package, "name"), name));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// One line: processor, cores that may be used, system, compiler.
fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let model = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            text.lines()
                .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()))
        })
        .or_else(|| shell::capture(Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"])).ok())
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let compiler = shell::capture(Command::new("rustc").arg("--version"))?;
    Ok(format!("Machine: {}, {cores} cores, {}, {}.", model.trim(), std::env::consts::OS, compiler.trim()))
}

fn replace(page: &str, measured: &str) -> Result<String> {
    let (head, rest) =
        page.split_once(BEGIN).with_context(|| format!("BENCHMARKS.md has no line {BEGIN}"))?;
    let (_, tail) = rest.split_once(END).with_context(|| format!("BENCHMARKS.md has no line {END}"))?;
    Ok(format!("{head}{BEGIN}\n{measured}\n{END}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_measured_part_of_the_page_is_replaced() {
        let page = format!("# Title\n\n{BEGIN}\nold\n{END}\n\nNotes\n");
        let new = replace(&page, "new").unwrap();
        assert_eq!(new, format!("# Title\n\n{BEGIN}\nnew\n{END}\n\nNotes\n"));
        assert!(replace("# Title", "new").is_err());
    }
}
