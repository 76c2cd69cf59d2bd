"""State dicts of public implicit-representation code bases, rebuilt with their own names, shapes, dtypes and order.

A layout is a list of :class:`Entry`; :func:`build` fills it with seeded random tensors at the scale that the code base
itself initializes to. Every layout names the repository and the file its facts come from. Widths and tables are reduced
where the original would make a test slow: the docstring says from what.
"""

from __future__ import annotations

import math
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Fill = Callable[[torch.Generator, tuple[int, ...]], Tensor]


@dataclass(frozen=True)
class Entry:
    """One tensor of a layout: its name, shape, dtype, how it is filled, and whether the module holds it as a buffer."""

    name: str
    shape: tuple[int, ...]
    fill: Fill
    dtype: torch.dtype = torch.float32
    buffer: bool = False


LAYOUTS: dict[str, Callable[[], list[Entry]]] = {}


def layout(name: str) -> Callable[[Callable[[], list[Entry]]], Callable[[], list[Entry]]]:
    """Register a layout under ``name``."""

    def register(make: Callable[[], list[Entry]]) -> Callable[[], list[Entry]]:
        LAYOUTS[name] = make
        return make

    return register


def build(name: str) -> OrderedDict[str, Tensor]:
    """The state dict of layout ``name``; the same values in every process."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return OrderedDict((e.name, e.fill(generator, e.shape).to(e.dtype)) for e in LAYOUTS[name]())


def rebuild(name: str) -> nn.Module:
    """A module tree with the parameters and buffers of layout ``name``, all zero: what ``strict=True`` loads into."""
    root = nn.Module()
    for e in LAYOUTS[name]():
        *path, leaf = e.name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]
        zero = torch.zeros(e.shape, dtype=e.dtype)
        if e.buffer:
            module.register_buffer(leaf, zero)
        else:
            module.register_parameter(leaf, nn.Parameter(zero))
    return root


def uniform(bound: float) -> Fill:
    """U(-bound, bound)."""
    return lambda g, shape: (torch.rand(shape, generator=g) * 2 - 1) * bound


def normal(std: float, mean: float = 0.0) -> Fill:
    """N(mean, std²)."""
    return lambda g, shape: torch.randn(shape, generator=g) * std + mean


def constant(value: float) -> Fill:
    """Every element ``value``."""
    return lambda g, shape: torch.full(shape, value)


def values(*items: float) -> Fill:
    """The numbers given, in order."""
    return lambda g, shape: torch.tensor(items).reshape(shape)


def integers(low: int, high: int) -> Fill:
    """Uniform integers in [low, high)."""
    return lambda g, shape: torch.randint(low, high, shape, generator=g)


def complex_uniform(bound: float) -> Fill:
    """Real and imaginary parts U(-bound, bound)."""
    part = uniform(bound)
    return lambda g, shape: torch.complex(part(g, shape), part(g, shape))


def concatenated(*parts: tuple[int, Fill]) -> Fill:
    """Several differently scaled pieces of a flat tensor, one after the other."""
    return lambda g, shape: torch.cat([fill(g, (count,)) for count, fill in parts]).reshape(shape)


def linear(
    name: str,
    fan_in: int,
    fan_out: int,
    weight: Fill | None = None,
    bias: Fill | None = None,
    dtype: torch.dtype = torch.float32,
) -> list[Entry]:
    """``weight`` and ``bias`` of an ``nn.Linear``; torch's own U(±1/√fan_in) where nothing is said."""
    default = uniform(1 / math.sqrt(fan_in))
    return [
        Entry(f"{name}.weight", (fan_out, fan_in), weight or default, dtype),
        Entry(f"{name}.bias", (fan_out,), bias or default, dtype),
    ]


def sine_weight(fan_in: int, first: bool, omega: float = 30.0) -> Fill:
    """The SIREN initialization: U(±1/fan_in) for the first layer, U(±√(6/fan_in)/omega) for the others."""
    return uniform(1 / fan_in if first else math.sqrt(6 / fan_in) / omega)


@layout("siren")
def siren() -> list[Entry]:
    """``SingleBVPNet(type='sine', in_features=2, out_features=3)``: vsitzmann/siren, ``modules.py``.

    Width 64 instead of 256.
    """
    return _fc_block("net.net", [2, 64, 64, 64, 64, 3])


def _fc_block(prefix: str, widths: list[int]) -> list[Entry]:
    """``FCBlock``: a sequential of (linear, sine) pairs, hence ``<prefix>.<layer>.0``; biases keep torch's scale."""
    return [
        entry
        for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
        for entry in linear(f"{prefix}.{i}.0", a, b, sine_weight(a, first=i == 0))
    ]


@layout("siren-pytorch")
def siren_pytorch() -> list[Entry]:
    """``SirenNet(dim_in=2, dim_hidden=52, dim_out=3, num_layers=5)``: lucidrains/siren-pytorch, ``siren_pytorch.py``.

    The parameters sit in the layers themselves. Hidden layers have w0 = 1. Width 52 instead of 256.
    """
    widths = [2] + [52] * 5
    entries = []
    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        fill = sine_weight(a, first=i == 0, omega=1.0)
        entries += linear(f"net.{i}", a, b, fill, fill)
    fill = sine_weight(52, first=False, omega=1.0)
    return entries + linear("last_layer", 52, 3, fill, fill)


def _coin(width: int, num_layers: int, dtype: torch.dtype) -> list[Entry]:
    entries = []
    for i in range(num_layers):
        a = 2 if i == 0 else width
        fill = sine_weight(a, first=i == 0)
        entries += linear(f"net.{i}.linear", a, width, fill, fill, dtype)
    fill = sine_weight(width, first=False)
    return entries + linear("last_layer.linear", width, 3, fill, fill, dtype)


@layout("coin-fp32")
def coin_fp32() -> list[Entry]:
    """``Siren(2, 28, 3, num_layers=10)``: EmilienDupont/coin, ``siren.py``, defaults of ``main.py``; full size."""
    return _coin(28, 10, torch.float32)


@layout("coin-half")
def coin_half() -> list[Entry]:
    """The same network after ``func_rep.half()``: EmilienDupont/coin, ``main.py``; full size."""
    return _coin(28, 10, torch.float16)


@layout("coin++")
def coinpp() -> list[Entry]:
    """``ModulatedSiren`` with its latent-to-shift map, and the modulations: EmilienDupont/coinpp, ``coinpp/models.py``.

    Ten layers, w0 = 50 and latent size 64 as in ``configs/config_kodak.txt``; width 24 instead of 512. The payload is
    what ``store_modulations.py`` stores for images in 32 × 32 patches: a list with one [patches, 64] tensor per image,
    here with the place in that list as its name, and 96 patches instead of the 384 of a Kodak image.
    """
    width, latent, layers = 24, 64, 10
    entries = []
    for i in range(layers - 1):
        a = 2 if i == 0 else width
        fill = sine_weight(a, first=i == 0, omega=50.0)
        entries += linear(f"net.{i}.linear", a, width, fill, fill)
    fill = sine_weight(width, first=False, omega=50.0)
    entries += linear("last_layer.linear", width, 3, fill, fill)
    entries += linear("modulation_net.net", latent, width * (layers - 1))
    return [*entries, Entry("modulations.0", (96, latent), normal(0.02), buffer=True)]


INRIC_WIDTHS = [2 + 2 * 2 * 16, 32, 32, 32, 32, 3]


@layout("inric")
def inric() -> list[Entry]:
    """``INRNet(type='sine', mode='nerf', ff_dims=16)``: YannickStruempler/inr_based_compression.

    ``image_compression/modules.py`` with the settings of ``examples/run_basic_kodak.sh``, hidden width 32; full size.
    The positional encoding has no parameters, its 66 outputs are the first layer's inputs.
    """
    return _fc_block("net.net", INRIC_WIDTHS)


@layout("inric-maml")
def inric_maml() -> list[Entry]:
    """``maml_obj.pth``: the meta-learned initialization with its learned rates, same repository, ``trainMetaSiren.py``.

    ``num_meta_steps`` is an int32 buffer of one element, and every parameter has three tensors of rates near 1e-5.
    """
    hypo = _fc_block("hypo_module.net.net", INRIC_WIDTHS)
    rates = [Entry(f"lr.{i}.{step}", e.shape, normal(2e-6, mean=1e-5)) for i, e in enumerate(hypo) for step in range(3)]
    return [Entry("num_meta_steps", (1,), values(3), torch.int32, buffer=True), *hypo, *rates]


@layout("wire")
def wire() -> list[Entry]:
    """``INR`` with two complex Gabor layers: vishwa91/wire, ``modules/wire.py`` and ``wire_image_denoise.py``.

    The first layer is float32, the others complex64, and ``omega_0``, ``scale_0`` are frozen 1-element parameters.
    ``hidden_features`` 72 (50 complex units) instead of 256 (181).
    """
    width = int(72 / math.sqrt(2))
    entries = []
    for i, a in enumerate([2, width, width]):
        entries += [Entry(f"net.{i}.omega_0", (1,), values(20.0)), Entry(f"net.{i}.scale_0", (1,), values(30.0))]
        fill = uniform(1 / math.sqrt(2)) if i == 0 else complex_uniform(1 / math.sqrt(a))
        entries += linear(f"net.{i}.linear", a, width, fill, fill, torch.float32 if i == 0 else torch.complex64)
    fill = complex_uniform(1 / math.sqrt(width))
    return entries + linear("net.3", width, 3, fill, fill, torch.complex64)


@layout("nerf-pytorch")
def nerf_pytorch() -> list[Entry]:
    """``NeRF(D=8, input_ch=63, input_ch_views=27, skips=[4], use_viewdirs=True)``: yenchenlin/nerf-pytorch.

    ``run_nerf_helpers.py``: the layer after the skip is rectangular, and ``alpha_linear`` has one row.
    W = 24 instead of 256.
    """
    w, xyz, views = 24, 63, 27
    entries = linear("pts_linears.0", xyz, w)
    for i in range(1, 8):
        entries += linear(f"pts_linears.{i}", w + xyz if i == 5 else w, w)
    entries += linear("views_linears.0", views + w, w // 2)
    return entries + linear("feature_linear", w, w) + linear("alpha_linear", w, 1) + linear("rgb_linear", w // 2, 3)


@layout("nerf_pl")
def nerf_pl() -> list[Entry]:
    """Both networks, as in a Lightning checkpoint's ``state_dict``: kwea123/nerf_pl, ``models/nerf.py``, ``train.py``.

    Skip at layer 4, so ``xyz_encoding_5`` is rectangular. W = 24 instead of 256.
    """
    w, xyz, direction = 24, 63, 27
    entries = []
    for net in ("nerf_coarse", "nerf_fine"):
        for i in range(8):
            a = xyz if i == 0 else w + xyz if i == 4 else w
            entries += linear(f"{net}.xyz_encoding_{i + 1}.0", a, w)
        entries += linear(f"{net}.xyz_encoding_final", w, w)
        entries += linear(f"{net}.dir_encoding.0", w + direction, w // 2)
        entries += linear(f"{net}.sigma", w, 1) + linear(f"{net}.rgb.0", w // 2, 3)
    return entries


@layout("nerfacc-mlp")
def nerfacc_mlp() -> list[Entry]:
    """``VanillaNeRFRadianceField``: nerfstudio-project/nerfacc, ``examples/radiance_fields/mlp.py``.

    The encoders hold their scales as int64 buffers; weights are Xavier uniform, biases zero. Width 24 instead of 256.
    """
    w, xyz, view = 24, 63, 27

    def dense(name: str, a: int, b: int) -> list[Entry]:
        return linear(name, a, b, uniform(math.sqrt(6 / (a + b))), constant(0.0))

    entries = [
        Entry("posi_encoder.scales", (10,), values(*(2**i for i in range(10))), torch.int64, buffer=True),
        Entry("view_encoder.scales", (4,), values(*(2**i for i in range(4))), torch.int64, buffer=True),
    ]
    for i in range(8):
        entries += dense(f"mlp.base.hidden_layers.{i}", xyz if i == 0 else w + xyz if i == 5 else w, w)
    entries += dense("mlp.sigma_layer.output_layer", w, 1)
    entries += dense("mlp.bottleneck_layer.output_layer", w, w)
    entries += dense("mlp.rgb_layer.hidden_layers.0", w + view, w // 2)
    return entries + dense("mlp.rgb_layer.output_layer", w // 2, 3)


@layout("nerfacc-ngp")
def nerfacc_ngp() -> list[Entry]:
    """``NGPradianceField``: nerfstudio-project/nerfacc, ``examples/radiance_fields/ngp.py``.

    Each tiny-cuda-nn module (NVlabs/tiny-cuda-nn, ``bindings/torch/tinycudann/modules.py``) is one flat ``params``
    tensor: none at all for the direction encoding, network weights followed by the hash table (U(±1e-4)) for the base.
    16 levels of 2⁸ entries instead of up to 2¹⁹.
    """
    network = (32 * 64 + 64 * 16, uniform(math.sqrt(6 / 96)))
    table = (16 * 2**8 * 2, uniform(1e-4))
    return [
        Entry("aabb", (6,), values(-1.5, -1.5, -1.5, 1.5, 1.5, 1.5), buffer=True),
        Entry("direction_encoding.params", (0,), uniform(1.0)),
        Entry("mlp_base.params", (network[0] + table[0],), concatenated(network, table)),
        Entry("mlp_head.params", (32 * 64 + 64 * 64 + 64 * 16,), uniform(math.sqrt(6 / 96))),
    ]


@layout("nerfacc-occgrid")
def nerfacc_occgrid() -> list[Entry]:
    """``OccGridEstimator(levels=2)``: nerfstudio-project/nerfacc, ``nerfacc/estimators/occ_grid.py``; all buffers.

    Resolution 16 instead of 128. ``occs`` is mostly zero, as a trained grid's is.
    """
    sparse: Fill = lambda g, shape: torch.relu(torch.randn(shape, generator=g) - 1.5)  # noqa: E731
    return [
        Entry("resolution", (3,), constant(16), torch.int32, buffer=True),
        Entry("aabbs", (2, 6), values(*[-1.5] * 3, *[1.5] * 3, *[-3.0] * 3, *[3.0] * 3), buffer=True),
        Entry("occs", (2 * 16**3,), sparse, buffer=True),
        Entry("binaries", (2, 16, 16, 16), integers(0, 2), torch.bool, buffer=True),
    ]


@layout("torch-ngp")
def torch_ngp() -> list[Entry]:
    """``NeRFNetwork(cuda_ray=True)``: ashawkey/torch-ngp.

    ``nerf/network.py``, ``nerf/renderer.py`` and ``gridencoder/grid.py``: float, uint8 and int32 buffers stand before
    the parameters, and the linear layers have no bias. Density grid 16³ instead of 128³, hash tables of 2⁸ entries
    instead of up to 2¹⁹.
    """
    levels, table, grid = 16, 2**8, 16
    offsets = values(*range(0, (levels + 1) * table, table))
    box = values(-1.0, -1.0, -1.0, 1.0, 1.0, 1.0)

    def weight(name: str, a: int, b: int) -> Entry:
        return Entry(f"{name}.weight", (b, a), uniform(1 / math.sqrt(a)))

    return [
        Entry("aabb_train", (6,), box, buffer=True),
        Entry("aabb_infer", (6,), box, buffer=True),
        Entry("density_grid", (1, grid, grid, grid), normal(1.0), buffer=True),
        Entry("density_bitfield", (grid**3 // 8,), integers(0, 256), torch.uint8, buffer=True),
        Entry("step_counter", (16, 2), integers(0, 10**6), torch.int32, buffer=True),
        Entry("encoder.embeddings", (levels * table, 2), uniform(1e-4)),
        Entry("encoder.offsets", (levels + 1,), offsets, torch.int32, buffer=True),
        weight("sigma_net.0", 2 * levels, 64),
        weight("sigma_net.1", 64, 16),
        weight("color_net.0", 31, 64),
        weight("color_net.1", 64, 64),
        weight("color_net.2", 64, 3),
    ]


COMBINER_SHAPES = [(65, 48), *[(49, 48)] * 4, (49, 3)]


@layout("combiner-posterior")
def combiner_posterior() -> list[Entry]:
    """``SirenPosterior``: cambridge-mlg/combiner, ``models.py`` with ``cfgs/model_prior_kodak.yaml``; full size.

    A layer is [inputs + 1, outputs], its last row the bias; ``std`` is a softplus argument that starts at -10.
    """
    entries = []
    for i, shape in enumerate(COMBINER_SHAPES):
        fan_in = shape[0] - 1
        bound = (1 / fan_in if i == 0 else math.sqrt(6 / fan_in) / 30) * 11 / 12
        entries += [Entry(f"net.{i}.mu", shape, uniform(bound)), Entry(f"net.{i}.std", shape, normal(0.5, mean=-10.0))]
    return entries


@layout("combiner-prior")
def combiner_prior() -> list[Entry]:
    """``SirenPrior`` as constructed, zeros and constants only: cambridge-mlg/combiner, ``models.py``; full size."""
    means = [Entry(f"prior_mu.{i}", shape, constant(0.0)) for i, shape in enumerate(COMBINER_SHAPES)]
    stds = [
        Entry(f"prior_std.{i}", shape, constant(0.5 * (1 / 64 if i == 0 else math.sqrt(6 / 48) / 30)))
        for i, shape in enumerate(COMBINER_SHAPES)
    ]
    return means + stds
