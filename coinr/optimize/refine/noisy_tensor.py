"""Additive noise in the place of quantization (Ballé et al., 2017): a tensor whose values and errors are trained."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coinr.codec.coders.direct import matrix_shape
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import Layout
from coinr.inputs.tensors import torch_dtype
from coinr.optimize.refine.rate import estimate_bits, expected_magnitudes

# A uniform density of deviation 1 is √12 wide; so wide is the step of a uniform quantizer over its root mean squared
# error.
_WIDTH = math.sqrt(12)


class NoisyTensor:
    """A tensor of which the weights and the errors that quantization may leave are both trained.

    A row of the tensor's matrix is quantized with a step that leaves a root mean squared error c in each weight, or
    c in the layer's output where the covariance of the layer's inputs is known. Decoded weights are modeled as
    a · (w + e): e is uniform noise of deviation c, and the Wiener gain a = p / (p + c²) at a signal power p keeps
    weights far below c from adding noise.

    Parameters
    ----------
    entry
        The tensor.
    device
        Where it is trained.
    error
        Root mean squared error to start from, positive.

    Attributes
    ----------
    values : Tensor
        ``[R, C]``, float32 (float64 for such tensors): real and imaginary planes one below the other.
    log_errors : Tensor
        ``[R, 1]``: ln c of each row; ``[1, 1]`` for a vector.
    input_covariance : NDArray or None
        float64 ``[C, C]``: second moments of the layer's inputs, with a diagonal of mean 1.
    """

    def __init__(self, entry: Entry, device: torch.device, error: float) -> None:
        self.layout: Layout = entry.layout
        self._dtype = torch_dtype(entry.dtype)
        wide = self._dtype in (torch.float64, torch.complex128)
        planes = torch.from_numpy(entry.planes.reshape(matrix_shape(self.layout)).copy())
        self.values = planes.to(device, torch.float64 if wide else torch.float32).requires_grad_()
        rows = len(self.values) if len(self.layout.shape) > 1 else 1
        self.log_errors = torch.full_like(self.values[:rows, :1], math.log(error)).requires_grad_()
        self.input_covariance: NDArray[np.float64] | None = None
        self._feedback: Tensor | None = None
        self._column_steps: Tensor | None = None

    def set_input_covariance(self, covariance: NDArray[np.float64] | None) -> None:
        """Set :attr:`input_covariance`; None, or another size than ``[C, C]``, stands for unknown inputs."""
        known = covariance is not None and len(covariance) == self.values.shape[1] > 1
        self.input_covariance = covariance if known else None
        if self.input_covariance is None:
            self._feedback = self._column_steps = None
            return
        # covariance = U Uᵀ with U upper triangular: the quantizer lets later weights compensate an error, which turns
        # independent noise into noise · U⁻¹ and scales the step of column j by 1 / U[j, j]
        upper = np.linalg.cholesky(self.input_covariance[::-1, ::-1])[::-1, ::-1]
        feedback = np.linalg.inv(upper)
        self._feedback = torch.from_numpy(feedback).to(self.values)
        self._column_steps = torch.from_numpy(1 / np.diag(upper)).to(self.values)

    @torch.no_grad()
    def reorder(self, value: Tensor, rows: Tensor | None, columns: tuple[Tensor, Tensor] | None) -> None:
        """Take over a value whose rows and columns have changed places and signs; errors and covariance go with them.

        Parameters
        ----------
        value
            The tensor, in its own shape and dtype.
        rows, columns
            Former places, as in :class:`~coinr.networks.symmetries.Canonical`; None if they are the same.
        """
        planes = torch.stack((value.real, value.imag)) if value.is_complex() else value
        self.values.copy_(planes.reshape(self.values.shape))
        if rows is not None and len(self.log_errors) > 1:
            errors = self.log_errors.reshape(self.layout.planes, -1)
            self.log_errors.copy_(errors[:, rows].reshape(-1, 1))
        if columns is not None and self.input_covariance is not None:
            places, factors = (one.cpu().double().numpy() for one in columns)
            places = places.astype(np.int64)
            self.set_input_covariance(self.input_covariance[np.ix_(places, places)] * np.outer(factors, factors))

    def value(self) -> Tensor:
        """Return the tensor without noise, in its own shape and dtype."""
        return self._restore(self.values.detach())

    def noise(self, generator: torch.Generator) -> Tensor:
        """Return independent uniform noise of deviation 1, ``[R, C]``."""
        drawn = torch.rand(self.values.shape, generator=generator, device=generator.device, dtype=self.values.dtype)
        return (drawn.to(self.values.device) - 0.5) * _WIDTH

    def noisy(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tensor as decoded with this noise, and an estimate of its bits, 0-dim; both differentiable."""
        errors = self.log_errors.exp()
        if self._feedback is not None and self._column_steps is not None:
            received = self.values + errors * (noise @ self._feedback)
            steps = errors * self._column_steps * _WIDTH
        else:
            received = self.values + errors * noise
            steps = errors * _WIDTH
        return self._restore(received * self._gain()), estimate_bits(received, steps)

    def allowed_error(self) -> tuple[float, NDArray[np.float64] | None]:
        """Return the root mean squared error that the encoder may leave, and the rows' weights in its mean.

        Row i counts with c_i⁻² over the mean of all rows' c⁻², so that rows with larger trained errors count less. A
        vector has no row weights: None.
        """
        with torch.no_grad():
            errors = self.log_errors.double().exp()
            left = self._gain().double() * errors.square()
        if len(self.layout.shape) < 2:
            return float(left.mean().sqrt()), None
        weights = errors.pow(-2)
        weights = weights / weights.mean()
        return float((left * weights).mean().sqrt()), weights[:, 0].cpu().numpy()

    def _gain(self) -> Tensor:
        """Return the Wiener gain a of each weight: p / (p + c²), for the power p of a Laplace density."""
        power = 2 * expected_magnitudes(self.values.detach()).square()
        return power / (power + (2 * self.log_errors).exp())

    def _restore(self, matrix: Tensor) -> Tensor:
        """Return a matrix like :attr:`values` in the tensor's own shape and dtype."""
        planes = matrix.reshape(self.layout.planes, -1)
        wide = torch.complex(planes[0], planes[1]) if self.layout.planes == 2 else planes[0]
        return wide.to(self._dtype).reshape(self.layout.shape)
