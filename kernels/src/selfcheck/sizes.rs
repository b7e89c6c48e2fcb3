//! The sizes at which a network runs its operations.

use super::check::Check;
use super::operations::{
    causal_convolution, convolution, gated_sum, gelu, layer_normalisation, projection, row_normalisation,
    scan,
};
use crate::conv::ConvShape;
use crate::projection::Layout::{Tokens, Volume};
use crate::{ScanOrder, ScanShape};

/// The numbers that the sizes of a network's operations follow from: an encoder of four Mamba stages whose outputs feed a
/// convolutional encoder-decoder of five levels, y and x halved at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkSizes {
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Widths of the four stages and of the bottleneck below them.
    pub widths: [usize; 5],
    /// Kernels (z, y, x) of each level's blocks.
    pub kernels: [[usize; 3]; 5],
    /// Down-sampling along z from each level to the next, 1 or 2.
    pub z_strides: [usize; 4],
    /// k_z of the convolutions that do it: the stem's, and those of patches.
    pub z_down_kernels: [usize; 4],
    /// Slices of the inter-slice order; those of the level where there is none.
    pub slices: Option<usize>,
    /// States of the scans.
    pub states: usize,
    /// Taps of the causal convolutions.
    pub taps: usize,
    /// Channels of a scan as a multiple of those of its stage.
    pub expand: usize,
    /// Voxels of the window; y and x are multiples of 16.
    pub window_zyx: [usize; 3],
    /// Windows at a time.
    pub batch: usize,
}

impl NetworkSizes {
    /// One window of a network with one input and three affinities that keeps z, with (1, `kernel`, `kernel`) convolutions and
    /// otherwise the numbers of all presets.
    pub fn with_z_kept(widths: [usize; 5], kernel: usize, window_zyx: [usize; 3]) -> Self {
        Self {
            in_channels: 1,
            out_channels: 3,
            widths,
            kernels: [[1, kernel, kernel]; 5],
            z_strides: [1; 4],
            z_down_kernels: [1; 4],
            slices: None,
            states: 16,
            taps: 4,
            expand: 2,
            window_zyx,
            batch: 1,
        }
    }

    /// Every operation of a forward pass, each size once, finest level first.
    pub fn checks(&self) -> Vec<Check> {
        let mut list = List(Vec::new());
        // the stem, whose channels are the halves of rows and columns
        list.add(convolution(self.conv(
            1,
            [4 * self.in_channels, self.widths[0]],
            [self.z_down_kernels[0], 5, 5],
        )));
        self.block(&mut list, 0, self.in_channels, self.widths[0]);
        for level in 0..4 {
            // up from the level below, and its block
            let (width, below) = (self.widths[level], self.widths[level + 1]);
            let taps = 4 * self.z_strides[level];
            self.pointwise(&mut list, level + 1, [below, width * taps], false);
            self.block(&mut list, level, 2 * width, width);
        }
        self.pointwise(&mut list, 0, [self.widths[0], self.out_channels], true);
        for stage in 0..4 {
            self.stage(&mut list, stage);
            self.block(&mut list, stage + 1, self.widths[stage], self.widths[stage + 1]);
        }
        list.0
    }

    fn size_zyx(&self, level: usize) -> [usize; 3] {
        let [d, h, w] = self.window_zyx;
        [d.div_ceil(self.z_strides[..level].iter().product()), h >> level, w >> level]
    }

    fn voxels(&self, level: usize) -> usize {
        self.size_zyx(level).iter().product()
    }

    fn conv(&self, level: usize, [input, output]: [usize; 2], kernel_zyx: [usize; 3]) -> ConvShape {
        ConvShape { batch: self.batch, input, output, size_zyx: self.size_zyx(level), kernel_zyx }
    }

    fn pointwise(&self, list: &mut List, level: usize, [input, output]: [usize; 2], bias: bool) {
        list.add(projection([self.batch, input, output, self.voxels(level)], [Volume, Volume], bias));
    }

    /// Two convolutions and their normalisations, and the shortcut.
    fn block(&self, list: &mut List, level: usize, input: usize, output: usize) {
        let kernel = self.kernels[level];
        list.add(convolution(self.conv(level, [input, output], kernel)));
        list.add(convolution(self.conv(level, [output, output], kernel)));
        if input != output {
            self.pointwise(list, level, [input, output], false);
        }
        self.norms(list, level, output);
    }

    fn norms(&self, list: &mut List, level: usize, channels: usize) {
        for with_shortcut in [true, false] {
            list.add(row_normalisation(self.batch * channels, self.voxels(level), with_shortcut));
        }
    }

    /// What lies between a stage's down-sampling and its output.
    fn stage(&self, list: &mut List, stage: usize) {
        let (c, level, batch) = (self.widths[stage], stage + 1, self.batch);
        let (length, inner) = (self.voxels(level), self.expand * c);
        let (rank, states) = (c.div_ceil(16), self.states);
        let slices = self.slices.unwrap_or(self.size_zyx(level)[0]);
        if stage > 0 {
            let taps = 4 * self.z_down_kernels[stage];
            self.pointwise(list, level, [taps * self.widths[stage - 1], c], true);
        }
        list.add(convolution(self.conv(level, [c, c], [3; 3])));
        self.norms(list, level, c);
        self.pointwise(list, level, [c, c], true);

        list.add(layer_normalisation([batch, c, length]));
        let mut tokens = |input, output, to, bias| {
            list.add(projection([batch, input, output, length], [Tokens, to], bias));
        };
        tokens(c, 2 * inner, Tokens, false);
        tokens(inner, rank + 2 * states, Tokens, false);
        tokens(inner, c, Volume, false);
        for order in [ScanOrder::Forward, ScanOrder::Backward, ScanOrder::InterSlice { slices }] {
            list.add(causal_convolution([batch, length, inner], self.taps, order));
        }
        list.add(scan(ScanShape { batch, length, channels: inner, states, rank, groups: 1 }));
        list.add(gated_sum([batch, length, inner], slices));

        self.pointwise(list, level, [c, 2 * c], true);
        list.add(gelu(batch * 2 * c * length));
        self.pointwise(list, level, [2 * c, c], true);
    }
}

struct List(Vec<Check>);

impl List {
    /// Adds a check unless it is there.
    fn add(&mut self, check: Check) {
        let same = |known: &Check| known.kernel() == check.kernel() && known.shape() == check.shape();
        if !self.0.iter().any(same) {
            self.0.push(check);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tolerance::Kernel;
    use super::*;

    #[test]
    fn every_kernel_is_listed_and_no_size_twice() {
        let sizes = NetworkSizes::with_z_kept([8, 16, 32, 64, 128], 5, [16, 160, 160]);
        let checks = sizes.checks();
        for kernel in Kernel::ALL {
            assert!(checks.iter().any(|check| check.kernel() == kernel), "{kernel}");
        }
        let mut names: Vec<String> =
            checks.iter().map(|check| format!("{} {}", check.kernel(), check.shape())).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        // the largest of all: the decoder's convolution at full resolution
        assert!(names.contains(&"convolution 1 × 16 → 8, 1×5×5 over 16×160×160".to_owned()), "{names:?}");
        // with z strided by 2 the bottleneck has one slice
        let strided = NetworkSizes { z_strides: [2; 4], slices: Some(5), ..sizes };
        assert!(strided.checks().iter().any(|check| check.shape() == "1 × 64 → 128, 1×5×5 over 1×10×10"));
    }
}
