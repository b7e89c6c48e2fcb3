use super::*;

fn small() -> PhantomConfig {
    PhantomConfig { shape_zyx: [24, 64, 64], neurite_nm: 150.0, ..PhantomConfig::default() }
}

#[test]
fn the_same_seed_gives_the_same_voxels_and_another_seed_others() {
    let first = phantom(&small()).unwrap();
    assert_eq!(first, phantom(&small()).unwrap());
    let other = phantom(&PhantomConfig { seed: 2, ..small() }).unwrap();
    assert_ne!(first.labels, other.labels);
}

#[test]
fn neurites_fill_the_volume_and_touch_along_dark_membranes() {
    let config = small();
    let made = phantom(&config).unwrap();
    assert!(made.labels.iter().all(|&l| l > 0));
    let count = *made.labels.iter().max().unwrap();
    assert!((5..500).contains(&count), "{count} neurites");
    let (mut border, mut inside) = ((0u64, 0u64), (0u64, 0u64));
    for (i, pair) in made.labels.windows(2).enumerate() {
        if i % 64 != 63 {
            let to = if pair[0] == pair[1] { &mut inside } else { &mut border };
            *to = (to.0 + u64::from(made.raw[i]), to.1 + 1);
        }
    }
    let (border, inside) = (border.0 as f64 / border.1 as f64, inside.0 as f64 / inside.1 as f64);
    assert!(border + 40.0 < inside, "borders have mean {border}, insides {inside}");
}

#[test]
fn every_label_is_one_connected_piece() {
    let config = small();
    let made = phantom(&config).unwrap();
    let mut again: Vec<u32> = made.labels.iter().map(|&l| l as u32).collect();
    pieces::separate(&mut again, config.shape_zyx);
    assert!(made.labels.iter().zip(&again).all(|(a, b)| *a == u64::from(*b)));
}

#[test]
fn any_shape_works_down_to_a_single_voxel() {
    for shape_zyx in [[1, 1, 1], [1, 33, 5], [7, 1, 40], [3, 17, 16]] {
        let made = phantom(&PhantomConfig { shape_zyx, ..small() }).unwrap();
        assert_eq!(made.raw.len(), shape_zyx.iter().product::<usize>());
        assert_eq!(made.raw.len(), made.labels.len());
    }
}

#[test]
fn sections_of_an_anisotropic_stack_differ_in_brightness() {
    let config = PhantomConfig {
        shape_zyx: [12, 64, 64],
        voxel_nm_zyx: [40.0, 8.0, 8.0],
        noise: 0.0,
        ..PhantomConfig::default()
    };
    let mean = |raw: &[u8]| raw.iter().map(|&v| f64::from(v)).sum::<f64>() / raw.len() as f64;
    let spread = |config: &PhantomConfig| {
        let means: Vec<f64> = phantom(config).unwrap().raw.chunks_exact(64 * 64).map(mean).collect();
        means.windows(2).map(|w| (w[0] - w[1]).abs()).fold(0.0, f64::max)
    };
    assert!(spread(&config) > spread(&PhantomConfig { voxel_nm_zyx: [8.0; 3], ..config.clone() }) + 3.0);
}

#[test]
fn settings_out_of_range_are_refused_with_the_reason() {
    for config in [
        PhantomConfig { shape_zyx: [0, 4, 4], ..small() },
        PhantomConfig { shape_zyx: [usize::MAX, 4, 4], ..small() },
        PhantomConfig { voxel_nm_zyx: [0.0, 1.0, 1.0], ..small() },
        PhantomConfig { neurite_nm: f64::NAN, ..small() },
    ] {
        assert!(phantom(&config).unwrap_err().to_string().starts_with("phantom: "));
    }
}
