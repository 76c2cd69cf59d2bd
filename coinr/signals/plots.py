"""Plots of sounds and depths, by matplotlib without a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.runtime.optional import import_optional

_INCHES, _DPI = (9.0, 2.6), 100


def _draw(figure: Any) -> NDArray[np.uint8]:
    canvas = import_optional("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _axes() -> tuple[Any, Any]:
    figure = import_optional("matplotlib.figure").Figure(_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel("time in s")
    return figure, axes


def waveform(sounds: Sequence[tuple[str, NDArray[np.float32]]], rate: int) -> NDArray[np.uint8]:
    """Return a plot, uint8 [H, W, 3], of mono sounds [N] over each other, the first below."""
    figure, axes = _axes()
    for k, (label, sound) in enumerate(sounds):
        axes.plot(np.arange(len(sound)) / rate, sound, linewidth=0.6, color=f"C{k}", label=label, alpha=0.8)
    axes.set_xlim(0, max(len(sounds[0][1]) / rate, 1e-9))
    axes.legend(loc="upper right")
    return _draw(figure)


def spectrogram(sound: NDArray[np.float32], rate: int) -> NDArray[np.uint8]:
    """Return a plot, uint8 [H, W, 3], of the power of a mono sound [N] over time and frequency, 0 to -100 dB."""
    figure, axes = _axes()
    window = min(1024, len(sound))
    shape = import_optional("scipy.signal").stft(sound, fs=rate, nperseg=window, noverlap=window // 2)
    power = 20 * np.log10(np.abs(shape[2]) + 1e-6)
    axes.imshow(
        power,
        origin="lower",
        aspect="auto",
        extent=(0, len(sound) / rate, 0, rate / 2000),
        vmin=-100,
        vmax=0,
        cmap="magma",
    )
    axes.set_ylabel("kHz")
    return _draw(figure)


def color_depths(depth: NDArray[np.float32], near: float, far: float) -> NDArray[np.uint8]:
    """Return depths [H, W] as a picture uint8 [H, W, 3], near bright and far dark."""
    unit = np.clip((far - depth) / (far - near), 0, 1)
    colors = import_optional("matplotlib").colormaps["magma"](unit)[..., :3]
    picture: NDArray[np.uint8] = np.rint(colors * 255).astype(np.uint8)
    return picture
