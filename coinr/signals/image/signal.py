"""Pictures as signals; what pixels mean is in :mod:`coinr.signals.image.picture`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coinr.inputs.arguments import checked
from coinr.runtime.ambient import independent
from coinr.signals.grid_signal import GridSignal, is_method
from coinr.signals.image.picture import Picture, check_image, describe_image, unit_image
from coinr.signals.image.rendering import levels
from coinr.signals.signal import Recipe

# Values that are computed at once in double precision.
_VALUES = 1 << 20

# Pictures of so many pixels are fitted better from a higher first frequency, smaller ones from a SIREN's own
# (``bench/results/fit_choices.csv``).
_LARGE, _OMEGA = 1 << 16, 45.0


def _targets(image: Picture) -> NDArray[np.float32]:
    """Return a picture's values as networks give them, in [-1, 1], its colors multiplied by alpha."""
    targets = np.empty(image.shape, np.float32)
    rows = max(1, _VALUES // image[0].size)
    for start in range(0, len(image), rows):
        targets[start : start + rows] = unit_image(image[start : start + rows]) * 2 - 1
    return targets


class ImageSignal(GridSignal):
    """The pixels of a picture; the score is the PSNR of the picture that is rendered back, rounded as it would be.

    Parameters
    ----------
    image : array
        See :mod:`coinr.signals.image.signal`. Floating pictures are rendered back with 8 bits.

    Attributes
    ----------
    image : ndarray
        The picture; the caller's own array, or a copy.
    height, width, bits : int
        Its size in pixels, and bits of a channel.

    Raises
    ------
    InputError
        As :func:`check_image`.
    """

    kind = "image"
    metric = "PSNR"
    unit = "dB"
    # at 2e-3 Muon can lose the rare colors of a large picture within a few thousand steps, and finds them no more
    recipe = Recipe("siren", width=56, hidden_layers=5, steps=3000, budget_steps=8000, batch=4096, learning_rate=1e-3)

    @independent
    @checked
    def __init__(self, image: Any) -> None:
        self.image = check_image(image)
        self.height, self.width = self.image.shape[:2]
        self.bits = 16 if self.image.dtype == np.uint16 else 8
        if self.height * self.width >= _LARGE:
            self.recipe = replace(self.recipe, options={"siren": {"first_omega": _OMEGA}})
        self.in_features = 2
        self.out_features = 1 if self.image.ndim == 2 else self.image.shape[2]
        self.count, self.grid_size = self.height * self.width, (self.height, self.width)
        if self.image.dtype == np.uint8 and self.out_features in (1, 3):
            # a quarter of the memory of floats, which a step makes of its own pixels only
            self.image = self.image.copy()
            values = torch.from_numpy(self.image)
        else:
            values = torch.from_numpy(_targets(self.image))
        self._values = values.reshape(self.count, self.out_features)

    def describe(self) -> str:
        """Return size and channels."""
        return describe_image(self.height, self.width, self.out_features, self.bits)

    @property
    def default_bits(self) -> int:
        """Return a quarter of 8 or 16 bits for each channel of a pixel."""
        return self.count * self.out_features * self.bits // 4

    def partial_score(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of squared errors of what is shown, full scale being 1, and the number of values."""
        shown = levels(predicted.double(), self.bits) / (2**self.bits - 1)
        if self.out_features in (2, 4):
            shown = torch.cat((shown[:, :-1] * shown[:, -1:], shown[:, -1:]), dim=1)
        error = (shown - (targets.double() + 1) / 2).square().sum()
        return torch.stack((error, torch.full_like(error, targets.numel())))

    def score_rule(self) -> tuple[str, float] | None:
        """Return the rule of :meth:`partial_score` for the extension, see :meth:`GridSignal.score_rule`."""
        return ("levels", 2.0**self.bits - 1) if is_method(self.partial_score, ImageSignal.partial_score) else None

    def score(self, total: Tensor) -> float:
        """Return the PSNR in dB, -inf if it is not a number."""
        error = float(total[0] / total[1])
        if not math.isfinite(error):
            return -math.inf
        return math.inf if error == 0 else -10 * math.log10(error)

    def meta(self) -> dict[str, Any]:
        """Return ``{"image": [H, W]}``, with the bits of a channel as a third number unless they are 8."""
        return {"image": [self.height, self.width] + ([] if self.bits == 8 else [self.bits])}
