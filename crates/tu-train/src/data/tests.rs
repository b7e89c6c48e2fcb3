use std::sync::Arc;

use tu_model::IntensityRule;

use super::*;
use crate::finetune::LossKind;

const SHAPE: [usize; 3] = [24, 90, 80];

/// Grey value of a label; labels are 1..=60, so that every value is told apart from a mixture of two neighbours.
fn grey(label: u64) -> u8 {
    (label * 4) as u8
}

/// Blocks of 12 voxels whose grey value is a function of their label.
fn block_volume() -> TrainingVolume {
    let [depth, height, width] = SHAPE;
    let mut labels = Vec::new();
    for z in 0..depth {
        for y in 0..height {
            for x in 0..width {
                labels.push(1 + ((z / 12) * 31 + (y / 12) * 7 + (x / 12) * 11) as u64 % 60);
            }
        }
    }
    let raw = labels.iter().map(|&l| grey(l)).collect();
    TrainingVolume::from_memory("blocks", raw, &labels, SHAPE).unwrap()
}

fn sampler(augmentation: AugmentationConfig, shape_zyx: [usize; 3]) -> Sampler {
    let volumes = vec![block_volume().with_permuted_axes()];
    Sampler::new(volumes, shape_zyx, augmentation, IntensityRule::FullRange, 3).unwrap()
}

fn geometric() -> AugmentationConfig {
    AugmentationConfig {
        flip: true,
        rotate: 1.0,
        rescale: 1.0,
        elastic: 1.0,
        misalign: 1.0,
        ..AugmentationConfig::none()
    }
}

/// Grey value of each (renumbered) label, from crops without augmentation.
fn greys_by_label() -> std::collections::HashMap<u64, f32> {
    let plain = sampler(AugmentationConfig::none(), SHAPE).crop(0, 0).unwrap();
    plain.labels.iter().copied().zip(plain.raw).collect()
}

#[test]
fn flips_and_axis_orders_move_raw_and_labels_alike() {
    let known = greys_by_label();
    let sampler = sampler(AugmentationConfig { flip: true, ..AugmentationConfig::none() }, [6, 32, 32]);
    for step in 0..40 {
        let crop = sampler.crop(step, 0).unwrap();
        for (raw, label) in crop.raw.iter().zip(&crop.labels) {
            assert_eq!(*raw, known[label]);
        }
    }
}

#[test]
fn warps_move_raw_and_labels_alike_away_from_borders() {
    let known = greys_by_label();
    let sampler = sampler(geometric(), [6, 32, 32]);
    let (mut pure, mut total) = (0, 0);
    for step in 0..40 {
        let crop = sampler.crop(step, 0).unwrap();
        assert_eq!((crop.raw.len(), crop.labels.len()), (6 * 32 * 32, 6 * 32 * 32));
        for z in 0..6 {
            for y in 1..31 {
                for x in 1..31 {
                    let at = |y: usize, x: usize| crop.labels[(z * 32 + y) * 32 + x];
                    let label = at(y, x);
                    total += 1;
                    let around = [at(y - 1, x), at(y + 1, x), at(y, x - 1), at(y, x + 1)];
                    let corners = [at(y - 1, x - 1), at(y + 1, x + 1), at(y + 1, x - 1), at(y - 1, x + 1)];
                    if around.iter().chain(&corners).all(|l| *l == label) {
                        let difference = (crop.raw[(z * 32 + y) * 32 + x] - known[&label]).abs();
                        assert!(difference < 1e-5, "step {step}: off by {difference}");
                        pure += 1;
                    }
                }
            }
        }
    }
    assert!(pure * 2 > total, "{pure} of {total} voxels lie away from borders");
}

#[test]
fn intensity_changes_leave_labels_and_the_range_alone() {
    let shape = [6, 32, 32];
    let changes = AugmentationConfig {
        grayscale: 1.0,
        blur: 1.0,
        noise: 1.0,
        missing: 1.0,
        ..AugmentationConfig::none()
    };
    let (plain, changed) = (sampler(AugmentationConfig::none(), shape), sampler(changes, shape));
    for step in 0..10 {
        let (a, b) = (plain.crop(step, 0).unwrap(), changed.crop(step, 0).unwrap());
        assert_eq!((&a.labels, a.origin_zyx), (&b.labels, b.origin_zyx));
        assert_ne!(a.raw, b.raw);
        assert!(b.raw.iter().all(|v| (0.0..=1.0).contains(v)));
        assert!(
            b.raw.chunks(32 * 32).any(|section| section.iter().all(|v| *v == 0.0)),
            "a section is missing"
        );
    }
}

#[test]
fn crops_depend_on_seed_step_and_position_alone() {
    let (a, b) = (sampler(geometric(), [4, 16, 16]), sampler(geometric(), [4, 16, 16]));
    let forward: Vec<Crop> = (0..6).map(|step| a.crop(step, 1).unwrap()).collect();
    let backward: Vec<Crop> = (0..6).rev().map(|step| b.crop(step, 1).unwrap()).collect();
    assert!(forward.iter().eq(backward.iter().rev()));
    assert_ne!(a.crop(0, 0).unwrap(), a.crop(0, 1).unwrap());
    assert_ne!(a.crop(0, 0).unwrap(), a.crop(1, 0).unwrap());
}

#[test]
fn crops_larger_than_the_volume_are_reflected() {
    let crop = sampler(AugmentationConfig::none(), [40, 96, 96]).crop(0, 0).unwrap();
    assert_eq!(crop.raw.len(), 40 * 96 * 96);
    let at = |z: usize, y: usize, x: usize| crop.labels[(z * 96 + y) * 96 + x];
    assert_eq!(at(25, 5, 5), at(21, 5, 5));
    assert_eq!(at(5, 91, 5), at(5, 87, 5));
    assert_eq!(at(5, 5, 83), at(5, 5, 75));
}

#[test]
fn weights_decide_how_often_a_volume_is_drawn() {
    let entry = |seed, weight| VolumeEntry {
        weight: Some(weight),
        phantom: Some(crate::phantom::PhantomConfig { shape_zyx: [4, 16, 16], seed, ..Default::default() }),
        ..VolumeEntry::default()
    };
    let open = |entry: &VolumeEntry| TrainingVolume::open(entry, &VoxelMemory::new(u64::MAX), true).unwrap();
    let volumes = vec![open(&entry(1, 1.0)), open(&entry(2, 0.0)), open(&entry(3, 3.0))];
    let sampler =
        Sampler::new(volumes, [4, 16, 16], AugmentationConfig::none(), IntensityRule::FullRange, 9).unwrap();
    let mut counts = [0; 4];
    for step in 0..400 {
        let name = sampler.crop(step, 0).unwrap().volume;
        counts[name.trim_end_matches(')').chars().last().unwrap().to_digit(10).unwrap() as usize] += 1;
    }
    assert_eq!(counts[2], 0);
    assert!((60..140).contains(&counts[1]), "{counts:?}");
}

#[test]
fn batches_prepared_ahead_are_those_drawn_in_order() {
    let target = TargetConfig { loss: LossKind::WeightedMse, ignore_unlabelled: false, widen_borders: true };
    let shared = Arc::new(sampler(geometric(), [4, 16, 16]));
    let drawn = Arc::clone(&shared);
    let ahead = Prefetcher::of(5..9, 2, move |step| Batch::draw(&drawn, step, 2, target)).unwrap();
    for step in 5..9 {
        assert_eq!(ahead.next_batch().unwrap(), Batch::draw(&shared, step, 2, target).unwrap());
    }
    assert!(matches!(ahead.next_batch(), Err(DataError::PrefetchStopped)));
}

#[test]
fn a_region_outside_the_volume_is_refused_by_name() {
    let entry = VolumeEntry {
        begin_zyx: Some([0, 8, 0]),
        end_zyx: Some([4, 20, 16]),
        phantom: Some(crate::phantom::PhantomConfig { shape_zyx: [4, 16, 16], ..Default::default() }),
        ..VolumeEntry::default()
    };
    let Err(error) = TrainingVolume::open(&entry, &VoxelMemory::new(0), true) else {
        panic!("the region is too large")
    };
    assert!(error.to_string().contains("phantom (seed 1)") && error.to_string().contains("end_zyx"));
}

/// A volume of 16×64×64 voxels in chunks of 16×32×32 whose chunk at the origin is damaged.
fn damaged_volume(folder: &std::path::Path) -> VolumeEntry {
    use tu_volume::{DataType, NewVolume, Region, VolumeWriter};
    let url = folder.join("damaged.zarr").to_str().unwrap().to_owned();
    let spec = NewVolume {
        shape_zyx: [16, 64, 64],
        channels: None,
        data_type: DataType::U8,
        chunk_zyx: [16, 32, 32],
        voxel_nm_zyx: None,
        voxel_offset_zyx: [0; 3],
        attributes: serde_json::Map::new(),
    };
    let writer = VolumeWriter::create(&url, &spec).unwrap();
    let whole = Region { origin_zyx: [0; 3], shape_zyx: [16, 64, 64] };
    writer.write_u8(&whole, &(0..16 * 64 * 64).map(|i| (i % 251) as u8).collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    std::fs::write(folder.join("damaged.zarr/0/c/0/0/0"), b"not a chunk").unwrap();
    VolumeEntry { raw: Some(url), ..VolumeEntry::default() }
}

fn damaged_sampler(entry: &VolumeEntry, crop_zyx: [usize; 3]) -> Sampler {
    let volume = TrainingVolume::open(entry, &VoxelMemory::new(0), false).unwrap();
    Sampler::new(vec![volume], crop_zyx, AugmentationConfig::none(), IntensityRule::FullRange, 4).unwrap()
}

#[test]
fn crops_on_a_damaged_chunk_are_replaced_by_others_the_same_ones_each_time_and_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let entry = damaged_volume(folder.path());
    let sampler = damaged_sampler(&entry, [8, 24, 24]);
    let crops: Vec<Crop> = (0..40).map(|step| sampler.crop(step, 0).unwrap()).collect();
    assert!(crops.iter().all(|crop| crop.origin_zyx[1] >= 32 || crop.origin_zyx[2] >= 32));
    let early = sampler.take_replacements(20);
    let late = sampler.take_replacements(u64::MAX);
    assert!(!early.is_empty() && early.iter().all(|r| r.step < 20 && r.cause.contains("damaged.zarr")));
    assert!(!late.is_empty() && late.iter().all(|r| r.step >= 20));
    assert!(sampler.take_replacements(u64::MAX).is_empty());
    let again = damaged_sampler(&entry, [8, 24, 24]);
    assert!(crops.iter().zip(0..).all(|(crop, step)| *crop == again.crop(step, 0).unwrap()));
}

#[test]
fn a_volume_in_which_every_crop_is_damaged_stops_the_run_and_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let sampler = damaged_sampler(&damaged_volume(folder.path()), [8, 64, 64]);
    let error = sampler.crop(0, 0).unwrap_err();
    assert!(matches!(error, DataError::Damaged { attempts: 16, .. }), "{error}");
    assert!(error.to_string().contains("damaged.zarr") && error.to_string().contains("resume"));
}
