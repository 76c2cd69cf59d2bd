"""Second derivatives of a small network's squared output error, over all its parameters together.

An error e of the parameters changes the network's output by J e, to first order, and so its squared error by
eᵀ H e with H the mean of JᵀJ over samples (the Gauss-Newton form). With H = U D Uᵀ, U upper triangular with a unit
diagonal, that is Σ_j D_j (e_j + Σ_{i<j} e_i U_ij)²: whatever is coded first, what comes after can make up for it
(Frantar et al., 2022, do so along the rows of one matrix).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

#: Most parameters: the matrix has as many rows and columns, and time grows with their cube; and where a caller can wait
#: for minutes.
MOST, MOST_THOROUGH = 4608, 13 << 10

# What is added to the diagonal: shares of the entry itself, and of the tensor's mean. Directions that the samples do
# not show are not free, and neurons that do nothing at the trained weights may do something beside them.
_OWN, _MEAN = 1e-3, 2e-3


@dataclass(frozen=True, eq=False)
class Block:
    """Tensors that are coded one after the other, and how errors of earlier parameters move later ones.

    Attributes
    ----------
    slices
        By name, where a tensor's real values (planes, then C order) lie among those of the block.
    upper
        float64 ``[N, N]``, upper triangular with a unit diagonal.
    pivots
        float64 ``[N]``.
    means
        By name, mean of the diagonal of H: squared output error by a mean squared error of one.
    """

    slices: dict[str, slice]
    upper: NDArray[np.float64]
    pivots: NDArray[np.float64]
    means: dict[str, float]

    @classmethod
    def of(cls, sizes: dict[str, int], moments: NDArray[np.float64]) -> Block | None:
        """The block of tensors by name and number of values with H ``[N, N]``; None where one does nothing at all.

        H is overwritten: at most two more matrices of its size are held at a time.
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

    def form(self, name: str) -> Form:
        """The part of one tensor once all before it are coded."""
        part = self.slices[name]
        return Form(np.ascontiguousarray(self.upper[part, part]), self.pivots[part] / self.means[name])

    def answer(self, name: str, errors: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """What to add to a tensor's values, flat, to make up best for the errors of those before it."""
        part = self.slices[name]
        moved = np.zeros(part.stop - part.start)
        for other, error in errors.items():
            moved -= error @ self.upper[self.slices[other], part]
        lower = torch.from_numpy(self.upper[part, part]).T
        solved = torch.linalg.solve_triangular(lower, torch.from_numpy(moved)[:, None], upper=False, unitriangular=True)
        answer: NDArray[np.float64] = solved[:, 0].numpy()
        return answer


@dataclass(frozen=True, eq=False)
class Form:
    """The weight of errors of one tensor, flat: Σ_j pivots_j (e upper)_j², of mean diagonal about 1."""

    upper: NDArray[np.float64]
    pivots: NDArray[np.float64]

    def weighted(self, difference: NDArray[np.float64]) -> NDArray[np.float64]:
        """Differences, flat, whose plain mean square is the weighted one."""
        out: NDArray[np.float64] = (difference.reshape(-1) @ self.upper) * np.sqrt(self.pivots)
        return out
