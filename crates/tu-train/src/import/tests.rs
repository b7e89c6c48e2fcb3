//! Checkpoints that PyTorch wrote (`tests/python/make_pth_fixture.py`), and hostile ones.

use std::io::Cursor;
use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use tu_model::{NamedTensor, named_tensors};

use super::forge::{Program, architecture, stored, weights, zip};
use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn origin() -> Origin {
    Origin {
        name: "official.pth".to_owned(),
        voxel_nm_zyx: [30.0, 8.0, 8.0],
        licence: UNKNOWN_LICENCE.to_owned(),
        notes: String::new(),
    }
}

fn import_bytes(bytes: &[u8]) -> Result<Imported, ImportError> {
    import(Cursor::new(bytes), &origin())
}

/// The weights of an imported model.
fn tensors(imported: &Imported) -> Vec<NamedTensor> {
    let model = imported.model.as_deref().unwrap_or_else(|| panic!("no model:\n{}", imported.report));
    named_tensors(&tu_model::load(model, &Device::flex()).unwrap().0)
}

/// The weights that PyTorch had.
fn expected_tensors() -> Vec<NamedTensor> {
    let bytes = fixture("emmamba_micro_compat.safetensors");
    named_tensors(&tu_model::load(&bytes, &Device::flex()).unwrap().0)
}

/// Checks every tensor against PyTorch's, rounded as it was stored.
fn assert_weights(found: &[NamedTensor], rounded: impl Fn(&NamedTensor, f32) -> f32) {
    let expected = expected_tensors();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((&found.name, &found.shape), (&expected.name, &expected.shape));
        let values: Vec<f32> = expected.values.iter().map(|&value| rounded(expected, value)).collect();
        assert_eq!(found.values, values, "{}", found.name);
    }
}

#[test]
fn an_imported_checkpoint_gives_the_affinities_that_pytorch_gives() {
    let imported = import_bytes(&fixture("official_micro.pth")).unwrap();
    let (model, metadata) = tu_model::load(imported.model.as_deref().unwrap(), &Device::flex()).unwrap();
    assert_eq!(metadata.architecture.z_stride, 2);
    assert_eq!((metadata.architecture.nslices, metadata.architecture.residual), (Some(5), false));
    let bytes = fixture("emmamba_micro_compat_io.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let input = file.tensor("test.input").unwrap();
    let shape: [usize; 5] = input.shape().try_into().unwrap();
    let raw: Vec<f32> = input.data().iter().map(|&value| f32::from(value) / 255.0).collect();
    let raw = Tensor::<5>::from_data(TensorData::new(raw, shape), &Device::flex());
    let output: Vec<f32> = model.forward(raw).into_data().try_into_vec().unwrap();
    let expected = file.tensor("test.output").unwrap();
    let expected = expected.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
    assert_eq!(output.len(), expected.len());
    let difference = output.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference <= 1e-4, "affinities differ by {difference}");
}

#[test]
fn a_training_checkpoint_is_mapped_in_full_and_the_rest_of_it_ignored() {
    let bytes = fixture("official_micro.pth");
    let imported = import_bytes(&bytes).unwrap();
    assert_weights(&tensors(&imported), |_, value| value);
    let report = &imported.report;
    assert_eq!(report.kind, CheckpointKind::Affinities);
    assert_eq!((report.weights_under.as_str(), report.epoch), ("model", Some(540)));
    assert_eq!(report.mapped.len(), expected_tensors().len());
    assert!(report.is_complete() && report.unexpected.is_empty() && report.warnings.is_empty());
    assert_eq!(report.ignored.len(), 6);
    assert!(report.ignored.iter().all(|name| name.ends_with("total_ops") || name.ends_with("total_params")));
    assert_eq!(report.ignored_objects, ["argparse.Namespace"]);

    let metadata = tu_model::model_file::read_metadata(imported.model.as_deref().unwrap()).unwrap();
    assert_eq!(metadata.voxel_nm_zyx, [30.0, 8.0, 8.0]);
    assert!(metadata.licence.starts_with("unknown"));
    assert_eq!(imported.sha256, tu_model::sha256_hex(&bytes));
    assert!(metadata.provenance.objective.contains("official.pth"));
    assert!(metadata.provenance.objective.contains(&imported.sha256));
    assert_eq!(metadata.provenance.notes, "epoch 540");
}

#[test]
fn prefixes_views_and_other_element_types_give_the_same_network() {
    let imported = import_bytes(&fixture("official_micro_parallel.pth")).unwrap();
    assert_eq!(imported.report.weights_under, "state_dict");
    assert!(imported.report.mapped.iter().all(|name| !name.starts_with("module.")));
    assert_weights(&tensors(&imported), |tensor, value| match tensor.shape.len() {
        _ if tensor.name.ends_with("_log") => bf16::from_f32(value).to_f32(),
        1 => value,
        _ => f16::from_f32(value).to_f32(),
    });
}

#[test]
fn autoregressive_pretraining_is_recognised_and_its_head_left_out() {
    let imported = import_bytes(&fixture("official_micro_autoregressive.pth")).unwrap();
    let report = &imported.report;
    assert_eq!(report.kind, CheckpointKind::Autoregressive);
    assert_eq!((report.architecture.depths, report.architecture.kernel), ([3; 4], 3));
    assert_eq!(report.architecture.out_channels, 1);
    assert_eq!(report.ignored.len(), 6);
    assert!(report.ignored.iter().all(|name| name.starts_with("preciever.")));
    assert!(report.warnings[0].contains("fine-tune"), "{:?}", report.warnings);
    let (_, metadata) = tu_model::load(imported.model.as_deref().unwrap(), &Device::flex()).unwrap();
    assert_eq!(metadata.channels, ["intensity"]);
}

#[test]
fn the_window_of_an_imported_model_passes_through_the_published_network() {
    let mut metadata = ModelMetadata::for_affinities(EmMambaConfig::default().compat(), [8.0; 3]);
    (metadata.tile_zyx, metadata.halo_zyx) = (TILE_ZYX, HALO_ZYX);
    assert_eq!(metadata.window_zyx(), [16, 160, 160]);
    assert_eq!(metadata.defect(), None);
}

/// A sound checkpoint made by hand.
fn sound() -> Vec<u8> {
    forge::checkpoint(&weights(), |p| p, |p| p)
}

#[test]
fn weights_are_found_nested_or_bare() {
    for keys in [&[][..], &["model"], &["state_dict"], &["model_state_dict"], &["model", "state_dict"]] {
        let mut entries = Vec::new();
        let program = keys.iter().fold(Program::new(), |program, key| program.raw(b"}").text(key));
        let program = forge::state_dict(program, &weights(), &mut entries).raw(&vec![b's'; keys.len()]);
        let imported = import_bytes(&forge::archive(entries, &program.stop())).unwrap();
        assert_eq!(imported.report.weights_under, keys.join("."));
        assert_eq!(imported.report.architecture, architecture());
        for (found, (name, _, values)) in tensors(&imported).iter().zip(weights()) {
            assert_eq!((&found.name, &found.values), (&name, &values), "{keys:?}");
        }
    }
    let mut entries = Vec::new();
    let program = forge::state_dict(Program::new().raw(b"}").text("generator"), &weights(), &mut entries);
    let message = import_bytes(&forge::archive(entries, &program.raw(b"s").stop())).unwrap_err().to_string();
    assert!(message.contains("no weights") && message.contains("`generator`"), "{message}");
}

/// A copy of an archive made by [`zip`] whose last entry, the pickle, is edited.
fn edit_pickle(archive: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut read = archive::Archive::open(Cursor::new(archive)).unwrap();
    let names: Vec<String> = read.names().map(str::to_owned).collect();
    let mut edit = Some(edit);
    let entries: Vec<_> = names
        .iter()
        .map(|name| {
            let mut data = read.read(name, u64::MAX).unwrap();
            if name.ends_with("data.pkl")
                && let Some(edit) = edit.take()
            {
                edit(&mut data);
            }
            stored(name, &data)
        })
        .collect();
    zip(&entries)
}

#[test]
fn missing_and_mismatched_tensors_are_reported_and_give_no_model() {
    let mut incomplete = weights();
    let gone = incomplete.remove(20);
    incomplete[3].1.push(1);
    incomplete.push(("vit.head.weight".to_owned(), vec![2], vec![0.0; 2]));
    let imported = import_bytes(&forge::checkpoint(&incomplete, |p| p, |p| p)).unwrap();
    let report = &imported.report;
    assert!(imported.model.is_none() && !report.is_complete());
    assert_eq!(report.missing, [LoneTensor { name: gone.0.clone(), shape: gone.1 }]);
    assert_eq!(report.mismatched.len(), 1);
    assert_eq!(report.mismatched[0].name, incomplete[3].0);
    assert_eq!(report.unexpected, [LoneTensor { name: "vit.head.weight".to_owned(), shape: vec![2] }]);
    assert_eq!(report.mapped.len(), weights().len() - 2);
    let text = report.to_string();
    assert!(text.contains(&gone.0) && text.contains("instead of"), "{text}");
}

#[test]
fn weights_that_are_not_finite_are_mismatches() {
    for value in [f32::NAN, f32::INFINITY] {
        let mut broken = weights();
        broken[7].2[0] = value;
        let imported = import_bytes(&forge::checkpoint(&broken, |p| p, |p| p)).unwrap();
        assert!(imported.model.is_none());
        assert_eq!(imported.report.mismatched[0].name, broken[7].0);
        assert_eq!(imported.report.mapped.len(), broken.len() - 1);
    }
}

#[test]
fn a_call_of_os_system_is_not_run_and_the_weights_are_imported() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("ran");
    let call = |program: Program| {
        let command = format!("touch {}", marker.display());
        program.text("args").global("os", "system").text(&command).raw(b"\x85R")
    };
    let imported = import_bytes(&forge::checkpoint(&weights(), call, |p| p)).unwrap();
    assert!(imported.model.is_some());
    assert_eq!(imported.report.ignored_objects, ["os.system"]);
    assert!(imported.report.to_string().contains("os.system"));
    assert!(!marker.exists());
}

#[test]
fn a_pickled_python_object_is_refused_with_the_remedy() {
    let program = Program::new().global("segmamba", "SegMamba").raw(b")\x81}b").stop();
    let message = import_bytes(&zip(&[stored("x/data.pkl", &program)])).unwrap_err().to_string();
    assert!(message.contains("Python object") && message.contains("state_dict"), "{message}");
}

#[test]
fn a_model_that_is_its_own_model_ends() {
    let program = Program::new().raw(b"}q\x00").text("model").raw(b"h\x00s").stop();
    let message = import_bytes(&zip(&[stored("x/data.pkl", &program)])).unwrap_err().to_string();
    assert!(message.contains("no weights"), "{message}");
}

#[test]
fn names_that_become_one_without_their_prefix_are_refused() {
    let mut doubled = weights();
    let (name, shape, values) = doubled[0].clone();
    doubled.push((format!("module.{name}"), shape, values));
    let message = import_bytes(&forge::checkpoint(&doubled, |p| p, |p| p)).unwrap_err().to_string();
    assert!(message.contains("two tensors") && message.contains(&name), "{message}");
}

#[test]
fn storages_that_are_missing_short_or_shared_beyond_their_size_are_refused() {
    let sound = sound();
    let renumbered = edit_pickle(&sound, |pickle| {
        // The storage of the first tensor becomes one that is not there.
        let at = pickle.windows(6).position(|window| window == b"X\x01\x00\x00\x000").unwrap();
        pickle[at + 5] = b'?';
    });
    assert!(import_bytes(&renumbered).unwrap_err().to_string().contains("archive/data/?"));

    // All tensors of a wider network over the one storage that is as large as the largest of them.
    let wide = EmMambaConfig { features: [16; 4], hidden: 16, depths: [1; 4], ..architecture() };
    let shapes = tu_model::published_shapes(&wide);
    let largest = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).max().unwrap();
    let mut program = Program::new().raw(b"}(");
    for (name, shape) in &shapes {
        let (shape, strides) = forge::contiguous(shape);
        program = program.text(name).tensor(("FloatStorage", "0", largest as i64), 0, &shape, &strides);
    }
    let entries =
        [stored("x/data.pkl", &program.raw(b"u").stop()), stored("x/data/0", &vec![0; 4 * largest])];
    let message = import_bytes(&zip(&entries)).unwrap_err().to_string();
    assert!(message.contains("more bytes than the file has"), "{message}");
}

#[test]
fn foreign_archives_are_told_apart() {
    let pickle = Program::new().raw(b"}").stop();
    for (entries, expected) in [
        (vec![stored("word/document.xml", b"")], "no data.pkl"),
        (vec![stored("x/data.pkl", &pickle), stored("x/constants.pkl", b"")], "TorchScript"),
        (vec![stored("x/data.pkl", &pickle), stored("x/byteorder", b"big")], "big-endian"),
        (vec![stored("x/data.pkl", &pickle), stored("x/byteorder", b"little")], "no weights"),
    ] {
        let message = import_bytes(&zip(&entries)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_checkpoint_cut_short_is_refused() {
    let bytes = fixture("official_micro.pth");
    for length in (0..bytes.len()).step_by(9973).chain(bytes.len() - 300..bytes.len()) {
        assert!(import_bytes(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn flipped_bits_of_a_checkpoint_never_panic() {
    let bytes = fixture("official_micro.pth");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    // Most of the structure is at the end: the directory.
    let directory = bytes.len() - 30_000;
    for round in 0..300 {
        let mut damaged = bytes.clone();
        for _ in 0..random.random_range(1..4) {
            let begin = if round % 2 == 0 { 0 } else { directory };
            let at = random.random_range(begin..damaged.len());
            damaged[at] ^= 1 << random.random_range(0..8);
        }
        let _ = import_bytes(&damaged);
    }
}

#[test]
fn flipped_bytes_of_a_pickle_whose_checksum_is_right_never_panic() {
    let sound = forge::checkpoint(
        &weights(),
        |program| program.text("args").global("argparse", "Namespace").raw(b")\x81}b"),
        |program| program.text("epoch").int(3).text("losses").raw(b"](K\x01K\x02e"),
    );
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut imports = 0;
    for _ in 0..2000 {
        let damaged = edit_pickle(&sound, |pickle| {
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..pickle.len());
                pickle[at] = random.random();
            }
        });
        imports += u32::from(import_bytes(&damaged).is_ok_and(|imported| imported.model.is_some()));
    }
    assert!(imports < 2000, "some damage must have been noticed");
}
