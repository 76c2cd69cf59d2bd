"""What the tests of hostile input share: files to damage, how a case is evaluated, and the count of outcomes."""

from __future__ import annotations

import copy
import math
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import coinr
from coinr.errors import CoinrError

from .forge import Forgery, Row, take_apart, varint
from .round_trip import bits

LIMITS = coinr.Limits(decoded_bytes=16 << 20, work=1 << 26)
SECONDS = 1.0
YARDSTICK_SECONDS = 0.05
EXTRA_BYTES = 256 << 20

GAUSSIAN, RADEMACHER, HADAMARD = 1, 2, 3
TRANSPOSED, SORTED = 4, 8
LOSSLESS, UNIFORM, DICTIONARY = 0, 1 << 5, 2 << 5
DIRECT, SPARSE, EXACT, DIFFERENCE = 3 << 5, 4 << 5, 5 << 5, 6 << 5
SAME = 255
FLOAT32, BOOL, UINT8 = 0, 6, 7
STATISTICS = "statistics.table"


def pack(values: list[int], width: int) -> bytes:
    """``width`` bits each, least significant bit first, zero padded to whole bytes."""
    spread = np.array(values, np.uint64)[:, None] >> np.arange(width, dtype=np.uint64) & np.uint64(1)
    return np.packbits(spread.astype(np.uint8).reshape(-1), bitorder="little").tobytes()


def dictionary_row(
    name: bytes, kind: int, shape: list[int], n: int, M: int, s: int, bits_: int = 6, stream: int = 0, flags: int = 0
) -> Row:
    """A float32 tensor coded in a dictionary: every index and value made up, indices in ⌈log₂ M⌉ bits."""
    count = -(-math.prod(shape) // n) * s
    indices = pack([(7 * i + 3) % M for i in range(count)], max(1, (M - 1).bit_length()))
    symbols = b"\0" + pack([(5 * i + 1) % (2**bits_ - 1) for i in range(count)], bits_)
    payload = struct.pack("<f", 0.01) + varint(len(indices)) + indices + symbols
    return Row(0, name, DICTIONARY | FLOAT32, shape, [kind | flags, bits_, n, M, s, stream], payload=payload)


def lossless_row(name: bytes, data: bytes, dtype: int = UINT8, shape: list[int] | None = None, mode: int = 0) -> Row:
    """A tensor of raw bytes, uint8 ``[len(data)]`` unless said otherwise; mode 0 is raw, 1 is Brotli."""
    return Row(0, name, LOSSLESS | dtype, [len(data)] if shape is None else shape, payload=bytes([mode]) + data)


def uniform_row(name: bytes, symbols: list[int], bits_: int, step: float = 0.5, shape: list[int] | None = None) -> Row:
    """A float32 tensor of packed ``bits_``-bit symbols (before the offset is taken off)."""
    payload = struct.pack("<f", step) + b"\0" + pack(symbols, bits_)
    return Row(0, name, UNIFORM | FLOAT32, [len(symbols)] if shape is None else shape, [bits_], payload=payload)


@cache
def base() -> dict[str, Tensor]:
    """The network that ``relative`` is relative to, and ``shared`` has its table from; every reader is given it."""
    g = torch.Generator().manual_seed(2)
    made: dict[str, Tensor] = {
        name: torch.randn(16, 12, generator=g) for name in ("direct", "uniform", "dense", "same")
    }
    made |= {
        "complex": torch.randn(5, 4, generator=g, dtype=torch.complex64),
        "half": torch.randn(9, generator=g).half(),
    }
    statistics = (torch.arange(120) % 7).to(torch.uint8).reshape(3, 40)
    return made | {"steps": torch.arange(40), STATISTICS: statistics}


def same_row(name: str, dtype: int = FLOAT32) -> Row:
    """A tensor that the base has."""
    return Row(0, name.encode(), DIFFERENCE | dtype, list(base()[name].shape), [SAME])


def difference_file() -> Forgery:
    """A file with differences by several coders, which may be changed."""
    return copy.deepcopy(_difference_file())


def _near_base() -> dict[str, Tensor]:
    """Tensors near those of the base, in another order."""
    near = {
        name: tensor + 0.3 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(3), dtype=tensor.dtype)
        for name, tensor in base().items()
        if name not in ("same", "steps", STATISTICS)
    }
    return near | {name: base()[name] for name in ("same", "steps")}


def shared_file() -> Forgery:
    """A file whose table is shared with the base, which may be changed."""
    return take_apart(corpus()["shared"], base())


@cache
def _difference_file() -> Forgery:
    near = _near_base()
    forgery = take_apart(coinr.encode_state_dict(near, base=base(), profile="direct"))
    for profile in ("uniform", "sparse"):
        other = take_apart(coinr.encode_state_dict(near, base=base(), profile=profile))
        name = {"uniform": b"uniform", "sparse": b"dense"}[profile]
        rows = [next(row for row in file.rows if row.rest == name) for file in (forgery, other)]
        rows[0].code, rows[0].params, rows[0].payload = rows[1].code, rows[1].params, rows[1].payload
    assert {row.code >> 5 for row in forgery.rows} == {DIFFERENCE >> 5}
    return forgery


@cache
def corpus() -> dict[str, bytes]:
    """Small honest files that between them use every coder, mode, dtype class and header form."""
    g = torch.Generator().manual_seed(1)

    def weights(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g) * 0.1

    sparse: dict[str, Any] = {"profile": "paper", "M": 512, "s": 6}
    layers = {"net.0.weight": weights(16, 2), "net.0.bias": weights(16), "net.1.weight": weights(40, 40)}
    mixed = {
        "steps": torch.tensor(77),
        "mask": torch.rand(5, 7, generator=g) < 0.5,
        "empty": torch.zeros(0, 3),
        "double": weights(9).double(),
        "half": weights(4, 4).half(),
        "broken": torch.tensor([math.nan, math.inf]),
    }
    tied = weights(12, 12)
    large = {
        "noise": torch.randint(0, 256, (5000,), generator=g, dtype=torch.uint8),
        "w": weights(64, 64),
        "b": weights(64),
    }
    complex_ = {"z": torch.complex(weights(20, 20), weights(20, 20)), "omega_0": torch.tensor([30.0])}
    fine = {
        "f": weights(6, 7),
        "h": weights(9).half(),
        "z": torch.complex(weights(4, 3), weights(4, 3)),
        "i": torch.arange(50),
        "c": torch.randint(-9, 9, (7, 7), generator=g, dtype=torch.int8),
        "m": torch.rand(8, 8, generator=g) < 0.1,
    }
    sorted_ = {"0.weight": weights(40, 2), "0.bias": weights(40).sort()[0], "1.weight": weights(12, 40)}
    sorted_ |= {"1.bias": weights(12).abs().sort()[0]}
    many = {f"module.layers.{i}.weight": torch.tensor([float(i)]) for i in range(60)}
    rows = [
        dictionary_row(b"hadamard", HADAMARD, [7, 9], 21, 64, 5),
        dictionary_row(b"rademacher", RADEMACHER, [10, 6], 10, 300, 4, flags=TRANSPOSED),
        dictionary_row(b"padded", GAUSSIAN, [50], 16, 1, 1, stream=2**32 - 1),
        dictionary_row(b"all", HADAMARD, [8], 8, 8, 8, bits_=16),
    ]
    return {
        "paper": coinr.encode_state_dict(layers, **sparse),
        "uniform": coinr.encode_state_dict(layers, profile="uniform", tolerance=1e-3),
        "mixed": coinr.encode_state_dict(mixed, nonfinite="lossless", **sparse),
        "tied": coinr.encode_state_dict({"größe": tied, "b": weights(3), "again": tied}, **sparse),
        "large": coinr.encode_state_dict(large, **sparse),
        "complex": coinr.encode_state_dict(complex_, **sparse),
        "many": coinr.encode_state_dict(many),
        "meta": coinr.encode_state_dict({"w": weights(3)}, meta={"model": "siren", "omega": 30.0}),
        "empty": coinr.encode_state_dict({}),
        "direct": coinr.encode_state_dict(layers, profile="direct"),
        "auto": coinr.encode_state_dict(complex_ | {"steps": torch.tensor(7)}),
        "sparse": coinr.encode_state_dict(layers, profile="sparse", tolerance=5.0, form="sparse", M=512, beam=1),
        "dense": coinr.encode_state_dict(layers, profile="sparse", form="dense"),
        "exact": coinr.encode_state_dict(fine, profile="lossless"),
        "relative": difference_file().emit(),
        "shared": coinr.encode_state_dict(
            {name: _near_base()[name] for name in base() if name != STATISTICS}, base=base(), meta={"siren": 30}
        ),
        "ascending": coinr.encode_state_dict(sorted_, profile="direct"),
        "kinds": Forgery(rows, seed=2**64 - 1).emit(),
    }


def _peak() -> int:
    """Largest resident size since the last reset, bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def _reset_peak() -> int:
    """Set the largest resident size back to the present one and return it."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _slowness() -> float:
    """How many times as long as on the machine that SECONDS is meant for plain Python takes here and now."""
    start = time.process_time()
    total = 0
    for k in range(1_000_000):
        total += k
    return (time.process_time() - start) / YARDSTICK_SECONDS


@dataclass
class Counts:
    """Outcomes counted over a run."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_case: str = ""
    extra: int = 0
    extra_case: str = ""

    def measure(self, case: str, seconds: float, extra: int) -> None:
        """Note a call's CPU time and extra memory, and fail if they are beyond what hostile input may cost."""
        if seconds > self.slowest:
            self.slowest, self.slowest_case = seconds, case[:200]
        if extra > self.extra:
            self.extra, self.extra_case = extra, case[:200]
        assert seconds < SECONDS or seconds < SECONDS * _slowness(), f"{seconds:.2f} s: {case}"
        assert extra < EXTRA_BYTES, f"{extra / 2**20:.0f} MiB: {case}"

    def summary(self, title: str) -> str:
        """A few lines for the end of a run."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.outcomes.most_common())
        return (
            f"\n{title}: {self.cases} cases\n  outcomes: {kinds}\n"
            f"  slowest call {self.slowest * 1e3:.1f} ms ({self.slowest_case})\n"
            f"  most extra memory {self.extra / 2**20:.1f} MiB ({self.extra_case})"
        )


def evaluate(blob: bytes, counts: Counts, label: str, limits: coinr.Limits = LIMITS) -> str:
    """Put a file through every reader; the name of the error that decoding gave, or ``decoded``.

    Fails unless every call ends, within a second of CPU time (of a core that adds twenty million integers in one; more
    on slower ones) and 256 MiB, in a CoinrError of one line or in a
    well-formed result, and unless decoding and verifying agree.
    """
    calls: dict[str, Callable[[], Any]] = {
        "decode": lambda: coinr.decode_state_dict(blob, base=base(), limits=limits),
        "verify": lambda: coinr.verify(blob, base=base(), limits=limits),
        "inspect": lambda: coinr.inspect(blob, base=base()),
    }
    results: dict[str, Any] = {}
    errors: dict[str, CoinrError] = {}
    for name, call in calls.items():
        before, start = _reset_peak(), time.process_time()
        try:
            results[name] = call()
        except CoinrError as error:
            errors[name] = error
        counts.measure(f"{name} {label}", time.process_time() - start, _peak() - before)
    assert all(len(str(error).splitlines()) == 1 for error in errors.values()), f"{label}: not one line: {errors}"
    outcome = type(errors["decode"]).__name__ if "decode" in errors else "decoded"
    counts.cases += 1
    counts.outcomes[outcome] += 1
    assert outcome == (type(errors["verify"]).__name__ if "verify" in errors else "decoded"), f"{label}: {errors}"
    if outcome == "decoded":
        assert "inspect" in results, f"{label}: decoded, but inspect said {errors['inspect']!r}"
        _check_result(blob, results["decode"], results["inspect"], limits, label)
    return outcome


def _check_result(blob: bytes, got: dict[str, Tensor], report: coinr.Report, limits: coinr.Limits, label: str) -> None:
    """A decoded file is what its header says, stays within the limits, and says the same when asked again."""
    described = [(row["name"], row["shape"], row["dtype"]) for row in report.to_dict()["tensors"]]
    assert described == [(k, list(t.shape), str(t.dtype).removeprefix("torch.")) for k, t in got.items()], label
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in got.values()}
    assert sum(storages.values()) <= limits.decoded_bytes, label
    again = coinr.decode_state_dict(blob, base=base(), limits=limits)
    for name, tensor in got.items():
        assert bits(again[name]) == bits(tensor), f"{label}: {name!r} decodes to other values the second time"
