"""Options on how a signal is read, for the commands that fit networks to signals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coinr.cli.options import Numbers, option_group

if TYPE_CHECKING:
    from coinr.signals.signal import Signal

#: Options of meshes and scenes; :func:`read_signal` uses them.
signal_options = option_group(
    click.option(
        "--grid",
        type=click.IntRange(2, 1024),
        help="Voxels along the longest side of a mesh.  [default: 128]",
    ),
    click.option(
        "--samples",
        type=Numbers("COARSE,FINE", ","),
        help="Depths along a ray of a scene.  [default: 32,32]",
    ),
    click.option(
        "--near",
        type=click.FloatRange(0),
        help="Least depth of a scene.  [default: its file's, or set from its cameras]",
    ),
    click.option(
        "--far", type=click.FloatRange(0, min_open=True), help="Greatest depth of a scene.  [default: likewise]"
    ),
)

_NAMES = ("grid", "samples", "near", "far")


def reading_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of :func:`coinr.open_signal` that the values of :func:`signal_options` stand for."""
    grid, samples = options["grid"] or 128, options["samples"] or (32, 32)
    return {"grid": grid, "samples": samples, "near": options["near"], "far": options["far"]}


def read_signal(path: Path, options: dict[str, Any]) -> Signal:
    """Return the signal in a file or folder, read as the values of :func:`signal_options` say.

    Raises
    ------
    click.UsageError
        If an option is for another kind of signal.
    CoinrError, OSError
        As :func:`coinr.open_signal`.
    """
    from coinr.signals.open_signal import open_signal

    opened = open_signal(path, **reading_arguments(options))
    meshes = getattr(opened, "mesh", None) is not None
    for name in _NAMES:
        fits = meshes if name == "grid" else opened.kind == "scene"
        if options[name] is not None and not fits:
            kind = "meshes" if name == "grid" else "scenes"
            raise click.UsageError(f"--{name} is for {kind}; this signal of kind {opened.kind} has samples of its own")
    return opened
