//! A forward pass of the network.

use std::time::Instant;

use burn::tensor::Device;
use tu_model::{ModelMetadata, Network, Precision};
use tu_segment::quantise_affinity;

use super::limits::Limits;
use super::plan::Plan;
use super::quiet::quietly;
use super::row::{Row, Stage};
use super::training::sample;

/// Largest difference of an affinity, and the share of those in another bin.
pub(super) fn check(plan: &Plan, add: &mut impl FnMut(Row)) {
    const NAMES: [&str; 2] = ["affinities, largest difference", "affinities in another bin"];
    let [z, y, x] = plan.window_zyx;
    let shape = format!("{z}×{y}×{x}, {}", plan.precision);
    let began = Instant::now();
    let found = affinities(plan, &plan.device, plan.precision);
    let milliseconds = 1e3 * began.elapsed().as_secs_f64();
    let both = found.and_then(|found| Ok((found, affinities(plan, &Device::flex(), Precision::F32)?)));
    let (found, expected) = match both {
        Ok(both) => both,
        Err(cause) => {
            for name in NAMES {
                add(Row::failed(Stage::Forward, name, &shape, &cause));
            }
            return;
        }
    };
    let limits = Limits::of(plan);
    let pairs = || found.iter().zip(&expected);
    let largest = pairs().map(|(f, e)| f64::from((f - e).abs())).fold(0.0, f64::max);
    let moved = pairs().filter(|(f, e)| quantise_affinity(**f) != quantise_affinity(**e)).count();
    let share = moved as f64 / expected.len().max(1) as f64;
    for (name, pair) in NAMES.into_iter().zip([(largest, limits.affinity), (share, limits.bins)]) {
        add(Row::new(Stage::Forward, name, &shape, pair, milliseconds));
    }
}

/// Affinities on a device, all of them finite.
fn affinities(plan: &Plan, device: &Device, precision: Precision) -> Result<Vec<f32>, String> {
    quietly(|| {
        let metadata = ModelMetadata::for_affinities(plan.architecture.clone(), [10.0; 3]);
        let network = Network::new(plan.network(device)?, metadata, device);
        let network = network.in_precision(precision).map_err(|error| error.to_string())?;
        let window = sample(plan.window_zyx, 0)?.raw;
        network.affinities_blocking(window, plan.window_zyx).map_err(|error| error.to_string())
    })?
}
