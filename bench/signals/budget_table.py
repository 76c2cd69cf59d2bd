"""Measures the table that :func:`coinr.compress` chooses networks from.

    python -m bench.signals.budget_table --data DIR [--kinds image,audio,shape,scene]

For each kind of signal the networks of its recipe are fitted in several depths and widths, about as many parameters in
each depth, to small signals, on one thread. Then they are coded with several numbers of bits a parameter, with the
layers' input covariance.
Every row is kept in ``bench/cache/budget``, so that a run that was stopped goes on. Writes ``budget_table.csv`` (all
rows) and ``budget_table.json`` (machine and versions) in ``bench/results``, and
``coinr/optimize/compress/scaling.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import coinr
from bench.harness import corpus
from bench.harness.results import Kept, write_csv, write_json
from coinr.files.writing import write_atomic
from coinr.fitting import new_network
from coinr.networks import Mlp
from coinr.optimize.compress.scaling import decibels
from coinr.signals.audio.signal import AudioSignal
from coinr.signals.image.signal import ImageSignal
from coinr.signals.sampling import score_of
from coinr.signals.scene.signal import SceneSignal
from coinr.signals.shape.signal import ShapeSignal
from coinr.signals.signal import Signal

CACHE = Path("bench/cache/budget")
RESULTS = Path("bench/results")
TABLE = Path("coinr/optimize/compress/scaling.json")

#: Bits a parameter that networks are coded with, and inputs that their layers are recorded at.
BITS = (4.0, 5.5, 7.0)
_INPUTS = 4096


@dataclass(frozen=True)
class Work:
    """What is fitted for a kind of signal: (hidden layers, width) of networks, and how."""

    sizes: tuple[tuple[int, int], ...]
    steps: int
    batch: int


WORK = {
    "image": Work(
        ((2, 16), (3, 13), (2, 32), (3, 26), (4, 22), (3, 43), (4, 37), (3, 64), (4, 55), (3, 95)),
        1000,
        4096,
    ),
    "audio": Work(((3, 26), (3, 52), (2, 32), (2, 64)), 1000, 2048),
    "shape": Work(((2, 16), (2, 32), (3, 13), (3, 26), (3, 52)), 1000, 2048),
    "scene": Work(((2, 16), (4, 16), (2, 32), (4, 32)), 400, 320),
}


@dataclass(frozen=True)
class Row:
    """One fit, and its quality in dB (of IoU: -10 log10(1 - IoU)) as fitted and at 8 · file size / parameters bits."""

    kind: str
    signal: str
    hidden_layers: int
    width: int
    parameters: int
    steps: int
    batch: int
    quality: float
    coded: dict[str, float]


def signals(kind: str, data: Path) -> dict[str, Signal]:
    """Return small signals of a kind."""
    if kind == "image":
        names = ("kodim01", "kodim07", "kodim15")
        whole = {name: coinr.read_image(data / "kodak" / f"{name}.png") for name in names}
        return {name: ImageSignal(np.asarray(Image.fromarray(image).reduce(2))) for name, image in whole.items()}
    if kind == "audio":
        sound, rate = coinr.read_audio(data / "audio" / "bach.wav")
        parts = {"bach from 1 to 2 s": (1, 2), "bach from 4 to 5 s": (4, 5)}
        return {name: AudioSignal(sound[a * rate : b * rate], rate) for name, (a, b) in parts.items()}
    if kind == "shape":
        volumes = {}
        for name in ("bunny", "lucy"):
            stored = np.load(data / "shapes" / f"{name}_128.npz", allow_pickle=False)
            size = tuple(int(n) for n in stored["shape"])
            volumes[f"{name} of 64 voxels"] = np.unpackbits(stored["occupancy"])[: int(np.prod(size))].reshape(size)
        return {name: ShapeSignal(volume[::2, ::2, ::2].astype(bool)) for name, volume in volumes.items()}
    stored = np.load(data / "nerf" / "lego_100.npz", allow_pickle=False)
    some, others = slice(None, None, 3), slice(2, None, 8)
    views, held = (
        np.stack([np.asarray(Image.fromarray(picture).reduce(2)) for picture in pictures])
        for pictures in (stored["images"][some], stored["test_images"][others])
    )
    poses, test_poses = stored["poses"][some], stored["test_poses"][others]
    focal = float(stored["focal"]) / 2
    return {"lego of 50 x 50": SceneSignal(views, poses, focal, 2.0, 6.0, held, test_poses, (24, 24))}


def measure(kind: str, name: str, signal: Signal, size: tuple[int, int], work: Work) -> Row:
    """Fit and code one network."""
    hidden, width = size
    fitted = coinr.fit(
        signal,
        hidden_layers=hidden,
        width=width,
        steps=work.steps,
        batch=work.batch,
        device="cpu",
        threads=1,
        progress=False,
    )
    sd = fitted.network.state_dict()
    options: dict[str, Any] = {}
    if isinstance(fitted.network, Mlp):
        chosen = torch.randperm(signal.count, generator=torch.Generator().manual_seed(0))[:_INPUTS]
        options["calibrate"] = (fitted.network, signal.batch(chosen)[0])
    coded = {}
    for bits in BITS:
        blob = coinr.encode_state_dict(sd, target_bits=bits, **options)
        decoded = coinr.build_network(fitted.network.kind, fitted.network.config)
        decoded.load_state_dict(coinr.decode_state_dict(blob))
        coded[f"{bits:g}"] = round(decibels(signal, score_of(decoded, signal)), 3)
    parameters = sum(p.numel() for p in fitted.network.parameters())
    quality = round(decibels(signal, fitted.score), 3)
    how = work.steps, work.batch
    return Row(kind, name, hidden, width, parameters, *how, quality, coded)


def rows_of(kind: str, data: Path) -> Iterator[Row]:
    """Yield all rows of a kind, made where they are missing."""
    work, kept = WORK[kind], Kept(CACHE / "rows.jsonl")
    for size in work.sizes:
        for name, signal in signals(kind, data).items():
            key = f"{kind} {name} {size[0]}x{size[1]} {work.steps}x{work.batch}"
            arguments = kind, name, signal, size, work
            yield Row(**kept.recall(key, lambda arguments=arguments: asdict(measure(*arguments))))


def pack_table(rows: list[Row], signal: Signal) -> dict[str, Any]:
    """Return the rows of one kind as the package needs them: qualities by network, and bits without headers."""
    names = list(dict.fromkeys(row.signal for row in rows))
    by_size: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        by_size.setdefault((row.hidden_layers, row.width), []).append(row)
    networks = [
        {
            "hidden_layers": hidden,
            "width": width,
            "parameters": of_it[0].parameters,
            "quality": [row.quality for row in of_it],
            "coded": {
                f"{float(bits) - 8 * header(signal, hidden, width) / of_it[0].parameters:.2f}": [
                    row.coded[bits] for row in of_it
                ]
                for bits in of_it[0].coded
            },
        }
        for (hidden, width), of_it in by_size.items()
        if [row.signal for row in of_it] == names
    ]
    return {
        "signals": names,
        "steps": rows[0].steps,
        "batch": rows[0].batch,
        "networks": networks,
    }


def header(signal: Signal, hidden_layers: int, width: int) -> int:
    """Return bytes of a file that are not those of weights."""
    network = new_network(signal, hidden_layers=hidden_layers, width=width)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    return len(coinr.encode_state_dict(zeros))


def write(rows: list[Row], data: Path) -> None:
    """Write all three files."""
    lines = []
    for row in rows:
        line = asdict(row)
        lines.append(line | {f"at {bits} bits": value for bits, value in line.pop("coded").items()})
    write_csv(RESULTS / "budget_table.csv", lines)
    write_json(RESULTS / "budget_table.json", {"bits": list(BITS), "rows": len(rows)})
    kinds = {
        kind: pack_table([row for row in rows if row.kind == kind], next(iter(signals(kind, data).values())))
        for kind in dict.fromkeys(row.kind for row in rows)
    }
    table = {"source": "bench/results/budget_table.csv", "kinds": kinds}
    write_atomic(TABLE, json.dumps(table, indent=None).encode() + b"\n")


def main() -> None:
    """Measure what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser, needed=True)
    parser.add_argument("--kinds", default=",".join(WORK), help="kinds of signals, with commas between")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for kind in options.kinds.split(",") for row in rows_of(kind, options.data)]
    write(rows, options.data)


if __name__ == "__main__":
    main()
