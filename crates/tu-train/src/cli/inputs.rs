//! What several commands take: triples of numbers, models, raw volumes, devices.

use std::num::NonZeroUsize;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, anyhow, bail};
use burn::tensor::Device;
use serde_json::{Map, Value, json};
use tu_kernels::selfcheck::Passes;
use tu_model::{Network, Precision};
use tu_segment::FragmentMethod;
use tu_train::device::DeviceChoice;
use tu_train::roi::{Roi, RoiSpec};
use tu_train::segment::refuse_unless_raw;
use tu_volume::Volume;

use super::known_answer::refuse_wrong_device;
use super::progress::Bars;

/// Voxel sizes of model and volume that differ by more than this factor on an axis are worth a warning.
const VOXEL_SIZE_TOLERANCE: f64 = 1.5;

/// Three numbers with commas in between, z, y, x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Triple<T>(pub(super) [T; 3]);

impl<T: FromStr> FromStr for Triple<T> {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let numbers: Vec<T> = text
            .split(',')
            .map(|part| {
                part.trim().parse().map_err(|_| anyhow!("`{part}` is no number: write three as z,y,x"))
            })
            .collect::<anyhow::Result<_>>()?;
        let count = numbers.len();
        let numbers =
            numbers.try_into().map_err(|_| anyhow!("{count} numbers where three belong: write z,y,x"))?;
        Ok(Self(numbers))
    }
}

/// Where the network runs.
#[derive(clap::Args)]
pub(super) struct DeviceOption {
    /// auto, cpu, cuda or wgpu; auto takes the first of cuda, wgpu, cpu that this build has and that answers
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Use a GPU without comparing a small size of every kernel with the processor first
    #[arg(long)]
    skip_selfcheck: bool,
}

impl DeviceOption {
    /// The device for a network's forward pass.
    pub(super) fn open(&self) -> anyhow::Result<(Device, DeviceChoice)> {
        self.open_for(Passes::Values)
    }

    fn open_for(&self, passes: Passes) -> anyhow::Result<(Device, DeviceChoice)> {
        Ok(if self.skip_selfcheck { self.device.open()? } else { self.device.open_checked(passes)? })
    }

    /// The first device, the others, and what they are, for training.
    pub(super) fn open_several(
        &self,
        count: NonZeroUsize,
    ) -> anyhow::Result<(Device, Vec<Device>, DeviceChoice)> {
        let (first, choice) = self.open_for(Passes::ValuesAndGradients)?;
        let others = choice.open_others(count.get() - 1)?;
        if !self.skip_selfcheck {
            others.iter().try_for_each(|device| choice.check(device, Passes::ValuesAndGradients))?;
        }
        Ok((first, others, choice))
    }
}

/// In which type volumes pass through the network.
#[derive(clap::Args)]
pub(super) struct PrecisionOption {
    /// f32, f16 or bf16: the type of volumes within the network, where the device offers it
    #[arg(long, default_value = "f32", value_name = "TYPE")]
    pub(super) precision: Precision,
}

/// How the network computes.
#[derive(clap::Args)]
pub(super) struct InferenceOption {
    #[command(flatten)]
    pub(super) precision: PrecisionOption,
    /// Average affinities over the four mirror images of each window in y and x: steadier, and four times the work
    #[arg(long)]
    pub(super) reflections: bool,
}

/// A network with the hash of its file.
pub(super) struct LoadedModel {
    pub(super) network: Network,
    pub(super) sha256: String,
}

/// Reads a file.
pub(super) fn read_file(kind: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| {
        anyhow!("{kind} {}: cannot be read: {e}: check the path and its permissions", path.display())
    })
}

/// Loads a model file that gives affinities, to compute on a device that gives its known answer.
pub(super) fn load_model(
    path: &Path,
    (device, choice): (&Device, DeviceChoice),
    inference: &InferenceOption,
    progress: &Bars,
) -> anyhow::Result<LoadedModel> {
    let bytes = read_file("model", path)?;
    let network = Network::from_bytes(&bytes, device).with_context(|| format!("model {}", path.display()))?;
    let channels = network.metadata.architecture.out_channels;
    if channels != 3 {
        bail!(
            "model {}: it gives {channels} channels and not three affinities: fine-tune it first (tu-train finetune --init)",
            path.display()
        );
    }
    let precision = inference.precision.precision;
    let network = network.in_precision(precision).with_context(|| format!("--precision {precision}"))?;
    refuse_wrong_device(&network, &bytes, path, choice, progress)?;
    let network = if inference.reflections { network.averaged_over_reflections() } else { network };
    Ok(LoadedModel { network, sha256: tu_model::sha256_hex(&bytes) })
}

/// Opens a volume of EM.
pub(super) fn open_raw(url: &str) -> anyhow::Result<Volume> {
    let volume = Volume::open(url)?;
    refuse_unless_raw(&volume)?;
    Ok(volume)
}

/// The region that an option names, or all of the volume.
pub(super) fn region(roi: Option<RoiSpec>, volume: &Volume) -> anyhow::Result<Roi> {
    Ok(roi.unwrap_or_default().resolve(volume.url(), volume.shape_zyx())?)
}

/// What to tell somebody whose volume is not sampled as the model's training data were.
pub(super) fn voxel_size_warning(model_nm_zyx: [f64; 3], volume_nm_zyx: Option<[f64; 3]>) -> Option<String> {
    let Some(volume) = volume_nm_zyx else {
        return Some(format!(
            "warning: the volume does not say its voxel size; the model was trained at {model_nm_zyx:?} nm (z, y, x). Give --voxel-nm so that the output carries it"
        ));
    };
    let apart = |d: usize| (volume[d] / model_nm_zyx[d]).max(model_nm_zyx[d] / volume[d]);
    (0..3).any(|d| apart(d) > VOXEL_SIZE_TOLERANCE).then(|| {
        format!(
            "warning: the volume's voxels are {volume:?} nm (z, y, x), the model was trained at {model_nm_zyx:?} nm: expect poor segments; use a scale or a model that fits"
        )
    })
}

/// The fragment method of that name; the model's own settings if it is the model's own method.
pub(super) fn fragment_method(name: Option<FragmentMethod>, model: FragmentMethod) -> FragmentMethod {
    match name {
        Some(chosen) if chosen.name() != model.name() => chosen,
        _ => model,
    }
}

/// What decides a tile of a run of the network, beside the grid.
pub(super) fn identity(
    volume: &Volume,
    model_sha256: &str,
    inference: &InferenceOption,
) -> Map<String, Value> {
    Map::from_iter([
        ("input".to_owned(), json!(volume.url())),
        ("input_type".to_owned(), json!(volume.data_type().name())),
        ("model_sha256".to_owned(), json!(model_sha256)),
        ("precision".to_owned(), json!(inference.precision.precision)),
        ("reflections".to_owned(), json!(inference.reflections)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triples_are_three_numbers_with_commas() {
        assert_eq!("30, 8,8.5".parse::<Triple<f64>>().unwrap(), Triple([30.0, 8.0, 8.5]));
        assert!("1,2".parse::<Triple<usize>>().unwrap_err().to_string().contains("2 numbers"));
        assert!("1,2,x".parse::<Triple<usize>>().unwrap_err().to_string().contains("`x`"));
    }

    #[test]
    fn other_voxel_sizes_are_warned_about_beyond_a_factor_of_one_and_a_half() {
        assert_eq!(voxel_size_warning([10.0; 3], Some([14.0, 10.0, 7.0])), None);
        assert!(voxel_size_warning([10.0; 3], Some([40.0, 10.0, 10.0])).unwrap().contains("40.0"));
        assert!(voxel_size_warning([10.0; 3], Some([10.0, 10.0, 6.0])).is_some());
        assert!(voxel_size_warning([10.0; 3], None).unwrap().contains("--voxel-nm"));
    }
}
