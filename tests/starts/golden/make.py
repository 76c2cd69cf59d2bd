"""Write the golden files of starts that are not there; run by hand: ``python tests/starts/golden/make.py``.

A test never runs this. Existing files are never overwritten.
"""

from pathlib import Path

import coinr
from tests.small_starts import near, start

FOLDER = Path(__file__).parent


def main() -> None:
    one = start()
    files = {
        "waves.start.coinr": one.blob,
        "picture.coinr": coinr.pack_image(near(one), 12, 16, start=one, tolerance=0.01),
    }
    for name, blob in files.items():
        if not (FOLDER / name).exists():
            (FOLDER / name).write_bytes(blob)


if __name__ == "__main__":
    main()
