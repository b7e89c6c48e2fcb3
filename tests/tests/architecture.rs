//! The shape of the workspace: arrows between crates run one way, and files stay readable.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something fails")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each crate may depend on within the workspace.
const ARROWS: [(&str, &[&str]); 8] = [
    ("tu-volume", &[]),
    ("tu-segment", &[]),
    ("tu-kernels", &[]),
    ("tu-model", &["tu-segment", "tu-kernels"]),
    ("tu-train", &["tu-volume", "tu-segment", "tu-kernels", "tu-model"]),
    ("tu-web", &["tu-volume", "tu-segment", "tu-kernels", "tu-model"]),
    ("xtask", &[]),
    ("tu-tests", &["tu-volume", "tu-segment", "tu-kernels", "tu-model", "tu-train"]),
];

/// Crates that must stay free of the tensor library, so that they build fast and run anywhere.
const WITHOUT_BURN: [&str; 3] = ["tu-volume", "tu-segment", "xtask"];

/// Most lines of a source file.
const MAX_LINES: usize = 800;

/// Direct dependencies (of all kinds and targets) of each workspace member.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(tu_tests::repository())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let name = |value: &Value| value["name"].as_str().expect("a package has a name").to_owned();
    let packages = metadata["packages"].as_array().expect("there are packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies is a list");
            (name(package), dependencies.iter().map(name).collect())
        })
        .collect()
}

#[test]
fn arrows_between_crates_run_one_way() {
    let dependencies = dependencies();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let members: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    assert_eq!(members, allowed.keys().copied().collect(), "every crate has its arrows written down here");
    for (package, needs) in &dependencies {
        for needed in needs.iter().filter(|needed| members.contains(needed.as_str())) {
            let allowed = allowed[package.as_str()];
            assert!(allowed.contains(&needed.as_str()), "{package} must not depend on {needed}");
        }
    }
}

#[test]
fn volumes_and_segmentation_know_nothing_of_tensors() {
    let dependencies = dependencies();
    for package in WITHOUT_BURN {
        for needed in &dependencies[package] {
            let is_tensor_library = needed.starts_with("burn") || needed.starts_with("cubecl");
            assert!(!is_tensor_library, "{package} must not depend on {needed}");
        }
    }
}

/// Source files below the repository, without what is installed or built.
fn sources() -> Vec<PathBuf> {
    const SKIPPED: [&str; 7] = ["target", "node_modules", "dist", "wasm", ".venv", "__pycache__", ".git"];
    const EXTENSIONS: [&str; 8] = ["rs", "ts", "tsx", "mjs", "py", "sh", "css", "html"];
    let mut folders: Vec<PathBuf> =
        ["crates", "kernels", "tests", "web"].iter().map(|name| tu_tests::repository().join(name)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.map(|entry| entry.expect("an entry can be read").path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let extension = path.extension().and_then(|text| text.to_str()).unwrap_or_default();
            if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(path);
            } else if path.is_file() && EXTENSIONS.contains(&extension) {
                found.push(path);
            }
        }
    }
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn no_source_file_is_longer_than_800_lines() {
    let sources = sources();
    assert!(sources.len() > 50, "only {} sources found: the search is broken", sources.len());
    for path in sources {
        let lines = text(&path).lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines, more than {MAX_LINES}: split it", path.display());
    }
}

#[test]
fn unsafe_code_stays_in_the_kernels() {
    // Built from parts, so that this file does not contain what it looks for.
    let exception = ["allow(", "unsafe_code"].concat();
    for path in sources() {
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        let is_kernel = path.starts_with(tu_tests::repository().join("kernels"));
        if is_rust && !is_kernel {
            assert!(!text(&path).contains(&exception), "{} allows unsafe code", path.display());
        }
    }
}
