"""All coders, by their id in a file (``FORMAT.md``, "Coders"). Append only."""

from __future__ import annotations

from coinr.codec.coders.coder import Coder, Params
from coinr.codec.coders.dictionary import DictionaryCoder, DictionaryParams
from coinr.codec.coders.difference import DifferenceCoder, DifferenceParams
from coinr.codec.coders.direct import DirectCoder, DirectParams
from coinr.codec.coders.exact import Exact, ExactParams
from coinr.codec.coders.lossless import Lossless, LosslessParams
from coinr.codec.coders.sparse import SparseCoder, SparseParams
from coinr.codec.coders.uniform import Uniform, UniformParams

LOSSLESS = Lossless()
UNIFORM = Uniform()
DICTIONARY = DictionaryCoder()
DIRECT = DirectCoder()
SPARSE = SparseCoder()
EXACT = Exact()

_ABSOLUTE: dict[int, Coder] = {coder.id: coder for coder in (LOSSLESS, UNIFORM, DICTIONARY, DIRECT, SPARSE, EXACT)}
DIFFERENCE = DifferenceCoder(_ABSOLUTE)

CODERS: dict[int, Coder] = {**_ABSOLUTE, DIFFERENCE.id: DIFFERENCE}

__all__ = [
    "CODERS",
    "DICTIONARY",
    "DIFFERENCE",
    "DIRECT",
    "EXACT",
    "LOSSLESS",
    "SPARSE",
    "UNIFORM",
    "Coder",
    "DictionaryParams",
    "DifferenceParams",
    "DirectParams",
    "ExactParams",
    "LosslessParams",
    "Params",
    "SparseParams",
    "UniformParams",
]
