//! `cargo xtask gpu pack`: programs, data and settings in one folder, small enough to be sent along.

use super::{Device, data, kernel_tests, manifest};
use crate::workspace::Workspace;
use crate::{cuda, digest, install, shell};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What the programs are built for; wgpu and cpu are for rehearsals and for other people's GPUs.
    #[arg(long, value_enum, default_value = "cuda")]
    pub(super) device: Device,
    /// Folder of the kit [default: gpu/kit, which git ignores].
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
    /// Largest size of the kit in MB (10⁶ bytes); data is left out as far as that helps [default: 33 for CUDA, 100 otherwise].
    #[arg(long)]
    pub(super) limit_mb: Option<u64>,
    /// Leave the tests of the kernels out; `tu-train selfcheck` remains.
    #[arg(long)]
    pub(super) without_tests: bool,
}

/// What lies beside run.sh in the kit.
const SCRIPTS: [&str; 6] = ["run.sh", "steps.sh", "cuda.sh", "sizes.sh", "facts.sh", "README.md"];
/// Archives, unpacked in this order.
const ARCHIVES: [&str; 2] = ["programs", "data"];
/// Libraries that every Linux has, or that only its driver may bring.
const SYSTEM: [&str; 9] = [
    "linux-vdso",
    "ld-linux",
    "libc.so",
    "libm.so",
    "libdl.so",
    "libpthread.so",
    "librt.so",
    "libgcc_s",
    "libstdc++",
];
/// The Vulkan loader and what NVIDIA's driver expects around it; machines for computing often lack them.
const VULKAN: [&str; 9] = [
    "libvulkan.so.1",
    "libEGL.so.1",
    "libGLX.so.0",
    "libGLdispatch.so.0",
    "libX11.so.6",
    "libXext.so.6",
    "libxcb.so.1",
    "libXau.so.6",
    "libXdmcp.so.6",
];

/// Builds and packs; returns the folder of the kit.
pub(super) fn run(workspace: &Workspace, options: &Options) -> Result<PathBuf> {
    for (program, package) in [("xz", "xz-utils"), ("tar", "tar"), ("strip", "binutils"), ("ldd", "libc-bin")]
    {
        if shell::find_on_path(&[program]).is_none() {
            install::apt(&[package], &format!("{program}, which packs the kit"))?;
        }
    }
    data::folder(workspace)?;
    let built = build(workspace, options)?;
    let stage = workspace.target("gpu-kit");
    if stage.exists() {
        std::fs::remove_dir_all(&stage)?;
    }
    lay_out(workspace, options.device, &built, &stage.join("programs"))?;
    let out = options.out.clone().unwrap_or_else(|| workspace.path("gpu/kit"));
    if out.exists() {
        std::fs::remove_dir_all(&out).with_context(|| format!("cannot replace {}", out.display()))?;
    }
    std::fs::create_dir_all(&out)?;
    for script in SCRIPTS {
        std::fs::copy(workspace.path("gpu").join(script), out.join(script))
            .with_context(|| format!("gpu/{script}"))?;
    }
    archive(&stage.join("programs"), &out.join("programs.tar.xz"), options.device == Device::Cuda)?;
    let limit_mb = options.limit_mb.unwrap_or(if options.device == Device::Cuda { 33 } else { 100 });
    let copy_volume = built.example("copy_volume")?;
    for (i, begin) in data::TRAINING_BEGINS.into_iter().enumerate() {
        data::write(workspace, copy_volume, begin, &stage.join("data"))?;
        let described = manifest::of(workspace, &stage, options.device.name(), begin)?;
        std::fs::write(stage.join("data/MANIFEST.json"), format!("{described:#}\n"))?;
        archive(&stage.join("data"), &out.join("data.tar.xz"), false)?;
        seal(&out)?;
        match check_size(&sizes(&out)?, limit_mb) {
            Ok(bytes) => {
                std::fs::copy(stage.join("data/MANIFEST.json"), out.join("MANIFEST.json"))?;
                println!(
                    "{}: {:.1} MB, training data from z = {begin}. Take it along and call run.sh A there.",
                    out.display(),
                    bytes as f64 / 1e6
                );
                return Ok(out);
            }
            Err(error) if i + 1 == data::TRAINING_BEGINS.len() => return Err(error),
            Err(error) => println!("{error:#}: trying with less training data"),
        }
    }
    bail!("no training data is listed to choose from")
}

/// What cargo made.
struct Built(Vec<(String, String, PathBuf)>);

impl Built {
    fn example(&self, name: &str) -> Result<&Path> {
        let found = self.0.iter().find(|(kind, known, _)| kind == "example" && known == name);
        found.map(|(_, _, path)| path.as_path()).with_context(|| format!("cargo built no example {name}"))
    }
}

/// Command line, examples and tests in one go, so that the tensor stack is compiled once.
fn build(workspace: &Workspace, options: &Options) -> Result<Built> {
    let mut command = shell::cargo();
    command
        .args(["build", "--release", "--locked", "--message-format=json-render-diagnostics"])
        .args(["--package", "tu-train", "--package", "tu-kernels", "--bin", "tu-train"])
        .args(["--example", "network_speed", "--example", "copy_volume", "--example", "kernel_speed"])
        .args(["--features", &features(options.device)])
        .env("CARGO_INCREMENTAL", "0")
        .current_dir(workspace.root());
    if options.device == Device::Cuda {
        command.envs(cuda::environment(workspace)?);
    }
    if !options.without_tests {
        command.args(["--test", kernel_tests(options.device)]);
    }
    shell::announce(&command);
    let output =
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("cargo build ended with {}", output.status);
    }
    Ok(Built(executables(&String::from_utf8_lossy(&output.stdout))))
}

fn features(device: Device) -> String {
    let names = device.features().split(',').filter(|name| !name.is_empty());
    let of_both = names.flat_map(|name| [format!("tu-train/{name}"), format!("tu-kernels/{name}")]);
    of_both.collect::<Vec<_>>().join(",")
}

/// Kind, name and path of the executables among cargo's messages.
fn executables(messages: &str) -> Vec<(String, String, PathBuf)> {
    let of = |message: Value| {
        let target = message.get("target")?;
        let path = message.get("executable")?.as_str()?;
        let kind = target.get("kind")?.get(0)?.as_str()?.to_owned();
        Some((kind, target.get("name")?.as_str()?.to_owned(), PathBuf::from(path)))
    };
    messages.lines().filter_map(|line| of(serde_json::from_str(line).ok()?)).collect()
}

/// Programs without symbols, libraries, model, scripts in Python.
fn lay_out(workspace: &Workspace, device: Device, built: &Built, stage: &Path) -> Result<()> {
    for folder in ["bin", "lib", "models", "python"] {
        std::fs::create_dir_all(stage.join(folder))?;
    }
    let myself = std::env::current_exe().context("this program does not know its own file")?;
    let mut programs = vec![(stage.join("bin/xtask"), myself)];
    for (kind, name, path) in &built.0 {
        match kind.as_str() {
            "test" => programs.push((stage.join("bin/kernel_tests"), path.clone())),
            _ if name == "copy_volume" => {}
            _ => programs.push((stage.join("bin").join(name), path.clone())),
        }
    }
    for (packed, path) in &programs {
        std::fs::copy(path, packed).with_context(|| format!("cannot copy {}", path.display()))?;
        shell::run(Command::new("strip").arg(packed))?;
        for library in needed(packed)? {
            copy_library(&library, stage)?;
        }
    }
    if device != Device::Cpu {
        let known = shell::capture(Command::new("/sbin/ldconfig").arg("-p"))?;
        for name in VULKAN {
            match known
                .lines()
                .find(|line| line.trim_start().starts_with(name))
                .and_then(|line| line.split("=> ").nth(1))
            {
                Some(path) => copy_library(Path::new(path.trim()), stage)?,
                None => println!("{name} is not here: the machine with the GPU has to have it for Vulkan"),
            }
        }
    }
    for file in
        ["models/tiny-fib25.safetensors", "tests/python/torch_speed.py", "tests/python/emmamba_reference.py"]
    {
        let target = if file.starts_with("models/") { "models" } else { "python" };
        let name = Path::new(file).file_name().unwrap_or(OsStr::new(file));
        std::fs::copy(workspace.path(file), stage.join(target).join(name))
            .with_context(|| file.to_owned())?;
    }
    Ok(())
}

/// Shared libraries of a program that not every Linux has.
fn needed(program: &Path) -> Result<Vec<PathBuf>> {
    let listing = shell::capture(Command::new("ldd").arg(program))?;
    if let Some(line) = listing.lines().find(|line| line.contains("not found")) {
        bail!("{}: {}", program.display(), line.trim());
    }
    Ok(unusual(&listing))
}

fn unusual(listing: &str) -> Vec<PathBuf> {
    let paths = listing.lines().filter_map(|line| line.split("=> ").nth(1)?.split_whitespace().next());
    let is_system =
        |path: &str| SYSTEM.iter().any(|name| path.rsplit('/').next().unwrap_or(path).starts_with(name));
    paths.filter(|path| path.starts_with('/') && !is_system(path)).map(PathBuf::from).collect()
}

fn copy_library(path: &Path, stage: &Path) -> Result<()> {
    let name = path.file_name().with_context(|| format!("{} is no file", path.display()))?;
    std::fs::copy(path, stage.join("lib").join(name))
        .with_context(|| format!("cannot copy {}", path.display()))?;
    Ok(())
}

/// A folder as tar and xz, the same bytes for the same files.
fn archive(folder: &Path, target: &Path, smallest: bool) -> Result<()> {
    let tar = folder.with_extension("tar");
    let mut pack = Command::new("tar");
    pack.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-cf"]).arg(&tar);
    shell::run(pack.arg("-C").arg(folder).arg("."))?;
    // Programs that share most of their code lie a hundred megabytes apart: the dictionary reaches that far.
    let level = if smallest { "--lzma2=preset=9e,dict=256MiB" } else { "--lzma2=preset=4" };
    shell::run(Command::new("xz").args(["--force", "--threads=1", level]).arg(&tar))?;
    std::fs::rename(tar.with_extension("tar.xz"), target)
        .with_context(|| format!("cannot write {}", target.display()))
}

/// Hashes of the archives, as `sha256sum -c` reads them.
fn seal(out: &Path) -> Result<()> {
    let mut text = String::new();
    for name in ARCHIVES {
        let file = format!("{name}.tar.xz");
        text += &format!("{}  {file}\n", digest::sha256_hex(&std::fs::read(out.join(&file))?));
    }
    std::fs::write(out.join("kit.sha256"), text)?;
    Ok(())
}

fn sizes(out: &Path) -> Result<Vec<(String, u64)>> {
    let name = |path: &Path| path.strip_prefix(out).unwrap_or(path).display().to_string();
    let of = |path: &PathBuf| Ok((name(path), std::fs::metadata(path)?.len()));
    manifest::files_below(out)?.iter().map(of).collect()
}

/// All bytes, if they are few enough.
fn check_size(files: &[(String, u64)], limit_mb: u64) -> Result<u64> {
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    if bytes <= limit_mb * 1_000_000 {
        return Ok(bytes);
    }
    let mut largest: Vec<&(String, u64)> = files.iter().collect();
    largest.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let listed = largest.iter().take(3).map(|(name, bytes)| format!("{name} {:.1} MB", *bytes as f64 / 1e6));
    bail!(
        "the kit has {:.1} MB and may have {limit_mb} ({}): pack --without-tests, or allow more with --limit-mb",
        bytes as f64 / 1e6,
        listed.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kit_that_is_too_large_names_what_is_large() {
        let files = [("programs.tar.xz".to_owned(), 30_000_000), ("data.tar.xz".to_owned(), 3_000_001)];
        let error = check_size(&files, 33).unwrap_err().to_string();
        assert!(error.contains("programs.tar.xz 30.0 MB") && error.contains("--without-tests"), "{error}");
        assert_eq!(check_size(&files, 34).unwrap(), 33_000_001);
    }

    #[test]
    fn executables_are_read_from_cargo_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"lib\"],\"name\":\"x\"},\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"test\"],\"name\":\"device\"},\"executable\":\"/t/conv-1\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\nnot json\n";
        let found = executables(messages);
        assert_eq!(found, [("test".to_owned(), "device".to_owned(), PathBuf::from("/t/conv-1"))]);
    }

    #[test]
    fn libraries_of_every_system_stay_at_home() {
        let listing = "\tlinux-vdso.so.1 (0x1)\n\tlibzstd.so.1 => /lib/libzstd.so.1 (0x2)\n\tlibc.so.6 => /lib/libc.so.6 (0x3)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x4)\n";
        assert_eq!(unusual(listing), [PathBuf::from("/lib/libzstd.so.1")]);
    }

    #[test]
    fn each_device_has_tests_of_its_own() {
        let workspace = Workspace::find().unwrap();
        for device in [Device::Cpu, Device::Wgpu, Device::Cuda] {
            let program = workspace.path("kernels/tests").join(kernel_tests(device)).join("main.rs");
            assert!(program.is_file(), "{}", program.display());
        }
        assert!(features(Device::Cuda).contains("tu-kernels/cuda,tu-train/wgpu"));
        assert_eq!(features(Device::Cpu), "");
    }
}
