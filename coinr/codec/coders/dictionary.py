"""Dictionary coder (paper, sections 3.2–3.4): each vector is a sum of s atoms of a seeded dictionary.

w = float32(Σ_k q_k A[:, j_k]) · step, with integers q. The sum is exact, so all machines decode the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.codec.coders.coder import read_step, step_for, write_step
from coinr.codec.coders.symbols import MAX_BITS, decode_symbols, encode_symbols, largest
from coinr.codec.tensors import LOSSY_DTYPES, Cut, Layout, from_planes
from coinr.codec.wire import Reader, varint
from coinr.engine import packing, philox
from coinr.engine.backends import select
from coinr.engine.dictionary import MAX_SIZE, Dictionary
from coinr.errors import FormatError

_KINDS = {code: kind for kind, code in philox.KINDS.items()}
_TRANSPOSED, _SORTED = 4, 8


@dataclass(frozen=True)
class DictionaryParams:
    """The cut into vectors, the dictionary, and the form of the code.

    Attributes
    ----------
    sorted
        Whether each vector's atoms are stored by ascending index (Rice-coded gaps) or in order of selection
        (⌈log₂ M⌉ bits each).
    bits
        Bits per value, 2 … 16.
    """

    cut: Cut
    kind: str
    M: int
    s: int
    stream: int = 0
    bits: int = 16
    sorted: bool = True

    @property
    def index_bits(self) -> int:
        """Return ⌈log₂ M⌉, at least 1."""
        return max(1, (self.M - 1).bit_length())

    def dictionary(self, seed: int) -> Dictionary:
        """Return the dictionary under the seed of the file."""
        return Dictionary(self.kind, self.cut.n, self.M, seed, self.stream)

    def write(self) -> bytes:
        flags = philox.KINDS[self.kind] | _TRANSPOSED * self.cut.transposed | _SORTED * self.sorted
        sizes = b"".join(map(varint, (self.cut.n, self.M, self.s, self.stream)))
        return bytes([flags, self.bits]) + sizes

    def check(self, layout: Layout) -> None:
        if layout.dtype not in LOSSY_DTYPES:
            raise FormatError(f"{layout.dtype} cannot be coded in a dictionary")
        self.cut.check(layout)
        if self.cut.n > MAX_SIZE or not 1 <= self.M <= MAX_SIZE:
            raise FormatError(f"dictionary of {self.cut.n} x {self.M} is larger than {MAX_SIZE} x {MAX_SIZE}")
        if not 1 <= self.s <= min(self.cut.n, self.M):
            raise FormatError(f"s = {self.s} is not in 1 … min(n, M) = {min(self.cut.n, self.M)}")
        if not 2 <= self.bits <= MAX_BITS:
            raise FormatError(f"{self.bits} value bits are not in 2 … {MAX_BITS}")
        if self.stream >= 1 << 32:
            raise FormatError(f"stream {self.stream} is not below 2**32")

    def work(self, layout: Layout) -> int:
        entries = self.cut.batch(layout) * self.s * self.cut.n
        return entries + (philox.hadamard_order(self.cut.n) if self.kind == "hadamard" else 0)

    def describe(self, layout: Layout) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "n": self.cut.n,
            "M": self.M,
            "s": self.s,
            "B": self.cut.batch(layout),
            "bits": self.bits,
        }


class DictionaryCoder:
    """Payload: step (float32), length of the index stream (varint), the index stream, the values' symbols."""

    id = 2
    name = "dictionary"

    def read(self, reader: Reader) -> DictionaryParams:
        flags, bits = reader.u8(), reader.u8()
        kind = _KINDS.get(flags & 3)
        if kind is None or flags > (3 | _TRANSPOSED | _SORTED):
            raise FormatError(f"dictionary flags {flags:#x} are unknown")
        n, M, s, stream = (reader.varint() for _ in range(4))
        return DictionaryParams(Cut(bool(flags & _TRANSPOSED), n), kind, M, s, stream, bits, bool(flags & _SORTED))

    def quantize(
        self, indices: NDArray[np.int32], values: NDArray[np.float64], params: DictionaryParams
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], float] | None:
        """Return atoms and integers, int32 ``[B, s]`` each, and the step; None where no normal float32 step fits.

        q = round(value / step), step = max abs(value) / (2^(bits − 1) − 1). Where the pursuit took fewer than s atoms
        (index −1), the lowest unused atoms fill up, with q = 0.
        """
        peak = float(np.abs(values).max())
        step = step_for(peak, largest(params.bits))
        # The largest weight that these values can add up to must be a float32 too.
        if step is None or step_for(peak * params.s * params.dictionary(0).max_entry, 1) is None:
            return None
        atoms = indices.copy()
        for b in np.flatnonzero((atoms < 0).any(1)):
            taken = set(atoms[b].tolist())
            free = (j for j in range(params.M) if j not in taken)
            atoms[b, atoms[b] < 0] = [next(free) for _ in range(int((atoms[b] < 0).sum()))]
        q = np.clip(np.rint(values / step), -largest(params.bits), largest(params.bits)).astype(np.int32)
        if params.sorted:
            order = np.argsort(atoms, axis=1)
            atoms, q = np.take_along_axis(atoms, order, 1), np.take_along_axis(q, order, 1)
        return np.ascontiguousarray(atoms), np.ascontiguousarray(q), step

    def encode(self, content: tuple[NDArray[np.int32], NDArray[np.int32], float], params: DictionaryParams) -> bytes:
        atoms, q, step = content
        if params.sorted:
            index_stream = packing.pack_sorted(atoms, params.M)
        else:
            index_stream = packing.pack_bits(atoms.reshape(-1).astype(np.uint32), params.index_bits)
        return write_step(step) + varint(len(index_stream)) + index_stream + encode_symbols(q, params.bits)

    def decode(
        self, payload: memoryview, params: DictionaryParams, layout: Layout, seed: int, device: str = "cpu"
    ) -> NDArray[Any]:
        dictionary = params.dictionary(seed)
        B, s = params.cut.batch(layout), params.s
        reader = Reader(payload)
        step = read_step(reader, largest(params.bits) * s * dictionary.max_entry)
        index_stream = reader.take(reader.varint())
        if len(index_stream) * 8 < B * s:
            raise FormatError(f"{len(index_stream)} bytes cannot hold {B * s} indices")
        if params.sorted:
            atoms = packing.unpack_sorted(index_stream, B, s, params.M)
        else:
            flat = packing.unpack_bits(index_stream, B * s, params.index_bits)
            if int(flat.max()) >= params.M:
                raise FormatError(f"atom {int(flat.max())} of a dictionary of {params.M}")
            atoms = flat.astype(np.int32).reshape(B, s)
        q = decode_symbols(payload[reader.at :], B * s, params.bits).reshape(B, s)
        vectors = select(device=device).synthesize(atoms, q, step, dictionary)
        return from_planes(params.cut.undo(vectors, layout), layout)
