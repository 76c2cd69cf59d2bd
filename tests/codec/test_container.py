"""The container: overhead, random access, checksums, limits, and how each wrong field is refused."""

import zlib
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch

import coinr
from coinr.codec.coders import DictionaryParams, LosslessParams, UniformParams
from coinr.codec.format import container
from coinr.codec.format.container import File
from coinr.codec.format.tensor_table import TIED, VERSION, Header, Limits, TensorRecord
from coinr.codec.tensors import Cut, Layout
from coinr.codec.wire import compress, expand, varint
from coinr.inputs.dtypes import BY_NAME
from tests.codec.forge import take_apart
from tests.grids import fast_where

F32 = BY_NAME["float32"]


def siren(names=None, width=20):
    sizes = [2, width, width, width, width, 3]
    sd = OrderedDict()
    for k, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False)):
        sd[f"net.{k}.linear.weight"] = torch.randn(b, a) / a**0.5
        sd[f"net.{k}.linear.bias"] = torch.randn(b)
    return OrderedDict(zip(names or sd, sd.values(), strict=True))


def record(layout=None, coder=0, params=None, length=1, name="w", tied_to=None):
    return TensorRecord(name, layout or Layout(F32, (1,)), coder, params or LosslessParams(), length, tied_to)


def dictionary_record(shape=(4, 16), n=16, M=64, s=2, length=30, **changes):
    return record(Layout(F32, shape), 2, DictionaryParams(Cut(False, n), "gaussian", M, s, **changes), length)


def build(*records, payloads=None, seed=0, meta=None):
    payloads = payloads or [b"\0" * item.length for item in records]
    return container.write(Header(seed, tuple(records), meta or {}), payloads)


@pytest.mark.parametrize(
    ("profile", "most"),
    [("auto", 100), ("direct", 100), ("sparse", 110), ("paper", 80), ("uniform", 60), ("lossless", 60)],
)
@pytest.mark.parametrize("names", [None, list("0123456789")], ids=["real names", "one-byte names"])
@pytest.mark.parametrize("seed", fast_where(lambda seed: seed == 0, [0, 1]))
def test_overhead_of_ten_tensors(names, profile, most, seed):
    torch.manual_seed(seed)
    options = {"M": 1024} if profile == "paper" else {}
    totals = coinr.inspect(coinr.encode_state_dict(siren(names), profile=profile, **options)).totals
    assert totals["file_bytes"] == totals["payload_bytes"] + totals["name_bytes"] + totals["overhead_bytes"]
    assert 0 <= totals["overhead_bytes"] <= most


@pytest.mark.parametrize("form", ["plain", "Brotli", "modeled"])
def test_a_table_is_read_in_every_form(form):
    forgery = take_apart(coinr.encode_state_dict(siren(), meta={"a": 1}))
    forgery.compressed, forgery.modeled = form == "Brotli", form == "modeled"
    blob = forgery.emit()
    assert blob[5] == {"plain": 0, "Brotli": 1, "modeled": 4}[form]
    assert coinr.read_meta(blob) == {"a": 1}
    assert list(coinr.decode_state_dict(blob)) == list(siren())


def test_a_table_is_not_compressed_twice_nor_modeled_beyond_its_free_room():
    blob = bytearray(coinr.encode_state_dict(siren()))
    blob[5] |= 5
    with pytest.raises(coinr.FormatError, match="two ways"):
        File(blob)
    many = {f"{k:064}": torch.ones(1) for k in range(2000)}
    long = take_apart(coinr.encode_state_dict(many, profile="lossless"))
    long.compressed, long.modeled = False, True
    long.rows = [replace(row, same=0, rest=b"%064d" % k) for k, row in enumerate(long.rows)]
    with pytest.raises(coinr.FormatError, match="larger than 65536"):
        File(long.emit())


def test_nothing_is_a_file_too():
    blob = coinr.encode_state_dict({})
    assert coinr.decode_state_dict(blob) == OrderedDict()
    assert len(blob) < 20


def test_a_tensor_is_read_without_the_bytes_of_the_others():
    """Damage in another tensor's section does not matter; damage in its own does."""
    sd = OrderedDict(big=torch.randn(3000), small=torch.randn(5), other=torch.randn(4000))
    blob = coinr.encode_state_dict(sd, profile="lossless")
    for name in sd:
        file = File(blob)
        start, _ = file._spans[file._section_of[file.row(name)]]
        damaged = bytearray(blob)
        damaged[start + 7] ^= 1
        for other in sd:
            if other == name:
                with pytest.raises(coinr.ChecksumError):
                    coinr.decode_tensor(damaged, other)
            else:
                assert torch.equal(coinr.decode_tensor(damaged, other), sd[other])
        with pytest.raises(coinr.ChecksumError):
            coinr.decode_state_dict(damaged)


def test_exchanged_sections_are_noticed():
    a, b = (torch.randint(256, (5000,), dtype=torch.uint8) for _ in range(2))
    blob = coinr.encode_state_dict({"a": a, "b": b}, profile="lossless")
    file = File(blob)
    (start, _), (second, stop) = file._spans
    assert second - start == stop - second + 4
    swapped = blob[:start] + blob[second : stop + 4] + blob[start:second]
    with pytest.raises(coinr.ChecksumError):
        coinr.verify(swapped)


def test_small_payloads_share_a_section():
    blob = coinr.encode_state_dict({str(k): torch.randn(9) for k in range(30)}, profile="lossless")
    assert len(File(blob)._spans) == 1


def test_many_tensors_and_a_long_table():
    sd = OrderedDict((f"layers.{k}.some.rather.long.prefix.{k % 7}.weight", torch.full((1, 2), k)) for k in range(500))
    blob = coinr.encode_state_dict(sd, profile="lossless")
    decoded = coinr.decode_state_dict(blob)
    assert list(decoded) == list(sd)
    assert all(torch.equal(decoded[name], sd[name]) for name in sd)


def test_decoded_bytes_are_limited_before_allocation():
    blob = build(record(Layout(F32, (1 << 40,)), 1, UniformParams(8), 9))
    with pytest.raises(coinr.LimitError, match=str(4 << 40)):
        coinr.decode_state_dict(blob)
    with pytest.raises(coinr.LimitError):
        coinr.decode_tensor(blob, "w")
    small = coinr.encode_state_dict({"w": torch.zeros(100)})
    with pytest.raises(coinr.LimitError):
        coinr.decode_state_dict(small, limits=Limits(decoded_bytes=399))
    assert coinr.decode_state_dict(small, limits=Limits(decoded_bytes=400))["w"].shape == (100,)


def test_work_is_limited_before_allocation():
    universe = dictionary_record((4096, 4096), 4096, 1 << 24, 4096)
    with pytest.raises(coinr.LimitError, match="dictionary entries"):
        coinr.verify(build(universe))
    blob = coinr.encode_state_dict({"w": torch.randn(8, 32)}, profile="paper", M=128, s=3)
    assert coinr.inspect(blob).totals["work"] == 8 * 3 * 32
    with pytest.raises(coinr.LimitError):
        coinr.decode_state_dict(blob, limits=Limits(work=8 * 3 * 32 - 1))
    coinr.decode_state_dict(blob, limits=Limits(work=8 * 3 * 32))


def test_ties_are_counted_once():
    w = torch.randn(50)
    totals = coinr.inspect(coinr.encode_state_dict({"a": w, "b": w})).totals
    assert totals["decoded_bytes"] == 200
    assert totals["parameters"] == 50


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (record(Layout(F32, (1,) * 33)), "33 dimensions"),
        (record(Layout(F32, (1 << 40, 1 << 40))), "absurd"),
        (record(Layout(F32, (0, 1 << 62))), "absurd"),
        (record(Layout(BY_NAME["int8"], (4,)), 1, UniformParams(8)), "int8"),
        (record(Layout(F32, (4,)), 1, UniformParams(1)), "1 value bits"),
        (record(Layout(F32, (4,)), 1, UniformParams(17)), "17 value bits"),
        (record(Layout(F32, (0,)), 1, UniformParams(8)), "without elements"),
        (dictionary_record(n=65), "vectors of 65"),
        (dictionary_record(n=0), "vectors of 0"),
        (dictionary_record(M=0), "0"),
        (dictionary_record(M=(1 << 24) + 1), "larger than"),
        (dictionary_record(s=0), "s = 0"),
        (dictionary_record(s=17), "s = 17"),
        (dictionary_record(M=3, s=4), "s = 4"),
        (dictionary_record(stream=1 << 32), "stream"),
        (dictionary_record(bits=40), "40 value bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ill_formed_rows_are_refused(bad, message):
    with pytest.raises(coinr.FormatError, match=message):
        File(build(bad))


def test_ties_must_point_back_to_a_stored_tensor_of_the_same_dtype():
    stored = record(name="a")
    fine = TensorRecord("b", stored.layout, TIED, None, 0, 0)
    assert coinr.inspect(build(stored, fine)).tensors[1]["coder"] == "tied"
    for tied_to, layout in ((1, stored.layout), (2, stored.layout), (0, Layout(BY_NAME["int8"], (1,)))):
        with pytest.raises(coinr.FormatError, match="share the storage"):
            File(build(stored, TensorRecord("b", layout, TIED, None, 0, tied_to)))
    with pytest.raises(coinr.FormatError, match="share the storage"):
        File(build(stored, fine, TensorRecord("c", stored.layout, TIED, None, 0, 1)))


def test_names_are_unique_utf8():
    with pytest.raises(coinr.FormatError, match="two tensors are named 'w'"):
        File(build(record(), record()))


def test_every_cut_and_extension_is_an_error():
    blob = coinr.encode_state_dict(siren(width=20))
    for length in range(len(blob)):
        with pytest.raises(coinr.FormatError):
            coinr.verify(blob[:length])
    with pytest.raises(coinr.FormatError):
        coinr.verify(blob + b"\0")


def test_every_changed_byte_is_an_error():
    blob = coinr.encode_state_dict({"w": torch.randn(20, 20), "b": torch.randn(20)})
    for at in range(len(blob)):
        damaged = bytearray(blob)
        damaged[at] ^= 0x10
        with pytest.raises(coinr.FormatError):
            coinr.verify(damaged)


@pytest.mark.parametrize(
    ("at", "value", "error"),
    [(0, 0, coinr.FormatError), (4, 9, coinr.VersionError), (5, 16, coinr.VersionError), (5, 0x80, coinr.VersionError)],
    ids=["magic", "future version", "unknown flag", "unknown high flag"],
)
def test_wrong_starts_are_named(at, value, error):
    blob = bytearray(coinr.encode_state_dict({"w": torch.ones(3)}))
    blob[at] = value
    with pytest.raises(error):
        File(blob)


def test_a_table_may_not_expand_without_bound():
    bomb = compress(bytes(1 << 20))
    start = container.MAGIC + bytes([VERSION, 1]) + varint(len(bomb)) + varint(1 << 20) + bomb
    with pytest.raises(coinr.FormatError, match="may not expand"):
        File(start + zlib.crc32(start).to_bytes(4, "little"))


def test_expand_stops_at_the_size_asked_for():
    bomb = compress(bytes(1 << 20))
    with pytest.raises(coinr.FormatError, match="Brotli stream"):
        expand(bomb, 100)
    assert expand(compress(b"abc"), 3) == b"abc"
    for bad in (b"", b"\xff\xff", compress(b"abc")[:-1], compress(b"abc") + b"x"):
        with pytest.raises(coinr.FormatError):
            expand(bad, 3)


@pytest.mark.parametrize("data", [None, "text", 5])
def test_only_bytes_are_files(data):
    with pytest.raises(coinr.InputError, match="bytes"):
        coinr.decode_state_dict(data)


@pytest.mark.parametrize("view", [bytearray, memoryview, np.frombuffer], ids=["bytearray", "memoryview", "array"])
def test_any_buffer_is_read(view):
    blob = coinr.encode_state_dict({"w": torch.ones(3)})
    data = memoryview(np.frombuffer(blob, np.uint8)) if view is np.frombuffer else view(blob)
    assert coinr.decode_state_dict(data)["w"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("stem", ["model.layers.with.a.long.name.{}.weight", "{}" * 40], ids=["shared", "repeated"])
def test_no_part_of_the_size_is_negative_where_names_compress_well(stem):
    sd = {stem.format(*[k] * stem.count("{}")): torch.ones(1) for k in range(200)}
    totals = coinr.inspect(coinr.encode_state_dict(sd, profile="lossless")).totals
    assert totals["file_bytes"] == totals["payload_bytes"] + totals["name_bytes"] + totals["overhead_bytes"]
    assert min(totals["payload_bytes"], totals["name_bytes"], totals["overhead_bytes"]) > 0
