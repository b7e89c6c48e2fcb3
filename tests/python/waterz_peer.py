#!/usr/bin/env python3
"""Compares our fragments and agglomeration with waterz 0.10.1.

    tests/python/.venv/bin/python tests/python/waterz_peer.py                    through `tu-train agglomerate`
    tests/python/.venv/bin/python tests/python/waterz_peer.py --write-fixtures   expected results for the Rust tests

TU_TRAIN names the binary (default target/release/tu-train), TU_DATA the folder of real volumes (default
../shared/data beside the repository); without the data the real crop is left out and said so.

waterz gets the middle of every bin as its affinity, so both sides know the same numbers. It sums means in
32-bit floats, we in integers; where its rounding alone decides (the result changes when all affinities move by a few
millionths) a random case is dropped for `mean`, and counted.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "crates/tu-segment/tests/fixtures/waterz.json"
THRESHOLDS = [0.25, 0.5, 0.8]
SCORINGS = {
    "quantile:50": "OneMinus<HistogramQuantileAffinity<RegionGraphType,50,ScoreValue,256,true>>",
    "mean": "OneMinus<MeanAffinity<RegionGraphType,ScoreValue>>",
    "max": "OneMinus<MaxAffinity<RegionGraphType,ScoreValue>>",
}


@contextlib.contextmanager
def quiet():
    """waterz reports to standard output from C++; keep that out of ours."""
    sys.stdout.flush()
    saved, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(null)


def centres(bins):
    return ((bins.astype(np.float32) + np.float32(0.5)) / np.float32(256)).astype(np.float32)


def waterz_segments(affinities, fragments, scoring, thresholds=THRESHOLDS):
    import waterz

    with quiet():
        results = waterz.agglomerate(
            np.ascontiguousarray(affinities),
            list(thresholds),
            fragments=fragments.astype(np.uint64).copy(),
            scoring_function=SCORINGS[scoring],
            discretize_queue=256,
        )
        return [segments.copy() for segments in results]


def waterz_fragments(affinities, low=0.0001, high=0.9999):
    import waterz

    with quiet():
        results = waterz.agglomerate(
            np.ascontiguousarray(affinities), [0.0], aff_threshold_low=low, aff_threshold_high=high
        )
        return next(iter(results)).copy()


def decided_by_rounding(bins, fragments, expected):
    """Whether waterz's mean agglomeration changes under tiny common shifts of all affinities."""
    for shift in (-5e-6, -2e-6, 2e-6, 5e-6):
        shifted = (centres(bins).astype(np.float64) + shift).astype(np.float32)
        for a, b in zip(waterz_segments(shifted, fragments, "mean"), expected):
            if not np.array_equal(a, b):
                return True
    return False


def random_case(rng, shape=None):
    """Bins, and fragments that are waterz's own, random blocks, or one voxel each, some of them missing."""
    shape = tuple(shape or rng.integers([2, 3, 3], [5, 8, 8]))
    kind = rng.integers(4)
    if kind == 0:
        bins = rng.integers(0, 256, (3, *shape))
    elif kind == 1:
        bins = np.minimum(np.round(rng.random((3, *shape)) * 16) * 16, 255)
    elif kind == 2:
        bins = rng.beta(0.4, 0.4, (3, *shape)) * 256
    else:
        bins = rng.integers(0, 4, (3, *shape)) * 85
    bins = np.clip(bins, 0, 255).astype(np.uint8)
    low, high = int(rng.integers(0, 60)), int(rng.integers(150, 256))
    watershed = waterz_fragments(centres(bins), float(centres(np.array(low))), float(centres(np.array(high))))
    kind = rng.integers(3)
    if kind == 0:
        fragments = watershed
    elif kind == 1:
        steps = rng.integers(1, 4, 3)
        z, y, x = np.indices(shape)
        cells = (z // steps[0] * 64 + y // steps[1]) * 64 + x // steps[2]
        names = rng.permutation(np.unique(cells).size) + 1
        fragments = names[np.unique(cells, return_inverse=True)[1].reshape(shape)]
        fragments[rng.random(shape) < 0.05] = 0
    else:
        fragments = np.arange(1, np.prod(shape) + 1).reshape(shape)
    return bins, fragments.astype(np.uint64), low, high, watershed


def write_fixtures(path, count, scorings):
    rng = np.random.default_rng(20_241)
    cases, dropped = [], 0
    while len(cases) < count:
        bins, fragments, low, high, watershed = random_case(rng)
        segments = {scoring: waterz_segments(centres(bins), fragments, scoring) for scoring in scorings}
        if decided_by_rounding(bins, fragments, segments["mean"]):
            dropped += 1
            continue
        ids, first = np.unique(fragments, return_index=True)
        first = first[ids > 0]
        cases.append({
            "shape_zyx": [int(n) for n in fragments.shape],
            "bins": bins.tobytes().hex(),
            "fragments": fragments.ravel().tolist(),
            "low": low,
            "high": high,
            "watershed": watershed.ravel().tolist(),
            # For each threshold the segments of all fragments, ascending.
            "segments": {
                scoring: [result.ravel()[first].tolist() for result in results]
                for scoring, results in segments.items()
            },
        })
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"made_by": "waterz 0.10.1", "thresholds": THRESHOLDS, "cases": cases}, separators=(",", ":"))
    path.write_text(text.replace('{"shape_zyx"', '\n{"shape_zyx"') + "\n")
    print(f"wrote {count} cases to {path} ({path.stat().st_size} bytes); {dropped} dropped, decided by rounding")


def same_partition(a, b):
    """Equal up to names, with 0 as a name like any other."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]).astype(np.uint64), axis=1)
    return pairs.shape[1] == np.unique(a).size == np.unique(b).size


def numbered_by_first_voxel(fragments):
    """Ties between edges go by the numbers of fragments, and `tu-train` numbers them by their first voxels."""
    ids, first, inverse = np.unique(fragments, return_index=True, return_inverse=True)
    ranks = np.empty(ids.size, np.uint64)
    order = np.argsort(first[ids > 0])
    ranks[ids == 0] = 0
    positive = np.empty(order.size, np.uint64)
    positive[order] = np.arange(1, order.size + 1)
    ranks[ids > 0] = positive
    return ranks[inverse.reshape(fragments.shape)]


def agglomerate_with_tu_train(binary, folder, bins, fragments, scoring, threshold):
    import zarr

    for name, data in (("affinities", bins), ("fragments", fragments)):
        chunks = data.shape if data.ndim == 3 else (1, *data.shape[1:])
        zarr.create_array(f"{folder}/{name}.zarr", data=data, chunks=chunks, overwrite=True)
    output = f"{folder}/segments-{scoring.replace(':', '-')}-{threshold}.zarr"
    command = [binary, "agglomerate", "--affinities", f"{folder}/affinities.zarr", "--fragments",
               f"{folder}/fragments.zarr", "--output", output, "--scoring", scoring, "--threshold", str(threshold)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nfailed with {done.returncode}: {done.stderr}{done.stdout}")
    return zarr.open_array(f"{output}/0", mode="r")[:]


def real_case(data, extent):
    """A crop of FIB-25 with affinities made of smoothed intensities, and waterz's fragments of them."""
    import scipy.ndimage
    import zarr

    volume = pathlib.Path(data) / "fib25_ts2.zarr"
    if not volume.exists():
        print(f"SKIPPED the real crop: {volume} does not exist; set TU_DATA")
        return None
    raw = zarr.open_group(volume, mode="r")["raw"][-extent:, :extent, :extent].astype(np.float32)
    smooth = scipy.ndimage.gaussian_filter(raw, 1)
    dark, bright = np.percentile(smooth, [5, 95])
    inside = np.clip((smooth - dark) / (bright - dark), 0, 1)
    bins = np.zeros((3, *raw.shape), np.uint8)
    for axis in range(3):
        lower = np.minimum(inside, np.roll(inside, 1, axis))
        bins[axis] = np.minimum(lower * 256, 255)
        np.moveaxis(bins[axis], axis, 0)[0] = 0
    return bins, waterz_fragments(centres(bins))


def compare(count, scorings, extent):
    binary = os.environ.get("TU_TRAIN", str(ROOT / "target/release/tu-train"))
    data = os.environ.get("TU_DATA", str(ROOT.parent / "shared/data"))
    rng = np.random.default_rng(7)
    cases = [(f"random {i}", *random_case(rng)[:2]) for i in range(count)]
    if real := real_case(data, extent):
        cases.append((f"FIB-25, {extent}³", *real))
    compared, dropped, wrong = 0, 0, []
    for name, bins, fragments in cases:
        fragments = numbered_by_first_voxel(fragments)
        with tempfile.TemporaryDirectory() as folder:
            for scoring in scorings:
                expected = waterz_segments(centres(bins), fragments, scoring)
                is_random = name.startswith("random")
                if is_random and scoring == "mean" and decided_by_rounding(bins, fragments, expected):
                    dropped += 1
                    continue
                for threshold, segments in zip(THRESHOLDS, expected):
                    ours = agglomerate_with_tu_train(binary, folder, bins, fragments, scoring, threshold)
                    compared += 1
                    if not is_random:
                        sizes = [np.unique(s).size for s in (fragments, ours, segments)]
                        print(f"{name}, {scoring}, {threshold}: {sizes[0]} fragments, {sizes[1]} segments, "
                              f"waterz {sizes[2]}")
                    if not same_partition(ours, segments):
                        wrong.append(f"{name}, {scoring}, {threshold}")
    print(f"{compared - len(wrong)} of {compared} segmentations equal to waterz; {dropped} mean cases dropped, "
          "decided by rounding")
    if wrong:
        raise SystemExit("DIFFERENT from waterz: " + "; ".join(wrong))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-fixtures", nargs="?", const=FIXTURES, type=pathlib.Path, metavar="PATH")
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--crop", type=int, default=96, help="extent of the real crop in voxels")
    arguments = parser.parse_args()
    scorings = dict(SCORINGS)
    try:
        waterz_segments(np.zeros((3, 1, 1, 2), np.float32), np.ones((1, 1, 2)), "max")
    except Exception as error:  # whatever the compiler says
        if arguments.write_fixtures:
            raise
        print(f"SKIPPED the scoring max: waterz cannot compile it here ({type(error).__name__}); "
              "apt install g++ libboost-dev")
        del scorings["max"]
    if arguments.write_fixtures:
        write_fixtures(arguments.write_fixtures, arguments.cases, scorings)
    else:
        compare(arguments.cases, scorings, arguments.crop)


if __name__ == "__main__":
    main()
