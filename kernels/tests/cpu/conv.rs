//! The size-keeping convolution on the CPU: half types, against f64.
use crate::common::HALF_TYPES;
use crate::common::convolution::{ConvInputs, conv_shapes};
use burn::tensor::{Device, read_sync};
use tu_kernels::conv::ConvAlgorithm;

#[test]
fn half_types_are_read_and_written_as_they_are_and_summed_in_f32() {
    for (dtype, bit) in HALF_TYPES {
        for (seed, shape) in conv_shapes().into_iter().enumerate() {
            let inputs = ConvInputs::new(shape, seed as u64 + 1);
            read_sync(inputs.check_in(dtype, &Device::flex(), ConvAlgorithm::ByDevice, bit));
        }
    }
}
