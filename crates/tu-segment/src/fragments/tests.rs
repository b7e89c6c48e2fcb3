use proptest::prelude::*;

use super::*;

fn methods() -> [FragmentMethod; 3] {
    ["affinity", "seeded", "slice"].map(|name| FragmentMethod::from_name(name).unwrap())
}

fn label(data: &[u8], shape_zyx: [usize; 3], method: &FragmentMethod) -> Vec<u32> {
    fragments(&AffinityView::new(data, shape_zyx).unwrap(), method)
}

/// Labels must be 1..=n without gaps, apart from 0.
fn count(labels: &[u32]) -> u32 {
    let mut seen = labels.to_vec();
    seen.sort_unstable();
    seen.dedup();
    seen.retain(|&label| label != 0);
    assert!(seen.iter().copied().eq(1..=seen.len() as u32), "labels are not 1..=n: {seen:?}");
    seen.len() as u32
}

#[test]
fn a_membrane_in_a_slice_goes_to_the_side_that_reaches_it_first() {
    let row = |a: u8, b: u8| (0..9).map(|x| if x == 4 { b } else { a }).collect::<Vec<u8>>();
    let plane = row(255, 0).repeat(7);
    let data = [plane.clone(), plane.clone(), plane].concat();
    let labels = label(&data, [1, 7, 9], &FragmentMethod::Slice(SliceWatershed::default()));
    let expected = [1, 1, 1, 1, 1, 2, 2, 2, 2].repeat(7);
    assert_eq!(labels, expected);
}

#[test]
fn slices_have_fragments_of_their_own() {
    let labels = label(&[255; 3 * 3 * 4 * 5], [3, 4, 5], &FragmentMethod::Slice(SliceWatershed::default()));
    assert_eq!(labels, [[1; 20], [2; 20], [3; 20]].concat());
}

#[test]
fn water_flows_up_the_steepest_affinity() {
    // a_x between voxels 0-1, 1-2, …: two basins meet at the weakest link.
    let a_x = [9, 200, 150, 40, 180, 220];
    let data = [[0; 6], [0; 6], a_x].concat();
    let labels = label(&data, [1, 1, 6], &FragmentMethod::default());
    assert_eq!(labels, [1, 1, 1, 2, 2, 2]);
}

#[test]
fn thresholds_cut_weak_edges_and_join_strong_ones() {
    let a_x = [9, 200, 100, 210, 20, 30];
    let data = [[0; 6], [0; 6], a_x].concat();
    let method = |low, high| FragmentMethod::Affinity(AffinityWatershed { low, high });
    assert_eq!(label(&data, [1, 1, 6], &method(0.0, 1.0)), [1, 1, 2, 2, 3, 3]);
    assert_eq!(label(&data, [1, 1, 6], &method(0.0, 100.0 / 256.0)), [1, 1, 1, 1, 2, 2]);
    assert_eq!(label(&data, [1, 1, 6], &method(29.0 / 256.0, 1.0)), [1, 1, 2, 2, 3, 3]);
    assert_eq!(label(&data, [1, 1, 6], &method(30.0 / 256.0, 1.0)), [1, 1, 2, 2, 0, 0]);
}

#[test]
fn senseless_thresholds_do_no_harm() {
    for (low, high) in [(1.0, 0.0), (0.9, 0.1), (f32::NAN, f32::NAN), (-3.0, 7.0), (2.0, 2.0)] {
        let method = FragmentMethod::Affinity(AffinityWatershed { low, high });
        count(&label(&(0..=255).cycle().take(3 * 60).collect::<Vec<_>>(), [3, 4, 5], &method));
    }
    for voxel_nm_zyx in [[0.0; 3], [f32::NAN; 3], [-1.0, 1.0, 1.0], [f32::INFINITY; 3]] {
        let method = FragmentMethod::Seeded(SeededWatershed { voxel_nm_zyx, smoothing: 3 });
        count(&label(&(0..=255).cycle().take(3 * 60).collect::<Vec<_>>(), [3, 4, 5], &method));
    }
}

#[test]
fn nothing_and_everything_and_a_single_voxel_have_the_fragments_one_expects() {
    for method in methods() {
        let name = method.name();
        assert!(label(&[], [0, 4, 4], &method).is_empty(), "{name}");
        assert!(label(&[], [4, 4, 0], &method).is_empty(), "{name}");
        let single = u32::from(name != "affinity");
        assert_eq!(label(&[255; 3], [1, 1, 1], &method), [single], "{name}: one voxel has no edge");
        let per_slice = if name == "slice" { 3 } else { 1 };
        assert_eq!(count(&label(&[255; 180], [3, 4, 5], &method)), per_slice, "{name} on full affinities");
        let on_zero = label(&[0; 180], [3, 4, 5], &method);
        if name == "affinity" {
            assert_eq!(on_zero, [0; 60]);
        } else {
            assert_eq!(count(&on_zero), per_slice, "{name} on zero affinities");
        }
    }
}

#[test]
fn anisotropic_voxels_change_what_is_near() {
    // Two rooms of 3 × 9 × 9 voxels joined by a waist: far apart in plane, or in z if voxels are tall.
    let shape = [9, 9, 9];
    let open = |z: usize| z != 4;
    let plane: Vec<u8> = (0..729).map(|v| if open(v / 81) { 255 } else { 0 }).collect();
    let data = [plane.clone(), plane.clone(), plane].concat();
    for voxel_nm_zyx in [[1.0; 3], [10.0, 1.0, 1.0], [40.0, 4.0, 4.0]] {
        let method = FragmentMethod::Seeded(SeededWatershed { voxel_nm_zyx, ..Default::default() });
        let labels = label(&data, shape, &method);
        assert_eq!(count(&labels), 2);
        assert_ne!(labels[0], labels[728]);
    }
}

#[test]
fn methods_are_written_with_their_settings_and_read_with_defaults() {
    for method in methods() {
        let json = serde_json::to_string(&method).unwrap();
        assert_eq!(serde_json::from_str::<FragmentMethod>(&json).unwrap(), method);
        let bare = format!("{{\"method\":\"{}\"}}", method.name());
        assert_eq!(serde_json::from_str::<FragmentMethod>(&bare).unwrap(), method);
    }
    let set: FragmentMethod = serde_json::from_str("{\"method\":\"affinity\",\"low\":0.25}").unwrap();
    assert_eq!(set, FragmentMethod::Affinity(AffinityWatershed { low: 0.25, high: 0.9999 }));
    for wrong in ["{\"method\":\"magic\"}", "{}", "{\"method\":\"affinity\",\"lo\":0.1}"] {
        assert!(serde_json::from_str::<FragmentMethod>(wrong).is_err(), "{wrong}");
    }
    assert!(FragmentMethod::from_name("magic").unwrap_err().to_string().contains("«magic»"));
}

/// Flooding by its definition: of all free voxels seen from a label, the one with the smallest (level, order of
/// being seen) spreads next.
fn naive_flood(labels: &mut [u32], heights: &[u16], shape: [usize; 3]) {
    let [_, height, width] = shape;
    let mut seen: Vec<usize> = (0..labels.len()).filter(|&v| labels[v] != 0).collect();
    let mut done = vec![false; labels.len()];
    while let Some(&v) = seen.iter().filter(|&&v| !done[v]).min_by_key(|&&v| heights[v]) {
        done[v] = true;
        let place = |v: usize| [v / width / height, v / width % height, v % width].map(|i| i as isize);
        for other in 0..labels.len() {
            let offsets: isize = (0..3).map(|axis| (place(v)[axis] - place(other)[axis]).abs()).sum();
            if offsets == 1 && labels[other] == 0 {
                labels[other] = labels[v];
                seen.push(other);
            }
        }
    }
}

proptest! {
    #[test]
    fn flooding_takes_the_lowest_voxel_that_was_seen_first(
        shape in [1usize..4, 1usize..5, 1usize..6],
        heights in prop::collection::vec(0u16..6, 60),
        seeds in prop::collection::vec(prop::sample::select(vec![0u32, 0, 0, 0, 1, 2, 3]), 60),
    ) {
        let voxels = shape.iter().product();
        let mut fast = seeds[..voxels].to_vec();
        let mut slow = fast.clone();
        flood::flood(&mut fast, &heights[..voxels], 6, shape, [true; 3]);
        naive_flood(&mut slow, &heights[..voxels], shape);
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn every_method_numbers_its_fragments_without_gaps(
        shape in [1usize..6, 1usize..7, 1usize..8],
        data in prop::collection::vec(prop::sample::select(vec![0u8, 1, 60, 128, 129, 250, 255]), 3 * 210),
    ) {
        let voxels: usize = shape.iter().product();
        for method in methods() {
            let labels = label(&data[..3 * voxels], shape, &method);
            prop_assert_eq!(labels.len(), voxels);
            let fragments = count(&labels);
            prop_assert!(method.name() == "affinity" || (fragments > 0 && !labels.contains(&0)));
        }
    }

    #[test]
    fn voxels_joined_by_a_certain_affinity_share_their_fragment(
        data in prop::collection::vec(prop::sample::select(vec![0u8, 7, 100, 255]), 3 * 60),
    ) {
        let shape = [3, 4, 5];
        let labels = label(&data, shape, &FragmentMethod::default());
        for (axis, stride) in [20, 5, 1].into_iter().enumerate() {
            for v in 0..60 {
                let place = [v / 20, v / 5 % 4, v % 5][axis];
                if place > 0 && data[axis * 60 + v] == 255 {
                    prop_assert_eq!(labels[v], labels[v - stride]);
                }
            }
        }
    }
}
