"""Tensors and modules of torch, which may not be loaded: then no value is one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
else:

    class _Loaded(type):
        """The class of a stand-in for a class of torch: its instances are those of that class, once it is loaded."""

        def __instancecheck__(cls, value: object) -> bool:
            kind = getattr(sys.modules.get(cls.home), cls.__name__, None)
            return kind is not None and isinstance(value, kind)

    class Tensor(metaclass=_Loaded):
        """Stand for :class:`torch.Tensor` in annotations and ``isinstance``."""

        home = "torch"

    class Module(metaclass=_Loaded):
        """Stand for :class:`torch.nn.Module` in annotations and ``isinstance``."""

        home = "torch.nn"


__all__ = ["Module", "Tensor", "is_tensor", "torch_is_loaded"]


def torch_is_loaded() -> bool:
    """Return whether torch has been imported."""
    return "torch" in sys.modules


def is_tensor(value: Any) -> TypeGuard[Tensor]:
    """Return whether a value is a tensor of torch."""
    return isinstance(value, Tensor)
