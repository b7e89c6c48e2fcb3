#!/usr/bin/env python3
"""Times `tu-train agglomerate` beside waterz 0.10.1 on the same affinities and fragments, in one run.

    tests/python/.venv/bin/python tests/python/waterz_speed.py [AFFINITIES.zarr FRAGMENTS.zarr]

Both are u8 affinities and u64 fragments as `tu-train affinities` and `segment --write-fragments` write them; without them, those of
the shipped model on z 0:125 of fib25_ts2 under TU_DATA (default ../shared/data beside the repository). For waterz the call alone is
timed, with everything in memory; for tu-train the whole command, with reading, writing and start.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import torch_peer
import waterz_peer

ROOT = pathlib.Path(__file__).resolve().parents[2]
REPEATS = 3


def best(work):
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def shipped_models(binary, folder):
    """Affinities and fragments that the shipped model gives, or None without the data."""
    volume = pathlib.Path(os.environ.get("TU_DATA", ROOT.parent / "shared/data")) / "fib25_ts2.zarr/raw"
    if not volume.is_dir():
        print(f"left out: {volume} does not exist; set TU_DATA")
        return None
    common = ["--input", str(volume), "--model", str(ROOT / "models/tiny-fib25.safetensors"), "--roi", "0:125,:,:",
              "--device", "cpu", "--quiet"]
    paths = [f"{folder}/affinities.zarr", f"{folder}/fragments.zarr"]
    subprocess.run([binary, "affinities", *common, "--output", paths[0]], check=True, capture_output=True)
    subprocess.run([binary, "segment", *common, "--output", f"{folder}/segments.zarr", "--write-fragments", paths[1]],
                   check=True, capture_output=True)
    return paths


def main():
    binary = os.environ.get("TU_TRAIN", str(ROOT / "target/release/tu-train"))
    with tempfile.TemporaryDirectory() as folder:
        paths = sys.argv[1:3] or shipped_models(binary, folder)
        if paths:
            compare(binary, *paths)


def compare(binary, affinities_path, fragments_path):
    bins, fragments = (torch_peer.open_array(path)[:] for path in (affinities_path, fragments_path))
    affinities, voxels = waterz_peer.centres(bins), fragments.size
    print(f"{voxels / 1e6:.2f} Mvoxel, {len(set(fragments.flat))} fragments, threshold 0.5; the best of {REPEATS}")
    for scoring in ("quantile:50", "mean"):
        waterz_peer.waterz_segments(affinities[:, :8, :32, :32], fragments[:8, :32, :32], scoring, [0.5])
        theirs = best(lambda: waterz_peer.waterz_segments(affinities, fragments, scoring, [0.5]))
        with tempfile.TemporaryDirectory() as folder:
            outputs = iter(range(REPEATS))
            command = [binary, "agglomerate", "--affinities", affinities_path, "--fragments", fragments_path,
                       "--scoring", scoring, "--threshold", "0.5", "--quiet", "--output"]
            run = lambda: subprocess.run([*command, f"{folder}/{next(outputs)}.zarr"], check=True, capture_output=True)
            ours = best(run)
        print(f"{scoring:<12} waterz {theirs:7.2f} s  {voxels / theirs / 1e6:6.2f} Mvoxel/s   "
              f"tu-train {ours:7.2f} s  {voxels / ours / 1e6:6.2f} Mvoxel/s")


if __name__ == "__main__":
    main()
