"""A tensor on its way through the coder, with noise in the place of rounding."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coinr.codec.coders.direct import matrix_shape
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import Layout
from coinr.optimize.refine.rate import bits, expected_magnitudes

# A uniform quantizer of step 1 has the noise of so wide a uniform density, of deviation 1.
_WIDTH = math.sqrt(12)


class Channel:
    """A tensor whose values and errors are both trained.

    A row of the tensor's matrix is quantized with steps that leave errors of one size c, weighted by the layer's inputs
    (see :attr:`~coinr.codec.candidates.Allowance.input_covariance`). Weights w come out as a (w + e): e is noise of
    that size, and a = p / (p + c²) what is best made of it at a power p, so that weights far below c vanish at no cost.

    Parameters
    ----------
    entry
        The tensor.
    device
        Where it is trained.
    error
        The root mean squared error to start from, positive.

    Attributes
    ----------
    values : Tensor
        ``[R, C]``, float32 (float64 for such tensors): the real planes one below the other.
    log_errors : Tensor
        ``[R, 1]``: logarithms of c; ``[1, 1]`` of a vector.
    """

    def __init__(self, entry: Entry, device: torch.device, error: float) -> None:
        self.layout: Layout = entry.layout
        wide = self.layout.dtype in (torch.float64, torch.complex128)
        planes = torch.from_numpy(entry.planes.reshape(matrix_shape(self.layout)).copy())
        self.values = planes.to(device, torch.float64 if wide else torch.float32).requires_grad_()
        rows = len(self.values) if len(self.layout.shape) > 1 else 1
        self.log_errors = torch.full_like(self.values[:rows, :1], math.log(error)).requires_grad_()
        self._spread: Tensor | None = None
        self._widths: Tensor | None = None
        self.input_covariance: NDArray[np.float64] | None = None

    def set_input_covariance(self, covariance: NDArray[np.float64] | None) -> None:
        """Set the second moments of the layer's inputs, mean of the diagonal 1; None where they are not known."""
        fits = covariance is not None and len(covariance) == self.values.shape[1] > 1
        self.input_covariance = covariance if fits else None
        if self.input_covariance is None:
            self._spread = self._widths = None
            return
        # covariance = L Lᵀ, L upper triangular: weights compensate for errors of those before them, as in the coder
        upper = np.linalg.cholesky(self.input_covariance[::-1, ::-1])[::-1, ::-1]
        spread = np.linalg.inv(upper)
        self._spread = torch.from_numpy(spread).to(self.values)
        self._widths = torch.from_numpy(1 / np.diag(upper)).to(self.values)

    def clean(self) -> Tensor:
        """The tensor as it is."""
        return self._shaped(self.values.detach())

    def noise(self, generator: torch.Generator) -> Tensor:
        """Noise of deviation 1, uniform and independent: ``[R, C]``."""
        drawn = torch.rand(self.values.shape, generator=generator, device=generator.device, dtype=self.values.dtype)
        return (drawn.to(self.values.device) - 0.5) * _WIDTH

    def sent(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The tensor as it is decoded with this noise, and the bits that takes (0-dim)."""
        errors = self.log_errors.exp()
        if self._spread is not None and self._widths is not None:
            received = self.values + errors * (noise @ self._spread)
            steps = errors * self._widths * _WIDTH
        else:
            received = self.values + errors * noise
            steps = errors * _WIDTH
        return self._shaped(received * self._kept()), bits(received, steps)

    def allowed(self) -> tuple[float, NDArray[np.float64] | None]:
        """Return the weighted error that the coder may make, and the distortion weights of rows (None of a vector)."""
        with torch.no_grad():
            errors = self.log_errors.double().exp()
            left = self._kept().double() * errors.square()
        if len(self.layout.shape) < 2:
            return float(left.mean().sqrt()), None
        weights = errors.pow(-2)
        weights = weights / weights.mean()
        return float((left * weights).mean().sqrt()), weights[:, 0].cpu().numpy()

    def _kept(self) -> Tensor:
        """a, of each weight."""
        power = 2 * expected_magnitudes(self.values.detach()).square()
        return power / (power + (2 * self.log_errors).exp())

    def _shaped(self, matrix: Tensor) -> Tensor:
        planes = matrix.reshape(self.layout.planes, -1)
        wide = torch.complex(planes[0], planes[1]) if self.layout.planes == 2 else planes[0]
        return wide.to(self.layout.dtype).reshape(self.layout.shape)
