"""Writes small PyTorch checkpoints as the official training scripts leave them, for the tests of the import.

  official_micro.pth                   the network of emmamba_micro_compat.safetensors under "model", beside what
                                       training keeps: optimizer, scaler, epoch, args (an argparse.Namespace); and the
                                       total_ops/total_params buffers that profiling adds to a network
  official_micro_parallel.pth          the same network under "state_dict", names begun with "module.", weights in
                                       f16, bf16, f64 and as views: transposed, and as parts of one storage
  official_micro_autoregressive.pth    random weights of an autoregressive pretraining network: one output channel,
                                       three Mamba layers per stage, kernel 3, and the head called "preciever"

The outputs that belong to the first are in emmamba_micro_compat_io.safetensors.

usage: make_pth_fixture.py [FOLDER]      (default: the fixtures folder of these tests)
"""

import argparse
import collections
import pathlib
import sys

import torch

import emmamba_reference as reference
import make_model_fixtures
import safetensors_file

FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures"


def micro_compat():
    """The network whose outputs are stored, with its weights."""
    network = reference.build(make_model_fixtures.CASES["micro_compat"]["architecture"])
    tensors, _ = safetensors_file.read(FIXTURES / "emmamba_micro_compat.safetensors")
    network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    return network


def profile(network):
    """Adds the counters that thop.profile registers on the modules that it visits."""
    for module in [network, network.vit.gscs[0].proj, network.encoder1.layer.conv1.conv]:
        for counter in ("total_ops", "total_params"):
            module.register_buffer(counter, torch.zeros(1, dtype=torch.float64))
    return network


def training_state(network):
    """The dict of a training script after one optimiser step of the head."""
    optimizer = torch.optim.AdamW(network.out.parameters(), lr=1e-4)
    sum(value.sum() for value in network.out.parameters()).backward()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer.step()
    network.load_state_dict(weights)
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "growth_interval": 2000, "_growth_tracker": 0}
    args = argparse.Namespace(crop_size=[16, 160, 160], lr=1e-4, resume="", use_amp=True, seed=2**40, stride=None)
    return {
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 540,
        "scaler": scaler,
        "args": args,
    }


def parallel_state(network):
    """The weights of DataParallel, in the stored forms that PyTorch allows for a tensor."""
    state = torch.nn.DataParallel(network).state_dict()
    shared = torch.cat([value.flatten() for name, value in state.items() if name.endswith("norm.bias")])
    offset, stored = 0, collections.OrderedDict()
    for name, value in state.items():
        if name.endswith("norm.bias"):
            stored[name] = shared[offset : offset + value.numel()].view(value.shape)
            offset += value.numel()
        elif name.endswith("_log"):
            stored[name] = value.bfloat16()
        elif value.dim() == 2:
            stored[name] = value.half().t().contiguous().t()
        elif value.dim() > 2:
            stored[name] = value.half()
        else:
            stored[name] = value.double()
    return {"state_dict": stored, "best_voi": 1.25}


def autoregressive_state():
    """A pretraining checkpoint with its next-token head."""
    torch.manual_seed(3)
    architecture = {
        **make_model_fixtures.MICRO,
        **{"features": [2, 4, 4, 6], "hidden": 4, "depths": [3, 3, 3, 3], "kernel": 3, "out_channels": 1},
        **reference.COMPAT,
    }
    state = reference.build(architecture).half().state_dict()
    for name, shape in {"conv1": (12, 1, 3, 3, 3), "conv3": (1, 12, 3, 3, 3), "mlp": (16, 8)}.items():
        state[f"preciever.{name}.weight"] = torch.zeros(shape).half()
        state[f"preciever.{name}.bias"] = torch.zeros(shape[0]).half()
    return {"model": state, "epoch": 100}


def main(folder=None):
    folder = pathlib.Path(folder) if folder else FIXTURES
    torch.save(training_state(profile(micro_compat())), folder / "official_micro.pth")
    torch.save(parallel_state(micro_compat()), folder / "official_micro_parallel.pth")
    torch.save(autoregressive_state(), folder / "official_micro_autoregressive.pth")


if __name__ == "__main__":
    main(*sys.argv[1:2])
