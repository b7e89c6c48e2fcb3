//! Weights laid out once for a device's convolution, where they stay the same: for inference.

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use super::ConvAlgorithm;

/// A backend whose convolution reads its weights in a layout of its own.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex")
)]
pub trait PackedConvBackend: Backend {
    /// `w [out, in, kz, ky, kx]` in that layout, which no size of a volume has part in; without elements where the algorithm has
    /// none.
    fn pack_conv_weights(w: FloatTensor<Self>, algorithm: ConvAlgorithm) -> FloatTensor<Self>;

    /// [`ConvBackend::conv_same`](super::ConvBackend::conv_same) with weights of these dimensions, packed.
    fn conv_same_packed(x: FloatTensor<Self>, packed: FloatTensor<Self>, w: [usize; 5]) -> FloatTensor<Self>;
}

/// The weight of a size-keeping convolution in the layout of its device.
#[derive(Clone, Debug)]
pub struct PackedWeight {
    values: Tensor<1>,
    /// `[out, in, kz, ky, kx]`
    dims: [usize; 5],
}

impl PackedWeight {
    /// Packs `w [out, in, kz, ky, kx]`, kernel odd; `None` where the device's convolution reads weights as they are (the CPU,
    /// burn's) and where gradients are recorded.
    pub fn new(w: Tensor<5>) -> Option<Self> {
        Self::for_algorithm(w, ConvAlgorithm::ByDevice)
    }

    /// [`Self::new`] for a chosen algorithm.
    pub fn for_algorithm(w: Tensor<5>, algorithm: ConvAlgorithm) -> Option<Self> {
        let dims = w.dims();
        if w.device().is_autodiff() || dims[2..].iter().any(|k| k.is_multiple_of(2)) {
            return None;
        }
        let values = <Dispatch as PackedConvBackend>::pack_conv_weights(w.into_dispatch(), algorithm);
        let values = Tensor::<1>::from_dispatch(values);
        (values.dims() != [0]).then_some(Self { values, dims })
    }
}

/// [`conv_same`](super::conv_same) with a packed weight. Values alone: no gradients are recorded.
///
/// # Panics
/// When the channels do not agree or `x` records gradients.
pub fn conv_same_packed(x: Tensor<5>, w: &PackedWeight) -> Tensor<5> {
    let ([_, input, ..], [_, expected, ..]) = (x.dims(), w.dims);
    assert!(
        input == expected,
        "conv_same_packed: the input has {input} channels, the weight takes {expected}"
    );
    assert!(
        !x.device().is_autodiff(),
        "conv_same_packed: the input records gradients; pass the weight to conv_same instead"
    );
    let packed = w.values.clone().into_dispatch();
    Tensor::from_dispatch(<Dispatch as PackedConvBackend>::conv_same_packed(
        x.into_dispatch(),
        packed,
        w.dims,
    ))
}
