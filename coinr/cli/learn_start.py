"""The command that learns a start from signals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coinr.cli.options import (
    echo_json,
    echo_notes,
    examples,
    json_option,
    quiet_option,
    show_command_progress,
    threads_option,
)
from coinr.cli.outputs import check_output, output_beside, output_option
from coinr.cli.signal_options import read_signal, signal_options
from coinr.errors import CoinrError, InputError
from coinr.progress import finish, steps

if TYPE_CHECKING:
    from coinr.signals.signal import Signal

_START_FILE = ".start.coinr"

#: Options that are arguments of ``coinr.learn_start``.
_ARGUMENTS = (
    "network",
    "method",
    "width",
    "hidden_layers",
    "steps",
    "batch",
    "learning_rate",
    "signals_per_step",
    "inner_steps",
    "inner_rate",
    "first_order",
    "time_budget",
    "seed",
    "device",
)


@click.command(
    "learn-start",
    no_args_is_help=True,
    epilog=examples(
        "coinr learn-start photos/                            writes photos.start.coinr, unless there is one",
        "coinr learn-start photos/ -o photos.start.coinr --width 64",
        "coinr learn-start a.png b.png c.png -o few.start.coinr --method reptile",
        "coinr learn-start songs/ -o songs.start.coinr --steps 3000 --json",
        "coinr encode photo.png --start photos.start.coinr -o photo.coinr",
    ),
)
@click.argument("signals", metavar="SIGNAL...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@output_option("The .start.coinr file", "SIGNAL with .start.coinr")
@click.option("--name", metavar="NAME", help="Of the start; files that need it name it.  [default: that of the output]")
@click.option("--method", metavar="NAME", default="maml", help="maml, reptile or joint, see above.  [default: maml]")
@click.option(
    "--network", metavar="KIND", help="siren, finer, gauss, wire or relu; nerf for scenes.  [default: that of encode]"
)
@click.option("--width", type=click.IntRange(1, 4096), help="Neurons per layer.  [default: that of encode]")
@click.option("--hidden-layers", type=click.IntRange(0, 64), help="Layers of width x width.  [default: that of encode]")
@click.option("--steps", type=click.IntRange(1), help="Steps of learning.  [default: as above]")
@click.option(
    "--time-budget",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="End the learning by then.  [default: none]",
)
@click.option("--batch", type=click.IntRange(1), help="Samples of each signal in a step.  [default: that of encode]")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    help="Of learning, in its first step.  [default: as above]",
)
@click.option(
    "--signals-per-step", type=click.IntRange(1), help="Signals that a step learns from; not for joint.  [default: 3]"
)
@click.option("--inner-steps", type=click.IntRange(1), help="Steps of each fit within a step.  [default: as above]")
@click.option(
    "--inner-rate",
    type=click.FloatRange(0, min_open=True),
    help="Learning rate of the inner steps.  [default: as above]",
)
@click.option(
    "--first-order",
    is_flag=True,
    default=None,
    help="maml without second derivatives: takes less time and brings less.  [default: with them]",
)
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, help="Of weights and samples.  [default: 0]")
@signal_options
@click.option("--device", metavar="NAME", help="Where to learn: cpu, cuda.  [default: a GPU if there is one]")
@threads_option
@json_option
@quiet_option
def learn_start(
    signals: tuple[Path, ...],
    output: Path | None,
    name: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn from SIGNALs a start, from which fits of others of their kind get further in the same steps.

    Each SIGNAL is a file or scene that encode takes, or a folder of such files. All must be of one kind and number of
    values. Files in a folder that are no signals are left out and noted.

    \b
    method    steps  learning rate  inner steps  inner rate
    maml      1000   0.001 (*)      3            0.01, learned for each weight and step
    reptile   300    1              20           0.3 of that of encode
    joint     2000   that of encode
    (*) 0.0001 for sounds
    """  # noqa: D301 - \b tells click to keep the lines
    if output is None:
        if len(signals) > 1:
            raise click.UsageError("name the output of several signals with -o")
        output = output_beside(signals[0], _START_FILE)
    check_output(output, (".coinr",), *signals)
    from coinr.meta import learn_start as learn
    from coinr.meta.options import MetaOptions
    from coinr.starts.start import check_start_file

    check_start_file(output)
    show_command_progress()
    given = {key: value for key in _ARGUMENTS if (value := options[key]) is not None}
    given["name"] = output.name[: -len(_START_FILE)] if name is None else name
    _check(MetaOptions, given)
    read, notes = _read_all(signals, options)
    begin = time.perf_counter()
    start = learn(read, **given)
    seconds = time.perf_counter() - begin
    start.save(output)
    if as_json:
        described = {"file": str(output), "name": start.name, "hash": start.hash, "bytes": len(start.blob)}
        network = {"kind": start.kind, **start.config}
        learned = {"method": start.method, "learned_steps": start.steps, "signals": len(read), "seconds": seconds}
        echo_json({**described, "signal": start.signal, "network": network, **learned, "notes": notes})
        return
    finish()
    click.echo(
        f"{output}: {len(start.blob)} bytes, the start {start.name!r} ({start.short_hash}) of {len(read)} signals"
    )


def _check(options: Any, given: dict[str, Any]) -> None:
    """Raise now the errors that learning would raise for these options after reading."""
    network = ("network", "width", "hidden_layers", "device")
    rest = {key: value for key, value in given.items() if key not in network}
    options.of(**{"batch": 1, "steps": None, "learning_rate": None, "threads": None, "time_budget": None, **rest})


def _read_all(paths: Sequence[Path], options: dict[str, Any]) -> tuple[list[Signal], list[str]]:
    """Return all signals, and notes on what was left out.

    Raises
    ------
    InputError
        If a file cannot be read, or none of a folder, or they are of several kinds.
    """
    from coinr.signals.scene.files import is_scene_folder

    named = {path: path.is_file() or is_scene_folder(path) for path in paths}
    files = [(file, path) for path in paths for file in ([path] if named[path] else _files_in(path))]
    read: list[Signal] = []
    notes: list[str] = []
    for file, source in steps(files, "signals"):
        try:
            signal = read_signal(file, options)
        except CoinrError as error:
            if named[source]:
                raise
            note = f"left out: {str(error).removeprefix(f'{file}: ')}"
            echo_notes(file, [note])
            notes.append(f"{file}: {note}")
            continue
        if read and _form(signal) != _form(read[0]):
            raise InputError(
                f"{file}: is {_words(signal)}, and {read[0].source} {_words(read[0])}; learn from one kind"
            )
        echo_notes(file, signal.notes)
        notes += signal.notes
        read.append(signal)
    if not read:
        raise InputError(f"{paths[0]}: there is no signal in this folder")
    return read, notes


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _form(signal: Signal) -> tuple[str, int, int]:
    return signal.kind, signal.in_features, signal.out_features


def _words(signal: Signal) -> str:
    return f"{signal.kind} of {signal.out_features} values"
