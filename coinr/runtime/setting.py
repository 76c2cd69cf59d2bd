"""A setting of a thread that changes results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """A setting of a thread: the value of public functions, a reader, and a context manager that sets it."""

    own: Any
    read: Callable[[], Any]
    use: Callable[[Any], AbstractContextManager[Any]]
