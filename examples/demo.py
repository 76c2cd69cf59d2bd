"""The whole path on a real photo: fit, encode, decode, compare with honest baselines.

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
from pathlib import Path
from typing import Any

import numpy as np
import skimage
import torch
from rich.console import Console
from rich.table import Table

import coinr
from coinr import baselines
from coinr.files import write_atomic
from coinr.images import contact_sheet, error_map

#: The coffee cup by Rachel Michetti (public domain), 400 x 600; it ships inside scikit-image's wheel.
PHOTO = Path(skimage.__file__).parent / "data" / "coffee.png"

BASELINES = {
    "fp32": "raw fp32",
    "fp16": "raw fp16",
    "uniform16": "16-bit uniform + Brotli",
    "uniform12": "12-bit uniform + Brotli",
    "uniform10": "10-bit uniform + Brotli",
    "uniform8": "8-bit uniform + Brotli",
}


@dataclass(frozen=True)
class Row:
    """One coder: the file it wrote, how good the picture is, and how long it took (medians)."""

    name: str
    file: str
    bytes: int
    bits_per_pixel: float
    psnr_fp32: float
    psnr: float
    encode_seconds: float
    decode_seconds: float


def median_seconds(function: Callable[[], Any], least: float = 0.2) -> float:
    """Return the median wall-clock time of a call: at least three, and until ``least`` seconds are spent."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < least:
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def measure(
    name: str,
    path: Path,
    encode: Callable[[], bytes],
    decode: Callable[[bytes], Mapping[str, torch.Tensor]],
    photo: np.ndarray,
    fit: coinr.Fit,
) -> tuple[Row, coinr.Siren]:
    """Write what ``encode`` gives to ``path``; return its row and the network decoded from that file."""
    write_atomic(path, encode())
    data = path.read_bytes()
    network = coinr.Siren.from_state_dict(decode(data), fit.network.omega)
    height, width = photo.shape[:2]
    return Row(
        name=name,
        file=path.name,
        bytes=path.stat().st_size,
        bits_per_pixel=8 * path.stat().st_size / (height * width),
        psnr_fp32=fit.psnr,
        psnr=coinr.psnr(photo, coinr.render_image(network, height, width)),
        encode_seconds=median_seconds(encode),
        decode_seconds=median_seconds(lambda: decode(data)),
    ), network


def table(rows: list[Row]) -> Table:
    """Return the rows as a table to print."""
    shown = Table("coder", title="a (3, 64) SIREN of the photo", title_justify="left")
    for column in ("bytes", "bits/pixel", "fp32 INR", "decoded", "loss", "encode", "decode"):
        shown.add_column(column, justify="right")
    for row in rows:
        shown.add_row(
            row.name,
            f"{row.bytes}",
            f"{row.bits_per_pixel:.3f}",
            f"{row.psnr_fp32:.2f} dB",
            f"{row.psnr:.2f} dB",
            f"{row.psnr_fp32 - row.psnr:.2f} dB",
            f"{row.encode_seconds * 1e3:.1f} ms",
            f"{row.decode_seconds * 1e3:.1f} ms",
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


def main(arguments: list[str] | None = None) -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder to write (default: demo_out)")
    parser.add_argument("--steps", type=int, default=8000, help="training steps (default: 8000)")
    options = parser.parse_args(arguments)
    out: Path = options.out
    (out / "baselines").mkdir(parents=True, exist_ok=True)

    photo = coinr.read_image(PHOTO)
    height, width = photo.shape[:2]
    fit = coinr.fit_image(photo, width=64, hidden_layers=3, steps=options.steps, device="cpu")
    weights = fit.network.state_dict()

    row, network = measure(
        "coinr, profile paper",
        out / "coffee.coinr",
        lambda: coinr.pack_image(fit.network, height, width, profile="paper"),
        coinr.decode_state_dict,
        photo,
        fit,
    )
    rows = [row]
    for method, label in BASELINES.items():
        path = out / "baselines" / f"coffee.{method}"
        rows.append(
            measure(
                label,
                path,
                lambda method=method: baselines.encode(weights, method),
                lambda data, method=method: baselines.decode(data, method, weights),
                photo,
                fit,
            )[0]
        )

    fitted, decoded = (coinr.render_image(shown, height, width) for shown in (fit.network, network))
    coinr.write_image(out / "decoded.png", decoded)
    coinr.write_image(out / "decoded_2x.png", coinr.render_image(network, 2 * height, 2 * width))
    panels = [
        (f"original: {height} x {width}, {photo.size} bytes", photo),
        (f"fp32 INR: {fit.psnr:.2f} dB, {rows[1].bytes} bytes, {rows[1].bits_per_pixel:.3f} bits per pixel", fitted),
        (f"decoded: {row.psnr:.2f} dB, {row.bytes} bytes, {row.bits_per_pixel:.3f} bits per pixel", decoded),
        ("error of decoded, times 8", error_map(photo, decoded, gain=8)),
    ]
    coinr.write_image(out / "comparison.png", contact_sheet(panels))

    report = {
        "photo": PHOTO.name,
        "size": [height, width],
        "network": fit.network.config,
        "steps": options.steps,
        "fit_seconds": fit.seconds,
        "rows": [asdict(row) for row in rows],
        "machine": machine(),
    }
    write_atomic(out / "table.json", json.dumps(report, indent=1).encode())
    console = Console()
    console.print(table(rows))
    console.print(f"fitted in {fit.seconds:.0f} s; files and pictures are in {out}/")


if __name__ == "__main__":
    main()
