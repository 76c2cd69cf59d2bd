"""Rate-efficient dictionary coder: few atoms of a large dictionary, or all atoms of an orthogonal one.

w = float32(Σ_k q_k A[:, j_k]) · step, with integers q, as in coder 2. *Sparse*: each vector has its own number of
atoms out of M; their set takes about log₂ C(M, s) bits. *Dense*: A is the n × n Hadamard matrix with seeded signs;
every atom is used, so no index is stored, and the integers are coded as levels of the direct coder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.codec.coders.coder import read_short_step, write_short_step
from coinr.codec.coders.direct import Integers
from coinr.codec.coders.levels import LARGEST_VALUE, MOST_EXPONENT, LevelForm, worth_decoding
from coinr.codec.tensors import LOSSY_DTYPES, Cut, Layout, from_planes
from coinr.codec.wire import Reader, varint
from coinr.engine import native, philox
from coinr.engine.backends import host_backend, select
from coinr.engine.dictionary import MAX_ENTRY, MAX_SIZE, Dictionary
from coinr.errors import FormatError

_KINDS = {code: kind for kind, code in philox.KINDS.items()}
_TRANSPOSED, _DENSE = 4, 8

#: Most atoms of a dense dictionary: beyond, its float64 entries would take more memory than small tensors.
LARGEST_DENSE = 1024

#: Most atoms of a sparse vector, and the largest magnitude of its integers.
MOST_ATOMS = 4095
LARGEST_INTEGER = (1 << 20) - 1

_LOG_MAX_SIZE = MAX_SIZE.bit_length() - 1

# Float64 numbers that a dense code is decoded in at once.
_BLOCK_ENTRIES = 1 << 22


@dataclass(frozen=True)
class SparseParams:
    """The cut into vectors, the dictionary, the form of the code and its step.

    Attributes
    ----------
    M
        Atoms, a power of two; n where dense.
    s
        Most atoms of a vector; n where dense.
    step
        A float32 whose lower 16 bits are zero.
    form
        How the integers of a dense code are coded; None for a sparse code.
    """

    cut: Cut
    kind: str
    M: int
    s: int
    step: float
    form: LevelForm | None = None

    def dictionary(self, seed: int) -> Dictionary:
        """Return the dictionary under the seed of the file."""
        return Dictionary(self.kind, self.cut.n, self.M, seed)

    def matrix_shape(self, layout: Layout) -> tuple[int, int]:
        """Return rows and columns of the matrix in which the integers of a dense code are coded.

        They are those of the tensor's matrix where no run of n crosses its rows, else B and n.
        """
        rows = layout.shape[0]
        width = rows if self.cut.transposed else layout.size // rows
        columns = self.cut.n if width % self.cut.n else width
        return self.cut.batch(layout) * self.cut.n // columns, columns

    def write(self) -> bytes:
        flags = philox.KINDS[self.kind] | _TRANSPOSED * self.cut.transposed | _DENSE * (self.form is not None)
        code = bytes([self.M.bit_length() - 1]) + varint(self.s) if self.form is None else self.form.write()
        return bytes([flags]) + varint(self.cut.n) + code + write_short_step(self.step)

    def check(self, layout: Layout) -> None:
        if layout.dtype not in LOSSY_DTYPES or not layout.shape:
            raise FormatError(f"{layout.dtype} of shape {layout.shape} cannot be coded in a dictionary")
        self.cut.check(layout)
        n = self.cut.n
        if self.form is not None:
            if self.kind != "hadamard" or n & (n - 1) or n > LARGEST_DENSE:
                raise FormatError(f"a dense {self.kind} dictionary of {n} atoms is not orthogonal or too large")
        elif n > MAX_SIZE or not 1 <= self.s <= min(n, self.M, MOST_ATOMS):
            raise FormatError(f"s = {self.s} is not in 1 … min(n, M, {MOST_ATOMS}) for n = {n}, M = {self.M}")

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
            "step": self.step,
            "form": "sparse" if self.form is None else "dense",
        }


@dataclass(frozen=True)
class SparseIntegers:
    """Sparse codes of B vectors.

    Attributes
    ----------
    counts
        Atoms of each vector, int32 ``[B]``.
    indices, q
        Atoms and integers of all vectors, one after the other, by ascending index: int32 ``[sum(counts)]``.
    """

    counts: NDArray[np.int32]
    indices: NDArray[np.int32]
    q: NDArray[np.int32]


class SparseCoder:
    """Payload: range-coded counts, sets and integers; for a dense code the coded levels of its matrix."""

    id = 4
    name = "sparse"

    def read(self, reader: Reader) -> SparseParams:
        flags = reader.u8()
        kind = _KINDS.get(flags & 3)
        if kind is None or flags > (3 | _TRANSPOSED | _DENSE):
            raise FormatError(f"sparse flags {flags:#x} are unknown")
        cut = Cut(bool(flags & _TRANSPOSED), reader.varint())
        if flags & _DENSE:
            form = LevelForm.read(reader)
            if form.column_steps or form.ascending:
                raise FormatError("a dense code has neither steps by column nor ascending levels")
            bound = LARGEST_VALUE * cut.n * (1 << MOST_EXPONENT if form.row_steps else 1)
            return SparseParams(cut, kind, cut.n, cut.n, read_short_step(reader, bound), form)
        log_atoms, s = reader.u8(), reader.varint()
        if log_atoms > _LOG_MAX_SIZE or s > MOST_ATOMS:
            raise FormatError(f"{s} of 2**{log_atoms} atoms are more than {MOST_ATOMS} of {MAX_SIZE}")
        step = read_short_step(reader, LARGEST_INTEGER * s * MAX_ENTRY[kind])
        return SparseParams(cut, kind, 1 << log_atoms, s, step)

    def encode(self, content: SparseIntegers | Integers, params: SparseParams) -> bytes:
        if isinstance(content, SparseIntegers):
            data: bytes = native.encode_sparse(content.counts, content.indices, content.q, params.M, params.s)
            return data
        if params.form is None:
            raise TypeError("integers of a matrix need a dense form")
        return params.form.encode(*content)

    def decode(
        self, payload: memoryview, params: SparseParams, layout: Layout, seed: int, device: str = "cpu"
    ) -> NDArray[Any]:
        dictionary = params.dictionary(seed)
        if params.form is not None:
            q, factors = params.form.decode(payload, *params.matrix_shape(layout))
            sums = combine_all(q.reshape(-1, params.cut.n), dictionary).reshape(q.shape)
            vectors = (sums * (np.float32(params.step) * factors)).reshape(-1, params.cut.n)
        else:
            atoms, q = decode_integers(payload, params, layout)
            vectors = select(device=device).synthesize(atoms, q, params.step, dictionary)
        return from_planes(params.cut.undo(vectors, layout), layout)


def decode_integers(
    payload: bytes | memoryview, params: SparseParams, layout: Layout
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Decode atoms and integers of a sparse payload, int32 ``[B, s]`` each; zeros follow the atoms of a vector."""
    if not worth_decoding(params.cut.batch(layout), len(payload)):
        raise FormatError(f"{len(payload)} bytes may not stand for {params.cut.batch(layout)} vectors")
    try:
        atoms, q = native.decode_sparse(bytes(payload), params.cut.batch(layout), params.M, params.s)
    except ValueError as error:
        raise FormatError(f"sparse code: {error}") from error
    return atoms, q


def combine_all(q: NDArray[np.int32], dictionary: Dictionary) -> NDArray[np.float32]:
    """Return Σ_k q_k A[:, k] over all atoms, rounded once to float32 ``[B, n]``, of integers ``[B, M]``.

    The products are float64 and exact in any order: all sums stay below 2**21 · 1024 · 4 < 2**53.
    """
    atoms = host_backend().entries(dictionary, np.arange(dictionary.M)).astype(np.float64)
    out = np.empty((len(q), dictionary.n), np.float32)
    rows = max(1, _BLOCK_ENTRIES // dictionary.n)
    for start in range(0, len(q), rows):
        out[start : start + rows] = q[start : start + rows].astype(np.float64) @ atoms
    return out
