"""Damaged pictures and sounds end in a signal or in a CoinrError, whatever the libraries that read them raise."""

import numpy as np
import pytest
import soundfile
from PIL import Image

import coinr
from coinr.errors import CoinrError

from .picture_files import RGB, TIFF, levels, write_png, write_pnm


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """The bytes of pictures and sounds of many kinds."""
    path = tmp_path_factory.mktemp("originals") / "a.bin"
    made = []
    for write in TIFF.values():
        for bits in (8, 16):
            write(path.with_suffix(".tif"), bits)
            made.append(path.with_suffix(".tif").read_bytes())
    for bits in (8, 16):
        write_png(path, levels(RGB, bits), greyscale=False, bitdepth=bits)
        made.append(path.read_bytes())
    for full in (255, 1023):
        write_pnm(path, RGB, full)
        made.append(path.read_bytes())
    for kind in ("JPEG", "WEBP", "GIF", "BMP", "JPEG2000", "AVIF"):
        Image.fromarray(levels(RGB, 8)).save(path, kind)
        made.append(path.read_bytes())
    for kind in ("WAV", "FLAC", "AIFF", "AU", "CAF", "W64", "NIST"):
        soundfile.write(path, 0.5 * np.sin(np.arange(500) / 16), 8000, format=kind, subtype="PCM_16")
        made.append(path.read_bytes())
    return made


def damaged(data, rng):
    """The bytes with one to five of them changed, put in or taken out, most near the front."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(min(len(data), 200 if rng.random() < 0.7 else len(data))))
        match rng.integers(5):
            case 0 | 1:
                data[at] = rng.integers(256)
            case 2:
                del data[at + 1 : at + 4]
            case 3:
                data[at : at + 4] = b"\xff" * 4
            case 4:
                data = data[: max(at, 1)]
    return bytes(data)


def try_out(path, originals, seed, count):
    rng = np.random.default_rng(seed)
    opened, messages = 0, []
    for _ in range(count):
        path.write_bytes(damaged(originals[rng.integers(len(originals))], rng))
        try:
            opened += coinr.open_signal(path).count > 0
        except CoinrError as error:
            messages.append(str(error))
    assert all(message.startswith(f"{path}: ") for message in messages)
    return opened


def test_damaged_files_are_read_or_refused(tmp_path, originals):
    assert try_out(tmp_path / "a", originals, 0, 120) > 0


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_damaged_files_are_read_or_refused(tmp_path, originals, seed):
    assert try_out(tmp_path / "a", originals, seed, 1000) > 0
