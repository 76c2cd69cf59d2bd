"""2 304 tiles of Kodak's pictures as small SIRENs: bytes of a network as single files, relative ones and a set.

    python -m bench.signals.tiles --data DIR

Tiles are 64 x 64 pixels, networks (2, 32). ``alone`` begins each fit at new weights, ``started`` at a start that was
learned from a sixth of the tiles; steps are such that both reach about the same mean PSNR. The set of all ``started``
fits is written as one file; its bytes count everything. Other forms are those of every ``--every``-th tile. Seconds
are CPU seconds of one core. Fits are kept in ``bench/cache/tiles``. Writes ``tiles.csv``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import brotli
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import coinr
from bench.harness.results import write_csv
from coinr.many import make_base, write_set

CACHE = Path("bench/cache/tiles")
SIDE, BATCH = 64, 1024
META = {"siren": 30}
NEW: dict[str, Any] = {"network": "siren", "width": 32, "hidden_layers": 2, "batch": BATCH}

Network = dict[str, NDArray[np.float32]]


def read_tiles(data: Path) -> list[NDArray[np.uint8]]:
    """Return all tiles [64, 64, 3], picture by picture."""
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((data / "kodak").glob("*.png"))]
    return [
        np.ascontiguousarray(picture[y : y + SIDE, x : x + SIDE])
        for picture in pictures
        for y in range(0, picture.shape[0], SIDE)
        for x in range(0, picture.shape[1], SIDE)
    ]


def fit_all(name: str, tiles: Sequence[NDArray[np.uint8]], **arguments: Any) -> tuple[list[Network], float, float]:
    """Return networks, mean PSNR and CPU seconds of a fit, made unless they are in the cache."""
    path = CACHE / f"{name}.npz"
    if not path.exists():
        begin = time.process_time()
        fits = coinr.fit_many(tiles, **arguments, threads=1, progress=False)
        seconds = time.process_time() - begin
        dicts = [fit.network.state_dict() for fit in fits]
        arrays = {key: np.stack([one[key].numpy() for one in dicts]) for key in dicts[0]}
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(path, scores=[fit.score for fit in fits], seconds=seconds, **arrays)
    with np.load(path) as kept:
        stacks = {key: kept[key] for key in kept if key not in ("scores", "seconds")}
        networks = [{key: stack[k] for key, stack in stacks.items()} for k in range(len(tiles))]
        return networks, float(kept["scores"].mean()), float(kept["seconds"])


def psnr(network: Any, tile: NDArray[np.uint8]) -> float:
    """Return the PSNR of a network's picture in dB."""
    module = coinr.Siren(2, 3, 32, 2)
    module.load_state_dict({key: torch.as_tensor(value) for key, value in network.items()})
    shown = coinr.render_image(module, SIDE, SIDE)
    error = np.mean((np.asarray(shown, np.float64) - tile) ** 2)
    return float(10 * np.log10(255**2 / error))


def measure(
    networks: list[Network], tiles: list[NDArray[np.uint8]], base: Any, encode: Callable[[Network], bytes]
) -> dict[str, float]:
    """Return mean bytes, PSNR and CPU milliseconds of files of networks."""
    begin = time.process_time()
    blobs = [encode(network) for network in networks]
    seconds = time.process_time() - begin
    decoded = [coinr.decode_state_dict(blob, base=base) for blob in blobs]
    return {
        "bytes": float(np.mean([len(blob) for blob in blobs])),
        "psnr": float(np.mean([psnr(one, tile) for one, tile in zip(decoded, tiles, strict=True)])),
        "milliseconds": 1e3 * seconds / len(blobs),
    }


def half_bytes(network: Network) -> int:
    """Return the bytes of 16-bit floats through Brotli, without names and shapes."""
    return len(brotli.compress(b"".join(value.astype(np.float16).tobytes() for value in network.values())))


def main() -> None:
    """Fit, code, store, and write what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--every", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    tiles = read_tiles(options.data)
    place = CACHE / "tiles.start.coinr"
    if not place.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        learned = coinr.learn_start(
            tiles[3::6], name="tiles", steps=600, signals_per_step=4, threads=1, progress=False, **NEW
        )
        learned.save(place)
    alone, alone_psnr, alone_seconds = fit_all("alone", tiles, steps=300, **NEW)
    started, started_psnr, started_seconds = fit_all(
        "started",
        tiles,
        start=coinr.open_start(place),
        steps=520,
        optimizer="adam",
        learning_rate=5e-4,
        batch=BATCH,
    )
    few = slice(None, None, options.every)
    base = make_base(started[::18], meta=META, threads=1)
    plain = {key: value for key, value in base.items() if key in started[0]}

    def by(**arguments: Any) -> Callable[[Network], bytes]:
        return lambda network: coinr.encode_state_dict(network, meta=META, threads=1, **arguments)

    rows: dict[str, Any] = {
        "alone": measure(alone[few], tiles[few], None, by()),
        "canonical": measure(alone[few], tiles[few], None, by(canonical=True)),
        "started": measure(started[few], tiles[few], None, by()),
        "relative": measure(started[few], tiles[few], plain, by(base=plain)),
        "shared": measure(started[few], tiles[few], base, by(base=base)),
    }
    file = CACHE / "tiles.parquet"
    begin = time.process_time()
    count = write_set(file, ((f"{k:04d}", one) for k, one in enumerate(started)), base=base, meta=META, threads=1)
    rows["set"] = {
        "bytes": file.stat().st_size / count,
        "psnr": None,
        "milliseconds": 1e3 * (time.process_time() - begin) / count,
    }
    table = [{"form": form, "bytes": row["bytes"], "ms": row["milliseconds"]} for form, row in rows.items()]
    write_csv(options.out / "tiles.csv", table)
    half = float(np.mean([half_bytes(one) for one in alone[few]]))
    print(
        f"fits: {alone_psnr:.2f} dB in {alone_seconds:.0f} s alone, {started_psnr:.2f} in {started_seconds:.0f} started"
    )
    print(f"16-bit floats and Brotli: {half:.0f} bytes; PSNR of files {[row['psnr'] for row in rows.values()]}")


if __name__ == "__main__":
    main()
