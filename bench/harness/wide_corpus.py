"""Many small trained networks of many kinds, on which the default's output error is measured.

    python -m bench.harness.wide_corpus [--data DIR] [--networks a,b] [--cache bench/cache/wide]

They differ in what sensitivity depends on: depth, width, frequency, activation, quality, names. Each trains in about a
minute on one core, on a small crop. Files and use are those of :mod:`bench.harness.corpus`.
"""

from __future__ import annotations

from pathlib import Path

from bench.harness.corpus import Recipe, train_all

CACHE = Path("bench/cache/wide")


def recipes(data: Path | None) -> list[Recipe]:
    """Return all entries in the order of training; signals are those of the data folder, else bundled and generated."""
    one, two, three, four = (
        ("kodim03", "kodim08", "kodim15", "kodim23")
        if data
        else ("coffee", "astronaut", "rocket", "immunohistochemistry")
    )
    music, statue, view = ("bach", "lucy", "lego") if data else ("tones", "knot", "spheres")

    def crop(
        family: str, hidden: int, width: int, signal: str, rate: float, steps: int = 1000, side: int = 128,
        frequency: float | None = None, encoding: int = 0,
    ) -> Recipe:  # fmt: skip
        name = f"{signal}-{side}"
        return Recipe(family, (hidden, width), "crop", name, steps, 2048, rate, 0, frequency, encoding)

    return [
        crop("siren", 3, 64, one, 1e-3),
        crop("siren", 1, 48, two, 2e-3, 1500),
        crop("siren", 2, 20, three, 2e-3, 1500),
        crop("unit", 5, 64, two, 1e-3),
        crop("coin", 9, 28, four, 1e-3, 1500),
        crop("relu", 3, 64, one, 2e-3, encoding=6),
        crop("siren", 7, 64, one, 5e-4),
        crop("siren", 12, 32, two, 5e-4),
        Recipe("siren", (3, 48), "clip", f"{music}-8192", 1500, 2048, 5e-4, 0, 600.0),
        Recipe("gauss", (2, 64), "shape", statue, 600, 4096, 2e-3),
        crop("wire", 2, 24, one, 5e-3),
        crop("finer", 3, 48, three, 1e-3),
        crop("siren", 3, 96, four, 1e-3, 1500),
        crop("siren", 3, 64, two, 2e-3, frequency=10.0),
        crop("siren", 3, 64, three, 5e-4, frequency=60.0),
        crop("siren", 2, 64, four, 2e-4, frequency=100.0),
        crop("coin", 4, 20, one, 2e-3, 1500),
        crop("coin", 12, 49, three, 5e-4, 700),
        crop("gelu", 3, 48, two, 2e-3, encoding=6),
        crop("tanh", 2, 48, three, 3e-3, encoding=6),
        crop("inric", 3, 32, four, 1e-3),
        crop("gauss", 2, 48, one, 2e-3, frequency=10.0),
        crop("siren", 5, 48, three, 1e-3),
        crop("siren", 1, 128, one, 2e-3),
        crop("siren", 2, 32, two, 2e-3, side=256),
        crop("siren", 4, 40, four, 1e-3, side=256),
        crop("siren", 9, 40, three, 5e-4, 700),
        crop("unit", 3, 48, one, 1e-3),
        crop("unit", 8, 32, four, 1e-3, 700),
        crop("finer", 2, 32, two, 2e-3),
        crop("finer", 5, 40, one, 5e-4),
        crop("wire", 1, 32, three, 5e-3),
        crop("relu", 5, 32, four, 2e-3, encoding=8),
        crop("relu", 2, 128, two, 2e-3, 600, encoding=4),
        crop("relu", 3, 64, three, 2e-3, 600),
        crop("inric", 2, 48, one, 1e-3),
        crop("siren", 2, 200, two, 5e-4, 600, side=256),
        crop("siren", 1, 256, three, 5e-4, 400),
        crop("siren", 4, 64, one, 2e-3, frequency=15.0),
        crop("siren", 5, 32, two, 5e-4, frequency=50.0),
        Recipe("siren", (2, 64), "clip", f"{music}-16384", 1000, 2048, 5e-4, 0, 1500.0),
        Recipe("siren", (4, 32), "clip", f"{music}-4096", 1500, 2048, 5e-4, 0, 200.0),
        Recipe("siren", (2, 48), "shape", statue, 600, 4096, 1e-3),
        Recipe("wire", (2, 24), "shape", statue, 400, 2048, 5e-3),
        Recipe("relu", (3, 48), "shape", statue, 600, 4096, 2e-3, 0, None, 6),
        Recipe("nerf", (4, 32), "scene", view, 800, 128, 3e-3),
        Recipe("nerf", (4, 64), "scene", view, 800, 128, 2e-3),
        crop("tanh", 4, 32, one, 3e-3, encoding=4),
        crop("siren", 3, 32, one, 1e-3, 1500, side=32),
        crop("siren", 2, 24, four, 2e-3, side=32),
        crop("coin", 9, 40, two, 5e-4, 700),
        crop("siren", 3, 64, "astronaut", 1e-3),
        crop("coin", 9, 20, "coffee", 1e-3),
        crop("siren", 10, 48, "rocket", 5e-4),
        crop("siren", 2, 28, "astronaut", 2e-3, side=256),
        crop("gauss", 3, 32, "coffee", 1e-3, frequency=30.0),
        crop("grid", 1, 32, one, 1e-2, 500, encoding=10),
        crop("grid", 2, 16, two, 1e-2, 500, side=256, encoding=9),
        crop("grids", 2, 32, three, 1e-2, 500, encoding=8),
        crop("tcnn", 2, 16, four, 1e-2, 500, encoding=9),
        Recipe("coinpp", (4, 48), "patches", f"{one}-128", 1500, 2048, 1e-3, 0, None, 32),
        Recipe("coinpp", (6, 32), "patches", f"{two}-128", 1500, 2048, 1e-3, 0, 50.0, 16),
        crop("inric", 4, 24, two, 1e-3),
        crop("relu", 4, 40, "rocket", 2e-3),
        crop("gauss", 2, 40, "rocket", 1e-3, frequency=15.0),
    ]


if __name__ == "__main__":
    train_all(recipes, CACHE, __doc__)
