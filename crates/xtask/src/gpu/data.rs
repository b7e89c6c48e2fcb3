//! The volumes of the kit: FIB-25 to train and to validate on, and GALA's crop, where `TU_DATA` or the folder beside the repository has them.

use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the training block of FIB-25 begins, most data first: the kit takes the first with which it is small enough.
pub(super) const TRAINING_BEGINS: [usize; 5] = [0, 40, 80, 110, 130];
/// Where it ends, and the planes to validate on.
const TRAINING_END: usize = 170;
const VALIDATION: &str = "180:250,:,:";
/// The line of gpu/fib25.toml that says where training begins.
const BEGIN_LINE: &str = "begin_zyx = [0, 0, 0]  # later where the kit holds less of the block";

/// The folder of real volumes, and an error that says how to name another.
pub(super) fn folder(workspace: &Workspace) -> Result<PathBuf> {
    let folder = std::env::var_os("TU_DATA").map_or_else(|| workspace.path("../shared/data"), PathBuf::from);
    for array in
        ["fib25_ts2.zarr/raw", "fib25_ts2.zarr/labels", "gala_train.zarr/raw", "gala_train.zarr/labels"]
    {
        if !folder.join(array).is_dir() {
            bail!("{}/{array} is missing: set TU_DATA to a folder that has it", folder.display());
        }
    }
    Ok(folder)
}

/// Copies the volumes into `kit/data`, with as much of the training block as begins at a plane, and the settings that name them.
pub(super) fn write(workspace: &Workspace, copy_volume: &Path, begin: usize, kit: &Path) -> Result<()> {
    let source = folder(workspace)?;
    let target = kit.join("data");
    if target.exists() {
        std::fs::remove_dir_all(&target)?;
    }
    std::fs::create_dir_all(&target)?;
    let training = format!("{begin}:{TRAINING_END},:,:");
    let copy = |volume: &str, array: &str, regions: &[&str]| {
        let mut command = Command::new(copy_volume);
        command.arg(source.join(volume).join(array)).arg(target.join(volume)).arg(array).args(regions);
        shell::run(&mut command)
    };
    for array in ["raw", "labels"] {
        copy("fib25_ts2.zarr", array, &[&training, VALIDATION])?;
        copy("gala_train.zarr", array, &[":,:,:"])?;
    }
    let template = workspace.path("gpu/fib25.toml");
    let text =
        std::fs::read_to_string(&template).with_context(|| format!("cannot read {}", template.display()))?;
    std::fs::create_dir_all(kit.join("settings"))?;
    std::fs::write(kit.join("settings/fib25.toml"), beginning_at(&text, begin)?)?;
    Ok(())
}

fn beginning_at(settings: &str, begin: usize) -> Result<String> {
    if !settings.contains(BEGIN_LINE) {
        bail!("gpu/fib25.toml has no line {BEGIN_LINE}");
    }
    Ok(settings.replace(BEGIN_LINE, &format!("begin_zyx = [{begin}, 0, 0]")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of a settings file without comments, to be compared.
    fn lines(text: &str) -> Vec<String> {
        let bare = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim().to_owned());
        bare.filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn the_kit_trains_with_the_shipped_recipe_but_for_one_volume() {
        let workspace = Workspace::find().unwrap();
        let read = |path: &str| std::fs::read_to_string(workspace.path(path)).unwrap();
        let shipped = read("models/tiny-fib25.toml");
        let (before, after) =
            shipped.split_once("[[volumes]]\nraw = \"data/fib25_ts2_aniso4.zarr/raw\"").unwrap();
        let (_, after) = after.split_once("[[volumes]]").unwrap();
        assert_eq!(lines(&read("gpu/fib25.toml")), lines(&format!("{before}[[volumes]]{after}")));
    }

    #[test]
    fn training_begins_where_the_data_does() {
        let workspace = Workspace::find().unwrap();
        let settings = std::fs::read_to_string(workspace.path("gpu/fib25.toml")).unwrap();
        let later = beginning_at(&settings, 80).unwrap();
        assert!(later.contains("begin_zyx = [80, 0, 0]\nend_zyx = [170, 250, 250]"));
        assert!(beginning_at("preset = \"tiny\"", 80).is_err());
    }
}
