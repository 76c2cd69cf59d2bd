"""Parameter grids of which the fast suite runs a part and ``make test-slow`` the rest."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def fast_where(kept: Callable[..., bool], cases: Iterable[Any]) -> list[Any]:
    """Return all cases, those marked ``slow`` for which ``kept`` is false; tuples are given to it as arguments."""
    as_tuples = ((case, case if isinstance(case, tuple) else (case,)) for case in cases)
    return [case if kept(*values) else pytest.param(*values, marks=pytest.mark.slow) for case, values in as_tuples]
