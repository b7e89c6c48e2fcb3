//! Times the CPU scan: `cargo run --release -p tu-kernels --example scan_speed -- [threads [E L N]]`.
#![allow(clippy::print_stdout, reason = "the example's output")]
use std::time::Instant;
use tu_kernels::ScanShape;
use tu_kernels::cpu::{CHECKPOINT, ScanSlices, forward, gradients};

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let at = |i: usize, otherwise| numbers.get(i).copied().unwrap_or(otherwise);
    let shape = ScanShape { batch: 1, length: at(2, 102_400), channels: at(1, 16), states: at(3, 16) };
    let fill = |count: usize, scale: f32, shift: f32| -> Vec<f32> {
        (0..count).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 * scale + shift).collect()
    };
    let [u, delta] = [2.0, 3.0].map(|scale| fill(shape.tokens_by_channels(), scale, -1.5));
    let a = fill(shape.channels_by_states(), -16.0, -0.1);
    let [b, c] = [2.0, 1.0].map(|scale| fill(shape.tokens_by_states(), scale, -0.5));
    let d = fill(shape.channels, 1.0, 0.0);
    let inputs = ScanSlices { shape, u: &u, delta: &delta, a: &a, b: &b, c: &c, d: &d };
    let run = || {
        let mut best = [f64::INFINITY; 2];
        for _ in 0..5 {
            let start = Instant::now();
            let y = forward(&inputs);
            let middle = Instant::now();
            std::hint::black_box(gradients(&inputs, &y, CHECKPOINT));
            best[0] = best[0].min((middle - start).as_secs_f64() * 1e3);
            best[1] = best[1].min(middle.elapsed().as_secs_f64() * 1e3);
        }
        println!("{shape:?}: forward {:.1} ms, backward {:.1} ms", best[0], best[1]);
    };
    match rayon::ThreadPoolBuilder::new().num_threads(at(0, 2)).build() {
        Ok(pool) => pool.install(run),
        Err(error) => println!("{error}"),
    }
}
