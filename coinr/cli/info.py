"""The commands that describe and verify a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coinr.cli.many_files import map_now, report_each, report_one
from coinr.cli.messages import in_options
from coinr.cli.options import echo_json, examples, json_option, quiet_option, show_command_progress
from coinr.cli.start_options import find_base, read_start, start_option
from coinr.cli.state_dicts import FILE, base_option, read_base
from coinr.errors import CoinrError

if TYPE_CHECKING:
    from coinr.starts.start import Start


@click.command(
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
        from coinr.engine.backends import backends as known_backends

        rows = known_backends()
        if as_json:
            echo_json(rows)
        else:
            for row in rows:
                state = "usable" if row["usable"] else "cannot run"
                click.echo(f"{row['backend']:<10} {state:<11} {row['detail']}" + ("  (default)" * bool(row["default"])))
        return
    from coinr.codec.state_dict_file import open_state_dict
    from coinr.signal_files.reading import describe
    from coinr.starts.find import describe_start

    with open_state_dict(file) as opened:
        report = opened.report()
        signal, network = describe(opened)
        start = describe_start(opened, file)
    colors = "sRGB" if "image" in report.meta else None
    if as_json:
        echo_json(
            {
                "file": str(file),
                "signal": signal,
                "network": network,
                "start": start,
                "colours": colors,
                **report.to_dict(),
            }
        )
        return
    if signal is not None:
        click.echo(signal)
    if network is not None:
        click.echo(f"network: {', '.join(f'{name} {value}' for name, value in network.items())}")
    if start is not None:
        click.echo(f"start: {', '.join(f'{name} {value}' for name, value in start.items())}")
    if colors is not None:
        click.echo(f"colours: {colors}")
    click.echo(str(report))
    if report.meta:
        click.echo(f"metadata: {json.dumps(report.meta)}")


@click.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr verify model.coinr && echo intact",
        "coinr verify model.coinr --json",
        "coinr verify packed/*.coinr",
    ),
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@base_option
@start_option
@json_option
@quiet_option
def verify(
    files: tuple[Path, ...], base: Path | None, base_key: str | None, start_file: Path | None, as_json: bool
) -> None:
    """Check all of FILE: header, checksums, and that every tensor decodes.

    Of several, each is checked. If one fails, the others go on, and the command ends with 1.
    """
    show_command_progress()
    known, start = read_base(base, base_key), read_start(start_file)
    if len(files) > 1:
        report_each("files", files, map_now(lambda file: _verify(file, known, start), files), as_json)
        return
    try:
        report_one(_verify(files[0], known, start), as_json)
    except CoinrError as error:
        if as_json:
            words = in_options(str(error), click.get_current_context().command)
            echo_json({"file": str(files[0]), "ok": False, "error": type(error).__name__, "message": words})
        raise


def _verify(file: Path, known: Mapping[str, Any] | None, start: Start | None) -> dict[str, Any]:
    """Check a coinr file, and return what is reported of it."""
    from coinr.codec.state_dict_file import open_state_dict

    with open_state_dict(file, base=known) as opened:
        find_base(opened, file, known, start)
        report = opened.verify()
    count = len(report.tensors)
    line = f"{file}: intact, {count} tensor{'s' * (count != 1)} in {report.totals['file_bytes']} bytes"
    return {"file": str(file), "ok": True, "tensors": count, **report.totals, "line": line}
