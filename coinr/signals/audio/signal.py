"""Sounds as signals; what samples mean is in :mod:`coinr.signals.audio.rendering`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coinr.inputs.arguments import checked
from coinr.runtime.ambient import independent
from coinr.signals.audio.files import check_audio
from coinr.signals.audio.rendering import describe_sound
from coinr.signals.grid_signal import GridSignal, is_method
from coinr.signals.signal import Recipe


class AudioSignal(GridSignal):
    """The samples of a sound; the score is the signal-to-noise ratio over all channels.

    Parameters
    ----------
    samples : array
        See :mod:`coinr.signals.audio.rendering`.
    rate : int
        Samples a second.

    Attributes
    ----------
    samples : ndarray
        float32 [N] or [N, C].
    rate, exponent : int
        The rate, and k of the 2^k that a network's values are multiplied by.

    Raises
    ------
    InputError
        As :func:`check_audio`.
    """

    kind = "audio"
    metric = "SNR"
    unit = "dB"
    recipe = Recipe("siren", width=128, hidden_layers=3, steps=8000, budget_steps=8000, batch=4096, learning_rate=1e-3)

    @independent
    @checked
    def __init__(self, samples: Any, rate: int) -> None:
        self.samples = check_audio(samples, rate)
        self.rate = rate
        self.exponent = -math.ceil(math.log2(float(np.abs(self.samples).max())))
        self.in_features = 1
        self.out_features = 1 if self.samples.ndim == 1 else self.samples.shape[1]
        self.count, self.grid_size = len(self.samples), (len(self.samples),)
        # measured on parts of a recording: 1200 suits half a second, 2000 two seconds; seven have 3000 as SIREN's do
        omega = 3000 * (self.count / rate / 7) ** (1 / 3)
        omega = float(f"{max(30.0, min(omega, self.count / 2)):.1e}")
        self.recipe = replace(self.recipe, options={"siren": {"first_omega": omega}, "finer": {"first_omega": omega}})
        self._values = torch.from_numpy(self.samples * np.float32(2.0**self.exponent)).reshape(self.count, -1)

    def describe(self) -> str:
        """Return length, rate and channels."""
        return describe_sound(self.count, self.rate, self.out_features)

    def partial_score(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of squared errors, and that of squared samples."""
        targets = targets.double()
        return torch.stack(((predicted.double() - targets).square().sum(), targets.square().sum()))

    def score_rule(self) -> tuple[str, float] | None:
        """Return the rule of :meth:`partial_score` for the extension, see :meth:`GridSignal.score_rule`."""
        return ("noise", 0.0) if is_method(self.partial_score, AudioSignal.partial_score) else None

    def score(self, total: Tensor) -> float:
        """Return the SNR in dB, -inf if it is not a number."""
        noise, power = map(float, total)
        if not math.isfinite(noise) or power == 0:
            return -math.inf
        return math.inf if noise == 0 else 10 * math.log10(power / noise)

    def meta(self) -> dict[str, Any]:
        """Return ``{"audio": [N, rate]}``, with the exponent as a third number unless it is 0."""
        return {"audio": [self.count, self.rate] + ([self.exponent] if self.exponent else [])}
