use proptest::prelude::*;
use tu_volume::{NewVolume, VolumeWriter};

use super::*;

const SHAPE: [u64; 3] = [11, 21, 30];
const CHUNK: [usize; 3] = [4, 8, 16];

fn value(z: u64, y: u64, x: u64) -> u64 {
    (z * 131 + y * 17 + x) % 251
}

/// A volume whose voxels tell their place, in a folder that lives as long as the first value.
fn volume(data_type: DataType) -> (tempfile::TempDir, Volume) {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("volume.zarr").to_str().unwrap().to_owned();
    let spec = NewVolume {
        shape_zyx: SHAPE,
        channels: None,
        data_type,
        chunk_zyx: CHUNK,
        voxel_nm_zyx: None,
        voxel_offset_zyx: [0; 3],
        attributes: serde_json::Map::new(),
    };
    let writer = VolumeWriter::create(&url, &spec).unwrap();
    let whole = Region { origin_zyx: [0; 3], shape_zyx: SHAPE.map(|side| side as usize) };
    let values = values(&whole);
    match data_type {
        DataType::U8 => writer.write_u8(&whole, &values.iter().map(|&v| v as u8).collect::<Vec<_>>()),
        DataType::U16 => writer.write_u16(&whole, &values.iter().map(|&v| v as u16).collect::<Vec<_>>()),
        DataType::F32 => writer.write_f32(&whole, &values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
        _ => writer.write_u64(&whole, &values),
    }
    .unwrap();
    writer.finish().unwrap();
    (folder, Volume::open(&url).unwrap())
}

fn values(region: &Region) -> Vec<u64> {
    let (low, high) = (region.origin_zyx, region.end_zyx());
    let mut values = Vec::new();
    for z in low[0]..high[0] {
        for y in low[1]..high[1] {
            values.extend((low[2]..high[2]).map(|x| value(z, y, x)));
        }
    }
    values
}

fn regions() -> impl Strategy<Value = Region> {
    let side = |d: usize| (0..SHAPE[d]).prop_flat_map(move |low| (Just(low), 1..=SHAPE[d] - low));
    (side(0), side(1), side(2)).prop_map(|(z, y, x)| Region {
        origin_zyx: [z.0, y.0, x.0],
        shape_zyx: [z.1 as usize, y.1 as usize, x.1 as usize],
    })
}

#[test]
fn boxes_read_through_the_memory_hold_the_voxels_of_the_volume_and_the_bound_holds() {
    const CHUNK_BYTES: u64 = 4 * 8 * 16;
    for (data_type, bytes) in [(DataType::U8, 1), (DataType::U16, 4), (DataType::F32, 4)] {
        let (_folder, volume) = volume(data_type);
        // No room at all, room for three chunks, room for everything.
        for chunks in [0, 3, 1000] {
            let memory = VoxelMemory::new(chunks * CHUNK_BYTES * bytes);
            let array = ChunkedArray::raw(volume.clone(), &memory);
            proptest!(ProptestConfig::with_cases(24), |(region in regions())| {
                let read: Vec<u64> = array.read_raw(&region).unwrap().iter().map(|&v| v as u64).collect();
                prop_assert_eq!(read, values(&region));
                prop_assert!(memory.kept_bytes() <= chunks * CHUNK_BYTES * bytes);
            });
        }
    }
}

#[test]
fn labels_and_raw_of_the_same_place_are_not_mixed_up() {
    let (_a, raw) = volume(DataType::U8);
    let (_b, labels) = volume(DataType::U64);
    let memory = VoxelMemory::new(u64::MAX);
    let (raw, labels) = (ChunkedArray::raw(raw, &memory), ChunkedArray::labels(labels, &memory));
    let region = Region { origin_zyx: [1, 2, 3], shape_zyx: [9, 12, 20] };
    for _ in 0..2 {
        assert_eq!(labels.read_labels(&region).unwrap(), values(&region));
        assert!(raw.read_raw(&region).unwrap().iter().zip(values(&region)).all(|(&a, b)| a == b as f32));
    }
}

#[test]
fn a_chunk_is_decoded_once_while_there_is_room_for_it() {
    let (_folder, volume) = volume(DataType::U8);
    let memory = VoxelMemory::new(1 << 20);
    let array = ChunkedArray::raw(volume, &memory);
    let whole = Region { origin_zyx: [0; 3], shape_zyx: SHAPE.map(|side| side as usize) };
    for _ in 0..3 {
        array.read_raw(&whole).unwrap();
    }
    let voxels: u64 = SHAPE.iter().product();
    assert_eq!(memory.counts(), ChunkCounts { read: 18, read_bytes: voxels, reused: 36 });
    // A volume held whole takes the room of the chunks.
    assert!(memory.reserve(1 << 20));
    assert_eq!(memory.kept_bytes(), 0);
    assert!(!memory.reserve(1));
}

#[test]
fn the_chunk_used_longest_ago_is_dropped_first() {
    let (_folder, volume) = volume(DataType::U8);
    let memory = VoxelMemory::new(2 * 4 * 8 * 16);
    let array = ChunkedArray::raw(volume, &memory);
    let read = |y: u64| {
        array.read_raw(&Region { origin_zyx: [0, y, 0], shape_zyx: [1, 1, 1] }).unwrap();
        memory.counts().read
    };
    assert_eq!([read(0), read(8), read(0), read(16), read(0), read(8)], [1, 2, 2, 3, 3, 4]);
}
