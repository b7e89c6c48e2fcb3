//! Quantisation on a device (see `common/adapter.rs`), against the CPU.
use crate::common::adapter::{adapter, launches_on, poison};
use crate::common::quantise::{QuantiseCase, quantise_cases};
use burn::tensor::{Device, read_sync};
use tu_kernels::cube::launches;
use tu_kernels::quantise;
use tu_kernels::quantise::ReadError;
use tu_kernels::quantise::cube::LAUNCHES;

#[test]
fn bins_are_those_of_the_cpu_but_for_a_few_at_their_edges() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    let (mut all, mut off) = (0, 0);
    for (seed, case) in quantise_cases().into_iter().enumerate() {
        let logits = case.logits(seed as u64 + 1);
        let cpu = quantise(case.tensor(&logits, &Device::flex()), case.crop).read_blocking().unwrap();
        let before = launches();
        let found = quantise(case.tensor(&logits, &device), case.crop);
        assert_eq!(launches() - before, launches_on(&device, LAUNCHES));
        let found = found.read_blocking().unwrap();
        assert_eq!(found.len(), cpu.len(), "{case:?}");
        assert!(found.iter().zip(&cpu).all(|(a, b)| a.abs_diff(*b) <= 1), "{case:?}");
        off += found.iter().zip(&cpu).filter(|(a, b)| a != b).count();
        all += cpu.len();
    }
    println!("{off} of {all} bins differ");
    assert!(off * 2000 <= all, "{off} of {all} bins differ");
}

#[test]
fn a_logit_that_is_not_finite_is_found_wherever_it_is() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    let case = QuantiseCase::new(3, [9, 48, 33], [2, 8, 7], [5, 31, 19]);
    let last = case.logits(1).len() - 1;
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for place in [0, 4095, 4096, 20_000, last] {
            let mut logits = case.logits(1);
            logits[place] = bad;
            let found = quantise(case.tensor(&logits, &device), case.crop).read_blocking();
            assert!(matches!(found, Err(ReadError::NotFinite)), "{bad} at {place}: {found:?}");
        }
    }
    assert!(quantise(case.tensor(&case.logits(1), &device), case.crop).read_blocking().is_ok());
}

#[test]
fn results_wait_on_the_device_while_others_are_enqueued() {
    let Some((device, _guard)) = adapter() else { return };
    let case = QuantiseCase::new(3, [24, 64, 64], [4, 16, 16], [16, 32, 32]);
    let logits = [1, 2, 3].map(|seed| case.logits(seed));
    let waiting = logits.each_ref().map(|logits| quantise(case.tensor(logits, &device), case.crop));
    for (waiting, logits) in waiting.into_iter().zip(logits) {
        let alone = quantise(case.tensor(&logits, &device), case.crop).read_blocking().unwrap();
        assert!(read_sync(waiting.read()).unwrap() == alone);
    }
}
