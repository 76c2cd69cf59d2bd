"""The option ``--start``, for the commands that read or write files of differences to a start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from coinr.codec.state_dict_file import StateDictFile
    from coinr.starts.start import Start

#: The start of a file that is read.
start_option = click.option(
    "--start",
    "start_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The start that FILE was coded relative to.  [default: the one of its hash beside it, in COINR_STARTS, or in "
    "the package]",
)


def read_start(file: Path | None) -> Start | None:
    """Return the start in a file, or None without one; errors as of :func:`coinr.open_start`."""
    if file is None:
        return None
    from coinr.starts.start import open_start

    return open_start(file)


def find_base(opened: StateDictFile, file: Path, base: Any, start: Start | None) -> Any:
    """Return the network that tensors of an opened file are relative to: the base, or the start that it is given.

    Raises
    ------
    click.UsageError
        If there are both.
    ReferenceNetworkError, InputError
        As :func:`coinr.starts.find.give_start`.
    """
    if base is not None:
        if start is not None:
            raise click.UsageError("give --base or --start, not both")
        return base
    from coinr.starts.find import give_start

    found = give_start(opened, file, start)
    return None if found is None else found.arrays
