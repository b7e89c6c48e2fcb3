//! What a module computes from its parameters once, for inference.

use std::fmt;
use std::sync::Arc;

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::Device;

/// A field of a module that holds what was computed from its parameters.
///
/// It is no parameter, and is lost whenever parameters may change (mapped, moved to a device, trained): what it was computed
/// from is what it stands beside.
#[derive(Clone)]
pub struct Prepared<T>(Option<Arc<T>>);

impl<T> Prepared<T> {
    /// Nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// What has been computed, if anything.
    pub fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }
}

impl<T> From<Option<T>> for Prepared<T> {
    fn from(value: Option<T>) -> Self {
        Self(value.map(Arc::new))
    }
}

impl<T> fmt::Debug for Prepared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "prepared" } else { "not prepared" })
    }
}

impl<T: Clone + Send + Sync> Module for Prepared<T> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _: &Device) -> Self {
        Self::none()
    }

    fn to_device(self, _: &Device) -> Self {
        Self::none()
    }

    fn train(self) -> Self {
        Self::none()
    }

    fn valid(&self) -> Self {
        Self::none()
    }

    fn materialize(self) -> Self {
        self
    }

    fn visit<V: ModuleVisitor>(&self, _: &mut V) {}

    fn map<M: ModuleMapper>(self, _: &mut M) -> Self {
        Self::none()
    }
}

impl<T> ModuleDisplayDefault for Prepared<T> {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&format!("{self:?}")).optional()
    }
}

impl<T> ModuleDisplay for Prepared<T> {}

#[cfg(all(test, feature = "flex", feature = "autodiff"))]
mod tests {
    use burn::module::Param;
    use burn::tensor::Tensor;

    use super::*;

    #[derive(Module, Debug)]
    struct Doubled {
        weight: Param<Tensor<1>>,
        sum: Prepared<f32>,
    }

    struct Double;

    impl ModuleMapper for Double {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            parameter.map(|weight| weight * 2.0)
        }
    }

    #[test]
    fn what_is_prepared_stays_while_parameters_do_and_is_no_parameter() {
        let device = Device::flex();
        let weight = Param::from_tensor(Tensor::from_floats([1.0, 2.0], &device));
        let module = Doubled { weight, sum: Some(3.0).into() };
        assert_eq!(module.clone().sum.get(), Some(&3.0));
        assert_eq!(Module::num_params(&module), 2);
        assert_eq!(module.clone().map(&mut Double).sum.get(), None);
        assert_eq!(module.clone().fork(&device).sum.get(), None);
        assert_eq!(module.clone().train().sum.get(), None);
        assert_eq!(module.valid().sum.get(), None);
    }
}
