"""Writes the fixtures of the network parity test from the PyTorch reference.

For each of three micro networks (z kept, compat, z halved and convolved over by a plan) two safetensors files: `emmamba_NAME.safetensors`, a model file, and
`emmamba_NAME_io.safetensors` with
  test.input        u8 [1,1,D,H,W]; the network's input is this / 255
  test.output       f32 [1,3,D,H,W], in (0,1)
  test.grad.PARAM   f32, the gradient of mean(output^2) over all voxels with respect to PARAM
Weights are stored in f32; the reference computes in f64, so the expected values carry no rounding of their own.
All parameters are random, those included that training starts from constants.

usage: make_model_fixtures.py [FOLDER]      (default: the fixtures folder of these tests)
"""

import json
import pathlib
import sys

import torch

import emmamba_reference as reference
import safetensors_file

MICRO = {"in_channels": 1, "out_channels": 3, "d_state": 16, "d_conv": 4, "expand": 2}
CASES = {
    "micro": {
        # 8 -> 8 leaves encoder4 without a 1x1x1 shortcut, as every block whose width does not change.
        "architecture": {
            **MICRO,
            **{"features": [4, 6, 8, 8], "hidden": 10, "depths": [2, 2, 2, 2], "kernel": 5},
            **{"z_stride": 1, "nslices": None, "residual": True},
        },
        "shape_zyx": (5, 32, 48),
        "halo_zyx": (1, 8, 8),
    },
    "micro_compat": {
        # 20 channels have a delta projection of rank 2.
        "architecture": {
            **MICRO,
            **{"features": [4, 6, 8, 20], "hidden": 10, "depths": [1, 2, 1, 2], "kernel": 3},
            **reference.COMPAT,
        },
        "shape_zyx": (16, 80, 16),  # the smallest whose tokens divide by 5 at every stage
        "halo_zyx": (0, 8, 0),
    },
    "micro_planned": {
        "architecture": {
            **MICRO,
            **{"features": [4, 6, 8, 8], "hidden": 10, "depths": [1, 2, 1, 2], "kernel": 5},
            **{"z_stride": 1, "nslices": None, "residual": True},
            # of voxels of 8 x 4 x 4 nm: all that a plan can say, the first level unlike the others
            "z_plan": {"strides": [1, 1, 2, 2], "kernels": [1, 3, 3, 3, 3]},
        },
        "shape_zyx": (8, 32, 16),
        "halo_zyx": (0, 8, 0),
    },
}
# One of every kind. Biases in front of an InstanceNorm are left out: their gradient is zero.
GRADIENTS = [
    "vit.downsample_layers.0.0.weight",
    "vit.downsample_layers.2.1.weight",
    "vit.gscs.0.proj.weight",
    "vit.gscs.1.proj4.weight",
    "vit.mlps.1.fc1.weight",
    "vit.mlps.2.fc2.weight",
    *(
        f"vit.stages.{part}"
        for part in (
            *("0.0.norm.weight", "0.0.norm.bias", "0.0.mamba.in_proj.weight", "0.0.mamba.out_proj.weight"),
            *("0.0.mamba.A_log", "0.0.mamba.A_b_log", "0.0.mamba.A_s_log", "0.0.mamba.D", "0.0.mamba.D_s"),
            *("0.0.mamba.conv1d.weight", "0.0.mamba.conv1d_b.bias", "0.0.mamba.conv1d_s.weight"),
            *("0.0.mamba.x_proj_b.weight", "1.1.mamba.x_proj_s.weight", "3.1.mamba.dt_proj.weight"),
            *("3.1.mamba.dt_proj_b.bias", "3.1.mamba.dt_proj_s.weight", "2.0.mamba.D_b"),
        )
    ),
    "encoder1.layer.conv1.conv.weight",
    "encoder2.layer.conv3.conv.weight",
    "encoder5.layer.conv2.conv.weight",
    "decoder5.transp_conv.conv.weight",
    "decoder3.conv_block.conv3.conv.weight",
    "decoder2.transp_conv.conv.weight",
    "decoder1.layer.conv1.conv.weight",
    "out.conv.conv.weight",
    "out.conv.conv.bias",
]


def randomise(network, seed):
    """Makes constant initial values random, and the Mamba layers loud enough for a wrong one to show in the output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("_log"):
                value.add_(0.3 * noise)
            elif ".D" in name or name.endswith("norm.weight"):
                value.add_(0.5 * noise)
            elif name.endswith("norm.bias"):
                value.add_(0.2 * noise)
            elif ".dt_proj" in name and name.endswith("bias"):
                value.copy_(noise - 1)
            elif "x_proj" in name:
                value.mul_(2)
            elif "mlps" in name and name.endswith("weight"):
                value.mul_(2)


def metadata(architecture, tile_zyx, halo_zyx, preset, seed):
    """The `tokenunify` metadata of a random model, all fields."""
    return {
        "format_version": 1,
        "preset": preset,
        "architecture": architecture,
        "tile_zyx": list(tile_zyx),
        "halo_zyx": list(halo_zyx),
        "voxel_nm_zyx": [30.0, 8.0, 8.0],
        "intensity": {"rule": "full_range"},
        "channels": ["affinity_z", "affinity_y", "affinity_x"],
        "offsets_zyx": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
        "fragment_method": {"method": "affinity"},
        "scoring": "quantile:50",
        "threshold": 0.5,
        "provenance": {
            "training_data": [],
            "steps": 0,
            "objective": "none",
            "seed": seed,
            "commit": "",
            "notes": "random weights of the PyTorch reference",
        },
        "licence": "CC0-1.0",
    }


def write_random_model(path, architecture, tile_zyx, halo_zyx, preset=None, seed=1, half=False):
    """Writes a model file with random weights and returns the network that it holds, in f32."""
    torch.manual_seed(seed)
    network = reference.build(architecture)
    randomise(network, seed)
    if half:
        network = network.half().float()
    tensors = {name: value.numpy() for name, value in network.state_dict().items()}
    if half:
        tensors = {name: value.astype("<f2") for name, value in tensors.items()}
    header = json.dumps(metadata(architecture, tile_zyx, halo_zyx, preset, seed))
    safetensors_file.write(path, tensors, {"tokenunify": header})
    return network


def write_case(folder, name, case):
    """Writes the model file and the expected values of one case."""
    shape, halo = case["shape_zyx"], case["halo_zyx"]
    tile = [n - 2 * h for n, h in zip(shape, halo)]
    network = write_random_model(folder / f"emmamba_{name}.safetensors", case["architecture"], tile, halo).double()
    raw = torch.randint(0, 256, (1, 1, *shape), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    output = network(raw.double() / 255)
    output.square().mean().backward()
    print(f"{name}: output {output.min():.3f} .. {output.max():.3f}, deviation {output.std():.3f}")
    parameters = dict(network.named_parameters())
    tensors = {"test.input": raw.numpy(), "test.output": output.detach().float().numpy()}
    for key in GRADIENTS:
        if key in parameters:
            gradient = parameters[key].grad
            print(f"  {key:45} |gradient| <= {gradient.abs().max():.1e}")
            tensors[f"test.grad.{key}"] = gradient.float().numpy()
    safetensors_file.write(folder / f"emmamba_{name}_io.safetensors", tensors)


def main(folder=None):
    folder = pathlib.Path(folder) if folder else pathlib.Path(__file__).parent.parent / "fixtures"
    folder.mkdir(exist_ok=True)
    for name, case in CASES.items():
        write_case(folder, name, case)


if __name__ == "__main__":
    main(*sys.argv[1:2])
