//! `cargo xtask web`: the WebAssembly module and the site.
//!
//! cargo (wasm32, profile `wasm`) → wasm-bindgen → wasm-opt → web/src/wasm → Vite → web/dist, plus the plugin manifest
//! and the models.

use crate::workspace::Workspace;
use crate::{digest, manifest, shell, tools};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Most that the module may weigh as it travels (gzip), in bytes.
const GZIP_BUDGET: usize = 6_000_000;

/// What browsers of the supported versions can load; `--all-features` writes modules that Chromium rejects. Higher levels take
/// ten times as long on this module and save a few per cent, since LLVM has optimised it already.
const WASM_OPT: [&str; 9] = [
    "-O1",
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-reference-types",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-multivalue",
    "--enable-simd",
];

/// Builds module and site into web/dist; returns a line about the module's size.
pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let size = build_module(workspace)?;
    build_site(workspace)?;
    Ok(size)
}

/// The folder of the built site.
pub(crate) fn site(workspace: &Workspace) -> PathBuf {
    workspace.path("web/dist")
}

/// Builds web/src/wasm from crates/tu-web; returns a line about its size.
pub(crate) fn build_module(workspace: &Workspace) -> Result<String> {
    tools::wasm_target()?;
    let wasm_bindgen = tools::wasm_bindgen(workspace)?;
    let wasm_opt = tools::wasm_opt(workspace)?;

    let mut build = shell::cargo();
    build
        .args(["build", "--profile", "wasm", "--target", "wasm32-unknown-unknown", "-p", "tu-web"])
        .current_dir(workspace.root());
    shell::run(&mut build)?;

    let input = workspace.target("wasm32-unknown-unknown/wasm/tu_web.wasm");
    let bytes = std::fs::read(&input).with_context(|| format!("cannot read {}", input.display()))?;
    let output = workspace.path("web/src/wasm");
    let module = output.join("tu_web_bg.wasm");
    let stamp = output.join(".built-from");
    let fingerprint = format!("{} {}", workspace.locked_version("wasm-bindgen")?, digest::sha256_hex(&bytes));
    if module.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|text| text == fingerprint) {
        println!("web/src/wasm is up to date");
    } else {
        let mut bindgen = Command::new(wasm_bindgen.join("wasm-bindgen"));
        bindgen.args(["--target", "web", "--remove-name-section", "--remove-producers-section"]);
        bindgen.args(["--out-name", "tu_web", "--out-dir"]).arg(&output).arg(&input);
        shell::run(&mut bindgen)?;
        // Written aside and renamed: an interrupted run must not leave half a module behind.
        let smaller = output.join("tu_web_bg.opt");
        shell::run(Command::new(wasm_opt).args(WASM_OPT).arg(&module).arg("-o").arg(&smaller))?;
        std::fs::rename(&smaller, &module)?;
        std::fs::write(&stamp, fingerprint)?;
    }
    check_size(&module)
}

fn check_size(module: &Path) -> Result<String> {
    let bytes = std::fs::read(module)?;
    let gzip = digest::gzip_size(&bytes)?;
    let text = format!("WebAssembly module: {} bytes, {gzip} with gzip (budget {GZIP_BUDGET})", bytes.len());
    println!("{text}");
    if gzip > GZIP_BUDGET {
        bail!("the WebAssembly module weighs {gzip} bytes with gzip; at most {GZIP_BUDGET} are allowed");
    }
    Ok(text)
}

/// Installs the site's npm packages where the lock file is newer than what is installed.
pub(crate) fn install_packages(workspace: &Workspace) -> Result<PathBuf> {
    let npm = tools::npm()?;
    let modified =
        |path: &str| std::fs::metadata(workspace.path(path)).and_then(|metadata| metadata.modified()).ok();
    let installed = modified("web/node_modules/.package-lock.json");
    if installed.is_none() || installed < modified("web/package-lock.json") {
        println!("Installing the npm packages of web/ into web/node_modules");
        let mut install = Command::new(&npm);
        install.args(["ci", "--no-audit", "--no-fund"]).current_dir(workspace.path("web"));
        // Browsers come from the system; Playwright must not fetch its own.
        shell::run(install.env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1"))?;
    }
    Ok(npm)
}

fn build_site(workspace: &Workspace) -> Result<()> {
    let npm = install_packages(workspace)?;
    shell::run(Command::new(npm).args(["run", "build"]).current_dir(workspace.path("web")))?;
    let site = site(workspace);
    let module = find_module(&site)?;
    manifest::write_site_copy(workspace, &site, &module)?;
    copy_models(workspace, &site)?;
    println!("Site: {}", site.display());
    Ok(())
}

fn find_module(site: &Path) -> Result<PathBuf> {
    let mut folders = vec![site.to_path_buf()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with("tu_web_bg") && name.ends_with(".wasm") {
                found.push(path);
            }
        }
    }
    match found.as_slice() {
        [only] => Ok(only.clone()),
        _ => bail!("{} holds {} modules tu_web_bg*.wasm, expected one", site.display(), found.len()),
    }
}

fn copy_models(workspace: &Workspace, site: &Path) -> Result<()> {
    let target = site.join("models");
    std::fs::create_dir_all(&target)?;
    for entry in std::fs::read_dir(workspace.path("models")).context("cannot read models/")? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            std::fs::copy(&path, target.join(name))?;
        }
    }
    Ok(())
}
