"""Writing a set of networks as one Parquet file, a group of members at a time."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated, Any, BinaryIO

from coinr.codec.api import encode_state_dict
from coinr.codec.format.container import File
from coinr.codec.format.metadata import check_meta
from coinr.codec.format.tensor_table import Limits
from coinr.codec.many import encode_state_dicts
from coinr.codec.reference import ReferenceNetwork
from coinr.errors import CoinrError, InputError
from coinr.files.writing import write_atomic
from coinr.inputs.arguments import checked, describe_value
from coinr.inputs.state_dicts import StateDict
from coinr.many.set_schema import Member, make_metadata, make_schema, parquet
from coinr.runtime.ambient import independent

# A group of rows is what a reader of one member reads: it ends with the member that fills so many bytes or rows.
_GROUP_BYTES, _GROUP_ROWS = 1 << 20, 1 << 12

_ENCODINGS = {
    "key": "DELTA_BYTE_ARRAY",
    "blob": "DELTA_LENGTH_BYTE_ARRAY",
    "bytes": "DELTA_BINARY_PACKED",
    "score": "BYTE_STREAM_SPLIT",
}


@independent
@checked
def write_set(
    path: str | os.PathLike[str],
    items: Annotated[Iterable[Any], "an iterable of members"],
    *,
    base: StateDict | None = None,
    seed: int = 0,
    threads: int | None = None,
    limits: Limits | None = None,
    **options: Any,
) -> int:
    """Write networks as one Parquet file, whole or not at all, and return how many they are.

    Members are read, encoded and written one after the other. Of them, keys alone stay in memory, and one group of
    about 1 MiB. The columns are key, blob, bytes, score and metadata, so any reader of Parquet reads the file.

    Parameters
    ----------
    path
        Of the file.
    items
        Of :class:`Member`, or equal tuples. All hold coinr files, or all hold state dicts, which are then encoded.
    base
        A network that files are relative to; it is stored once. :func:`make_base` makes one.
    seed, threads, **options
        As for :func:`~coinr.encode_state_dicts`; for state dicts.
    limits
        As for :func:`~coinr.encode_state_dict`.

    Raises
    ------
    InputError
        If a member is ill-formed or a key comes twice; the message names the key.
    CoinrError
        As encode_state_dict, or if a file that was given is damaged or relative to another base.
    DependencyError
        If pyarrow is not installed.
    OSError
        If the file cannot be written.
    """
    pyarrow, arrow_parquet = parquet()
    reference = None if base is None else ReferenceNetwork(base)
    schema = make_schema()
    blob = None if base is None else encode_state_dict(base, profile="lossless", nonfinite="lossless")
    arguments = {"seed": seed, "threads": threads, "base": base, "limits": limits, **options}
    count = 0

    def write(stream: BinaryIO) -> None:
        nonlocal count
        with arrow_parquet.ParquetWriter(
            stream,
            schema,
            store_schema=False,
            use_dictionary=False,
            write_statistics=["key", "bytes", "score"],
            write_page_checksum=True,
            column_encoding=_ENCODINGS,
            compression={"key": "zstd", "blob": "none", "bytes": "none", "score": "zstd", "metadata": "zstd"},
        ) as writer:
            writer.add_key_value_metadata(make_metadata(blob))
            for rows in _groups(_checked_members(_with_files(items, arguments), reference, limits)):
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                count += len(rows)

    write_atomic(path, write)
    return count


def _with_files(items: Iterable[Any], arguments: dict[str, Any]) -> Iterator[Member]:
    """Yield members with their files; state dicts are encoded."""
    members = map(_member, items)
    first = next(members, None)
    if first is None:
        return
    everyone = chain([first], members)
    if isinstance(first.blob, bytes):
        yield from everyone
        return
    waiting: deque[Member] = deque()

    def contents() -> Iterator[Any]:
        for member in everyone:
            if isinstance(member.blob, bytes):
                raise InputError(f"member {member.key!r} is a file, and the first one is a state dict")
            waiting.append(member)
            yield member.blob

    blobs = encode_state_dicts(contents(), **arguments)
    while True:
        try:
            blob = next(blobs)
        except StopIteration:
            return
        except CoinrError as error:
            raise type(error)(f"member {waiting[0].key!r}: {error}" if waiting else str(error)) from error
        yield waiting.popleft()._replace(blob=blob)


def _member(item: Any) -> Member:
    if not isinstance(item, tuple) or not 2 <= len(item) <= len(Member._fields):
        raise InputError(f"a member is (key, file or state dict, score, metadata), got {describe_value(item)}")
    member = Member(*item)
    if not isinstance(member.key, str) or not member.key or not _is_unicode(member.key):
        raise InputError(f"the key of a member is a valid text that is not empty, got {describe_value(member.key)}")
    if member.score is not None and (isinstance(member.score, bool) or not isinstance(member.score, int | float)):
        raise InputError(f"member {member.key!r}: score is a number or None, got {describe_value(member.score)}")
    return member


def _is_unicode(text: str) -> bool:
    """Return whether a text has no lone surrogates, which UTF-8 cannot hold."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _checked_members(
    members: Iterable[Member], reference: ReferenceNetwork | None, limits: Limits | None
) -> Iterator[Member]:
    """Yield members whose keys differ and whose files a reader of the set can open."""
    seen = set()
    for member in members:
        if member.key in seen:
            raise InputError(f"two members have the key {member.key!r}")
        seen.add(member.key)
        if not isinstance(member.blob, bytes):
            raise InputError(f"member {member.key!r} is no file, and the first one is")
        try:
            File(member.blob, limits, reference).check_reference()
        except CoinrError as error:
            raise type(error)(f"member {member.key!r}: {error}") from error
        yield member


def _groups(members: Iterable[Member]) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of one group after the other."""
    rows: list[dict[str, Any]] = []
    size = 0
    for member in members:
        rows.append(_row(member))
        size += len(member.blob)
        if size >= _GROUP_BYTES or len(rows) >= _GROUP_ROWS:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _row(member: Member) -> dict[str, Any]:
    try:
        metadata = check_meta(member.metadata)
    except InputError as error:
        raise InputError(f"member {member.key!r}: {error}") from error
    return {
        "key": member.key,
        "blob": member.blob,
        "bytes": len(member.blob),
        "score": member.score,
        "metadata": json.dumps(metadata, separators=(",", ":"), ensure_ascii=False) if metadata else None,
    }
