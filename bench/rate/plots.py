"""One rate–distortion plot per network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.harness.curves import Point, envelope
from bench.harness.results import draw_figure
from bench.harness.tables import BITS_FAMILY, is_ours

_SHOWN = 1.6  # dB below the original that are in view
_SHADED = (0.05, 1.0)

_TICKS = (0.5, 0.7, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 24)

# Color, line and marker of the coders that have ones of their own.
_STYLES: dict[str, tuple[str, str, str]] = {
    "search": ("#b30000", "-", "*"),
    "auto": ("#e34a33", "-", "o"),
    "auto, default": ("#e34a33", "", "P"),
    "auto fast": ("#fdbb84", "-", "o"),
    "auto fast, default": ("#fdbb84", "", "P"),
    "auto best": ("#990000", "-", "o"),
    "auto best, default": ("#990000", "", "P"),
    "direct": ("#fc8d59", "--", "."),
    "sparse": ("#6a3d9a", "-", "s"),
    "uniform": ("#b15928", "--", "."),
    "paper M=2^14": ("#cab2d6", "-", "v"),
    "paper M=2^16": ("#9e79c4", "-", "^"),
    "nncodec": ("#08519c", "-", "."),
    "nncodec, public defaults": ("#6baed6", "-", "."),
    BITS_FAMILY: ("#238b45", "-", "d"),
    "fp16": ("#000000", "", "x"),
    "entropy bound, one step": ("#969696", ":", ""),
    "entropy bound, b bits": ("#bdbdbd", "-.", ""),
}
_SPARE = ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e")


def _style(coder: str, used: list[str]) -> tuple[str, str, str]:
    if coder in _STYLES:
        return _STYLES[coder]
    used.append(coder)
    return _SPARE[(len(used) - 1) % len(_SPARE)], "-", "o"


def _order(coder: str) -> tuple[bool, bool, int]:
    """Return ours first, bounds last, else in the order of the styles."""
    known = list(_STYLES)
    place = known.index(coder) if coder in known else -1
    return not is_ours(coder), coder.startswith("entropy"), place


def plot(
    title: str, curves: Mapping[str, Sequence[Point]], original: float, parameters: int, unit: str, path: Path
) -> None:
    """Draw quality over bits per parameter for all coders of one network.

    Parameters
    ----------
    curves : mapping
        Coder to its points; envelopes are drawn.
    original : float
        Quality in dB before coding.
    unit : str
        What the quality is, as ``PSNR``.
    """
    with draw_figure(path, figsize=(10, 5.6), constrained_layout=True) as (_, axes):
        used: list[str] = []
        seen: list[float] = []
        for coder in sorted(curves, key=_order):
            edge = envelope(curves[coder])
            rates, losses = [8 * p.bytes / parameters for p in edge], [p.loss for p in edge]
            inside = [rate for rate, loss in zip(rates, losses, strict=True) if -0.5 < loss < _SHOWN]
            if not inside:
                continue
            seen += inside
            color, line, marker = _style(coder, used)
            axes.plot(
                rates, [original - loss for loss in losses], line or "none", color=color, marker=marker or None,
                markersize=8 if marker in ("*", "x", "P") else 4, linewidth=1.6, label=coder,
                zorder=3 if is_ours(coder) else 2,
            )  # fmt: skip
        axes.axhspan(original - _SHADED[1], original - _SHADED[0], color="#fff3c4", zorder=0)
        axes.axhline(original, color="#555555", linewidth=0.8)
        axes.annotate("before coding", (1, original), (-4, 3), ("axes fraction", "data"), "offset points",
                      ha="right", fontsize=8, color="#555555")  # fmt: skip
        low, high = min(seen) / 1.04, max(seen) * 1.04
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_xticks([tick for tick in _TICKS if low <= tick <= high], minor=False)
        axes.xaxis.set_major_formatter(lambda value, position: f"{value:g}")
        axes.minorticks_off()
        axes.set_ylim(original - _SHOWN, original + 0.18)
        axes.set_xlabel("bits per parameter (8 × bytes of the file / real numbers in the network)")
        axes.set_ylabel(f"{unit} of the decoded network, dB")
        axes.set_title(
            f"{title}: {parameters:,} parameters, {original:.2f} dB; shaded: 0.05 to 1 dB of loss".replace(",", " ", 1)
        )
        axes.grid(True, alpha=0.25)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9, frameon=False)


def plot_one(name: str, coders: Mapping[str, Sequence[Point]], about: Mapping[str, Any], path: Path) -> None:
    """Draw the curves of one network; ``about`` holds its parameters and scores."""
    unit, original = next(iter(about["scores"].items()))
    plot(name, coders, float(original), int(about["parameters"]), unit.upper(), path)


def plot_all(
    curves: Mapping[str, Mapping[str, Sequence[Point]]], networks: Mapping[str, Mapping[str, Any]], folder: Path
) -> None:
    """Draw one ``NETWORK.png`` each; ``networks`` tells parameters and scores by name."""
    for name, coders in curves.items():
        plot_one(name, coders, networks[name], folder / f"{name}.png")
