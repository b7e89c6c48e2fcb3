//! Kernels of EMmamba with their own backward pass, as burn backend extensions.
//!
//! The selective state space scan of Mamba-1 (Gu and Dao 2023, algorithm 2), per batch entry and channel `e`
//! with `N` states:
//!
//! ```text
//! Δ_t     = softplus(W δ_t + b),     A = −exp(A_log)
//! h_t[n]  = exp(Δ_t A[e,n]) h_{t-1}[n] + Δ_t u_t B_t[n],      h_0 = 0
//! y_t     = Σ_n C_t[n] h_t[n] + D[e] u_t
//! ```
//!
//! [`selective_scan`] runs it on every backend this crate is built for:
//!
//! | backend | feature | where |
//! |---|---|---|
//! | Flex | `flex` | [`cpu`]: vectorised over channels, threads over channels and states |
//! | Cube | `wgpu`, `webgpu`, `cuda` | `cube`: chunked along the sequence |
//! | Autodiff | `autodiff` | [`scan`]: one graph node, states recomputed in the backward pass |
//!
//! The other operations have modules of their own, built alike: [`layer_norm`] turns a volume into tokens,
//! [`causal_conv`] feeds a scan, [`gate`] joins the directions, [`conv`] and [`norm`] are those of the convolutional blocks,
//! [`projection`] maps channels in both, and [`gelu`](mod@gelu) is the activation between two such maps. [`three_orders`] has
//! what surrounds the scans for all directions of a block at once. Behind the network, [`quantise`](mod@quantise) turns its
//! output into bins, and [`adamw`](mod@adamw) trains its parameters.
//!
//! [`mod@reference`] is the scan's mathematics in f64, written for clarity; the tests compare everything with it.

#![allow(
    unsafe_code,
    reason = "vector instructions behind run-time detection, and buffers filled in parallel; every block says why it is sound"
)]

pub mod adamw;
pub mod causal_conv;
pub mod conv;
#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;
#[cfg(feature = "flex")]
mod flex_tensor;
pub mod gate;
pub mod gelu;
pub mod layer_norm;
#[cfg(feature = "cuda")]
mod llvm_absent;
pub mod norm;
mod precision;
pub mod projection;
pub mod quantise;
#[cfg(feature = "autodiff")]
mod recompute;
pub mod reference;
pub mod scan;
#[cfg(all(feature = "flex", feature = "autodiff"))]
pub mod selfcheck;
pub mod three_orders;

pub use causal_conv::causal_conv_silu;
pub use conv::{PackedWeight, conv_same, conv_same_packed};
pub use gate::gated_direction_sum;
pub use gelu::gelu;
pub use layer_norm::layer_norm_tokens;
pub use norm::{normalise_rows, normalise_rows_rectified};
pub use projection::project;
pub use quantise::quantise;
pub use scan::{ScanOrder, ScanShape, selective_scan};
