//! The f64 gradients against finite differences.
mod common;
use common::{inputs, shape, uniform};
use tu_kernels::ScanShape;
use tu_kernels::reference::{ScanInputs, selective_scan_f64, selective_scan_gradients_f64};

type Field = fn(&mut ScanInputs) -> &mut Vec<f64>;

#[test]
fn reference_gradients_equal_central_differences() {
    let grouped = ScanShape { groups: 2, ..shape(4, 3, 2, 3) };
    for (seed, shape) in
        [shape(2, 7, 3, 4), shape(1, 1, 2, 1), shape(1, 12, 1, 3), grouped].into_iter().enumerate()
    {
        let inputs = inputs(shape, seed as u64 + 1);
        let y_grad = uniform(shape.tokens_by_channels(), 77);
        let loss = |inputs: &ScanInputs| -> f64 {
            selective_scan_f64(inputs).iter().zip(&y_grad).map(|(y, g)| y * g).sum()
        };
        let found = selective_scan_gradients_f64(&inputs, &y_grad);
        let fields: [(&str, Field, &[f64]); 6] = [
            ("u", |i| &mut i.u, &found.u),
            ("projected", |i| &mut i.projected, &found.projected),
            ("step_weight", |i| &mut i.step_weight, &found.step_weight),
            ("step_bias", |i| &mut i.step_bias, &found.step_bias),
            ("a_log", |i| &mut i.a_log, &found.a_log),
            ("d", |i| &mut i.d, &found.d),
        ];
        for (name, field, gradient) in fields {
            for (at, &gradient) in gradient.iter().enumerate() {
                let moved = |by: f64| {
                    let mut inputs = inputs.clone();
                    field(&mut inputs)[at] += by;
                    loss(&inputs)
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let error = (difference - gradient).abs() / (1.0 + gradient.abs());
                assert!(
                    error <= 1e-6,
                    "{name}[{at}] of {shape:?}: {gradient} but differences give {difference}"
                );
            }
        }
    }
}
