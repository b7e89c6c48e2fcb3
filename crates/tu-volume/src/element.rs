//! Stored bytes as numbers, with the conversions that lose nothing and refusals of the others.

use crate::{DataType, VolumeError};
use bytemuck::Pod;

// Chunks are little-endian on disk and in memory alike.
const _: () = assert!(cfg!(target_endian = "little"), "big-endian hosts are not supported");

/// A voxel type that callers hold in memory.
pub(crate) trait Element: Pod {
    const DATA_TYPE: DataType;
}
impl Element for u8 {
    const DATA_TYPE: DataType = DataType::U8;
}
impl Element for u16 {
    const DATA_TYPE: DataType = DataType::U16;
}
impl Element for u32 {
    const DATA_TYPE: DataType = DataType::U32;
}
impl Element for u64 {
    const DATA_TYPE: DataType = DataType::U64;
}
impl Element for f32 {
    const DATA_TYPE: DataType = DataType::F32;
}

fn widen<S: Pod, T>(bytes: &[u8], to: impl Fn(S) -> T) -> Vec<T> {
    bytes.chunks_exact(size_of::<S>()).map(|item| to(bytemuck::pod_read_unaligned(item))).collect()
}

/// The bytes as the very type they are stored in.
pub(crate) fn exact<T: Element>(input: &str, stored: DataType, bytes: &[u8]) -> Result<Vec<T>, VolumeError> {
    if stored != T::DATA_TYPE {
        return Err(refusal(input, stored, T::DATA_TYPE));
    }
    Ok(bytemuck::pod_collect_to_vec(bytes))
}

/// Labels of any unsigned type, widened.
pub(crate) fn to_u64(input: &str, stored: DataType, bytes: &[u8]) -> Result<Vec<u64>, VolumeError> {
    Ok(match stored {
        DataType::U8 => widen::<u8, _>(bytes, u64::from),
        DataType::U16 => widen::<u16, _>(bytes, u64::from),
        DataType::U32 => widen::<u32, _>(bytes, u64::from),
        DataType::U64 => bytemuck::pod_collect_to_vec(bytes),
        _ => return Err(refusal(input, stored, DataType::U64)),
    })
}

/// Intensities: u8, u16 and f32, values unchanged.
pub(crate) fn to_f32(input: &str, stored: DataType, bytes: &[u8]) -> Result<Vec<f32>, VolumeError> {
    Ok(match stored {
        DataType::U8 => widen::<u8, _>(bytes, f32::from),
        DataType::U16 => widen::<u16, _>(bytes, f32::from),
        DataType::F32 => bytemuck::pod_collect_to_vec(bytes),
        _ => return Err(refusal(input, stored, DataType::F32)),
    })
}

/// Whether a read of `stored` as `asked` will succeed, before any byte is fetched.
pub(crate) fn check_read(input: &str, stored: DataType, asked: DataType) -> Result<(), VolumeError> {
    let fits = match asked {
        DataType::U64 => stored.is_unsigned(),
        DataType::F32 => matches!(stored, DataType::U8 | DataType::U16 | DataType::F32),
        _ => stored == asked,
    };
    if fits { Ok(()) } else { Err(refusal(input, stored, asked)) }
}

fn refusal(input: &str, stored: DataType, asked: DataType) -> VolumeError {
    let remedy = match stored {
        DataType::U8 | DataType::U16 => {
            "images are u8, u16 or f32 and labels are unsigned integers: check that the right volume is given"
        }
        DataType::U32 | DataType::U64 => {
            "it looks like labels: give an image volume here, or read it as labels"
        }
        DataType::F32 => "it looks like an image or affinities: give a label volume here, or convert it",
        _ => "convert it to u8, u16 or f32 (images) or to an unsigned integer (labels)",
    };
    VolumeError::DataType {
        input: input.to_owned(),
        stored: stored.to_string(),
        action: "read as",
        asked: asked.to_string(),
        remedy: remedy.to_owned(),
    }
}
