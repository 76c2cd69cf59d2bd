"""The uniform quantizer's encoder: one step a tensor, with given value bits or the fewest."""

from __future__ import annotations

from coinr.codec.candidates import Candidate, make_candidate
from coinr.codec.coders import UNIFORM, UniformParams
from coinr.codec.coders.symbols import MAX_BITS
from coinr.codec.distortion import DistortionLimit, measure
from coinr.codec.options import EncodeOptions
from coinr.codec.state_dict import Entry


def candidates(entry: Entry, limit: DistortionLimit, settings: EncodeOptions) -> list[Candidate]:
    """Return the tensor with the fewest value bits that satisfy the limit; nothing if 16 do not."""
    for bits in range(2, MAX_BITS + 1):
        quantized = UNIFORM.quantize(entry.planes, bits)
        if quantized is None:
            continue
        q, step = quantized
        if limit.satisfied_by(measure(q * step - entry.planes, entry.planes, limit)):
            # the dtype may round further
            found = with_bits(entry, bits, limit)
            if found:
                return found
    return []


def with_bits(entry: Entry, bits: int, limit: DistortionLimit | None) -> list[Candidate]:
    """Return the tensor with so many value bits; nothing where they, or a normal float32 step, do not do."""
    quantized = UNIFORM.quantize(entry.planes, bits)
    if quantized is None:
        return []
    params = UniformParams(bits)
    candidate = make_candidate(entry, UNIFORM, params, UNIFORM.encode(quantized, params), limit)
    return [candidate] if candidate.satisfies(limit) else []
