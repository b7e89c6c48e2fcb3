//! Finding the programs that the commands need, with the installation in [`crate::install`] as the fallback.

use crate::install;
use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lowest Node.js major version that the web build is used with.
const NODE_MAJOR: u32 = 20;
/// wasm-pack that the browser tests were written against.
const WASM_PACK: &str = "0.15.1";

/// `npm`, after checking that Node.js is recent enough.
pub(crate) fn npm() -> Result<PathBuf> {
    let Some(node) = shell::find_on_path(&["node", "nodejs"]) else {
        bail!("Node.js is not on PATH: install version {NODE_MAJOR} or later from https://nodejs.org");
    };
    let version = shell::capture(Command::new(&node).arg("--version"))?;
    let major =
        major_of(&version).with_context(|| format!("`node --version` printed {:?}", version.trim()))?;
    if major < NODE_MAJOR {
        bail!(
            "Node.js {} is too old: install version {NODE_MAJOR} or later from https://nodejs.org",
            version.trim()
        );
    }
    shell::find_on_path(&["npm"])
        .with_context(|| format!("{} has no npm beside it: install npm", node.display()))
}

/// `node` itself.
pub(crate) fn node() -> Result<PathBuf> {
    npm()?;
    shell::find_on_path(&["node", "nodejs"]).context("Node.js is not on PATH")
}

fn major_of(version: &str) -> Option<u32> {
    version.trim().trim_start_matches('v').split('.').next()?.parse().ok()
}

/// A Chromium or Chrome and its driver.
pub(crate) struct Browser {
    pub(crate) chromium: PathBuf,
    pub(crate) chromedriver: PathBuf,
}

/// Finds the browser (`CHROME` and `CHROMEDRIVER` override), on Debian as root installs it.
pub(crate) fn browser() -> Result<Browser> {
    if let Some(found) = find_browser() {
        return Ok(found);
    }
    install::apt(&["chromium", "chromium-driver"], "Chromium and its driver, for tests in a real browser")?;
    find_browser().context("chromium and chromedriver are not on PATH after their installation")
}

fn find_browser() -> Option<Browser> {
    const CHROMIUM: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    const MAC: &str = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
    let mac = || Some(PathBuf::from(MAC)).filter(|path| path.is_file());
    let chromium = from_variable("CHROME").or_else(|| shell::find_on_path(&CHROMIUM)).or_else(mac)?;
    let chromedriver = from_variable("CHROMEDRIVER").or_else(|| shell::find_on_path(&["chromedriver"]))?;
    Some(Browser { chromium, chromedriver })
}

fn from_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_file())
}

/// Adds the wasm32 target to the toolchain where rustup knows it to be missing.
pub(crate) fn wasm_target() -> Result<()> {
    let Some(rustup) = shell::find_on_path(&["rustup"]) else {
        println!("rustup is not on PATH: assuming that rustc already has the target wasm32-unknown-unknown");
        return Ok(());
    };
    let installed = shell::capture(Command::new(&rustup).args(["target", "list", "--installed"]))?;
    if installed.lines().any(|line| line.trim() == "wasm32-unknown-unknown") {
        return Ok(());
    }
    shell::run(Command::new(rustup).args(["target", "add", "wasm32-unknown-unknown"]))
}

/// `wasm-bindgen` in exactly the version of `Cargo.lock` (any other refuses the module); returns the folder that
/// also holds `wasm-bindgen-test-runner`.
pub(crate) fn wasm_bindgen(workspace: &Workspace) -> Result<PathBuf> {
    let version = workspace.locked_version("wasm-bindgen")?;
    let program =
        install::Program { package: "wasm-bindgen-cli", version: &version, locked: false, opt_level: 1 };
    cargo_tool(workspace, "wasm-bindgen", &program)
}

/// `wasm-pack`, which runs the tests of wasm crates in a browser; returns its folder.
pub(crate) fn wasm_pack(workspace: &Workspace) -> Result<PathBuf> {
    let program = install::Program { package: "wasm-pack", version: WASM_PACK, locked: true, opt_level: 0 };
    cargo_tool(workspace, "wasm-pack", &program)
}

fn cargo_tool(workspace: &Workspace, name: &str, program: &install::Program<'_>) -> Result<PathBuf> {
    let own = workspace.tools().join("bin").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let candidates = [Some(own.clone()).filter(|path| path.is_file()), shell::find_on_path(&[name])];
    let right = candidates.into_iter().flatten().find(|path| has_version(path, program.version));
    let chosen = match right {
        Some(path) => path,
        None => {
            install::cargo(workspace, program)?;
            own
        }
    };
    Ok(chosen.parent().unwrap_or(Path::new(".")).to_path_buf())
}

fn has_version(program: &Path, version: &str) -> bool {
    shell::capture(Command::new(program).arg("--version"))
        .is_ok_and(|text| text.split_whitespace().any(|word| word == version))
}

/// `wasm-opt` of binaryen 132: older ones (Debian's 108) write modules that Chromium rejects.
pub(crate) fn wasm_opt(workspace: &Workspace) -> Result<PathBuf> {
    const BINARYEN: &str = "132";
    if let Some(found) = shell::find_on_path(&["wasm-opt"]).filter(|path| has_version(path, BINARYEN)) {
        return Ok(found);
    }
    let prefix = workspace.tools().join("npm");
    let program =
        prefix.join("node_modules/.bin").join(if cfg!(windows) { "wasm-opt.cmd" } else { "wasm-opt" });
    if !program.exists() {
        install::npm(
            &npm()?,
            &prefix,
            &format!("binaryen@{BINARYEN}.0.0"),
            "wasm-opt, which shrinks the module",
        )?;
    }
    Ok(program)
}

/// `PATH` with these folders in front.
pub(crate) fn path_with(folders: &[PathBuf]) -> Result<std::ffi::OsString> {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let all = folders.iter().cloned().chain(std::env::split_paths(&rest));
    std::env::join_paths(all).context("a tool folder has a character that PATH cannot hold")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_node_is_understood() {
        assert_eq!(major_of("v20.20.2\n"), Some(20));
        assert_eq!(major_of("not node"), None);
    }
}
