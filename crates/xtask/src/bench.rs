//! `cargo xtask bench`: runs every benchmark of the workspace and keeps what they print in BENCHMARKS.md.
//!
//! | part | what runs |
//! |---|---|
//! | `native` | cargo examples whose name begins with `bench` or ends in `_speed` or `_time` |
//! | `peers` | PyTorch and waterz beside ours, where tests/python/.venv has them |
//! | `volumes` | `tu-train segment` on real EM, with its peak of memory; crops from disk and over HTTP |
//! | `browser` | kernels, tiles and the demo page in Chromium |
//!
//! With `--device cuda` or `wgpu` stages A and B of the GPU kit run in place of all these and refresh the page's second table.
//!
//! Each prints its own table; nothing is interpreted here, so that what stands in the file is what was measured.

mod browser;
mod peers;
mod volumes;

use crate::workspace::Workspace;
use crate::{gpu, shell};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::Command;

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";
/// Around the table of a GPU.
const GPU: [&str; 2] = ["<!-- gpu: begin -->", "<!-- gpu: end -->"];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only benchmarks whose `part/name` contains this, as in `browser/`, `native/kernel_speed`, and keep the others.
    #[arg(long)]
    only: Option<String>,
    /// Print, but leave BENCHMARKS.md as it is.
    #[arg(long)]
    dry_run: bool,
    /// Measure a GPU instead, with stages A and B of `cargo xtask gpu run`: its table stands for itself.
    #[arg(long, value_enum)]
    device: Option<gpu::Device>,
}

/// One benchmark: `part/name`, and what runs it and returns what it printed.
type Benchmark<'a> = (String, Box<dyn Fn() -> Result<String> + 'a>);

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if let Some(device) = options.device.filter(|device| *device != gpu::Device::Cpu) {
        if options.only.is_some() {
            bail!("--only chooses among the processor's benchmarks: leave it out with --device {device:?}");
        }
        gpu::measure(workspace, device)?;
        return if options.dry_run { Ok(()) } else { gpu::into_benchmarks(workspace) };
    }
    let mut all: Vec<Benchmark<'_>> = examples(workspace)?
        .into_iter()
        .map(|name| -> Benchmark<'_> {
            (format!("native/{name}"), Box::new(move || example(workspace, &name, &[])))
        })
        .collect();
    all.extend(peers::benchmarks(workspace));
    all.extend(volumes::benchmarks(workspace));
    all.extend(browser::benchmarks(workspace));
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let chosen: Vec<_> = all.iter().filter(|(name, _)| wanted(name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        bail!("no benchmark matches; there are {}", names.join(", "));
    }
    build(workspace)?;
    let machine = machine()?;
    let mut measured: Vec<(&str, String)> = Vec::new();
    let mut failed = Vec::new();
    for (name, benchmark) in chosen {
        println!("── {name}");
        let printed = benchmark().unwrap_or_else(|error| {
            println!("{name} failed: {error:#}");
            failed.push(name.as_str());
            format!("failed: {error:#}")
        });
        measured.push((name, format!("### {name}\n\n```text\n{}\n```\n", printed.trim_end())));
    }
    if !failed.is_empty() {
        bail!("BENCHMARKS.md stays as it is: {} failed", failed.join(", "));
    }
    if options.dry_run {
        return Ok(());
    }
    let path = workspace.path("BENCHMARKS.md");
    let page = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut sections = Vec::new();
    if options.only.is_some() {
        sections = kept(&page, &machine)?;
    }
    for (name, text) in measured {
        match sections.iter_mut().find(|(known, _)| known == name) {
            Some(section) => section.1 = text,
            None => sections.push((name.to_owned(), text)),
        }
    }
    let texts: Vec<String> = sections.into_iter().map(|(_, text)| text).collect();
    std::fs::write(&path, replace(&page, [BEGIN, END], &format!("\n{machine}\n\n{}", texts.join("\n")))?)?;
    println!("Refreshed {}", path.display());
    Ok(())
}

/// Builds command line and examples of all packages at once: one by one, each selection would compile the tensor stack anew.
fn build(workspace: &Workspace) -> Result<()> {
    let mut command = shell::cargo();
    command
        .args(["build", "--release", "--workspace", "--exclude", "tu-web", "--bins", "--tests", "--examples"])
        .env("CARGO_INCREMENTAL", "0")
        .current_dir(workspace.root());
    shell::run(&mut command)
}

/// Runs an example that has been built.
fn example(workspace: &Workspace, name: &str, arguments: &[&str]) -> Result<String> {
    let program = workspace.target("release/examples").join(name);
    shell::printed(Command::new(program).args(arguments).current_dir(workspace.root()))
}

/// Names of the examples that measure.
fn examples(workspace: &Workspace) -> Result<Vec<String>> {
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
                found.push(name);
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

/// What is in front of the part between two lines, the part, and what is behind it.
fn parts<'a>(page: &'a str, [begin, end]: [&str; 2]) -> Result<(&'a str, &'a str, &'a str)> {
    let (head, rest) =
        page.split_once(begin).with_context(|| format!("BENCHMARKS.md has no line {begin}"))?;
    let (measured, tail) =
        rest.split_once(end).with_context(|| format!("BENCHMARKS.md has no line {end}"))?;
    Ok((head, measured, tail))
}

fn replace(page: &str, lines: [&str; 2], measured: &str) -> Result<String> {
    let (head, _, tail) = parts(page, lines)?;
    let [begin, end] = lines;
    Ok(format!("{head}{begin}\n{measured}\n{end}{tail}"))
}

/// Puts a text in the place of the GPU's table.
///
/// # Errors
/// BENCHMARKS.md cannot be read or written, or has no such place.
pub(crate) fn write_gpu_part(workspace: &Workspace, text: &str) -> Result<()> {
    let path = workspace.path("BENCHMARKS.md");
    let page = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    std::fs::write(&path, replace(&page, GPU, &format!("\n{text}\n"))?)?;
    println!("Refreshed {}", path.display());
    Ok(())
}

/// The sections that are there, by name; those of another machine are not mixed with this one's.
fn kept(page: &str, machine: &str) -> Result<Vec<(String, String)>> {
    let (_, measured, _) = parts(page, [BEGIN, END])?;
    let mut sections = measured.split("\n### ");
    let found = sections.next().unwrap_or_default().trim();
    if found != machine {
        bail!("BENCHMARKS.md was measured elsewhere ({found}): run all benchmarks, or --dry-run");
    }
    let section = |text: &str| {
        let name = text.lines().next().unwrap_or_default().to_owned();
        (name, format!("### {}\n", text.trim_end()))
    };
    Ok(sections.map(section).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_measured_part_of_the_page_is_replaced() {
        let page = format!("# Title\n\n{BEGIN}\nold\n{END}\n\nNotes\n");
        let new = replace(&page, [BEGIN, END], "new").unwrap();
        assert_eq!(new, format!("# Title\n\n{BEGIN}\nnew\n{END}\n\nNotes\n"));
        assert!(replace("# Title", [BEGIN, END], "new").is_err());
    }

    #[test]
    fn the_page_has_a_place_for_the_table_of_a_gpu() {
        let workspace = Workspace::find().unwrap();
        let page = std::fs::read_to_string(workspace.path("BENCHMARKS.md")).unwrap();
        let (head, _, tail) = parts(&page, GPU).unwrap();
        let new = replace(&page, GPU, "\n| a |\n").unwrap();
        assert!(new.starts_with(head) && new.ends_with(tail) && new.contains("| a |"));
    }

    #[test]
    fn sections_are_found_by_name_and_kept_as_they_are() {
        let page = format!(
            "{BEGIN}\n\nMachine: m.\n\n### a/b\n\n```text\n1\n```\n\n### a/c\n\n```text\n2\n```\n\n{END}\n"
        );
        let sections = kept(&page, "Machine: m.").unwrap();
        let names: Vec<&str> = sections.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a/b", "a/c"]);
        let texts: Vec<String> = sections.into_iter().map(|(_, text)| text).collect();
        assert_eq!(
            replace(&page, [BEGIN, END], &format!("\nMachine: m.\n\n{}", texts.join("\n"))).unwrap(),
            page
        );
        assert!(kept(&page, "Machine: other.").unwrap_err().to_string().contains("elsewhere"));
    }
}
