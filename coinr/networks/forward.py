"""The values of an MLP in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.networks.families import MlpFamily


def forward(
    family: MlpFamily, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], coordinates: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return float32 [N, out_features], what the network of torch gives but for rounding.

    Parameters
    ----------
    config
        As :meth:`MlpFamily.config_of` gave it.
    arrays
        Weights and biases by name, float32 or complex64.
    coordinates
        float32 [N, in_features].
    """
    x: NDArray[Any] = _encode(coordinates, config)
    last = config["hidden_layers"] + 1
    for k in range(last + 1):
        name = family.layer_name(k, last)
        weight, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
        if k == last:
            x = x @ weight.T + bias
        elif family.kind == "wire":
            omega, scale = (arrays[f"{name.removesuffix('.linear')}.{number}"] for number in family.numbers)
            x = _gabor(x @ weight.T + bias, omega, scale)
        elif family.kind == "relu":
            x = np.maximum(x @ weight.T + bias, 0)
        elif family.kind == "finer":
            z = x @ weight.T + bias
            x = np.sin(np.float32(config["first_omega" if k == 0 else "omega"]) * (np.abs(z) + 1) * z)
        else:
            factor = np.float32(config[_FACTORS[family.kind][k > 0]])
            z = x @ (weight * factor).T + bias * factor
            x = np.sin(z) if family.kind == "siren" else np.exp(-(z * z))
    return np.ascontiguousarray(x.real, np.float32)


# What weights and biases are multiplied by: in the first layer, and in those between it and the last.
_FACTORS = {"siren": ("first_omega", "omega"), "gauss": ("scale", "scale")}


def _encode(x: NDArray[np.float32], config: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return coordinates with their sines and cosines, as :func:`coinr.networks.encode` does."""
    if not config["frequencies"]:
        return x
    f = config["lowest"] * config["base"] ** np.arange(config["frequencies"], dtype=np.float64)
    phases = x[:, None, :] * f.astype(np.float32)[:, None]
    waves = np.stack((np.sin(phases), np.cos(phases)), axis=2)
    return np.concatenate((x, waves.reshape(len(x), -1)), axis=1)


def _gabor(z: NDArray[Any], omega: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Return exp(i omega z − |scale z|²)."""
    u, v = z.real, z.imag
    size = np.exp(-omega * v - scale**2 * (u * u + v * v))
    out = np.empty(z.shape, np.complex64)
    out.real, out.imag = size * np.cos(omega * u), size * np.sin(omega * u)
    return out
