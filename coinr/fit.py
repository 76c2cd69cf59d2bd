"""Fitting pictures by the name it had before :mod:`coinr.fitting`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coinr.fitting import Fit, fit


@dataclass(frozen=True)
class ImageFit(Fit):
    """A fit of a picture."""

    @property
    def psnr(self) -> float:
        """The score, in dB."""
        return self.score


def fit_image(image: Any, **arguments: Any) -> ImageFit:
    """As :func:`coinr.fitting.fit`."""
    return ImageFit(**vars(fit(image, **arguments)))
