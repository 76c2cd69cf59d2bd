"""Which tensor of a state dict an operand of an operation is: by its memory, or by its values as a fallback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from coinr.inputs.dense import plain_class, why_not_dense

# A tensor is a multiple of another if 1 - |cosine| of the angle between their values is below this.
_SAME_DIRECTION = 1e-5

# Operations whose result has the values of their first argument.
_COPIES = {
    *(torch.clone, Tensor.clone, Tensor.contiguous, Tensor.to, Tensor.type, Tensor.type_as, Tensor.cpu, Tensor.cuda),
    *(Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16),
}

# Operations whose result may be a multiple of one argument.
_SCALINGS = {
    *(torch.mul, torch.multiply, Tensor.mul, Tensor.multiply, Tensor.__mul__, Tensor.__rmul__),
    *(torch.div, torch.true_divide, Tensor.div, Tensor.true_divide, Tensor.__truediv__),
    *(torch.neg, Tensor.neg, Tensor.__neg__),
}


@dataclass(frozen=True, eq=False)
class _Entry:
    """A tensor of the state dict, its direction as a flat float64 unit vector, and its norm."""

    name: str
    tensor: Tensor
    direction: Tensor
    norm: float


class TensorIdentifier:
    """Find which matrix or vector of a state dict a tensor is.

    Copies and multiples are followed from the tensors of the state dict on, by data pointer, shape and strides. So
    matrices that are multiples of each other are distinguished. If a metric makes its weights in other ways, a tensor
    is identified by its values, as the first entry that it is a multiple of.

    Parameters
    ----------
    state_dict
        Names to tensors. Entries are its matrices and vectors of floating-point or complex numbers, without those that
        are zero or not finite.

    Attributes
    ----------
    by_value : set of str
        Names of entries that were found by their values alone: where two entries are multiples of each other, these
        may be mistaken.
    """

    def __init__(self, state_dict: Mapping[str, Any]) -> None:
        self.by_value: set[str] = set()
        self._entries: dict[tuple[int, ...], list[_Entry]] = {}
        self._places: dict[Any, _Entry] = {}
        for name, tensor in state_dict.items():
            if not isinstance(tensor, Tensor) or tensor.ndim not in (1, 2):
                continue
            if not (tensor.dtype.is_floating_point or tensor.is_complex()):
                continue
            direction, norm = _direction(tensor)
            if norm:
                entry = _Entry(name, tensor, direction, norm)
                self._entries.setdefault(tuple(tensor.shape), []).append(entry)
                self._places.setdefault(_place(tensor), entry)

    def follow(self, func: Callable[..., Any], args: tuple[Any, ...], out: Any) -> None:
        """Note what an operation with these arguments made, if that is a copy or a multiple of an entry."""
        if func in _COPIES:
            candidates = args[:1]
        elif func is Tensor.copy_:
            candidates = args[1:2]
        elif func in _SCALINGS:
            candidates = args[:2]
        else:
            return
        if (made := self._plain(out)) is None:
            return
        for candidate in map(self._plain, candidates):
            if candidate is not None and candidate.is_complex() == made.is_complex():
                entry = self._places.get(_place(candidate))
                if entry is not None:
                    self._places[_place(made)] = entry
                    return

    def find(self, tensor: Tensor) -> tuple[str, float] | None:
        """Return the name of the entry that a tensor is a multiple of, and the factor; None if there is none."""
        plain = self._plain(tensor)
        if plain is None:
            return None
        entry = self._places.get(_place(plain))
        # memory may have been changed or used again since it was noted
        if entry is not None and _is_copy(plain, entry.tensor):
            return entry.name, 1.0
        direction, norm = _direction(plain)
        if not norm:
            return None
        if entry is not None and (factor := _factor(entry, direction, norm)) is not None:
            return entry.name, factor
        for other in self._entries[tuple(plain.shape)]:
            if (factor := _factor(other, direction, norm)) is not None:
                self.by_value.add(other.name)
                return other.name, factor
        return None

    def _plain(self, value: Any) -> Tensor | None:
        """Return a dense tensor with the shape of some entry, without its class; None for other values."""
        if not isinstance(value, Tensor):
            return None
        plain = plain_class(value)
        return plain if tuple(plain.shape) in self._entries and not why_not_dense(plain) else None


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def _is_copy(tensor: Tensor, entry: Tensor) -> bool:
    """Return whether a tensor has the values of an entry, in its dtype or a wider one."""
    if torch.promote_types(tensor.dtype, entry.dtype) != tensor.dtype:
        return False
    return torch.equal(tensor, entry.to(tensor))


def _factor(entry: _Entry, direction: Tensor, norm: float) -> float | None:
    """Return by which factor values of this direction and norm are a multiple of an entry; None if they are not."""
    if entry.direction.shape != direction.shape:
        return None
    cosine = float((entry.direction * direction).sum())
    if 1 - abs(cosine) >= _SAME_DIRECTION:
        return None
    return norm / entry.norm if cosine > 0 else -norm / entry.norm


def _direction(tensor: Tensor) -> tuple[Tensor, float]:
    """Return the values as a flat float64 unit vector, and their norm: 0 where that is 0 or not finite."""
    plain = tensor.detach().resolve_conj()
    flat = (torch.view_as_real(plain) if plain.is_complex() else plain).to("cpu", torch.float64).reshape(-1)
    norm = float(flat.norm())
    return (flat / norm, norm) if 0 < norm < float("inf") else (flat, 0.0)
