//! The network as both hosts run it: one normalised window in, affinities out.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use tu_kernels::quantise;
use tu_kernels::quantise::{Crop, Quantised, ReadError};
use tu_segment::{Tile, crop, pad_reflect};

use crate::config::ConfigError;
use crate::metadata::ModelMetadata;
use crate::model_file::{ModelFileError, load};
use crate::network::EmMamba;
use crate::precision::Precision;
use crate::reflections::mean_over_reflections;

/// Why a window was not segmented.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The window does not pass through the network.
    #[error(transparent)]
    Window(#[from] ConfigError),
    /// The data do not have the shape that is claimed.
    #[error("{values} values do not fill a window of {shape_zyx:?} voxels (z,y,x)")]
    Length {
        /// Values given.
        values: usize,
        /// Window claimed.
        shape_zyx: [usize; 3],
    },
    /// The device lacks a type.
    #[error("the compute device does not offer {0}; use f32")]
    Precision(Precision),
    /// The device failed while computing or while its result was read.
    #[error("the compute device failed ({0}); a smaller tile or another device may help")]
    Device(String),
    /// The result is not a number somewhere.
    #[error("the network gave values that are not finite; check the input's intensities and the model")]
    NotFinite,
}

/// A network with its metadata on a device.
#[derive(Debug)]
pub struct Network {
    /// The weights.
    pub model: EmMamba,
    /// What the model file says.
    pub metadata: ModelMetadata,
    device: Device,
    reflections: bool,
}

impl From<ReadError> for NetworkError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFinite => Self::NotFinite,
            ReadError::Device(error) => Self::Device(format!("{error:?}")),
            other => Self::Device(other.to_string()),
        }
    }
}

/// The bins of a tile, computed or still being computed.
#[derive(Clone, Debug)]
#[must_use = "the bins are there to be read"]
pub struct PendingBins(Quantised);

impl PendingBins {
    /// The bins `[3, tile]`, once the device has them.
    ///
    /// # Errors
    /// [`NetworkError`] when the device fails, or a logit of the window, halo included, is not finite.
    pub async fn read(self) -> Result<Vec<u8>, NetworkError> {
        Ok(self.0.read().await?)
    }

    /// As [`Self::read`], waiting for the device; not for browsers.
    ///
    /// # Errors
    /// As [`Self::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(self) -> Result<Vec<u8>, NetworkError> {
        Ok(self.0.read_blocking()?)
    }
}

impl Network {
    /// Wraps a network that lives on `device`.
    pub fn new(model: EmMamba, metadata: ModelMetadata, device: &Device) -> Self {
        Self { model: model.prepared(), metadata, device: device.clone(), reflections: false }
    }

    /// Loads a model file onto `device`.
    ///
    /// # Errors
    /// As [`load`].
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, ModelFileError> {
        let (model, metadata) = load(bytes, device)?;
        Ok(Self::new(model, metadata, device))
    }

    /// The same network with volumes in another precision.
    ///
    /// # Errors
    /// [`NetworkError::Precision`] when the device does not offer it.
    pub fn in_precision(self, precision: Precision) -> Result<Self, NetworkError> {
        if !precision.is_offered_by(&self.device) {
            return Err(NetworkError::Precision(precision));
        }
        Ok(Self { model: self.model.converted_to(precision), ..self })
    }

    /// The same network with affinities averaged over the four mirror images of a window in y and x, which takes four times
    /// as long.
    #[must_use]
    pub fn averaged_over_reflections(self) -> Self {
        Self { reflections: true, ..self }
    }

    /// The device that the network lives on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Affinities `[out, z, y, x]` in (0, 1) of a window whose values lie in [0, 1] (C order, x fastest).
    ///
    /// # Errors
    /// [`NetworkError`] when the window does not fit, the device fails, or the result is not finite.
    pub async fn affinities(
        &self,
        window: Vec<f32>,
        shape_zyx: [usize; 3],
    ) -> Result<Vec<f32>, NetworkError> {
        let output = self.output(window, shape_zyx)?;
        let data = output.into_data_async().await.map_err(|e| NetworkError::Device(format!("{e:?}")))?;
        finite(data)
    }

    /// As [`Self::affinities`], waiting for the device; not for browsers.
    ///
    /// # Errors
    /// As [`Self::affinities`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn affinities_blocking(
        &self,
        window: Vec<f32>,
        shape_zyx: [usize; 3],
    ) -> Result<Vec<f32>, NetworkError> {
        let output = self.output(window, shape_zyx)?;
        let data = output.try_into_data().map_err(|e| NetworkError::Device(format!("{e:?}")))?;
        finite(data)
    }

    /// The window of a tile as the network sees it, from the values of that part of it which lies inside the volume:
    /// brought to [0, 1] by the model's rule, then continued by reflection. `data_type_max` is 255 for u8, 65 535 for u16
    /// and 1 for f32.
    ///
    /// # Errors
    /// [`NetworkError::Length`] when the values do not fill `tile.read_shape_zyx`.
    pub fn tile_window(
        &self,
        mut values: Vec<f32>,
        data_type_max: f32,
        tile: &Tile,
    ) -> Result<Vec<f32>, NetworkError> {
        if values.len() != tile.read_shape_zyx.iter().product::<usize>() {
            return Err(NetworkError::Length { values: values.len(), shape_zyx: tile.read_shape_zyx });
        }
        self.metadata.intensity.apply(&mut values, data_type_max);
        Ok(pad_reflect(&values, tile.read_shape_zyx, tile.pad_before_zyx, tile.window_shape_zyx))
    }

    /// Affinities `[3, z, y, x]` in (0, 1) of a window made by [`Self::tile_window`], as far as it lies inside the volume: the
    /// tile and its halo, `tile.read_shape_zyx`.
    ///
    /// # Errors
    /// As [`Self::affinities`].
    pub async fn tile_affinities(&self, window: Vec<f32>, tile: &Tile) -> Result<Vec<f32>, NetworkError> {
        let affinities = self.affinities(window, tile.window_shape_zyx).await?;
        Ok(crop(&affinities, 3, tile.window_shape_zyx, tile.pad_before_zyx, tile.read_shape_zyx))
    }

    /// As [`Self::tile_affinities`], waiting for the device; not for browsers.
    ///
    /// # Errors
    /// As [`Self::affinities`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn tile_affinities_blocking(&self, window: Vec<f32>, tile: &Tile) -> Result<Vec<f32>, NetworkError> {
        let affinities = self.affinities_blocking(window, tile.window_shape_zyx)?;
        Ok(crop(&affinities, 3, tile.window_shape_zyx, tile.pad_before_zyx, tile.read_shape_zyx))
    }

    /// Has the device compute the bins `[3, z, y, x]` of a window made by [`Self::tile_window`], as far as it lies inside the volume:
    /// [`quantise_affinity`](tu_segment::quantise_affinity) of [`Self::tile_affinities`], of which GPUs may differ by one bin at
    /// a bin's edge. A GPU goes on by itself: other tiles can be enqueued before this one is read.
    ///
    /// # Errors
    /// [`NetworkError`] when the window does not fit.
    pub fn enqueue_bins(&self, window: Vec<f32>, tile: &Tile) -> Result<PendingBins, NetworkError> {
        let logits = self.logits(self.input(window, tile.window_shape_zyx)?);
        let crop = Crop { origin_zyx: tile.pad_before_zyx, shape_zyx: tile.read_shape_zyx };
        Ok(PendingBins(quantise(logits, crop)))
    }

    /// The bins of a window made by [`Self::tile_window`], as [`Self::enqueue_bins`] describes them.
    ///
    /// # Errors
    /// [`NetworkError`] when the window does not fit, the device fails, or a logit is not finite.
    pub async fn tile_bins(&self, window: Vec<f32>, tile: &Tile) -> Result<Vec<u8>, NetworkError> {
        self.enqueue_bins(window, tile)?.read().await
    }

    /// As [`Self::tile_bins`], waiting for the device; not for browsers.
    ///
    /// # Errors
    /// As [`Self::tile_bins`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn tile_bins_blocking(&self, window: Vec<f32>, tile: &Tile) -> Result<Vec<u8>, NetworkError> {
        self.enqueue_bins(window, tile)?.read_blocking()
    }

    fn output(&self, window: Vec<f32>, shape_zyx: [usize; 3]) -> Result<Tensor<5>, NetworkError> {
        Ok(sigmoid(self.logits(self.input(window, shape_zyx)?)))
    }

    fn logits(&self, window: Tensor<5>) -> Tensor<5> {
        if self.reflections {
            mean_over_reflections(&window, |image| self.model.forward_logits(image))
        } else {
            self.model.forward_logits(window)
        }
    }

    fn input(&self, window: Vec<f32>, shape_zyx: [usize; 3]) -> Result<Tensor<5>, NetworkError> {
        self.metadata.architecture.check_window(shape_zyx)?;
        let voxels = shape_zyx.iter().try_fold(1usize, |n, &v| n.checked_mul(v));
        if voxels != Some(window.len()) {
            return Err(NetworkError::Length { values: window.len(), shape_zyx });
        }
        let [d, h, w] = shape_zyx;
        Ok(Tensor::from_data(TensorData::new(window, [1, 1, d, h, w]), &self.device))
    }
}

fn finite(data: TensorData) -> Result<Vec<f32>, NetworkError> {
    let values: Vec<f32> = data.try_into_vec::<f32>().map_err(|e| NetworkError::Device(format!("{e:?}")))?;
    if values.iter().all(|v| v.is_finite()) { Ok(values) } else { Err(NetworkError::NotFinite) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EmMambaConfig, Preset};

    fn network() -> Network {
        let config = EmMambaConfig {
            features: [4, 4, 8, 8],
            hidden: 8,
            depths: [1; 4],
            ..EmMambaConfig::preset(Preset::Tiny)
        };
        let device = Device::flex();
        let model = config.init_seeded(&device, 1);
        Network::new(model, ModelMetadata::for_affinities(config, [10.0; 3]), &device)
    }

    #[test]
    fn affinities_have_three_channels_of_the_window_and_lie_between_zero_and_one() {
        let window: Vec<f32> = (0..3 * 16 * 32).map(|i| (i % 7) as f32 / 7.0).collect();
        let a = network().affinities_blocking(window, [3, 16, 32]).unwrap();
        assert_eq!(a.len(), 3 * 3 * 16 * 32);
        assert!(a.iter().all(|v| (0.0..=1.0).contains(v)));
        assert!(a.iter().any(|v| (*v - a[0]).abs() > 1e-6), "the output must depend on the place");
    }

    #[test]
    fn every_slice_reaches_the_deep_path() {
        let (net, shape) = (network(), [5usize, 16, 16]);
        let plain: Vec<f32> = (0..5 * 256).map(|i| ((i * 37) % 101) as f32 / 101.0).collect();
        let deep = |window: Vec<f32>| {
            let x = Tensor::from_data(TensorData::new(window, [1, 1, shape[0], 16, 16]), &net.device);
            net.model.vit.forward(x).pop().unwrap().into_data().try_into_vec::<f32>().unwrap()
        };
        let before = deep(plain.clone());
        for z in 0..5 {
            let mut changed = plain.clone();
            for (i, v) in changed[z * 256..(z + 1) * 256].iter_mut().enumerate() {
                *v = (i % 5) as f32 / 5.0;
            }
            let after = deep(changed);
            assert!(before.iter().zip(&after).any(|(a, b)| (a - b).abs() > 1e-6), "slice {z} is not seen");
        }
    }

    #[test]
    fn bins_of_a_tile_are_those_of_its_affinities_bit_by_bit() {
        let mut network = network();
        network.metadata.tile_zyx = [3, 16, 16];
        network.metadata.halo_zyx = [1, 8, 8];
        let (tile, halo) = (network.metadata.tile_zyx, network.metadata.halo_zyx);
        // The tile at the border is cut to the volume, to a number of voxels that is no multiple of four.
        let grid = tu_segment::TileGrid::new([7, 37, 33], tile, halo).unwrap();
        for index in [[0; 3], [1, 1, 1], [2, 2, 2]] {
            let tile = grid.tile(index).unwrap();
            let values = (0..tile.read_shape_zyx.iter().product::<usize>()).map(|i| ((i * 61) % 255) as f32);
            let window = network.tile_window(values.collect(), 255.0, &tile).unwrap();
            let affinities = network.tile_affinities_blocking(window.clone(), &tile).unwrap();
            let expected: Vec<u8> = affinities.into_iter().map(tu_segment::quantise_affinity).collect();
            assert!(expected.iter().any(|bin| *bin != expected[0]));
            assert_eq!(network.tile_bins_blocking(window, &tile).unwrap(), expected, "{index:?}");
        }
    }

    #[test]
    fn a_window_that_is_not_finite_gives_no_bins() {
        let mut network = network();
        network.metadata.halo_zyx = [0; 3];
        let grid = tu_segment::TileGrid::new([3, 16, 16], [3, 16, 16], [0; 3]).unwrap();
        let mut window = vec![0.5; 3 * 256];
        window[7] = f32::NAN;
        let found = network.tile_bins_blocking(window, &grid.tile([0; 3]).unwrap());
        assert!(matches!(found, Err(NetworkError::NotFinite)), "{found:?}");
    }

    #[test]
    fn windows_of_the_wrong_size_are_refused() {
        assert!(matches!(
            network().affinities_blocking(vec![0.0; 10], [1, 16, 16]),
            Err(NetworkError::Length { .. })
        ));
        assert!(matches!(
            network().affinities_blocking(vec![0.0; 225], [1, 15, 15]),
            Err(NetworkError::Window(_))
        ));
    }

    #[test]
    fn a_constant_window_gives_finite_affinities() {
        assert!(network().affinities_blocking(vec![0.5; 2 * 256], [2, 16, 16]).is_ok());
    }
}
