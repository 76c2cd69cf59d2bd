"""Round trips of every kind of signal through the command line: fit, file, decoding, comparison.

    python -m bench.signals.round_trips --data DIR [--only kodim03,bach] [--steps image=3000,shape=2000] [--threads 1]

Every signal of the data folder (also COINR_DATA) that is named below goes through ``coinr encode``, ``decode``,
``compare`` and ``preview``, each a process of its own. Files and pictures stay in ``--files``. Rows that are there with
the same arguments are not made again, and a fit that was stopped goes on from its checkpoint. Writes ``signals.csv``,
``signals.json`` (with machine and versions) and ``signals.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import coinr
from bench.harness import corpus
from bench.harness.machine import machine
from bench.harness.results import write_csv, write_json
from coinr.files.writing import write_atomic
from coinr.networks import Network


@dataclass(frozen=True)
class Item:
    """A signal, the options that it is encoded with, and what is rendered of it; the first rendering is timed."""

    name: str
    kind: str
    source: str
    options: tuple[str, ...]
    renderings: tuple[tuple[str, ...], ...]


_IMAGE = ("--batch", "4096")
_SHAPE = ("--width", "64", "--hidden-layers", "3", "--batch", "4096")
_PICTURES = ((".png",), ("_2x.png", "--scale", "2"))
_SHAPES = ((".npz",), (".ply",), ("_256.ply", "--grid", "256"))

ITEMS = (
    Item("kodim03", "image", "kodak/kodim03.png", _IMAGE, _PICTURES),
    Item("kodim19", "image", "kodak/kodim19.png", _IMAGE, _PICTURES),
    Item(
        "bach",
        "audio",
        "audio/bach.wav",
        ("--width", "128", "--hidden-layers", "3", "--batch", "4096"),
        ((".wav",), ("_48000.flac", "--rate", "48000")),
    ),
    Item("lucy_128", "shape", "shapes/lucy_128.npz", _SHAPE, _SHAPES),
    Item("bunny_128", "shape", "shapes/bunny_128.npz", _SHAPE, _SHAPES),
    Item("bunny", "shape", "shapes/bunny.ply", (*_SHAPE, "--grid", "128"), _SHAPES),
    Item(
        "lego_100",
        "scene",
        "nerf/lego_100.npz",
        ("--width", "64", "--hidden-layers", "4", "--samples", "32,32"),
        ((".png",), (".gif", "--turntable", "36"), ("_depth.png", "--depth"), ("_views", "--views", "4")),
    ),
)

STEPS = {"image": 3000, "audio": 3000, "shape": 2000, "scene": 1500}

#: The score of a kind, as ``encode`` and ``compare`` name it; its unit and digits.
SCORES = {"image": ("psnr", "dB", 2), "audio": ("snr", "dB", 2), "shape": ("iou", "IoU", 4), "scene": ("psnr", "dB", 2)}


@dataclass(frozen=True)
class Ran:
    """The JSON that a command printed, and its seconds from start to end: of its processors, and by the clock."""

    out: Mapping[str, Any]
    cpu: float
    wall: float


def command(threads: int, *arguments: str) -> Ran:
    """Run ``coinr`` with ``--json``; its progress bars are seen, and its failure is an error."""
    before, begin = _children(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "coinr", *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    wall = time.perf_counter() - begin
    return Ran(json.loads(done.stdout), _children() - before, wall)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(item: Item, data: Path, files: Path, arguments: Sequence[str], threads: int) -> dict[str, Any]:
    """Return the row of a signal: encoded, decoded, compared and shown."""
    source, file, checkpoint = data / item.source, files / f"{item.name}.coinr", files / f"{item.name}.checkpoint"
    resumed = checkpoint.exists()
    encoded = command(
        threads,
        *("encode", str(source), "-o", str(file), *arguments),
        *("--checkpoint", str(checkpoint), "--threads", str(threads)),
    )
    decoded = []
    for suffix, *options in item.renderings:
        output = files / f"{item.name}{suffix}"
        if output.is_dir():
            shutil.rmtree(output)
        decoded.append(command(threads, "decode", str(file), "-o", str(output), *options))
    compared = command(threads, "compare", str(source), str(file), "-o", str(files / f"{item.name}_compared.png")).out
    command(threads, "preview", str(file), "-o", str(files / f"{item.name}_preview.png"))
    coinr.load_network(file)  # the first call imports what the others need
    begin = time.process_time()
    network = coinr.load_network(file)
    open_seconds = time.process_time() - begin
    checkpoint.unlink()
    score = SCORES[item.kind][0]
    return {
        "signal": item.name,
        "what": encoded.out["signal"],
        "network": _network(network),
        "parameters": sum(p.numel() for p in network.parameters()),
        "arguments": " ".join(arguments),
        "steps": encoded.out["steps"],
        "threads": threads,
        "bytes": compared["bytes"],
        "original_bytes": source.stat().st_size,
        "score": compared[score],
        "score_before_coding": encoded.out[f"{score}_before_coding"],
        **{name: value for name, value in compared.items() if name not in ("file", "kind", "bytes", score)},
        "fit_wall_seconds": encoded.out["fit_seconds"],
        "coding_wall_seconds": encoded.out["encode_seconds"],
        # a fit that went on from a checkpoint spent seconds in a process that ended unobserved
        "encode_command_cpu_seconds": None if resumed else encoded.cpu,
        "encode_command_wall_seconds": None if resumed else encoded.wall,
        "decode_command_cpu_seconds": decoded[0].cpu,
        "decode_command_wall_seconds": decoded[0].wall,
        "open_cpu_seconds": open_seconds,
    }


def _network(network: torch.nn.Module) -> str:
    assert isinstance(network, Network)
    depth = network.config["depth" if network.kind == "nerf" else "hidden_layers"]
    return f"{network.kind} {depth} x {network.config['width']}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table."""
    kinds = {item.name: item.kind for item in ITEMS}
    lines = [
        "# Round trips through the command line",
        "",
        "Made by `python -m bench.signals.round_trips`; machine, arguments and more numbers in `signals.json`. "
        "Quality is what `coinr compare` says of the file, before coding what the fit had. Seconds are of the whole "
        "commands, starting Python and torch included, on as many threads as said; the clock's depend on what else "
        "the machine did.",
        "",
        "| signal | network | steps | bytes | of the original | quality | before coding | also "
        "| encode: CPU s | clock s | of it coding | decode: CPU s | threads |",
    ]
    lines += ["|---" * (lines[-1].count("|") - 1) + "|"]
    for row in rows:
        _, unit, digits = SCORES[kinds[row["signal"]]]
        cells = [
            f"{row['signal']}: {row['what']}",
            f"{row['network']}, {row['parameters']} parameters",
            row["steps"],
            row["bytes"],
            f"{row['bytes'] / row['original_bytes']:.3f}",
            f"{row['score']:.{digits}f} {unit}",
            f"{row['score_before_coding']:.{digits}f}",
            ", ".join(_also(row)),
            _seconds(row["encode_command_cpu_seconds"]),
            _seconds(row["encode_command_wall_seconds"]),
            f"{row['coding_wall_seconds']:.1f}",
            _seconds(row["decode_command_cpu_seconds"]),
            row["threads"],
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _also(row: Mapping[str, Any]) -> list[str]:
    named = {"ssim": "SSIM", "ms_ssim": "MS-SSIM", "chamfer": "Chamfer", "bits_per_pixel": "bits a pixel"}
    named |= {"kbit_per_second": "kbit a second", "bits_per_voxel": "bits a voxel"}
    return [f"{text} {row[name]:.4f}" for name, text in named.items() if row.get(name) is not None]


def _seconds(value: float | None) -> str:
    return "stopped and resumed" if value is None else f"{value:.0f}"


def write(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all three files."""
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name != "psnr_by_view"]
    write_csv(out.with_suffix(".csv"), rows, names)
    libraries = ("scikit-image", "trimesh", "soundfile", "pytorch-msssim")
    versions = machine()["versions"] | {name: version(name) for name in libraries}
    write_json(out.with_suffix(".json"), {"rows": rows}, extra={"versions": versions})
    write_atomic(out.with_suffix(".md"), table(rows).encode())


def _steps(text: str) -> dict[str, int]:
    """Return ``kind=count`` pairs with commas between."""
    given = dict(pair.split("=") for pair in text.split(",") if pair)
    if others := set(given) - set(STEPS):
        raise ValueError(f"no kind of signal: {', '.join(sorted(others))}")
    return STEPS | {kind: int(count) for kind, count in given.items()}


def main() -> None:
    """Make the rows that are missing, and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser, needed=True)
    parser.add_argument("--only", default="", help="names of signals with commas between; all by default")
    parser.add_argument("--steps", type=_steps, default=STEPS, help=f"such as image=8000; by default {STEPS}")
    parser.add_argument("--threads", type=int, default=1, help="of every command")
    parser.add_argument("--files", type=Path, default=Path("bench/cache/signals"), help="where files and pictures go")
    parser.add_argument("--out", type=Path, default=Path("bench/results/signals"), help="the tables without suffix")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else [item.name for item in ITEMS]
    if others := set(names) - {item.name for item in ITEMS}:
        parser.error(f"no signal of these: {', '.join(sorted(others))}")
    options.files.mkdir(parents=True, exist_ok=True)
    path = options.out.with_suffix(".json")
    rows = {row["signal"]: row for row in json.loads(path.read_text())["rows"]} if path.exists() else {}
    for item in ITEMS:
        arguments = [*item.options, "--steps", str(options.steps[item.kind])]
        if item.name not in names or rows.get(item.name, {}).get("arguments") == " ".join(arguments):
            continue
        rows[item.name] = run(item, options.data, options.files, arguments, options.threads)
        print(rows[item.name], flush=True)
        write(options.out, [rows[item.name] for item in ITEMS if item.name in rows])


if __name__ == "__main__":
    main()
