"""The factored Gauss-Newton matrix of a small network: how errors of its parameters add up in the output.

An error e of the parameters changes the network's output by J e, to first order, where J is the derivative. The squared
output error is then eᵀ H e, with H the mean of JᵀJ over samples (the Gauss-Newton approximation of the Hessian). With
H = U D Uᵀ, U upper triangular with a unit diagonal, it equals Σ_j D_j (e_j + Σ_{i<j} e_i U_ij)². So a parameter that is
coded later can compensate for the errors of earlier ones (Frantar et al., 2022, do so along the rows of one matrix).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

#: Most parameters: the matrix has as many rows and columns, and time grows with their cube. The second limit is for
#: callers who can wait for minutes.
MAX_PARAMETERS, MAX_PARAMETERS_THOROUGH = 4608, 13 << 10

# What is added to the diagonal: shares of the entry itself, and of the tensor's mean. Directions that the samples do
# not show still matter, and neurons that are off at the trained weights may be on beside them.
_OWN, _MEAN = 1e-3, 2e-3


@dataclass(frozen=True, eq=False)
class HessianFactor:
    """H = U D Uᵀ over the parameters of several tensors, which are coded one after the other.

    Attributes
    ----------
    slices
        By name, where a tensor's real values (planes, then C order) lie among all parameters, in order of coding.
    upper
        U: float64 ``[N, N]``, upper triangular with a unit diagonal.
    pivots
        The diagonal of D: float64 ``[N]``.
    means
        By name, the mean of the diagonal of H: squared output error per mean squared error of the tensor.
    """

    slices: dict[str, slice]
    upper: NDArray[np.float64]
    pivots: NDArray[np.float64]
    means: dict[str, float]

    @classmethod
    def of_matrix(cls, sizes: dict[str, int], moments: NDArray[np.float64]) -> HessianFactor | None:
        """Factor a matrix H.

        Parameters
        ----------
        sizes
            By name, the number of real values of each tensor.
        moments
            H, float64 ``[N, N]``. It is overwritten: at most two more matrices of its size are held at a time.

        Returns
        -------
        HessianFactor or None
            None if some tensor has no effect on the output at all.
        """
        ends = np.cumsum(list(sizes.values()))
        slices = {name: slice(int(end) - size, int(end)) for (name, size), end in zip(sizes.items(), ends, strict=True)}
        diagonal = np.diag(moments).copy()
        means = {name: float(diagonal[part].mean()) for name, part in slices.items()}
        if not all(0 < mean < np.inf for mean in means.values()):
            return None
        added = np.concatenate([_OWN * diagonal[part] + _MEAN * means[name] for name, part in slices.items()])
        np.fill_diagonal(moments, diagonal + added)
        # factored from the last parameter to the first
        moments[:] = moments[::-1, ::-1].copy()
        whole = torch.from_numpy(moments)
        torch.linalg.cholesky(whole, out=whole)
        upper: NDArray[np.float64] = np.ascontiguousarray(moments[::-1, ::-1])
        roots: NDArray[np.float64] = np.diag(upper).copy()
        return cls(slices, np.divide(upper, roots, out=upper), np.square(roots), means)

    def of_tensor(self, name: str) -> TensorHessian:
        """Return the factor of one tensor, given that all tensors before it are coded."""
        part = self.slices[name]
        return TensorHessian(np.ascontiguousarray(self.upper[part, part]), self.pivots[part] / self.means[name])

    def compensation(self, name: str, errors: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return what to add to a tensor so that it compensates best for errors of tensors before it.

        Parameters
        ----------
        name
            The tensor.
        errors
            By name, the errors of tensors before it, each flat float64.

        Returns
        -------
        ndarray
            Flat float64 e that minimizes eᵀ H e over the tensor's values, with the given errors elsewhere.
        """
        part = self.slices[name]
        carried = np.zeros(part.stop - part.start)
        for other, error in errors.items():
            carried -= error @ self.upper[self.slices[other], part]
        lower = torch.from_numpy(self.upper[part, part]).T
        solved = torch.linalg.solve_triangular(
            lower, torch.from_numpy(carried)[:, None], upper=False, unitriangular=True
        )
        found: NDArray[np.float64] = solved[:, 0].numpy()
        return found


@dataclass(frozen=True, eq=False)
class TensorHessian:
    """The factor of one tensor: an error e of its flat values weighs Σ_j pivots_j (e upper)_j².

    Attributes
    ----------
    upper
        float64 ``[n, n]``, upper triangular with a unit diagonal.
    pivots
        float64 ``[n]``, scaled so that H has a mean diagonal of about 1.
    """

    upper: NDArray[np.float64]
    pivots: NDArray[np.float64]

    def weighted(self, difference: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return flat differences whose plain mean square is the weighted mean square of the given ones."""
        out: NDArray[np.float64] = (difference.reshape(-1) @ self.upper) * np.sqrt(self.pivots)
        return out
