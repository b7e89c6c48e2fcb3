//! Sizes of a size-keeping convolution.

/// Sizes of one convolution over `[B, C, D, H, W]` with zero padding k/2 and stride 1; kernels are odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Samples.
    pub batch: usize,
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Voxels along z, y, x.
    pub size_zyx: [usize; 3],
    /// Kernel taps along z, y, x.
    pub kernel_zyx: [usize; 3],
}

impl ConvShape {
    /// From the dimensions of the input `[B, in, D, H, W]` and of the weight `[out, in, kz, ky, kx]`.
    pub fn new(x: [usize; 5], w: [usize; 5]) -> Self {
        let ([batch, input, size_zyx @ ..], [output, _, kernel_zyx @ ..]) = (x, w);
        Self { batch, input, output, size_zyx, kernel_zyx }
    }

    /// Weights of a pair of channels.
    pub fn taps(&self) -> usize {
        self.kernel_zyx.iter().product()
    }

    /// Voxels of one channel of one sample.
    pub fn voxels(&self) -> usize {
        self.size_zyx.iter().product()
    }

    /// Multiplications of the values, and of either gradient; taps that fall outside are counted.
    pub fn products(&self) -> usize {
        self.batch * self.voxels() * self.input * self.output * self.taps()
    }

    /// The input's gradient is a convolution with inputs and outputs exchanged.
    pub(super) fn transposed(&self) -> Self {
        Self { input: self.output, output: self.input, ..*self }
    }
}
