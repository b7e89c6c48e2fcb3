//! Where things are: repository root, target folder, versions pinned by `Cargo.lock`.

use anyhow::{Context, Result, anyhow};
use std::path::{Path, PathBuf};

/// The repository that this binary was built from.
#[derive(Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the root: the nearest ancestor of the working folder, else of this crate, that holds `Cargo.lock`.
    pub(crate) fn find() -> Result<Self> {
        let here = std::env::current_dir().context("the working folder is not accessible")?;
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = [here.as_path(), built_from]
            .iter()
            .flat_map(|start| start.ancestors())
            .find(|folder| folder.join("Cargo.lock").is_file() && folder.join("plugin-manifest").is_dir())
            .ok_or_else(|| anyhow!("no repository root above {}: run inside the repository", here.display()))?
            .to_path_buf();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => here.join(folder),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside the repository.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A path inside cargo's target folder.
    pub(crate) fn target(&self, relative: &str) -> PathBuf {
        self.target.join(relative)
    }

    /// The release binary of that name (with `.exe` where the system wants it).
    pub(crate) fn release_binary(&self, name: &str) -> PathBuf {
        self.target.join("release").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// Folder where tools that are missing on the machine get installed; nothing outside it is touched.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The interpreter with the programs that ours are compared with, if `tests/python/make_env.sh` has made it.
    pub(crate) fn peers_python(&self) -> Option<PathBuf> {
        let file = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
        Some(self.path("tests/python/.venv").join(file)).filter(|path| path.is_file())
    }

    /// Version of a package in `Cargo.lock`.
    pub(crate) fn locked_version(&self, package: &str) -> Result<String> {
        let path = self.path("Cargo.lock");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        locked_version(&text, package).ok_or_else(|| {
            anyhow!("{} names no package {package}: run `cargo update -w` first", path.display())
        })
    }
}

fn locked_version(lock: &str, package: &str) -> Option<String> {
    let wanted = format!("name = \"{package}\"");
    let mut lines = lock.lines();
    lines.find(|line| *line == wanted)?;
    let version = lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_version_is_read_from_the_lock_file() {
        let lock = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.1\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen").as_deref(), Some("0.2.130"));
        assert_eq!(locked_version(lock, "wasm"), None);
    }

    #[test]
    fn the_workspace_pins_wasm_bindgen() {
        let workspace = Workspace::find().unwrap();
        assert!(workspace.locked_version("wasm-bindgen").unwrap().starts_with("0.2."));
    }
}
