//! Installing what is missing: each function first says what it installs, where to and why.

use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// Installs Debian packages as root; elsewhere the error says what to install.
pub(crate) fn apt(packages: &[&str], why: &str) -> Result<()> {
    let list = packages.join(" ");
    let Some(apt) = shell::find_on_path(&["apt-get"]) else {
        bail!("missing: {why}. Install them with your system's package manager (Debian calls them: {list})");
    };
    if !is_root() {
        bail!("missing: {why}. Run `sudo apt-get install {list}` and try again");
    }
    println!("Installing Debian packages ({why}): {list}");
    let mut update = Command::new(&apt);
    update.args(["update", "--quiet"]).env("DEBIAN_FRONTEND", "noninteractive");
    shell::run(&mut update)?;
    let mut install = Command::new(&apt);
    install.args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(packages);
    shell::run(install.env("DEBIAN_FRONTEND", "noninteractive"))
}

/// A Rust program that cargo installs.
pub(crate) struct Program<'p> {
    pub(crate) package: &'p str,
    pub(crate) version: &'p str,
    /// Whether with the versions of dependencies that it was released with.
    pub(crate) locked: bool,
    /// 0 for one that only calls others: building it quickly is worth more than building it well.
    pub(crate) opt_level: u8,
}

/// Installs a Rust program below the target folder.
pub(crate) fn cargo(workspace: &Workspace, program: &Program<'_>) -> Result<()> {
    let Program { package, version, locked, opt_level } = program;
    let root = workspace.tools();
    println!("Installing {package} {version} into {} (a few minutes, once)", root.display());
    let mut command = shell::cargo();
    command.args(["install", package, "--version", version, "--force", "--root"]).arg(&root);
    if *locked {
        command.arg("--locked");
    }
    // Built apart from the workspace, so that neither its settings nor its artefacts mix with ours.
    command.env("CARGO_TARGET_DIR", root.join("build")).current_dir(std::env::temp_dir());
    let opt_level = opt_level.to_string();
    for (setting, value) in
        [("OPT_LEVEL", opt_level.as_str()), ("LTO", "off"), ("CODEGEN_UNITS", "16"), ("DEBUG", "0")]
    {
        command.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    shell::run(&mut command)
}

/// Installs an npm package below `prefix`.
pub(crate) fn npm(npm: &Path, prefix: &Path, package: &str, why: &str) -> Result<()> {
    println!("Installing npm package {package} ({why}) into {}", prefix.display());
    std::fs::create_dir_all(prefix)?;
    let mut command = Command::new(npm);
    command.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(prefix).arg(package);
    shell::run(&mut command)
}

/// Whether this process may install system packages.
pub(crate) fn is_root() -> bool {
    cfg!(unix)
        && shell::capture(Command::new("id").arg("-u")).is_ok_and(|identifier| identifier.trim() == "0")
}
