//! What a kit is: `MANIFEST.json`.

use crate::digest::sha256_hex;
use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The commit, how the programs were built, and size and hash of every file below `kit`.
pub(super) fn of(workspace: &Workspace, kit: &Path, device: &str, training_begins: usize) -> Result<Value> {
    let git = |arguments: &[&str]| {
        shell::capture(Command::new("git").args(arguments).current_dir(workspace.root()))
    };
    let commit =
        git(&["rev-parse", "HEAD"]).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned());
    let changed = git(&["status", "--porcelain"]).is_ok_and(|text| !text.trim().is_empty());
    let compiler = shell::capture(Command::new("rustc").arg("--version"))?;
    let mut files = Vec::new();
    for path in files_below(kit)? {
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(kit).unwrap_or(&path).to_string_lossy().into_owned();
        files.push(json!({ "path": name, "bytes": bytes.len(), "sha256": sha256_hex(&bytes) }));
    }
    Ok(json!({
        "commit": commit, "with_uncommitted_changes": changed, "device": device, "compiler": compiler.trim(),
        "training_begins_at_z": training_begins, "files": files,
    }))
}

/// All files of a folder and those below it, sorted.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}
