//! The WebGPU adapter that the browser offers, asked before a device is made of it, and the device.

use std::cell::RefCell;

use burn::tensor::Device;
use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, future_to_promise};

/// What is asked of an adapter.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    /// Vendor, architecture and description, as far as the browser tells.
    pub(crate) description: String,
    /// Largest storage buffer that a kernel can bind, bytes.
    pub(crate) binding_bytes: f64,
}

impl Adapter {
    /// The default adapter, or why there is none.
    pub(crate) async fn request() -> Result<Adapter, String> {
        let get = |of: &JsValue, key: &str| Reflect::get(of, &key.into()).unwrap_or(JsValue::UNDEFINED);
        let gpu = get(&get(&js_sys::global(), "navigator"), "gpu");
        if gpu.is_undefined() {
            return Err("this browser has no WebGPU, or the page is neither https nor localhost".to_owned());
        }
        let request: Function =
            get(&gpu, "requestAdapter").dyn_into().map_err(|_| "WebGPU is incomplete".to_owned())?;
        let promise: Promise = request
            .call0(&gpu)
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
        Ok(Adapter { description, binding_bytes })
    }
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
    let device =
        Device::wgpu_options().init_async().await.map_err(|e| JsValue::from_str(&format!("{e:?}")))?;
    DEVICE.set(Some(device));
    Ok(JsValue::UNDEFINED)
}
