"""Positional encoding of coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from coinr.networks.programs import frequencies_of


def encode(x: Tensor, frequencies: int, base: float = 2.0, lowest: float = 1.0) -> Tensor:
    """Return x, then sin(f_i x) and cos(f_i x) for each f_i = lowest · base^i, i < frequencies.

    Parameters
    ----------
    x : Tensor
        float32 [..., a].
    frequencies : int
        L; with none x itself is returned.
    base, lowest : float
        2 and 1 as in NeRF (Mildenhall et al. 2020, the code nerf-pytorch). INRIC (Strümpler et al. 2022) has 16,
        1.4 and π; its code gives the same values in another order.

    Returns
    -------
    Tensor
        float32 [..., a (1 + 2 L)].
    """
    if not frequencies:
        return x
    f = torch.tensor(frequencies_of(frequencies, base, lowest), dtype=torch.float64, device=x.device)
    phases = x[..., None, :] * f.to(x.dtype)[:, None]
    return torch.cat((x, torch.stack((torch.sin(phases), torch.cos(phases)), -2).flatten(-3)), -1)
