//! The forward passes of a step on several devices of one machine.
//!
//! Passes go round by round, one on each device, and their results are folded in the order of the passes: what a step
//! computes does not depend on the number of devices, except for how devices round. One device's results are folded
//! as they come, so nothing is held that one device alone would not hold.

use burn::tensor::Device;

use super::TrainError;

/// What a pass needs and has on one device.
pub(crate) trait Replica: Send + Sized {
    /// The same on another device, with gradients of its own.
    fn on(&self, device: &Device) -> Self;
}

/// Runs `pass` on every batch, on the device of `first` and on others, and gives the results to `fold` in order.
pub(crate) fn share_out<T: Replica, P: Send, R: Send>(
    first: T,
    others: &[Device],
    batches: Vec<P>,
    pass: impl Fn(&T, P) -> Result<R, TrainError> + Sync,
    mut fold: impl FnMut(R) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let useful = batches.len().saturating_sub(1);
    let more: Vec<T> = others.iter().take(useful).map(|device| first.on(device)).collect();
    let mut batches = batches.into_iter();
    if more.is_empty() {
        return batches.try_for_each(|batch| fold(pass(&first, batch)?));
    }
    let mut replicas: Vec<T> = std::iter::once(first).chain(more).collect();
    let pass = &pass;
    while batches.len() > 0 {
        let round = std::thread::scope(|scope| {
            let threads: Vec<_> = replicas
                .drain(..)
                .map(|replica| {
                    let batch = batches.next();
                    scope.spawn(move || {
                        let result = batch.map(|batch| pass(&replica, batch));
                        (replica, result)
                    })
                })
                .collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for finished in round {
            let (replica, result) = finished.map_err(|_| {
                TrainError::Device("computing a pass on one of several devices (its thread panicked)".into())
            })?;
            replicas.push(replica);
            if let Some(result) = result {
                fold(result?)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts its copies.
    struct Counted<'a>(&'a AtomicUsize);

    impl Replica for Counted<'_> {
        fn on(&self, _device: &Device) -> Self {
            self.0.fetch_add(1, Ordering::Relaxed);
            Self(self.0)
        }
    }

    #[test]
    fn results_come_in_the_order_of_the_passes_on_any_number_of_devices() {
        for devices in 1..5 {
            for passes in 0..8usize {
                let (copies, mut found) = (AtomicUsize::new(0), Vec::new());
                let others = vec![Device::flex(); devices - 1];
                let keep = |index| {
                    found.push(index);
                    Ok(())
                };
                share_out(Counted(&copies), &others, (0..passes).collect(), |_, index| Ok(index), keep)
                    .unwrap();
                assert_eq!(found, (0..passes).collect::<Vec<_>>());
                // no more copies than passes could use
                assert_eq!(copies.into_inner(), (devices - 1).min(passes.saturating_sub(1)));
            }
        }
    }

    #[test]
    fn a_pass_that_fails_or_panics_is_an_error() {
        let copies = AtomicUsize::new(0);
        let run = |fails: fn() -> Result<usize, TrainError>| {
            let pass = |_: &Counted<'_>, index: usize| if index == 1 { fails() } else { Ok(index) };
            let batches = (0..3).collect();
            share_out(Counted(&copies), &[Device::flex()], batches, pass, |_| Ok(())).unwrap_err().to_string()
        };
        assert!(run(|| Err(TrainError::Validation("pass".into()))).contains("pass"));
        assert!(run(|| panic!("expected")).contains("panicked"));
    }
}
