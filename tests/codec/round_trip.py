"""The round trip of a state dict and how two tensors are compared: by their bytes or by their relative error."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import coinr

# Quick, and still every coder: a few of 1024 atoms leave 0.4 of a vector of 64.
PROFILES: dict[str, dict[str, Any]] = {
    "paper": {"profile": "paper", "tolerance": 0.4, "M": 1024},
    "uniform": {"profile": "uniform", "tolerance": 0.01, "bits": 11},
    "lossless": {"profile": "lossless"},
}

every_profile = pytest.mark.parametrize("profile", ["paper", "uniform"])


def bits(tensor: Tensor) -> bytes:
    """The bytes of a tensor in row-major order, so that NaNs and signed zeros compare too."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def relative_error(got: Tensor, want: Tensor) -> float:
    """Norm of the difference over the norm of ``want``, 0 for equal tensors.

    Sums run in NumPy's longdouble: squares of float64 values near its limits stay in range.
    """
    double, long = (torch.complex128, np.clongdouble) if want.is_complex() else (torch.float64, np.longdouble)
    g, w = (t.detach().to(double).resolve_conj().resolve_neg().numpy().astype(long).reshape(-1) for t in (got, want))
    difference, norm = (np.sqrt(np.sum(np.abs(a) ** 2)) for a in (g - w, w))
    if difference == 0:
        return 0.0
    return float(difference / norm) if norm else math.inf


def round_trip(sd: dict[str, Tensor], profile: str = "paper", **options: Any) -> OrderedDict[str, Tensor]:
    """Decode what was encoded, after checking names, order, shapes, dtypes and the tolerance."""
    options = PROFILES[profile] | options
    blob = coinr.encode_state_dict(sd, seed=3, **options)
    got = coinr.decode_state_dict(blob)
    assert list(got) == list(sd)
    for key, value in sd.items():
        want = torch.as_tensor(value)
        assert (got[key].shape, got[key].dtype) == (want.shape, want.dtype), key
        if (want.is_floating_point() or want.is_complex()) and want.detach().isfinite().all():
            assert relative_error(got[key], want) <= options.get("tolerance", 0.0), key
        else:
            assert bits(got[key]) == bits(want), key
    return got
