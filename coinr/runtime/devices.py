"""Moving networks to devices."""

from __future__ import annotations

import torch
from torch import nn

from coinr.errors import InputError, first_line


def to_device(network: nn.Module, device: str | torch.device) -> None:
    """Move a network to a device.

    Raises
    ------
    InputError
        If there is no such device here.
    """
    try:
        network.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:  # torch raises either, by the kind of device
        raise InputError(f"device {str(device)!r} cannot be used: {first_line(error)}") from error
