"""How far the output moves by default, and by the rule before it, on many small networks.

    python -m bench.rate.output_error [--data DIR] [--out bench/results/rate/output_error.csv] [--networks a,b]

Networks that are not trained yet are trained first (:mod:`bench.harness.wide_corpus`). Two tables are written:

- ``output_error.csv``: for each network, bytes, output error in dB and loss in dB of the default, of the efforts
  ``fast`` and ``best``, of ``paper``, and of ``tolerance=0.15``, the rule by kinds of layers. ``unknown`` is the
  default where the structure of the network is hidden from it. ``equal`` columns compare bytes at the output error of
  the default: the tolerance of the other rule is turned until it has the same.
- ``output_gains.csv``: for each tensor, the gain that is measured with small noise and the gain that is predicted.

Folds: the one number that is fitted is a shift of all levels. ``held_out_db`` is the output error with the shift that
brings the median of the other four folds to -50 dB; a network is in fold (position mod 5).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import coinr
from bench.harness import corpus, training, wide_corpus
from bench.harness.results import write_csv, write_json
from coinr.codec.encoder import Encoder
from coinr.sensitivity.gains import predict_gains
from coinr.sensitivity.output_meter import OutputMeter

FOLDS = 5

# Samples at which outputs are compared; rays of a scene take 48 points each.
_SAMPLES, _RAYS = 8192, 600

# Tries to bring the other rule to an output error, and how near is near enough, in dB.
_TRIES, _NEAR = 6, 0.1

# Relative output errors that noise may make: the linear range.
_LEAST, _MOST = 1e-5, 3e-3

_DRAWS, _NOISE_TRIES = 2, 12


def meter_of(entry: corpus.Entry) -> OutputMeter:
    """Return the meter of a network at a part of its evaluation samples."""
    inputs = entry.eval_samples["inputs"]
    most = _RAYS if entry.recipe.kind == "scene" else _SAMPLES
    if len(inputs) > most:
        inputs = inputs[torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[:most]]
    network = corpus.untrained(entry.recipe)
    return OutputMeter(lambda tensors: [training.values_of(network, tensors, inputs)], entry.state_dict)


def _noisy(tensor: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    moved = real + noise * torch.randn(real.shape, generator=generator)
    return torch.view_as_complex(moved) if tensor.is_complex() else moved


def measured_gain_db(entry: corpus.Entry, meter: OutputMeter, name: str) -> float:
    """Return the output error in dB for a root mean squared error of 1 in one tensor, from small noise."""
    tensor = entry.state_dict[name]
    generator = torch.Generator().manual_seed(1)
    noise = 1e-3 * (float(tensor.abs().square().mean().sqrt()) or 1.0)
    error = 0.0
    for _ in range(_NOISE_TRIES):
        errors = [meter.error_db({**entry.state_dict, name: _noisy(tensor, noise, generator)}) for _ in range(_DRAWS)]
        error = math.sqrt(sum(10 ** (one / 10) for one in errors) / _DRAWS)
        if _LEAST <= error <= _MOST:
            break
        noise *= 4.0 if error < _LEAST else 0.25
    return 20 * math.log10(max(error, 1e-10) / noise)


def gain_rows(entry: corpus.Entry, meter: OutputMeter) -> list[dict[str, Any]]:
    """Return measured and predicted gains of all tensors of a network."""
    predicted = predict_gains({name: tensor.numpy() for name, tensor in entry.state_dict.items()})
    rows = []
    for name, tensor in entry.state_dict.items():
        gain = predicted.tensors.get(name) if predicted else None
        rows.append(
            {
                "network": entry.name,
                "tensor": name,
                "shape": "x".join(map(str, tensor.shape)),
                "measured_gain_db": f"{measured_gain_db(entry, meter, name):.1f}",
                "predicted_gain_db": f"{20 * math.log10(gain.output):.1f}" if gain else "",
            }
        )
    return rows


def _measure(entry: corpus.Entry, meter: OutputMeter, **arguments: Any) -> tuple[int, float, float]:
    """Return bytes, output error in dB and loss in dB of a file."""
    return _measure_file(entry, meter, coinr.encode_state_dict(entry.state_dict, **arguments))


def _measure_file(entry: corpus.Entry, meter: OutputMeter, blob: bytes) -> tuple[int, float, float]:
    decoded = coinr.decode_state_dict(blob)
    return len(blob), meter.error_db(decoded), entry.evaluate(entry.state_dict) - entry.evaluate(decoded)


def _encode_unknown(entry: corpus.Entry) -> bytes:
    """Encode a network as if its structure were not recognized."""
    encoder = Encoder(entry.state_dict)
    vars(encoder)["gains"] = None
    return encoder.encode(None)


def _columns(name: str, size: int, error: float, loss: float) -> dict[str, Any]:
    return {f"{name}bytes": size, f"{name}output_error_db": f"{error:.1f}", f"{name}loss_db": f"{loss:.3f}"}


def network_row(entry: corpus.Entry, meter: OutputMeter) -> dict[str, Any]:
    """Return the row of a network in ``output_error.csv``, but for the folds."""
    size, error, loss = _measure(entry, meter)
    old = equal_size, equal_error, _ = _measure(entry, meter, tolerance=0.15)
    tolerance = 0.15
    for _ in range(_TRIES):
        if abs(equal_error - error) <= _NEAR:
            break
        tolerance *= 10 ** ((error - equal_error) / 20)
        equal_size, equal_error, _ = _measure(entry, meter, tolerance=tolerance)
    predicted = predict_gains({name: tensor.numpy() for name, tensor in entry.state_dict.items()})
    return {
        "network": entry.name,
        "parameters": entry.parameters,
        "quality_db": f"{entry.evaluate(entry.state_dict):.1f}",
        "taken_for": predicted.network if predicted else "not recognized",
        **_columns("", size, error, loss),
        **_columns("fast_", *_measure(entry, meter, effort="fast")),
        **_columns("best_", *_measure(entry, meter, effort="best")),
        **_columns("paper_", *_measure(entry, meter, profile="paper")),
        **_columns("unknown_", *_measure_file(entry, meter, _encode_unknown(entry))),
        **_columns("tolerance_", *old),
        "equal_bytes": equal_size,
        "equal_ratio": f"{size / equal_size:.3f}",
    }


def add_folds(rows: list[dict[str, Any]]) -> None:
    """Add ``fold`` and ``held_out_db`` to all rows, and the same of the other rule."""
    folds = np.arange(len(rows)) % FOLDS
    for column, name in (("output_error_db", "held_out_db"), ("tolerance_output_error_db", "tolerance_held_out_db")):
        errors = np.array([float(row[column]) for row in rows])
        for k, row in enumerate(rows):
            shift = -50.0 - float(np.median(errors[folds != folds[k]]))
            row |= {"fold": int(folds[k]), name: f"{errors[k] + shift:.1f}"}


def summarize(rows: list[dict[str, Any]]) -> Mapping[str, Any]:
    """Return shares and extremes of both rules, as they come and held out, and the median ratio of bytes."""
    found: dict[str, Any] = {"networks": len(rows)}
    names = [f"{prefix}output_error_db" for prefix in ("", "fast_", "best_", "paper_", "unknown_", "tolerance_")]
    for name in (*names, "held_out_db", "tolerance_held_out_db"):
        errors = np.array([float(row[name]) for row in rows])
        found[name] = {
            "within_3_db_of_-50": float((np.abs(errors + 50) <= 3).mean()),
            "largest": float(errors.max()),
            "smallest": float(errors.min()),
            "median": float(np.median(errors)),
        }
    for prefix in ("fast_", "best_", "paper_", "unknown_"):
        shares = np.array([row[f"{prefix}bytes"] / row["bytes"] for row in rows])
        found[f"{prefix}bytes_over_default"] = {"median": float(np.median(shares)), "largest": float(shares.max())}
    ratios = np.array([float(row["equal_ratio"]) for row in rows])
    found["bytes_at_equal_output_error"] = {"median": float(np.median(ratios)), "largest": float(ratios.max())}
    for name in (one.replace("output_error", "loss") for one in names):
        losses = np.array([float(row[name]) for row in rows])
        found[name] = {"median": float(np.median(losses)), "largest": float(losses.max())}
    return found


def main() -> None:
    """Train, measure and tabulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser)
    parser.add_argument("--out", type=Path, default=Path("bench/results/rate/output_error.csv"))
    parser.add_argument("--cache", type=Path, default=wide_corpus.CACHE)
    parser.add_argument("--networks", help="names, with commas between; all by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    gains: list[dict[str, Any]] = []
    for recipe in wide_corpus.recipes(options.data):
        if options.networks and recipe.name not in options.networks.split(","):
            continue
        entry = corpus.build(recipe, options.data, options.cache)
        meter = meter_of(entry)
        rows.append(network_row(entry, meter))
        gains += gain_rows(entry, meter)
        print(*(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    add_folds(rows)
    write_csv(options.out, rows)
    write_csv(options.out.with_name("output_gains.csv"), gains)
    write_json(options.out.with_suffix(".json"), summarize(rows), extra={"threads": torch.get_num_threads()})


if __name__ == "__main__":
    main()
