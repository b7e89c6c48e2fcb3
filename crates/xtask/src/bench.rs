//! `cargo xtask bench`: runs every benchmark of the workspace and keeps what they print in BENCHMARKS.md.
//!
//! A benchmark is a cargo example whose name begins with `bench` or ends in `_speed` or `_time`. It prints its own table; nothing is interpreted here,
//! so that what stands in the file is what was measured.

use crate::server::{Server, Site};
use crate::workspace::Workspace;
use crate::{shell, tools, web};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::Command;

/// The benchmark that is no cargo example, because it runs in a browser.
const BROWSER: &str = "browser: tile_time";
const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only benchmarks whose `package/name` contains this; `browser` is the one in Chromium.
    #[arg(long)]
    only: Option<String>,
    /// Print, but leave BENCHMARKS.md as it is.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only));
    let chosen: Vec<(String, String)> = benchmarks(workspace)?
        .into_iter()
        .filter(|(package, name)| wanted(&format!("{package}/{name}")))
        .collect();
    let in_browser = wanted(BROWSER);
    if chosen.is_empty() && !in_browser {
        bail!("no benchmark matches: a benchmark is a cargo example named bench…, …_speed or …_time");
    }
    let mut measured = format!("\n{}\n", machine()?);
    for (package, name) in chosen {
        let mut command = shell::cargo();
        command
            .args(["run", "--release", "--quiet", "-p", &package, "--example", &name])
            .current_dir(workspace.root());
        measured += &section(&format!("{package}: {name}"), &mut command)?;
    }
    if in_browser {
        measured += &browser(workspace)?;
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

/// What one benchmark prints, as a section of the page.
fn section(title: &str, command: &mut Command) -> Result<String> {
    let mut text = String::new();
    let status = shell::tee(command, |line| {
        text.push_str(line);
        text.push('\n');
    })?;
    if !status.success() {
        bail!("benchmark {title} ended with {status}");
    }
    Ok(format!("\n### {title}\n\n```text\n{}\n```\n", text.trim_end()))
}

/// One tile in Chromium: the same random networks as in tu-model's `tile_time`, through the module of the site.
fn browser(workspace: &Workspace) -> Result<String> {
    const PRESETS: [&str; 2] = ["tiny", "base"];
    let chromium = tools::browser()?.chromium;
    web::install_packages(workspace)?;
    web::build_module(workspace)?;
    let models = workspace.target("bench/models");
    std::fs::create_dir_all(&models)?;
    let mut save = shell::cargo();
    save.args(["run", "--release", "--quiet", "-p", "tu-model", "--example", "tile_time", "--"])
        .args([&PRESETS.join(","), "16,64,64", "4,16,16"])
        .arg(&models)
        .current_dir(workspace.root());
    shell::run(&mut save)?;
    let site = Site::new()
        .with_folder("/wasm/", &workspace.path("web/src/wasm"))?
        .with_folder("/models/", &models)?;
    let server = Server::start(site, 0)?;
    let mut node = Command::new(tools::node()?);
    node.arg(workspace.path("crates/xtask/src/tile_time.mjs"))
        .arg(server.url())
        .args(PRESETS)
        .env("CHROME", chromium)
        .env("TU_WEB", workspace.path("web"));
    section(BROWSER, &mut node)
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
