"""The command line.

torch, the codec and the signals are imported by the commands that need them, so ``coinr --help`` answers at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

import click

from coinr.cli.messages import describe_error, in_options
from coinr.cli.options import examples
from coinr.errors import CoinrError

#: The module of each command, in the order of the help.
_HOMES = {
    "encode": "encode",
    "learn-start": "learn_start",
    "decode": "decode",
    "compare": "compare",
    "preview": "compare",
    "pack": "state_dicts",
    "unpack": "state_dicts",
    "info": "info",
    "verify": "info",
}


_INTERRUPTED = 130


class _Commands(click.Group):
    """The command group. It reports every foreseeable failure on one line of stderr, with an exit code.

    2: wrong usage, 1: the command failed, 130: interrupted.
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in _HOMES:
            near = get_close_matches(args[0], _HOMES, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_HOMES)}"
            ctx.fail(f"there is no command {args[0]!r}; {meant}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _HOMES:
            return None
        command: click.Command = getattr(
            importlib.import_module(f"coinr.cli.{_HOMES[cmd_name]}"), cmd_name.replace("-", "_")
        )
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CoinrError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            raise error if command is None else type(error)(in_options(str(error), command)) from error
        except KeyboardInterrupt:
            # click would print an empty line, which only a terminal that shows ^C needs
            if sys.stderr.isatty():
                click.echo(err=True)
            ctx.exit(_fail("coinr: interrupted", _INTERRUPTED))

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
            code = _fail("coinr: interrupted", _INTERRUPTED)
        except BrokenPipeError:
            # whoever read our output is gone; keep the interpreter from complaining when it flushes
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        except (CoinrError, OSError, MemoryError) as error:
            code = _fail(f"coinr: error: {describe_error(error)}", 1)
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
        "coinr encode song.wav -o song.coinr          or to a sound, a mesh, a volume, posed pictures",
        "coinr learn-start photos/                    learn where fits begin: encode --start photos.start.coinr",
        "coinr compare photo.png photo.coinr -o difference.png",
        "coinr preview scene.coinr -o sheet.png",
        "coinr pack model.safetensors -o model.coinr  store any state dict",
        "coinr unpack model.coinr -o model.safetensors",
        "coinr info model.coinr",
        "coinr verify model.coinr",
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="coinr", message="%(prog)s %(version)s")
def cli() -> None:
    """Small, bit-exact files for trained implicit neural representations: pictures, sounds, shapes, scenes.

    Every command ends with 0 when all was done, 1 when it failed (one line on stderr says why), 2 when it was called
    in a wrong way, and 130 when it was interrupted. Files are written whole or not at all. A link as output is
    followed; an output that is not named is never written over.
    """


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    try:
        cli.main(prog_name="coinr")
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            # threads that still work on something would be waited for
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(_INTERRUPTED)
        raise
