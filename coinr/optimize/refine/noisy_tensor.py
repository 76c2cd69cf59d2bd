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

    A row of the tensor's matrix is quantized with steps that leave errors of one size c, where what the layer is given
    counts (see :attr:`~coinr.codec.candidates.Allowance.inputs`). Weights w come out as a (w + e): e is noise of that
    size, and a = p / (p + c²) what is best made of it at a power p, so that weights far below c vanish without harm.

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
        self.inputs: NDArray[np.float64] | None = None

    def heed(self, inputs: NDArray[np.float64] | None) -> None:
        """Take the second moments of what the layer is given, mean of the diagonal 1; None where they are not known."""
        self.inputs = inputs if inputs is not None and len(inputs) == self.values.shape[1] > 1 else None
        if self.inputs is None:
            self._spread = self._widths = None
            return
        # inputs = L Lᵀ, L upper triangular: an error is made up for by the weights after it, as the coder does
        upper = np.linalg.cholesky(self.inputs[::-1, ::-1])[::-1, ::-1]
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
        """What the coder may lose: the error weighted by harm, and the harm of rows (None of a vector)."""
        with torch.no_grad():
            errors = self.log_errors.double().exp()
            left = self._kept().double() * errors.square()
        if len(self.layout.shape) < 2:
            return float(left.mean().sqrt()), None
        harm = errors.pow(-2)
        harm = harm / harm.mean()
        return float((left * harm).mean().sqrt()), harm[:, 0].cpu().numpy()

    def _kept(self) -> Tensor:
        """a, of each weight."""
        power = 2 * expected_magnitudes(self.values.detach()).square()
        return power / (power + (2 * self.log_errors).exp())

    def _shaped(self, matrix: Tensor) -> Tensor:
        planes = matrix.reshape(self.layout.planes, -1)
        wide = torch.complex(planes[0], planes[1]) if self.layout.planes == 2 else planes[0]
        return wide.to(self.layout.dtype).reshape(self.layout.shape)
