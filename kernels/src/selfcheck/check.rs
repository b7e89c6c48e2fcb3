//! One operation at one size, on a device and on the CPU.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};

use super::outcome::{Agreement, Results, SelfCheckError, Verdict};
use super::tolerance::{Arithmetic, Kernel, Part, tolerance};
use crate::ScanShape;
use crate::reference::{ScanInputs, selective_scan_f64, selective_scan_gradients_f64};

/// An operation on flat inputs, with a flat result.
pub type Operation = Box<dyn Fn(&[Tensor<1>]) -> Tensor<1> + Send + Sync>;

/// What of an operation is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Passes {
    /// Its values: inference.
    Values,
    /// Its values and the gradients of all inputs: training.
    ValuesAndGradients,
}

/// How the elements of an input are drawn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spread {
    /// Uniform in [low, high).
    Uniform(f32, f32),
    /// Below or above a middle, at a distance uniform in [low, high): where a rectifier follows, rounding must not decide the
    /// side.
    Apart(f32, [f32; 2]),
}

impl Spread {
    fn of(self, unit: f32) -> f32 {
        match self {
            Self::Uniform(low, high) => low + (high - low) * unit,
            Self::Apart(middle, [low, high]) => {
                let signed = 2.0 * unit - 1.0;
                middle + (low + (high - low) * signed.abs()).copysign(signed)
            }
        }
    }
}

/// An input of an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    pub(super) name: &'static str,
    pub(super) count: usize,
    pub(super) spread: Spread,
    /// Whether its gradient is a sum over all positions.
    pub(super) summed: bool,
}

/// Inputs of a check, drawn from its seed.
#[derive(Clone, Debug)]
pub struct Drawn {
    dtype: FloatDType,
    inputs: Vec<Vec<f32>>,
    result_gradient: Vec<f32>,
}

/// What the CPU itself is compared with.
pub(super) enum Reference {
    /// burn's tensor operations, which the CPU also has in f64.
    Plain(Operation),
    /// The scan in f64.
    Scan(ScanShape),
}

/// An operation at one size.
pub struct Check {
    pub(super) kernel: Kernel,
    pub(super) shape: String,
    pub(super) inputs: Vec<Input>,
    /// Elements of the result.
    pub(super) outputs: usize,
    /// Whether networks run it in half types as well.
    pub(super) in_half_types: bool,
    pub(super) operation: Operation,
    pub(super) reference: Reference,
}

impl Check {
    /// The operation.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Its size, for people.
    pub fn shape(&self) -> &str {
        &self.shape
    }

    /// Whether networks run it in half types as well: volumes pass in any precision, tokens in f32 alone.
    pub fn runs_in_half_types(&self) -> bool {
        self.in_half_types
    }

    /// The same check of another operation, to see whether it is noticed.
    #[must_use]
    pub fn with_operation(self, operation: Operation) -> Self {
        Self { operation, ..self }
    }

    /// The operation itself, on flat inputs of the check's sizes.
    pub fn apply(&self, inputs: &[Tensor<1>]) -> Tensor<1> {
        (self.operation)(inputs)
    }

    /// Draws the inputs and the gradient of the result, rounded to a type; the same every time.
    pub fn draw(&self, dtype: FloatDType) -> Drawn {
        let drawn = |count, spread: Spread, seed| {
            rounded(units(count, seed).into_iter().map(|unit| spread.of(unit)).collect(), dtype)
        };
        let inputs = self.inputs.iter().zip(1u64..);
        Drawn {
            dtype,
            inputs: inputs.map(|(input, seed)| drawn(input.count, input.spread, seed)).collect(),
            result_gradient: drawn(self.outputs, Spread::Uniform(-1.0, 1.0), 1000),
        }
    }

    /// Runs the operation on a device, in the type that the inputs were drawn in.
    ///
    /// # Errors
    /// [`SelfCheckError::Unreadable`] when the device fails.
    pub async fn run(
        &self,
        drawn: &Drawn,
        device: &Device,
        passes: Passes,
    ) -> Result<Results, SelfCheckError> {
        self.poison(device).await?;
        self.run_operation(&self.operation, drawn, drawn.dtype, device, passes).await
    }

    /// What a device should give: the CPU's results, by this crate's kernels in f32 or, for the CPU itself, by burn's tensor
    /// operations in f64.
    ///
    /// # Errors
    /// [`SelfCheckError::Unreadable`] when memory does not suffice.
    pub async fn expected(
        &self,
        drawn: &Drawn,
        device: &Device,
        passes: Passes,
    ) -> Result<Results, SelfCheckError> {
        let cpu = Device::flex();
        let is_cpu = device.clone().without_autodiff() == cpu;
        let (operation, dtype) = match &self.reference {
            Reference::Scan(shape) if is_cpu => return Ok(scan_in_f64(*shape, drawn, passes)),
            Reference::Plain(plain) if is_cpu => (plain, FloatDType::F64),
            _ => (&self.operation, FloatDType::F32),
        };
        self.run_operation(operation, drawn, dtype, &cpu, passes).await
    }

    /// Compares what a device gave with what it should give.
    pub fn compare(&self, drawn: &Drawn, device: &Device, found: &Results, expected: &Results) -> Verdict {
        let (arithmetic, dtype) = (Arithmetic::of(device), drawn.dtype);
        let agreement = |result: String, part, found: &[f32], expected: &[f32]| Agreement {
            result,
            error: relative_error(found, expected),
            limit: tolerance(arithmetic, dtype, self.kernel, part),
        };
        let mut agreements = vec![agreement("values".into(), Part::Values, &found.values, &expected.values)];
        for ((input, found), expected) in self.inputs.iter().zip(&found.gradients).zip(&expected.gradients) {
            let part = if input.summed { Part::SummedGradient } else { Part::Gradient };
            agreements.push(agreement(format!("gradient of {}", input.name), part, found, expected));
        }
        Verdict { kernel: self.kernel, shape: self.shape.clone(), dtype, agreements }
    }

    /// Runs the operation on a device and on the CPU, and compares.
    ///
    /// # Errors
    /// [`SelfCheckError::Unreadable`] when the device fails; a wrong result is a verdict.
    pub async fn verdict(
        &self,
        device: &Device,
        dtype: FloatDType,
        passes: Passes,
    ) -> Result<Verdict, SelfCheckError> {
        let drawn = self.draw(dtype);
        let found = self.run(&drawn, device, passes).await?;
        let expected = self.expected(&drawn, device, passes).await?;
        Ok(self.compare(&drawn, device, &found, &expected))
    }

    fn unreadable(&self, cause: String) -> SelfCheckError {
        SelfCheckError::Unreadable { kernel: self.kernel, shape: self.shape.clone(), cause }
    }

    async fn read(&self, tensor: Tensor<1>) -> Result<Vec<f32>, SelfCheckError> {
        let data = tensor.into_data_async().await.map_err(|error| self.unreadable(format!("{error:?}")))?;
        data.try_into_vec::<f32>().map_err(|error| self.unreadable(format!("{error:?}")))
    }

    /// Leaves memory full of NaN behind, of the sizes that inputs, results and gradients will take.
    async fn poison(&self, device: &Device) -> Result<(), SelfCheckError> {
        let plain = device.clone().without_autodiff();
        let counts = self.inputs.iter().map(|input| input.count).chain([self.outputs]);
        let tensors: Vec<Tensor<1>> = counts
            .flat_map(|count| [count; 2])
            .map(|count| Tensor::full([count], f32::NAN, &plain))
            .collect();
        // Read, so that it has been written before it is given back.
        for tensor in tensors {
            self.read(tensor.slice([0..1])).await?;
        }
        Ok(())
    }

    async fn run_operation(
        &self,
        operation: &Operation,
        drawn: &Drawn,
        dtype: FloatDType,
        device: &Device,
        passes: Passes,
    ) -> Result<Results, SelfCheckError> {
        let plain = device.clone().without_autodiff();
        let with_gradients = passes == Passes::ValuesAndGradients;
        let device = if with_gradients { plain.autodiff() } else { plain };
        let tensor = |values: &[f32]| {
            Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &device)
        };
        let leaf = |values: &Vec<f32>| {
            if with_gradients { tensor(values).require_grad() } else { tensor(values) }
        };
        let leaves: Vec<Tensor<1>> = drawn.inputs.iter().map(leaf).collect();
        let inputs: Vec<Tensor<1>> = leaves.iter().map(|leaf| leaf.clone().cast(dtype)).collect();
        let result = operation(&inputs);
        drop(inputs);
        if result.dtype() != DType::from(dtype) || result.dims() != [self.outputs] {
            return Err(self.unreadable(format!("a result of {:?} {:?}", result.dtype(), result.dims())));
        }
        let result = result.cast(FloatDType::F32);
        if !with_gradients {
            return Ok(Results { values: self.read(result).await?, gradients: Vec::new() });
        }
        if !result.is_tracked() {
            return Err(self.unreadable("the result has no gradient".into()));
        }
        let mut found = (result.clone() * tensor(&drawn.result_gradient)).sum().backward();
        let mut gradients = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            let gradient = leaf.grad_remove(&mut found);
            let gradient = gradient.ok_or_else(|| self.unreadable("an input has no gradient".into()))?;
            gradients.push(self.read(gradient).await?);
        }
        Ok(Results { values: self.read(result.inner()).await?, gradients })
    }
}

/// The scan and its gradients in f64.
fn scan_in_f64(shape: ScanShape, drawn: &Drawn, passes: Passes) -> Results {
    let of = |values: &[f32]| -> Vec<f64> { values.iter().map(|value| f64::from(*value)).collect() };
    let in_f64 = |i: usize| of(&drawn.inputs[i]);
    let in_f32 = |values: Vec<f64>| -> Vec<f32> { values.into_iter().map(|value| value as f32).collect() };
    let inputs = ScanInputs {
        shape,
        u: in_f64(0),
        projected: in_f64(1),
        step_weight: in_f64(2),
        step_bias: in_f64(3),
        a_log: in_f64(4),
        d: in_f64(5),
    };
    let values = in_f32(selective_scan_f64(&inputs));
    if passes == Passes::Values {
        return Results { values, gradients: Vec::new() };
    }
    let found = selective_scan_gradients_f64(&inputs, &of(&drawn.result_gradient));
    let gradients = [found.u, found.projected, found.step_weight, found.step_bias, found.a_log, found.d]
        .map(in_f32)
        .into();
    Results { values, gradients }
}

/// Largest difference over the largest magnitude expected; NaN where anything is not a number, or the sizes differ.
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    let scale = expected.iter().fold(f64::MIN_POSITIVE, |scale, value| scale.max(f64::from(value.abs())));
    let differences = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - f64::from(*e)).abs());
    // `max` alone would pass over what is not a number.
    differences.fold(0.0, |worst: f64, d| if d.is_nan() || worst.is_nan() { f64::NAN } else { worst.max(d) })
        / scale
}

/// Numbers as a type holds them, in f32.
fn rounded(values: Vec<f32>, dtype: FloatDType) -> Vec<f32> {
    if dtype == FloatDType::F32 {
        return values;
    }
    let count = values.len();
    let data = TensorData::new(values, [count]).convert_dtype(dtype.into());
    data.convert_dtype(DType::F32).try_into_vec::<f32>().unwrap_or_default()
}

/// Uniform numbers in [0, 1), the same for the same seed on every machine (xorshift, Marsaglia 2003).
fn units(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    let mut unit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 16_777_216.0
    };
    (0..count).map(|_| unit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_or_missing_is_an_error_wherever_it_is() {
        let expected = [1.0, -4.0, 2.0];
        assert_eq!(relative_error(&[1.0, -4.0, 3.0], &expected), 0.25);
        for bad in [[f32::NAN, -4.0, 2.0], [1.0, -4.0, f32::NAN]] {
            assert!(relative_error(&bad, &expected).is_nan());
        }
        assert_eq!(relative_error(&[1.0, f32::INFINITY, 2.0], &expected), f64::INFINITY);
        assert!(relative_error(&expected[1..], &expected).is_nan());
        assert!(relative_error(&[f32::INFINITY], &[f32::INFINITY]).is_nan());
    }

    #[test]
    fn numbers_that_lie_apart_leave_the_middle_alone_and_lie_on_both_sides() {
        let apart = Spread::Apart(1.0, [0.25, 2.0]);
        let numbers: Vec<f32> = units(1000, 3).into_iter().map(|unit| apart.of(unit)).collect();
        assert!(numbers.iter().all(|x| (0.25..2.0).contains(&(x - 1.0).abs())));
        assert!((400..600).contains(&numbers.iter().filter(|x| **x > 1.0).count()));
    }
}
