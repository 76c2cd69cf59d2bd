"""Draw plots from the tables that are stored: ``python -m bench.draw [NAME ...] [--out FOLDER]``.

Plots are not kept in the repository, but for the few that documents show: ``python -m bench.draw --documents`` draws
those, small, into ``docs/images``. Every other plot is drawn beside its table. Plots that need more than a table (the
weights of ``figure1``, the pictures of ``figure5``, shapes, a sound) are drawn by ``python -m bench.paper`` alone.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from bench.harness import tables
from bench.harness.results import read_csv
from bench.paper import images, sparsity_plot
from bench.paper.ablations import bits, cut, entropy, kinds, learned, solver, training
from bench.rate import plots
from bench.signals import kodak_curves
from bench.speed import omp_peers, omp_scaling
from coinr.files.writing import write_atomic

RESULTS = Path("bench/results")

#: Plots that documents show, and the width of each in pixels.
DOCUMENTS = {"rate/siren-3x64-kodim03": 900, "kodak": 1000, "omp_peers": 900, "paper/c1": 760}

Draw = Callable[[Path], None]


def _ablation(name: str, plot: Callable[[list[dict[str, Any]], Path], None]) -> Draw:
    def draw(path: Path) -> None:
        rows = read_csv(RESULTS / "paper" / f"{name}.csv")
        plot([{key: value for key, value in row.items() if value is not None} for row in rows], path)

    return draw


def _kodak(path: Path) -> None:
    kodak_curves.plot(path, kodak_curves.stored(RESULTS / "kodak.csv"), kodak_curves.published())


def _means(name: str) -> Draw:
    """Return means over the pictures of one experiment of the paper."""

    def draw(path: Path) -> None:
        about = _json(f"paper/{name}.json")
        title = f"{name}: {len(about['pictures'])} pictures, {about['budget']['name']} budget"
        images.plot(path, title, read_csv(RESULTS / "paper" / f"{name}.csv"))

    return draw


def _sparsity(path: Path) -> None:
    curves, table = (read_csv(RESULTS / "paper" / f"{name}.csv") for name in ("sparsity", "sparsity_smallest"))
    sparsity_plot.plot(curves, table, _json("paper/sparsity.json")["pictures"], path)


def _rate(network: str) -> Draw:
    def draw(path: Path) -> None:
        curves = tables.by_coder(tables.read_rows(RESULTS / "rate" / "curves.csv"))
        plots.plot_one(network, curves[network], _json("rate/results.json")["networks"][network], path)

    return draw


def _json(name: str) -> Any:
    return json.loads((RESULTS / name).read_text())


def drawings() -> dict[str, Draw]:
    """Return what draws each plot, by its place under ``bench/results`` without ``.png``."""
    ablations = {
        "bits": bits.plot,
        "cut": cut.plot,
        "dictionary": kinds.plot,
        "entropy": entropy.plot,
        "learned": learned.plot,
        "solver": solver.plot,
        "training": training.plot,
    }
    return {
        "kodak": _kodak,
        "omp_peers": lambda path: omp_peers.plot(_json("omp_peers.json")["results"], path),
        "omp_scaling": lambda path: omp_scaling.plot(_json("omp_scaling.json")["sweeps"], path),
        "paper/c1": _means("c1"),
        "paper/c2": _means("c2"),
        "paper/sparsity": _sparsity,
        **{f"paper/ablation_{name}": _ablation(f"ablation_{name}", plot) for name, plot in ablations.items()},
        **{f"rate/{name}": _rate(name) for name in _json("rate/results.json")["networks"]},
    }


def shrink(path: Path, width: int) -> None:
    """Replace a plot by one of ``width`` pixels and at most 128 colors."""
    with Image.open(path) as image:
        height = round(image.height * width / image.width)
        small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).quantize(128)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    write_atomic(path, buffer.getvalue())


def main(arguments: list[str] | None = None) -> None:
    """Draw the given plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = drawings()
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all by default; of {', '.join(known)}")
    parser.add_argument("--documents", action="store_true", help="draw what documents show, into docs/images")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write (default: bench/results)")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"unknown plots: {', '.join(unknown)}")
    if options.documents:
        folder = Path("docs/images")
        for name, width in DOCUMENTS.items():
            path = folder / f"{Path(name).name}.png"
            folder.mkdir(parents=True, exist_ok=True)
            known[name](path)
            shrink(path, width)
        return
    for name in options.names or known:
        path = options.out / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        known[name](path)


if __name__ == "__main__":
    main()
