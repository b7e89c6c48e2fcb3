//! The real `tu-train` on real volumes in temporary folders.

#![allow(clippy::print_stderr, reason = "says what was skipped")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ablate;
mod calibrate;
mod errors;
mod finetune;
mod help;
mod import;
mod kill;
mod known_answer;
mod pipeline;
mod pretrain;
mod resume;
mod selfcheck;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::Device;
use serde_json::Value;
use tempfile::TempDir;
use tu_model::{EmMambaConfig, ModelMetadata, Preset, StoredFloat};
use tu_volume::Volume;

/// A folder in which commands run, with a small phantom and an untrained model made for it.
struct Bench {
    folder: TempDir,
}

impl Bench {
    /// `phantom.zarr` of 20 × 40 × 44 voxels and `model.safetensors` with tiles of 8 × 16 × 16: 27 tiles, the last of
    /// each axis clipped.
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        bench.ok(&[
            "phantom",
            "--out",
            "phantom.zarr",
            "--shape",
            "20,40,44",
            "--voxel-nm",
            "20,20,20",
            "--seed",
            "3",
        ]);
        std::fs::write(bench.path("model.safetensors"), model()).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tu-train"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; what it says on standard output.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command with `--json`; the object, which must be all there is on standard output.
    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[arguments, &["--json"]].concat());
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Runs a command that must fail without a word on standard output; what it says on standard error, which must
    /// contain all of `expected`.
    fn fails(&self, arguments: &[&str], expected: &[&str]) -> String {
        let output = self.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?} must fail");
        assert!(output.stdout.is_empty(), "{arguments:?} failed, yet printed a result");
        for part in expected {
            assert!(message.contains(part), "{arguments:?} does not say «{part}»:\n{message}");
        }
        assert!(!message.contains("panicked"), "{message}");
        message
    }

    /// `segment` of the phantom into `output`, with more options.
    fn segment(&self, output: &str, more: &[&str]) -> Value {
        self.json(&[&["segment"], SEGMENT, &["--output", output], more].concat())
    }

    fn labels(&self, name: &str) -> Vec<u64> {
        let volume = self.open(name);
        volume.read_u64(&volume.region()).unwrap()
    }

    fn open(&self, name: &str) -> Volume {
        Volume::open(self.path(name).to_str().unwrap()).unwrap()
    }
}

/// Input and model of the bench.
const SEGMENT: &[&str] = &[
    "--input",
    "phantom.zarr/raw",
    "--model",
    "model.safetensors",
    "--device",
    "cpu",
    "--voxel-nm",
    "20,20,20",
];

/// Architecture of the smallest network that has all parts.
fn architecture() -> EmMambaConfig {
    EmMambaConfig { features: [4, 4, 8, 8], hidden: 8, depths: [1; 4], ..EmMambaConfig::preset(Preset::Tiny) }
}

fn metadata() -> ModelMetadata {
    let mut metadata = ModelMetadata::for_affinities(architecture(), [20.0; 3]);
    metadata.tile_zyx = [8, 16, 16];
    metadata.halo_zyx = [2, 8, 8];
    metadata
}

/// An untrained model file.
fn model() -> Vec<u8> {
    let network = architecture().init_seeded(&Device::flex(), 5);
    tu_model::save(&network, &metadata(), StoredFloat::F32).unwrap()
}

/// The same without a halo: its fragments are made from a tile alone.
fn model_without_halo() -> Vec<u8> {
    let network = architecture().init_seeded(&Device::flex(), 5);
    let metadata = ModelMetadata { halo_zyx: [0; 3], ..metadata() };
    tu_model::save(&network, &metadata, StoredFloat::F32).unwrap()
}

/// Every file below a folder with its contents.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}
