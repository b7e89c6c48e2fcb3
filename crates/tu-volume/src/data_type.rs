//! The voxel types that volumes hold, and their names in zarr v2, zarr v3 and precomputed.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of a voxel as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it all")]
pub enum DataType {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

impl DataType {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::F32,
        Self::F64,
    ];

    /// Bytes per voxel.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether labels can be stored in it.
    #[must_use]
    pub fn is_unsigned(self) -> bool {
        matches!(self, Self::U8 | Self::U16 | Self::U32 | Self::U64)
    }

    /// Whether it is a floating-point type.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The largest intensity of an image of this type: the type's maximum for integers, 1 for floats.
    #[must_use]
    pub fn full_range(self) -> f32 {
        match self {
            Self::U8 => f32::from(u8::MAX),
            Self::U16 => f32::from(u16::MAX),
            Self::U32 => u32::MAX as f32,
            Self::U64 => u64::MAX as f32,
            Self::I8 => f32::from(i8::MAX),
            Self::I16 => f32::from(i16::MAX),
            Self::I32 => i32::MAX as f32,
            Self::I64 => i64::MAX as f32,
            Self::F32 | Self::F64 => 1.0,
        }
    }

    /// The name in zarr v3 and in precomputed, such as `uint8`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// The inverse of [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }

    /// From a zarr v2 `dtype` such as `<u2`, `>f4` or `|u1`.
    #[must_use]
    pub fn from_v2(dtype: &str) -> Option<Self> {
        let kind = dtype.strip_prefix(['<', '>', '|', '='])?;
        Some(match kind {
            "u1" => Self::U8,
            "u2" => Self::U16,
            "u4" => Self::U32,
            "u8" => Self::U64,
            "i1" => Self::I8,
            "i2" => Self::I16,
            "i4" => Self::I32,
            "i8" => Self::I64,
            "f4" => Self::F32,
            "f8" => Self::F64,
            _ => return None,
        })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
