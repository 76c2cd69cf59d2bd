"""One measurement: a network through a coder's file and back; and the cache of all of them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import Tensor

from bench.harness.corpus import CACHE, Entry
from bench.harness.curves import Point
from coinr.files.writing import write_atomic

Encode = Callable[[], bytes]
Decode = Callable[[bytes], Mapping[str, Tensor]]

#: Columns of ``curves.csv``.
COLUMNS = (
    "network", "coder", "setting", "bytes", "quality", "loss_db", "bits_per_parameter", "encode_seconds",
    "decode_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One file. ``quality`` in dB is that of the tensors decoded from it; ``extra`` is what a coder adds."""

    network: str
    coder: str
    setting: str
    bytes: float
    quality: float
    loss_db: float
    bits_per_parameter: float
    encode_seconds: float
    decode_seconds: float
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def point(self) -> Point:
        """Return the row as a point of a rate–distortion curve."""
        return Point(self.bytes, self.loss_db)


def tensors_hash(state_dict: Mapping[str, Tensor]) -> str:
    """Return a name for the exact tensors of a state dict."""
    digest = hashlib.sha256()
    for name, tensor in state_dict.items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class Bench:
    """A network on the bench: measures files of it, and remembers what was measured.

    Attributes
    ----------
    entry : Entry
        The network.
    original : float
        Its quality in dB before coding.
    """

    def __init__(self, entry: Entry, cache: Path = CACHE) -> None:
        self.entry = entry
        self.original = entry.evaluate(entry.state_dict)
        self._files = cache / "files"
        self._files.mkdir(parents=True, exist_ok=True)
        self._log = cache / "rows" / f"{entry.name}-{tensors_hash(entry.state_dict)}.jsonl"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, Row] = {}
        if self._log.exists():
            for line in self._log.read_text().splitlines():
                stored = json.loads(line)
                key = stored.pop("key")
                self._known[key] = Row(**stored)

    def known(self, coder: str, setting: str, version: str) -> Row | None:
        """Return what was measured before of this coder, setting and version of the coder's code."""
        return self._known.get(f"{coder} {setting} {version}")

    def file(self, coder: str) -> Path:
        """Return where the coder's last file of this network is."""
        return self._files / f"{self.entry.name}-{coder}.bin"

    def keep(self, row: Row, version: str) -> Row:
        """Remember a row."""
        key = f"{row.coder} {row.setting} {version}"
        self._known[key] = row
        with self._log.open("a") as file:
            file.write(json.dumps({"key": key} | asdict(row)) + "\n")
        return row

    def row(
        self, coder: str, setting: str, size: float, quality: float, seconds: tuple[float, float], **extra: float
    ) -> Row:
        """Return a row of this network."""
        bits = 8 * size / self.entry.parameters
        return Row(
            self.entry.name, coder, setting, size, quality, self.original - quality, bits, seconds[0], seconds[1], extra
        )

    def evaluate(self, decoded: Mapping[str, Tensor]) -> tuple[float, dict[str, float]]:
        """Return the quality of tensors, and their other scores."""
        (_, quality), *others = self.entry.scores(decoded).items()
        return quality, dict(others)

    def measure(
        self,
        coder: str,
        setting: str,
        version: str,
        encode: Encode,
        decode: Decode,
        extra: Callable[[bytes], dict[str, float]] = lambda blob: {},
    ) -> Row:
        """Write the coder's file, read it back, decode and evaluate it; or recall all that."""
        if (row := self.known(coder, setting, version)) is not None:
            return row
        path = self.file(coder)
        start = time.perf_counter()
        blob = encode()
        coded = time.perf_counter()
        write_atomic(path, blob)
        stored = path.read_bytes()
        begin = time.perf_counter()
        decoded = decode(stored)
        done = time.perf_counter()
        quality, others = self.evaluate(decoded)
        times = (coded - start, done - begin)
        return self.keep(self.row(coder, setting, len(stored), quality, times, **others, **extra(stored)), version)


def source_version(*paths: Path) -> str:
    """Return a name for the contents of source files; measurements of other contents are not recalled."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
