"""L1 minimization as written in the paper (LASSO) against orthogonal matching pursuit, at equal nonzeros.

The LASSO's path is followed vector by vector (least-angle regression) on the same materialized dictionary, atoms of
unit norm: to where its solution has s nonzeros for the first time, and to its end, where it is basis pursuit (least
‖x‖₁ with A x = w, up to n nonzeros) of which the s largest are kept. LASSO values are shrunk; *debiased* are the
least-squares values on the same support.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import lars_path  # type: ignore[import-untyped]

import coinr
from bench.paper.ablations.figures import Panel, draw, lines_of
from bench.paper.ablations.hidden import Hidden, combined, residual_db
from bench.paper.context import Context, Point
from coinr.codec.profiles.paper import solve

ATOMS = 1 << 12
_STEPS = 8  # of a path, at most, as a multiple of n
FRACTIONS = (0.125, 0.25, 0.375, 0.485)  # of n: s


#: Indices and values ``[B, s]``.
Codes = tuple[NDArray[np.int32], NDArray[np.float64]]


def lasso(W: NDArray[np.float64], dictionary: coinr.Dictionary, sparsities: list[int]) -> dict[tuple[str, int], Codes]:
    """Return codes of the vectors ``[B, n]`` for each s, ``"LASSO"`` and ``"basis pursuit"``, padded by -1 and 0.

    Values are those of the path.
    """
    atoms = dictionary.materialize().astype(np.float64)
    norms = np.linalg.norm(atoms, axis=0)
    unit = atoms / norms
    found = {
        (name, s): (np.full((len(W), s), -1, np.int32), np.zeros((len(W), s)))
        for name in ("LASSO", "basis pursuit")
        for s in sparsities
    }
    for b, w in enumerate(W):
        # variables leave the path too, so it takes more steps than nonzeros
        _, _, path = lars_path(unit, w, method="lasso", max_iter=_STEPS * len(w))
        counts = np.count_nonzero(path, axis=0)
        for (name, s), (indices, values) in found.items():
            reached = np.flatnonzero(counts == s)
            knot = int(reached[0]) if name == "LASSO" and reached.size else -1
            support = np.argsort(-np.abs(path[:, knot]), kind="stable")[: min(s, counts[knot])]
            indices[b, : support.size] = support
            values[b, : support.size] = path[support, knot] / norms[support]
    return found


def _rows(point: Point, network: str) -> Iterator[dict[str, Any]]:
    hidden = Hidden.of(point)
    n = hidden.cut.n
    dictionary = coinr.Dictionary("gaussian", n, ATOMS, 0)
    sparsities = sorted({max(1, min((n - 1) // 2, round(part * n))) for part in FRACTIONS})
    begin = time.perf_counter()
    paths = lasso(hidden.vectors, dictionary, sparsities)
    seconds = {"path": time.perf_counter() - begin}
    begin = time.perf_counter()
    pursuit = hidden.pursue(dictionary, sparsities[-1])
    seconds["OMP"] = time.perf_counter() - begin
    for s in sparsities:
        support, shrunk = paths["LASSO", s]
        largest, _ = paths["basis pursuit", s]
        own = np.ascontiguousarray(pursuit.indices[:, :s])
        for solver, indices, values in (
            ("OMP", own, solve(hidden.vectors, own, dictionary)),
            ("basis pursuit, s largest, debiased", largest, solve(hidden.vectors, largest, dictionary)),
            ("LASSO, debiased", support, solve(hidden.vectors, support, dictionary)),
            ("LASSO", support, shrunk),
        ):
            blob, size = hidden.file(indices, dictionary, values=values)
            yield {
                "network": network,
                "solver": solver,
                "n": n,
                "M": ATOMS,
                "s": s,
                "residual_db": residual_db(hidden.vectors, combined(indices, values, dictionary)),
                "loss_db": point.bench.original - point.entry.evaluate(coinr.decode_state_dict(blob)),
                "bytes": len(blob),
                "hidden_bytes": size,
                "seconds": seconds["OMP" if solver == "OMP" else "path"],
            }


def run(context: Context) -> None:
    """Write ``ablation_solver``."""
    rows: list[dict[str, Any]] = []
    for picture in context.track(context.pictures, "solver, pictures"):
        point = context.siren(picture, 3, 64)
        rows += _rows(point, point.entry.name)
    context.write("ablation_solver", rows, seconds_are="of all vectors: OMP to the largest s, the path to its end")
    plot(rows, context.out / "ablation_solver.png")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the residual and the loss over s."""
    panels = []
    for name in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == name]
        panels += [
            Panel(name, "nonzeros s of each vector", "residual of hidden matrices, dB",
                  lines_of(own, lambda row: row["solver"], "s", "residual_db")),
            Panel(name, "nonzeros s of each vector", "loss of PSNR, dB",
                  lines_of(own, lambda row: row["solver"], "s", "loss_db"), log_y=_positive(own)),
        ]  # fmt: skip
    draw(path, f"L1 solver at equal s, M = {ATOMS}, rows of (3, 64) networks", panels)


def _positive(rows: list[dict[str, Any]]) -> bool:
    """Return whether all losses can stand on a logarithmic axis."""
    return all(row["loss_db"] > 0 for row in rows)
