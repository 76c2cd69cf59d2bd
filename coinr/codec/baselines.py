"""Baselines: fp32, fp16 and b-bit uniform quantization with Brotli, each with its decoder.

``fp32`` and ``fp16`` are the raw little-endian values. ``uniformB`` (B = 2..16) is the usual post-training quantizer:
per tensor one float32 step, max|w| / (2^(B-1) - 1), and integers q = round(w / step). The integers of all tensors go
into one Brotli stream at quality 11. Several layouts of the integers are tried and the smallest stream is kept; it is
stored as it is where Brotli does not make it smaller.

The comparison favors the baselines: their decoder is given names, shapes and dtypes, which a coinr file holds, and
they hold no checksum. Complex tensors are coded as their real and imaginary parts.

A stream of ``uniformB`` holds one byte (layout, plus 0x80 if Brotli is used), one float32 step per tensor, then the
integers of all tensors as u = q + 2^(B-1) - 1. The layouts:

- ``symbols``: one byte each, little-endian 16-bit words for B > 8;
- ``planes``: all low bytes, then all high bytes;
- ``packed``: B bits each, least significant first;
- ``top``: the highest 8 bits as bytes, then the B - 8 low bits packed.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import brotli
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coinr.engine import packing
from coinr.errors import FormatError, InputError
from coinr.inputs.arguments import checked
from coinr.inputs.state_dicts import StateDict, plain_tensors, to_state_dict

#: Every name that :func:`encode` and :func:`decode` know.
METHODS = ("fp32", "fp16", *(f"uniform{bits}" for bits in range(2, 17)))

LAYOUTS = ("symbols", "planes", "packed", "top")

_BROTLI = 0x80


@checked
def encode(state_dict: StateDict, method: str) -> bytes:
    """Return the whole state dict coded by one of :data:`METHODS`.

    Raises
    ------
    StateDictError
        If ``state_dict`` is no module or mapping of names to dense tensors or arrays.
    InputError
        If the method is unknown, or a tensor is not floating or complex, is not finite, or so large or small that
        numbers or steps of float16 or float32 cannot stand for it.
    """
    _check_method(method)
    state_dict = to_state_dict(state_dict)
    values = [_to_floats(name, tensor) for name, tensor in plain_tensors(state_dict).items()]
    for name, v in zip(state_dict, values, strict=True):
        _check_fits(name, v, np.float16 if method == "fp16" else np.float32)
    if method == "fp32":
        return b"".join(v.astype("<f4").tobytes() for v in values)
    if method == "fp16":
        return b"".join(v.astype("<f2").tobytes() for v in values)
    bits = int(method.removeprefix("uniform"))
    top = 2 ** (bits - 1) - 1
    steps = np.array([_step(name, v, top) for name, v in zip(state_dict, values, strict=True)], "<f4")
    levels = [
        np.clip(np.rint(v / np.float64(step)), -top, top) if step > 0 else np.zeros_like(v)
        for v, step in zip(values, steps, strict=True)
    ]
    symbols = np.concatenate([*levels, np.zeros(0)]).astype(np.int64) + top
    return _smallest(steps.tobytes(), symbols.astype("<u2"), bits)


@checked
def decode(blob: bytes, method: str, like: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Return the state dict that :func:`encode` made ``blob`` of.

    Parameters
    ----------
    blob : bytes
        What ``encode(state_dict, method)`` returned.
    method : str
        One of :data:`METHODS`.
    like : mapping of str to Tensor
        Tensors of the names, shapes and dtypes of ``state_dict``; their values are not looked at.

    Raises
    ------
    InputError
        If the method is unknown.
    FormatError
        If ``blob`` has the wrong length for these tensors, or is damaged.
    """
    _check_method(method)
    if not all(isinstance(t, Tensor) for t in like.values()):
        raise InputError("like holds tensors only")
    counts = [t.numel() * (2 if t.is_complex() else 1) for t in like.values()]
    if method in ("fp32", "fp16"):
        dtype = np.dtype("<f4" if method == "fp32" else "<f2")
        if len(blob) != sum(counts) * dtype.itemsize:
            raise FormatError(f"{method}: {len(blob)} bytes for {sum(counts)} values")
        flat = np.frombuffer(blob, dtype).astype(np.float32)
        values = np.split(flat, np.cumsum(counts)[:-1]) if counts else []
    else:
        values = _decode_uniform(blob, int(method.removeprefix("uniform")), counts)
    return OrderedDict((name, _to_tensor(v, t)) for (name, t), v in zip(like.items(), values, strict=True))


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise InputError(f"unknown baseline {method!r}; known: fp32, fp16, uniform2 .. uniform16")


def _to_floats(name: str, tensor: Tensor) -> NDArray[np.float64]:
    if not isinstance(tensor, Tensor):
        raise InputError(f"baselines code tensors; {name} is a {type(tensor).__name__}")
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise InputError(f"baselines code floating and complex tensors; {name} is {tensor.dtype}")
    tensor = tensor.resolve_conj().resolve_neg().cpu()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    values: NDArray[np.float64] = tensor.to(torch.float64).numpy().ravel()
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds NaN or infinite values")
    return values


def _check_fits(name: str, values: NDArray[np.float64], kind: type[np.floating]) -> None:
    """Raise InputError where the largest magnitude rounds to infinity, or to zero and is none."""
    peak = np.abs(values).max(initial=0.0)
    with np.errstate(over="ignore", under="ignore"):
        rounded = kind(peak)
    if not np.isfinite(rounded) or (peak > 0 and rounded == 0):
        raise InputError(f"{name} does not fit {np.dtype(kind)}: its largest magnitude is {peak}")


def _to_tensor(values: NDArray[np.float32], like: Tensor) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    if like.is_complex():
        return torch.view_as_complex(tensor.reshape(*like.shape, 2)).to(like.dtype)
    return tensor.reshape(like.shape).to(like.dtype)


def _step(name: str, values: NDArray[np.float64], top: int) -> np.float32:
    """Return the float32 step at which max|w| falls on the last level; 0 for an empty or all-zero tensor."""
    peak = np.abs(values).max(initial=0.0)
    step = np.float32(peak / top)
    if peak > 0 and step < np.finfo(np.float32).tiny:
        raise InputError(f"{name} does not fit float32 steps: its largest magnitude is {peak}")
    # the last level of the largest numbers may lie beyond float32
    return step if float(step) * top <= float(np.finfo(np.float32).max) else np.nextafter(step, np.float32(0))


def _smallest(steps: bytes, symbols: NDArray[np.uint16], bits: int) -> bytes:
    """Return the shortest stream over all layouts, stored and through Brotli; the first of equals."""
    streams = []
    for layout in range(len(LAYOUTS)):
        if bits <= 8 and LAYOUTS[layout] in ("planes", "top"):
            continue
        payload = _arrange(symbols, bits, layout)
        squeezed = brotli.compress(payload, quality=11, lgwin=24)
        streams.append(bytes([layout]) + steps + payload)
        streams.append(bytes([layout | _BROTLI]) + steps + squeezed)
    return min(streams, key=len)


def _arrange(symbols: NDArray[np.uint16], bits: int, layout: int) -> bytes:
    match LAYOUTS[layout]:
        case "symbols":
            return symbols.astype(np.uint8 if bits <= 8 else "<u2").tobytes()
        case "planes":
            return (symbols & 255).astype(np.uint8).tobytes() + (symbols >> np.uint16(8)).astype(np.uint8).tobytes()
        case "packed":
            return _pack(symbols, bits)
        case _:
            return (symbols >> np.uint16(bits - 8)).astype(np.uint8).tobytes() + _pack(symbols, bits - 8)


def _restore(payload: bytes, count: int, bits: int, layout: int) -> NDArray[np.uint16]:
    raw = np.frombuffer(payload, np.uint8)
    match LAYOUTS[layout]:
        case "symbols":
            return raw.astype(np.uint16) if bits <= 8 else np.frombuffer(payload, "<u2")
        case "planes":
            return raw[:count] | raw[count:].astype(np.uint16) << np.uint16(8)
        case "packed":
            return _unpack(raw, count, bits)
        case _:
            return raw[:count].astype(np.uint16) << np.uint16(bits - 8) | _unpack(raw[count:], count, bits - 8)


def _size(count: int, bits: int, layout: int) -> int:
    """Return the bytes of ``count`` symbols in a layout."""
    match LAYOUTS[layout]:
        case "packed":
            return math.ceil(count * bits / 8)
        case "top":
            return count + math.ceil(count * (bits - 8) / 8)
        case _:
            return count * (1 if bits <= 8 else 2)


def _pack(symbols: NDArray[np.uint16], bits: int) -> bytes:
    """Return the low ``bits`` bits of each symbol, least significant first, zero padded."""
    return packing.pack_bits((symbols & ((1 << bits) - 1)).astype(np.uint32), bits)


def _unpack(raw: NDArray[np.uint8], count: int, bits: int) -> NDArray[np.uint16]:
    return packing.unpack_bits(raw.tobytes(), count, bits).astype(np.uint16)


def _decode_uniform(blob: bytes, bits: int, counts: Iterable[int]) -> list[NDArray[np.float32]]:
    counts = list(counts)
    body = 1 + 4 * len(counts)
    if len(blob) < body or blob[0] & ~_BROTLI >= len(LAYOUTS):
        raise FormatError("not a uniform stream of these tensors")
    layout, payload = blob[0] & ~_BROTLI, blob[body:]
    if bits <= 8 and LAYOUTS[layout] in ("planes", "top"):
        raise FormatError(f"layout {LAYOUTS[layout]} needs more than 8 bits")
    if blob[0] & _BROTLI:
        try:
            payload = brotli.decompress(payload)
        except brotli.error as error:
            raise FormatError("damaged Brotli stream") from error
    if len(payload) != _size(sum(counts), bits, layout):
        raise FormatError(f"{len(payload)} bytes for {sum(counts)} symbols of {bits} bits")
    steps = np.frombuffer(blob, "<f4", len(counts), offset=1)
    q = _restore(payload, sum(counts), bits, layout).astype(np.int32) - (2 ** (bits - 1) - 1)
    parts = np.split(q, np.cumsum(counts)[:-1]) if counts else []
    return [part.astype(np.float32) * step for part, step in zip(parts, steps, strict=True)]
