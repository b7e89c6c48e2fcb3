//! A compute device with a network on it.

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::Device;
use js_sys::{Float32Array, Float64Array, JSON, Uint8Array, Uint32Array};
use tu_model::{KnownAnswer, KnownAnswerError, Network, Precision, sha256_hex};
use tu_segment::{Tile, TileGrid};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::adapter::{Adapter, no_webgpu, webgpu_device};
use crate::failure::Failure;
use crate::segmentation::{triple_u32, triple_u64};

/// A device and, once loaded, a network on it.
#[wasm_bindgen]
pub struct Engine {
    device: Device,
    adapter: Option<Adapter>,
    network: RefCell<Option<Rc<Network>>>,
}

#[wasm_bindgen]
impl Engine {
    /// Opens a device: `webgpu` or `cpu`.
    ///
    /// # Errors
    /// Throws `no_webgpu` when WebGPU is asked for and missing, `device` when the adapter gives no device.
    pub async fn create(device: String) -> Result<Engine, JsValue> {
        match device.as_str() {
            "cpu" => Ok(Engine { device: Device::flex(), adapter: None, network: RefCell::new(None) }),
            "webgpu" => {
                let adapter = Adapter::request().await.map_err(|cause| no_webgpu(&cause))?;
                let device = webgpu_device().await.map_err(|e| {
                    Failure::passing(
                        "device",
                        format!("WebGPU adapter {} gave no device: {e}", adapter.description),
                        "Close other pages that use the GPU and reload, or use the CPU.",
                    )
                })?;
                Ok(Engine { device, adapter: Some(adapter), network: RefCell::new(None) })
            }
            other => {
                let message = format!("there is no device '{other}'");
                Err(Failure::lasting("device_name", message, "Choose webgpu or cpu.").into())
            }
        }
    }

    /// `webgpu` or `cpu`.
    #[wasm_bindgen(getter)]
    pub fn backend(&self) -> String {
        if self.adapter.is_some() { "webgpu" } else { "cpu" }.to_owned()
    }

    /// The adapter's name as the browser tells it, or `cpu`.
    #[wasm_bindgen(getter)]
    pub fn adapter(&self) -> String {
        self.adapter.as_ref().map_or_else(|| "cpu".to_owned(), |a| a.description.clone())
    }

    /// Whether the device has 16-bit floats (`shader-f16`).
    #[wasm_bindgen(getter)]
    pub fn offers_f16(&self) -> bool {
        self.adapter.is_some() && Precision::F16.is_offered_by(&self.device)
    }

    /// Loads a model file after comparing its SHA-256 (hexadecimal) with `sha256`. On WebGPU the network then has to give its
    /// known answer, and a GPU that does not is refused; since that takes a whole window, every pipeline that tiles need is
    /// compiled after it. For a file without one, a small window is run on the GPU and on the CPU.
    ///
    /// `precision` is `f32` or `f16`: the type of volumes within the network. `f16` is taken where the GPU has 16-bit
    /// floats and gives the known answer with them; f32 elsewhere.
    ///
    /// Returns the model's metadata with the number of `parameters`, the `precision` taken and, where that is not the one
    /// asked for, the reason as `precision_refused`.
    ///
    /// # Errors
    /// Throws `argument`, `model_hash`, `model_file`, `tile_too_large`, `gpu_wrong` or `device`.
    pub async fn load_model(
        &self,
        bytes: Uint8Array,
        sha256: String,
        precision: String,
    ) -> Result<JsValue, JsValue> {
        let wanted = match precision.parse() {
            Ok(precision @ (Precision::F32 | Precision::F16)) => precision,
            _ => {
                let message = format!("there is no precision '{precision}' in the browser");
                return Err(Failure::lasting("argument", message, "Choose f32 or f16.").into());
            }
        };
        let bytes = bytes.to_vec();
        let found = sha256_hex(&bytes);
        if !found.eq_ignore_ascii_case(&sha256) {
            return Err(Failure::lasting(
                "model_hash",
                format!("the model file's SHA-256 is {found}, the manifest says {sha256}"),
                "The file was changed or cut on its way; reload, or ask whoever serves it.",
            )
            .into());
        }
        let Checked { network, precision, refused } = self.checked(&bytes, wanted).await?;
        let mut info = serde_json::to_value(&network.metadata)
            .map_err(|e| Failure::lasting("model_file", e.to_string(), ""))?;
        info["parameters"] = network.metadata.architecture.parameter_count().into();
        info["precision"] = precision.to_string().into();
        if let Some(refused) = refused {
            info["precision_refused"] = refused.into();
        }
        *self.network.borrow_mut() = Some(Rc::new(network));
        JSON::parse(&info.to_string())
    }

    /// Whether the loaded network gives the known answer of its file; what a file without one has cannot be missed. On WebGPU
    /// [`Self::load_model`] has asked this already. On the CPU, which takes about as long for it as for a tile, it tells a GPU
    /// that computes wrong from a file that is damaged.
    ///
    /// # Errors
    /// Throws `no_model`; `known_answer` when it is missed; `network` when the device fails.
    pub async fn check_known_answer(&self) -> Result<(), JsValue> {
        let network = self.loaded()?;
        let Some(known) = &network.metadata.known_answer else { return Ok(()) };
        match known.check(&network).await {
            Ok(_) => Ok(()),
            Err(e) if e.is_wrong_answer() => Err(Failure::lasting(
                "known_answer",
                format!("the model file is damaged: on the {} {e}", self.adapter()),
                "Get the file anew from whoever made it; do not use this one.",
            )
            .into()),
            Err(e) => Err(Failure::passing("network", e.to_string(), "Reload the page.").into()),
        }
    }

    /// Affinities of one tile, quantised: `[3, z, y, x]` of the tile and its halo, clipped to the volume.
    ///
    /// `data` holds the raw values of the part of the tile's window that lies inside the volume;
    /// `dtype_max` is 255 for u8, 65 535 for u16 and 1 for f32.
    ///
    /// # Errors
    /// Throws `no_model`, `argument`, `network` or `device`.
    pub async fn affinities(
        &self,
        volume_zyx: Float64Array,
        tile_index_zyx: Uint32Array,
        data: Float32Array,
        dtype_max: f64,
    ) -> Result<Uint8Array, JsValue> {
        let network = self.network.borrow().clone().ok_or_else(|| {
            Failure::lasting("no_model", "no model is loaded", "Call load_model before affinities.")
        })?;
        let tile = tile_of(&network, &volume_zyx, &tile_index_zyx)?;
        let window = network
            .tile_window(data.to_vec(), dtype_max as f32, &tile)
            .map_err(|e| Failure::lasting("argument", e.to_string(), ""))?;
        let bins = network
            .tile_bins(window, &tile)
            .await
            .map_err(|e| Failure::passing("network", e.to_string(), "Reload the page; try the CPU."))?;
        Ok(Uint8Array::from(bins.as_slice()))
    }
}

/// A network that computes on its device what it computes on the CPU.
struct Checked {
    network: Network,
    precision: Precision,
    /// Why the precision is not the one that was asked for.
    refused: Option<String>,
}

impl Engine {
    fn loaded(&self) -> Result<Rc<Network>, Failure> {
        self.network
            .borrow()
            .clone()
            .ok_or_else(|| Failure::lasting("no_model", "no model is loaded", "Call load_model first."))
    }

    /// The network of a model file on this device, in `wanted` if that can be.
    async fn checked(&self, bytes: &[u8], wanted: Precision) -> Result<Checked, Failure> {
        let load = |device: &Device| {
            Network::from_bytes(bytes, device)
                .map_err(|e| Failure::lasting("model_file", e.to_string(), "Use another model file."))
        };
        let in_f32 = |network, refused| Checked { network, precision: Precision::F32, refused };
        let Some(adapter) = &self.adapter else {
            let refused = (wanted != Precision::F32).then(|| "the CPU computes in f32".to_owned());
            return Ok(in_f32(load(&self.device)?, refused));
        };
        let network = load(&self.device)?;
        check_limits(&network, adapter)?;
        let known = KnownAnswer::of_file(bytes).await.map_err(|e| missed(&e, adapter))?;
        let mut refused = None;
        if wanted != Precision::F32 {
            let copy = Network::new(network.model.clone(), network.metadata.clone(), &self.device);
            match self.reduced(copy, wanted, &known, adapter).await {
                Ok(network) => return Ok(Checked { network, precision: wanted, refused }),
                Err(cause) => refused = Some(cause.message),
            }
        }
        known.check(&network).await.map_err(|e| missed(&e, adapter))?;
        Ok(in_f32(network, refused))
    }

    /// The network in a 16-bit type, if the device has it and gives the known answer with it.
    async fn reduced(
        &self,
        network: Network,
        wanted: Precision,
        known: &KnownAnswer,
        adapter: &Adapter,
    ) -> Result<Network, Failure> {
        if !wanted.is_offered_by(&self.device) {
            let message = format!("adapter {} has no {wanted}", adapter.description);
            return Err(Failure::lasting("precision", message, ""));
        }
        if let Err(cause) = adapter.compile_f16().await {
            let message =
                format!("adapter {} offers {wanted} and does not compile it: {cause}", adapter.description);
            return Err(Failure::lasting("precision", message, ""));
        }
        let network =
            network.in_precision(wanted).map_err(|e| Failure::lasting("precision", e.to_string(), ""))?;
        known.check(&network).await.map_err(|e| missed(&e, adapter))?;
        Ok(network)
    }
}

fn tile_of(network: &Network, volume_zyx: &Float64Array, index_zyx: &Uint32Array) -> Result<Tile, Failure> {
    let argument = |message: String| Failure::lasting("argument", message, "");
    let metadata = &network.metadata;
    let volume = triple_u64(volume_zyx)?;
    let grid =
        TileGrid::new(volume, metadata.tile_zyx, metadata.halo_zyx).map_err(|e| argument(e.to_string()))?;
    grid.tile(triple_u32(index_zyx)?.map(u64::from)).map_err(|e| argument(e.to_string()))
}

/// The widest tensor of a forward pass is the concatenation before the last decoder: 2·f₀ channels of the
/// window in f32.  It has to fit one binding.
fn check_limits(network: &Network, adapter: &Adapter) -> Result<(), Failure> {
    let voxels: usize = network.metadata.window_zyx().iter().product();
    let bytes = (voxels * 2 * network.metadata.architecture.features[0] * 4) as f64;
    if adapter.binding_bytes > 0.0 && bytes > adapter.binding_bytes {
        return Err(Failure::lasting(
            "tile_too_large",
            format!(
                "a window of {:?} voxels needs buffers of {bytes} bytes, adapter {} binds {}",
                network.metadata.window_zyx(),
                adapter.description,
                adapter.binding_bytes
            ),
            "Use a smaller model or tile, another GPU, or the CPU.",
        ));
    }
    Ok(())
}

/// Why a GPU is not used: it misses the known answer, or fails.
fn missed(error: &KnownAnswerError, adapter: &Adapter) -> Failure {
    match error {
        _ if error.is_wrong_answer() => Failure::lasting(
            "gpu_wrong",
            format!("on adapter {} {error}", adapter.description),
            "Update the graphics driver or the browser, or use the CPU.",
        ),
        KnownAnswerError::File(e) => Failure::lasting("model_file", e.to_string(), "Use another model file."),
        _ => Failure::passing("device", error.to_string(), "Use the CPU."),
    }
}
