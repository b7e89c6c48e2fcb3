//! The operations of this crate as checks, with the same in burn's tensor operations for the CPU to be compared with, in f64.

use burn::tensor::Tensor;
use burn::tensor::activation::{leaky_relu, silu};
use burn::tensor::module::conv3d;
use burn::tensor::ops::ConvOptions;

use super::check::{Check, Input, Reference, Spread};
use super::tolerance::Kernel;
use crate::conv::ConvShape;
use crate::norm::EPSILON;
use crate::projection::Layout;
use crate::{ScanOrder, ScanShape};

/// As most inputs are drawn.
const PLAIN: Spread = Spread::Uniform(-1.0, 1.0);

/// An input with a value for every position.
fn positions(name: &'static str, count: usize, spread: Spread) -> Input {
    Input { name, count, spread, summed: false }
}

/// A parameter.
fn parameter(name: &'static str, count: usize, spread: Spread) -> Input {
    Input { name, count, spread, summed: true }
}

/// x̂ over an axis.
fn normalised<const D: usize>(x: Tensor<D>, axis: usize) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(axis);
    let variance = centred.clone().powi_scalar(2).mean_dim(axis);
    centred * (variance + EPSILON).sqrt().recip()
}

/// [`conv_same`](crate::conv_same), by the algorithm that the device chooses.
pub fn convolution(shape: ConvShape) -> Check {
    let ConvShape { batch, input, output, size_zyx: [d, h, w], kernel_zyx } = shape;
    let [kz, ky, kx] = kernel_zyx;
    let voxels = batch * shape.voxels();
    let tensors = move |x: &[Tensor<1>]| {
        (x[0].clone().reshape([batch, input, d, h, w]), x[1].clone().reshape([output, input, kz, ky, kx]))
    };
    Check {
        kernel: Kernel::Convolution,
        shape: format!("{batch} × {input} → {output}, {kz}×{ky}×{kx} over {d}×{h}×{w}"),
        inputs: vec![
            positions("x", voxels * input, PLAIN),
            parameter("the weight", output * input * shape.taps(), PLAIN),
        ],
        outputs: voxels * output,
        in_half_types: true,
        operation: Box::new(move |x| {
            let (x, weight) = tensors(x);
            crate::conv_same(x, weight).reshape([voxels * output])
        }),
        reference: Reference::Plain(Box::new(move |x| {
            let (x, weight) = tensors(x);
            let options = ConvOptions::new([1; 3], kernel_zyx.map(|k| k / 2), [1; 3], 1);
            conv3d(x, weight, None, options).reshape([voxels * output])
        })),
    }
}

/// [`normalise_rows_rectified`](crate::normalise_rows_rectified), with a shortcut and a slope of 0.01, or alone with a slope of 0.
pub fn row_normalisation(rows: usize, n: usize, with_shortcut: bool) -> Check {
    let slope = if with_shortcut { 0.01 } else { 0.0 };
    let tensor = move |x: &Tensor<1>| x.clone().reshape([rows, n]);
    let inputs = if with_shortcut {
        // x̂ of uniform numbers stays below √3
        vec![
            positions("x", rows * n, Spread::Uniform(-0.2, 0.8)),
            positions("the shortcut", rows * n, Spread::Apart(0.0, [2.0, 3.0])),
        ]
    } else {
        vec![positions("x", rows * n, Spread::Apart(0.3, [0.25, 1.0]))]
    };
    Check {
        kernel: Kernel::RowNormalisation,
        shape: format!("{rows} rows of {n}{}", if with_shortcut { ", shortcut" } else { "" }),
        inputs,
        outputs: rows * n,
        in_half_types: true,
        operation: Box::new(move |x| {
            crate::normalise_rows_rectified(tensor(&x[0]), x.get(1).map(tensor), slope).reshape([rows * n])
        }),
        reference: Reference::Plain(Box::new(move |x| {
            let unit = normalised(tensor(&x[0]), 1);
            let sum = if let Some(shortcut) = x.get(1) { unit + tensor(shortcut) } else { unit };
            leaky_relu(sum, f64::from(slope)).reshape([rows * n])
        })),
    }
}

/// [`layer_norm_tokens`](crate::layer_norm_tokens()) of `[batch, channels, length]`.
pub fn layer_normalisation([batch, channels, length]: [usize; 3]) -> Check {
    let outputs = batch * channels * length;
    let volume = move |x: &Tensor<1>| x.clone().reshape([batch, channels, length]);
    Check {
        kernel: Kernel::LayerNormalisation,
        shape: format!("{batch} × {length} tokens of {channels}"),
        inputs: vec![
            positions("x", outputs, PLAIN),
            parameter("the weight", channels, Spread::Uniform(0.5, 1.5)),
            parameter("the bias", channels, PLAIN),
        ],
        outputs,
        in_half_types: false,
        operation: Box::new(move |x| {
            crate::layer_norm_tokens(volume(&x[0]), x[1].clone(), x[2].clone()).reshape([outputs])
        }),
        reference: Reference::Plain(Box::new(move |x| {
            let unit = normalised(volume(&x[0]).swap_dims(1, 2), 2);
            let [weight, bias] = [1, 2].map(|i: usize| x[i].clone().reshape([1, 1, channels]));
            (unit * weight + bias).reshape([outputs])
        })),
    }
}

/// [`causal_conv_silu`](crate::causal_conv_silu()) of `[batch, length, channels]`.
pub fn causal_convolution([batch, length, channels]: [usize; 3], taps: usize, order: ScanOrder) -> Check {
    let outputs = batch * length * channels;
    let tokens = move |x: &Tensor<1>| x.clone().reshape([batch, length, channels]);
    let way = match order {
        ScanOrder::Forward => "forward".to_owned(),
        ScanOrder::Backward => "backward".to_owned(),
        ScanOrder::InterSlice { slices } => format!("{slices} slices"),
    };
    Check {
        kernel: Kernel::CausalConvolution,
        shape: format!("{batch} × {length} × {channels}, {taps} taps, {way}"),
        inputs: vec![
            positions("x", outputs, Spread::Uniform(-3.0, 3.0)),
            parameter("the weight", channels * taps, PLAIN),
            parameter("the bias", channels, PLAIN),
        ],
        outputs,
        in_half_types: false,
        operation: Box::new(move |x| {
            let weight = x[1].clone().reshape([channels, taps]);
            crate::causal_conv_silu(tokens(&x[0]), weight, x[2].clone(), order).reshape([outputs])
        }),
        reference: Reference::Plain(Box::new(move |x| {
            let visited = match order {
                ScanOrder::Forward => tokens(&x[0]),
                ScanOrder::Backward => tokens(&x[0]).flip([1]),
                ScanOrder::InterSlice { slices } => transposed(tokens(&x[0]), slices),
            };
            let start =
                Tensor::<3>::zeros([batch, taps - 1, channels], &visited.device()).cast(visited.dtype());
            let padded = Tensor::cat(vec![start, visited], 1);
            let weight = x[1].clone().reshape([channels, taps]);
            let mut sum = x[2].clone().reshape([1, 1, channels]);
            for tap in 0..taps {
                let weight = weight.clone().narrow(1, tap, 1).reshape([1, 1, channels]);
                sum = padded.clone().narrow(1, tap, length) * weight + sum;
            }
            silu(sum).reshape([outputs])
        })),
    }
}

/// [`selective_scan`](crate::selective_scan), with steps so small that states reach over several chunks.
pub fn scan(shape: ScanShape) -> Check {
    let ScanShape { batch, length, channels, states, rank, groups } = shape;
    let (outputs, columns, rows) = (batch * length * channels, rank + 2 * states, groups * channels);
    let bound = (rank as f32).sqrt().recip();
    Check {
        kernel: Kernel::Scan,
        shape: format!("{batch} × {length} × {channels}, {states} states, rank {rank}"),
        inputs: vec![
            positions("u", outputs, PLAIN),
            positions("δ, b and c", batch * length * columns, PLAIN),
            parameter("the map of the steps", rows * rank, Spread::Uniform(-bound, bound)),
            parameter("their bias", rows, Spread::Uniform(-7.0, -1.0)),
            parameter("the decay", rows * states, Spread::Uniform(-2.0, 2.7)),
            parameter("d", rows, PLAIN),
        ],
        outputs,
        in_half_types: false,
        operation: Box::new(move |x| {
            let y = crate::selective_scan(
                x[0].clone().reshape([batch, length, channels]),
                x[1].clone().reshape([batch, length, columns]),
                x[2].clone().reshape([rows, rank]),
                x[3].clone(),
                x[4].clone().reshape([rows, states]),
                x[5].clone(),
            );
            y.reshape([outputs])
        }),
        reference: Reference::Scan(shape),
    }
}

/// [`gated_direction_sum`](crate::gated_direction_sum()) of `[batch, length, channels]`.
pub fn gated_sum([batch, length, channels]: [usize; 3], slices: usize) -> Check {
    let outputs = batch * length * channels;
    let tokens =
        move |x: &[Tensor<1>]| [0, 1, 2, 3].map(|i: usize| x[i].clone().reshape([batch, length, channels]));
    let names = ["the forward direction", "the backward direction", "the inter-slice direction", "the gate"];
    Check {
        kernel: Kernel::GatedSum,
        shape: format!("{batch} × {length} × {channels}, {slices} slices"),
        inputs: names.map(|name| positions(name, outputs, Spread::Uniform(-4.0, 4.0))).into(),
        outputs,
        in_half_types: false,
        operation: Box::new(move |x| {
            let [forward, backward, slice, z] = tokens(x);
            crate::gated_direction_sum(forward, backward, slice, z, slices).reshape([outputs])
        }),
        reference: Reference::Plain(Box::new(move |x| {
            let [forward, backward, slice, z] = tokens(x);
            ((forward + backward.flip([1]) + transposed(slice, length / slices)) * silu(z)).reshape([outputs])
        })),
    }
}

/// [`project`](crate::project) of `sizes`: batch, input channels, output channels, positions.
pub fn projection(sizes: [usize; 4], layouts: [Layout; 2], with_bias: bool) -> Check {
    let ([batch, input, output, length], [from, to]) = (sizes, layouts);
    let outputs = batch * output * length;
    let tensors = move |x: &[Tensor<1>]| {
        (x[0].clone().reshape(from.shape([batch, input, length])), x[1].clone().reshape([output, input]))
    };
    let name = |layout| if layout == Layout::Volume { "volume" } else { "tokens" };
    let mut inputs =
        vec![positions("x", batch * input * length, PLAIN), parameter("the weight", output * input, PLAIN)];
    inputs.extend(with_bias.then(|| parameter("the bias", output, PLAIN)));
    Check {
        kernel: Kernel::Projection,
        shape: format!(
            "{batch} × {length}, {input} → {output}, {} to {}{}",
            name(from),
            name(to),
            if with_bias { ", bias" } else { "" }
        ),
        inputs,
        outputs,
        in_half_types: from == Layout::Volume && to == Layout::Volume,
        operation: Box::new(move |x| {
            let (tensor, weight) = tensors(x);
            crate::project(tensor, weight, x.get(2).cloned(), from, to).reshape([outputs])
        }),
        reference: Reference::Plain(Box::new(move |x| {
            let (tensor, weight) = tensors(x);
            let tokens = if from == Layout::Volume { tensor.swap_dims(1, 2) } else { tensor };
            let mut y = tokens.reshape([batch * length, input]).matmul(weight.transpose());
            if let Some(bias) = x.get(2) {
                y = y + bias.clone().reshape([1, output]);
            }
            let y = y.reshape([batch, length, output]);
            let y = if to == Layout::Volume { y.swap_dims(1, 2) } else { y };
            y.reshape([outputs])
        })),
    }
}

/// [`gelu`](crate::gelu()) of so many values.
pub fn gelu(count: usize) -> Check {
    Check {
        kernel: Kernel::Gelu,
        shape: format!("{count} values"),
        inputs: vec![positions("x", count, Spread::Uniform(-8.0, 8.0))],
        outputs: count,
        in_half_types: true,
        operation: Box::new(|x| crate::gelu(x[0].clone())),
        // burn's own has the gradient of the tanh approximation
        reference: Reference::Plain(Box::new(|x| {
            let normal =
                (x[0].clone() * core::f64::consts::FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5);
            x[0].clone() * normal
        })),
    }
}

/// Reads L as (rows, L / rows) and transposes it.
fn transposed(tokens: Tensor<3>, rows: usize) -> Tensor<3> {
    let [b, l, e] = tokens.dims();
    tokens.reshape([b, rows, l / rows, e]).swap_dims(1, 2).reshape([b, l, e])
}
