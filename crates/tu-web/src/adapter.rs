//! The WebGPU adapter that the browser offers, asked before a device is made of it, and the device.

use std::cell::RefCell;

use burn::tensor::Device;
use js_sys::{Function, Object, Promise, Reflect};
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
}

impl Adapter {
    /// The adapter of the fast GPU, or why there is none. The runtime opens its device on the same: its default device
    /// prefers high performance too.
    pub(crate) async fn request() -> Result<Adapter, String> {
        let get = |of: &JsValue, key: &str| Reflect::get(of, &key.into()).unwrap_or(JsValue::UNDEFINED);
        let gpu = get(&get(&js_sys::global(), "navigator"), "gpu");
        if gpu.is_undefined() {
            return Err("this browser has no WebGPU, or the page is neither https nor localhost".to_owned());
        }
        let request: Function =
            get(&gpu, "requestAdapter").dyn_into().map_err(|_| "WebGPU is incomplete".to_owned())?;
        let options = Object::new();
        let promise: Promise = Reflect::set(&options, &"powerPreference".into(), &"high-performance".into())
            .and_then(|_| request.call1(&gpu, &options))
            .and_then(JsCast::dyn_into)
            .map_err(|e| format!("requestAdapter failed: {e:?}"))?;
        let adapter = JsFuture::from(promise).await.map_err(|e| format!("requestAdapter failed: {e:?}"))?;
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
        Ok(Adapter { description, binding_bytes, fallback })
    }
}

/// What the browser tells of its adapter, `{description, fallback}`, before a device is opened on it.
///
/// # Errors
/// Throws `no_webgpu` when there is none.
#[wasm_bindgen]
pub async fn webgpu_adapter() -> Result<JsValue, JsValue> {
    let adapter = Adapter::request().await.map_err(|cause| no_webgpu(&cause))?;
    let facts = Object::new();
    Reflect::set(&facts, &"description".into(), &adapter.description.into())?;
    Reflect::set(&facts, &"fallback".into(), &adapter.fallback.into())?;
    Ok(facts.into())
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
