"""Files relative to a start, and where the start is found: given, beside, in the environment, in the package."""

import os

import numpy as np
import pytest
import torch

import coinr
from coinr.errors import InputError, ReferenceNetworkError
from coinr.networks import network_meta
from coinr.starts import find
from tests.small_signals import siren
from tests.small_starts import near, start


@pytest.fixture(scope="module")
def one():
    return start()


@pytest.fixture(scope="module")
def blob(one):
    return coinr.pack_image(near(one), 12, 16, start=one, tolerance=0.01)


@pytest.fixture
def place(tmp_path, blob, monkeypatch):
    """A folder with the file, and no start anywhere."""
    monkeypatch.delenv("COINR_STARTS", raising=False)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.coinr").write_bytes(blob)
    return tmp_path / "here" / "a.coinr"


def shown(opened):
    return opened.render()


def test_a_file_relative_to_a_start_is_smaller_and_names_it(one, blob):
    assert len(blob) < 0.9 * len(coinr.pack_image(near(one), 12, 16, tolerance=0.01))
    assert coinr.read_meta(blob)["base"] == ["waves", one.short_hash]
    assert coinr.inspect(blob).base == one.hash
    decoded = coinr.load_network(blob, start=one)
    for name, tensor in near(one).state_dict().items():
        assert (decoded.state_dict()[name] - tensor).norm() <= 0.01 * tensor.norm()
    same = coinr.decode_state_dict(blob, base=one.network())
    assert all(torch.equal(tensor, decoded.state_dict()[name]) for name, tensor in same.items())


def test_each_way_of_finding_it(one, blob, place, tmp_path, monkeypatch):
    expected = coinr.open_image(blob, start=one).render()
    assert np.array_equal(coinr.open_file(place, start=one).render(), expected)
    with pytest.raises(ReferenceNetworkError):
        coinr.open_file(place)
    one.save(place.parent / "b.start.coinr")  # beside the file
    assert np.array_equal(coinr.open_file(place).render(), expected)
    with pytest.raises(ReferenceNetworkError):  # bytes have no place
        coinr.open_file(blob)
    (place.parent / "b.start.coinr").unlink()
    (tmp_path / "starts").mkdir()
    one.save(tmp_path / "starts" / "c.START.coinr")
    for named in (tmp_path / "starts", tmp_path / "starts" / "c.START.coinr"):
        monkeypatch.setenv("COINR_STARTS", f"{tmp_path}{os.pathsep}{os.pathsep}{named}")
        assert np.array_equal(coinr.open_file(place).render(), expected)
        assert np.array_equal(coinr.open_file(blob).render(), expected)
        assert torch.equal(coinr.load_network(blob).layers[0].bias, coinr.load_network(blob, start=one).layers[0].bias)
    monkeypatch.delenv("COINR_STARTS")
    monkeypatch.setattr(find, "_SHIPPED", tmp_path / "starts")
    assert np.array_equal(coinr.open_file(blob).render(), expected)


def test_a_missing_start_is_named_on_one_line(one, place, blob):
    with pytest.raises(ReferenceNetworkError) as caught:
        coinr.open_file(place)
    assert str(caught.value) == (
        f"{place}: needs the start 'waves' ({one.short_hash}), which is not beside the file, in COINR_STARTS or in the "
        "package: give it as start"
    )
    with pytest.raises(ReferenceNetworkError, match="^needs the start 'waves' .*, which is not in COINR_STARTS"):
        coinr.open_file(blob)


def test_a_wrong_start_is_named(one, place):
    other = start(siren(2, 3, 9), "tides")
    with pytest.raises(ReferenceNetworkError) as caught:
        coinr.open_file(place, start=other)
    assert str(caught.value) == (
        f"{place}: needs the start 'waves' ({one.short_hash}), and the one given is 'tides' ({other.short_hash})"
    )


def test_what_was_seen_and_not_taken_is_named(one, place, tmp_path, monkeypatch):
    with torch.no_grad():
        network = one.network()
        network.layers[0].bias += 0.5
    later = start(network)
    later.save(place.parent / "later.start.coinr")
    start(siren(2, 3, 9), "tides").save(place.parent / "tides.start.coinr")
    (place.parent / "cut.start.coinr").write_bytes(one.blob[:30])
    (place.parent / "weights.start.coinr").write_bytes(coinr.encode_state_dict(siren(2, 3, 8), profile="uniform"))
    with pytest.raises(ReferenceNetworkError) as caught:
        coinr.open_file(place)
    message = str(caught.value)
    assert "\n" not in message
    assert f"{place.parent / 'later.start.coinr'} is 'waves' ({later.short_hash})" in message
    assert message.count("cut.start.coinr") == message.count("weights.start.coinr") == 1
    assert "tides" not in message
    one.save(place.parent / "right.start.coinr")
    assert coinr.open_file(place).height == 12
    monkeypatch.setenv("COINR_STARTS", str(tmp_path / "none"))
    assert coinr.open_file(place).height == 12  # found before
    (place.parent / "right.start.coinr").unlink()
    with pytest.raises(InputError, match="COINR_STARTS: there is no file or folder .*none"):
        coinr.open_file(place)


def test_files_without_differences_ignore_a_start(one, monkeypatch):
    monkeypatch.setenv("COINR_STARTS", "/none")
    plain = coinr.pack_image(siren(2, 3, 8), 12, 16, profile="uniform")
    assert np.array_equal(coinr.open_file(plain, start=one).render(), coinr.open_file(plain).render())


def test_a_base_that_is_no_start_is_given_as_base(one, place, monkeypatch):
    meta = {"image": [4, 5], **network_meta(one.network())}
    unnamed = coinr.encode_state_dict(near(one), base=one.network(), tolerance=0.01, meta=meta)
    with pytest.raises(ReferenceNetworkError, match="give it as base"):
        coinr.open_file(unnamed)
    assert coinr.open_file(unnamed, start=one).height == 4


@pytest.mark.parametrize("said", ["a", ["a"], ["a", 3], ["", "0" * 8], ["a", "0" * 7], ["a", "xyzxyzxy"], {"a": 1}])
def test_metadata_that_name_no_start(one, said):
    meta = {"image": [4, 5], "base": said, **network_meta(one.network())}
    forged = coinr.encode_state_dict(near(one), base=one.network(), tolerance=0.01, meta=meta)
    with pytest.raises(ReferenceNetworkError, match="give it as base"):
        coinr.open_file(forged)
    assert coinr.open_file(forged, start=one).height == 4


def test_packing_refuses_what_is_not_of_the_start(one):
    with pytest.raises(InputError, match="the network is not that of the start 'waves'"):
        coinr.pack_image(siren(2, 3, 9), 4, 5, start=one)
    with pytest.raises(InputError, match="the network is not that of the start 'waves'"):
        coinr.pack_image(coinr.Siren(2, 3, 8, 1, omega=31.0), 4, 5, start=one)
    with pytest.raises(InputError, match="give start or base, not both"):
        coinr.pack_image(near(one), 4, 5, start=one, base=one.network())


def test_the_file_does_without_a_start_that_saves_nothing(one):
    far = siren(2, 3, 8)
    with torch.no_grad():
        for parameter in far.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(9)))
    made = coinr.pack_image(far, 4, 5, start=one)
    assert coinr.inspect(made).base is None
    assert "base" not in coinr.read_meta(made)
    assert made == coinr.pack_image(far, 4, 5)
    size = len(made)
    to_size = coinr.pack_image(near(one), 4, 5, start=one, target_bytes=size)
    assert len(to_size) <= size
    assert coinr.inspect(to_size).base == one.hash
