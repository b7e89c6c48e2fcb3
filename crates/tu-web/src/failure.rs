//! What the browser is told when something fails.

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;

/// A failure as JavaScript sees it: `{code, message, hint, retryable}`.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Stable identifier, e.g. `model_hash`.
    pub code: &'static str,
    /// What failed, with its input and cause.
    pub message: String,
    /// What a person can do about it; may be empty.
    pub hint: &'static str,
    /// Whether the same call may succeed later.
    pub retryable: bool,
}

impl Failure {
    /// A failure that the same call will meet again.
    pub fn lasting(code: &'static str, message: impl Into<String>, hint: &'static str) -> Self {
        Self { code, message: message.into(), hint, retryable: false }
    }

    /// A failure that may pass.
    pub fn passing(code: &'static str, message: impl Into<String>, hint: &'static str) -> Self {
        Self { code, message: message.into(), hint, retryable: true }
    }
}

impl From<Failure> for JsValue {
    fn from(failure: Failure) -> JsValue {
        let object = Object::new();
        let fields: [(&str, JsValue); 4] = [
            ("code", failure.code.into()),
            ("message", failure.message.into()),
            ("hint", failure.hint.into()),
            ("retryable", failure.retryable.into()),
        ];
        for (key, value) in fields {
            // Setting a property of a fresh plain object cannot fail.
            let _ = Reflect::set(&object, &key.into(), &value);
        }
        object.into()
    }
}
