use super::*;
use crate::config::{EmMambaConfig, Preset};
use crate::model_file::{StoredFloat, replace_metadata, save};
use crate::sha256_hex;
use burn::tensor::Device;
use safetensors::SafeTensors;

fn file() -> Vec<u8> {
    let config = EmMambaConfig {
        features: [4, 4, 8, 8],
        hidden: 8,
        depths: [1; 4],
        ..EmMambaConfig::preset(Preset::Tiny)
    };
    let metadata = ModelMetadata {
        tile_zyx: [3, 16, 32],
        halo_zyx: [1, 8, 8],
        ..ModelMetadata::for_affinities(config.clone(), [10.0; 3])
    };
    save(&config.init_seeded(&Device::flex(), 3), &metadata, StoredFloat::F32).unwrap()
}

fn network(bytes: &[u8]) -> Network {
    Network::from_bytes(bytes, &Device::flex()).unwrap()
}

fn known(bytes: &[u8]) -> KnownAnswer {
    read_metadata(bytes).unwrap().known_answer.unwrap()
}

fn check(known: &KnownAnswer, network: &Network) -> Result<f32, KnownAnswerError> {
    known.check_blocking(network, tolerance(network.model.precision))
}

/// The file with another exponent in the first value of a tensor.
fn with_another_exponent(bytes: &[u8], tensor: &str) -> Vec<u8> {
    let data = SafeTensors::deserialize(bytes).unwrap().tensor(tensor).unwrap().data().as_ptr();
    let mut flipped = bytes.to_vec();
    flipped[data as usize - bytes.as_ptr() as usize + 3] ^= 0x40;
    flipped
}

/// Computed by a few lines of Python from the formula in the module's head.
#[test]
fn the_input_has_the_bits_that_the_formula_has_in_other_languages() {
    let window = [40, 128, 128];
    for (seed, [z, y, x], sum) in [
        (1, [0, 0, 0], 9_341_758),
        (1, [0, 0, 1], 9_406_049),
        (1, [3, 17, 40], 10_157_816),
        (1, [39, 127, 127], 9_944_557),
        (77, [0, 0, 0], 8_973_299),
        (77, [39, 127, 127], 5_760_856),
    ] {
        let value = input(seed, window)[(z * 128 + y) * 128 + x];
        assert_eq!(value, sum as f32 / 14_680_064.0, "seed {seed}, {z} {y} {x}");
    }
    let values = input(1, [8, 64, 64]);
    assert!(values.iter().all(|v| (0.0..=1.0).contains(v)));
    assert!(values.iter().any(|v| *v < 0.1) && values.iter().any(|v| *v > 0.9), "both ends are used");
}

#[test]
fn places_lie_in_all_parts_of_every_channel_its_first_and_last_voxel_among_them() {
    let known = known(&with_known_answer(&file()).unwrap());
    assert_eq!((known.window_zyx, known.seed), ([5, 32, 48], SEED));
    assert_eq!(known.places_czyx.len(), 3 * PLACES_PER_CHANNEL);
    for channel in 0..3 {
        let of_channel: Vec<_> = known.places_czyx.iter().filter(|place| place[0] == channel).collect();
        assert_eq!(of_channel.len(), PLACES_PER_CHANNEL);
        assert_eq!(of_channel[0][1..], [0, 0, 0]);
        assert_eq!(of_channel[PLACES_PER_CHANNEL - 1][1..], [4, 31, 47]);
        for z in 0..5 {
            assert!(of_channel.iter().any(|place| place[1] == z), "channel {channel}, z {z}");
        }
        let columns: std::collections::BTreeSet<_> = of_channel.iter().map(|place| place[3]).collect();
        assert!(columns.len() > PLACES_PER_CHANNEL / 2, "{columns:?}");
    }
    let first = known.places_czyx.iter().take(PLACES_PER_CHANNEL);
    let second = known.places_czyx.iter().skip(PLACES_PER_CHANNEL);
    assert!(first.zip(second).any(|(a, b)| a[1..] != b[1..]), "channels have their own places");
}

#[test]
fn writing_a_known_answer_changes_nothing_else() {
    let plain = file();
    let sealed = with_known_answer(&plain).unwrap();
    let (before, after) =
        (SafeTensors::deserialize(&plain).unwrap(), SafeTensors::deserialize(&sealed).unwrap());
    assert_eq!(before.names().len(), after.names().len());
    for (name, tensor) in before.tensors() {
        let again = after.tensor(&name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (again.dtype(), again.shape()), "{name}");
        assert_eq!(sha256_hex(tensor.data()), sha256_hex(again.data()), "{name}");
    }
    let mut metadata = read_metadata(&sealed).unwrap();
    metadata.known_answer = None;
    assert_eq!(replace_metadata(&sealed, &metadata).unwrap(), plain);
    assert_eq!(with_known_answer(&sealed).unwrap(), sealed, "a second time is no change");
}

#[test]
fn the_network_gives_its_known_answer_in_every_precision() {
    let bytes = with_known_answer(&file()).unwrap();
    let known = known(&bytes);
    for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
        let difference = check(&known, &network(&bytes).in_precision(precision).unwrap()).unwrap();
        assert_eq!(difference < 1e-5, precision == Precision::F32, "{precision}: {difference}");
    }
}

#[test]
fn a_changed_weight_and_a_changed_value_are_found_and_named() {
    let bytes = with_known_answer(&file()).unwrap();
    let known = known(&bytes);

    let missed = check(&known, &network(&with_another_exponent(&bytes, "out.conv.conv.bias")));
    assert!(matches!(missed, Err(KnownAnswerError::Wrong { .. })), "{missed:?}");
    assert!(missed.unwrap_err().is_wrong_answer());

    let mut edited = known.clone();
    edited.values[30] = 1.0 - edited.values[30] * 0.5;
    let error = check(&edited, &network(&bytes)).unwrap_err();
    assert!(matches!(&error, KnownAnswerError::Wrong { place_czyx, expected, .. }
        if *place_czyx == known.places_czyx[30] && *expected == edited.values[30]));
    let message = error.to_string();
    assert!(message.contains("f32") && message.contains("0.001"), "{message}");
}

#[test]
fn unusable_known_answers_are_refused_like_other_defects() {
    let bytes = with_known_answer(&file()).unwrap();
    let refused = |change: fn(&mut ModelMetadata)| {
        let mut metadata = read_metadata(&bytes).unwrap();
        change(&mut metadata);
        match replace_metadata(&bytes, &metadata) {
            Err(ModelFileError::Metadata(cause)) => cause,
            other => panic!("{:?}", other.map(|bytes| bytes.len())),
        }
    };
    fn answer(metadata: &mut ModelMetadata) -> &mut KnownAnswer {
        metadata.known_answer.as_mut().unwrap()
    }
    let changes: [(fn(&mut ModelMetadata), &str); 12] = [
        (|m| m.tile_zyx[0] += 1, "known-answer"),
        (|m| answer(m).window_zyx[2] += 16, "known-answer"),
        (|m| answer(m).values.truncate(71), "71 values"),
        (|m| answer(m).places_czyx.push([0; 4]), "73 places"),
        (|m| (answer(m).values, answer(m).places_czyx) = (vec![], vec![]), "0 places"),
        (|m| answer(m).places_czyx[1][0] = 3, "outside"),
        (|m| answer(m).places_czyx[2][1] = 5, "outside"),
        (|m| answer(m).places_czyx[2][3] = usize::MAX, "outside"),
        (|m| answer(m).values[5] = f32::NAN, "NaN"),
        (|m| answer(m).values[5] = 1.5, "1.5"),
        (|m| answer(m).values[5] = -0.1, "-0.1"),
        (|m| answer(m).values[5] = f32::INFINITY, "inf"),
    ];
    for (change, cause) in changes {
        let found = refused(change);
        assert!(found.contains(cause), "{found}");
    }
}

#[test]
fn a_file_without_one_is_read_and_answered_for_by_the_cpu() {
    let bytes = file();
    assert!(read_metadata(&bytes).unwrap().known_answer.is_none());
    let small = KnownAnswer::of_file_blocking(&bytes).unwrap();
    assert_eq!(small.window_zyx, [2, 16, 16]);
    assert!(check(&small, &network(&bytes)).unwrap() < 1e-5);
    let sealed = with_known_answer(&bytes).unwrap();
    assert_eq!(KnownAnswer::of_file_blocking(&sealed).unwrap(), known(&sealed));
}
