"""Compares `tu-train affinities --whole` with the PyTorch reference on real intensities.

usage: torch_peer.py [--model FILE] [--volume ZARR_ARRAY] [--roi z0:z1,y0:y1,x0:x1]

TU_TRAIN names the tu-train binary, TU_DATA the folder of real volumes. Without --model the models are `tiny`
with random weights, stored in 32 and in 16 bits, and every file in models/. Both sides read the same file and the same
region, as one window. Fails where an affinity differs by more than 1e-4. Needs `zarr` (tests/python/make_env.sh).
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch

import emmamba_reference as reference
import make_model_fixtures
import safetensors_file

TOLERANCE = 1e-4
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def open_array(path):
    """The zarr array at `path`, or the finest scale of the image group there."""
    import zarr

    node = zarr.open(str(path), mode="r")
    if not hasattr(node, "shape"):
        image = node.attrs.get("ome", node.attrs)["multiscales"][0]
        node = node[image["datasets"][0]["path"]]
    return node


def parse_roi(text):
    """`z0:z1,y0:y1,x0:x1` as three slices."""
    return tuple(slice(*(int(n) for n in axis.split(":"))) for axis in text.split(","))


def normalise(raw, rule):
    """Raw intensities to [0, 1] by the intensity rule of a model file."""
    values = raw.astype(np.float32)
    if rule["rule"] == "range":
        values = (values - rule["low"]) / (rule["high"] - rule["low"])
    elif raw.dtype.kind == "u":
        values = values / np.float32(np.iinfo(raw.dtype).max)
    return np.clip(values, 0, 1)


def reference_affinities(model, raw):
    """Affinities [3, z, y, x] of the model file for raw intensities [z, y, x]."""
    tensors, header = safetensors_file.read(model)
    metadata = json.loads(header["tokenunify"])
    network = reference.build(metadata["architecture"])
    network.load_state_dict({name: torch.from_numpy(value.astype(np.float32)) for name, value in tensors.items()})
    with torch.no_grad():
        window = torch.from_numpy(normalise(raw, metadata["intensity"]))
        return network(window[None, None])[0].numpy()


def our_affinities(model, volume, roi, folder):
    """The same, computed by tu-train."""
    binary = os.environ.get("TU_TRAIN", str(ROOT / "target/release/tu-train"))
    output = pathlib.Path(folder) / "affinities.zarr"
    files = ["--input", str(volume), "--model", str(model), "--output", str(output)]
    subprocess.run([binary, "affinities", *files, "--roi", roi, "--whole"], check=True, stdout=sys.stderr)
    return open_array(output)[:]


def compare(title, model, volume, roi):
    """Prints the largest difference; returns whether it is within the tolerance."""
    expected = reference_affinities(model, open_array(volume)[parse_roi(roi)])
    with tempfile.TemporaryDirectory() as folder:
        ours = our_affinities(model, volume, roi, folder)
    if ours.shape != expected.shape or ours.dtype != np.float32:
        print(f"{title}: FAILED, {ours.dtype} {ours.shape} instead of float32 {expected.shape}")
        return False
    gap = np.abs(ours - expected).max()
    print(f"{title} on {roi}: max |difference| {gap:.2e}; affinities {expected.min():.3f} .. {expected.max():.3f}")
    return bool(gap <= TOLERANCE)


def main():
    data = pathlib.Path(os.environ.get("TU_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--volume", type=pathlib.Path, default=data / "fib25_ts2.zarr" / "raw")
    parser.add_argument("--roi", default="190:207,60:140,80:176")
    options = parser.parse_args()
    if not options.volume.exists():
        print(f"SKIPPED the comparison with PyTorch: there is no {options.volume}; set TU_DATA or give --volume")
        return
    with tempfile.TemporaryDirectory() as folder:
        models = {}
        if options.model:
            models[options.model.name] = options.model
        else:
            for half in (False, True):
                path = pathlib.Path(folder) / f"random{16 if half else 32}.safetensors"
                architecture = reference.preset("tiny")
                make_model_fixtures.write_random_model(path, architecture, (16, 64, 64), (4, 16, 16), "tiny", half=half)
                models[f"random tiny, {16 if half else 32} bits"] = path
            models.update({path.name: path for path in sorted((ROOT / "models").glob("*.safetensors"))})
        results = [compare(title, model, options.volume, options.roi) for title, model in models.items()]
    if not all(results):
        raise SystemExit("the network deviates from its reference")


if __name__ == "__main__":
    main()
