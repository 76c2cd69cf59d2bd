"""The folder that many outputs are written to: what it holds already, and how something gets into it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from coinr.errors import InputError
from coinr.many.manifest import Row, append, hash_of, rows_in

# Locks that a file system does not offer: two runs at once are then the caller's to avoid.
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EBADF}


class OutputFolder:
    """A folder of outputs, with ``manifest.jsonl`` on what was made and ``failures.jsonl`` on what failed in this run.

    Outputs are made in a hidden folder within it and renamed, so that none is ever half-written. A run that was killed
    leaves that hidden folder, which the next run empties. Each shard has its own, and its own two files, as systems of
    files that are shared by machines need not append in one step.

    Parameters
    ----------
    path
        Is made if its own folder exists.
    shard
        Which shard of how many, from 1; None for all.

    Raises
    ------
    InputError
        On entering: if it is a file, or another run writes there at the same time.
    OSError
        If it cannot be written.
    """

    def __init__(self, path: Path, shard: tuple[int, int] | None) -> None:
        part = shard_part(shard)
        self.path, self._made = path, not path.exists()
        self.manifest, self.failures = path / f"manifest{part}.jsonl", path / f"failures{part}.jsonl"
        self._parts = path / f".coinr-parts{part}"
        self._rows: dict[str, Row] = {}
        self._lock = -1

    def __enter__(self) -> Self:
        if os.path.lexists(self.path) and not self.path.is_dir():
            raise InputError(f"{self.path}: is a file; several outputs are written into a folder")
        self.path.mkdir(exist_ok=True)
        self._parts.mkdir(exist_ok=True)
        self._lock = os.open(self._parts, os.O_RDONLY)
        try:
            self._take()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{self.path}: another run writes there; wait for it, or give another folder") from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        self._empty()
        self.failures.unlink(missing_ok=True)
        for file in sorted(self.path.glob("manifest*.jsonl")):
            with file.open("rb") as lines:
                self._rows |= {row["file"]: row for row in rows_in(lines)}

    def __exit__(self, *_: object) -> None:
        self._empty()
        with contextlib.suppress(OSError):
            self._parts.rmdir()
        if self._made:
            with contextlib.suppress(OSError):
                self.path.rmdir()  # one in which nothing was written
        os.close(self._lock)

    def _empty(self) -> None:
        for one in self._parts.iterdir():
            shutil.rmtree(one)

    def made(self, name: str, source: Path, settings: Any) -> Row | None:
        """Return the row of an output that is just what the source gives with these settings; None if there is none."""
        row = self._rows.get(name)
        if row is None or row.get("settings") != settings:
            return None
        try:
            intact = row.get("hash") == hash_of(self.path / name) and row.get("source_hash") == hash_of(source)
        except OSError:
            return None
        return row if intact else None

    def part(self, number: int, name: str) -> Path:
        """Return where an output is made, in a new folder of its own."""
        folder = self._parts / str(number)
        folder.mkdir()
        return folder / Path(name).name

    def publish(self, part: Path, row: Row) -> None:
        """Give an output its name and add its row to the manifest. Where that fails, its place is as before.

        Raises
        ------
        InputError
            If there is another file that no row names: it is not of a run, and stays as it is.
        OSError
            If it cannot be written.
        """
        name = row["file"]
        target = self.path / name
        try:
            if name not in self._rows and os.path.lexists(target) and row["hash"] != hash_of(target):
                raise InputError(f"{target}: exists already, and no run in this folder made it")
            if "/" in name:
                target.parent.mkdir(parents=True, exist_ok=True)
            earlier = part.with_name(".earlier")
            if replaces := os.path.lexists(target):
                os.replace(target, earlier)
            os.replace(part, target)
            try:
                append(self.manifest, row)
            except BaseException:
                os.replace(target, part)
                if replaces:
                    os.replace(earlier, target)
                raise
        finally:
            self.discard(part)
        self._rows[name] = {"file": name}

    def discard(self, part: Path) -> None:
        """Remove what is left of the making of an output."""
        try:
            os.rmdir(part.parent)  # it is empty where an output was made of it, which takes less time to see
        except OSError:
            shutil.rmtree(part.parent, ignore_errors=True)

    def fail(self, row: Mapping[str, Any]) -> None:
        """Add a row to the failures.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        append(self.failures, row)


def shard_part(shard: tuple[int, int] | None) -> str:
    """Return what the names of a shard's own files have before their suffix."""
    return "" if shard is None else f"-{shard[0]}-of-{shard[1]}"
