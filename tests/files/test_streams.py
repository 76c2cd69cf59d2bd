"""Saving to and loading from open files."""

import errno
import gzip
import io
import os
import zipfile

import pytest
import torch

import coinr
from coinr.errors import FormatError, InputError, StateDictError, TruncatedError

SD = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}
BLOB = coinr.encode_state_dict(SD, profile="lossless")


def same(decoded):
    return list(decoded) == list(SD) and all(torch.equal(decoded[name], SD[name]) for name in SD)


def test_bytes_in_memory_and_open_files(tmp_path):
    memory = io.BytesIO()
    assert coinr.save(memory, SD, profile="lossless") == len(BLOB)
    assert memory.getvalue() == BLOB
    memory.seek(0)
    assert same(coinr.load(memory))
    with (tmp_path / "a.coinr").open("w+b") as file:
        coinr.save(file, SD, profile="lossless")
        file.seek(0)
        assert same(coinr.load(file))
    with gzip.open(tmp_path / "a.gz", "wb") as file:
        coinr.save(file, SD, profile="lossless")
    with gzip.open(tmp_path / "a.gz", "rb") as file:
        assert same(coinr.load(file))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, archive.open("a.coinr", "w") as file:
        coinr.save(file, SD, profile="lossless")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, archive.open("a.coinr") as file:
        assert same(coinr.load(file))


def test_an_open_file_is_used_from_its_position_and_stays_open():
    memory = io.BytesIO(b"head")
    memory.seek(4)
    coinr.save(memory, SD, profile="lossless")
    assert memory.getvalue() == b"head" + BLOB
    memory.seek(4)
    assert same(coinr.load(memory))
    assert not memory.closed


class Piecewise(io.RawIOBase):
    """Takes seven bytes of a write at most; nothing once it is full."""

    def __init__(self, room=1 << 20, full=None):
        self.taken, self.room, self.full = b"", room, full

    def writable(self):
        return True

    def write(self, data):
        if self.room <= 0:
            return self.full
        part = bytes(data[: min(7, self.room)])
        self.taken, self.room = self.taken + part, self.room - len(part)
        return len(part)


class Silent:
    """A writer that returns nothing, as many do."""

    taken = b""

    def write(self, data):
        self.taken += bytes(data)


def test_writers_that_take_parts_or_return_nothing_get_all():
    for writer in (Piecewise(), Silent()):
        coinr.save(writer, SD, profile="lossless")
        assert writer.taken == BLOB


@pytest.mark.parametrize("full", [None, 0])
def test_a_file_that_takes_no_more_is_an_error(full):
    writer = Piecewise(room=20, full=full)
    with pytest.raises(BlockingIOError, match="the open file"):
        coinr.save(writer, SD, profile="lossless")
    assert writer.taken == BLOB[:20]


def test_nothing_is_written_where_encoding_fails(tmp_path):
    memory = io.BytesIO()
    with pytest.raises(StateDictError):
        coinr.save(memory, {"w": "x"})
    assert memory.getvalue() == b""


def test_files_for_text_and_closed_files_are_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x")
    with path.open("r+") as file:
        with pytest.raises(InputError, match=r"a\.txt: .*binary mode"):
            coinr.save(file, SD)
        with pytest.raises(InputError, match=r"a\.txt: .*binary mode"):
            coinr.load(file)
    closed = io.BytesIO(BLOB)
    closed.close()
    with pytest.raises(InputError, match="closed"):
        coinr.load(closed)
    with pytest.raises(InputError, match="closed"):
        coinr.save(closed, SD)
    for what in (3, None, b"a", [path]):
        with pytest.raises(InputError, match="file must be a path or an open binary file"):
            coinr.load(what)
        with pytest.raises(InputError, match="file must be a path or an open binary file"):
            coinr.save(what, SD)


def test_a_mode_that_does_not_fit_is_an_error_of_the_system(tmp_path):
    path = tmp_path / "a.coinr"
    path.write_bytes(BLOB)
    with path.open("rb") as file, pytest.raises(io.UnsupportedOperation):
        coinr.save(file, SD)
    with path.open("ab") as file, pytest.raises(io.UnsupportedOperation):
        coinr.load(file)


def test_errors_name_the_file(tmp_path):
    with pytest.raises(TruncatedError, match="the open file: "):
        coinr.load(io.BytesIO(BLOB[:-1]))
    with pytest.raises(FormatError, match="the open file: the file is empty"):
        coinr.load(io.BytesIO())
    path = tmp_path / "short.coinr"
    path.write_bytes(BLOB[:9])
    with path.open("rb") as file, pytest.raises(TruncatedError, match=r"short\.coinr"):
        coinr.load(file)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
def test_a_full_disk_is_an_error_of_the_system():
    with pytest.raises(OSError, match="No space") as caught, open("/dev/full", "wb", buffering=0) as file:
        coinr.save(file, SD, profile="lossless")
    assert caught.value.errno == errno.ENOSPC
