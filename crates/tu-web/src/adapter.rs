//! The WebGPU adapter that the browser offers, asked before a device is made of it, and the device.

use std::cell::RefCell;

use burn::tensor::Device;
use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use crate::failure::Failure;

/// Kernels of a submission. The driver of a weak GPU is reset when one submission takes two seconds (Windows, Chrome's
/// watchdog), and nothing is drawn while one runs, so 100 ms are aimed at. A convolution is followed by two launches of its
/// normalisation: four kernels hold at most two of the widest convolutions, 6 GFLOP for `tiny` with the shipped tile, which
/// is 0.1 s at 60 GFLOP/s. The runtime's own 32 would hold the whole decoder. A submission costs well under 0.1 ms.
const KERNELS_PER_SUBMISSION: usize = 4;

/// What is asked of an adapter.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    /// Vendor, architecture and description, as far as the browser tells.
    pub(crate) description: String,
    /// Largest storage buffer that a kernel can bind, bytes.
    pub(crate) binding_bytes: f64,
    /// Whether the browser calls it a fallback: a processor that stands in for a GPU.
    fallback: bool,
    /// The `GPUAdapter`.
    object: JsValue,
}

/// A kernel in 16-bit floats.
const F16_KERNEL: &str = "enable f16;
@group(0) @binding(0) var<storage, read_write> x: array<f16>;
@compute @workgroup_size(1) fn main() { x[0] = exp(x[0]) * 2.0h; }";

/// A property; `undefined` where there is none.
fn get(of: &JsValue, key: &str) -> JsValue {
    Reflect::get(of, &key.into()).unwrap_or(JsValue::UNDEFINED)
}

/// An object with these properties.
fn object<const N: usize>(properties: [(&str, JsValue); N]) -> Result<JsValue, JsValue> {
    let object = Object::new();
    for (key, value) in properties {
        Reflect::set(&object, &key.into(), &value)?;
    }
    Ok(object.into())
}

fn call(on: &JsValue, method: &str, argument: &JsValue) -> Result<JsValue, JsValue> {
    get(on, method).dyn_into::<Function>()?.call1(on, argument)
}

async fn call_async(on: &JsValue, method: &str, argument: &JsValue) -> Result<JsValue, JsValue> {
    JsFuture::from(call(on, method, argument)?.dyn_into::<Promise>()?).await
}

impl Adapter {
    /// The adapter of the fast GPU, or why there is none. The runtime opens its device on the same: its default device
    /// prefers high performance too.
    pub(crate) async fn request() -> Result<Adapter, String> {
        let gpu = get(&get(&js_sys::global(), "navigator"), "gpu");
        if gpu.is_undefined() {
            return Err("this browser has no WebGPU, or the page is neither https nor localhost".to_owned());
        }
        let request = async {
            let options = object([("powerPreference", "high-performance".into())])?;
            call_async(&gpu, "requestAdapter", &options).await
        };
        let adapter = request.await.map_err(|e| format!("requestAdapter failed: {e:?}"))?;
        if adapter.is_null() || adapter.is_undefined() {
            return Err("the browser offers no WebGPU adapter".to_owned());
        }
        let info = get(&adapter, "info");
        let words: Vec<String> = ["vendor", "architecture", "description"]
            .iter()
            .filter_map(|key| get(&info, key).as_string())
            .filter(|word| !word.is_empty())
            .collect();
        let binding_bytes =
            get(&get(&adapter, "limits"), "maxStorageBufferBindingSize").as_f64().unwrap_or(0.0);
        let description = if words.is_empty() { "unnamed adapter".to_owned() } else { words.join(" ") };
        // Older browsers have it on the adapter itself.
        let fallback =
            [&info, &adapter].iter().any(|of| get(of, "isFallbackAdapter").as_bool() == Some(true));
        Ok(Adapter { description, binding_bytes, fallback, object: adapter })
    }

    /// Compiles a kernel in 16-bit floats on a device of its own: some adapters name the feature and cannot. The runtime would
    /// launch such a kernel without learning that it was refused.
    ///
    /// # Errors
    /// What the browser says.
    pub(crate) async fn compile_f16(&self) -> Result<(), String> {
        let compile = async {
            let features = Array::of1(&"shader-f16".into());
            let options = object([("requiredFeatures", features.into())])?;
            let device = call_async(&self.object, "requestDevice", &options).await?;
            let compiled = pipeline_in_f16(&device).await;
            get(&device, "destroy").dyn_into::<Function>()?.call0(&device)?;
            compiled
        };
        compile.await.map(|_| ()).map_err(|cause| {
            let message = get(&cause, "message").as_string().unwrap_or_else(|| format!("{cause:?}"));
            message.lines().next().unwrap_or_default().to_owned()
        })
    }
}

/// Compiles [`F16_KERNEL`].
async fn pipeline_in_f16(device: &JsValue) -> Result<JsValue, JsValue> {
    let code = object([("code", F16_KERNEL.into()), ("label", "a kernel in f16".into())])?;
    let module = call(device, "createShaderModule", &code)?;
    let compute = object([("module", module), ("entryPoint", "main".into())])?;
    let pipeline = object([("layout", "auto".into()), ("compute", compute)])?;
    call_async(device, "createComputePipelineAsync", &pipeline).await
}

/// What the browser tells of its adapter, `{description, fallback}`, before a device is opened on it.
///
/// # Errors
/// Throws `no_webgpu` when there is none.
#[wasm_bindgen]
pub async fn webgpu_adapter() -> Result<JsValue, JsValue> {
    let adapter = Adapter::request().await.map_err(|cause| no_webgpu(&cause))?;
    object([("description", adapter.description.into()), ("fallback", adapter.fallback.into())])
}

/// WebGPU cannot be used, for this cause.
pub(crate) fn no_webgpu(cause: &str) -> Failure {
    let message = format!("WebGPU cannot be used: {cause}");
    Failure::lasting("no_webgpu", message, "Use a browser with WebGPU enabled, or the CPU.")
}

thread_local! {
    /// The device of this worker and, while it is being opened, the promise of it.
    static DEVICE: RefCell<Option<Device>> = const { RefCell::new(None) };
    static OPENING: RefCell<Option<Promise>> = const { RefCell::new(None) };
}

/// The WebGPU device of this worker, opened once however many engines ask for it: the compute runtime keeps one server
/// per device and refuses a second registration.
///
/// # Errors
/// Says why the adapter gives no device; the next call tries again.
pub async fn webgpu_device() -> Result<Device, String> {
    let opened = || DEVICE.with_borrow(Clone::clone);
    if let Some(device) = opened() {
        return Ok(device);
    }
    let opening =
        OPENING.with_borrow_mut(|opening| opening.get_or_insert_with(|| future_to_promise(open())).clone());
    let outcome = JsFuture::from(opening).await;
    OPENING.set(None);
    outcome.map_err(|cause| cause.as_string().unwrap_or_else(|| format!("{cause:?}")))?;
    opened().ok_or_else(|| "the device was lost while it was opened".to_owned())
}

async fn open() -> Result<JsValue, JsValue> {
    let device = Device::wgpu_options()
        .tasks_max(KERNELS_PER_SUBMISSION)
        .init_async()
        .await
        .map_err(|e| JsValue::from_str(&format!("{e:?}")))?;
    DEVICE.set(Some(device));
    Ok(JsValue::UNDEFINED)
}
