"""The coders by their id in the file (``FORMAT.md``, "Coders"): append only."""

from __future__ import annotations

from coinr.coders.base import Coder, Params
from coinr.coders.dictionary import DictionaryCoder, DictionaryParams
from coinr.coders.lossless import Lossless, LosslessParams
from coinr.coders.uniform import Uniform, UniformParams

LOSSLESS = Lossless()
UNIFORM = Uniform()
DICTIONARY = DictionaryCoder()

CODERS: dict[int, Coder] = {coder.id: coder for coder in (LOSSLESS, UNIFORM, DICTIONARY)}

__all__ = [
    "CODERS",
    "DICTIONARY",
    "LOSSLESS",
    "UNIFORM",
    "Coder",
    "DictionaryParams",
    "LosslessParams",
    "Params",
    "UniformParams",
]
