//! Where raw intensities come from, whatever holds them.

use tu_volume::{DataType, Region, Volume};

use super::error::SegmentError;

/// A volume of raw intensities of one channel.
pub trait RawSource: Sync {
    /// What to call it in messages.
    fn name(&self) -> &str;
    /// Shape in voxels, z y x.
    fn shape_zyx(&self) -> [u64; 3];
    /// Largest intensity of the data type, 1 for floats: what the model's intensity rule divides by.
    fn data_type_max(&self) -> f32;
    /// Raw values of a region, C order, x fastest.
    ///
    /// # Errors
    /// The region cannot be read.
    fn read(&self, region: &Region) -> Result<Vec<f32>, SegmentError>;
}

impl RawSource for Volume {
    fn name(&self) -> &str {
        self.url()
    }

    fn shape_zyx(&self) -> [u64; 3] {
        Volume::shape_zyx(self)
    }

    fn data_type_max(&self) -> f32 {
        self.data_type().full_range()
    }

    fn read(&self, region: &Region) -> Result<Vec<f32>, SegmentError> {
        Ok(self.read_f32(region)?)
    }
}

/// Refuses volumes that are no EM: labels by their data type, affinities by their channels.
///
/// # Errors
/// The volume is not one channel of u8, u16 or f32.
pub fn refuse_unless_raw(volume: &Volume) -> Result<(), SegmentError> {
    if volume.channels() != 1 {
        return Err(SegmentError::refused(
            volume.url(),
            format!("it has {} channels, and EM has one", volume.channels()),
            "give the raw volume",
        ));
    }
    match volume.data_type() {
        DataType::U8 | DataType::U16 | DataType::F32 => Ok(()),
        labels @ (DataType::U32 | DataType::U64) => Err(SegmentError::refused(
            volume.url(),
            format!("it holds {labels}, which is how labels are stored, not EM intensities"),
            "give the raw volume; if this is EM, convert it to uint8 or uint16",
        )),
        other => Err(SegmentError::refused(
            volume.url(),
            format!("EM of type {other} has no defined range of intensities"),
            "convert it to uint8, uint16, or float32 between 0 and 1",
        )),
    }
}
