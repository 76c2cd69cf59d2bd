"""The experiments by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from bench.paper.context import Context

#: Every experiment: a module of this package, and the function in it that runs it.
EXPERIMENTS = {
    "figure1": "figure1:run",
    "sparsity": "sparsity:run",
    "c1": "images:run_c1",
    "c2": "images:run_c2",
    "figure5": "figure5:run",
    "ablations": "ablations:run",
    "occupancy": "occupancy:run",
    "audio": "audio:run",
    "inric": "published:run",
    "published": "as_published:run",
}


def run(name: str, context: Context) -> None:
    """Run an experiment; only its modules are imported."""
    module, _, function = EXPERIMENTS[name].partition(":")
    chosen: Callable[[Context], None] = getattr(import_module(f"bench.paper.{module}"), function)
    chosen(context)
