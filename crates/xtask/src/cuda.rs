//! `cargo xtask cuda`: what a machine needs before `cargo build --features cuda` links.
//!
//! The CUDA backend compiles its kernels with LLVM and links it at build time. Its build script fetches a prebuilt LLVM
//! into a folder below `$XDG_DATA_HOME/tracel`. Where that download is not possible, Debian's LLVM 22 stands in: this
//! command installs it, links it into that folder and writes the environment that the build needs. CUDA itself is
//! loaded when the program runs; building needs no CUDA.

use crate::workspace::Workspace;
use crate::{install, shell};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder name that the build script of the CUDA backend looks for.
const BUNDLE: &str = "tracel/tracel-llvm-23.1.0-4";
/// Written by that build script once its download is complete.
const MARKER: &str = ".tracel-llvm-installed";
/// Debian's LLVM and what it links.
const PACKAGES: [&str; 6] =
    ["llvm-22-dev", "libpolly-22-dev", "libzstd-dev", "libz3-dev", "libxml2-dev", "zlib1g-dev"];
const DEBIAN_LLVM: &str = "/usr/lib/llvm-22";

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let data = data_home()?;
    let bundle = data.join(BUNDLE);
    let is_ours = bundle.join("lib").is_symlink();
    if bundle.join(MARKER).is_file() && !is_ours {
        println!("{} is complete: nothing to prepare.", bundle.display());
        print_build(None);
        return Ok(());
    }
    if !cfg!(target_os = "linux") || shell::find_on_path(&["apt-get"]).is_none() {
        println!("This is no Debian: the build fetches its LLVM bundle into {} by itself.", bundle.display());
        print_build(None);
        return Ok(());
    }
    prepare_llvm()?;
    link_bundle(&bundle)?;
    let libraries = link_z3(workspace)?;
    let environment = workspace.target("cuda-env.sh");
    let text = format!(
        "export XDG_DATA_HOME=\"{}\"\nexport LIBRARY_PATH=\"{}${{LIBRARY_PATH:+:$LIBRARY_PATH}}\"\n",
        data.display(),
        libraries.display()
    );
    std::fs::write(&environment, text)?;
    print_build(Some(&environment));
    Ok(())
}

fn data_home() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("XDG_DATA_HOME").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let home = std::env::var_os("HOME").context("neither XDG_DATA_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".local/share"))
}

fn prepare_llvm() -> Result<()> {
    if shell::capture(Command::new("dpkg").arg("--status").args(PACKAGES)).is_ok() {
        println!("Installed already: {}", PACKAGES.join(" "));
        return Ok(());
    }
    let offered = shell::capture(Command::new("apt-cache").args(["policy", "llvm-22-dev"]))?;
    if offered.contains("Candidate: (none)") || offered.trim().is_empty() {
        bail!(
            "this Debian offers no llvm-22-dev (try `apt-get update`; bookworm has it in its security archive). \
             With internet access nothing needs preparing: the build fetches its own LLVM"
        );
    }
    install::apt(&PACKAGES, "LLVM 22, which the CUDA backend links")
}

fn link_bundle(bundle: &Path) -> Result<()> {
    println!("Linking {DEBIAN_LLVM} as {}", bundle.display());
    std::fs::create_dir_all(bundle)?;
    for part in ["bin", "lib", "include"] {
        link(&Path::new(DEBIAN_LLVM).join(part), &bundle.join(part))?;
    }
    std::fs::write(bundle.join(MARKER), "")?;
    Ok(())
}

/// The backend asks the linker for `libz3` by a name with two prefixes (`liblibz3.so`).
fn link_z3(workspace: &Workspace) -> Result<PathBuf> {
    let listing = shell::capture(Command::new("dpkg").args(["-L", "libz3-dev"]))?;
    let library = listing
        .lines()
        .find(|line| line.ends_with("/libz3.so"))
        .context("package libz3-dev has no libz3.so: reinstall it")?;
    let folder = std::path::absolute(workspace.target("cuda-libraries"))?;
    std::fs::create_dir_all(&folder)?;
    link(Path::new(library), &folder.join("liblibz3.so"))?;
    println!("Linked {library} as {}/liblibz3.so", folder.display());
    Ok(folder)
}

#[cfg(unix)]
fn link(original: &Path, link: &Path) -> Result<()> {
    if link.is_symlink() {
        std::fs::remove_file(link)?;
    } else if link.exists() {
        bail!("{} exists and is no link of ours: move it away first", link.display());
    }
    std::os::unix::fs::symlink(original, link).with_context(|| format!("cannot create {}", link.display()))
}

#[cfg(not(unix))]
fn link(_original: &Path, link: &Path) -> Result<()> {
    bail!("cannot link {} on this system", link.display())
}

fn print_build(environment: Option<&Path>) {
    println!("\nBuild with:");
    if let Some(path) = environment {
        println!("  . {}", path.display());
    }
    println!("  cargo build --release -p tu-train --features cuda");
    println!("and run with `--device cuda` on a machine with an NVIDIA driver and CUDA 12 or later.");
    if environment.is_some() {
        println!(
            "This LLVM is not the one that the backend is released with: begin with a small run and compare it with --device cpu."
        );
    }
}
