"""Writes the zarr fixtures of tu-volume with zarr-python, the reference implementation.

    python tests/python/write_zarr_fixtures.py     (needs zarr >= 3.1; writes crates/tu-volume/tests/fixtures)

Every voxel follows from its position, so the tests can check all of them without a second copy of the data:
value(c, z, y, x) = (c * 53 + z * 37 + y * 11 + x * 3 + 5) mod 251, times 2**40 for uint64 and / 8 for float32.
"""

import json
import pathlib
import shutil

import numpy
import zarr
from zarr import codecs

ROOT = pathlib.Path(__file__).resolve().parents[2] / "crates/tu-volume/tests/fixtures"
SHAPE, CHUNK, SHARD, INNER = (5, 6, 7), (3, 4, 5), (4, 4, 6), (2, 2, 3)
TYPES = ("uint8", "uint16", "float32", "uint64")
CODECS_3 = {
    "none": [],
    "gzip": [codecs.GzipCodec(level=5)],
    "zstd": [codecs.ZstdCodec(level=3)],
    "blosc": [codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")],
}


def values(dtype, shape=SHAPE):
    full = (1,) * (4 - len(shape)) + tuple(shape)
    c, z, y, x = numpy.meshgrid(*(numpy.arange(n, dtype=numpy.uint64) for n in full), indexing="ij")
    value = (c * 53 + z * 37 + y * 11 + x * 3 + 5) % 251
    kind = numpy.dtype(dtype)
    if kind == numpy.uint64:
        value = value << numpy.uint64(40)
    if kind.kind == "f":
        value = value / 8
    return value.astype(kind).reshape(shape)


def compressors_2():
    import numcodecs

    return {
        "none": None,
        "gzip": numcodecs.GZip(level=5),
        "zstd": numcodecs.Zstd(level=3),
        "blosc": numcodecs.Blosc(cname="zstd", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE),
    }


def create(name, data, **options):
    array = zarr.create_array(store=str(ROOT / name), shape=data.shape, dtype=data.dtype, **options)
    array[...] = data
    return array


def pattern(name, length):
    if name == "smooth":
        return bytes((i // 16) % 61 for i in range(length))
    state, out = 1, bytearray()
    for _ in range(length):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(state >> 24)
    return bytes(out)


def blosc_buffers():
    """Buffers of every inner format, shuffle and item size, in one block and in many, even and odd in length."""
    import numcodecs

    index, everything = [], bytearray()
    for cname in ("blosclz", "lz4", "lz4hc", "zlib", "zstd"):
        for shuffle in (numcodecs.Blosc.NOSHUFFLE, numcodecs.Blosc.SHUFFLE, numcodecs.Blosc.BITSHUFFLE):
            for item, length in ((1, 1), (1, 777), (2, 2 * 60), (4, 4 * 60), (4, 4 * 4096), (8, 8 * 1003), (4, 40_003)):
                for kind in ("smooth", "noise") if length <= 300 else ("smooth",):
                    data = pattern(kind, length)
                    if length % item == 0:
                        data = numpy.frombuffer(data, dtype=f"u{item}")
                    blocksize = 4096 if length > 10_000 else 0
                    codec = numcodecs.Blosc(cname=cname, clevel=5, shuffle=shuffle, blocksize=blocksize)
                    encoded = codec.encode(data)
                    name = f"{cname}, shuffle {shuffle}, {length} bytes in items of {item}, {kind}"
                    begin = len(everything)
                    everything += encoded
                    index.append(
                        dict(name=name, pattern=kind, begin=begin, end=len(everything), decoded_bytes=length)
                    )
    (ROOT / "blosc_buffers.bin").write_bytes(everything)
    lines = ",\n".join(json.dumps(entry) for entry in index)
    (ROOT / "blosc_buffers.json").write_text(f"[\n{lines}\n]\n")


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir(parents=True)
    blosc_buffers()
    for dtype in TYPES:
        data = values(dtype)
        for name, codec in CODECS_3.items():
            create(f"v3_{name}_{dtype}", data, chunks=CHUNK, compressors=codec, zarr_format=3)
        create(
            f"v3_sharded_{dtype}",
            data,
            chunks=INNER,
            shards=SHARD,
            compressors=[codecs.ZstdCodec(level=3)],
            zarr_format=3,
            dimension_names=("z", "y", "x"),
            attributes={"resolution": [40, 8, 4], "voxel_offset": [100, -20, 3]},
        )
        for name, codec in compressors_2().items():
            create(f"v2_{name}_{dtype}", data, chunks=CHUNK, compressors=codec, zarr_format=2)

    create("v2_big_endian_uint16", values(">u2"), chunks=CHUNK, compressors=None, zarr_format=2)
    create("v2_fortran_uint16", values("uint16"), chunks=CHUNK, compressors=None, zarr_format=2, order="F")
    create(
        "v3_transposed_uint16",
        values("uint16"),
        chunks=CHUNK,
        filters=[codecs.TransposeCodec(order=(2, 1, 0))],
        compressors=[codecs.GzipCodec(level=5)],
        zarr_format=3,
    )
    create(
        "v3_channels_uint8",
        values("uint8", (3, *SHAPE)),
        chunks=(1, *CHUNK),
        compressors=[codecs.GzipCodec(level=5)],
        zarr_format=3,
        dimension_names=("c", "z", "y", "x"),
    )
    create("v3_tczyx_uint8", values("uint8").reshape(1, 1, *SHAPE), chunks=(1, 1, *CHUNK), compressors=[], zarr_format=3)
    create(
        "v3_xyz_uint8",
        numpy.ascontiguousarray(values("uint8").T),
        chunks=(7, 6, 5),
        compressors=[],
        zarr_format=3,
        dimension_names=("x", "y", "z"),
    )
    create("v3_int16", values("int16"), chunks=SHAPE, compressors=[], zarr_format=3)

    # Fill value 7 where chunk (1, 0, 1) was never written.
    for version, chunk in ((2, "1.0.1"), (3, "c/1/0/1")):
        name = f"v{version}_missing_uint8"
        create(name, values("uint8"), chunks=CHUNK, compressors=None, zarr_format=version, fill_value=7)
        (ROOT / name / chunk).unlink()

    for version, ome in ((2, "0.4"), (3, "0.5")):
        write_ome(f"ome_{ome.replace('.', '_')}", version, ome)

    group = zarr.open_group(str(ROOT / "v3_group"), mode="w", zarr_format=3)
    for name in ("raw", "labels"):
        create(f"v3_group/{name}", values("uint8"), chunks=CHUNK, compressors=[], zarr_format=3)
    del group


def write_ome(name, version, ome):
    """Two scales; 0.04 x 0.008 x 0.004 micrometres at the finest, cut out at voxel (10, 20, 30)."""
    scales = []
    for level, factor in enumerate((1, 2)):
        scale = [0.04, 0.004 * factor, 0.002 * factor]
        translation = [0.4, 0.08, 0.06] if level == 0 else [0.4, 0.081, 0.0605]
        scales.append(
            {
                "path": f"s{level}",
                "coordinateTransformations": [
                    {"type": "scale", "scale": scale},
                    {"type": "translation", "translation": translation},
                ],
            }
        )
    multiscales = [
        {
            "name": name,
            "axes": [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"],
            "datasets": scales,
            "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 2]}],
        }
    ]
    attributes = {"multiscales": [{"version": ome, **multiscales[0]}]} if version == 2 else {
        "ome": {"version": ome, "multiscales": multiscales}
    }
    zarr.open_group(str(ROOT / name), mode="w", zarr_format=version, attributes=attributes)
    for level in range(2):
        data = values("uint8")[:, :: 2**level, :: 2**level]
        create(f"{name}/s{level}", data, chunks=data.shape, compressors=None, zarr_format=version)


if __name__ == "__main__":
    main()
    files = [path for path in ROOT.rglob("*") if path.is_file()]
    summary = {"zarr": zarr.__version__, "files": len(files), "bytes": sum(path.stat().st_size for path in files)}
    print(json.dumps(summary))
