//! Quantisation on the CPU, against its steps one by one.
use crate::common::quantise::{QuantiseCase, quantise_cases};
use crate::common::values;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData, read_sync};
use tu_kernels::quantise;
use tu_kernels::quantise::{Crop, ReadError, cpu};

#[test]
fn bins_are_those_of_sigmoid_crop_and_quantisation_one_after_the_other() {
    let device = Device::flex();
    for (seed, case) in quantise_cases().into_iter().enumerate() {
        let logits = case.tensor(&case.logits(seed as u64 + 1), &device);
        let expected = read_sync(case.one_by_one(logits.clone()));
        assert!(quantise(logits, case.crop).read_blocking().unwrap() == expected, "{case:?}");
    }
}

/// Every 257th float there is, whatever its sign and magnitude.
#[test]
fn the_sigmoid_has_the_bits_of_burn_for_every_kind_of_float() {
    let floats: Vec<f32> = (0..u32::MAX).step_by(257).map(f32::from_bits).filter(|x| x.is_finite()).collect();
    let count = floats.len();
    let tensor = Tensor::<1>::from_data(TensorData::new(floats.clone(), [count]), &Device::flex());
    let affinities = read_sync(values(sigmoid(tensor)));
    let differing = floats.iter().zip(affinities).find(|(x, a)| cpu::bin(**x) != (a * 256.0) as u8);
    assert!(differing.is_none(), "{differing:?}");
}

#[test]
fn a_logit_that_is_not_finite_is_found_in_the_halo_too() {
    let device = Device::flex();
    let case = QuantiseCase::new(3, [4, 16, 16], [1, 3, 2], [2, 9, 11]);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for place in [0, 500, 3 * 4 * 256 - 1] {
            let mut logits = case.logits(1);
            logits[place] = bad;
            let found = quantise(case.tensor(&logits, &device), case.crop).read_blocking();
            assert!(matches!(found, Err(ReadError::NotFinite)), "{bad} at {place}: {found:?}");
        }
    }
}

#[test]
#[should_panic(expected = "is not within a window")]
fn a_crop_that_leaves_the_window_is_refused() {
    let case = QuantiseCase::new(1, [4, 4, 4], [0; 3], [4; 3]);
    let logits = case.tensor(&case.logits(1), &Device::flex());
    let _ = quantise(logits, Crop { origin_zyx: [1, 0, 0], shape_zyx: [4; 3] });
}
