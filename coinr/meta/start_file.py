"""The file of a start that was learned."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from coinr.codec.api import encode_state_dict
from coinr.networks import network_meta
from coinr.networks.precision import single_state
from coinr.starts.start import KEY, RATES, Start, StartMeta

# The relative errors of a start's weights and of its rates. A fit goes on from there, so neither needs to be exact.
_TOLERANCE, _RATE_ERROR = 0.05, 0.05


def make_start(network: nn.Module, rates: Mapping[str, Tensor], what: StartMeta) -> Start:
    """Return the start of a network and the rates [steps, ...] of its first steps, by the names of its weights."""
    tensors = dict(single_state(network.state_dict()))
    stored = {RATES + name: value.detach().float().cpu() for name, value in rates.items()}
    errors = {name: _RATE_ERROR * float(value.square().mean().sqrt()) for name, value in stored.items()}
    return Start(
        encode_state_dict(
            tensors | stored,
            profile="direct",
            tolerance=_TOLERANCE,
            errors={name: error for name, error in errors.items() if error > 0},
            meta={**network_meta(network), KEY: what._asdict()},
        )
    )
