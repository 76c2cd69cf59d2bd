"""Backends of the heavy operations: ``triton`` (CUDA), ``native`` (C++) and ``reference`` (NumPy).

The backend is chosen once per call, without a fallback: an argument has priority over the environment variable
``COINR_BACKEND``, and that over the default (``triton`` for CUDA tensors, ``native`` otherwise). All three
decode to identical weights; supports of a pursuit differ only where two correlations tie within rounding.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from coinr.engine import philox
from coinr.engine.reference_omp import reference_omp
from coinr.engine.seeded_dictionary import SeededDictionary
from coinr.engine.threads import available_threads
from coinr.errors import BackendError, InputError

if TYPE_CHECKING:
    import torch

#: Indices, values and path of a pursuit.
Pursuit = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]


class Backend(Protocol):
    """Define the operations of every backend, on validated input."""

    name: str

    def describe(self) -> str:
        """Return one line that says what the backend runs on."""
        ...

    def omp(self, W: torch.Tensor, dictionary: SeededDictionary, s: int, threads: int | None, exact: bool) -> Pursuit:
        """Return indices int32 ``[B, s]``, values ``[B, s]``, path ``[B, s + 1]`` on the device of W."""
        ...

    def synthesize(
        self,
        indices: NDArray[np.int32],
        q: NDArray[np.int32],
        step: float,
        dictionary: SeededDictionary,
    ) -> NDArray[np.float32]:
        """Return float32(Σ_k q_k A[:, j_k]) · step, the sum in integers: float32 ``[B, n]``."""
        ...


class HostBackend(Backend, Protocol):
    """Define a backend that also computes dictionary entries in host memory."""

    def entries(self, dictionary: SeededDictionary, indices: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return the entries of the given atoms: int8 ``[k, n]``."""
        ...


class Reference:
    """Run in NumPy, as plainly as possible; the other backends must agree."""

    name = "reference"

    def describe(self) -> str:
        return f"NumPy {np.__version__}"

    def entries(self, dictionary: SeededDictionary, indices: NDArray[np.int64]) -> NDArray[np.int8]:
        return philox.entries(dictionary.kind, dictionary.n, dictionary.seed, dictionary.stream, indices)

    def omp(self, W: torch.Tensor, dictionary: SeededDictionary, s: int, threads: int | None, exact: bool) -> Pursuit:
        parts = reference_omp(W.cpu().numpy(), dictionary, s)
        return tuple(_as_tensor(part).to(W.device) for part in parts)  # type: ignore[return-value]

    def synthesize(
        self,
        indices: NDArray[np.int32],
        q: NDArray[np.int32],
        step: float,
        dictionary: SeededDictionary,
    ) -> NDArray[np.float32]:
        out = np.empty((len(indices), dictionary.n), np.float32)
        for b, (js, weights) in enumerate(zip(indices, q, strict=True)):
            total = weights.astype(np.int64) @ self.entries(dictionary, js.astype(np.int64)).astype(np.int64)
            out[b] = total.astype(np.float32) * np.float32(step)
        return out


class Native:
    """Run in the C++ extension."""

    name = "native"

    def __init__(self) -> None:
        from coinr.engine import _C

        self.extension: Any = _C

    def describe(self) -> str:
        return f"C++, {self.extension.simd_level()}, {available_threads()} threads"

    def entries(self, dictionary: SeededDictionary, indices: NDArray[np.int64]) -> NDArray[np.int8]:
        kind, n, M, seed, stream = _fields(dictionary)
        atoms: NDArray[np.int8] = self.extension.entries(kind, n, M, seed, stream, indices, available_threads())
        return atoms

    def omp(self, W: torch.Tensor, dictionary: SeededDictionary, s: int, threads: int | None, exact: bool) -> Pursuit:
        kind, _, M, seed, stream = _fields(dictionary)
        host = np.ascontiguousarray(W.cpu().numpy(), np.float32)
        parts = self.extension.omp(host, kind, M, seed, stream, s, available_threads(threads), exact)
        return tuple(_as_tensor(part).to(W.device) for part in parts)  # type: ignore[return-value]

    def synthesize(
        self,
        indices: NDArray[np.int32],
        q: NDArray[np.int32],
        step: float,
        dictionary: SeededDictionary,
    ) -> NDArray[np.float32]:
        kind, n, M, seed, stream = _fields(dictionary)
        weights: NDArray[np.float32] = self.extension.synthesize(
            indices, q, step, kind, n, M, seed, stream, available_threads()
        )
        return weights


class Triton:
    """Run Triton kernels, on CUDA or in Triton's interpreter."""

    name = "triton"

    def __init__(self) -> None:
        self.kernels: Any = import_module("coinr.kernels")
        usable, reason = self.kernels.available()
        if not usable:
            raise RuntimeError(reason)

    def describe(self) -> str:
        detail: str = self.kernels.available()[1]
        return detail

    def omp(self, W: torch.Tensor, dictionary: SeededDictionary, s: int, threads: int | None, exact: bool) -> Pursuit:
        d = dictionary
        vectors = W.to(self.kernels.device()).float().contiguous()
        indices, values, path = self.kernels.omp(vectors, d.kind, d.M, d.seed, d.stream, s)
        return indices.to(W.device), values.to(W.device), path.to(W.device)

    def synthesize(
        self,
        indices: NDArray[np.int32],
        q: NDArray[np.int32],
        step: float,
        dictionary: SeededDictionary,
    ) -> NDArray[np.float32]:
        d, here = dictionary, self.kernels.device()
        support, integers = (_as_tensor(part).to(here) for part in (indices, q))
        weights = self.kernels.synthesize(support, integers, step, d.kind, d.n, d.M, d.seed, d.stream)
        made: NDArray[np.float32] = weights.cpu().numpy()
        return made


def _as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return an array as a tensor, whose memory it shares. Torch is loaded where a pursuit needs it."""
    import torch

    return torch.from_numpy(array)


_BACKENDS: dict[str, type] = {"reference": Reference, "native": Native, "triton": Triton}


@cache
def _load(name: str) -> Any:
    try:
        return _BACKENDS[name]()
    except (ImportError, RuntimeError) as cause:
        raise BackendError(f"backend {name!r} cannot run here: {cause}") from cause


def select(name: str | None = None, device: str = "cpu") -> Backend:
    """Return the backend for tensors on a kind of device, such as ``"cuda"``; the module's docstring says which."""
    default = "triton" if device == "cuda" else "native"
    backend: Backend = _load(_named(name, default))
    return backend


def _named(name: str | None, default: str) -> str:
    """Return the name of the backend that the caller or the environment requests, else the default."""
    requested = name or os.environ.get("COINR_BACKEND")
    if requested and requested not in _BACKENDS:
        raise InputError(f"{'backend' if name else 'COINR_BACKEND'} {requested!r} is not one of {', '.join(_BACKENDS)}")
    return requested or default


def host_backend(name: str | None = None) -> HostBackend:
    """Return the backend for dictionary entries in host memory: ``native``, or ``reference`` if that is requested."""
    chosen = _named(name, "native")
    backend: HostBackend = _load("native" if chosen == "triton" else chosen)
    return backend


def backends() -> list[dict[str, str | bool]]:
    """List every backend: whether it is usable, what it runs on or why it cannot, whether CPU tensors use it."""
    rows: list[dict[str, str | bool]] = []
    default = _named(None, "native")
    for name in _BACKENDS:
        try:
            usable, detail = True, _load(name).describe()
        except BackendError as error:
            usable, detail = False, str(error.__cause__ or error)
        rows.append({"backend": name, "usable": usable, "detail": detail, "default": name == default})
    return rows


def _fields(dictionary: SeededDictionary) -> tuple[int, int, int, int, int]:
    return philox.KINDS[dictionary.kind], dictionary.n, dictionary.M, dictionary.seed, dictionary.stream
