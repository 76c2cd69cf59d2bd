"""Hidden matrices as vectors, and files whose hidden matrices are coded in a dictionary, the other tensors at 16 bit.

The files are whole coinr files, written from chosen supports. What they decode to is evaluated, and their
length is counted.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import coinr
from bench.harness.arrays import layout_of, planes_of
from bench.paper.context import Point
from coinr.codec.coders import CODERS, DICTIONARY, UNIFORM, DictionaryParams, Params, UniformParams
from coinr.codec.format import container
from coinr.codec.format.tensor_table import Header, TensorRecord
from coinr.codec.profiles.paper import solve
from coinr.codec.tensors import Cut

EXACT_BITS = 16  # of all tensors that are not hidden matrices


def hidden_names(sd: Mapping[str, Tensor], width: int) -> list[str]:
    """Return names of the width × width matrices, in order."""
    return [name for name, tensor in sd.items() if tuple(tensor.shape) == (width, width)]


@dataclass(frozen=True)
class Hidden:
    """The hidden matrices of a network, cut into vectors.

    Attributes
    ----------
    state_dict : OrderedDict of str to Tensor
        The network.
    names : list of str
        Its hidden matrices.
    cut : Cut
        The same for all of them.
    vectors : float64 ``[B, n]``
        Those of all matrices, one matrix after the other, each ``B / len(names)`` of them.
    """

    state_dict: OrderedDict[str, Tensor]
    names: list[str]
    cut: Cut
    vectors: NDArray[np.float64]

    @classmethod
    def of(cls, point: Point, cut: Cut | None = None) -> Hidden:
        """Make it of a trained network; cut into rows by default."""
        sd, width = point.entry.state_dict, point.entry.recipe.sizes[1]
        names, cut = hidden_names(sd, width), cut or Cut(False, width)
        vectors = [cut.apply(planes_of(sd[name]), layout_of(sd[name])) for name in names]
        return cls(sd, names, cut, np.concatenate(vectors))

    @property
    def weights(self) -> int:
        """Return numbers in all hidden matrices."""
        return sum(self.state_dict[name].numel() for name in self.names)

    def pursue(self, dictionary: coinr.Dictionary, s: int) -> coinr.SparseCode:
        """Return the vectors by orthogonal matching pursuit."""
        return coinr.omp(self.vectors.astype(np.float32), dictionary, s)

    def with_vectors(self, vectors: NDArray[np.floating]) -> OrderedDict[str, Tensor]:
        """Return the network with other vectors in the place of these, all else as it was."""
        import torch

        changed = OrderedDict(self.state_dict)
        for name, part in zip(self.names, np.split(vectors.astype(np.float32), len(self.names)), strict=True):
            like = layout_of(self.state_dict[name])
            plane = self.cut.undo(np.ascontiguousarray(part), like)
            changed[name] = torch.from_numpy(np.ascontiguousarray(plane.reshape(like.shape)))
        return changed

    def file(
        self,
        indices: NDArray[np.int32],
        dictionary: coinr.Dictionary,
        bits: int = EXACT_BITS,
        values: NDArray[np.float64] | None = None,
    ) -> tuple[bytes, int]:
        """Return a coinr file with these supports ``[B, s]``, and the bytes in it that are the hidden matrices'.

        Values ``[B, s]`` are the least-squares ones unless given, then rounded to ``bits`` bits.
        """
        params = DictionaryParams(self.cut, dictionary.kind, dictionary.M, indices.shape[1], 0, bits)
        if values is None:
            values = solve(self.vectors, np.ascontiguousarray(indices), dictionary)
        coded: dict[str, tuple[Params, int, bytes]] = {}
        parts = zip(np.split(indices, len(self.names)), np.split(values, len(self.names)), strict=True)
        for name, (atoms, amounts) in zip(self.names, parts, strict=True):
            quantized = DICTIONARY.quantize(np.ascontiguousarray(atoms), amounts, params)
            assert quantized is not None
            coded[name] = params, DICTIONARY.id, DICTIONARY.encode(quantized, params)
        size = sum(len(payload) for _, _, payload in coded.values())
        return _file(self.state_dict, coded, dictionary.seed), size


def _file(sd: Mapping[str, Tensor], coded: Mapping[str, tuple[Params, int, bytes]], seed: int) -> bytes:
    """Return a coinr file of the coded tensors, the others rounded to 16 bit."""
    records, payloads = [], []
    for name, tensor in sd.items():
        if name in coded:
            params, coder, payload = coded[name]
        else:
            params, coder = UniformParams(EXACT_BITS), UNIFORM.id
            quantized = UNIFORM.quantize(planes_of(tensor), EXACT_BITS)
            assert quantized is not None
            payload = CODERS[coder].encode(quantized, params)
        records.append(TensorRecord(name, layout_of(tensor), coder, params, len(payload)))
        payloads.append(payload)
    return container.write(Header(seed, tuple(records)), payloads)


def combined(
    indices: NDArray[np.int32], values: NDArray[np.floating], dictionary: coinr.Dictionary
) -> NDArray[np.float64]:
    """Return Σ_k values[k] · A[:, indices[k]] of each row, ``[B, n]``; an index of -1 stands for nothing."""
    out = np.empty((len(indices), dictionary.n))
    for b, (row, amounts) in enumerate(zip(indices, values, strict=True)):
        used = row >= 0
        out[b] = dictionary.atoms(row[used]).astype(np.float64) @ amounts[used]
    return out


def decibels(error: NDArray[np.floating] | float, energy: NDArray[np.floating] | float) -> float:
    """Return an energy of errors relative to an energy, in dB; at least -200."""
    return 10 * math.log10(max(float(np.sum(error)) / float(np.sum(energy)), 1e-20))


def residual_db(vectors: NDArray[np.floating], approximation: NDArray[np.floating]) -> float:
    """Return energy of the difference over that of the vectors, in dB."""
    return decibels(np.square(vectors - approximation), np.square(vectors))


def decoded_residual_db(original: Mapping[str, Tensor], decoded: Mapping[str, Tensor], names: list[str]) -> float:
    """Return the same of named tensors together."""
    before = np.concatenate([planes_of(original[name]).ravel() for name in names])
    return residual_db(before, np.concatenate([planes_of(decoded[name]).ravel() for name in names]))
