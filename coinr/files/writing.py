"""Atomic writing of files and folders: a failure leaves nothing behind."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from coinr.errors import InputError
from coinr.files.reading import check_path


def write_atomic(path: str | os.PathLike[str], write: bytes | Callable[[BinaryIO], object]) -> None:
    """Write bytes, or what a callable writes to the open file, under a temporary name; then rename the file.

    A failure leaves nothing behind and an existing file as it is. A file that is replaced keeps its mode, its extended
    attributes (access lists too) and, where the system allows it, its owner and group. A symbolic link stays: the file
    that it leads to is replaced, or made. A device, a pipe or an open descriptor (``/dev/null``, ``/dev/stdout``) is
    written to directly.

    Raises
    ------
    InputError
        If ``path`` is no path, or its name is longer than the file system allows.
    OSError
        If it is a directory or write-protected, or cannot be written.
    """
    with _naming(path):
        target, found = _resolve(path)
        if target is None:
            _write_directly(check_path(path), write)
            return
        handle, name = _temporary(target, found)
        try:
            with os.fdopen(handle, "wb") as stream:
                if callable(write):
                    write(stream)
                else:
                    stream.write(write)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, target)
        except BaseException:
            _discard(name)
            raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise now what :func:`write_atomic` would raise later, apart from a full disk. Nothing is changed.

    Raises
    ------
    InputError, OSError
        As :func:`write_atomic`.
    """
    with _naming(path):
        target, found = _resolve(path)
        if target is not None:
            handle, name = _temporary(target, found)
            os.close(handle)
            _discard(name)


def write_folder(path: str | os.PathLike[str], fill: Callable[[Path], object]) -> None:
    """Make a folder atomically: ``fill`` writes into an empty folder, which is renamed when it returns.

    An empty folder may exist already; its mode, and its owner where possible, are kept. Links are followed.

    Raises
    ------
    InputError
        As :func:`write_atomic`, or if there is something already.
    OSError
        If something cannot be written.
    """
    with _naming(path):
        target = Path(os.path.realpath(check_path(path)))
        if target.exists() and not target.is_dir():
            raise InputError(f"{path}: is a file")
        if target.is_dir() and any(target.iterdir()):
            raise InputError(f"{path}: the folder is not empty")
        name = _beside(target)
        os.mkdir(name)
        try:
            fill(name)
            if target.is_dir():
                _keep(target.stat(), target, name)
            os.replace(name, target)
        except BaseException:
            shutil.rmtree(name, ignore_errors=True)
            raise


def _resolve(path: str | os.PathLike[str]) -> tuple[Path | None, os.stat_result | None]:
    """Return the file that a path leads to, and its status; None for what cannot be replaced or does not exist."""
    given = check_path(path)
    try:
        found = os.stat(given)
    except FileNotFoundError:
        found = None
    if found is not None:
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not os.access(given, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if not stat.S_ISREG(found.st_mode) or _is_descriptor(given):
            return None, found
    return Path(os.path.realpath(given)), found


def _is_descriptor(path: Path) -> bool:
    """Return whether the links of a path lead to an open file of this process, which must not be replaced."""
    while path.is_symlink():
        folder = os.path.realpath(path.parent)
        if folder.startswith(("/proc/", "/dev/fd")):
            return True
        path = Path(folder, os.readlink(path))
    return False


def _write_directly(path: Path, write: bytes | Callable[[BinaryIO], object]) -> None:
    buffer = io.BytesIO()  # a pipe cannot go back to what was written
    if callable(write):
        write(buffer)
    else:
        buffer.write(write)
    with path.open("wb") as stream:
        stream.write(buffer.getbuffer())


def _beside(target: Path) -> Path:
    """Return a new name in the folder of the target; it is short, so that the file system allows it."""
    return target.parent / f".coinr-{secrets.token_hex(4)}.part"


def _temporary(target: Path, found: os.stat_result | None) -> tuple[int, Path]:
    """Open a new file beside the target; whoever cannot read the target cannot read it."""
    while True:
        name = _beside(target)
        with contextlib.suppress(FileExistsError):
            # the system applies the umask, which cannot be read without setting it for all threads
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if found else 0o666)
            break
    try:
        if found is not None:
            _keep(found, target, name)
    except BaseException:
        os.close(handle)
        _discard(name)
        raise
    return handle, name


def _keep(found: os.stat_result, target: Path, name: Path) -> None:
    """Copy owner, group, attributes and mode of the target to the new file, as far as the system allows."""
    mode = stat.S_IMODE(found.st_mode)
    try:
        os.chown(name, found.st_uid, found.st_gid)
    except OSError:
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
        try:
            os.chown(name, -1, found.st_gid)
        except OSError:
            # another group may do no more than everyone could before
            os.chmod(name, mode & ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3 & mode)
            return
    shutil.copystat(target, name)
    os.chmod(name, mode)
    os.utime(name)


def _discard(name: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name)


@contextlib.contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make errors of the system name the given path, and not a temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            longest = max(len(os.fsencode(part)) for part in Path(path).parts)
            raise InputError(
                f"{path}: the path, or the name of {longest} bytes in it, is longer than the file system allows"
            ) from error
        temporary = error.filename is None or "/.coinr-" in os.fspath(error.filename)
        if error.errno is not None and temporary:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
