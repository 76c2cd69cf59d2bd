"""Limits, damage and threads of state dicts that are read from open files."""

import threading

import pytest
import torch

import coinr
from coinr.errors import CoinrError, InputError, LimitError


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize("stored", [1 << 33, 1 << 38, 1 << 62, (1 << 63) + 1])
def test_a_length_beyond_the_file_reads_no_more_than_the_file(stored, tmp_path):
    blob = coinr.encode_state_dict({"w": torch.ones(3)})
    (tmp_path / "a.coinr").write_bytes(blob[:6] + varint(stored) + varint(100) + bytes(100))
    for read in (coinr.load, coinr.open_state_dict):
        with pytest.raises(CoinrError):
            read(tmp_path / "a.coinr")


def test_a_report_with_the_original_is_within_the_limits_of_all_tensors(tmp_path):
    sd = {f"{i}.weight": torch.zeros(64, 64) for i in range(8)}
    coinr.save(tmp_path / "a.coinr", sd)
    with coinr.open_state_dict(tmp_path / "a.coinr", limits=coinr.Limits(decoded_bytes=1 << 15)) as file:
        assert file["3.weight"].shape == (64, 64)
        with pytest.raises(LimitError):
            file.report(sd)


@pytest.mark.parametrize(
    "other", [{"a.weight": torch.zeros(4, 3)}, {"b.weight": torch.zeros(4, 2)}, {"a.weight": torch.zeros(4, 2), "c": 0}]
)
def test_a_report_beside_another_network_is_refused(other):
    blob = coinr.encode_state_dict({"a.weight": torch.randn(4, 2)})
    other = {name: torch.as_tensor(value) for name, value in other.items()}
    with pytest.raises(InputError, match="another network"):
        coinr.inspect(blob, original=other)


def test_a_file_that_another_thread_closes_is_a_typed_error(tmp_path):
    coinr.save(tmp_path / "a.coinr", {"w": torch.randn(16, 16)})
    for _ in range(20):
        file, wrong = coinr.open_state_dict(tmp_path / "a.coinr"), []

        def read(file=file, wrong=wrong):
            try:
                while True:
                    file["w"]
            except InputError:
                pass
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        file.close()
        for thread in threads:
            thread.join()
        assert wrong == []


@pytest.mark.parametrize("name", ["1²2.weight", "3.weight", "0" * 4000 + "7.weight", "٣.weight"])
def test_names_with_digits_of_any_kind_are_taken(name):
    sd = {name: torch.randn(8, 2), "2.weight": torch.randn(3, 8)}
    assert list(coinr.decode_state_dict(coinr.encode_state_dict(sd))) == list(sd)
