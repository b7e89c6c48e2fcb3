//! The browser's door to the network and to the segmentation.
//!
//! A worker creates one [`Engine`] (a device with a model on it) and one [`Segmentation`] per volume:
//!
//! ```text
//! EM values of a window ─► Engine.affinities ─► u8 affinities of the tile ─► Segmentation.add_tile ─► fragment ids
//!                                                    threshold ─► Segmentation.equivalences ─► (fragment, root) pairs
//! ```
//!
//! The network is the same code, with the same model file, as `tu-train` runs natively; affinities are
//! quantised to 256 bins before anything is decided on them, so that both hosts segment alike.
//!
//! Arrays are in C order (z, y, x), x fastest.  Every failure is thrown as `{code, message, hint, retryable}`.
//! The crate is empty on other targets than wasm32.

#![cfg(target_arch = "wasm32")]

mod adapter;
mod engine;
mod failure;
mod segmentation;

pub use adapter::{webgpu_adapter, webgpu_device};
pub use engine::Engine;
pub use failure::Failure;
pub use segmentation::Segmentation;

use wasm_bindgen::prelude::wasm_bindgen;

/// Runs when the module is instantiated: a panic becomes a readable console error.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}
