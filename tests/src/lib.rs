//! Tests that cross crates. What they share: where things are, and a reader of JSON Schemas.

pub mod schema;

use std::path::{Path, PathBuf};

/// Root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder)
}

/// Folder of real volumes: environment variable `TU_DATA`, else `../shared/data` beside the repository. Where there is
/// none, says so loudly and returns nothing; the test that asked then has nothing to do.
#[must_use]
#[allow(clippy::print_stdout, reason = "a skipped test has to be seen")]
pub fn data(name: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("TU_DATA").map_or_else(|| repository().join("../shared/data"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: {} is not there; set TU_DATA to the folder that holds {name}", path.display());
    None
}
