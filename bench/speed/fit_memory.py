"""Memory of fits of large pictures: of the signal beside the picture, and of the fit beside the signal.

``python -m bench.speed.fit_memory`` writes ``bench/results/fit_memory.json``. The pictures are synthetic, 4000 x 3000
by default. Each is fitted by its default network for a few steps, in a process of its own that has fitted a small one
before. Memory is what the process allocates, see :mod:`bench.harness.memory`; it does not depend on the steps.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import coinr
from bench.harness.memory import Memory
from bench.harness.results import write_json

OUT = Path("bench/results/fit_memory.json")

#: Channels and dtype of the pictures.
KINDS: dict[str, tuple[int, type]] = {
    "gray, 8 bits": (1, np.uint8),
    "color, 8 bits": (3, np.uint8),
    "color and alpha, 8 bits": (4, np.uint8),
    "color, 16 bits": (3, np.uint16),
}


def make_picture(height: int, width: int, kind: str) -> NDArray[Any]:
    """Return a picture of steps in all directions."""
    channels, dtype = KINDS[kind]
    picture = np.empty((height, width, channels), dtype)
    for c in range(channels):
        picture[..., c] = np.arange(height, dtype=dtype)[:, None] * (c + 1) + np.arange(width, dtype=dtype)
    return picture[..., 0] if channels == 1 else picture


def run(height: int, width: int, kind: str, steps: int) -> dict[str, int]:
    """Return bytes of a picture, of its signal beside it, and of the fit beside both, in this process."""
    coinr.fit(make_picture(64, 64, kind), steps=steps, progress=False)
    picture = make_picture(height, width, kind)
    ctypes.CDLL(None).malloc_trim(0)  # memory that was freed would be taken again, and not be seen
    with Memory() as of_signal:
        signal = coinr.ImageSignal(picture)
    with Memory() as of_fit:
        coinr.fit(signal, steps=steps, progress=False)
    return {
        "picture_bytes": picture.nbytes,
        "signal_bytes": of_signal.anonymous,
        "fit_bytes": of_fit.anonymous,
        "coordinates_bytes": height * width * 2 * np.dtype(np.float32).itemsize,
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(3000, 4000), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--kind", choices=KINDS, help="what this script calls itself for")
    options = parser.parse_args()
    if options.kind:
        print(json.dumps(run(*options.size, options.kind, options.steps)))
        return
    result: dict[str, Any] = {"size": list(options.size), "steps": options.steps, "kinds": {}}
    for kind in KINDS:
        command = [sys.executable, "-m", "bench.speed.fit_memory", "--kind", kind, "--steps", str(options.steps)]
        command += ["--size", *map(str, options.size)]
        result["kinds"][kind] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    write_json(options.out, result)
    print(options.out.read_text())


if __name__ == "__main__":
    main()
