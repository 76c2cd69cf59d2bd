"""What every experiment is given: where the data are, how much is run, and where results go."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import track

from bench.harness import coders, corpus, signals
from bench.harness.measure import Bench
from bench.harness.results import read_csv, write_csv, write_json

CACHE = Path("bench/cache/paper")

T = TypeVar("T")

#: A line of a table.
Line = dict[str, Any]


@dataclass(frozen=True)
class Budget:
    """How much is run.

    Attributes
    ----------
    name : str
        ``"quick"`` or ``"full"``.
    images : tuple of int
        Numbers of Kodak pictures.
    half : bool
        Pictures at half height and width.
    steps, refine_steps : int
        Of training, and of what trains a network further through a code; batches of 4096.
    epochs : int
        Passes over a shape's voxels.
    widths : tuple of int
        Of the networks whose s is looked for.
    seeds : int
        Of the (2, 32) networks in ``quick``, of all of c1 in ``full``.
    """

    name: str
    images: tuple[int, ...]
    half: bool
    steps: int
    refine_steps: int
    epochs: int
    widths: tuple[int, ...]
    seeds: int


BUDGETS = {
    "quick": Budget("quick", (3, 19), True, 2000, 1000, 20, (20, 32, 48, 64, 96, 128), 3),
    "full": Budget("full", tuple(range(1, 25)), False, 20000, 5000, 200, (20, 32, 48, 64, 96, 128, 192, 256), 3),
}


@dataclass(frozen=True)
class Context:
    """Arguments of a run.

    Attributes
    ----------
    data : Path or None
        The data folder; without it, pictures are photos of scikit-image and the rest is generated.
    out : Path
        Where tables and figures go.
    budget : Budget
        How much is run.
    cache : Path
        Trained networks and measured rows, by budget.
    experiment : str
        The name of what runs.
    again : bool
        Measure networks anew that the tables in ``out`` hold already.
    """

    data: Path | None
    out: Path
    budget: Budget
    cache: Path = CACHE
    experiment: str = ""
    again: bool = False
    begin: float = field(default_factory=time.perf_counter)
    _tables: dict[str, list[Line]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Return the cache of this budget: networks of different budgets have the same names."""
        return self.cache / self.budget.name

    @property
    def pictures(self) -> list[str]:
        """Return names of the pictures, as :func:`bench.harness.signals.picture` takes them."""
        suffix = "-half" if self.budget.half else ""
        names = [f"kodim{n:02}" for n in self.budget.images] if self.data else ["coffee", "astronaut"]
        return [name + suffix for name in names]

    def siren(self, picture: str, hidden_layers: int, width: int, seed: int = 0) -> Point:
        """Return a SIREN of a picture, trained as the budget says."""
        return self.point(self.siren_recipe(picture, hidden_layers, width, seed))

    def siren_recipe(self, picture: str, hidden_layers: int, width: int, seed: int = 0) -> corpus.Recipe:
        """Return how it is trained."""
        rate = 1e-3 if width > 64 or hidden_layers > 3 else 2e-3
        return corpus.Recipe("siren", (hidden_layers, width), "picture", picture, self.budget.steps, 4096, rate, seed)

    def point(self, recipe: corpus.Recipe) -> Point:
        """Return the network of a recipe, trained once and kept, on the bench."""
        return Point(Bench(corpus.build(recipe, self.data, self.folder), self.folder), self.data)

    def track(self, items: Sequence[T], label: str) -> Iterable[T]:
        """Yield the items with a bar on a terminal, with a line each elsewhere."""
        if sys.stderr.isatty():
            yield from track(items, f"{self.experiment}: {label}")
            return
        for count, item in enumerate(items):
            print(f"{self.experiment}: {label} {count + 1} of {len(items)}", flush=True)
            yield item

    def known(self, tables: Sequence[str], recipe: corpus.Recipe) -> list[Line]:
        """Return a network's lines in the first table that has it, as it was before this run, by the same budget."""
        for name in tables:
            if name not in self._tables:
                self._tables[name] = [] if self.again else self._table(name)
            if found := [line for line in self._tables[name] if line["network"] == recipe.name]:
                return found
        return []

    def known_first(self, tables: Sequence[str], recipes: Sequence[corpus.Recipe]) -> list[corpus.Recipe]:
        """Return the networks in an order in which a run that is stopped leaves no known line out of its table."""
        return sorted(recipes, key=lambda recipe: not self.known(tables, recipe))

    def lines(self, tables: Sequence[str], recipe: corpus.Recipe, measure: Callable[[Point], list[Line]]) -> list[Line]:
        """Return a network's lines: those that are known, or measured now."""
        version = coders.ours_version()
        return self.known(tables, recipe) or [line | {"code": version} for line in measure(self.point(recipe))]

    def _table(self, name: str) -> list[Line]:
        path, about = self.out / f"{name}.csv", self.out / f"{name}.json"
        if not (path.exists() and about.exists()):
            return []
        return read_csv(path) if json.loads(about.read_text())["budget"]["name"] == self.budget.name else []

    def write(self, name: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
        """Write ``NAME.csv`` of the rows, and ``NAME.json`` with machine, versions, budget, seconds and ``more``."""
        write_csv(self.out / f"{name}.csv", rows)
        about = {
            "budget": vars(self.budget),
            "pictures": self.pictures,
            "seconds": round(time.perf_counter() - self.begin, 1),
        }
        write_json(self.out / f"{name}.json", about | more)


@dataclass(frozen=True)
class Point:
    """A trained network on the bench, and the signal it shows."""

    bench: Bench
    data: Path | None

    @property
    def entry(self) -> corpus.Entry:
        """Return the network."""
        return self.bench.entry

    @property
    def samples(self) -> signals.Samples:
        """Return what it was trained on."""
        recipe = self.entry.recipe
        return signals.KINDS[recipe.kind](recipe.signal, self.data)
