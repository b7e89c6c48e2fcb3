#!/usr/bin/env python3
"""Times EMmamba in this project beside the same network in PyTorch, on the same device and threads, in one run.

    tests/python/.venv/bin/python tests/python/torch_speed.py [--threads N] [--device cpu|cuda] [ITEM …]

An ITEM is `forward:PRESET:Z,Y,X` or `step:PRESET:Z,Y,X`; a step is loss, gradients and AdamW on one crop. Ours are timed by the
example `network_speed` (TU_NETWORK_SPEED names the program; `cargo build --release -p tu-train --examples` makes it). PyTorch has no
selective scan of its own, so its column is given twice: with the blocked reference scan of emmamba_reference.py, and with the scan
left out, which only the convolutions and products remain of. Both sides are the least of their runs; ratios are ours over theirs, below 1
where ours is faster.
"""

import argparse
import json
import os
import pathlib
import subprocess
import time

import torch

import emmamba_reference as reference

ROOT = pathlib.Path(__file__).resolve().parents[2]
ITEMS = ["forward:tiny:16,160,160", "forward:base:16,160,160", "step:tiny:16,96,96"]
REPEATS = 3


def without_scan(u, delta, a, b, c, d):
    """As little as keeps every input in the graph."""
    return u * d + delta + (b.sum(-1, keepdim=True) + c.sum(-1, keepdim=True)) * a.sum()


def least(work, device):
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times)


def theirs(what, preset, window, device):
    """Seconds of PyTorch."""
    torch.manual_seed(1)
    network = reference.build(reference.preset(preset)).to(device)
    raw = torch.rand(1, 1, *window, device=device)
    if what == "forward":
        network.eval()

        def work():
            with torch.no_grad():
                network(raw)

    else:
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
        target = (torch.rand(1, 3, *window, device=device) > 0.5).float()
        weight = torch.rand(1, 3, *window, device=device)

        def work():
            optimiser.zero_grad()
            (weight * (network(raw) - target) ** 2).mean().backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()

    return least(work, device)


def ours(items, threads, device):
    """Seconds of this project, by item."""
    program = os.environ.get("TU_NETWORK_SPEED", str(ROOT / "target/release/examples/network_speed"))
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    command = [program, "--json", "--device", device, *items]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()
    return {found["item"]: found["seconds"] for found in map(json.loads, lines)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", nargs="*", default=ITEMS)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.device}, {options.threads} threads, PyTorch {torch.__version__}, f32, batch 1; seconds")
    print(f"{'':28}   ours  PyTorch  ratio  PyTorch without scan  ratio")
    for item in options.items:
        what, preset, window = item.split(":")
        window = [int(side) for side in window.split(",")]
        # ours before and after, so that a disturbance of one moment does not decide
        before = ours([item], options.threads, options.device)[item]
        reference.selective_scan = reference.scan_blocked
        whole = theirs(what, preset, window, options.device)
        reference.selective_scan = without_scan
        rest = theirs(what, preset, window, options.device)
        own = min(before, ours([item], options.threads, options.device)[item])
        print(f"{item:28} {own:6.3f}  {whole:7.3f}  {own / whole:5.2f}  {rest:20.3f}  {own / rest:5.2f}", flush=True)


if __name__ == "__main__":
    main()
