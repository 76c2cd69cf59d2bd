"""A coder of pruned networks: a mask of the weights that are not zero, those weights at 16 bit, Brotli.

Stream: one float32 step per tensor; then Brotli over the masks of all tensors, eight weights a byte, and the 16-bit
integers of the weights they keep. Names, shapes and dtypes are known to the decoder, as for
:mod:`coinr.codec.baselines`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import brotli
import numpy as np
import torch
from torch import Tensor

_TOP = (1 << 15) - 1


def encode(sd: Mapping[str, Tensor]) -> bytes:
    """Encode the stream of float32 tensors."""
    steps, masks, kept = [], [], []
    for tensor in sd.values():
        values = tensor.double().numpy().ravel()
        step = np.float32(np.abs(values).max(initial=0.0) / _TOP)
        levels = np.rint(values / np.float64(step)) if step > 0 else np.zeros_like(values)
        levels = np.clip(levels, -_TOP, _TOP).astype("<i2")
        steps.append(step)
        masks.append(np.packbits(levels != 0).tobytes())
        kept.append(levels[levels != 0].tobytes())
    body = brotli.compress(b"".join(masks + kept), quality=11, lgwin=24)
    stream: bytes = np.array(steps, "<f4").tobytes() + body
    return stream


def decode(data: bytes, like: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Inverse of :func:`encode`; of ``like`` only names and shapes are looked at."""
    steps = np.frombuffer(data, "<f4", len(like))
    raw = brotli.decompress(data[steps.nbytes :])
    masks, at = [], 0
    for tensor in like.values():
        size = -(-tensor.numel() // 8)
        masks.append(np.unpackbits(np.frombuffer(raw, np.uint8, size, at), count=tensor.numel()).astype(bool))
        at += size
    decoded = OrderedDict()
    for (name, tensor), mask, step in zip(like.items(), masks, steps, strict=True):
        count = int(mask.sum())
        levels = np.zeros(tensor.numel(), np.float32)
        levels[mask] = np.frombuffer(raw, "<i2", count, at)
        at += 2 * count
        decoded[name] = torch.from_numpy(levels * step).reshape(tensor.shape)
    return decoded
