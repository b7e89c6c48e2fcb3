//! `cargo xtask cuda`: what a machine needs before `cargo build --features cuda` links, and before the program runs.
//!
//! Kernels are compiled by NVRTC while the program runs. Building nevertheless needs LLVM, because the CUDA backend contains its
//! other compiler in any case: its build script fetches a prebuilt LLVM into a folder below `$XDG_DATA_HOME/tracel`. Where that
//! download is not possible, Debian's LLVM 22 stands in: this command installs it, links it into that folder and writes the
//! environment that the build needs. Nothing of it is in the programs (`kernels/src/llvm_absent.rs`). The driver and NVRTC are
//! loaded when a program runs; building needs no CUDA.

use crate::workspace::Workspace;
use crate::{install, shell};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
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
/// Version of the driver's interface that is built against: drivers of CUDA 13 and NVRTC of 12.8 or later have what is called of it.
/// Without it the backend takes the version of an `nvcc` on PATH, or the newest that it knows.
const CUDA_VERSION: &str = "13000";

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let bundle = data_home()?.join(BUNDLE);
    if bundle.join(MARKER).is_file() && !is_ours(&bundle) {
        println!("{} is complete: nothing to prepare.", bundle.display());
    } else if !cfg!(target_os = "linux") || shell::find_on_path(&["apt-get"]).is_none() {
        println!("This is no Debian: the build fetches its LLVM bundle into {} by itself.", bundle.display());
    } else {
        prepare_llvm()?;
        link_bundle(&bundle)?;
        link_z3(workspace)?;
    }
    let script = workspace.target("cuda-env.sh");
    let lines: Vec<String> = environment(workspace)?
        .iter()
        .map(|(name, value)| format!("export {name}=\"{}\"\n", value.to_string_lossy()))
        .collect();
    std::fs::write(&script, lines.concat()).with_context(|| format!("cannot write {}", script.display()))?;
    println!("\nBuild with:\n  . {}\n  cargo build --release -p tu-train --features cuda", script.display());
    if is_ours(&bundle) {
        println!(
            "This LLVM is not the one that the backend is released with; nothing of it gets into programs, since NVRTC compiles the kernels."
        );
    }
    println!("\n{}", what_running_needs());
    Ok(())
}

/// Variables that a build with `--features cuda` needs.
///
/// # Errors
/// LLVM has been neither prepared here nor downloaded by an earlier build, and this is a Debian, where preparing works.
pub(crate) fn environment(workspace: &Workspace) -> Result<Vec<(&'static str, OsString)>> {
    let data = data_home()?;
    let bundle = data.join(BUNDLE);
    let mut variables = vec![("CUDARC_CUDA_VERSION", CUDA_VERSION.into()), ("XDG_DATA_HOME", data.into())];
    if is_ours(&bundle) {
        let libraries = libraries(workspace)?;
        if !libraries.join("liblibz3.so").exists() {
            bail!("{} is not prepared: run `cargo xtask cuda` first", libraries.display());
        }
        let others = std::env::var_os("LIBRARY_PATH").unwrap_or_default();
        let all = std::iter::once(libraries)
            .chain(std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty()));
        let path = std::env::join_paths(all)
            .context("a library folder has a character that LIBRARY_PATH cannot hold")?;
        variables.push(("LIBRARY_PATH", path));
    } else if !bundle.join(MARKER).is_file() && shell::find_on_path(&["apt-get"]).is_some() {
        println!(
            "The build will download LLVM into {}; without internet access run `cargo xtask cuda` first.",
            bundle.display()
        );
    }
    Ok(variables)
}

/// Whether the bundle is Debian's LLVM, linked by this command.
fn is_ours(bundle: &Path) -> bool {
    bundle.join("lib").is_symlink()
}

/// What the loader and NVRTC find at run time is no matter of the build, so it is said rather than checked for good.
fn what_running_needs() -> String {
    let library = |name: &str| {
        shell::capture(Command::new("/sbin/ldconfig").arg("-p")).ok().and_then(|known| {
            known.lines().find(|line| line.contains(name)).map(|line| line.trim().to_owned())
        })
    };
    let found =
        |name: &str, remedy: &str| library(name).unwrap_or_else(|| format!("not found here; {remedy}"));
    let headers = ["/usr/local/cuda/include", "/opt/cuda/include"]
        .into_iter()
        .map(PathBuf::from)
        .chain(std::env::var_os("CUDA_PATH").map(|path| PathBuf::from(path).join("include")))
        .find(|folder| folder.join("cuda_fp16.h").is_file());
    format!(
        "To run with `--device cuda` a machine needs\n  an NVIDIA driver of CUDA 12.8 or later (libcuda.so.1): {}\n  \
         NVRTC, not newer than the driver (libnvrtc.so): {}\n  the CUDA headers below CUDA_PATH/include: {}\n\
         gpu/run.sh finds NVRTC and headers in toolkits and in PyTorch's wheels by itself.",
        found("libcuda.so.1", "it comes with the driver"),
        found("libnvrtc.so", "the CUDA toolkit or `pip install nvidia-cuda-nvrtc` has it: add its folder to LD_LIBRARY_PATH"),
        headers.map_or_else(
            || "not found here; the CUDA toolkit or `pip install nvidia-cuda-runtime nvidia-cuda-crt nvidia-cuda-cccl` has them".to_owned(),
            |folder| folder.display().to_string()
        )
    )
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

/// Where the linker finds the name that it is asked for.
fn libraries(workspace: &Workspace) -> Result<PathBuf> {
    Ok(std::path::absolute(workspace.target("cuda-libraries"))?)
}

/// The backend asks the linker for `libz3` by a name with two prefixes (`liblibz3.so`).
fn link_z3(workspace: &Workspace) -> Result<()> {
    let listing = shell::capture(Command::new("dpkg").args(["-L", "libz3-dev"]))?;
    let library = listing
        .lines()
        .find(|line| line.ends_with("/libz3.so"))
        .context("package libz3-dev has no libz3.so: reinstall it")?;
    let folder = libraries(workspace)?;
    std::fs::create_dir_all(&folder)?;
    link(Path::new(library), &folder.join("liblibz3.so"))?;
    println!("Linked {library} as {}/liblibz3.so", folder.display());
    Ok(())
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
