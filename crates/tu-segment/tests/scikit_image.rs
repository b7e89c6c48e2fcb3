//! Scores equal those of scikit-image 0.26, on random cases that scikit-image itself has scored.
//!
//! `tests/python/skimage_peer.py --write-fixtures` makes the cases.

use std::collections::BTreeMap;

use serde::Deserialize;
use tu_segment::Contingency;

#[derive(Deserialize)]
struct Fixtures {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    segmentation: Vec<u64>,
    truth: Vec<u64>,
    scores: BTreeMap<String, f64>,
}

#[test]
fn scores_equal_those_of_scikit_image() {
    let fixtures: Fixtures = serde_json::from_str(include_str!("fixtures/scikit_image.json")).unwrap();
    assert!(fixtures.cases.len() >= 50);
    for (i, case) in fixtures.cases.iter().enumerate() {
        let half = case.truth.len() / 2;
        let mut table = Contingency::new();
        table.add(&case.segmentation[half..], &case.truth[half..]);
        let mut other = Contingency::new();
        other.add(&case.segmentation[..half], &case.truth[..half]);
        table.merge(other);
        let ours = serde_json::to_value(table.scores()).unwrap();
        assert_eq!(case.scores.len(), 6);
        for (key, expected) in &case.scores {
            let value = ours[key].as_f64().unwrap();
            assert!((value - expected).abs() < 1e-12, "case {i}: {key} is {value}, expected {expected}");
        }
    }
}
