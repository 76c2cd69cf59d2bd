"""Files whose tensors are read one by one: what is read, and what is refused."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import coinr
from coinr.files.random_access import FileBytes
from tests.cli.command import succeed


def weights() -> dict[str, torch.Tensor]:
    made = {f"layers.{i}.weight": torch.randn(80, 80, generator=torch.Generator().manual_seed(i)) for i in range(3)}
    return made | {"bias": torch.arange(7.0), "tied": made["layers.1.weight"], "steps": torch.tensor(3)}


@pytest.fixture
def path(tmp_path):
    coinr.save(tmp_path / "a.coinr", weights(), meta={"epoch": 3})
    return tmp_path / "a.coinr"


@pytest.fixture
def reads(monkeypatch):
    """The spans of the file that are read."""
    spans: list[tuple[int, int]] = []
    read = FileBytes.read

    def recorded(self, start, stop):
        spans.append((start, min(stop, self.size)))
        return read(self, start, stop)

    monkeypatch.setattr(FileBytes, "read", recorded)
    return spans


def test_tensors_are_those_of_load(path):
    expected = coinr.load(path)
    with coinr.open_state_dict(path) as sd:
        assert list(sd) == list(expected)
        assert len(sd) == 6
        for name, tensor in sd.items():
            assert torch.equal(tensor, expected[name])
            assert sd.layouts()[name] == (tensor.dtype, tuple(tensor.shape))
        assert sd.meta == {"epoch": 3}
        assert sd.report().to_dict() == coinr.inspect(path.read_bytes()).to_dict()
    with pytest.raises(coinr.InputError, match=r"a\.coinr: the file is closed"):
        sd["bias"]


def test_only_the_header_and_one_section_are_read(path, reads):
    sizes = {row["name"]: row["bytes"] for row in coinr.inspect(path.read_bytes()).tensors}
    with coinr.open_state_dict(path) as sd:
        header = max(stop for _, stop in reads)
        assert header < 1100
        reads.clear()
        sd["layers.2.weight"]
        assert sum(stop - start for start, stop in reads) == sizes["layers.2.weight"] + 8
        reads.clear()
        sd["bias"]
        sd["steps"]
        assert sum(stop - start for start, stop in reads) == sizes["bias"] + sizes["steps"] + 8


def test_load_holds_one_payload_at_a_time(path, reads):
    coinr.load(path)
    assert max(stop - start for start, stop in reads) < path.stat().st_size / 2


def test_a_whole_file_is_verified_part_by_part(path, reads):
    expected = coinr.verify(path.read_bytes()).to_dict()
    with coinr.open_state_dict(path) as sd:
        assert sd.verify().to_dict() == expected
    assert max(stop - start for start, stop in reads) < path.stat().st_size / 2
    reads.clear()
    assert f"intact, 6 tensors in {path.stat().st_size} bytes" in succeed("verify", path)
    assert max(stop - start for start, stop in reads) < path.stat().st_size / 2


def test_info_reads_the_header_alone(path, reads):
    assert "layers.2.weight" in succeed("info", path)
    assert max(stop for _, stop in reads) < 1100


def test_a_signal_is_opened_part_by_part(tmp_path, reads):
    path = tmp_path / "a.coinr"
    path.write_bytes(coinr.pack_image(coinr.Siren(2, 3, 90, 2), 4, 5, profile="uniform"))
    assert coinr.open_file(path).render().shape == (4, 5, 3)
    assert max(stop - start for start, stop in reads) < 0.6 * path.stat().st_size
    reads.clear()
    assert "image 4 x 5" in succeed("info", path)
    assert max(stop for _, stop in reads) < 1100


def test_a_file_of_weights_is_no_signal_whatever_its_size(path, reads):
    with pytest.raises(coinr.InputError, match=r"a\.coinr: the file holds weights and no signal"):
        coinr.open_file(path)
    assert max(stop for _, stop in reads) < 1100


def test_limits_of_a_signal_count_all_tensors_and_rows(tmp_path):
    path = tmp_path / "a.coinr"
    path.write_bytes(coinr.pack_image(coinr.Siren(2, 3, 8, 1), 4, 5, profile="uniform"))
    for file in (path, path.read_bytes()):
        for limits in (coinr.Limits(tensors=3), coinr.Limits(decoded_bytes=400)):
            with pytest.raises(coinr.LimitError):
                coinr.open_file(file, limits=limits)
            with pytest.raises(coinr.LimitError):
                coinr.load_network(file, limits=limits)


def test_damage_in_one_tensor_leaves_the_others_readable(path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with coinr.open_state_dict(path) as sd:
        assert sd["layers.0.weight"].shape == (80, 80)
        with pytest.raises(coinr.ChecksumError, match=r"a\.coinr: checksum of bytes \d+ … \d+ differs"):
            sd["layers.2.weight"]
        with pytest.raises(coinr.ChecksumError, match=r"a\.coinr: checksum of bytes"):
            sd.verify()
    with pytest.raises(coinr.ChecksumError, match=r"a\.coinr: checksum"):
        coinr.load(path)


@pytest.mark.parametrize("kept", [0, 3, 5, 6, 30, 200, -1, -5000])
def test_truncated_files_fail_as_their_bytes_do(path, kept):
    data = path.read_bytes()[:kept]
    path.write_bytes(data)
    with pytest.raises(coinr.CoinrError) as from_file:
        coinr.open_state_dict(path)
    if data:
        with pytest.raises(type(from_file.value)) as from_bytes:
            coinr.inspect(data)
        assert str(from_file.value) == f"{path}: {from_bytes.value}"


def test_a_closed_file_is_closed(path):
    before = len(os.listdir("/proc/self/fd"))
    sd = coinr.open_state_dict(path)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    sd.close()
    path.write_bytes(b"\x8fCNR")
    with pytest.raises(coinr.TruncatedError):
        coinr.open_state_dict(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_names_that_are_missing_are_key_errors(path):
    with coinr.open_state_dict(path) as sd:
        assert "bias" in sd
        assert "other" not in sd
        assert sd.get("other") is None
        with pytest.raises(KeyError):
            sd["other"]


def test_limits_count_one_tensor(path):
    with coinr.open_state_dict(path, limits=coinr.Limits(decoded_bytes=4 * 80 * 80)) as sd:
        assert len([sd[name] for name in sd]) == 6
        with pytest.raises(coinr.LimitError):
            sd.check_all()
    with (
        coinr.open_state_dict(path, limits=coinr.Limits(decoded_bytes=100)) as sd,
        pytest.raises(coinr.LimitError, match=r"a\.coinr: decodes to 25600 bytes"),
    ):
        sd["tied"]


def test_differences_need_their_base(tmp_path):
    base = weights()
    changed = {name: tensor + 0.001 for name, tensor in base.items() if tensor.is_floating_point()}
    coinr.save(tmp_path / "b.coinr", changed, base=base)
    with coinr.open_state_dict(tmp_path / "b.coinr", base=base) as sd:
        assert torch.equal(sd["bias"], coinr.load(tmp_path / "b.coinr", base=base)["bias"])
    with coinr.open_state_dict(tmp_path / "b.coinr") as sd, pytest.raises(coinr.ReferenceNetworkError):
        sd["layers.0.weight"]


def test_threads_may_read_at_once(path):
    with coinr.open_state_dict(path) as sd, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(sd.__getitem__, list(sd) * 4))
    assert all(torch.equal(a, b) for a, b in zip(found[:6], found[18:], strict=True))
