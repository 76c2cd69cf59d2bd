"""The metadata of a file: a JSON object of bounded size and depth."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from coinr.errors import FormatError, InputError

_BYTES = 1 << 20
_DEPTH = 64
_DIGITS = 40

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')
# What each byte outside of strings adds to the depth of nesting, modulo 256.
_STEPS = bytes((dict.fromkeys(b"[{", 1) | dict.fromkeys(b"]}", 255)).get(byte, 0) for byte in range(256))


def check_meta(meta: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the metadata as a file gives it back; raise InputError unless it is a mapping of JSON values."""
    if meta is None:
        return {}
    try:
        if not isinstance(meta, Mapping):
            raise TypeError(f"{type(meta).__name__} is no mapping")
        raw = write_meta(dict(meta))
        if len(raw) > _BYTES:
            raise ValueError(f"{len(raw)} bytes are more than {_BYTES}")
        return read_meta(raw)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"meta must map names to JSON values: {error}") from error


def write_meta(meta: Mapping[str, Any]) -> bytes:
    """Return the metadata as stored: JSON, or nothing if empty. Raise TypeError or ValueError for other values."""
    return json.dumps(meta, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() if meta else b""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _depth(raw: bytes) -> int:
    """Return the depth of nesting of well-formed JSON, from its text, which is faster than from its values."""
    brackets = np.frombuffer(_STRING.sub(b"", raw).translate(_STEPS), np.int8)
    return int(brackets.cumsum(dtype=np.int64).max())


def read_meta(raw: bytes) -> dict[str, Any]:
    """Read what :func:`write_meta` wrote; raise FormatError if it is damaged, too large or too deep."""
    if not raw:
        return {}
    if len(raw) > _BYTES:
        raise FormatError(f"{len(raw)} bytes of metadata are more than {_BYTES}")
    try:
        meta = json.loads(raw.decode(), parse_constant=_refuse_constant, parse_int=_bounded_int)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"metadata is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise FormatError("metadata is not a JSON object")
    if _depth(raw) > _DEPTH:
        raise FormatError(f"metadata is nested more than {_DEPTH} deep")
    return meta
