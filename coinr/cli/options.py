"""What several commands share: options, checks of paths, output."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from coinr.progress import finish, shown

COINR_FILE = ".coinr"

# Arguments of the codec that are no options of a profile.
_RESERVED = frozenset(
    {
        "sd",
        "seed",
        "seeds",
        "base",
        "calibrate",
        "errors",
        "lossless",
        "nonfinite",
        "meta",
        "limits",
        "threads",
        "profile",
        "target_bytes",
        "target_bits",
        "tolerance",
        "backend",
    }
)

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


def _limit_threads(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
    """Let torch and the decoders run so many threads until the command ends."""
    if value is None or ctx.resilient_parsing:
        return
    import torch

    before, asked = torch.get_num_threads(), os.environ.get("COINR_THREADS")
    torch.set_num_threads(value)
    os.environ["COINR_THREADS"] = str(value)

    @ctx.call_on_close
    def restore() -> None:
        torch.set_num_threads(before)
        if asked is None:
            del os.environ["COINR_THREADS"]
        else:
            os.environ["COINR_THREADS"] = asked


threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 256),
    callback=_limit_threads,
    expose_value=False,
    help="CPU threads.  [default: all cores]",
)


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
        """The form as it is; click would write it in capitals."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers in a text; click also asks for those that it already has."""
        if isinstance(value, tuple):
            return value
        parts = value.lower().split(self._separator.lower())
        if len(parts) != self._count or not all(re.fullmatch(r"[0-9]{1,10}", part.strip()) for part in parts):
            self.fail(f"{value!r} is not {self.name} in whole numbers", param, ctx)
        return tuple(int(part) for part in parts)


def examples(*lines: str) -> str:
    """Return command lines as the last part of a help text."""
    # \b keeps click from filling the lines into a paragraph
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def fit_options(command: Command) -> Command:
    """Add the options that go to the fit; :func:`fit_arguments` turns them into arguments of ``coinr.fit``."""
    for option in (
        click.option(
            "--device", metavar="NAME", help="Where to fit: cpu, cuda, cuda:1.  [default: a GPU if there is one]"
        ),
        click.option(
            "--checkpoint",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Keep there how far the fit is; go on from it, also with more steps or time.  [default: none]",
        ),
        click.option(
            "--checkpoint-every",
            type=click.FloatRange(0),
            metavar="SECONDS",
            help="Between two writes of the checkpoint.  [default: 30]",
        ),
        click.option(
            "--target",
            type=float,
            metavar="SCORE",
            help="End the fit at this score: dB, or IoU of a shape.  [default: none]",
        ),
        click.option(
            "--time-budget",
            type=click.FloatRange(0, min_open=True),
            metavar="SECONDS",
            help="End the fit by then, with a target all of it.  [default: none]",
        ),
        click.option(
            "--optimiser",
            metavar="NAME",
            help="muon, adam or soap.  [default: muon for siren but of sounds, else adam]",
        ),
        click.option(
            "--learning-rate",
            type=click.FloatRange(0, min_open=True),
            help="At the start.  [default: as below, less in long fits of wide sirens]",
        ),
        click.option(
            "--batch", type=click.IntRange(1), help="Samples (pixels, voxels, rays) per step.  [default: as below]"
        ),
        click.option("--steps", type=click.IntRange(1), help="Training steps.  [default: as below]"),
        click.option(
            "--hidden-layers", type=click.IntRange(0, 64), help="Layers of width x width.  [default: as below]"
        ),
        click.option("--width", type=click.IntRange(1, 4096), help="Neurons per layer.  [default: as below]"),
        click.option(
            "--network",
            metavar="KIND",
            help="siren, finer, gauss, wire or relu; nerf for scenes.  [default: as below]",
        ),
    ):
        command = option(command)
    return command


_FIT = (
    "steps",
    "batch",
    "learning_rate",
    "time_budget",
    "target",
    "optimiser",
    "checkpoint",
    "checkpoint_every",
    "device",
    "threads",
)


def fit_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``fit`` that the values of :func:`fit_options` and the common seed stand for.

    Raises
    ------
    click.UsageError
        If an option has nothing that it could apply to.
    """
    if options["checkpoint_every"] is not None and options["checkpoint"] is None:
        raise click.UsageError("--checkpoint-every needs --checkpoint")
    return {"seed": options["seed"]} | {name: options[name] for name in _FIT if options[name] is not None}


def budget_options(command: Command) -> Command:
    """Add the options that name a size or a quality; :func:`budget_arguments` turns them into arguments."""
    for option in (
        click.option(
            "--thorough",
            is_flag=True,
            help="With --refine: also code by second derivatives; fewer bytes, minutes and up to 5 GB more.",
        ),
        click.option(
            "--refine/--no-refine",
            default=None,
            help="With a target: also train the network on for its code, and keep the better file.  [default: no]",
        ),
        click.option(
            "--min-score",
            type=float,
            metavar="SCORE",
            help="The same for any signal: dB, or IoU of a shape.  [default: none]",
        ),
        click.option(
            "--min-psnr",
            type=float,
            metavar="DB",
            help="The lowest PSNR of a picture or scene; network and bits are chosen for it.  [default: none]",
        ),
        click.option(
            "--target-bpp",
            type=click.FloatRange(0, min_open=True),
            metavar="BITS",
            help="The same in bits for each pixel, sample or voxel.  [default: none]",
        ),
        click.option(
            "--target-bytes",
            type=click.IntRange(1),
            metavar="BYTES",
            help="The largest file that is allowed; network and bits are chosen for it.  [default: none]",
        ),
    ):
        command = option(command)
    return command


# Options that a budget decides, and those of a fit that are arguments of their own.
_DECIDED = ("width", "hidden_layers", "target", "tolerance")
_DIRECT = ("seed", "steps", "time_budget")


def budget_arguments(options: dict[str, Any]) -> dict[str, Any] | None:
    """Return the arguments of ``compress`` that the values of :func:`budget_options` stand for; None if no target.

    Raises
    ------
    click.UsageError
        If there are two targets, or options that do not go with them.
    """
    targets = {name: options[name] for name in ("target_bytes", "target_bpp", "min_score", "min_psnr")}
    given = [name for name, value in targets.items() if value is not None]
    if options["thorough"] and not options["refine"]:
        raise click.UsageError("--thorough needs --refine")
    if not given:
        if options["refine"] is not None:
            raise click.UsageError("--refine needs a target: --target-bytes, --target-bpp, --min-psnr or --min-score")
        return None
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(map(_dashed, given))} exclude each other")
    if decided := [name for name in _DECIDED if options[name] is not None]:
        raise click.UsageError(f"{_dashed(given[0])} decides {', '.join(map(_dashed, decided))}")
    name = "min_score" if given[0] == "min_psnr" else given[0]
    fitting = {key: value for key, value in fit_arguments(options).items() if key not in _DIRECT}
    direct = {key: options[key] for key in _DIRECT}
    refinement = {"refine": bool(options["refine"]), "thorough": options["thorough"]}
    return {name: targets[given[0]], **refinement, "fitting": fitting, **direct}


def _dashed(name: str) -> str:
    return "--" + name.replace("_", "-")


def codec_options(command: Command) -> Command:
    """Add the options that go to the codec; :func:`codec_arguments` turns them into its arguments."""
    for option in (
        click.option(
            "--backend",
            metavar="NAME",
            help="native, triton or reference; see: coinr info --backends.  [default: COINR_BACKEND, or native]",
        ),
        click.option("--threads", type=click.IntRange(1, 256), help="CPU threads.  [default: all cores]"),
        click.option(
            "-O",
            "--option",
            type=_ProfileOption(),
            multiple=True,
            help="An option of the profile, see below.  [default: none]",
        ),
        click.option(
            "--lossless-nonfinite",
            is_flag=True,
            help="Store tensors with NaN or Inf bit-exactly.  [default: they are an error]",
        ),
        click.option(
            "--lossless",
            metavar="PATTERN",
            multiple=True,
            help="Store tensors so named bit-exactly, such as '*.bias'; may be given more than once.  [default: none]",
        ),
        click.option(
            "--tolerance",
            type=click.FloatRange(min=0),
            help="Scale of all errors and bound on each tensor's relative error; less is finer and larger.  "
            "[default: 0.15 for auto, direct and sparse; the rule of paper; 16 bits for uniform]",
        ),
        click.option(
            "--profile", metavar="NAME", help="auto, direct, sparse, paper, uniform or lossless.  [default: auto]"
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**64 - 1),
            default=0,
            show_default=True,
            help="Key of the random dictionaries, and of a fit.",
        ),
        click.option(
            "--seeds",
            metavar="COUNT",
            type=click.IntRange(1, 2**16),
            default=1,
            show_default=True,
            help="Seeds to try, from --seed on; the smallest file is kept.",
        ),
    ):
        command = option(command)
    return command


def codec_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``encode_state_dict`` that the values of :func:`codec_options` stand for."""
    arguments = {
        name: options[name] for name in ("profile", "tolerance", "backend", "threads") if options[name] is not None
    }
    extra = dict(options["option"])
    if reserved := _RESERVED & set(extra):
        raise click.UsageError(f"-O is for options of the profile, not {', '.join(sorted(reserved))}")
    return {
        "seed": options["seed"],
        "seeds": options["seeds"],
        "lossless": options["lossless"],
        "nonfinite": "lossless" if options["lossless_nonfinite"] else "error",
        **arguments,
        **extra,
    }


def try_codec(arguments: dict[str, Any]) -> None:
    """Raise now what the codec would say of these arguments after a long fit."""
    import torch

    from coinr._backend import select
    from coinr.codec import encode_state_dict

    select(arguments.get("backend"))
    # what patterns match, only the network tells
    encode_state_dict({"w": torch.zeros(2, 2, dtype=torch.float32)}, **{**arguments, "lossless": ()})


def show_progress() -> None:
    """Show how far the command that runs is from now on, unless it was given ``--quiet``."""
    context = click.get_current_context()
    context.with_resource(shown(context.info_name or "coinr", False if quiet() else None))


def quiet() -> bool:
    """Whether the command that runs was given ``--quiet``."""
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
