"""What a write does to what is there already: modes, owners, links, devices, names, the umask of the process."""

import errno
import os
import stat
import threading

import numpy as np
import pytest
import torch

import coinr
from coinr.files.writing import check_writable, write_atomic, write_folder
from coinr.signals.scene.movies import write_views


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o664, 0o755, 0o400])
def test_a_file_that_is_written_over_keeps_its_mode(tmp_path, umask, bits):
    path = tmp_path / "kept.coinr"
    path.write_bytes(b"old")
    path.chmod(bits)
    if not os.access(path, os.W_OK):
        pytest.skip("this user may not write to it")
    coinr.save(path, {"w": torch.ones(2, 2)})
    assert mode(path) == bits
    assert torch.equal(coinr.load(path)["w"], torch.ones(2, 2))
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_follows_the_umask(tmp_path, umask):
    write_atomic(tmp_path / "new", b"x")
    assert mode(tmp_path / "new") == 0o640


def test_the_umask_of_the_process_is_never_touched(tmp_path, monkeypatch):
    def touched(_):
        raise AssertionError("another thread would make its files with this mask")

    monkeypatch.setattr(os, "umask", touched)
    for _ in range(2):
        write_atomic(tmp_path / "a", b"x")
    write_views(tmp_path / "views", np.zeros((2, 4, 4, 3), np.uint8))


def test_content_is_never_more_open_than_the_file_that_it_replaces(tmp_path):
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    seen = []

    def write(stream):
        stream.write(b"secret")
        stream.flush()
        seen.extend(mode(other) for other in tmp_path.iterdir())

    write_atomic(path, write)
    assert seen == [0o600, 0o600]


def test_nobody_can_open_what_will_replace_a_private_file(tmp_path, monkeypatch):
    path, modes, opened = tmp_path / "private", [], os.open
    path.write_bytes(b"old")
    path.chmod(0o600)

    def watched(name, flags, bits=0o777, **others):
        modes.append(bits)
        return opened(name, flags, bits, **others)

    monkeypatch.setattr(os, "open", watched)
    write_atomic(path, b"new")
    assert modes == [0o600]


def test_where_the_group_cannot_be_kept_it_gains_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o2664)

    def refuse(*_):
        raise PermissionError(errno.EPERM, "not the owner")

    monkeypatch.setattr(os, "chown", refuse)
    write_atomic(path, b"new")
    assert mode(path) == 0o644
    assert path.read_bytes() == b"new"


def test_a_program_of_another_owner_loses_the_right_to_run_as_that_owner(tmp_path, monkeypatch):
    path, chown = tmp_path / "a", os.chown
    path.write_bytes(b"old")
    path.chmod(0o4755)

    def own_alone(name, user, group):
        if user != -1:
            raise PermissionError(errno.EPERM, "not the owner")
        chown(name, user, group)

    monkeypatch.setattr(os, "chown", own_alone)
    write_atomic(path, b"new")
    assert mode(path) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_and_group_are_kept(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    os.chown(path, 12345, 54321)
    path.chmod(0o640)
    write_atomic(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (12345, 54321, 0o640)


def test_extended_attributes_are_kept(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.origin", b"camera")
    except (AttributeError, OSError):
        pytest.skip("no extended attributes here")
    write_atomic(path, b"new")
    assert os.getxattr(path, "user.origin") == b"camera"


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "dangling"])
def test_a_link_stays_and_its_target_is_written(tmp_path, there):
    (tmp_path / "far").mkdir()
    real, middle, link = tmp_path / "far" / "real.coinr", tmp_path / "middle", tmp_path / "link.coinr"
    if there:
        real.write_bytes(b"old")
        real.chmod(0o600)
    middle.symlink_to("far/real.coinr")
    link.symlink_to(middle)
    coinr.save(link, {"w": torch.ones(2, 2)})
    assert link.is_symlink()
    assert middle.is_symlink()
    assert torch.equal(coinr.load(real)["w"], torch.ones(2, 2))
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["real.coinr"]
    assert not there or mode(real) == 0o600


def test_links_that_lead_nowhere_are_refused(tmp_path):
    loop, lost, folder = tmp_path / "loop", tmp_path / "lost", tmp_path / "folder"
    loop.symlink_to(loop)
    lost.symlink_to(tmp_path / "no" / "file")
    folder.symlink_to(tmp_path)
    for path, number in ((loop, errno.ELOOP), (lost, errno.ENOENT), (folder, errno.EISDIR)):
        for act in (check_writable, lambda path: write_atomic(path, b"x")):
            with pytest.raises(OSError, match=path.name) as caught:
                act(path)
            assert caught.value.errno == number
            assert path.is_symlink()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_failure_behind_a_link_changes_nothing(tmp_path, monkeypatch):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(link, b"new")
    assert caught.value.filename == str(link)
    assert real.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


def test_devices_pipes_and_descriptors_are_written_to_and_not_replaced(tmp_path):
    write_atomic("/dev/null", b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "null").symlink_to("/dev/null")
    coinr.save(tmp_path / "null", {"w": torch.ones(2, 2)})
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, lambda stream: (stream.write(b"abcd"), stream.seek(0), stream.write(b"A")))
    reader.join()
    assert got == [b"Abcd"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with (tmp_path / "open").open("wb") as stream:
        inode = os.fstat(stream.fileno()).st_ino
        write_atomic(f"/dev/fd/{stream.fileno()}", b"through")
    assert ((tmp_path / "open").stat().st_ino, (tmp_path / "open").read_bytes()) == (inode, b"through")


@pytest.mark.parametrize("name", ["a" * 249 + ".coinr", "ä" * 124 + "a.coinr", "ß" * 83 + "…" * 27 + "aa.coinr"])
def test_names_may_be_as_long_as_the_file_system_allows(tmp_path, name):
    assert 255 - len(os.fsencode(name)) in (0, 1)
    coinr.save(tmp_path / name, {"w": torch.ones(2, 2)})
    coinr.save(tmp_path / name, {"w": torch.zeros(2, 2)})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    write_folder(tmp_path / ("f" * 255), lambda folder: None)


@pytest.mark.parametrize("name", ["a" * 256, "ä" * 128])
def test_longer_names_are_input_errors_before_anything_is_written(tmp_path, name):
    for act in (check_writable, lambda path: write_atomic(path, b"x"), lambda path: write_folder(path, print)):
        with pytest.raises(coinr.InputError, match="256 bytes"):
            act(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["a\0b", "a\ud800", 3, None, ["a"]], ids=repr)
def test_what_is_no_path_is_an_input_error(path):
    for act in (lambda: write_atomic(path, b"x"), lambda: coinr.save(path, {}), lambda: check_writable(path)):
        with pytest.raises(coinr.InputError, match="path"):
            act()


def test_failures_name_the_path_that_was_given(tmp_path, monkeypatch):
    for act in (check_writable, lambda path: write_atomic(path, b"x")):
        with pytest.raises(FileNotFoundError) as caught:
            act(tmp_path / "no" / "a")
        assert caught.value.filename == str(tmp_path / "no" / "a")
        with pytest.raises(IsADirectoryError):
            act(tmp_path)
    (tmp_path / "a").write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda *_: False)
    for act in (check_writable, lambda path: write_atomic(path, b"y")):
        with pytest.raises(PermissionError):
            act(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_check_leaves_nothing(tmp_path):
    check_writable(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").write_bytes(b"kept")
    check_writable(tmp_path / "a")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"kept"]


def test_folders_appear_whole_and_keep_their_mode(tmp_path, umask):
    pictures = np.zeros((2, 4, 4, 3), np.uint8)
    write_views(tmp_path / "new", pictures)
    assert mode(tmp_path / "new") == 0o750
    (tmp_path / "private").mkdir(0o700)
    (tmp_path / "link").symlink_to("private")
    write_views(tmp_path / "link", pictures)
    assert mode(tmp_path / "private") == 0o700
    assert sorted(path.name for path in (tmp_path / "private").iterdir()) == ["view_000.png", "view_001.png"]
    with pytest.raises(coinr.InputError, match="not empty"):
        write_views(tmp_path / "private", pictures)

    def fail(folder):
        (folder / "half").touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "half"))

    with pytest.raises(OSError, match="No space left") as caught:
        write_folder(tmp_path / "full", fail)
    assert caught.value.filename == str(tmp_path / "full")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "new", "private"]
