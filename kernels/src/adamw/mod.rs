//! What happens to every parameter of a network in a training step, for all of them at once: AdamW (Loshchilov and Hutter,
//! decoupled weight decay), the squares that the gradients' norm is made of, and weighted sums for moving averages.
//!
//! With η' = η/(1−β₁ᵗ), per element, each operation rounded to f32:
//!
//! ```text
//! g ← c·g;      m ← β₁m + (1−β₁)g;      v ← β₂v + (1−β₂)g²
//! θ ← (1−ηλ)θ − η'm / (√(v/(1−β₂ᵗ)) + ε)
//! ```
//! A network has hundreds of parameters and most are small, so that an operation for each would be thousands of launches. The
//! moments of many parameters lie side by side in one tensor and are changed in place; gradients and values stay where
//! they are.
//!
//! | backend | what runs |
//! |---|---|
//! | Flex | [`cpu`]: pieces of all parameters over threads |
//! | Cube | `cube`: as many parameters a launch as the device binds buffers |

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;
#[cfg(feature = "flex")]
mod flex;
mod tensor_list;

use core::ops::Range;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

pub use tensor_list::TensorList;

use crate::precision::{in_f32, in_type};

/// Settings of a step, the same for all parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamwStep {
    /// Factor of the gradients, c.
    pub clip: f64,
    /// η.
    pub learning_rate: f64,
    /// β₁ and β₂.
    pub betas: [f64; 2],
    /// ε.
    pub epsilon: f64,
    /// t, from 1.
    pub step: u64,
}

/// The numbers that a step multiplies with, rounded to f32 once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// c.
    pub clip: f32,
    /// β₁ and β₂.
    pub betas: [f32; 2],
    /// 1−β₁ and 1−β₂.
    pub rests: [f32; 2],
    /// η/(1−β₁ᵗ).
    pub rate: f32,
    /// 1−β₂ᵗ.
    pub correction: f32,
    /// ε.
    pub epsilon: f32,
}

impl AdamwStep {
    /// What the arithmetic needs.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let t = i32::try_from(self.step).unwrap_or(i32::MAX);
        let corrections = self.betas.map(|beta| 1.0 - beta.powi(t));
        Rates {
            clip: self.clip as f32,
            betas: self.betas.map(|beta| beta as f32),
            rests: self.betas.map(|beta| (1.0 - beta) as f32),
            rate: (self.learning_rate / corrections[0]) as f32,
            correction: corrections[1] as f32,
            epsilon: self.epsilon as f32,
        }
    }
}

/// Where a parameter's moments lie, and how much of it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Elements of [`Moments`].
    pub moments: Range<usize>,
    /// 1−ηλ.
    pub keep: f32,
}

/// A parameter in a step.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// θ.
    pub value: Tensor<1>,
    /// Its gradient, of the same length.
    pub gradient: Tensor<1>,
    /// First element of its moments.
    pub start: usize,
    /// ηλ.
    pub decay: f64,
}

/// First and second moments of parameters, side by side: two f32 tensors of one length.
#[derive(Clone, Debug)]
pub struct Moments {
    /// m.
    pub first: Tensor<1>,
    /// v.
    pub second: Tensor<1>,
}

/// A backend with the operations on all parameters. No autodiff: an optimiser works beside the graph.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait AdamwBackend: Backend {
    /// Sums of squares of parts of the tensors, which together are all of them, in an order that depends on nothing but
    /// their lengths.
    fn square_sums(#[extension_type] tensors: TensorList<Self>) -> FloatTensor<Self>;

    /// `weights[0]·a + weights[1]·b` of every pair of tensors of one length.
    fn weighted_sums(
        #[extension_type] a: TensorList<Self>,
        #[extension_type] b: TensorList<Self>,
        weights: [f32; 2],
    ) -> Vec<FloatTensor<Self>>;

    /// New values of the parameters, and the moments, of which those outside of `places` are as before.
    fn adamw(
        #[extension_type] values: TensorList<Self>,
        #[extension_type] gradients: TensorList<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        places: Vec<Place>,
        rates: Rates,
    ) -> (Vec<FloatTensor<Self>>, FloatTensor<Self>, FloatTensor<Self>);
}

/// The tensors in f32.
fn list(tensors: impl IntoIterator<Item = Tensor<1>>) -> TensorList<Dispatch> {
    TensorList(tensors.into_iter().map(|tensor| in_f32(tensor).into_dispatch()).collect())
}

/// Sums of squares, f32, of parts of the tensors: their own sum is the square of the norm of all of them, and is best taken
/// in f64. Something that is not finite makes at least one of them not finite. `None` without tensors.
#[must_use]
pub fn square_sums(tensors: Vec<Tensor<1>>) -> Option<Tensor<1>> {
    if tensors.is_empty() {
        return None;
    }
    Some(Tensor::from_dispatch(<Dispatch as AdamwBackend>::square_sums(list(tensors))))
}

/// `weights[0]·a + weights[1]·b` of every pair, in f32, the weights rounded to f32; returned in the type of `a`. The tensors
/// must not be on an autodiff device.
///
/// # Panics
/// When the tensors of a pair have different lengths.
#[must_use]
pub fn weighted_sums(pairs: Vec<(Tensor<1>, Tensor<1>)>, weights: [f64; 2]) -> Vec<Tensor<1>> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let types: Vec<_> = pairs.iter().map(|(a, _)| a.dtype()).collect();
    for (a, b) in &pairs {
        let ([a], [b]) = (a.dims(), b.dims());
        assert!(a == b, "weighted sums: tensors of {a} and {b} elements do not pair up");
    }
    let (a, b): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let sums = <Dispatch as AdamwBackend>::weighted_sums(list(a), list(b), weights.map(|w| w as f32));
    sums.into_iter().zip(types).map(|(sum, dtype)| in_type(Tensor::from_dispatch(sum), dtype)).collect()
}

/// A step of AdamW: the parameters' new values, each in its own type, and the moments. Moments that nobody else holds are
/// changed in place; those of other parameters stay as they are. The tensors must not be on an autodiff device.
///
/// # Panics
/// When a gradient's length is not its value's, or places of moments overlap, do not ascend or lie outside.
#[must_use]
pub fn adamw(parameters: Vec<Parameter>, moments: Moments, step: &AdamwStep) -> (Vec<Tensor<1>>, Moments) {
    if parameters.is_empty() {
        return (Vec::new(), moments);
    }
    let ([length], [second]) = (moments.first.dims(), moments.second.dims());
    assert!(length == second, "AdamW: {length} first moments and {second} second ones do not pair up");
    let mut places: Vec<Place> = Vec::with_capacity(parameters.len());
    for parameter in &parameters {
        let ([value], [gradient]) = (parameter.value.dims(), parameter.gradient.dims());
        assert!(value == gradient, "AdamW: a gradient has {gradient} elements, its parameter {value}");
        let before = places.last().map_or(0, |place| place.moments.end);
        let place = parameter.start..parameter.start + value;
        assert!(
            place.start >= before && place.end <= length,
            "AdamW: moments {place:?} of {length} are not behind those of the parameter before"
        );
        places.push(Place { moments: place, keep: (1.0 - parameter.decay) as f32 });
    }
    let types: Vec<_> = parameters.iter().map(|parameter| parameter.value.dtype()).collect();
    let (values, gradients): (Vec<_>, Vec<_>) =
        parameters.into_iter().map(|parameter| (parameter.value, parameter.gradient)).unzip();
    let (values, first, second) = <Dispatch as AdamwBackend>::adamw(
        list(values),
        list(gradients),
        moments.first.into_dispatch(),
        moments.second.into_dispatch(),
        places,
        step.rates(),
    );
    let values = values.into_iter().zip(types);
    let values = values.map(|(value, dtype)| in_type(Tensor::from_dispatch(value), dtype)).collect();
    (values, Moments { first: Tensor::from_dispatch(first), second: Tensor::from_dispatch(second) })
}
