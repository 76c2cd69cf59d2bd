"""What the tests of hostile input share: files to damage, how a case is judged, and the count of outcomes."""

from __future__ import annotations

import math
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

import coinr
from coinr.errors import CoinrError

from .forge import Forgery, Row, varint
from .round_trip import bits

LIMITS = coinr.Limits(decoded_bytes=16 << 20, work=1 << 26)
SECONDS = 1.0
EXTRA_BYTES = 256 << 20

GAUSSIAN, RADEMACHER, HADAMARD = 1, 2, 3
TRANSPOSED, SORTED = 4, 8
LOSSLESS, UNIFORM, DICTIONARY = 0, 1 << 5, 2 << 5
FLOAT32, BOOL, UINT8 = 0, 6, 7


def pack(values: list[int], width: int) -> bytes:
    """``width`` bits each, least significant bit first, zero padded to whole bytes."""
    word = sum(v << i * width for i, v in enumerate(values))
    return word.to_bytes(-(-len(values) * width // 8), "little")


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
def corpus() -> dict[str, bytes]:
    """Small honest files that between them use every coder, mode, dtype class and header form."""
    g = torch.Generator().manual_seed(1)

    def weights(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g) * 0.1

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
    many = {f"module.layers.{i}.weight": torch.tensor([float(i)]) for i in range(60)}
    rows = [
        dictionary_row(b"hadamard", HADAMARD, [7, 9], 21, 64, 5),
        dictionary_row(b"rademacher", RADEMACHER, [10, 6], 10, 300, 4, flags=TRANSPOSED),
        dictionary_row(b"padded", GAUSSIAN, [50], 16, 1, 1, stream=2**32 - 1),
        dictionary_row(b"all", HADAMARD, [8], 8, 8, 8, bits_=16),
    ]
    return {
        "paper": coinr.encode_state_dict(layers, tolerance=0.3),
        "uniform": coinr.encode_state_dict(layers, profile="uniform", tolerance=1e-3),
        "mixed": coinr.encode_state_dict(mixed, nonfinite="lossless"),
        "tied": coinr.encode_state_dict({"größe": tied, "b": weights(3), "again": tied}),
        "large": coinr.encode_state_dict(large, tolerance=0.3),
        "complex": coinr.encode_state_dict(complex_, tolerance=0.3),
        "many": coinr.encode_state_dict(many),
        "meta": coinr.encode_state_dict({"w": weights(3)}, meta={"model": "siren", "omega": 30.0}),
        "empty": coinr.encode_state_dict({}),
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


@dataclass
class Tally:
    """Outcomes counted over a run."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_case: str = ""
    extra: int = 0
    extra_case: str = ""

    def summary(self, title: str) -> str:
        """A few lines for the end of a run."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.outcomes.most_common())
        return (
            f"\n{title}: {self.cases} cases\n  outcomes: {kinds}\n"
            f"  slowest call {self.slowest * 1e3:.1f} ms ({self.slowest_case})\n"
            f"  most extra memory {self.extra / 2**20:.1f} MiB ({self.extra_case})"
        )


def judge(blob: bytes, tally: Tally, label: str, limits: coinr.Limits = LIMITS) -> str:
    """Put a file through every reader; the name of the error that decoding gave, or ``decoded``.

    Fails unless every call ends, within a second of CPU time and 256 MiB, in a CoinrError or in a well-formed result.
    """
    calls = {
        "decode": lambda: coinr.decode_state_dict(blob, limits=limits),
        "verify": lambda: coinr.verify(blob, limits=limits),
        "inspect": lambda: coinr.inspect(blob).to_dict(),
    }
    results: dict[str, object] = {}
    for name, call in calls.items():
        before, start = _reset_peak(), time.process_time()
        try:
            results[name] = call()
        except CoinrError as error:
            results[name] = error
        seconds, extra = time.process_time() - start, _peak() - before
        if seconds > tally.slowest:
            tally.slowest, tally.slowest_case = seconds, f"{name} {label}"
        if extra > tally.extra:
            tally.extra, tally.extra_case = extra, f"{name} {label}"
        assert "\n" not in str(results.get(name)) or not isinstance(results[name], CoinrError), f"{label}: two lines"
        assert seconds < SECONDS, f"{name} took {seconds:.2f} s: {label}"
        assert extra < EXTRA_BYTES, f"{name} took {extra / 2**20:.0f} MiB: {label}"
    tally.cases += 1
    got = results["decode"]
    if isinstance(got, type):
        tally.outcomes[got.__name__] += 1
        return got.__name__
    assert not isinstance(results["inspect"], type), f"{label}: decoded, but inspect said {results['inspect']}"
    assert not isinstance(results["verify"], type), f"{label}: decoded, but verify said {results['verify']}"
    _check_result(blob, got, results["inspect"], limits, label)
    tally.outcomes["decoded"] += 1
    return "decoded"


def _check_result(blob: bytes, got: object, report: object, limits: coinr.Limits, label: str) -> None:
    """A decoded file has unique names, stays within the limits, and says the same when asked again."""
    assert isinstance(got, dict), label
    assert isinstance(report, dict), label
    assert [row["name"] for row in report["tensors"]] == list(got), label
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in got.values()}
    assert sum(storages.values()) <= limits.decoded_bytes, label
    again = coinr.decode_state_dict(blob, limits=limits)
    for name, tensor in got.items():
        assert bits(again[name]) == bits(tensor), f"{label}: {name!r} decodes to other values the second time"
