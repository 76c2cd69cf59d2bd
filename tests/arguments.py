"""Right and wrong arguments of all that is public, for the test that mixes them (``test_fuzz_arguments.py``)."""

from __future__ import annotations

import fractions
import functools
import inspect
import io
import math
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import coinr
from coinr.codec import baselines

from .small_signals import RATE, ball, disc_views, distance, nerf, siren, tones
from .small_starts import start

Make = Callable[[], Any]


@functools.cache
def folder() -> Path:
    """A folder of files to read, and to write into."""
    place = Path(tempfile.mkdtemp())
    coinr.write_image(place / "a.png", picture())
    coinr.write_audio(place / "a.wav", tones(), RATE)
    np.save(place / "a.npy", ball(8))
    torch.save(weights(), place / "a.pt")
    (place / "text.txt").write_text("no file of ours\n")
    (place / "empty").touch()
    (place / "a.coinr").write_bytes(file())
    begin().save(place / "a.start.coinr")
    for name, (network, signal) in signals().items():
        (place / f"{name}.coinr").write_bytes(coinr.pack_signal(network, signal, profile="uniform"))
    return place


def picture() -> Any:
    return (np.arange(60).reshape(4, 5, 3) * 4).astype(np.uint8)


def scene() -> coinr.SceneSignal:
    images, poses = disc_views([0, 120, 240], 6)
    return coinr.SceneSignal(images, poses, 7.0, 2.0, 6.0, samples=(2, 2))


def signals() -> dict[str, tuple[nn.Module, coinr.Signal]]:
    """A network and what it shows, of each kind."""
    return {
        "image": (siren(2, 3, 4), coinr.ImageSignal(picture())),
        "audio": (siren(1, 1, 4), coinr.AudioSignal(tones(0.01), RATE)),
        "shape": (siren(3, 1, 4), coinr.ShapeSignal(ball(8))),
        "scene": (nerf(), scene()),
    }


@functools.cache
def begin() -> coinr.Start:
    return start(siren(2, 3, 4))


def weights() -> OrderedDict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return OrderedDict(
        [("a.weight", torch.randn(6, 4, generator=generator)), ("a.bias", torch.randn(6, generator=generator))]
    )


@functools.cache
def file() -> bytes:
    return coinr.encode_state_dict(weights(), profile="uniform")


def loss(sd: Any) -> Any:
    return sum((tensor - 0.5).square().mean() for tensor in sd.values())


def score(sd: Any) -> float:
    return -float(loss(sd))


def layer() -> tuple[nn.Module, list[torch.Tensor]]:
    module = nn.Sequential(OrderedDict(a=nn.Linear(4, 6)))
    return module, [torch.randn(3, 4)]


def choose(*values: Any) -> list[Make]:
    return [lambda value=value: value for value in values]


# Wrong for most arguments; each is made anew, since what is called may change it.
WRONG: list[Make] = [
    *choose(None, True, False, 0, -1, 1, 2, 3, 7, -7, 10**4, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63), 10**30),
    *choose(0.0, -0.0, 0.5, 1.0, -1.5, 2.5, math.nan, math.inf, -math.inf, 1e300, -1e300, 5e-324, 1e-9),
    *choose("", "x", "auto", "cpu", "cuda", "meta", "siren", "\0", "ü", "1", "nan", "a" * 5000, "../..", "/", "*"),
    *choose(b"", b"abc", b"\x8fCNR", bytearray(b"x"), memoryview(b"xyz"), 1j, 10**400, -(10**400)),
    *choose(
        fractions.Fraction(1, 3), range(3), slice(2), Ellipsis, NotImplemented, object(), int, len, lambda *a: None
    ),
    *choose(Path("/nonexistent/a.png"), Path("/"), Path(), np, ValueError("x"), frozenset("a")),
    *choose(np.int64(3), np.int64(-3), np.uint8(200), np.float32(0.5), np.float64("nan"), np.bool_(True), np.str_("a")),
    *choose(lambda *a: math.nan, lambda *a: "x", lambda *a: torch.ones(3), lambda *a: torch.tensor(math.nan)),
    *choose(torch.float32, torch.device("cpu"), torch.device("meta"), torch.Size([2, 3])),
    *(list, dict, set, tuple, object),
    *choose((1,), (1, 2), (0, 0), (-1, 2), (1, 2, 3), (1.5, 2.5), (2**40, 2**40), (None, None), ("a", "b")),
    *choose((0, 0, 1, 1), (-1, 0, 2, 2), (0, 0, 10**9, 10**9), (math.nan,) * 4),
    lambda: [1, 2],
    lambda: [None],
    lambda: [[1], [2, 3]],
    lambda: ["a", 1],
    lambda: [math.nan, math.inf],
    lambda: [[[[1]]]],
    lambda: [coinr.ImageSignal(picture())],
    lambda: {"a": 1},
    lambda: {"a.weight": None},
    lambda: {"a.weight": math.nan},
    lambda: {"a.weight": "x"},
    lambda: {1: 2},
    lambda: {None: torch.ones(2)},
    lambda: {"": torch.ones(2)},
    lambda: {"\ud800": torch.ones(2)},
    lambda: {"a.weight": torch.ones(2, 2)},
    lambda: {"a.weight": np.array(["x"])},
    lambda: {"a.weight": torch.full((3, 3), math.nan)},
    lambda: {"a": {"b": torch.ones(2)}},
    lambda: {"width": 3, "steps": 2},
    lambda: {"width": None},
    lambda: recursive(),
    lambda: iter([1, 2]),
    lambda: (x for x in ()),
    lambda: np.array(3),
    lambda: np.zeros(0),
    lambda: np.zeros((0, 3)),
    lambda: np.ones((2, 3)),
    lambda: np.ones((2, 3), np.float32),
    lambda: np.full((2, 3), np.nan, np.float32),
    lambda: np.full((4, 5, 3), np.inf),
    lambda: np.full((4, 5, 3), 1e300),
    lambda: np.ones((4, 5, 9), np.uint8),
    lambda: np.ones((2, 2, 2, 2, 2)),
    lambda: np.ones((3, 3), np.int64) * 2**40,
    lambda: np.ones((3, 3), np.complex64),
    lambda: np.ones((3, 3), bool),
    lambda: np.ones((3, 3), ">f4"),
    lambda: np.array(["a"]),
    lambda: np.array([None]),
    lambda: np.array([(1, 2.0)], "i4,f4"),
    lambda: np.array(["2020-01-01"], "datetime64[D]"),
    lambda: np.ma.masked_array([1.0, 2.0], [True, False]),
    lambda: np.broadcast_to(np.float32(1), (2**40,)),
    lambda: torch.zeros(0),
    lambda: torch.ones(2, 3),
    lambda: torch.tensor(math.nan),
    lambda: torch.ones(2, 3, requires_grad=True),
    lambda: torch.ones(2, 3, device="meta"),
    lambda: torch.ones(2, 3).to_sparse(),
    lambda: torch.ones(2, 3, dtype=torch.complex64),
    lambda: torch.ones(1).expand(2**40),
    lambda: torch.arange(3),
    lambda: nn.Linear(2, 3),
    lambda: nn.Linear(2, 3, device="meta"),
    lambda: nn.Linear(2, 3).half(),
    lambda: nn.Sequential(),
    lambda: siren(2, 3, 4),
    lambda: siren(1, 1, 4),
    lambda: nerf(),
    lambda: coinr.ImageSignal(picture()),
    lambda: coinr.AudioSignal(tones(0.01), RATE),
    lambda: scene(),
    lambda: coinr.Dictionary("gaussian", 4, 8, 0),
    lambda: coinr.Limits(1, 1, 1),
    lambda: begin(),
    lambda: torch.Generator(),
    lambda: np.random.default_rng(0),
    lambda: file(),
    lambda: folder(),
    lambda: folder() / "a.png",
    lambda: str(folder() / "text.txt"),
    lambda: folder() / "empty",
    lambda: folder() / "none" / "a.coinr",
    lambda: (folder() / "a.coinr").read_bytes()[:-3],
]


def recursive() -> list[Any]:
    """A list that holds itself."""
    made: list[Any] = []
    made.append(made)
    return made


# Right numbers that only take long.
LARGE = (2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**30, 10**400, 10**4)


@dataclass
class Public:
    """Something public that can be called.

    Attributes
    ----------
    make : callable
        Returns what is called: for a method, that of a new object.
    right : dict
        For each argument, makers of values that are right.
    always : tuple of str
        Arguments that are given in every call, besides those without a default: they keep it short.
    endless : tuple of str
        Arguments of which a large value is right and takes as long as it says.
    weight : int
        How often it is chosen: less for what takes long.
    """

    make: Make
    right: dict[str, list[Make]]
    always: tuple[str, ...] = ()
    endless: tuple[str, ...] = ()
    weight: int = 4

    @property
    def given(self) -> set[str]:
        """The arguments of every call."""
        found = inspect.signature(self.make()).parameters.values()
        return {p.name for p in found if p.default is p.empty and p.name in self.right} | set(self.always)


LIMITS = [lambda: coinr.Limits(1 << 20, 1 << 20, 100)]
BLOB = [file]
PATHS = [lambda: folder() / "a.coinr", lambda: str(folder() / "image.coinr")]
CODEC: dict[str, list[Make]] = {
    "seed": choose(0, 5, 2**64 - 1),
    "profile": choose("uniform", "direct", "lossless", "auto", "sparse", "paper"),
    "output_error_db": choose(None, -60.0),
    "tolerance": choose(None, 0.1, 0.01),
    "lossless": choose((), ("a.*",)),
    "nonfinite": choose("error", "lossless"),
    "base": [lambda: None, weights],
    "seeds": choose(1, 2),
    "effort": choose("fast", "default", "best"),
    "errors": [lambda: None, lambda: {"a.weight": 0.1}],
    "target_bytes": choose(None, 300),
    "target_bits": choose(None, 20),
    "meta": [lambda: None, lambda: {"a": [1, 2]}],
    "limits": [lambda: None, *LIMITS],
    "backend": choose(None, "native", "reference"),
    "threads": choose(None, 1),
    "calibrate": [lambda: None, layer],
    "canonical": choose(False, True),
    "bits": choose(6),
    "M": choose(64),
    "s": choose(2),
    "kind": choose("gaussian"),
    "n": choose(4),
    "beam": choose(2),
    "form": choose("sparse"),
    "sorted": choose(True),
    "rule": choose(1),
}
TRAIN: dict[str, list[Make]] = {
    "network": choose(None, "siren", "relu"),
    "width": choose(4),
    "hidden_layers": choose(0, 1),
    "steps": choose(2),
    "batch": choose(8),
    "learning_rate": choose(1e-3),
    "seed": choose(0, 1),
    "device": choose(None, "cpu"),
    "threads": choose(1),
    "time_budget": choose(0.02),
    "target": choose(None, 3.0),
    "optimizer": choose(None, "adam", "soap", "muon"),
    "precision": choose(None, "full"),
    "checkpoint": choose(None),
    "checkpoint_every": choose(30.0),
    "start": [lambda: None, begin],
    "progress": choose(False),
}
SINES: dict[str, list[Make]] = {
    "in_features": choose(2),
    "out_features": choose(3),
    "width": choose(4),
    "hidden_layers": choose(1),
    "omega": choose(30.0),
    "first_omega": choose(None, 20.0),
    "frequencies": choose(0, 2),
    "base": choose(2.0),
    "lowest": choose(1.0),
    "generator": [lambda: None, torch.Generator],
}


def without(right: dict[str, list[Make]], *names: str) -> dict[str, list[Make]]:
    return {name: makes for name, makes in right.items() if name not in names}


def image() -> coinr.ImageSignal:
    return coinr.ImageSignal(picture())


def opened(name: str) -> Any:
    return coinr.open_file((folder() / f"{name}.coinr").read_bytes())


@functools.wraps(coinr.encode_state_dicts)
def encode_all(*arguments: Any, **options: Any) -> list[bytes]:
    return list(coinr.encode_state_dicts(*arguments, **options))


def method(make: Make, name: str, **right: list[Make]) -> Public:
    return Public(lambda: getattr(make(), name), right)


def publics() -> dict[str, Public]:
    """Everything public by name."""
    state = [weights, lambda: layer()[0]]
    made: dict[str, Public] = {
        "encode_state_dict": Public(lambda: coinr.encode_state_dict, {"sd": state, **CODEC}, (), ("seeds",), 30),
        "encode_state_dicts": Public(
            lambda: encode_all,
            {"sds": [lambda: [weights()], lambda: iter([layer()[0]])], **CODEC}, ("sds",), ("seeds",), 5
        ),  # fmt: skip
        "decode_state_dict": Public(
            lambda: coinr.decode_state_dict,
            {"blob": BLOB, "base": CODEC["base"], "device": choose("cpu"), "limits": LIMITS},
        ),
        "decode_tensor": Public(
            lambda: coinr.decode_tensor,
            {"blob": BLOB, "name": choose("a.bias"), "base": CODEC["base"], "device": choose("cpu"), "limits": LIMITS},
        ),
        "inspect": Public(
            lambda: coinr.inspect,
            {"blob": BLOB, "original": [lambda: None, weights], "base": CODEC["base"], "limits": LIMITS},
        ),
        "measure_output_error": Public(
            lambda: coinr.measure_output_error,
            {"original": state, "decoded": state, "module": [lambda: layer()[0]], "inputs": [lambda: layer()[1]]},
        ),
        "read_meta": Public(lambda: coinr.read_meta, {"blob": BLOB, "base": CODEC["base"], "limits": LIMITS}),
        "verify": Public(
            lambda: coinr.verify, {"blob": BLOB, "base": CODEC["base"], "limits": LIMITS}
        ),
        "load": Public(
            lambda: coinr.load,
            {"file": [*PATHS, lambda: io.BytesIO(file())], "base": CODEC["base"], "device": choose("cpu"),
             "limits": LIMITS},
        ),
        "open_state_dict": Public(
            lambda: coinr.open_state_dict, {"path": PATHS, "base": CODEC["base"], "limits": LIMITS}
        ),
        "save": Public(
            lambda: coinr.save,
            {"file": [lambda: folder() / "out.coinr", io.BytesIO], "sd": state, "profile": choose("uniform"),
             **without(CODEC, "profile")},
            ("profile",),
            ("seeds",),
        ),  # fmt: skip
        "StateDictDataset": Public(
            lambda: coinr.StateDictDataset,
            {"paths": [lambda: [PATHS[0]()], lambda: []], "transform": choose(None, score), "base": CODEC["base"],
             "limits": LIMITS},
        ),  # fmt: skip
        "search": Public(
            lambda: coinr.search,
            {"sd": state, "evaluate": choose(score), "min_score": choose(-2.0, None), "target_bytes": choose(None, 300),
             "calibrate": CODEC["calibrate"], "thorough": choose(False, True), "seconds": choose(5.0),
             "progress": choose(False),
             **without(CODEC, "target_bytes", "calibrate", "output_error_db", "tolerance", "errors")},
            ("min_score", "seconds", "progress"),
            ("seeds",),
            2,
        ),  # fmt: skip
        "refine of a module": Public(
            lambda: coinr.refine,
            {"sd": [lambda: layer()[0]], "loss_fn": [lambda: layer()[1], lambda: lambda: torch.randn(3, 4)],
             "output_error_db": choose(None, -30.0), "target_bytes": choose(None, 300), "min_score": choose(None, -9.0),
             "evaluate": choose(None, lambda sd: -float(sd["a.bias"].square().mean())), "loss_increase": choose(None),
             "steps": choose(2), "seconds": choose(0.05), "thorough": choose(False),
             "learning_rate": choose(None, 1e-3), "optimizer": choose("adam", "muon"), "progress": choose(False),
             **without(CODEC, "target_bytes", "calibrate", "output_error_db", "tolerance", "errors")},
            ("steps", "seconds", "progress"),
            ("seeds",),
            2,
        ),  # fmt: skip
        "refine": Public(
            lambda: coinr.refine,
            {"sd": state, "loss_fn": choose(loss), "loss_increase": choose(None, 0.1),
             "output_error_db": choose(None), "target_bytes": choose(None, 300), "min_score": choose(None, -1.0),
             "evaluate": choose(None, score),
             "steps": choose(2), "seconds": choose(0.05), "thorough": choose(False),
             "learning_rate": choose(None, 1e-3), "optimizer": choose("adam", "muon"), "progress": choose(False),
             **without(CODEC, "target_bytes", "calibrate", "output_error_db", "tolerance", "errors")},
            ("steps", "seconds", "progress"),
            ("seeds",),
            2,
        ),  # fmt: skip
        "compress": Public(
            lambda: coinr.compress,
            {"signal": [picture, image], "network": TRAIN["network"], "start": [lambda: None, begin],
             "target_bytes": choose(300, None),
             "target_bpp": choose(None, 100.0), "min_score": choose(None, 5.0), "refine": choose(False),
             "thorough": choose(False),
             "steps": choose(2), "time_budget": choose(0.05), "progress": choose(False),
             "profile": choose("direct"),
             "fitting": [lambda: None, lambda: {"batch": 8, "threads": 1}],
             **without(CODEC, "target_bytes", "calibrate", "output_error_db", "tolerance", "errors", "profile")},
            ("target_bytes", "steps", "time_budget", "progress", "profile"),
            ("seeds",),
            2,
        ),  # fmt: skip
        "fit": Public(
            lambda: coinr.fit,
            {"signal": [picture, image], **TRAIN},
            ("width", "steps", "time_budget", "progress", "threads"),
            ("width", "hidden_layers", "batch"),
            8,
        ),
        "fit_many": Public(
            lambda: coinr.fit_many,
            {"signals": [lambda: [picture(), image()]], **TRAIN},
            ("width", "steps", "time_budget", "progress", "threads"),
            ("width", "hidden_layers", "batch"),
            4,
        ),
        "learn_start": Public(
            lambda: coinr.learn_start,
            {"signals": [lambda: [picture(), image()]],
             "network": [lambda: None, lambda: "siren", lambda: siren(2, 3, 4)],
             "method": choose("maml", "reptile", "joint"), "name": choose("start", "a"),
             "signals_per_step": choose(None, 1), "time_budget": choose(0.02),
             "inner_steps": choose(None, 2), "inner_rate": choose(None, 0.1), "first_order": choose(None, False, True),
             **without(TRAIN, "network", "time_budget", "target", "optimizer", "precision", "checkpoint",
                       "checkpoint_every", "start")},
            ("width", "steps", "time_budget", "progress", "threads"),
            ("width", "hidden_layers", "batch"),
            2,
        ),  # fmt: skip
        "open_start": Public(lambda: coinr.open_start, {"file": [lambda: begin().blob], "limits": LIMITS}),
        "Start.network": method(begin, "network"),
        "Start.save": method(begin, "save", path=[lambda: folder() / "out.start.coinr"]),
        "omp": Public(
            lambda: coinr.omp,
            {"W": [lambda: np.ones((2, 4), np.float32)], "dictionary": [lambda: coinr.Dictionary("gaussian", 4, 8, 0)],
             "s": choose(2), "backend": CODEC["backend"], "threads": CODEC["threads"], "exact": choose(False)},
        ),  # fmt: skip
        "Dictionary": Public(
            lambda: coinr.Dictionary,
            {"kind": choose("gaussian"), "n": choose(4), "M": choose(8), "seed": choose(0), "stream": choose(0)},
        ),
        "Limits": Public(lambda: coinr.Limits, {"decoded_bytes": choose(9), "work": choose(9), "tensors": choose(9)}),
        "SparseCode": Public(
            lambda: coinr.SparseCode,
            {"indices": [lambda: np.zeros((1, 2), np.int32)], "values": [lambda: np.zeros((1, 2), np.float32)],
             "path": [lambda: np.zeros((1, 3), np.float32)]},
        ),  # fmt: skip
        "build_network": Public(
            lambda: coinr.build_network,
            {"kind": choose("siren", "nerf"), "config": [lambda: siren(2, 3, 4).config], 
             "generator": [torch.Generator]},
        ),  # fmt: skip
        "load_network": Public(
            lambda: coinr.load_network, {"file": PATHS[1:], "start": TRAIN["start"], "limits": LIMITS}
        ),
        "open_file": Public(lambda: coinr.open_file, {"file": PATHS[1:], "start": TRAIN["start"], "limits": LIMITS}),
        "open_signal": Public(
            lambda: coinr.open_signal,
            {"path": [lambda: folder() / "a.png", lambda: folder() / "a.wav", lambda: folder() / "a.npy"],
             "grid": choose(8), "samples": choose((2, 2)), "near": choose(None, 1.0), "far": choose(None, 2.0)},
        ),  # fmt: skip
        "open_image": Public(
            lambda: coinr.open_image,
            {"blob": [lambda: Path(PATHS[1]()).read_bytes()], "start": TRAIN["start"], "limits": LIMITS},
        ),
        "pack_image": Public(
            lambda: coinr.pack_image,
            {"network": [lambda: siren(2, 3, 4)], "height": choose(4), "width": choose(5), "profile": choose("uniform"),
             "start": [lambda: None, begin],
             **without(CODEC, "profile", "meta")},
            ("profile",),
            ("seeds",),
        ),  # fmt: skip
        "pack_signal": Public(
            lambda: coinr.pack_signal,
            {"network": [lambda: siren(2, 3, 4)], "signal": [image], "profile": choose("uniform"),
             "start": [lambda: None, begin],
             **without(CODEC, "profile", "meta")},
            ("profile",),
            ("seeds",),
        ),  # fmt: skip
        "psnr": Public(lambda: coinr.psnr, {"image": [picture], "other": [picture]}),
        "read_audio": Public(lambda: coinr.read_audio, {"path": [lambda: folder() / "a.wav"]}),
        "read_image": Public(lambda: coinr.read_image, {"path": [lambda: folder() / "a.png"]}),
        "write_audio": Public(
            lambda: coinr.write_audio,
            {"path": [lambda: folder() / "out.wav"], "samples": [lambda: tones(0.01)], "rate": choose(RATE)},
        ),
        "write_image": Public(
            lambda: coinr.write_image, {"path": [lambda: folder() / "out.png"], "image": [picture]}
        ),
        "render_audio": Public(
            lambda: coinr.render_audio,
            {"network": [lambda: siren(1, 1, 4)], "count": choose(9), "exponent": choose(0)},
        ),
        "render_image": Public(
            lambda: coinr.render_image,
            {"network": [lambda: siren(2, 3, 4)], "height": choose(4), "width": choose(5),
             "crop": choose(None, (0, 0, 2, 2)),
             "bits": choose(8, 16)},
        ),  # fmt: skip
        "Siren": Public(lambda: coinr.Siren, SINES),
        "Finer": Public(lambda: coinr.Finer, {**SINES, "first_bias": choose(1.0)}),
        "Gauss": Public(lambda: coinr.Gauss, {**without(SINES, "omega", "first_omega"), "scale": choose(10.0)}),
        "Relu": Public(lambda: coinr.Relu, without(SINES, "omega", "first_omega")),
        "Wire": Public(lambda: coinr.Wire, {**SINES, "scale": choose(10.0)}),
        "Nerf": Public(
            lambda: coinr.Nerf,
            {"depth": choose(2), "width": choose(8), "skip": choose(None, 0), "point_frequencies": choose(2),
             "view_frequencies": choose(1), "fine": choose(True, False), "generator": [torch.Generator]},
            ("depth", "width", "skip"),
        ),  # fmt: skip
        "ImageSignal": Public(lambda: coinr.ImageSignal, {"image": [picture]}),
        "AudioSignal": Public(
            lambda: coinr.AudioSignal, {"samples": [lambda: tones(0.01)], "rate": choose(RATE)}
        ),
        "ShapeSignal": Public(
            lambda: coinr.ShapeSignal,
            {"volume": [lambda: ball(6), lambda: distance(6)], "placement": choose(None, (1.0, 0.0, 0.0, 0.5))},
        ),
        "SceneSignal": Public(
            lambda: coinr.SceneSignal,
            {"images": [lambda: disc_views([0, 90, 180], 6)[0]], "poses": [lambda: disc_views([0, 90, 180], 6)[1]],
             "focal": choose(7.0), "near": choose(None, 2.0), "far": choose(None, 6.0),
             "test_images": [lambda: None, lambda: disc_views([5], 6)[0]],
             "test_poses": [lambda: None, lambda: disc_views([5], 6)[1]],
             "samples": choose((2, 2)), "focal_y": choose(None, 7.0), "center": choose(None, (3.0, 3.0))},
        ),  # fmt: skip
        "baselines.encode": Public(
            lambda: baselines.encode, {"state_dict": state, "method": choose("fp16", "uniform8")}
        ),
        "baselines.decode": Public(
            lambda: baselines.decode,
            {"blob": [lambda: baselines.encode(weights(), "fp16")], "method": choose("fp16"), "like": state},
        ),
        "Dictionary.atoms": method(
            lambda: coinr.Dictionary("gaussian", 4, 8, 0), "atoms", indices=choose([0, 1]), backend=CODEC["backend"]
        ),
        "Dictionary.materialize": method(
            lambda: coinr.Dictionary("gaussian", 4, 8, 0), "materialize", backend=CODEC["backend"]
        ),
        "ImageFile.render": method(
            lambda: opened("image"), "render", height=choose(None, 4), width=choose(None, 5),
            crop=choose(None, (0, 0, 2, 2))
        ),  # fmt: skip
        "AudioFile.render": Public(lambda: opened("audio").render, {"rate": choose(None, RATE)}, (), ("rate",)),
        "ShapeFile.render": method(lambda: opened("shape"), "render", longest=choose(None, 5)),
        "ShapeFile.field": method(lambda: opened("shape"), "field", longest=choose(None, 5)),
        "ShapeFile.mesh": method(lambda: opened("shape"), "mesh", longest=choose(None, 5)),
        "SceneFile.render": method(
            lambda: opened("scene"), "render", azimuths=choose([0.0, 90.0]), size=choose(None, (3, 3))
        ),
    }  # fmt: skip
    for name in ("image", "audio", "shape", "scene"):
        signal = [lambda name=name: signals()[name][1]]
        for what in ("restore", "metrics", "panels", "remarks"):
            right = {"signal": signal} if what != "remarks" else {}
            if what != "restore":
                right["restored"] = [lambda name=name: opened(name).restore(signals()[name][1])]
            public = Public(lambda name=name, what=what: getattr(opened(name), what), right, tuple(right)[:1])
            made[f"{name.title()}File.{what}"] = public
        network = type(signals()[name][0])
        made[f"{name.title()}File.from_meta"] = method(
            lambda name=name: type(opened(name)),
            "from_meta",
            network=[lambda name=name: signals()[name][0]],
            meta=[lambda name=name: coinr.read_meta((folder() / f"{name}.coinr").read_bytes())],
        )
        made[f"{network.__name__}.from_state_dict of {name}"] = method(
            lambda network=network: network,
            "from_state_dict",
            state_dict=[lambda name=name: signals()[name][0].state_dict()],
        )
    return made


def wrong_values(endless: bool) -> Iterator[Make]:
    """The values of :data:`WRONG`, without those that are right and take long."""
    for make in WRONG:
        value = make()
        if not (endless and isinstance(value, int) and value in LARGE):
            yield make


# What takes the place of words of a command; outputs stay in the folder that is worked in.
WORDS = [
    *("", " ", "x", "0", "1", "-1", "2", "1.5", "nan", "inf", "-inf", "1e309", "1e-309", "9" * 30, "-" + "9" * 30),
    *("1,2", "2,2,2", ",", "1x1", "0x0", "3x-1", "x3", "0,0,1,1", "0,0,0,0", "-1,0,2,2", "1,1", "true", "None", "auto"),
    *(
        "a=b",
        "=",
        "bits=x",
        "bits=3",
        "M=0",
        "kind=",
        "cpu",
        "cuda:99",
        "meta",
        "siren",
        "muon",
        "uniform",
        "reference",
    ),
    *("ü", "a" * 300, "*", "[", "../x/y/z", ".", "/", "/nonexistent/x.png", "/dev/null", "a.png", "a.wav", "a.npy"),
    *("a.pt", "a.coinr", "image.coinr", "audio.coinr", "shape.coinr", "scene.coinr", "text.txt", "empty", "new.coinr"),
    *("new.png", "new.wav", "new.npy", "new.safetensors", "new.gif", "new.stl", "new"),
    *("a.start.coinr", "new.start.coinr", "maml", "joint"),
]

# Words of a right call of each command.
COMMANDS: dict[str, list[list[str]]] = {
    "encode": [["a.png", "-o", "new.coinr"], ["a.wav", "-o", "new.coinr"], ["a.npy", "-o", "new.coinr"]],
    "learn-start": [["a.png", "-o", "new.start.coinr", "--steps", "2", "--width", "4"]],
    "decode": [["image.coinr", "-o", "new.png"], ["audio.coinr", "-o", "new.wav"], ["shape.coinr", "-o", "new.stl"]],
    "compare": [["a.png", "image.coinr"]],
    "preview": [["image.coinr", "-o", "new.png"]],
    "pack": [["a.pt", "-o", "new.coinr"]],
    "unpack": [["a.coinr", "-o", "new.safetensors"]],
    "info": [["a.coinr"], ["image.coinr"]],
    "verify": [["a.coinr"]],
}

# Keeps a fit short.
SHORT = {
    "encode": ["--steps", "2", "--time-budget", "0.05", "--threads", "1", "--profile", "uniform"],
    "learn-start": ["--steps", "2", "--time-budget", "0.05", "--threads", "1", "--width", "4"],
}
