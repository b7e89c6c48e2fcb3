//! zarrs' errors and byte ranges as ours.

use crate::{VolumeError, source::Part};
use zarrs::{
    array::{ArrayCreateError, ArrayError, codec::api::CodecError},
    storage::{StorageError, byte_range::ByteRange},
};

/// Our own errors travel through zarrs inside an I/O error and come out unchanged.
pub(super) fn into_storage(error: VolumeError) -> StorageError {
    std::io::Error::other(error).into()
}

fn from_storage(error: &StorageError) -> Option<VolumeError> {
    let StorageError::IOError(io) = error else { return None };
    io.get_ref()?.downcast_ref::<VolumeError>().cloned()
}

/// The failure of the source behind an array error, if that is what it was.
pub(super) fn from_source(error: &ArrayError) -> Option<VolumeError> {
    match error {
        ArrayError::StorageError(e) | ArrayError::CodecError(CodecError::StorageError(e)) => from_storage(e),
        _ => None,
    }
}

/// A failure to make sense of an array's metadata.
pub(super) fn from_create(input: &str, error: &ArrayCreateError) -> VolumeError {
    match error {
        ArrayCreateError::CodecsCreateError(e) => VolumeError::unsupported(
            input,
            format!("its codecs: {e}"),
            "rewrite it with gzip, zstd, blosc, sharding, crc32c or transpose only",
        ),
        ArrayCreateError::UnsupportedZarrV2Array(e) => VolumeError::unsupported(
            input,
            e,
            "rewrite it with gzip, zstd, blosc or no compressor, without filters",
        ),
        other => VolumeError::metadata(input, other),
    }
}

pub(super) fn part_of(range: ByteRange) -> Part {
    match range {
        ByteRange::FromStart(0, None) => Part::Whole,
        ByteRange::FromStart(offset, None) => Part::Rest { offset },
        ByteRange::FromStart(offset, Some(length)) => Part::From { offset, length },
        ByteRange::Suffix(length) => Part::Last { length },
    }
}
