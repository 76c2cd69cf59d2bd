"""Reading a set of networks member by member."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate
from operator import index
from typing import Any, Self, TypeVar

import torch

from coinr.codec.api import decode_state_dict
from coinr.codec.format.metadata import read_meta
from coinr.codec.format.tensor_table import Limits
from coinr.errors import CoinrError, FormatError, InputError, LimitError, first_line
from coinr.files.reading import check_path, name_in_errors
from coinr.inputs.arguments import checked
from coinr.many.set_schema import COLUMNS, Member, parquet, read_schema
from coinr.runtime.ambient import independent

_T = TypeVar("_T")


class NetworkSet:
    """A set of networks in a file, read a group of about 1 MiB at a time. Use it in a ``with`` block, or close it.

    ``len(set)`` is the number of members, ``set[key]`` or ``set[number]`` a :class:`Member`, and iterating gives all in
    order. The first access by key reads all keys.

    Attributes
    ----------
    base : dict of str to Tensor, or None
        The network that members are relative to.
    """

    def __init__(self, path: str | os.PathLike[str], limits: Limits | None) -> None:
        _, arrow_parquet = parquet()
        self._path, self._limits = path, limits or Limits()
        self._numbers: dict[str, int] | None = None
        self._group: tuple[int, list[dict[str, Any]]] | None = None
        self._stream = check_path(path).open("rb")
        try:
            with name_in_errors(path):
                self._file = _call(lambda: arrow_parquet.ParquetFile(self._stream, page_checksum_verification=True))
                blob = read_schema(_call(lambda: self._file.schema_arrow), self._file.metadata.metadata or {})
                self.base = None if blob is None else decode_state_dict(blob, limits=self._limits)
                self._ends = list(accumulate(self._rows_of(group) for group in range(self._file.num_row_groups)))
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Member]:
        return (self[number] for number in range(len(self)))

    @independent
    def __getitem__(self, at: int | str) -> Member:
        """Return a member by key or number; negative numbers count from the end.

        Raises
        ------
        KeyError, IndexError
            If there is none.
        FormatError
            If the file is damaged.
        LimitError
            If a group of members takes more than the decoded bytes of the limits.
        InputError
            If it is named by something else, or the set is closed.
        """
        number = self._number(at)
        group = bisect_right(self._ends, number)
        with name_in_errors(self._path):
            if self._group is None or self._group[0] != group:
                self._group = group, self._read(group, list(COLUMNS))
            return _member(self._group[1][number - self._ends[group]])

    def _number(self, at: int | str) -> int:
        if isinstance(at, str):
            if at not in self._by_key():
                raise KeyError(f"no member has the key {at!r}")
            return self._by_key()[at]
        try:
            number = index(at)
        except TypeError:
            raise InputError(f"a member is named by its key or its number, not by {at!r}") from None
        number += len(self) if number < 0 else 0
        if not 0 <= number < len(self):
            raise IndexError(f"{at} is no number of a member; there are {len(self)}")
        return number

    def keys(self) -> list[str]:
        """Return all keys in order."""
        return list(self._by_key())

    def decode(self, at: int | str) -> OrderedDict[str, torch.Tensor]:
        """Return the state dict of a member; errors as for indexing and :func:`~coinr.decode_state_dict`."""
        member = self[at]
        try:
            return decode_state_dict(member.blob, base=self.base, limits=self._limits)
        except CoinrError as error:
            raise type(error)(f"{self._path}: member {member.key!r}: {error}") from error

    def _by_key(self) -> dict[str, int]:
        if self._numbers is None:
            numbers: dict[str, int] = {}
            with name_in_errors(self._path):
                for group in range(len(self._ends)):
                    for row in self._read(group, ["key"]):
                        if row["key"] is None or row["key"] in numbers:
                            raise FormatError(f"the key {row['key']!r} is none or comes twice")
                        numbers[row["key"]] = len(numbers)
            self._numbers = numbers
        return self._numbers

    def _rows_of(self, group: int) -> int:
        """Return the rows of a group, which may take no more bytes than the limits allow."""
        metadata = self._file.metadata.row_group(group)
        if metadata.total_byte_size > self._limits.decoded_bytes:
            raise LimitError(
                f"a group of members takes {metadata.total_byte_size} bytes, the limit is {self._limits.decoded_bytes} "
                "(raise it with Limits)"
            )
        rows: int = metadata.num_rows
        return rows

    def _read(self, group: int, columns: list[str]) -> list[dict[str, Any]]:
        if self._stream.closed:
            raise InputError("the set is closed")
        rows: list[dict[str, Any]] = _call(lambda: self._file.read_row_group(group, columns).to_pylist())
        expected = self._file.metadata.row_group(group).num_rows
        if len(rows) != expected:
            raise FormatError(f"group {group} holds {len(rows)} members, not {expected}")
        return rows


def _call(read: Callable[[], _T]) -> _T:
    """Return what a call of pyarrow returns; what it says of a damaged file is a FormatError."""
    pyarrow, _ = parquet()
    try:
        return read()
    except OSError as error:
        if error.errno is not None:
            raise
        raise FormatError(f"no sound Parquet file: {first_line(error)}") from error
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise FormatError(f"no sound Parquet file: {first_line(error)}") from error


def _member(row: dict[str, Any]) -> Member:
    """Return the member of a row; raise FormatError for one that write_set does not write."""
    key, blob, metadata = row["key"], row["blob"], row["metadata"]
    if key is None or blob is None or row["bytes"] != len(blob):
        raise FormatError(f"member {key!r} has no file of {row['bytes']} bytes")
    return Member(key, blob, row["score"], None if metadata is None else read_meta(metadata.encode()))


@independent
@checked
def open_set(path: str | os.PathLike[str], *, limits: Limits | None = None) -> NetworkSet:
    """Open a set of networks that :func:`write_set` wrote.

    Parameters
    ----------
    path
        Of the file, which must not change while it is open.
    limits
        What decoding a member, and reading a group of members, may cost.

    Raises
    ------
    FormatError
        If it is no sound set.
    LimitError
        If a group of members, or the base, is larger than the limits allow.
    DependencyError
        If pyarrow is not installed.
    OSError
        If it cannot be read.
    """
    return NetworkSet(path, limits)
