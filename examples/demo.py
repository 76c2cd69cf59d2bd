"""Fit, encode and decode a photo, and compare the files with those of other ways to code the same network.

Writes demo_out/ (files, pictures, table.json) and prints the table. Run it with ``python -m examples.demo``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import skimage
import torch
from rich import box
from rich.console import Console
from rich.table import Table

import coinr
from bench.harness import nncodec
from coinr.codec import baselines
from coinr.files.writing import write_atomic
from coinr.signals.sheets import contact_sheet, error_map

#: The coffee cup by Rachel Michetti (public domain), 400 x 600; it ships inside scikit-image's wheel.
PHOTO = Path(skimage.__file__).parent / "data" / "coffee.png"

BASELINES = {
    "fp32": "fp32",
    "fp16": "fp16",
    "uniform16": "16-bit + Brotli",
    "uniform12": "12-bit + Brotli",
    "uniform11": "11-bit + Brotli",
    "uniform10": "10-bit + Brotli",
    "uniform8": "8-bit + Brotli",
}

#: Loss in dB that ``search`` and refinement may cause.
LOSS = 0.1


@dataclass(frozen=True)
class Row:
    """One coder: the file it wrote, the quality of the picture, and the seconds that coding took."""

    name: str
    file: str
    bytes: int
    bits_per_pixel: float
    psnr_fp32: float
    psnr: float
    encode_seconds: float
    decode_seconds: float


def time_call(function: Callable[[], Any], enough: float = 0.2) -> tuple[Any, float]:
    """Return what a call gives and its median wall-clock time, repeated until ``enough`` seconds are spent."""
    times: list[float] = []
    while sum(times) < enough:
        begin = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - begin)
    return result, float(np.median(times))


def measure(
    name: str,
    path: Path,
    encode: Callable[[], bytes],
    decode: Callable[[bytes], Mapping[str, torch.Tensor]],
    photo: np.ndarray,
    fit: coinr.Fit,
) -> tuple[Row, coinr.Siren]:
    """Write what ``encode`` gives to ``path``; return its row and the network decoded from that file."""
    blob, encode_seconds = time_call(encode)
    write_atomic(path, blob)
    data = path.read_bytes()
    weights, decode_seconds = time_call(lambda: decode(data))
    return row_of(name, path, weights, (encode_seconds, decode_seconds), photo, fit)


def row_of(
    name: str,
    path: Path,
    weights: Mapping[str, torch.Tensor],
    seconds: tuple[float, float],
    photo: np.ndarray,
    fit: coinr.Fit,
) -> tuple[Row, coinr.Siren]:
    """Return the row of a file and the network of the weights that were decoded from it."""
    network = coinr.Siren.from_state_dict(weights, fit.network.omega)
    height, width = photo.shape[:2]
    size = path.stat().st_size
    return Row(
        name=name,
        file=path.name,
        bytes=size,
        bits_per_pixel=8 * size / (height * width),
        psnr_fp32=coinr.psnr(photo, coinr.render_image(fit.network, height, width)),
        psnr=coinr.psnr(photo, coinr.render_image(network, height, width)),
        encode_seconds=seconds[0],
        decode_seconds=seconds[1],
    ), network


def measure_nncodec(path: Path, photo: np.ndarray, fit: coinr.Fit) -> Row:
    """Write nncodec's smallest file that loses at most :data:`LOSS` by its trellis; return its row."""
    weights = fit.network.state_dict()
    octave = 1 << nncodec.DENSITY
    settings = [
        nncodec.Setting(qp, qp - 2 * octave, use_dq=True, unary=unary)
        for qp in range(-14 * octave, -2 * octave)
        for unary in (0, 10)
    ]

    def row(coded: nncodec.Coded) -> Row:
        write_atomic(path, coded.blob)
        seconds = coded.encode_seconds, coded.decode_seconds
        decoded = nncodec.from_arrays(coded.arrays, weights)
        return row_of(f"nncodec {nncodec.VERSION}", path, decoded, seconds, photo, fit)[0]

    rows = map(row, sorted(nncodec.code(weights, settings), key=lambda one: len(one.blob)))
    return next(row for row in rows if row.psnr_fp32 - row.psnr <= LOSS)


def table(rows: list[Row], title: str) -> Table:
    """Return the rows as a table to print."""
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    shown.add_column("coder", no_wrap=True)
    for column in ("bytes", "bpp", "INR dB", "file dB", "loss", "encode s", "decode s"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(
            row.name,
            f"{row.bytes}",
            f"{row.bits_per_pixel:.3f}",
            f"{row.psnr_fp32:.2f}",
            f"{row.psnr:.2f}",
            f"{round(row.psnr_fp32 - row.psnr, 3) + 0.0:.3f}",
            f"{row.encode_seconds:.4f}",
            f"{row.decode_seconds:.4f}",
        )
    return shown


def machine() -> dict[str, str | int]:
    """Return what a measurement needs beside it."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line), cpu
        )
    packages = ("coinr", "torch", "numpy", "brotli", "scikit-image", "pillow")
    return {
        "cpu": cpu,
        "torch_threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def coders(
    photo: np.ndarray, fit: coinr.Fit, refine_steps: int
) -> dict[str, tuple[str, Callable[[], bytes], Callable[[bytes], Mapping[str, torch.Tensor]]]]:
    """Return the coders in the order of the table, by label: suffix of the file, encoder and decoder."""
    height, width = photo.shape[:2]
    weights, omega = fit.network.state_dict(), fit.network.omega
    samples = coinr.ImageSignal(photo)
    meta = coinr.read_meta(coinr.pack_signal(fit.network, samples))
    generator = torch.Generator().manual_seed(0)

    def decibels(state_dict: Mapping[str, torch.Tensor]) -> float:
        return coinr.psnr(photo, coinr.render_image(coinr.Siren.from_state_dict(state_dict, omega), height, width))

    def loss(state_dict: Mapping[str, torch.Tensor]) -> torch.Tensor:
        inputs, targets = samples.batch(torch.randint(samples.count, (4096,), generator=generator))
        return (torch.func.functional_call(fit.network, dict(state_dict), (inputs,)) - targets).square().mean()

    goal: dict[str, Any] = {"min_score": decibels(weights) - LOSS, "meta": meta}
    refinement = {"evaluate": decibels, "steps": refine_steps, "optimizer": "muon"}
    ours = {
        "coinr, refined": ("refined.coinr", lambda: coinr.refine(weights, loss, **refinement, **goal).blob),
        "coinr, search": ("search.coinr", lambda: coinr.search(weights, decibels, **goal).blob),
        # about as little loss as those of the others
        "coinr, auto": ("coinr", lambda: coinr.pack_signal(fit.network, samples, output_error_db=-50)),
        "published method": ("paper.coinr", lambda: coinr.pack_signal(fit.network, samples, profile="paper")),
    }
    if not refine_steps:
        del ours["coinr, refined"]
    found = {label: (suffix, encode, coinr.decode_state_dict) for label, (suffix, encode) in ours.items()}
    for method, label in BASELINES.items():
        encode = partial(baselines.encode, weights, method)
        found[label] = (method, encode, partial(baselines.decode, method=method, like=weights))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder to write (default: demo_out)")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="another photo than scikit-image's coffee cup")
    parser.add_argument("--width", type=int, default=64, help="neurons per layer (default: 64)")
    parser.add_argument("--hidden-layers", type=int, default=3, help="hidden layers (default: 3)")
    parser.add_argument("--steps", type=int, default=5000, help="training steps (default: 5000)")
    parser.add_argument(
        "--refine-steps", type=int, default=1000, help="steps of the refinement; 0 leaves it out (default: 1000)"
    )
    options = parser.parse_args(arguments)
    out, name = options.out, options.photo.stem
    (out / "baselines").mkdir(parents=True, exist_ok=True)

    photo = coinr.read_image(options.photo)
    height, width = photo.shape[:2]
    title = f"({options.hidden_layers}, {options.width}) SIREN of {options.photo.name}, {height} x {width}"
    console = Console()
    console.print(f"fitting a {title}: {options.steps} steps")
    network = coinr.Siren(
        2,
        coinr.ImageSignal(photo).out_features,
        options.width,
        options.hidden_layers,
        generator=torch.Generator().manual_seed(0),
    )
    fit = coinr.fit(photo, network, steps=options.steps, device="cpu")

    rows, networks = [], {}
    for label, (suffix, encode, decode) in coders(photo, fit, options.refine_steps).items():
        folder = out / "baselines" if suffix in BASELINES else out
        row, networks[label] = measure(label, folder / f"{name}.{suffix}", encode, decode, photo, fit)
        rows.append(row)
    if nncodec.is_installed():
        rows.insert(len(rows) - len(BASELINES) - 1, measure_nncodec(out / "baselines" / f"{name}.nnc", photo, fit))
    by_name = {row.name: row for row in rows}
    shown, raw, network = by_name["coinr, auto"], by_name["fp32"], networks["coinr, auto"]

    fitted, decoded = (coinr.render_image(one, height, width) for one in (fit.network, network))
    coinr.write_image(out / "decoded.png", decoded)
    coinr.write_image(out / "decoded_2x.png", coinr.render_image(network, 2 * height, 2 * width))
    panels = [
        (f"original: {height} x {width}, {photo.size} bytes", photo),
        (f"fp32 network: {raw.psnr:.2f} dB, {raw.bytes} bytes, {raw.bits_per_pixel:.3f} bits per pixel", fitted),
        (f"decoded: {shown.psnr:.2f} dB, {shown.bytes} bytes, {shown.bits_per_pixel:.3f} bits per pixel", decoded),
        ("error of decoded, times 8", error_map(photo, decoded, gain=8)),
    ]
    coinr.write_image(out / "comparison.png", contact_sheet(panels))

    report = {
        "photo": options.photo.name,
        "size": [height, width],
        "network": fit.network.config,
        "steps": options.steps,
        "refine_steps": options.refine_steps,
        "fit_seconds": fit.seconds,
        "rows": [asdict(row) for row in rows],
        "machine": machine(),
    }
    write_atomic(out / "table.json", json.dumps(report, indent=1).encode())
    console.print(table(rows, title))
    refined = f"Refinement trained for {options.refine_steps} steps more. " if options.refine_steps else ""
    missing = f"To add a row of nncodec: {nncodec.INSTALL}\n"
    console.print(
        f"{refined}Search, refinement and nncodec may lose {LOSS} dB.\n{'' if nncodec.is_installed() else missing}"
        f"The fit took {fit.seconds:.0f} s. Files and pictures are in {out}/. Three commands to try next:\n\n"
        f"  coinr decode {out}/{name}.coinr -o big.png --scale 3\n"
        f"  coinr encode YOUR_PHOTO.jpg -o yours.coinr --target-bytes 20000\n"
        f"  coinr pack YOUR_MODEL.safetensors -o model.coinr",
        soft_wrap=True,
        highlight=False,
    )


if __name__ == "__main__":
    main()
