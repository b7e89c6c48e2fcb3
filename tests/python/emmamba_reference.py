"""EMmamba in PyTorch, written from its description as the peer against which the Rust network is checked.

Axes: images are [B, C, D, H, W] (zyx, x fastest), token sequences [B, L, C] with L = D*H*W in raster order.
Widths f = (f0, f1, f2, f3), hidden h; in-plane kernel k of (1, k, k); sz is the z stride (1: z kept, 2: compat).

  stage i     x <- down_i(x); x <- GSC_i(x); x <- MambaLayer(x) repeated depth_i times; o_i = MLP_i(IN(x))
  down_0      Conv(1,7,7), stride (sz,2,2), pad (0,3,3);   down_i = IN, then Conv(1,2,2), stride (sz,2,2)
  GSC         y1 = relu IN c3(relu IN c3(x));  y2 = relu IN c1(x);  x + relu IN c1(y1 + y2)
  MLP         1x1x1 C->2C, exact GELU, 1x1x1 2C->C
  MambaLayer  m = Mamba(LN(x));  x + m, or m alone where `residual` is off

  Mamba       (x, z) = split(W_in u);  out = W_out sum_r inverse_r(scan_r(permute_r x) * silu(permute_r z))
     r        forward: identity;  backward: L reversed;  inter-slice: position s*P + p -> p*S + s, P = L / S
     scan     u = silu(causal depthwise conv, width 4);  (dt | B | C) = W_x u;  delta = softplus(W_dt dt + b_dt)
              A = -exp(A_log);  h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t;  y_t = sum_n C_tn h_tn + D u_t

  decoder     e1 = res(input);  e_{i+2} = res(o_i);  d = res(cat[up(d), e]) from e5 down to e1;  d1 = res(d2)
              logits = 1x1x1(d1);  output = sigmoid(logits)
     res      conv k, IN, leaky 0.01, conv k, IN;  plus x, or IN(1x1x1 x) where the width changes;  leaky 0.01
     up       transposed conv, kernel = stride = (sz,2,2), no bias

Every InstanceNorm (IN) is without affine terms and running statistics, eps 1e-5; the variance is the biased one.
Parameter names are those of the official network's state_dict. Run as a program, it checks the parameter totals
and, given a list of names and shapes, the names.
"""

import json
import math
import sys

import torch
import torch.nn.functional as F
from torch import nn, overrides

PRESETS = {
    "tiny": ([8, 16, 32, 64], 128, 5),
    "small": ([16, 32, 64, 128], 256, 3),
    "base": ([32, 64, 128, 256], 512, 5),
    "100m": ([64, 128, 256, 512], 1024, 5),
    "200m": ([96, 192, 384, 768], 1024, 5),
    "500m": ([144, 288, 576, 1152], 1792, 5),
    "1b": ([192, 384, 768, 1536], 3072, 5),
}
COMPAT = {"z_stride": 2, "nslices": 5, "residual": False}
# (preset, compat): parameters; the first four are printed by the original work or counted from its code.
TOTALS = {
    ("base", True): 28_296_131,
    ("1b", True): 1_008_908_931,
    ("100m", True): 112_534_403,
    ("200m", True): 206_577_475,
    ("base", False): 27_599_811,
    ("tiny", False): 1_786_035,
}


def preset(name, compat=False):
    """The architecture of a preset, as the JSON object that model files carry."""
    features, hidden, kernel = PRESETS[name]
    config = {
        "in_channels": 1,
        "out_channels": 3,
        "features": features,
        "hidden": hidden,
        "depths": [2, 2, 2, 2],
        "kernel": kernel,
        "z_stride": 1,
        "nslices": None,
        "residual": True,
        "d_state": 16,
        "d_conv": 4,
        "expand": 2,
    }
    return {**config, **COMPAT} if compat else config


def scan_stepwise(u, delta, a, b, c, d):
    """The selective scan by its definition, one step of L at a time.

    u, delta (already positive): [B, L, E]; a (negative): [E, N]; b, c: [B, L, N]; d: [E]. Returns y: [B, L, E].
    """
    h = u.new_zeros(u.shape[0], u.shape[2], a.shape[1])
    ys = []
    for t in range(u.shape[1]):
        h = torch.exp(delta[:, t, :, None] * a) * h + (delta[:, t] * u[:, t])[..., None] * b[:, t, None, :]
        ys.append((h * c[:, t, None, :]).sum(-1))
    return torch.stack(ys, 1) + d * u


def scan_blocked(u, delta, a, b, c, d):
    """`scan_stepwise` in about 2 sqrt(L) steps: all blocks of T steps run side by side from a zero state, then the
    blocks' end states are chained, and what each block inherits is added: h_t = local_t + exp(A sum delta) h_in.
    """
    batch, length, width = u.shape
    steps = max(1, math.isqrt(length))
    blocks = -(-length // steps)

    def split(x):  # [B, L, K] -> [B, blocks, T, K]; a step of delta = 0 leaves the state as it is
        return F.pad(x, (0, 0, 0, blocks * steps - length)).reshape(batch, blocks, steps, -1)

    inputs, deltas, bs, cs = split(delta * u), split(delta), split(b), split(c)
    h = u.new_zeros(batch, blocks, width, a.shape[1])
    local = []
    for t in range(steps):
        h = torch.exp(deltas[:, :, t, :, None] * a) * h + inputs[:, :, t, :, None] * bs[:, :, t, None, :]
        local.append((h * cs[:, :, t, None, :]).sum(-1))
    elapsed = deltas.cumsum(2)
    carry = u.new_zeros(batch, width, a.shape[1])
    inherited = []
    for k in range(blocks):
        inherited.append(carry)
        carry = torch.exp(elapsed[:, k, -1, :, None] * a) * carry + h[:, k]
    inherited = torch.stack(inherited, 1)
    ys = [
        y + (torch.exp(elapsed[:, :, t, :, None] * a) * inherited * cs[:, :, t, None, :]).sum(-1)
        for t, y in enumerate(local)
    ]
    return torch.stack(ys, 2).reshape(batch, blocks * steps, width)[:, :length] + d * u


selective_scan = scan_blocked


class Mamba(nn.Module):
    """Three-direction Mamba block over [B, L, C]; the directions share the input and output projections."""

    def __init__(self, width, config):
        super().__init__()
        inner, state, taps = config["expand"] * width, config["d_state"], config["d_conv"]
        self.rank, self.state, self.taps = math.ceil(width / 16), state, taps
        for way in ("", "_b", "_s"):
            self.register_parameter(
                f"A{way}_log", nn.Parameter(torch.log(torch.arange(1.0, state + 1)).repeat(inner, 1))
            )
            self.register_parameter(f"D{way}", nn.Parameter(torch.ones(inner)))
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        for way in ("", "_b", "_s"):
            setattr(self, f"conv1d{way}", nn.Conv1d(inner, inner, taps, groups=inner))
            setattr(self, f"x_proj{way}", nn.Linear(inner, self.rank + 2 * state, bias=False))
            dt_proj = nn.Linear(self.rank, inner)
            nn.init.uniform_(dt_proj.weight, -self.rank**-0.5, self.rank**-0.5)
            dt = torch.exp(torch.rand(inner) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
            with torch.no_grad():
                dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
            setattr(self, f"dt_proj{way}", dt_proj)
        self.out_proj = nn.Linear(inner, width, bias=False)

    def direction(self, way, x):
        """The scan of one direction over x: [B, L, E], already permuted; without the gate."""
        part = {name: getattr(self, name + way) for name in ("conv1d", "x_proj", "dt_proj", "D")}
        u = F.pad(x.transpose(1, 2), (self.taps - 1, 0))
        u = F.silu(part["conv1d"](u)).transpose(1, 2)
        dt, b, c = part["x_proj"](u).split([self.rank, self.state, self.state], -1)
        delta = F.softplus(part["dt_proj"](dt))
        return selective_scan(u, delta, -torch.exp(getattr(self, f"A{way}_log")), b, c, part["D"])

    def forward(self, tokens, slices):
        """tokens: [B, L, C]; slices: S of the inter-slice direction, a divisor of L."""
        batch, length, _ = tokens.shape
        if length % slices:
            raise ValueError(f"{length} tokens do not divide into {slices} slices")
        x, z = self.in_proj(tokens).chunk(2, -1)

        def z_fastest(v, rows, columns):  # transposes the (rows, columns) view of L
            return v.reshape(batch, rows, columns, -1).transpose(1, 2).reshape(batch, length, -1)

        def gated(way, permute, inverse):
            return inverse(self.direction(way, permute(x)) * F.silu(permute(z)))

        out = gated("", lambda v: v, lambda v: v)
        out = out + gated("_b", lambda v: v.flip(1), lambda v: v.flip(1))
        plane = length // slices
        out = out + gated("_s", lambda v: z_fastest(v, slices, plane), lambda v: z_fastest(v, plane, slices))
        return self.out_proj(out)


class MambaLayer(nn.Module):
    """LayerNorm and Mamba over the voxels of [B, C, D, H, W] in raster order."""

    def __init__(self, width, config):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.mamba = Mamba(width, config)
        self.nslices, self.residual = config["nslices"], config["residual"]

    def forward(self, x):
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        out = self.mamba(tokens, self.nslices or x.shape[2]).transpose(1, 2).reshape(x.shape)
        return x + out if self.residual else out


def instance_norm(x):
    """(x - mean) / sqrt(var + 1e-5) per sample and channel over D, H, W."""
    return F.instance_norm(x, eps=1e-5)


class InstanceNorm(nn.Module):
    """`instance_norm` as a layer; it holds no tensors."""

    def forward(self, x):
        return instance_norm(x)


class GSC(nn.Module):
    """The spatial block in front of the Mamba layers: two added branches, no gate."""

    def __init__(self, width):
        super().__init__()
        self.proj, self.proj2 = (nn.Conv3d(width, width, 3, padding=1) for _ in range(2))
        self.proj3, self.proj4 = (nn.Conv3d(width, width, 1) for _ in range(2))

    def forward(self, x):
        y1 = F.relu(instance_norm(self.proj(x)))
        y1 = F.relu(instance_norm(self.proj2(y1)))
        y2 = F.relu(instance_norm(self.proj3(x)))
        return x + F.relu(instance_norm(self.proj4(y1 + y2)))


class MlpChannel(nn.Module):
    """Per-voxel two-layer perceptron C -> 2C -> C."""

    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv3d(width, 2 * width, 1), nn.Conv3d(2 * width, width, 1)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


def along_z(config):
    """Strides of the four stages, kernels of the five levels' blocks and of the down-samplers, along z."""
    plan = config.get("z_plan") or {"strides": [config["z_stride"]] * 4, "kernels": [1] * 5}
    strides, kernels = plan["strides"], plan["kernels"]
    down = [1 if k == 1 else k if i == 0 else strides[i] for i, k in enumerate(kernels[:4])]
    return strides, kernels, down


class MambaEncoder(nn.Module):
    """The four stages; returns their side outputs o_0 .. o_3."""

    def __init__(self, config):
        super().__init__()
        widths = config["features"]
        strides, _, kernels = along_z(config)
        first = (kernels[0], 7, 7), (strides[0], 2, 2), (kernels[0] // 2, 3, 3)
        stem = nn.Conv3d(config["in_channels"], widths[0], *first)
        self.downsample_layers = nn.ModuleList([nn.Sequential(stem)])
        for before, width, kernel, stride in zip(widths, widths[1:], kernels[1:], strides[1:]):
            down = nn.Conv3d(before, width, (kernel, 2, 2), (stride, 2, 2))
            self.downsample_layers.append(nn.Sequential(InstanceNorm(), down))
        self.stages = nn.ModuleList(
            nn.Sequential(*(MambaLayer(width, config) for _ in range(depth)))
            for width, depth in zip(widths, config["depths"])
        )
        self.gscs = nn.ModuleList(GSC(width) for width in widths)
        self.mlps = nn.ModuleList(MlpChannel(width) for width in widths)

    def forward(self, x):
        sides = []
        for down, gsc, stage, mlp in zip(self.downsample_layers, self.gscs, self.stages, self.mlps):
            x = stage(gsc(down(x)))
            sides.append(mlp(instance_norm(x)))
        return sides


class Wrapped(nn.Module):
    """A convolution under the name `conv`, as the official parameter names have it."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        return self.conv(x)


class ResBlock(nn.Module):
    """Two convolutions, kernel = (k_z, k), with a shortcut."""

    def __init__(self, before, width, kernel):
        super().__init__()

        def conv(fan_in):
            size = (kernel[0], kernel[1], kernel[1])
            return Wrapped(nn.Conv3d(fan_in, width, size, padding=tuple(k // 2 for k in size), bias=False))

        self.conv1, self.conv2 = conv(before), conv(width)
        if before != width:
            self.conv3 = Wrapped(nn.Conv3d(before, width, 1, bias=False))

    def forward(self, x):
        y = F.leaky_relu(instance_norm(self.conv1(x)), 0.01)
        y = instance_norm(self.conv2(y))
        shortcut = instance_norm(self.conv3(x)) if hasattr(self, "conv3") else x
        return F.leaky_relu(y + shortcut, 0.01)


class EncoderBlock(nn.Module):
    """A residual block under the name `layer`."""

    def __init__(self, before, width, kernel):
        super().__init__()
        self.layer = ResBlock(before, width, kernel)

    def forward(self, x):
        return self.layer(x)


class DecoderBlock(nn.Module):
    """Up-sampling, concatenation (up-sampled first, skip second) and a residual block."""

    def __init__(self, before, width, z_stride, kernel):
        super().__init__()
        stride = (z_stride, 2, 2)
        self.transp_conv = Wrapped(nn.ConvTranspose3d(before, width, stride, stride, bias=False))
        self.conv_block = ResBlock(2 * width, width, kernel)

    def forward(self, x, skip):
        return self.conv_block(torch.cat([self.transp_conv(x), skip], 1))


class EMmamba(nn.Module):
    """[B, in_channels, D, H, W] -> [B, out_channels, D, H, W] in (0, 1)."""

    def __init__(self, config):
        super().__init__()
        f0, f1, f2, f3 = config["features"]
        hidden = config["hidden"]
        strides, kernels, _ = along_z(config)
        kernels = [(k, config["kernel"] if k == 1 else min(config["kernel"], 3)) for k in kernels]
        self.vit = MambaEncoder(config)
        self.encoder1 = EncoderBlock(config["in_channels"], f0, kernels[0])
        self.encoder2 = EncoderBlock(f0, f1, kernels[1])
        self.encoder3 = EncoderBlock(f1, f2, kernels[2])
        self.encoder4 = EncoderBlock(f2, f3, kernels[3])
        self.encoder5 = EncoderBlock(f3, hidden, kernels[4])
        self.decoder5 = DecoderBlock(hidden, f3, strides[3], kernels[3])
        self.decoder4 = DecoderBlock(f3, f2, strides[2], kernels[2])
        self.decoder3 = DecoderBlock(f2, f1, strides[1], kernels[1])
        self.decoder2 = DecoderBlock(f1, f0, strides[0], kernels[0])
        self.decoder1 = EncoderBlock(f0, f0, kernels[0])
        self.out = Wrapped(Wrapped(nn.Conv3d(f0, config["out_channels"], 1)))

    def logits(self, x):
        o0, o1, o2, o3 = self.vit(x)
        e1, e2, e3, e4 = self.encoder1(x), self.encoder2(o0), self.encoder3(o1), self.encoder4(o2)
        d = self.decoder5(self.encoder5(o3), e4)
        d = self.decoder4(d, e3)
        d = self.decoder3(d, e2)
        d = self.decoder2(d, e1)
        return self.out(self.decoder1(d))

    def forward(self, x):
        return torch.sigmoid(self.logits(x))


def build(config):
    """The network of an architecture given as a JSON text or as the object it stands for."""
    return EMmamba(json.loads(config) if isinstance(config, str) else config)


class WithoutMemory(overrides.TorchFunctionMode):
    """Constructs tensors on the meta device: shapes without values."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in (torch.empty, torch.arange, torch.ones, torch.rand):
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


def shapes(config):
    """Parameter names and shapes of an architecture, without allocating the network."""
    with WithoutMemory():
        return {name: tuple(value.shape) for name, value in build(config).state_dict().items()}


def main(table=None):
    """Checks totals, the two scans against one another, and names and shapes against `table` (name, AxBxC, count)."""
    for (name, compat), expected in TOTALS.items():
        counted = shapes(preset(name, compat))
        total = sum(math.prod(shape) for shape in counted.values())
        print(f"{name:5} {'compat' if compat else 'z kept'}: {total:,} parameters in {len(counted)} tensors")
        if total != expected:
            raise SystemExit(f"{name}: expected {expected:,}")
    torch.manual_seed(0)
    u, delta, b, c = (torch.randn(2, 213, k, dtype=torch.float64) for k in (6, 6, 16, 16))
    a, d = -torch.rand(6, 16, dtype=torch.float64) * 8, torch.randn(6, dtype=torch.float64)
    parts = (u, F.softplus(delta), a, b, c, d)
    gap = (scan_blocked(*parts) - scan_stepwise(*parts)).abs().max().item()
    print(f"blocked scan against the definition: {gap:.1e}")
    if gap > 1e-12:
        raise SystemExit("the blocked scan deviates")
    if table:
        with open(table) as file:
            rows = [line.split("\t") for line in file if line.strip()]
        listed = [(name, tuple(int(n) for n in shape.split("x"))) for name, shape, _ in rows]
        if listed != list(shapes(preset("base", True)).items()):
            raise SystemExit(f"{table}: names, shapes or their order differ")
        print(f"{table}: all {len(listed)} names, shapes and their order agree")


if __name__ == "__main__":
    main(*sys.argv[1:2])
