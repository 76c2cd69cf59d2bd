"""Where a dictionary beats direct coding, and where not: bits per weight at equal error, matrix by matrix.

``python -m bench.rate.sparse_table`` writes ``bench/results/rate/sparse_vs_direct.csv`` and ``.md``. Three codes of a
matrix, all as bytes that decode to it (payload and parameters): *direct*, the trellis quantizer on the weights;
*dense*, the same on their coefficients in an orthogonal seeded dictionary; *sparse*, few atoms of a large one. Matrices
are normal random numbers, hidden layers of trained networks (those in the cache of ``bench.harness.corpus``), and
differences between two networks: one trained on, and one trained on towards another picture.

Sparse codes meet an error exactly. Direct and dense ones have a grid of steps and prices of a bit, and are read off the
envelope of what that gives, with the logarithm of the bits linear in dB between two points.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.harness import corpus, training
from bench.harness.curves import Point, bytes_at
from bench.harness.results import write_csv, write_json
from bench.harness.signals import Samples
from coinr.codec.candidates import Candidate, cost
from coinr.codec.coders import DirectParams, SparseParams
from coinr.codec.coders.coder import short_step
from coinr.codec.coders.levels import NO_STEPS, LevelForm, decoded_scale, scale_code
from coinr.codec.coders.sparse import decode_integers
from coinr.codec.distortion import DistortionLimit
from coinr.codec.effort import BEST
from coinr.codec.options import EncodeOptions
from coinr.codec.quantize import direct, sparse, trellis
from coinr.codec.quantize.forms import Quantized, smallest_form
from coinr.codec.quantize.problem import QuantizationProblem
from coinr.codec.state_dict import Entry, read_state_dict
from coinr.codec.tensors import Cut, Layout
from coinr.engine import _C

RESULTS = Path(__file__).resolve().parents[1] / "results" / "rate"

# Relative errors as the bits per weight that the rate-distortion function of a normal entry gives them.
IDEAL_BITS = (0.08, 0.15, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)

# Above this, sparse codes are far from winning: a small dictionary shows it in a hundredth of the time.
PATIENT_BITS = 2.0
QUICK = {"form": "sparse", "n": 64, "M": 1 << 14, "beam": 1}

# Of the trellis (log2).
STATES = 8

# Up to this, direct and dense codes are searched on a grid; beyond, their own encoders do it.
GRID_BITS = 1.4

LAYERS = (
    ("siren-3x64-kodim03", "layers.2.weight"),
    ("siren-3x128-kodim03", "layers.2.weight"),
    ("finer-3x64-kodim19", "layers.2.weight"),
    ("gauss-3x128-lucy", "layers.2.weight"),
    ("nerf-4x64-lego", "layers.2.weight"),
)
BASE, OTHER = "siren-3x64-kodim03", "siren-3x64-kodim19"
STEPS, RATE = 400, 2e-4


@dataclass(frozen=True)
class Line:
    """One matrix at one error. Bits are per weight; those of a code that cannot reach the error are empty."""

    matrix: str
    weights: int
    relative_error: float
    normal_bound: float
    direct: float | None
    dense: float | None
    dense_n: int | None
    sparse: float | None
    sparse_n: int | None
    sparse_M: int | None
    sparse_atoms: float | None
    sparse_over_direct: float | None
    winner: str


def matrices() -> Iterator[tuple[str, Tensor]]:
    """Yield names and matrices, those whose networks are in the cache."""
    generator = torch.Generator().manual_seed(0)
    yield "normal", torch.randn(64, 256, generator=generator)
    ready = corpus.ready()
    for name, tensor in LAYERS:
        if name in ready:
            weights = corpus.load(name).state_dict
            yield f"{name} {tensor}", weights.get(tensor, _hidden(weights))
    if BASE in ready:
        start = corpus.load(BASE)
        for target, words in ((BASE, "trained on"), (OTHER, "towards another picture")):
            if target in ready:
                moved = _train_towards(start, corpus.load(target))
                yield f"difference, {words}: layers.2.weight", moved["layers.2.weight"]


def _hidden(weights: dict[str, Tensor]) -> Tensor:
    """Return the second square matrix of a network with other names."""
    square = [t for t in weights.values() if t.ndim == 2 and t.shape[0] == t.shape[1]]
    return square[min(1, len(square) - 1)]


def _train_towards(start: corpus.Entry, target: corpus.Entry) -> dict[str, Tensor]:
    """Return what more training, on the pixels that the target is evaluated on, adds to the tensors of a network."""
    network = deepcopy(start.network())
    pixels = target.eval_samples["inputs"], target.eval_samples["targets"]
    training.train(network, Samples(*pixels, *pixels), steps=STEPS, batch=4096, learning_rate=RATE, seed=5)
    return {name: tensor - start.state_dict[name] for name, tensor in network.state_dict().items()}


def trellis_points(matrix: NDArray[np.float64], scale: float) -> Iterator[Point]:
    """Yield bits per weight and dB of trellis codes of a matrix, over a coarse grid; errors count ``scale`` times."""
    size = math.sqrt(float(np.square(matrix).mean()))
    for ideal in np.arange(0.05, GRID_BITS, 0.08):
        error = size * 2.0**-ideal
        for slope in (0.2, 0.4, 0.6, 0.8):
            for wide in (2.3, 2.6, 2.9, 3.4, 4.2) if ideal < 0.5 else (2.3, 2.6, 2.9, 3.4):
                step, price = short_step(wide * error), 2 * math.log(2) * slope * error**2
                for found in (_with_tables(matrix, step, price), _with_own_table(matrix, step, price)):
                    if found.k.any():
                        payload, form = smallest_form(found, BEST)
                        bits = 8 * (len(payload) + len(DirectParams(form, step).write())) / matrix.size
                        yield Point(bits, 20 * math.log10(found.error * scale))


def _with_tables(matrix: NDArray[np.float64], step: float, price: float) -> Quantized:
    """Return the direct coder's own choice of integers, a bit costing ``price`` of squared error."""
    usual = trellis._SLOPE
    trellis._SLOPE = price / (2 * math.log(2) * trellis._NOISE[STATES] * step**2)
    try:
        found = trellis.quantize(QuantizationProblem(matrix, 0.0, 0.0), NO_STEPS, NO_STEPS, step, STATES, BEST)
    finally:
        trellis._SLOPE = usual
    assert found is not None
    return found


def _with_own_table(matrix: NDArray[np.float64], step: float, price: float) -> Quantized:
    """Return one cost table, of the scale that the chosen values have: at low rates that of the targets is too wide."""
    x = np.ascontiguousarray((matrix / step).reshape(-1))
    shape, mean = trellis.nearest_shape(matrix), float(np.abs(x).mean())
    weight, no_table = np.array([step**2 / price]), np.zeros(0, np.uint8)
    k, values = np.zeros((1, x.size), np.int32), np.zeros((1, x.size), np.int32)
    for _ in range(2):
        bits = _C.level_costs(STATES, shape, decoded_scale(int(scale_code(mean))), int(np.abs(x).max()) + 4)
        k = _C.choose_levels(STATES, x, weight, bits[None], no_table).reshape(1, -1)
        values = _C.level_values(k, STATES)
        mean = float(np.abs(values).mean())
    error = math.sqrt(float(np.square(values[0] - x).mean())) * step
    form = LevelForm(STATES, shape, int(scale_code(mean)))
    return Quantized(k.reshape(matrix.shape), NO_STEPS, NO_STEPS, form, step, error, error)


def _point(entry: Entry, coded: Candidate, error: float) -> Point:
    return Point(8 * cost(coded) / entry.planes.size, 20 * math.log10(error))


def lines(name: str, tensor: Tensor, settings: EncodeOptions) -> Iterator[Line]:
    """Yield the matrix at every error, coarse to fine."""
    (entry,) = read_state_dict({"w": tensor})
    size = math.sqrt(float(np.square(entry.planes).mean()))
    matrix = entry.planes.reshape(tensor.shape)
    plain = list(trellis_points(matrix, 1.0))
    dense: dict[int, list[Point]] = {}
    params = SparseParams(Cut(False, 64), "hadamard", 64, 64, 1.0)
    dense[64] = list(trellis_points(sparse.coefficients(entry, params, settings.seed), 8.0))
    for ideal in IDEAL_BITS:
        error = size * 2.0**-ideal
        limit, loss = DistortionLimit(error, error), 20 * math.log10(error)
        if ideal > GRID_BITS - 0.3:
            plain += [_point(entry, coded, error) for coded in direct.candidates(entry, limit, settings)]
            for n in sparse.DENSE_RUNS:
                found = sparse.candidates(entry, limit, replace(settings, profile_options={"form": "dense", "n": n}))
                dense.setdefault(n, []).extend(_point(entry, coded, error) for coded in found)
        options = {"form": "sparse"} if ideal < PATIENT_BITS else QUICK
        few = next(iter(sparse.candidates(entry, limit, replace(settings, profile_options=options))), None)
        rates = {n: rate for n, points in dense.items() if (rate := bytes_at(points, loss)) is not None}
        best = min(rates, key=lambda n: rates[n], default=None)
        yield _line(name, entry, ideal, bytes_at(plain, loss), (best, rates), few)


def _line(
    name: str,
    entry: Entry,
    ideal: float,
    plain: float | None,
    dense: tuple[int | None, dict[int, float]],
    few: Candidate | None,
) -> Line:
    n, rates = dense
    all_atoms = None if n is None else rates[n]
    bits = None if few is None else 8 * cost(few) / entry.planes.size
    params = few.params if few is not None and isinstance(few.params, SparseParams) else None
    found = {"direct": plain, "dense": all_atoms, "sparse": bits}
    return Line(
        matrix=name,
        weights=entry.planes.size,
        relative_error=2.0**-ideal,
        normal_bound=ideal,
        direct=plain,
        dense=all_atoms,
        dense_n=n,
        sparse=bits,
        sparse_n=params.cut.n if params else None,
        sparse_M=params.M if params else None,
        sparse_atoms=_mean_atoms(few.payload, params, entry.layout) if few and params else None,
        sparse_over_direct=bits / plain if bits and plain else None,
        winner=min((coder for coder, rate in found.items() if rate is not None), key=lambda c: found[c] or 0.0),
    )


def _mean_atoms(payload: bytes, params: SparseParams, layout: Layout) -> float:
    """Return mean number of atoms of a vector."""
    return float(np.count_nonzero(decode_integers(payload, params, layout)[1])) / params.cut.batch(layout)


def markdown(table: list[Line]) -> str:
    """Return the table for readers: bits per weight, the smallest of each row in bold."""
    out = ["# Bits per weight at equal error: direct, dense dictionary, sparse dictionary", "", *_summary(table), ""]
    out += [
        f"From a relative error of {2.0**-PATIENT_BITS} down, sparse codes are those of a quick search, M = 2^14.",
        "",
    ]
    for name in dict.fromkeys(line.matrix for line in table):
        rows = [line for line in table if line.matrix == name]
        out += [f"## {name} ({rows[0].weights} weights)", ""]
        out += ["| relative error | direct | dense (n) | sparse (n, M, mean atoms) | sparse / direct |"]
        out += ["|---|---|---|---|---|"]
        for line in rows:
            cells = [_cell(line, coder) for coder in ("direct", "dense", "sparse")]
            ratio = "" if line.sparse_over_direct is None else f"{line.sparse_over_direct:.2f}"
            out.append(f"| {line.relative_error:.3f} | " + " | ".join(cells) + f" | {ratio} |")
        out.append("")
    return "\n".join(out)


def _summary(table: list[Line]) -> list[str]:
    """Return medians over the matrices, error by error, and how many each code won."""
    out = ["| relative error | direct, median | sparse / direct, median | direct wins | dense wins | sparse wins |"]
    out += ["|---|---|---|---|---|---|"]
    for error in dict.fromkeys(line.relative_error for line in table):
        rows = [line for line in table if line.relative_error == error]
        bits = statistics.median(line.direct for line in rows if line.direct)
        ratio = statistics.median(line.sparse_over_direct for line in rows if line.sparse_over_direct)
        wins = " | ".join(str(sum(line.winner == coder for line in rows)) for coder in ("direct", "dense", "sparse"))
        out.append(f"| {error:.3f} | {bits:.2f} | {ratio:.2f} | {wins} |")
    return out


def _cell(line: Line, coder: str) -> str:
    bits = getattr(line, coder)
    if bits is None:
        return "–"
    mark = "**" if line.winner == coder else ""
    more = ""
    if coder == "dense":
        more = f" ({line.dense_n})"
    elif coder == "sparse" and line.sparse_M:
        more = f" ({line.sparse_n}, 2^{line.sparse_M.bit_length() - 1}, {line.sparse_atoms:.1f})"
    return f"{mark}{bits:.3f}{mark}{more}"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = EncodeOptions(effort="best", threads=options.threads)
    table: list[Line] = []
    for name, tensor in matrices():
        for line in lines(name, tensor, settings):
            table.append(line)
            cells = [_cell(line, coder) for coder in ("direct", "dense", "sparse")]
            print(" | ".join([name, f"{line.relative_error:.3f}", *cells]))
    write_csv(options.out / "sparse_vs_direct.csv", [asdict(line) for line in table])
    (options.out / "sparse_vs_direct.md").write_text(markdown(table) + "\n")
    write_json(options.out / "sparse_vs_direct.json", {})


if __name__ == "__main__":
    main()
