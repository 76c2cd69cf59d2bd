"""The operations that exist only in the C++ extension: entropy coding, quantization, pursuit by rate, networks, fits.

The rest of the package reaches the extension through this module, :mod:`coinr.engine.packing` and
:mod:`coinr.engine.backends`. Signatures are in ``_C.pyi``.
"""

from __future__ import annotations

from coinr.engine._C import (
    CodedLevels,
    Grid,
    LevelReader,
    MlpProgram,
    OptimizerSteps,
    Permutation,
    choose_levels,
    choose_levels_with_feedback,
    decode_bools,
    decode_continued,
    decode_exact,
    decode_levels,
    decode_sparse,
    encode_bools,
    encode_continued,
    encode_exact,
    encode_levels,
    encode_levels_in_blocks,
    encode_sparse,
    exact_costs,
    level_costs,
    level_values,
    max_modeled_bits,
    pursue,
    sines,
    synthesize,
)

__all__ = [
    "CodedLevels",
    "Grid",
    "LevelReader",
    "MlpProgram",
    "OptimizerSteps",
    "Permutation",
    "choose_levels",
    "choose_levels_with_feedback",
    "decode_bools",
    "decode_continued",
    "decode_exact",
    "decode_levels",
    "decode_sparse",
    "encode_bools",
    "encode_continued",
    "encode_exact",
    "encode_levels",
    "encode_levels_in_blocks",
    "encode_sparse",
    "exact_costs",
    "level_costs",
    "level_values",
    "max_modeled_bits",
    "pursue",
    "sines",
    "synthesize",
]
