"""What several commands share: options, checks of paths, output."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from coinr.progress import finish, show_progress

COINR_FILE = ".coinr"

Command = TypeVar("Command", bound=Callable[..., Any])

_QUIET = "coinr.quiet"


def _keep_quiet(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_QUIET] = value


quiet_option = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_keep_quiet,
    help="Nothing on stderr but errors: no progress, no notes.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value on stdout, for scripts.")


@contextmanager
def _limited_threads(count: int | None) -> Iterator[None]:
    """Let torch, loaded or not yet, and the extension run so many threads."""
    if count is None:
        yield
        return
    given = {name: os.environ.get(name) for name in ("COINR_THREADS", "OMP_NUM_THREADS")}
    os.environ |= dict.fromkeys(given, str(count))
    torch: Any = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    if torch:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(before)
        for name, value in given.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def threads_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--threads`` to a command, which runs within them. Options alone change nothing: others may be wrong."""

    @functools.wraps(command)
    def run(*arguments: Any, threads: int | None, **options: Any) -> Any:
        with _limited_threads(threads):
            return command(*arguments, **options)

    return click.option("--threads", type=click.IntRange(1, 256), help="CPU threads.  [default: all cores]")(run)


class _ProfileOption(click.ParamType[tuple[str, Any]]):
    """KEY=VALUE with a JSON value, or a bare word."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        key, equals, text = value.partition("=")
        if not equals or not key.isidentifier():
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        try:
            return key, json.loads(text.lower() if text.lower() in ("true", "false") else text)
        except ValueError:
            return key, text


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers between separators, such as 400x600."""

    def __init__(self, form: str, separator: str) -> None:
        self.name = form
        self._separator = separator
        self._count = len(form.split(separator))

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the form unchanged; click would write it in capitals."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers in a text. Click also passes values that are converted already."""
        if isinstance(value, tuple):
            return value
        parts = value.lower().split(self._separator.lower())
        if len(parts) != self._count or not all(re.fullmatch(r"[0-9]{1,10}", part.strip()) for part in parts):
            self.fail(f"{value!r} is not {self.name} in whole numbers", param, ctx)
        return tuple(int(part) for part in parts)


def option_group(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return a decorator that adds options to a command; its help lists them in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def examples(*lines: str) -> str:
    """Return command lines as the last part of a help text."""
    # \b keeps click from filling the lines into a paragraph
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _codec_default(name: str) -> Callable[[], Any]:
    """Return what gives the default of an argument of ``encode_state_dict``, once a command runs: imports take long."""

    def default() -> Any:
        from coinr.codec.options import EncodeOptions

        return getattr(EncodeOptions, name)

    return default


#: Options that go to the codec; :func:`codec_arguments` turns them into its arguments.
codec_options = option_group(
    click.option(
        "--seeds",
        metavar="COUNT",
        type=click.IntRange(1, 2**16),
        default=_codec_default("seeds"),
        help="Seeds to try, from --seed on; the smallest file is kept.  [default: 1]",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**64 - 1),
        default=_codec_default("seed"),
        help="Key of the random dictionaries, and of a fit.  [default: 0]",
    ),
    click.option(
        "--profile", metavar="NAME", help="auto, direct, sparse, paper, uniform or lossless.  [default: auto]"
    ),
    click.option(
        "--effort",
        metavar="NAME",
        help="How much time auto and direct take to save bytes: fast, default or best.  [default: default; best where "
        "encode meets a budget]",
    ),
    click.option(
        "--output-error",
        "output_error_db",
        metavar="DB",
        type=click.FloatRange(-200, 0),
        help="How far the network's output may be off, as a share of its range; less is finer and larger. Of a signal "
        "it is measured, of a state dict predicted.  [default: -50 for auto, direct and sparse; of a signal but a "
        "shape, a twentieth of the fit's squared error]",
    ),
    click.option(
        "--tolerance",
        type=click.FloatRange(min=0),
        help="In place of --output-error: scale of all errors and bound on each tensor's relative error.  "
        "[default: none; the rule of paper; 16 bits for uniform]",
    ),
    click.option(
        "--lossless",
        metavar="PATTERN",
        multiple=True,
        help="Store tensors so named bit-exactly, such as '*.bias'; may be given more than once.  [default: none]",
    ),
    click.option(
        "--lossless-nonfinite",
        is_flag=True,
        help="Store tensors with NaN or Inf bit-exactly.  [default: they are an error]",
    ),
    click.option(
        "-O",
        "--option",
        type=_ProfileOption(),
        multiple=True,
        help="An option of the profile, see below.  [default: none]",
    ),
    click.option("--threads", type=click.IntRange(1, 256), help="CPU threads.  [default: all cores]"),
    click.option(
        "--backend",
        metavar="NAME",
        help="native, triton or reference; see: coinr info --backends.  [default: COINR_BACKEND, or native]",
    ),
)


def codec_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``encode_state_dict`` that the values of :func:`codec_options` stand for."""
    arguments = {
        name: options[name]
        for name in ("profile", "effort", "output_error_db", "tolerance", "backend", "threads")
        if options[name] is not None
    }
    extra = dict(options["option"])
    from coinr.codec.options import option_names

    if reserved := {"sd", *option_names()} & set(extra):
        raise click.UsageError(f"-O is for options of the profile, not {', '.join(sorted(reserved))}")
    return {
        "seed": options["seed"],
        "seeds": options["seeds"],
        "lossless": options["lossless"],
        "nonfinite": "lossless" if options["lossless_nonfinite"] else "error",
        **arguments,
        **extra,
    }


def check_codec(arguments: dict[str, Any]) -> None:
    """Raise now the errors that the codec would raise for these arguments after a long fit."""
    from coinr.codec.options import EncodeOptions
    from coinr.codec.profiles.tasks import check_options

    check_options(EncodeOptions.from_arguments(arguments))


def show_command_progress() -> None:
    """Show how far the command that runs is from now on, unless it was given ``--quiet``."""
    context = click.get_current_context()
    context.with_resource(show_progress(context.info_name or "coinr", False if quiet() else None))


def quiet() -> bool:
    """Return whether the command that runs was given ``--quiet``."""
    return bool(click.get_current_context().meta[_QUIET])


def echo_notes(source: Path, notes: Sequence[str]) -> None:
    """Print on stderr, one line each, what reading ``source`` changed or left out, unless ``--quiet`` is given."""
    for note in () if quiet() else notes:
        click.echo(f"coinr: note: {source}: {note}", err=True)


def echo_json(value: Any) -> None:
    """Print one JSON value on one line of stdout; infinities and NaN as null."""
    finish()
    click.echo(json.dumps(_finite(value)))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
