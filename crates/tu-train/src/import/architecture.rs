//! The architecture that tensors of these shapes belong to.
//!
//! | field | read from |
//! |---|---|
//! | widths, input channels | down-samplers and GSC: `(f_i, f_{i−1}, 1, k, k)` |
//! | bottleneck | `encoder5`, `decoder5.transp_conv` |
//! | kernel | last axis of any (1, k, k) convolution |
//! | depths | largest j of `vit.stages.i.j` |
//! | z stride | z of the transposed convolutions `(in, out, s, 2, 2)` |
//! | state, taps, expansion | `A_log` (E, N), `conv1d` (E, 1, taps), E / f_0 |
//!
//! Shapes do not show the slices of the inter-slice scan and the residual: they are what the published code has.

use tu_model::{EmMambaConfig, Preset};

use super::error::ImportError;
use super::state_dict::StateDict;

/// Infers the architecture; its slices and residual are the published ones.
///
/// # Errors
/// [`ImportError::Architecture`] when a field can be read from no tensor, or is out of bounds.
pub(super) fn infer(state: &StateDict<'_>) -> Result<EmMambaConfig, ImportError> {
    let axis = |field: &str, candidates: &[(&str, usize)]| {
        let found = candidates.iter().find_map(|&(name, axis)| {
            state.tensors.get(name).and_then(|tensor| tensor.shape().get(axis)).copied()
        });
        found.ok_or_else(|| {
            let names: Vec<&str> = candidates.iter().map(|&(name, _)| name).collect();
            ImportError::Architecture(format!("{field} cannot be told, as {} is missing", names.join(" or ")))
        })
    };
    let mut features = [0; 4];
    for (i, width) in features.iter_mut().enumerate() {
        let step = usize::from(i > 0);
        let down = format!("vit.downsample_layers.{i}.{step}.weight");
        let spatial = format!("vit.gscs.{i}.proj.weight");
        *width = axis(&format!("the width of stage {i}"), &[(down.as_str(), 0), (spatial.as_str(), 0)])?;
    }
    let mamba = |tensor: &str| {
        let stage = (0..4).find(|i| state.tensors.contains_key(&format!("vit.stages.{i}.0.mamba.{tensor}")));
        let stage = stage.unwrap_or(0);
        (stage, format!("vit.stages.{stage}.0.mamba.{tensor}"))
    };
    let (stage, a_log) = mamba("A_log");
    let inner = axis("the inner width of the Mamba layers", &[(a_log.as_str(), 0)])?;
    let config = EmMambaConfig {
        in_channels: axis(
            "the number of input channels",
            &[("vit.downsample_layers.0.0.weight", 1), ("encoder1.layer.conv1.conv.weight", 1)],
        )?,
        out_channels: axis(
            "the number of output channels",
            &[("out.conv.conv.weight", 0), ("out.conv.conv.bias", 0)],
        )?,
        features,
        hidden: axis(
            "the width of the bottleneck",
            &[("encoder5.layer.conv1.conv.weight", 0), ("decoder5.transp_conv.conv.weight", 0)],
        )?,
        depths: depths(state),
        kernel: axis(
            "the kernel",
            &[("encoder1.layer.conv1.conv.weight", 4), ("decoder1.layer.conv1.conv.weight", 4)],
        )?,
        z_stride: axis(
            "the z stride",
            &[("decoder5.transp_conv.conv.weight", 2), ("decoder2.transp_conv.conv.weight", 2)],
        )?,
        d_state: axis("the size of the scan's state", &[(a_log.as_str(), 1)])?,
        d_conv: axis("the width of the causal convolution", &[(mamba("conv1d.weight").1.as_str(), 2)])?,
        expand: inner / features[stage].max(1),
        ..EmMambaConfig::default().compat()
    };
    config.check().map_err(|e| ImportError::Architecture(e.to_string()))?;
    Ok(config)
}

/// Mamba layers per stage, gaps counted in: they show as missing tensors.
fn depths(state: &StateDict<'_>) -> [usize; 4] {
    let mut depths = [0; 4];
    for name in state.tensors.keys() {
        let mut parts = name.strip_prefix("vit.stages.").unwrap_or_default().split('.');
        let mut number = || parts.next()?.parse::<usize>().ok();
        if let (Some(i @ 0..4), Some(j)) = (number(), number()) {
            depths[i] = depths[i].max(j.saturating_add(1));
        }
    }
    depths
}

/// The preset of which an architecture is the published form.
pub(super) fn preset(config: &EmMambaConfig) -> Option<Preset> {
    let same = |preset: &Preset| {
        let published = EmMambaConfig::preset(*preset).compat();
        published == EmMambaConfig { out_channels: published.out_channels, ..config.clone() }
    };
    Preset::ALL.into_iter().find(same)
}
