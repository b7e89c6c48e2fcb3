//! The operations of EMmamba at the sizes of one window, with what they have to move and to compute.

use burn::tensor::activation::{self, leaky_relu, silu};
use burn::tensor::module::conv3d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Tensor};
use tu_kernels::conv::{ConvAlgorithm, conv_same_with};
use tu_kernels::projection::Layout;
use tu_kernels::{
    ScanOrder, causal_conv_silu, gated_direction_sum, gelu, layer_norm_tokens, normalise_rows_rectified,
    project, selective_scan,
};

/// Taps of the causal convolution.
const TAPS: usize = 4;
/// States of the scan.
const STATES: usize = 16;
/// Slope of the residual blocks' rectifier.
const SLOPE: f32 = 0.01;

/// Flat inputs to the output, flat.
pub(crate) type Run = Box<dyn Fn(&[Tensor<1>]) -> Tensor<1>>;

/// An operation, ours and as burn's tensor operations.
pub(crate) struct Operation {
    pub(crate) name: String,
    /// Elements of every input.
    pub(crate) inputs: Vec<usize>,
    /// Bytes of inputs and outputs, each once, of the values and of the gradients.
    pub(crate) bytes: [usize; 2],
    /// FLOP of the values and of the gradients.
    pub(crate) flop: [usize; 2],
    pub(crate) ours: Run,
    /// What a network written in burn's operations would run; none for the scan, which would be thousands of launches.
    pub(crate) plain: Option<Run>,
}

/// The operations of a network of `widths` (five levels) with (1, k, k) kernels over a window.
pub(crate) fn operations(widths: [usize; 5], k: usize, window_zyx: [usize; 3]) -> Vec<Operation> {
    let [depth, height, width] = window_zyx;
    let at = |level: usize| [depth, height >> level, width >> level];
    let stage = at(1);
    let tokens: usize = stage.iter().product();
    let [c0, c1, _, c3, hidden] = widths;
    vec![
        convolution(c0, c0, at(0), [1, k, k]),
        convolution(2 * c0, c0, at(0), [1, k, k]),
        convolution(c1, c1, at(1), [1, k, k]),
        convolution(c3, hidden, at(4), [1, k, k]),
        convolution(c0, c0, at(1), [3; 3]),
        normalisation(c0, at(0).iter().product()),
        layer_norm(tokens, c0),
        causal_conv(tokens, 2 * c0, ScanOrder::InterSlice { slices: depth }),
        scan(tokens, 2 * c0),
        gate(tokens, 2 * c0, depth),
        out_projection(tokens, 2 * c0, c0),
        pointwise(tokens, c0, 2 * c0),
        gelu_of(tokens * 2 * c0),
    ]
}

fn convolution(input: usize, output: usize, size_zyx: [usize; 3], kernel: [usize; 3]) -> Operation {
    let voxels: usize = size_zyx.iter().product();
    let [d, h, w] = size_zyx;
    let [kz, ky, kx] = kernel;
    let weights = input * output * kz * ky * kx;
    let tensors = move |x: &[Tensor<1>]| {
        (x[0].clone().reshape([1, input, d, h, w]), x[1].clone().reshape([output, input, kz, ky, kx]))
    };
    Operation {
        name: format!("conv {kz}×{ky}×{kx}, {input} → {output}, {d}×{h}×{w}"),
        inputs: vec![input * voxels, weights],
        bytes: [4 * (voxels * (input + output) + weights), 4 * (2 * voxels * (input + output) + 2 * weights)],
        flop: [2 * weights * voxels, 4 * weights * voxels],
        ours: Box::new(move |x| {
            let (x, weight) = tensors(x);
            // In f32 the tiled one everywhere; in half types matrix units win where a device has them.
            let f32 = x.dtype() == DType::F32;
            let algorithm = if f32 { ConvAlgorithm::Tiled } else { ConvAlgorithm::ByDevice };
            conv_same_with(x, weight, algorithm).reshape([output * voxels])
        }),
        plain: Some(Box::new(move |x| {
            let (x, weight) = tensors(x);
            let options = ConvOptions::new([1; 3], kernel.map(|k| k / 2), [1; 3], 1);
            conv3d(x, weight, None, options).reshape([output * voxels])
        })),
    }
}

/// Instance normalisation with a shortcut and the rectifier.
fn normalisation(channels: usize, voxels: usize) -> Operation {
    let n = channels * voxels;
    let rows = move |x: &Tensor<1>| x.clone().reshape([channels, voxels]);
    Operation {
        name: format!("normalise, add, rectify {channels}×{voxels}"),
        inputs: vec![n; 2],
        bytes: [3 * 4 * n, 5 * 4 * n],
        flop: [0; 2],
        ours: Box::new(move |x| normalise_rows_rectified(rows(&x[0]), Some(rows(&x[1])), SLOPE).reshape([n])),
        plain: Some(Box::new(move |x| {
            let centred = rows(&x[0]) - rows(&x[0]).mean_dim(1);
            let variance = centred.clone().powi_scalar(2).mean_dim(1);
            let unit = centred * (variance + 1e-5).sqrt().recip();
            leaky_relu(unit + rows(&x[1]), f64::from(SLOPE)).reshape([n])
        })),
    }
}

fn layer_norm(l: usize, c: usize) -> Operation {
    Operation {
        name: format!("layer norm, {l} tokens × {c}"),
        inputs: vec![c * l, c, c],
        bytes: [2 * 4 * c * l, 3 * 4 * c * l],
        flop: [0; 2],
        ours: Box::new(move |x| {
            layer_norm_tokens(x[0].clone().reshape([1, c, l]), x[1].clone(), x[2].clone()).reshape([c * l])
        }),
        plain: Some(Box::new(move |x| {
            let tokens = x[0].clone().reshape([1, c, l]).swap_dims(1, 2);
            let centred = tokens.clone() - tokens.mean_dim(2);
            let variance = centred.clone().powi_scalar(2).mean_dim(2);
            let unit = centred * (variance + 1e-5).sqrt().recip();
            (unit * x[1].clone().reshape([1, 1, c]) + x[2].clone().reshape([1, 1, c])).reshape([c * l])
        })),
    }
}

fn causal_conv(l: usize, e: usize, order: ScanOrder) -> Operation {
    Operation {
        name: format!("causal conv, SiLU, z fastest, {l} × {e}"),
        inputs: vec![l * e, e * TAPS, e],
        bytes: [2 * 4 * l * e, 3 * 4 * l * e],
        flop: [2 * TAPS * l * e, 4 * TAPS * l * e],
        ours: Box::new(move |x| {
            let weight = x[1].clone().reshape([e, TAPS]);
            causal_conv_silu(x[0].clone().reshape([1, l, e]), weight, x[2].clone(), order).reshape([l * e])
        }),
        plain: Some(Box::new(move |x| {
            let visited = transpose(x[0].clone().reshape([1, l, e]), order.slices());
            let start = Tensor::<3>::zeros([1, TAPS - 1, e], &visited.device()).cast(visited.dtype());
            let padded = Tensor::cat(vec![start, visited], 1);
            let weight = x[1].clone().reshape([e, TAPS]);
            let mut sum = x[2].clone().reshape([1, 1, e]);
            for tap in 0..TAPS {
                let weight = weight.clone().narrow(1, tap, 1).reshape([1, 1, e]);
                sum = padded.clone().narrow(1, tap, l) * weight + sum;
            }
            silu(sum).reshape([l * e])
        })),
    }
}

fn scan(l: usize, e: usize) -> Operation {
    // the rank of the steps that the network gives so many channels, twice those of its tokens
    let (n, r) = (STATES, e.div_ceil(32));
    let width = r + 2 * n;
    Operation {
        name: format!("selective scan, {l} × {e}, {n} states"),
        inputs: vec![l * e, l * width, e * r, e, e * n, e],
        bytes: [4 * l * (2 * e + width), 4 * l * (3 * e + 2 * width)],
        flop: [l * e * (9 * n + 2 * r), l * e * (27 * n + 6 * r)],
        ours: Box::new(move |x| {
            selective_scan(
                x[0].clone().reshape([1, l, e]),
                x[1].clone().reshape([1, l, width]),
                x[2].clone().reshape([e, r]),
                x[3].clone(),
                x[4].clone().reshape([e, n]),
                x[5].clone(),
            )
            .reshape([l * e])
        }),
        plain: None,
    }
}

fn gate(l: usize, e: usize, slices: usize) -> Operation {
    let cubes = move |x: &[Tensor<1>]| [0, 1, 2, 3].map(|i| x[i].clone().reshape([1, l, e]));
    Operation {
        name: format!("gated sum of three orders, {l} × {e}"),
        inputs: vec![l * e; 4],
        bytes: [5 * 4 * l * e, 9 * 4 * l * e],
        flop: [0; 2],
        ours: Box::new(move |x| {
            let [forward, backward, slice, z] = cubes(x);
            gated_direction_sum(forward, backward, slice, z, slices).reshape([l * e])
        }),
        plain: Some(Box::new(move |x| {
            let [forward, backward, slice, z] = cubes(x);
            ((forward + backward.flip([1]) + transpose(slice, l / slices)) * silu(z)).reshape([l * e])
        })),
    }
}

/// Tokens to a volume, as a Mamba block ends.
fn out_projection(l: usize, input: usize, output: usize) -> Operation {
    let tensors =
        move |x: &[Tensor<1>]| (x[0].clone().reshape([1, l, input]), x[1].clone().reshape([output, input]));
    Operation {
        name: format!("projection to a volume, {l} × {input} → {output}"),
        inputs: vec![l * input, output * input],
        bytes: [4 * l * (input + output), 2 * 4 * l * (input + output)],
        flop: [2 * l * input * output, 4 * l * input * output],
        ours: Box::new(move |x| {
            let (x, w) = tensors(x);
            project(x, w, None, Layout::Tokens, Layout::Volume).reshape([l * output])
        }),
        plain: Some(Box::new(move |x| {
            let (x, w) = tensors(x);
            let y = x.reshape([l, input]).matmul(w.transpose()).reshape([1, l, output]);
            y.swap_dims(1, 2).reshape([l * output])
        })),
    }
}

/// A 1×1×1 convolution with bias.
fn pointwise(l: usize, input: usize, output: usize) -> Operation {
    let tensors =
        move |x: &[Tensor<1>]| (x[0].clone().reshape([1, input, l]), x[1].clone().reshape([output, input]));
    Operation {
        name: format!("pointwise with bias, {input} → {output}, {l}"),
        inputs: vec![l * input, output * input, output],
        bytes: [4 * l * (input + output), 2 * 4 * l * (input + output)],
        flop: [2 * l * input * output, 4 * l * input * output],
        ours: Box::new(move |x| {
            let (volume, w) = tensors(x);
            project(volume, w, Some(x[2].clone()), Layout::Volume, Layout::Volume).reshape([l * output])
        }),
        plain: Some(Box::new(move |x| {
            let (volume, w) = tensors(x);
            let y = w.reshape([1, output, input]).matmul(volume);
            (y + x[2].clone().reshape([1, output, 1])).reshape([l * output])
        })),
    }
}

fn gelu_of(n: usize) -> Operation {
    Operation {
        name: format!("GELU, {n}"),
        inputs: vec![n],
        bytes: [2 * 4 * n, 3 * 4 * n],
        flop: [0; 2],
        ours: Box::new(move |x| gelu(x[0].clone())),
        plain: Some(Box::new(move |x| activation::gelu(x[0].clone()))),
    }
}

/// Reads L as (rows, L / rows) and transposes it.
fn transpose(tokens: Tensor<3>, rows: usize) -> Tensor<3> {
    let [b, l, e] = tokens.dims();
    tokens.reshape([b, rows, l / rows, e]).swap_dims(1, 2).reshape([b, l, e])
}
