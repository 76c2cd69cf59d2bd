"""Options of ``encode`` on the fit, and on the size or quality of the file, and the arguments that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coinr.cli.options import option_group

#: Options that go to the fit; :func:`fit_arguments` turns them into arguments of ``coinr.fit``.
fit_options = option_group(
    click.option(
        "--network",
        metavar="KIND",
        help="siren, finer, gauss, wire or relu; nerf for scenes.  [default: as below]",
    ),
    click.option("--width", type=click.IntRange(1, 4096), help="Neurons per layer.  [default: as below]"),
    click.option("--hidden-layers", type=click.IntRange(0, 64), help="Layers of width x width.  [default: as below]"),
    click.option("--steps", type=click.IntRange(1), help="Training steps.  [default: as below]"),
    click.option(
        "--batch", type=click.IntRange(1), help="Samples (pixels, voxels, rays) per step.  [default: as below]"
    ),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, min_open=True),
        help="At the start.  [default: as below, less in long fits of large sirens]",
    ),
    click.option(
        "--optimizer",
        metavar="NAME",
        help="muon, adam or soap.  [default: muon for siren but of sounds, else adam]",
    ),
    click.option(
        "--time-budget",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="End the fit by then, with a target all of it.  [default: none]",
    ),
    click.option(
        "--target",
        type=float,
        metavar="SCORE",
        help="End the fit at this score: dB, or IoU of a shape.  [default: none]",
    ),
    click.option(
        "--checkpoint-every",
        type=click.FloatRange(0),
        metavar="SECONDS",
        help="Between two writes of the checkpoint.  [default: 30]",
    ),
    click.option(
        "--checkpoint",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Keep there how far the fit is; go on from it, also with more steps or time.  [default: none]",
    ),
    click.option("--device", metavar="NAME", help="Where to fit: cpu, cuda, cuda:1.  [default: a GPU if there is one]"),
)


_FIT = (
    "steps",
    "batch",
    "learning_rate",
    "time_budget",
    "target",
    "optimizer",
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


#: Options that name a size or a quality; :func:`budget_arguments` turns them into arguments.
budget_options = option_group(
    click.option(
        "--target-bytes",
        type=click.IntRange(1),
        metavar="BYTES",
        help="The largest file that is allowed; network and bits are chosen for it.  [default: none]",
    ),
    click.option(
        "--target-bpp",
        type=click.FloatRange(0, min_open=True),
        metavar="BITS",
        help="The same in bits for each pixel, sample or voxel.  [default: none]",
    ),
    click.option(
        "--min-psnr",
        type=float,
        metavar="DB",
        help="The lowest PSNR of a picture or scene; network and bits are chosen for it.  [default: none]",
    ),
    click.option(
        "--min-score",
        type=float,
        metavar="SCORE",
        help="The same for any signal: dB, or IoU of a shape.  [default: none]",
    ),
    click.option(
        "--refine/--no-refine",
        default=None,
        help="With a target: also train the network on for its code, and keep the better file.  [default: no]",
    ),
    click.option(
        "--thorough",
        is_flag=True,
        help="With --refine: also code by second derivatives; fewer bytes, minutes and up to 5 GB more.",
    ),
)


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
