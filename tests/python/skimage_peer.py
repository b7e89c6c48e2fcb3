#!/usr/bin/env python3
"""Compares our VOI and adapted Rand error with scikit-image 0.26.

    tests/python/.venv/bin/python tests/python/skimage_peer.py                    through `tu-train evaluate --json`
    tests/python/.venv/bin/python tests/python/skimage_peer.py --write-fixtures   expected scores for the Rust tests

TU_TRAIN names the binary (default target/release/tu-train), TU_DATA the folder of real volumes (default
../shared/data beside the repository); without the data the real volume is left out and said so.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np
import skimage.metrics

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "crates/tu-segment/tests/fixtures/scikit_image.json"
TOLERANCE = 1e-9


def expected_scores(segmentation, truth):
    split, merge = skimage.metrics.variation_of_information(truth, segmentation, ignore_labels=[0])
    error, precision, recall = skimage.metrics.adapted_rand_error(truth, segmentation, ignore_labels=[0])
    scores = {"voi_split": split, "voi_merge": merge, "voi": split + merge, "arand": error,
              "arand_precision": precision, "arand_recall": recall}
    return {key: float(value) for key, value in scores.items()}


def random_case(rng):
    """Truth and a segmentation that shares something with it; both may hold zeros."""
    shape = rng.integers([1, 2, 2], [5, 9, 9])
    truth = rng.integers(0, rng.integers(2, 9), shape)
    if rng.random() < 0.7:
        truth = np.repeat(np.repeat(truth, 2, 1), 2, 2)
    segmentation = truth * rng.integers(1, 3) + rng.integers(0, 2)
    noise = rng.random(truth.shape) < rng.choice([0.0, 0.1, 0.5])
    segmentation[noise] = rng.integers(0, 12, int(noise.sum()))
    return segmentation.astype(np.uint64), truth.astype(np.uint64)


def random_cases(seed, count):
    rng = np.random.default_rng(seed)
    cases = []
    while len(cases) < count:
        segmentation, truth = random_case(rng)
        with np.errstate(all="ignore"):
            scores = expected_scores(segmentation, truth) if truth.any() else {"voi": np.nan}
        # Without a pair of voxels to compare scikit-image has no answer.
        if np.isfinite(list(scores.values())).all():
            cases.append((segmentation, truth, scores))
    return cases


def write_fixtures(path, count):
    cases = [{"segmentation": s.ravel().tolist(), "truth": t.ravel().tolist(), "scores": scores}
             for s, t, scores in random_cases(20_242, count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"made_by": f"scikit-image {skimage.__version__}", "cases": cases}, separators=(",", ":"))
    path.write_text(text.replace('{"segmentation"', '\n{"segmentation"') + "\n")
    print(f"wrote {count} cases to {path} ({path.stat().st_size} bytes)")


def evaluate_with_tu_train(binary, segmentation_url, truth_url):
    command = [binary, "evaluate", "--segmentation", segmentation_url, "--truth", truth_url, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nfailed with {done.returncode}: {done.stderr}{done.stdout}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(count):
    import zarr

    binary = os.environ.get("TU_TRAIN", str(ROOT / "target/release/tu-train"))
    data = pathlib.Path(os.environ.get("TU_DATA", str(ROOT.parent / "shared/data")))
    wrong, compared = [], 0

    def check(name, ours, expected):
        nonlocal compared
        compared += 1
        for key, value in expected.items():
            if not abs(ours[key] - value) <= TOLERANCE * max(1, abs(value)):
                wrong.append(f"{name}: {key} is {ours[key]}, scikit-image says {value}")

    for i, (segmentation, truth, expected) in enumerate(random_cases(8, count)):
        with tempfile.TemporaryDirectory() as folder:
            urls = [f"{folder}/{name}.zarr" for name in ("segmentation", "truth")]
            for url, labels in zip(urls, (segmentation, truth)):
                zarr.create_array(url, data=labels, chunks=labels.shape)
            check(f"random {i}", evaluate_with_tu_train(binary, *urls), expected)

    volume = data / "fib25_ts2.zarr"
    if volume.exists():
        group = zarr.open_group(volume, mode="r")
        ours = evaluate_with_tu_train(binary, f"{volume}/overseg", f"{volume}/labels")
        expected = expected_scores(group["overseg"][:].astype(np.int64), group["labels"][:].astype(np.int64))
        print("FIB-25, oversegmentation:", {key: round(value, 4) for key, value in expected.items()})
        check("FIB-25", ours, expected)
    else:
        print(f"SKIPPED the real volume: {volume} does not exist; set TU_DATA")
    print(f"{compared} evaluations compared with scikit-image {skimage.__version__}, {len(wrong)} scores differ")
    if wrong:
        raise SystemExit("DIFFERENT from scikit-image:\n" + "\n".join(wrong))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-fixtures", nargs="?", const=FIXTURES, type=pathlib.Path, metavar="PATH")
    parser.add_argument("--cases", type=int, default=60)
    arguments = parser.parse_args()
    if arguments.write_fixtures:
        write_fixtures(arguments.write_fixtures, arguments.cases)
    else:
        compare(arguments.cases)


if __name__ == "__main__":
    main()
