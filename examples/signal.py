"""A picture, sound, shape or scene into a file and back. Run ``python -m examples.signal photo.png photo.coinr``."""

from __future__ import annotations

import argparse

import coinr
from coinr.files.writing import write_atomic


def main(arguments: list[str] | None = None) -> None:
    """Fit a network to a signal, store it, open the file, and tell how near it is to the original."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("signal", help="a picture, sound, volume, mesh, or folder of posed pictures")
    parser.add_argument("file", help="the .coinr file to write")
    parser.add_argument("--steps", type=int, help="training steps (default: what suits the signal)")
    options = parser.parse_args(arguments)

    signal = coinr.open_signal(options.signal)
    fitted = coinr.fit(signal, steps=options.steps)
    write_atomic(options.file, coinr.pack_signal(fitted.network, signal))

    file = coinr.open_file(options.file)
    restored = file.restore(signal)  # an array in the signal's own form; render() gives any resolution
    print(file.describe())
    for name, value in file.metrics(signal, restored).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
