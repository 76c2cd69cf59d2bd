"""Libraries that only some signals need."""

from __future__ import annotations

import importlib
from typing import Any

from coinr.errors import DependencyError


def optional(module: str, extra: str = "signals") -> Any:
    """The module of an optional library.

    Raises
    ------
    DependencyError
        If it is not installed; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise DependencyError(f"this needs {library}, which is not installed: pip install coinr[{extra}]") from error
