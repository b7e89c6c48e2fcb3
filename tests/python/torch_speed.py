#!/usr/bin/env python3
"""Times EMmamba in this project beside the same network in PyTorch, on the same device and threads, in one run.

    tests/python/.venv/bin/python tests/python/torch_speed.py [--threads N] [--device cpu|cuda] [ITEM …]
    python3 torch_speed.py --device cuda --theirs --json [--budget SECONDS] [ITEM …]

An ITEM is `forward:PRESET:Z,Y,X[:TYPE]` or `step:PRESET:Z,Y,X[:TYPE]`; a step is loss, gradients and AdamW on one crop, and a half TYPE is
PyTorch's autocast, with scans in f32. Ours are timed by the example `network_speed` (TU_NETWORK_SPEED names the program; `cargo build
--release -p tu-train --examples` makes it); with --theirs PyTorch alone is timed.

PyTorch has no selective scan of its own, so its time is given twice: with the blocked reference scan of emmamba_reference.py, which is
thousands of small operations and no kernel anyone would train with, and with the scan left out: only convolutions, norms and products
remain of it, and no scan however good could make the whole faster than that. On a GPU each is the best of what PyTorch offers: tensors as
they are or with channels last (cuDNN may choose its algorithms by timing them), and, without the scan, torch.compile, as far as they
work; the name of the best is given. Both sides are the least of their runs after one that does not count, with data on
the device and one result read; ratios are ours over theirs, below 1 where ours is faster.

With --json every measurement is one line: item, scan (reference or none), variant, seconds or error.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import torch

import emmamba_reference as reference

ROOT = pathlib.Path(__file__).resolve().parents[2]
ITEMS = ["forward:tiny:16,160,160", "forward:base:16,160,160", "step:tiny:16,96,96"]
TYPES = {"f32": None, "f16": torch.float16, "bf16": torch.bfloat16}
REPEATS = 3
MOST_REPEATS = 20
ENOUGH_SECONDS = 1.0


def without_scan(u, delta, a, b, c, d):
    """As little as keeps every input in the graph."""
    return u * d + delta + (b.sum(-1, keepdim=True) + c.sum(-1, keepdim=True)) * a.sum()


def in_f32(scan, device):
    """A scan that computes in f32 whatever it is given, as ours does."""

    def scanned(*tensors):
        with torch.autocast(device, enabled=False):
            return scan(*(tensor.float() for tensor in tensors))

    return scanned


def least(work, device):
    """Seconds of the quickest run; `work` returns a tensor."""

    def once():
        started = time.perf_counter()
        work().flatten()[0].item()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    once()
    times = []
    while len(times) < REPEATS or (sum(times) < ENOUGH_SECONDS and len(times) < MOST_REPEATS):
        times.append(once())
    return min(times)


class Item:
    """What is timed."""

    def __init__(self, text):
        self.text = text
        self.what, self.preset, window, *rest = text.split(":")
        self.window = [int(side) for side in window.split(",")]
        self.type = rest[0] if rest else "f32"
        if self.what not in ("forward", "step") or self.type not in TYPES or len(self.window) != 3:
            sys.exit(f"{text}: write forward or step:PRESET:Z,Y,X[:f32|f16|bf16]")


def theirs(item, device, channels_last=False, compiled=False):
    """Seconds of PyTorch, with the scan that emmamba_reference has at the moment."""
    torch.manual_seed(1)
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    network = reference.build(reference.preset(item.preset)).to(device).to(memory_format=layout)
    raw = torch.rand(1, 1, *item.window, device=device).to(memory_format=layout)
    dtype = TYPES[item.type]
    run = torch.compile(network) if compiled else network

    def predict():
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            return run(raw)

    if item.what == "forward":
        network.eval()

        def work():
            with torch.no_grad():
                return predict()

    else:
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=device == "cuda")
        target = (torch.rand(1, 3, *item.window, device=device) > 0.5).float()
        weight = torch.rand(1, 3, *item.window, device=device)

        def work():
            optimiser.zero_grad()
            loss = (weight * (predict().float() - target) ** 2).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            return loss.detach()

    return least(work, device)


SCANS = {"none": without_scan, "reference": reference.scan_blocked}
# Scan, name and options of what is timed of each item: at once for every item, and then what takes long to begin.
QUICK = [("none", "eager", {}), ("reference", "eager", {})]
QUICK_ON_GPU = [("none", "channels last", {"channels_last": True}), ("reference", "channels last", {"channels_last": True})]
COMPILED = [
    ("none", "compiled", {"compiled": True}),
    ("none", "compiled, channels last", {"compiled": True, "channels_last": True}),
]


def measurements(item, device, variants, until):
    """Yields what was measured, one by one; what fails is said and does not stop the rest."""
    for scan, variant, options in variants:
        if time.monotonic() > until:
            return
        reference.selective_scan = in_f32(SCANS[scan], device)
        found = {"item": item.text, "scan": scan, "variant": variant}
        try:
            found["seconds"] = theirs(item, device, **options)
        except Exception as error:  # noqa: BLE001 - memory, a compiler that is missing, an operation without a kernel
            found["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        if device == "cuda":
            torch.cuda.empty_cache()
        if "compiled" in options:
            torch._dynamo.reset()
        yield found


def ours(items, threads, device):
    """Seconds of this project by item: on a GPU without the transfers, as PyTorch's."""
    program = os.environ.get("TU_NETWORK_SPEED", str(ROOT / "target/release/examples/network_speed"))
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    command = [program, "--json", "--device", device, *items]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()
    return {found["item"]: found.get("resident_seconds", found["seconds"]) for found in map(json.loads, lines)}


def best(found, scan):
    """The quickest of the measurements with that scan."""
    timed = [f for f in found if f["scan"] == scan and "seconds" in f]
    return min(timed, key=lambda f: f["seconds"]) if timed else {"seconds": float("nan"), "variant": "failed"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", nargs="*", default=ITEMS)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--theirs", action="store_true", help="time PyTorch alone")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each measurement")
    parser.add_argument("--budget", type=float, default=float("inf"), help="begin nothing after this many seconds")
    options = parser.parse_args()
    until = time.monotonic() + options.budget
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True
    # As this project's products and convolutions on such a card.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"cpu, {options.threads} threads"
    if options.json:
        print(json.dumps({"pytorch": torch.__version__, "device": where}), flush=True)
    else:
        print(f"{where}, PyTorch {torch.__version__}, batch 1; seconds")
        print(f"{'':28}   ours  PyTorch, reference scan  ratio  PyTorch without scan  ratio")
    phases = [QUICK] if options.device == "cpu" else [QUICK + QUICK_ON_GPU, COMPILED]
    items = list(map(Item, options.items))
    found = {item.text: [] for item in items}
    own = {item.text: [] for item in items}

    def time_ours(item):
        if not options.theirs:
            own[item.text].append(ours([item.text], options.threads, options.device)[item.text])

    for phase, variants in enumerate(phases):
        for item in items:
            if time.monotonic() > until:
                print(f"{item.text}: left out, {options.budget:.0f} s are over", file=sys.stderr)
                continue
            # ours before and after, so that a disturbance of one moment does not decide
            time_ours(item)
            for measurement in measurements(item, options.device, variants, until):
                found[item.text].append(measurement)
                if options.json:
                    print(json.dumps(measurement), flush=True)
            time_ours(item)
            if phase + 1 == len(phases) and not options.json:
                print_row(item, min(own[item.text], default=float("nan")), found[item.text])
    if options.json and not options.theirs:
        for item in items:
            print(json.dumps({"item": item.text, "ours": min(own[item.text], default=None)}), flush=True)
    sys.exit(0 if all(any("seconds" in f for f in timed) for timed in found.values()) else 1)


def print_row(item, own, found):
    """A line of the table."""
    whole, rest = best(found, "reference"), best(found, "none")
    print(
        f"{item.text:28} {own:6.4f}  {whole['seconds']:23.4f}  {own / whole['seconds']:5.2f}  "
        f"{rest['seconds']:20.4f}  {own / rest['seconds']:5.2f}  {rest['variant']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
