"""How a set of networks is laid out in a Parquet file: its columns and its metadata."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

from coinr.errors import FormatError, VersionError
from coinr.runtime.optional import import_optional

#: Names of columns and of their types in pyarrow.
COLUMNS = {"key": "string", "blob": "binary", "bytes": "int64", "score": "float32", "metadata": "string"}

#: Metadata of the file: the version of this layout, and the file of the base in base64, if there is one.
VERSION_KEY, BASE_KEY = b"coinr.set", b"coinr.base"
VERSION = b"1"

#: The largest file of a base.
MOST_BASE_BYTES = 1 << 28


class Member(NamedTuple):
    """A network of a set.

    Attributes
    ----------
    key : str
        Its name, different from all others of the set.
    blob : bytes
        Its coinr file, which may be relative to the base of the set; or, to be encoded by ``write_set``, a state dict.
    score : float, optional
        Any number to keep with it, as float32: PSNR in dB, for example.
    metadata : mapping, optional
        Any JSON values to keep with it. The metadata of its file are others.
    """

    key: str
    blob: Any
    score: float | None = None
    metadata: Mapping[str, Any] | None = None


def parquet() -> tuple[Any, Any]:
    """Return the modules ``pyarrow`` and ``pyarrow.parquet``; raise DependencyError where they are missing."""
    return import_optional("pyarrow", "many"), import_optional("pyarrow.parquet", "many")


def make_schema() -> Any:
    """Return the columns of a set as a schema of pyarrow."""
    pyarrow, _ = parquet()
    return pyarrow.schema([pyarrow.field(name, pyarrow.type_for_alias(kind)) for name, kind in COLUMNS.items()])


def make_metadata(base: bytes | None) -> dict[bytes, bytes]:
    """Return the metadata of a set with the file of its base."""
    return {VERSION_KEY: VERSION} | ({} if base is None else {BASE_KEY: base64.b64encode(base)})


def read_schema(schema: Any, metadata: Mapping[bytes, bytes]) -> bytes | None:
    """Return the file of the base that the metadata hold, None without one.

    Raises
    ------
    FormatError
        If it is not the schema of a set.
    VersionError
        If it is that of a later version.
    """
    expected = {field.name: field.type for field in make_schema()}
    found = {field.name: field.type for field in schema}
    version = metadata.get(VERSION_KEY)
    if version is None:
        raise FormatError(f"a Parquet file, but no set of networks: its columns are {', '.join(found)[:200]}")
    if version != VERSION:
        raise VersionError(f"version {version[:20].decode(errors='replace')} of sets is not supported, only 1")
    if found != expected:
        columns = ", ".join(f"{name} {kind}" for name, kind in found.items())
        raise FormatError(f"columns of a set are {', '.join(COLUMNS)}; the file has {columns[:200]}")
    if BASE_KEY not in metadata:
        return None
    if len(metadata[BASE_KEY]) > MOST_BASE_BYTES:
        raise FormatError(f"a base of {len(metadata[BASE_KEY])} characters; the most are {MOST_BASE_BYTES}")
    try:
        return base64.b64decode(metadata[BASE_KEY], validate=True)
    except binascii.Error as error:
        raise FormatError(f"the base of the set is not base64: {error}") from error
