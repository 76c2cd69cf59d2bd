"""Reading of files without torch: their header, their arrays, and checks of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from coinr.codec.format.container import File
from coinr.codec.format.tensor_table import Limits
from coinr.codec.reference import ReferenceNetwork
from coinr.codec.report import Report, make_report
from coinr.codec.state_dict import Entry, read_state_dict
from coinr.engine.threads import available_threads
from coinr.files.random_access import FileBytes
from coinr.inputs.arguments import checked
from coinr.inputs.state_dicts import StateDict, to_state_dict
from coinr.runtime.ambient import independent


@independent
@checked
def inspect(
    blob: bytes | bytearray | memoryview,
    *,
    original: StateDict | None = None,
    base: StateDict | None = None,
    limits: Limits | None = None,
) -> Report:
    """Read the header of a file and report its content: it prints as a table, ``.to_dict()`` gives plain values.

    Parameters
    ----------
    blob
        Bytes of a whole file.
    original
        The state dict that was encoded. With it, the file is decoded, and the report says how far the network's output
        is predicted to be off, and on what that rests: the file itself does not hold it.
    base, limits
        As for :func:`decode_state_dict`.

    Raises
    ------
    CoinrError
        As :func:`decode_state_dict`.
    """
    if original is None:
        return make_report(File(blob, limits, None if base is None else ReferenceNetwork(base)))
    file = open_checked(blob, limits, base)
    return with_output_error(make_report(file), original, lambda: decode_entries(file))


@independent
@checked
def read_meta(
    blob: bytes | bytearray | memoryview, *, base: StateDict | None = None, limits: Limits | None = None
) -> dict[str, Any]:
    """Read the metadata that was given to encode_state_dict; ``base`` is needed where it has the file's table."""
    return File(blob, limits, None if base is None else ReferenceNetwork(base)).header.meta


@independent
@checked
def verify(
    blob: bytes | bytearray | memoryview, *, base: StateDict | None = None, limits: Limits | None = None
) -> Report:
    """Check a whole file: its header, its checksums, and that each tensor decodes. Hold one tensor at a time.

    Raises
    ------
    CoinrError
        As decode_state_dict.
    """
    file = open_checked(blob, limits, base)
    for row, record in enumerate(file.header.records):
        if record.tied_to is None:
            file.decode(row)
    return make_report(file)


def open_checked(
    data: bytes | bytearray | memoryview | FileBytes, limits: Limits | None, base: StateDict | None
) -> File:
    """Return a parsed file, all of whose tensors are within the limits, and whose reference network is the one given.

    Raises
    ------
    CoinrError
        As :func:`coinr.decode_state_dict`, as far as the header tells.
    """
    available_threads()  # a bad setting raises whether this file needs threads or not
    file = File(data, limits, None if base is None else ReferenceNetwork(base))
    (limits or Limits()).check(file.header)
    file.check_reference()
    return file


def decode_entries(file: File) -> list[Entry]:
    """Return all tensors of a file as entries of a state dict, in its order. Tied ones share one array."""
    entries: list[Entry] = []
    for row, record in enumerate(file.header.records):
        array = file.decode(row) if record.tied_to is None else entries[record.tied_to].array
        entries.append(Entry(record.name, array, record.layout.dtype, record.tied_to))
    return entries


def with_output_error(report: Report, original: StateDict, decode: Callable[[], list[Entry]]) -> Report:
    """Return a report with the output error that is predicted for the entries that ``decode`` returns."""
    from coinr.codec.allocate.output_error import predict_output_error

    entries = read_state_dict(to_state_dict(original))
    return replace(report, output_error=predict_output_error(entries, decode))
