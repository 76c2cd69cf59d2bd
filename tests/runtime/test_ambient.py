"""Results do not depend on settings that a caller made before, and those are as they were afterwards."""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import inspect
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

import coinr
from coinr.meta.options import METHODS
from coinr.runtime.ambient import callers_settings, own_settings
from coinr.runtime.denormals import denormals_as_zeros, flushes_denormals
from coinr.signals.metrics import image_metrics
from tests.grids import fast_where
from tests.small_starts import start

PICTURE = (np.indices((12, 10)).sum(0) * 9 % 256).astype(np.uint8)
SMALL = {"width": 8, "hidden_layers": 1, "steps": 6, "progress": False}


@functools.cache
def _network(kind: str = "siren", **config: Any) -> nn.Module:
    sizes = {"in_features": 2, "out_features": 1, "width": 8, "hidden_layers": 1}
    return coinr.build_network(kind, {**sizes, **config}, torch.Generator().manual_seed(1))


def network(kind: str = "siren", **config: Any) -> nn.Module:
    """An untrained network."""
    return copy.deepcopy(_network(kind, **config))


@functools.cache
def nerf() -> nn.Module:
    config = {"depth": 2, "width": 8, "point_frequencies": 2, "view_frequencies": 1}
    return coinr.build_network("nerf", config, torch.Generator().manual_seed(1))


def scene() -> coinr.SceneSignal:
    poses = np.tile(np.eye(4, dtype=np.float32), (4, 1, 1))
    poses[:, :3, 3] = [[0, 0, 4], [0.3, 0, 4], [0, 0.3, 4], [0.3, 0.3, 4.1]]
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (4, 5, 4, 3), dtype=np.uint8)
    return coinr.SceneSignal(images, poses, 4.0, 2.0, 6.0, samples=(4, 4))


def sound() -> coinr.AudioSignal:
    return coinr.AudioSignal(np.sin(np.arange(200) / 9).astype(np.float32) / 2, 8000)


def shape() -> coinr.ShapeSignal:
    x, y, z = np.indices((6, 7, 8))
    return coinr.ShapeSignal((x - 3) ** 2 + (y - 3) ** 2 + (z - 4) ** 2 < 8)


STATE = {name: tensor.clone() for name, tensor in network("siren").state_dict().items()}
WEIGHTS = STATE | {"tiny": torch.full((4,), 1e-41), "wide": torch.linspace(-1, 1, 12, dtype=torch.float64)}
POINTS = torch.rand(200, 2, generator=torch.Generator().manual_seed(2)) * 2 - 1
VALUES = torch.sin(5 * POINTS[:, :1] - POINTS[:, 1:])


def predicted(state_dict: Any) -> torch.Tensor:
    return functional_call(_network("siren"), dict(state_dict), (POINTS,))


def quality(state_dict: Any) -> float:
    """A metric of the caller's, which says itself how it computes."""
    with own_settings(), torch.no_grad():
        return -float((predicted(state_dict) - VALUES).square().mean())


def loss(state_dict: Any) -> torch.Tensor:
    with torch.autocast("cpu", enabled=False):
        return (predicted(state_dict) - VALUES).square().mean()


def _encode(**options: Any) -> bytes:
    return coinr.encode_state_dict(WEIGHTS, 3, **options)


BLOB = _encode(tolerance=0.05)
SIGNAL_BLOBS = [
    coinr.pack_signal(network(), coinr.ImageSignal(PICTURE)),
    coinr.pack_signal(network("siren", in_features=1), sound()),
    coinr.pack_signal(network("siren", in_features=3), shape()),
    coinr.pack_signal(nerf(), scene()),
]


def _fitted(signal: Any, **options: Any) -> list[Any]:
    fitted = coinr.fit(signal, **{**SMALL, **options})
    return [fitted.score, fitted.history, *fitted.network.state_dict().values()]


def _learned(method: str, signals: Any = (PICTURE, PICTURE[::-1])) -> bytes:
    return coinr.learn_start(signals, method=method, **SMALL | {"steps": 2}).blob


BEGIN = start(network())


def _opened(k: int) -> Any:
    file = coinr.open_file(SIGNAL_BLOBS[k])
    return [file.restore(), *file.network.state_dict().values()]


def _found(result: coinr.SearchResult) -> list[Any]:
    return [result.blob, result.score, result.curve]


def _pursued(backend: str) -> dict[str, Any]:
    return vars(coinr.omp(VALUES.reshape(-1, 8), coinr.Dictionary("hadamard", 8, 64, 0), 3, backend=backend))


def _refined(**options: Any) -> bytes:
    return coinr.refine(STATE, loss, steps=5, profile="sparse", **options).blob


def _rendered(kind: str) -> Any:
    return coinr.render_image(network(kind, **KINDS[kind]), 9, 7)


OWN = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

KINDS: dict[str, Any] = {"finer": {}, "gauss": {}, "wire": {}, "relu": {"frequencies": 3}}

PROFILES = ("auto", "direct", "sparse", "paper", "uniform", "lossless")

CALLS: dict[str, Callable[[], Any]] = {
    **{f"encode {profile}": functools.partial(_encode, profile=profile) for profile in PROFILES},
    "encode calibrated": lambda: _encode(calibrate=(network(), POINTS[:20]), tolerance=0.1),
    "encode given inputs": lambda: _encode(calibrate=lambda: {"layers.1.weight": POINTS.repeat(1, 4)}, tolerance=0.1),
    "encode base": lambda: coinr.encode_state_dict(STATE, base={k: v * 1.01 for k, v in STATE.items()}, tolerance=0.1),
    "encode size": lambda: coinr.encode_state_dict(STATE, target_bytes=250),
    "decode": lambda: list(coinr.decode_state_dict(BLOB).values()),
    "decode one": lambda: coinr.decode_tensor(BLOB, "tiny"),
    "verify": lambda: (coinr.verify(BLOB).to_dict(), coinr.inspect(BLOB).to_dict(), coinr.read_meta(BLOB)),
    "omp": lambda: _pursued("native"),
    "omp reference": lambda: _pursued("reference"),
    "atoms": lambda: coinr.Dictionary("rademacher", 8, 64, 0).materialize(),
    "search": lambda: _found(coinr.search(STATE, quality, target_bytes=250)),
    "refine": _refined,
    "refine soap": lambda: _refined(evaluate=quality, optimizer="soap"),
    **{f"fit {name}": functools.partial(_fitted, PICTURE, optimizer=name) for name in ("adam", "muon", "soap")},
    **{f"fit {kind}": functools.partial(_fitted, PICTURE, network=kind) for kind in KINDS},
    "fit sound": lambda: _fitted(sound()),
    "fit shape": lambda: _fitted(shape()),
    "fit scene": lambda: _fitted(scene()),
    "fit module": lambda: _fitted(PICTURE, network=network(), width=None, hidden_layers=None),
    "fit many": lambda: [fit.score for fit in coinr.fit_many([PICTURE, PICTURE[::2].copy()], **SMALL)],
    **{f"learn {method}": functools.partial(_learned, method) for method in METHODS},
    "learn of a scene": lambda: _learned("maml", [scene()]),
    "start": lambda: [BEGIN.hash, *BEGIN.rates.values(), *BEGIN.network().state_dict().values()],
    "fit from a start": lambda: _fitted(PICTURE, start=BEGIN, width=None, hidden_layers=None),
    "pack relative to a start": lambda: coinr.pack_image(BEGIN.network(), 9, 7, start=BEGIN),
    "compress": lambda: coinr.compress(PICTURE, target_bytes=180, steps=2, progress=False).blob,
    "pack": lambda: coinr.pack_signal(network(), coinr.ImageSignal(PICTURE)),
    "open image": lambda: _opened(0),
    "open sound": lambda: _opened(1),
    "open shape": lambda: _opened(2),
    "open scene": lambda: _opened(3),
    "load": lambda: list(coinr.load_network(SIGNAL_BLOBS[0]).state_dict().values()),
    **{f"render {kind}": functools.partial(_rendered, kind) for kind in KINDS},
    "render own": lambda: coinr.render_image(OWN, 9, 7),
    "render sound": lambda: coinr.render_audio(network(in_features=1), 50),
    "metrics": lambda: image_metrics(np.tile(PICTURE, (15, 18)), np.tile(PICTURE[::-1], (15, 18))),
    "psnr": lambda: coinr.psnr(PICTURE, PICTURE[::-1].copy()),
}


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
        assert torch.get_default_device() == torch.device(device)
    finally:
        torch.set_default_device(None)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
        seen: list[int] = []
        fresh = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        fresh.start()
        fresh.join()
        assert [torch.get_num_threads(), *seen] == [count, count]
    finally:
        torch.set_num_threads(before)


@contextmanager
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def _products(precision: str) -> Iterator[None]:
    torch.set_float32_matmul_precision(precision)
    try:
        yield
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")


@contextmanager
def _warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextmanager
def _all_of(*settings: AbstractContextManager[Any]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for setting in settings:
            stack.enter_context(setting)
        yield


#: Each holds what does not hide another's effect.
AMBIENTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "half, no gradients, autocast": lambda: _all_of(
        _default_dtype(torch.float16), torch.no_grad(), torch.autocast("cpu", torch.bfloat16), np.errstate(all="raise")
    ),
    "double, inference, meta": lambda: _all_of(
        _default_dtype(torch.float64), torch.inference_mode(), _default_device("meta"), _warnings(), _products("medium")
    ),
    "bfloat16, in meta, denormals, two threads": lambda: _all_of(
        _default_dtype(torch.bfloat16), torch.device("meta"), denormals_as_zeros(), _threads(2), _deterministic()
    ),
}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.device == other.device and torch.equal(one.detach(), other.detach())
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return bool(one == other)


def _state() -> dict[str, Any]:
    """All settings that a thread or the process has."""
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "denormals": flushes_denormals(),
        "threads": torch.get_num_threads(),
        "errors": np.geterr(),
        "precision": torch.get_float32_matmul_precision(),
        "torch": torch.random.get_rng_state().tolist(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
    }


@pytest.fixture(scope="module")
def outside() -> dict[str, Any]:
    return {name: call() for name, call in CALLS.items()}


@pytest.mark.parametrize("ambient", fast_where(lambda ambient: "autocast" in ambient, AMBIENTS))
def test_results_do_not_depend_on_settings_of_the_caller(outside, ambient):
    wrong = {}
    with AMBIENTS[ambient]():
        before = _state()
        for name, call in CALLS.items():
            try:
                result = call()
            except Exception as error:
                wrong[name] = f"{type(error).__name__}: {str(error)[:150]}"
                continue
            if not _same(outside[name], result):
                wrong[name] = "another result"
            if _state() != before:
                wrong[name] = f"changed {[key for key, value in _state().items() if value != before[key]]}"
    assert not wrong


PUBLIC = [value for value in (getattr(coinr, name) for name in coinr.__all__) if inspect.isfunction(value)]


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__name__)
def test_public_functions_have_settings_of_their_own(function):
    """But for what makes networks, which are on the default device as all modules of torch are."""
    wrapped = function.__code__.co_name == "under_own_settings"
    assert wrapped != (function is coinr.build_network)


FACTORIES = {"zeros", "ones", "empty", "full", "rand", "randn", "eye", "linspace", "logspace", "tensor"}


def test_every_tensor_is_made_of_a_dtype_that_is_named():
    """The default dtype is the caller's, and shared by all threads."""
    package = Path(coinr.__file__).parent
    made = {f"torch.{name}" for name in FACTORIES}
    unnamed = [
        f"{path.name}:{call.lineno}: {ast.unparse(call)}"
        for path in [*package.rglob("*.py"), *package.with_name("kernels").glob("*.py")]
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in made
        and "dtype" not in {keyword.arg for keyword in call.keywords}
    ]
    assert not unnamed


def test_networks_are_made_on_the_default_device_with_equal_weights():
    with torch.device("meta"):
        assert next(network().parameters()).device.type == "cpu"
        assert next(coinr.Siren(2, 1, 4, 1).parameters()).is_meta
    with _default_dtype(torch.float64):
        for kind in ("siren", "finer", "gauss", "wire", "relu"):
            made = coinr.build_network(kind, _network(kind).config, torch.Generator().manual_seed(1)).state_dict()
            assert _same(dict(made), dict(_network(kind).state_dict()))


class Seen(Exception):
    pass


@contextmanager
def _callers() -> Iterator[None]:
    ambients = (
        torch.autocast("cpu", torch.bfloat16), _default_device("meta"), np.errstate(all="raise"), _products("high"),
        denormals_as_zeros(), torch.no_grad(),
    )  # fmt: skip
    with _all_of(*ambients):
        yield


def test_a_metric_runs_under_the_callers_settings():
    found = []

    def evaluate(state_dict):
        found.append(_state())
        assert all(tensor.device.type == "cpu" for tensor in state_dict.values())
        return quality(state_dict)

    with _callers():
        before = _state()
        coinr.search(STATE, evaluate, target_bytes=250, profile="uniform")
        assert before == _state()
    assert len(found) > 1
    assert all(state == before for state in found)


def test_a_loss_runs_under_the_callers_settings_with_gradients():
    found = []

    def watched(state_dict):
        found.append(_state())
        return loss(state_dict)

    with _callers():
        before = _state()
        coinr.refine(STATE, watched, steps=2, profile="sparse")
    ours = {"gradients": True, "denormals": True}
    assert any(state["gradients"] for state in found)
    assert all(state | ours == before | ours for state in found)


def test_a_metric_that_raises_leaves_settings_as_they_were():
    def evaluate(state_dict):
        raise Seen

    with _callers():
        before = _state()
        with pytest.raises(Seen):
            coinr.search(STATE, evaluate, target_bytes=250)
        assert before == _state()


def test_a_public_function_that_a_metric_calls_has_settings_of_its_own():
    blob = coinr.encode_state_dict(STATE)
    expected = coinr.render_image(_network(), 5, 4)

    def evaluate(state_dict):
        with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
            assert not coinr.decode_tensor(blob, "layers.0.bias").is_inference()
            assert np.array_equal(coinr.render_image(_network(), 5, 4), expected)
        raise Seen

    with torch.autocast("cpu", torch.bfloat16), pytest.raises(Seen):
        coinr.search(STATE, evaluate, target_bytes=250)


def test_weights_that_change_are_cast_anew_under_autocast():
    """autocast keeps the bfloat16 copies of a network's weights as long as it is on."""
    module = network()
    scores = []

    def evaluate(state_dict):
        module.load_state_dict(state_dict)
        scores.append(float(module(POINTS).sum().detach()))
        return scores[-1]

    with torch.autocast("cpu", torch.bfloat16):
        coinr.search({name: 2 * tensor for name, tensor in STATE.items()}, evaluate, target_bytes=150)
        assert len(set(scores)) > 1
        found = coinr.fit(PICTURE, module, steps=3, progress=False).network
        after = module(POINTS)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(after, found(POINTS))


def test_a_network_made_in_inference_mode_is_fitted():
    with torch.inference_mode():
        module = network("wire")
        fitted = coinr.fit(PICTURE, module, steps=3, progress=False)
    outside = coinr.fit(PICTURE, network("wire"), steps=3, progress=False)
    assert fitted.network is module
    assert _same(dict(module.state_dict()), dict(outside.network.state_dict()))


def test_tensors_made_in_inference_mode_are_taken():
    with torch.inference_mode():
        state = {name: tensor.clone() for name, tensor in STATE.items()}
        points = POINTS.clone()
    assert coinr.encode_state_dict(state) == coinr.encode_state_dict(STATE)
    found, expected = (coinr.search(sd, quality, target_bytes=250) for sd in (state, STATE))
    assert found.blob == expected.blob
    found, expected = (coinr.refine(sd, loss, steps=3, profile="sparse") for sd in (state, STATE))
    assert found.blob == expected.blob
    found, expected = (_encode(calibrate=(network(), x[:20]), tolerance=0.1) for x in (points, POINTS))
    assert found == expected


def test_a_metric_in_inference_mode_is_recorded_as_any_other():
    def evaluate(state_dict):
        with torch.inference_mode():
            total = torch.zeros(())
            total += (predicted(state_dict) - VALUES).square().mean()
            return -total

    assert coinr.search(STATE, evaluate, target_bytes=250).blob == coinr.search(STATE, quality, target_bytes=250).blob


def test_settings_of_the_process_come_back_when_the_last_thread_is_done():
    entered, leave = threading.Barrier(3), threading.Event()

    def work():
        with own_settings():
            entered.wait()
            leave.wait()

    def whole() -> bool:
        matmul = torch.backends.mkldnn.matmul
        return not hasattr(matmul, "fp32_precision") or matmul.fp32_precision == "ieee"

    with _products("medium"):
        threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        entered.wait()
        within = [whole()]
        with own_settings(), callers_settings():
            within.append(whole())
        leave.set()
        for thread in threads:
            thread.join()
    assert all(within)
