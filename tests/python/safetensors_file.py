"""Reading and writing of the safetensors container with numpy alone.

Layout: u64 little-endian length n | n bytes of JSON | raw little-endian data. The JSON maps a tensor's name to
{"dtype", "shape", "data_offsets": [begin, end]}, offsets relative to the first byte after the JSON;
"__metadata__" maps strings to strings.
"""

import json
import struct

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "U8": "|u1"}


def write(path, tensors, metadata=None):
    """Writes `tensors` (name -> numpy array) and `metadata` (str -> str) to `path`, names in the given order."""
    names = {np.dtype(code): name for name, code in DTYPES.items()}
    header, blobs, end = {}, [], 0
    if metadata:
        header["__metadata__"] = dict(metadata)
    for name, array in tensors.items():
        blob = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [end, end + len(blob)]}
        blobs.append(blob)
        end += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read(path):
    """Returns (tensors: name -> numpy array in the stored dtype, metadata: str -> str) of the file at `path`."""
    with open(path, "rb") as file:
        raw = file.read()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    data = memoryview(raw)[8 + length :]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy()
    return tensors, metadata
