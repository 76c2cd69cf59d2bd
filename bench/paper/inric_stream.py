"""Stream of INRIC's quantized tensors: integers of b bits with one step a tensor, arithmetic coded.

The arithmetic coder is the package's adaptive one (``FORMAT.md``, "Levels") without trellis or neighbors in the
model. INRIC's own coder stores one histogram of all integers and float64 steps, so this stream is the smaller one. As
for :mod:`coinr.codec.baselines`, names, shapes and dtypes are known to the decoder and cost nothing.

Layout: b (one byte), CRC-32 of what follows (four bytes, little-endian; b is its start value), then of every tensor
its step (float32; 0: all elements are 0 and nothing follows), a byte for the mean magnitude, the length of the coded
integers (varint), and these.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coinr.codec.coders.levels import LevelForm, scale_code, worth_decoding
from coinr.codec.wire import Reader, varint
from coinr.errors import ChecksumError, FormatError, InputError

_HEAD = 5  # bytes of b and checksum
_GAUSSIAN = 4  # of coinr.codec.coders.levels.SHAPES
_BITS = range(2, 17)


@dataclass(frozen=True)
class Levels:
    """A quantized tensor: ``q`` int32 of the tensor's shape, and the float32 ``step`` that multiplies it."""

    q: NDArray[np.int32]
    step: float

    def tensor(self, like: Tensor) -> Tensor:
        """Return float32(q) · step in the dtype of ``like``."""
        values = self.q.astype(np.float32) * np.float32(self.step)
        return torch.from_numpy(values).reshape(like.shape).to(like.dtype)


def top(bits: int) -> int:
    """Return the largest magnitude of a symmetric b-bit integer."""
    return (1 << (bits - 1)) - 1


def check_tensor(name: str, tensor: Tensor) -> None:
    """Raise InputError unless a tensor is floating and finite."""
    if not tensor.is_floating_point():
        raise InputError(f"INRIC codes floating tensors; {name} is {tensor.dtype}")
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(f"{name} holds NaN or infinite values")


def _rows(shape: tuple[int, ...], count: int) -> tuple[int, int]:
    """Return rows and columns that a tensor is coded in."""
    return (shape[0], count // shape[0]) if len(shape) > 1 and count else (1, count)


def _form(scale: int) -> LevelForm:
    return LevelForm(0, _GAUSSIAN, scale, mixed=False)


def encode(tensors: Mapping[str, Levels], bits: int) -> bytes:
    """Encode the stream of quantized tensors.

    Raises
    ------
    InputError
        If ``bits`` is not in 2 … 16, an integer exceeds them, or a tensor is so nearly empty that a decoder would
        refuse it.
    """
    if bits not in _BITS:
        raise InputError(f"bits must be in 2 … 16, not {bits}")
    body = b""
    for name, levels in tensors.items():
        largest = int(np.abs(levels.q).max(initial=0))
        if largest > top(bits):
            raise InputError(f"{name} holds {largest}, beyond {bits} bits")
        if not largest:
            body += np.float32(0).tobytes()
            continue
        scale = int(scale_code(float(np.abs(levels.q).mean())))
        coded = _form(scale).encode(levels.q.reshape(_rows(levels.q.shape, levels.q.size)))
        if not worth_decoding(levels.q.size, len(coded)):
            raise InputError(f"{name}: {levels.q.size} integers in {len(coded)} bytes, too few to be read back")
        body += np.array(levels.step, "<f4").tobytes() + bytes([scale]) + varint(len(coded)) + coded
    return bytes([bits]) + zlib.crc32(body, bits).to_bytes(4, "little") + body


def decode(blob: bytes, like: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Return the tensors of a stream.

    Parameters
    ----------
    blob : bytes
        What :func:`encode` returned.
    like : mapping of str to Tensor
        Tensors of the names, shapes and dtypes that were coded; their values are not looked at.

    Raises
    ------
    FormatError
        If ``blob`` is damaged or does not fit these tensors; ChecksumError and TruncatedError are such.
    """
    if len(blob) < _HEAD or blob[0] not in _BITS:
        raise FormatError("not a stream of INRIC")
    if zlib.crc32(blob[_HEAD:], blob[0]) != int.from_bytes(blob[1:_HEAD], "little"):
        raise ChecksumError("the stream of INRIC is damaged")
    reader = Reader(blob, _HEAD)
    decoded = OrderedDict((name, _read(reader, blob[0], tensor)) for name, tensor in like.items())
    reader.end()
    return decoded


def _read(reader: Reader, bits: int, like: Tensor) -> Tensor:
    """Return the next tensor of a stream."""
    step = float(np.frombuffer(reader.take(4), "<f4")[0])
    if step == 0:
        return torch.zeros(like.shape, dtype=like.dtype)
    if not np.isfinite(step) or step < 0:
        raise FormatError(f"{step} is no step")
    form = LevelForm.of(_form(0).write()[0], _GAUSSIAN, reader.u8())
    coded = reader.take(reader.varint())
    q, _ = form.decode(coded, *_rows(tuple(like.shape), like.numel()))
    if int(np.abs(q).max(initial=0)) > top(bits):
        raise FormatError(f"an integer beyond {bits} bits")
    return Levels(q, step).tensor(like)
