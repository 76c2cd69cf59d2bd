"""A folder of outputs on any file system that fsspec knows."""

from __future__ import annotations

import posixpath
from pathlib import Path

from coinr.many.manifest import Row, hash_bytes, hash_of, line_of, rows_in
from coinr.runtime.optional import import_optional


class RemoteFolder:
    """A folder at an address, with the two lists of :class:`~coinr.many.folder.OutputFolder`.

    Parameters
    ----------
    address
        A path, or an address with a protocol.
    """

    def __init__(self, address: str) -> None:
        self._files, self._root = import_optional("fsspec.core", "ray").url_to_fs(address)

    def begin(self) -> dict[str, Row]:
        """Make the folder, forget earlier failures, and return the rows of its manifest by output."""
        self._files.makedirs(self._root, exist_ok=True)
        if self._files.exists(self._path("failures.jsonl")):
            self._files.rm_file(self._path("failures.jsonl"))
        if not self._files.exists(self._path("manifest.jsonl")):
            return {}
        lines = self._files.cat_file(self._path("manifest.jsonl")).splitlines()
        return {row["file"]: row for row in rows_in(lines)}

    def made(self, source: Path, row: Row) -> bool:
        """Return whether the output of a row is there and what the source gave."""
        target = self._path(row["file"])
        if not self._files.exists(target):
            return False
        return bool(row["hash"] == hash_bytes(self._files.cat_file(target)) and row["source_hash"] == hash_of(source))

    def publish(self, part: Path, name: str) -> None:
        """Write an output beside its place, then rename it: one step on a disk; object stores write whole files only.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        target = self._path(name)
        folder, last = posixpath.split(target)
        beside = posixpath.join(folder, f".{last}.part")
        self._files.makedirs(folder, exist_ok=True)
        try:
            self._files.pipe_file(beside, part.read_bytes())
            self._files.mv(beside, target)
        except BaseException:
            if self._files.exists(beside):
                self._files.rm_file(beside)
            raise

    def append(self, name: str, row: Row) -> None:
        """Append a row to a list, on a new line even where a run that was killed left half of one."""
        path = self._path(name)
        broken = self._files.exists(path) and self._files.size(path) and self._files.cat_file(path, start=-1) != b"\n"
        with self._files.open(path, "ab") as stream:
            stream.write(b"\n" * bool(broken) + line_of(row))

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name)
