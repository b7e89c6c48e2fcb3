//! OME-NGFF multiscales: which arrays are the scales, and how large their voxels are.
//!
//! Versions 0.4 (zarr 2, attribute `multiscales`) and 0.5 (zarr 3, attribute `ome.multiscales`). A scale's voxel
//! size is the product of its own `scale` and the one common to all scales; its `translation` says where the
//! first voxel sits.

use crate::{VolumeError, url::check_relative};
use serde_json::{Map, Value};

/// One axis as named by the metadata.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) name: String,
    /// Length of one unit in nanometres, if the unit is known.
    pub(crate) unit_nm: Option<f64>,
}

/// The image as a pyramid, and the geometry of the scale that was picked.
#[derive(Debug)]
pub(crate) struct Multiscale {
    pub(crate) scales: usize,
    pub(crate) path: String,
    pub(crate) axes: Vec<Axis>,
    /// Voxel extent per axis, in the axis's unit.
    scale: Vec<f64>,
    /// Position of the first voxel per axis, in the axis's unit.
    translation: Vec<f64>,
}

/// The attribute that makes a group an image.
pub(crate) fn find(attributes: &Map<String, Value>) -> Option<&Value> {
    let list = match attributes.get("ome") {
        Some(ome) => ome.get("multiscales"),
        None => attributes.get("multiscales"),
    };
    list?.as_array()?.first()
}

/// Reads the entry that [`find`] found and picks scale number `scale` (0 is the finest).
pub(crate) fn parse(input: &str, entry: &Value, scale: usize) -> Result<Multiscale, VolumeError> {
    let bad = |cause: String| VolumeError::metadata(input, cause);
    let datasets = entry
        .get("datasets")
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
        .ok_or_else(|| bad("multiscales lists no datasets".to_owned()))?;
    let dataset = datasets.get(scale).ok_or_else(|| VolumeError::NotFound {
        input: input.to_owned(),
        cause: format!("scale {scale} of {}", datasets.len()),
        remedy: "ask for one of the scales counted from 0, the finest".to_owned(),
    })?;
    let path = dataset
        .get("path")
        .and_then(Value::as_str)
        .ok_or_else(|| bad(format!("dataset {scale} of multiscales has no path")))?;
    check_relative(input, path)?;
    let axes: Vec<Axis> = entry
        .get("axes")
        .and_then(Value::as_array)
        .map(|list| list.iter().map(axis).collect())
        .unwrap_or_default();
    let mut scale_by = vec![1.0; axes.len()];
    let mut translation = vec![0.0; axes.len()];
    for list in [dataset.get("coordinateTransformations"), entry.get("coordinateTransformations")] {
        for transform in list.and_then(Value::as_array).into_iter().flatten() {
            apply(transform, &mut scale_by, &mut translation)
                .map_err(|cause| bad(format!("coordinateTransformations: {cause}")))?;
        }
    }
    Ok(Multiscale { scales: datasets.len(), path: path.to_owned(), axes, scale: scale_by, translation })
}

impl Multiscale {
    /// Voxel size in nanometres, zyx, of the last three axes, if all their units are known.
    pub(crate) fn voxel_nm_zyx(&self) -> Option<[f64; 3]> {
        let first = self.axes.len().checked_sub(3)?;
        let mut size = [0.0; 3];
        for (d, size) in size.iter_mut().enumerate() {
            *size = self.scale[first + d] * self.axes[first + d].unit_nm?;
        }
        Some(size)
    }

    /// Position of the first voxel in voxels, zyx, where it is a whole number of them; coarser scales sit at
    /// fractions of their voxels and report 0.
    pub(crate) fn voxel_offset_zyx(&self) -> [i64; 3] {
        let Some(first) = self.axes.len().checked_sub(3) else { return [0; 3] };
        let voxels: [f64; 3] = std::array::from_fn(|d| self.translation[first + d] / self.scale[first + d]);
        if voxels.iter().all(|v| (v - v.round()).abs() < 1e-3 && v.abs() < 9.0e15) {
            voxels.map(|v| v.round() as i64)
        } else {
            [0; 3]
        }
    }
}

fn axis(value: &Value) -> Axis {
    // Version 0.3 has bare names.
    let name = value.as_str().or_else(|| value.get("name").and_then(Value::as_str)).unwrap_or_default();
    let unit_nm = value.get("unit").and_then(Value::as_str).and_then(nanometres);
    Axis { name: name.to_owned(), unit_nm }
}

fn nanometres(unit: &str) -> Option<f64> {
    Some(match unit {
        "picometer" => 1e-3,
        "angstrom" => 0.1,
        "nanometer" | "nm" => 1.0,
        "micrometer" | "um" | "µm" | "micron" => 1e3,
        "millimeter" | "mm" => 1e6,
        "centimeter" => 1e7,
        "meter" | "m" => 1e9,
        _ => return None,
    })
}

/// Applies one transformation after those already collected.
fn apply(transform: &Value, scale: &mut [f64], translation: &mut [f64]) -> Result<(), String> {
    let kind = transform.get("type").and_then(Value::as_str).unwrap_or_default();
    let numbers = || -> Result<Vec<f64>, String> {
        let list = transform.get(kind).and_then(Value::as_array).ok_or(format!("{kind} without a list"))?;
        let numbers: Option<Vec<f64>> = list.iter().map(Value::as_f64).collect();
        numbers
            .filter(|n| n.len() == scale.len() && n.iter().all(|v| v.is_finite()))
            .ok_or_else(|| format!("{kind} needs one finite number for each of {} axes", scale.len()))
    };
    match kind {
        "identity" => {}
        "scale" => {
            let by = numbers()?;
            if by.iter().any(|v| *v <= 0.0) {
                return Err("scale is not positive".to_owned());
            }
            for (d, by) in by.iter().enumerate() {
                scale[d] *= by;
                translation[d] *= by;
            }
        }
        "translation" => {
            for (d, by) in numbers()?.iter().enumerate() {
                translation[d] += by;
            }
        }
        other => return Err(format!("the type {other:?} is not supported")),
    }
    Ok(())
}
