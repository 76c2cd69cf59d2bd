"""How large a signal is in formats that everybody has: without loss, and at the quality of a file."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coinr.errors import DependencyError
from coinr.progress import show_progress
from coinr.runtime.optional import import_optional
from coinr.signals.audio.signal import AudioSignal
from coinr.signals.image.files import encode_image
from coinr.signals.image.signal import ImageSignal
from coinr.signals.metrics import psnr, snr
from coinr.signals.shape.signal import ShapeSignal
from coinr.signals.signal import Signal

# Samples of a sound that libsndfile is given at once: its Vorbis encoder has failed with many.
_BLOCK = 1 << 14

# Steps of the quality of a lossy sound.
_QUALITIES = 64


@dataclass(frozen=True)
class CommonFormat:
    """A signal in a common format.

    Attributes
    ----------
    name : str
        Of the format.
    bytes : int
        Its size.
    score : float or None
        What it keeps, as the signal measures it; None without loss.
    """

    name: str
    bytes: int
    score: float | None


@show_progress("compare with common formats")
def common_formats(signal: Signal, score: float) -> list[CommonFormat]:
    """Return the signal without loss, and the smallest lossy file that keeps a score, in formats that suit it.

    Pictures as PNG, and as JPEG and WebP where these have such channels; sounds of integer samples as FLAC, all as
    Ogg Vorbis; volumes as deflated packed voxels or distances. Formats that cannot hold the signal, do not reach the
    score, or whose library is not installed are left out; a scene has none.

    Parameters
    ----------
    signal : Signal
        What was stored.
    score : float
        The score of the file to compare with.
    """
    if isinstance(signal, ImageSignal):
        return _of_image(signal, score)
    if isinstance(signal, AudioSignal):
        return _of_audio(signal, score)
    if isinstance(signal, ShapeSignal):
        volume = signal.volume
        plain = np.packbits(volume) if signal.scale is None else volume
        return [CommonFormat("deflated voxels", len(zlib.compress(plain.tobytes(), 9)), None)]
    return []


def smaller_formats(size: int, formats: list[CommonFormat]) -> str | None:
    """Return in words which formats are smaller than a file of ``size`` bytes; None if none is."""
    smaller = sorted((one for one in formats if one.bytes < size), key=lambda one: one.bytes)
    parts = [f"{one.name} {'without loss' if one.score is None else 'of this quality'}, {one.bytes}" for one in smaller]
    return f"{size} bytes are more than " + " and ".join(parts) if parts else None


def _of_image(signal: ImageSignal, score: float) -> list[CommonFormat]:
    found = []
    if signal.image.dtype in (np.uint8, np.uint16):
        with contextlib.suppress(DependencyError):  # 16-bit colors need a library that may not be installed
            found.append(CommonFormat("PNG", len(encode_image("a.png", signal.image)), None))
    if signal.bits == 8 and signal.out_features in (1, 3):
        found += _least("JPEG", partial(_picture, signal, "JPEG"), range(1, 96), score)
    if signal.bits == 8 and signal.out_features != 2:
        found += _least("WebP", partial(_picture, signal, "WebP"), range(101), score)
    return found


def _picture(signal: ImageSignal, name: str, quality: int) -> tuple[int, float] | None:
    """Return size in bytes and PSNR of a picture in a format; None if the format cannot hold it."""
    shown = signal.image if signal.image.dtype == np.uint8 else np.rint(signal.image * 255).astype(np.uint8)
    buffer = io.BytesIO()
    try:
        Image.fromarray(shown).save(buffer, name, quality=quality)
    except (ValueError, OSError):  # a side longer than the format can hold
        return None
    with Image.open(buffer) as image:
        decoded = np.asarray(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[signal.out_features]))
    return len(buffer.getvalue()), psnr(signal.image, decoded)


def _of_audio(signal: AudioSignal, score: float) -> list[CommonFormat]:
    try:
        soundfile = import_optional("soundfile")
    except DependencyError:
        return []
    found = []
    for bits in (16, 24):
        full = 2.0 ** (bits - 1)
        whole = signal.samples.astype(np.float64) * full
        if np.array_equal(whole, np.rint(whole)) and -full <= whole.min() and whole.max() < full:
            how = {"format": "FLAC", "subtype": f"PCM_{bits}", "compression_level": 1.0}
            data = _sound(soundfile, (whole * 2.0 ** (32 - bits)).astype(np.int32), signal.rate, how)
            found += [] if data is None else [CommonFormat("FLAC", len(data), None)]
            break
    return found + _least("Ogg Vorbis", partial(_vorbis, soundfile, signal), range(_QUALITIES + 1), score)


def _vorbis(soundfile: Any, signal: AudioSignal, quality: int) -> tuple[int, float] | None:
    """Return size in bytes and SNR of a sound as Ogg Vorbis; None if the format cannot hold it."""
    how = {"format": "OGG", "subtype": "VORBIS", "compression_level": 1 - quality / _QUALITIES}
    data = _sound(soundfile, signal.samples, signal.rate, how)
    if data is None:
        return None
    decoded, _ = soundfile.read(io.BytesIO(data), dtype="float64")
    return len(data), snr(signal.samples, decoded[: len(signal.samples)])


def _sound(soundfile: Any, samples: NDArray[Any], rate: int, how: dict[str, Any]) -> bytes | None:
    """Encode a sound in a format; None if the format cannot hold it."""
    buffer = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    try:
        with soundfile.SoundFile(buffer, "w", rate, channels, **how) as file:
            for start in range(0, len(samples), _BLOCK):
                file.write(samples[start : start + _BLOCK])
    except (RuntimeError, ValueError):  # a rate or a number of channels that the format does not have
        return None
    return buffer.getvalue()


def _least(
    name: str, encode: Callable[[int], tuple[int, float] | None], qualities: range, score: float
) -> list[CommonFormat]:
    """Return the file of the lowest quality that reaches a score, found by bisection; none if none does."""
    low, high, best = qualities[0], qualities[-1] + 1, None
    while low < high:
        middle = (low + high) // 2
        made = encode(middle)
        if made is None:
            return []
        if made[1] >= score:
            high, best = middle, CommonFormat(name, *made)
        else:
            low = middle + 1
    return [] if best is None else [best]
