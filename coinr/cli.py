"""The command line: weights in and out, and what a file holds. Pictures are in :mod:`coinr.cli_image`.

torch and the codec are imported by the commands that need them, so ``coinr --help`` answers at once.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from coinr.cli_common import (
    COINR_FILE,
    base_option,
    check_output,
    codec_arguments,
    codec_options,
    echo_json,
    examples,
    json_option,
)
from coinr.errors import CoinrError

_IMAGE_COMMANDS = ("encode", "decode")


class _Commands(click.Group):
    """The command group; it tells every foreseeable failure on one line of stderr, with an exit code.

    2: wrong usage, 1: the command failed, 130: interrupted.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["encode", "decode", "pack", "unpack", "info", "verify"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _IMAGE_COMMANDS:
            command: click.Command = getattr(importlib.import_module("coinr.cli_image"), cmd_name)
            return command
        return super().get_command(ctx, cmd_name)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        extra["standalone_mode"] = False
        try:
            code = super().main(args, *rest, **extra)
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = 2
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else "coinr"
            code = _fail(f"{where}: error: {error.format_message()} (see {where} --help)", 2)
        except click.ClickException as error:
            code = _fail(f"coinr: error: {error.format_message()}", 2)
        except (click.Abort, KeyboardInterrupt):
            code = _fail("coinr: interrupted", 130)
        except BrokenPipeError:
            # whoever read our output is gone; keep the interpreter from complaining when it flushes
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        except CoinrError as error:
            code = _fail(f"coinr: error: {error}", 1)
        except OSError as error:
            what = error.strerror or str(error)
            code = _fail(f"coinr: error: {what}: {error.filename}" if error.filename else f"coinr: error: {what}", 1)
        except MemoryError:
            code = _fail("coinr: error: not enough memory", 1)
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    click.echo(" ".join(message.split()), err=True)
    return code


@click.group(
    "coinr",
    cls=_Commands,
    epilog=examples(
        "coinr encode photo.png -o photo.coinr        fit a network to a picture and store it",
        "coinr decode photo.coinr -o big.png --scale 2",
        "coinr pack model.safetensors -o model.coinr  store any state dict",
        "coinr unpack model.coinr -o model.safetensors",
        "coinr info model.coinr",
        "coinr verify model.coinr",
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="coinr", message="%(prog)s %(version)s")
def cli() -> None:
    """Small, bit-exact files for pictures and for trained implicit neural representations."""


@cli.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr pack model.safetensors -o model.coinr",
        "coinr pack model.pt -o model.coinr --tolerance 0.01 --seed 7",
        "coinr pack model.npz -o model.coinr --profile uniform -O bits=10",
        "coinr pack tuned.safetensors -o tuned.coinr --base start.safetensors",
    ),
)
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The .coinr file to write.")
@codec_options
@base_option
@json_option
def pack(model: Path, output: Path, base: Path | None, as_json: bool, **options: Any) -> None:
    """Store the state dict in MODEL (.safetensors, .pt, .pth or .npz) as a coinr file.

    A .pt file must hold tensors only: no code in it is ever run.
    """
    check_output(output, (COINR_FILE,))
    arguments = codec_arguments(options)
    from coinr.codec import encode_state_dict, inspect
    from coinr.files import read_state_dict_file, write_atomic

    known = None if base is None else read_state_dict_file(base)
    blob = encode_state_dict(read_state_dict_file(model), base=known, **arguments)
    write_atomic(output, blob)
    totals = inspect(blob).totals
    if as_json:
        echo_json({"file": str(output), **totals})
    else:
        rate = f", {totals['bits_per_parameter']:.2f} bits per parameter" if totals["parameters"] else ""
        click.echo(f"{output}: {len(blob)} bytes for {totals['decoded_bytes']}{rate}")


@cli.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr unpack model.coinr -o model.safetensors",
        "coinr unpack tuned.coinr -o tuned.safetensors --base start.safetensors",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The model file to write.")
@base_option
def unpack(file: Path, output: Path, base: Path | None) -> None:
    """Give back the state dict in FILE as .safetensors, .pt, .pth or .npz (the suffix decides)."""
    from coinr.codec import decode_state_dict
    from coinr.files import STATE_DICT_SUFFIXES, read_state_dict_file, write_state_dict_file

    check_output(output, STATE_DICT_SUFFIXES)
    known = None if base is None else read_state_dict_file(base)
    write_state_dict_file(output, decode_state_dict(file.read_bytes(), base=known))


@cli.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr info photo.coinr",
        "coinr info model.coinr --json",
        "coinr info --backends",
    ),
)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--backends", is_flag=True, help="Instead of a file: what can run the heavy operations here.")
@json_option
def info(file: Path | None, backends: bool, as_json: bool) -> None:
    """Show what FILE holds, from its header alone."""
    if (file is None) != backends:
        raise click.UsageError("give a FILE, or --backends alone")
    if file is None:
        from coinr._backend import backends as known_backends

        rows = known_backends()
        if as_json:
            echo_json(rows)
        else:
            for row in rows:
                state = "usable" if row["usable"] == "yes" else "cannot run"
                click.echo(f"{row['backend']:<10} {state:<11} {row['detail']}" + ("  (default)" * bool(row["default"])))
        return
    from coinr.codec import inspect

    report = inspect(file.read_bytes())
    if as_json:
        echo_json({"file": str(file), **report.to_dict()})
        return
    click.echo(str(report))
    if report.meta:
        click.echo(f"metadata: {json.dumps(report.meta)}")


@cli.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr verify model.coinr && echo sound",
        "coinr verify model.coinr --json",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@base_option
@json_option
def verify(file: Path, base: Path | None, as_json: bool) -> None:
    """Check all of FILE: header, checksums, and that every tensor decodes."""
    from coinr.codec import verify as verify_bytes
    from coinr.files import read_state_dict_file

    known = None if base is None else read_state_dict_file(base)
    try:
        report = verify_bytes(file.read_bytes(), base=known)
    except CoinrError as error:
        if as_json:
            echo_json({"file": str(file), "ok": False, "error": type(error).__name__, "message": str(error)})
        raise
    if as_json:
        echo_json({"file": str(file), "ok": True, "tensors": len(report.tensors), **report.totals})
    else:
        click.echo(f"{file}: sound, {len(report.tensors)} tensors in {report.totals['file_bytes']} bytes")


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    cli.main(prog_name="coinr")
