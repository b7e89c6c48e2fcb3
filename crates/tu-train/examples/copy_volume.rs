//! Copies boxes of a volume of unsigned integers of at most 32 bits into a new zarr of the same shape, in which everything else is 0.
//!
//! ```text
//! cargo run --release -p tu-train --example copy_volume -- em.zarr/raw small.zarr raw 0:100,:,: 180:250,:,:
//! ```
//!
//! Coordinates stay what they were, and what is not copied takes no space: a region to train on and one to validate on travel with
//! the settings that name them.

#![allow(clippy::print_stdout, reason = "a program says what it did")]

use serde_json::Map;
use tu_train::roi::RoiSpec;
use tu_volume::{DataType, NewVolume, Volume, VolumeWriter};

type Failure = Box<dyn std::error::Error>;

/// A slab of this many planes fits into memory.
const BLOCK_ZYX: [usize; 3] = [64, 512, 512];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, target, array, regions @ ..] = arguments.as_slice() else {
        return Err("write copy_volume SOURCE TARGET.zarr ARRAY z0:z1,y0:y1,x0:x1 …".into());
    };
    let volume = Volume::open(source)?;
    let shape_zyx = volume.shape_zyx();
    let data_type = if volume.data_type() == DataType::U8 { DataType::U8 } else { DataType::U32 };
    let spec = NewVolume {
        shape_zyx,
        channels: None,
        data_type,
        chunk_zyx: [64; 3],
        voxel_nm_zyx: volume.voxel_nm_zyx(),
        voxel_offset_zyx: volume.voxel_offset_zyx(),
        attributes: Map::new(),
    };
    let writer = VolumeWriter::create_in_group(target, array, &spec)?;
    let mut voxels = 0;
    for text in regions {
        let roi = text.parse::<RoiSpec>()?.resolve(source, shape_zyx)?;
        for block in roi.blocks(BLOCK_ZYX) {
            let region = block.region();
            if data_type == DataType::U8 {
                writer.write_u8(&region, &volume.read_u8(&region)?)?;
            } else {
                let values = volume.read_u64(&region)?.into_iter().map(u32::try_from);
                writer.write_u32(&region, &values.collect::<Result<Vec<u32>, _>>()?)?;
            }
            voxels += block.voxels();
        }
    }
    writer.finish()?;
    println!("{target}/{array}: {:.1} Mvoxel of {source}", voxels as f64 / 1e6);
    Ok(())
}
