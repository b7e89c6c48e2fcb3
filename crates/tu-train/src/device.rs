//! Which processor computes: a choice on the command line, a device of the tensor library behind it.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Tensor};
use thiserror::Error;
use tu_kernels::selfcheck::{Passes, run_short_checks};

use crate::selfcheck::quietly;

/// A processor as a person names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first of cuda, wgpu, cpu that this build has and that answers.
    #[default]
    Auto,
    /// The processor, without any driver.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
    /// Any GPU with a Vulkan, Metal or DirectX 12 driver.
    Wgpu,
}

/// Why a device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No such name.
    #[error("device `{0}`: there is no such device; choose auto, cpu, cuda or wgpu")]
    Unknown(String),
    /// The build lacks it.
    #[error(
        "device {0}: this tu-train was built without it; build with `cargo build --release -p tu-train --features {0}`, or use --device cpu"
    )]
    NotCompiled(DeviceChoice),
    /// The driver or the hardware refuses.
    #[error(
        "device {choice}: it does not answer ({cause}); check the driver and that the GPU is free, or use --device cpu"
    )]
    Unavailable {
        /// Which one.
        choice: DeviceChoice,
        /// What it said.
        cause: String,
    },
    /// It computes something else than the CPU.
    #[error(
        "device {choice}: {cause}; `tu-train selfcheck --device {choice}` checks all of it. Update the driver, use --device cpu, or, to use it nevertheless, --skip-selfcheck"
    )]
    Wrong {
        /// Which one.
        choice: DeviceChoice,
        /// The kernel and what is wrong with it.
        cause: String,
    },
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "wgpu" => Ok(Self::Wgpu),
            other => Err(DeviceError::Unknown(other.to_owned())),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
        })
    }
}

impl DeviceChoice {
    /// The device, after it has computed something, and what it turned out to be.
    ///
    /// # Errors
    /// This build lacks the device, or it does not answer.
    pub fn open(self) -> Result<(Device, DeviceChoice), DeviceError> {
        if self != Self::Auto {
            let device = self.device()?;
            return answers(&device)
                .map(|()| (device, self))
                .map_err(|cause| DeviceError::Unavailable { choice: self, cause });
        }
        for choice in [Self::Cuda, Self::Wgpu] {
            if let Ok(opened) = choice.open() {
                return Ok(opened);
            }
        }
        Self::Cpu.open()
    }

    /// As [`Self::open`], after one small size of every kernel that will run has agreed with the CPU. A device that is wrong
    /// is an error even for [`Self::Auto`]: a run that went to the processor instead would take weeks without a word.
    ///
    /// # Errors
    /// As [`Self::open`], or a kernel is wrong, which is named.
    pub fn open_checked(self, passes: Passes) -> Result<(Device, DeviceChoice), DeviceError> {
        let (device, choice) = self.open()?;
        choice.check(&device, passes)?;
        Ok((device, choice))
    }

    /// Compares one small size of every kernel with the CPU, once in a process; nothing on the CPU itself.
    ///
    /// # Errors
    /// A kernel is wrong, which is named.
    pub fn check(self, device: &Device, passes: Passes) -> Result<(), DeviceError> {
        static PASSED: Mutex<Vec<(Device, Passes)>> = Mutex::new(Vec::new());
        let plain = device.clone().without_autodiff();
        if plain == Device::flex() {
            return Ok(());
        }
        let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
        let covers = |(known, done): &(Device, Passes)| {
            *known == plain && (*done == passes || *done == Passes::ValuesAndGradients)
        };
        if passed.iter().any(covers) {
            return Ok(());
        }
        quietly(|| run_short_checks(&plain, passes).map_err(|error| error.to_string()))
            .and_then(|found| found)
            .map_err(|cause| DeviceError::Wrong { choice: self, cause })?;
        passed.push((plain, passes));
        Ok(())
    }

    /// Further devices of the same kind beside the one that [`Self::open`] gives; on the processor, the same again.
    ///
    /// # Errors
    /// There are not so many, or one does not answer.
    pub fn open_others(self, count: usize) -> Result<Vec<Device>, DeviceError> {
        let open = |index| {
            let device = self.numbered(index)?;
            answers(&device).map(|()| device).map_err(|cause| DeviceError::Unavailable {
                choice: self,
                cause: format!("number {index}, counted from 0: {cause}"),
            })
        };
        (1..=count).map(open).collect()
    }

    fn device(self) -> Result<Device, DeviceError> {
        self.numbered(0)
    }

    #[cfg_attr(
        not(any(feature = "cuda", feature = "wgpu")),
        allow(unused_variables, reason = "the processor has no number")
    )]
    fn numbered(self, index: usize) -> Result<Device, DeviceError> {
        match self {
            Self::Auto | Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(index)),
            #[cfg(feature = "wgpu")]
            Self::Wgpu if index > 0 => Ok(Device::wgpu(burn::tensor::DeviceKind::DiscreteGpu(index))),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[allow(unreachable_patterns, reason = "all GPU features may be on")]
            other => Err(DeviceError::NotCompiled(other)),
        }
    }
}

/// Adds two numbers on the device. Drivers that are missing make the tensor library panic, which is said in other words.
fn answers(device: &Device) -> Result<(), String> {
    let attempt = quietly(|| {
        let sum = Tensor::<1>::ones([2], device).sum();
        sum.try_into_data().map_err(|e| format!("{e:?}")).and_then(|data| {
            data.try_into_vec::<f32>().map_err(|e| format!("{e:?}")).map(|values| values == [2.0])
        })
    });
    match attempt {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err("it cannot add 1 and 1".to_owned()),
        Ok(Err(cause)) => Err(cause),
        Err(_) => Err("its driver could not be loaded".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_always_answers_and_auto_finds_something() {
        assert_eq!(DeviceChoice::Cpu.open().unwrap().1, DeviceChoice::Cpu);
        assert!(DeviceChoice::Auto.open().is_ok());
    }

    #[test]
    fn a_device_that_opens_is_checked_unless_it_is_the_processor() {
        // the processor is never checked: whatever its kernels are worth, there is nothing else to fall back on
        assert_eq!(DeviceChoice::Cpu.open_checked(Passes::ValuesAndGradients).unwrap().1, DeviceChoice::Cpu);
        let wrong =
            DeviceError::Wrong { choice: DeviceChoice::Wgpu, cause: "selective scan".into() }.to_string();
        for part in ["selective scan", "--device cpu", "--skip-selfcheck", "tu-train selfcheck --device wgpu"]
        {
            assert!(wrong.contains(part), "{wrong}");
        }
    }

    /// On a machine with an adapter it passes, and the second time takes no launch at all.
    #[cfg(feature = "wgpu")]
    #[test]
    fn an_adapter_is_checked_once() {
        let Ok((device, choice)) = DeviceChoice::Wgpu.open() else { return };
        choice.check(&device, Passes::ValuesAndGradients).unwrap();
        let launches = tu_kernels::cube::launches();
        assert!(launches > 0);
        choice.check(&device, Passes::Values).unwrap();
        assert_eq!(tu_kernels::cube::launches(), launches);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_was_not_compiled_in_says_how_to_get_it() {
        let message = "cuda".parse::<DeviceChoice>().unwrap().open().unwrap_err().to_string();
        assert!(message.contains("--features cuda") && message.contains("--device cpu"), "{message}");
    }
}
