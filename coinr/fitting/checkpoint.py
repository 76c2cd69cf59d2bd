"""Checkpoints of a fit: one file that is complete at any time and holds no pickled code."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from coinr.errors import InputError
from coinr.files.weight_formats import read_weights
from coinr.files.writing import write_atomic
from coinr.signals.signal import Signal

# Samples of a signal that its fingerprint is made from, at most.
_SAMPLES = 1 << 18

_CHUNK = 1 << 16


def fingerprint(networks: Sequence[nn.Module], signals: Sequence[Signal], arguments: Mapping[str, Any]) -> str:
    """Return a hash of everything that determines the weights: initial networks, signals and arguments.

    At most 2^18 evenly spaced samples of a signal enter it.
    """
    digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode())
    for network, signal in zip(networks, signals, strict=True):
        digest.update(f"{type(network)} {getattr(network, 'config', '')}".encode())
        for name, tensor in network.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} {tensor.device.type}".encode())
            digest.update(_bytes(tensor))
        digest.update(json.dumps([signal.kind, signal.count, signal.meta()], sort_keys=True).encode())
        device = next(network.parameters()).device
        chosen = torch.arange(0, signal.count, -(-signal.count // _SAMPLES), device=device)
        for chunk in torch.split(chosen, _CHUNK):
            for tensor in signal.batch(chunk):
                digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> bytes:
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return raw.numpy().tobytes()


def save(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a mapping of tensors, numbers, strings, lists and dicts to ``path``, atomically."""
    write_atomic(path, lambda stream: torch.save(dict(state), stream))


def load(path: str | os.PathLike[str], identity: str) -> Mapping[str, Any] | None:
    """Return the mapping that was saved to ``path``; None if there is no such file.

    Raises
    ------
    InputError
        If the file is damaged or no checkpoint, or if its fingerprint is not ``identity``.
    OSError
        If it cannot be read.
    """
    source = Path(path)
    if not source.exists():
        return None
    try:
        state = read_weights(source)
    except InputError as error:
        reason = str(error).removeprefix(f"{source}: ")
        raise InputError(f"{source}: no checkpoint that can be read: {reason}") from error
    if not isinstance(state, Mapping) or state.get("identity") != identity:
        raise InputError(f"{source}: the checkpoint of a fit of another signal, network or other arguments")
    return state
