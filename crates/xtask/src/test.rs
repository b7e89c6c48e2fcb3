//! `cargo xtask test`: every test of the repository, in five stages, going on after a failure so that all of it shows.

use crate::counts::Counts;
use crate::report::{Report, Stage};
use crate::server::{Server, Site};
use crate::workspace::Workspace;
use crate::{cuda, gpu, shell, tools, web};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Port of the fixture server, fixed because its address is compiled into the tests that use it.
const FIXTURE_PORT: u16 = 18_975;
/// Programs that compare this code with the ones it follows, in tests/python.
const PEERS: [&str; 3] = ["waterz_peer.py", "skimage_peer.py", "torch_peer.py"];

/// All crates but the one that is compiled for browsers.
const NATIVE: [&str; 4] = ["--release", "--workspace", "--exclude", "tu-web"];

/// What the kernels' tests in a browser are built with.
const KERNEL_FEATURES: [&str; 3] = ["--no-default-features", "--features", "webgpu,flex,autodiff"];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run one part only.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Run the kernels' tests on a GPU of this machine, and nothing else.
    #[arg(long, value_enum, conflicts_with = "only")]
    device: Option<gpu::Device>,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Part {
    /// Native Rust: unit, integration and documentation tests.
    Rust,
    /// Rust compiled to WebAssembly, run in a headless browser.
    Wasm,
    /// TypeScript: format, types, unit tests.
    Web,
    /// The built site in a headless browser.
    Browser,
    /// Comparison with the Python programs of the field.
    Python,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let wanted = |part: Part| options.device.is_none() && options.only.is_none_or(|only| only == part);
    let mut report = Report::default();
    if let Some(device) = options.device {
        stage(&mut report, &format!("kernels on {}", device.name()), || kernels_on(workspace, device));
    }
    if wanted(Part::Rust) {
        stage(&mut report, "rust", || rust(workspace));
        stage(&mut report, "rust documentation", || rust_documentation(workspace));
    }
    if wanted(Part::Wasm) {
        // Serves until the end of this process; the tests have its address compiled in.
        let server = Server::start(fixtures(workspace)?, FIXTURE_PORT)?;
        let url = server.url();
        stage(&mut report, "wasm kernels", || wasm(workspace, &url, "kernels", &KERNEL_FEATURES));
        stage(&mut report, "wasm tu-volume", || wasm(workspace, &url, "crates/tu-volume", &[]));
        stage(&mut report, "wasm tu-web", || wasm(workspace, &url, "crates/tu-web", &[]));
    }
    if wanted(Part::Web) || wanted(Part::Browser) {
        // Both need the module's types; the browser also needs the site.
        stage(&mut report, "web build", || web::run(workspace).map(|_| Outcome::one_passed()));
    }
    if wanted(Part::Web) {
        stage(&mut report, "web format", || npm_script(workspace, "format:check"));
        stage(&mut report, "web types", || npm_script(workspace, "check"));
        stage(&mut report, "web units", || vitest(workspace));
    }
    if wanted(Part::Browser) {
        stage(&mut report, "browser", || playwright(workspace));
    }
    if wanted(Part::Python) {
        for peer in PEERS {
            stage(&mut report, peer, || python(workspace, peer));
        }
    }

    report.print();
    let total = report.total();
    println!("\ntests: {} passed, {} failed, {} skipped\n", total.passed, total.failed, total.skipped);
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// Counts and a remark.
struct Outcome {
    counts: Counts,
    note: String,
}

impl Outcome {
    fn one_passed() -> Self {
        Self { counts: Counts { passed: 1, ..Counts::default() }, note: String::new() }
    }

    /// Fails where a runner ended with an error without having counted a failure, or ran nothing at all.
    fn of_runner(counts: Counts, succeeded: bool, name: &str) -> Result<Self> {
        if !succeeded && counts.failed == 0 {
            bail!("{name} ended with an error after {} passed tests: see above", counts.passed);
        }
        let note = if counts == Counts::default() { "no tests".to_owned() } else { String::new() };
        Ok(Self { counts, note })
    }
}

fn stage(report: &mut Report, name: &str, work: impl FnOnce() -> Result<Outcome>) {
    println!("── {name}");
    let start = Instant::now();
    let outcome = work().unwrap_or_else(|error| {
        println!("{error:#}");
        let first_line = error.to_string().lines().next().unwrap_or_default().to_owned();
        Outcome { counts: Counts { failed: 1, ..Counts::default() }, note: first_line }
    });
    report.add(Stage {
        name: name.to_owned(),
        counts: outcome.counts,
        wall: start.elapsed(),
        note: outcome.note,
    });
}

/// Runs a test runner, adding up the summaries it prints.
fn counted(command: &mut Command, name: &str) -> Result<Outcome> {
    let mut counts = Counts::default();
    let status = shell::tee(command, |line| {
        if let Some(found) = Counts::of_line(line) {
            counts = counts.plus(found);
        }
    })?;
    Outcome::of_runner(counts, status.success(), name)
}

/// cargo without incremental artefacts (a test run is not repeated often enough to earn them back) and with the
/// command line's path for tests that drive it.
fn test_cargo(workspace: &Workspace) -> Command {
    let mut command = shell::cargo();
    command
        .env("CARGO_INCREMENTAL", "0")
        .env("TU_TRAIN", workspace.release_binary("tu-train"))
        .current_dir(workspace.root());
    command
}

/// The command line as tests drive it. Built together with the tests, because what they need of the dependencies counts
/// too: either alone would compile the tensor stack once more.
fn build_binaries(workspace: &Workspace) -> Result<()> {
    shell::run(test_cargo(workspace).arg("build").args(NATIVE).args(["--bins", "--tests"]))
}

fn rust(workspace: &Workspace) -> Result<Outcome> {
    build_binaries(workspace)?;
    let has_nextest = shell::capture(shell::cargo().args(["nextest", "--version"])).is_ok();
    let mut command = test_cargo(workspace);
    if has_nextest {
        command.args(["nextest", "run", "--no-fail-fast"]).args(NATIVE);
    } else {
        println!("cargo-nextest is not installed: using cargo test, which is slower");
        command.args(["test", "--no-fail-fast", "--lib", "--bins", "--tests"]).args(NATIVE);
    }
    counted(&mut command, "the Rust tests")
}

/// The tests of the kernels on a device, all shapes of them; a device that does not open fails them.
fn kernels_on(workspace: &Workspace, device: gpu::Device) -> Result<Outcome> {
    let mut command = test_cargo(workspace);
    command.args(["test", "--release", "--no-fail-fast", "--package", "tu-kernels"]);
    command.args(["--features", device.features()]);
    command.args(["--test", gpu::kernel_tests(device)]);
    command.env("TU_TEST_DEVICE", device.name());
    if device == gpu::Device::Cuda {
        command.envs(cuda::environment(workspace)?).env("TU_TEST_SHAPES", "all");
    }
    counted(&mut command, "the kernels' tests")
}

fn rust_documentation(workspace: &Workspace) -> Result<Outcome> {
    let mut command = test_cargo(workspace);
    command.args(["test", "--doc"]).args(NATIVE);
    counted(&mut command, "the documentation tests")
}

fn wasm(workspace: &Workspace, fixtures: &str, package: &str, arguments: &[&str]) -> Result<Outcome> {
    let mut command = wasm_pack(workspace, package, arguments)?;
    command.args(targets(&workspace.path(package))?).env("TU_TEST_HTTP", fixtures);
    counted(&mut command, "wasm-pack test")
}

/// `wasm-pack test` of a package in headless Chromium, without the choice of its tests.
fn wasm_pack(workspace: &Workspace, package: &str, arguments: &[&str]) -> Result<Command> {
    tools::wasm_target()?;
    let browser = tools::browser()?;
    let wasm_pack = tools::wasm_pack(workspace)?;
    let wasm_bindgen = tools::wasm_bindgen(workspace)?;
    let mut command = Command::new(wasm_pack.join("wasm-pack"));
    command
        // The profile of the site's module, so that the dependencies are compiled once for both.
        .args(["test", "--headless", "--chrome", "--mode", "no-install", package, "--profile", "wasm"])
        .args(arguments)
        .env("PATH", tools::path_with(&[wasm_bindgen, wasm_pack])?)
        .env("CHROMEDRIVER", browser.chromedriver)
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300")
        .env("CARGO_INCREMENTAL", "0")
        .current_dir(workspace.root());
    Ok(command)
}

/// The table of kernel times in a browser, as its measuring test prints it.
pub(crate) fn browser_kernel_speed(workspace: &Workspace) -> Result<String> {
    let mut command = wasm_pack(workspace, "kernels", &KERNEL_FEATURES)?;
    command
        .args(["--test", "browser_speed", "--", "--include-ignored", "--nocapture"])
        .env("WASM_BINDGEN_TEST_TIMEOUT", "1800");
    let printed = shell::printed(&mut command)?;
    let from = printed
        .find("WebAssembly, ")
        .with_context(|| format!("the measuring test printed no table: {printed}"))?;
    let table = printed[from..]
        .lines()
        .map(str::trim_end)
        .take_while(|line| !line.is_empty() && !line.starts_with("test "));
    Ok(table.collect::<Vec<_>>().join("\n"))
}

/// The library and every integration test of a package by name: all but its documentation tests, which the runner for
/// browsers does not know.
fn targets(package: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if package.join("tests").is_dir() {
        for entry in std::fs::read_dir(package.join("tests"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            }
        }
    }
    names.sort();
    let tests = names.into_iter().flat_map(|name| ["--test".to_owned(), name]);
    Ok(std::iter::once("--lib".to_owned()).chain(tests).collect())
}

/// What tests in a browser fetch: the checked-in fixtures of tu-volume, and under /fixtures/ those that crates share.
fn fixtures(workspace: &Workspace) -> Result<Site> {
    Site::new()
        .with_folder("/fixtures/", &workspace.path("tests/fixtures"))?
        .with_folder("/", &workspace.path("crates/tu-volume/tests/fixtures"))
}

fn npm_script(workspace: &Workspace, script: &str) -> Result<Outcome> {
    let npm = web::install_packages(workspace)?;
    shell::run(Command::new(npm).args(["run", script]).current_dir(workspace.path("web")))?;
    Ok(Outcome::one_passed())
}

fn vitest(workspace: &Workspace) -> Result<Outcome> {
    let report = workspace.target("test-reports/vitest.json");
    let output = format!("--outputFile.json={}", report.display());
    let mut command = npx(workspace, &["vitest", "run", "--reporter=default", "--reporter=json", &output])?;
    with_report(&mut command, &report, Counts::of_vitest, "vitest")
}

fn playwright(workspace: &Workspace) -> Result<Outcome> {
    let browser = tools::browser()?;
    build_binaries(workspace)?;
    let report = workspace.target("test-reports/playwright.json");
    let mut command = npx(workspace, &["playwright", "test", "--reporter=list,json"])?;
    command
        .env("PLAYWRIGHT_JSON_OUTPUT_NAME", &report)
        .env("PLAYWRIGHT_JSON_OUTPUT_FILE", &report)
        .env("CHROME", browser.chromium)
        .env("TU_SITE_DIR", web::site(workspace))
        .env("TU_TRAIN", workspace.release_binary("tu-train"));
    with_report(&mut command, &report, Counts::of_playwright, "playwright")
}

fn npx(workspace: &Workspace, arguments: &[&str]) -> Result<Command> {
    let npm = web::install_packages(workspace)?;
    let mut command = Command::new(npm);
    // `npm exec` is npx, and comes with every npm.
    command.args(["exec", "--no", "--"]).args(arguments).current_dir(workspace.path("web"));
    Ok(command)
}

/// Runs a runner that writes a JSON report and takes the counts from there.
fn with_report(
    command: &mut Command,
    report: &Path,
    read: fn(&Value) -> Option<Counts>,
    name: &str,
) -> Result<Outcome> {
    if let Some(folder) = report.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if report.exists() {
        std::fs::remove_file(report)?;
    }
    let status = shell::tee(command, |_| ())?;
    let text = std::fs::read_to_string(report)
        .with_context(|| format!("{name} ended with {status} and wrote no report {}", report.display()))?;
    let counts = read(&serde_json::from_str(&text)?)
        .with_context(|| format!("{name} wrote a report without counts"))?;
    Outcome::of_runner(counts, status.success(), name)
}

fn python(workspace: &Workspace, peer: &str) -> Result<Outcome> {
    let Some(interpreter) = workspace.peers_python() else {
        println!(
            "SKIPPED {peer}: tests/python/.venv is absent; make it with `bash tests/python/make_env.sh`"
        );
        let counts = Counts { skipped: 1, ..Counts::default() };
        return Ok(Outcome {
            counts,
            note: "SKIPPED: no tests/python/.venv (tests/python/make_env.sh makes it)".to_owned(),
        });
    };
    if !workspace.release_binary("tu-train").is_file() {
        build_binaries(workspace)?;
    }
    let mut command = Command::new(interpreter);
    command
        .arg(workspace.path("tests/python").join(peer))
        .env("TU_TRAIN", workspace.release_binary("tu-train"))
        .current_dir(workspace.root());
    let outcome = counted(&mut command, peer)?;
    Ok(if outcome.counts == Counts::default() { Outcome::one_passed() } else { outcome })
}
