"""Sets of networks in one Parquet file: written whole, read by key and by number, strangers' files refused."""

import os

import pytest
import torch

import coinr
from coinr.errors import CoinrError, FormatError, InputError, LimitError, ReferenceNetworkError, VersionError
from coinr.many import Member, make_base, open_set, write_set
from coinr.many.set_writing import _GROUP_ROWS
from tests.codec.round_trip import bits

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def network(seed):
    """A small network near to others."""
    g = torch.Generator().manual_seed(seed)
    shared = torch.Generator().manual_seed(1000)
    return {
        name: torch.randn(shape, generator=shared) + 0.1 * torch.randn(shape, generator=g)
        for name, shape in (("0.weight", (12, 2)), ("0.bias", (12,)), ("1.weight", (3, 12)))
    }


NETWORKS = [network(seed) for seed in range(12)]


@pytest.fixture(scope="module")
def base():
    return make_base(NETWORKS, meta={"siren": 30}, threads=1)


@pytest.fixture(scope="module")
def path(base, tmp_path_factory):
    """A set of all networks."""
    file = tmp_path_factory.mktemp("sets") / "set.parquet"
    items = (Member(f"net/{k}", sd, 30 + k / 4, {"k": k} if k % 2 else None) for k, sd in enumerate(NETWORKS))
    assert write_set(file, items, base=base, meta={"siren": 30}, threads=1) == 12
    return file


def same(one, other):
    return list(one) == list(other) and all(bits(one[name]) == bits(other[name]) for name in one)


def test_members_come_back_by_key_and_by_number(path, base):
    blobs = list(coinr.encode_state_dicts(NETWORKS, base=base, meta={"siren": 30}, threads=1))
    with open_set(path) as members:
        assert len(members) == 12
        assert members.keys() == [f"net/{k}" for k in range(12)]
        assert members[3] == members["net/3"] == members[-9] == ("net/3", blobs[3], 30.75, {"k": 3})
        assert members[4].metadata is None
        assert [member.blob for member in members] == blobs
        assert same(members.base, base)
        assert same(members.decode("net/7"), coinr.decode_state_dict(blobs[7], base=base))
        for missing, error in (("net/99", KeyError), (12, IndexError), (-13, IndexError)):
            with pytest.raises(error, match=str(missing)):
                members[missing]
        for other in (1.5, None, b"net/3"):
            with pytest.raises(InputError, match="a member is named by its key or its number, not by"):
                members[other]
    with pytest.raises(InputError, match="closed"):
        open_set_closed(path)[0]


def open_set_closed(path):
    """A set that is closed again."""
    with open_set(path) as members:
        return members


def test_any_reader_of_parquet_reads_the_columns(path):
    table = parquet.read_table(path)
    assert table.column_names == ["key", "blob", "bytes", "score", "metadata"]
    assert table["bytes"].to_pylist() == [len(blob) for blob in table["blob"].to_pylist()]


def test_files_that_exist_are_members_too(base, tmp_path):
    blobs = [coinr.encode_state_dict(NETWORKS[k], base=base) for k in range(2)]
    write_set(tmp_path / "a", [("a", blobs[0]), ("b", blobs[1], 1)], base=base)
    with open_set(tmp_path / "a") as members:
        assert [member.blob for member in members] == blobs
    with pytest.raises(ReferenceNetworkError, match="member 'a'"):
        write_set(tmp_path / "b", [("a", blobs[0])])
    assert os.listdir(tmp_path) == ["a"]


def test_an_empty_set_has_no_members(tmp_path):
    assert write_set(tmp_path / "a", []) == 0
    with open_set(tmp_path / "a") as members:
        assert (len(members), list(members), members.keys(), members.base) == (0, [], [], None)


def test_a_group_alone_is_read_for_a_member(tmp_path, monkeypatch):
    blob = coinr.encode_state_dict({"w": torch.ones(2)})
    monkeypatch.setattr("coinr.many.set_writing._GROUP_ROWS", 3)
    assert _GROUP_ROWS > 3
    write_set(tmp_path / "a", ((str(k), blob) for k in range(8)))
    with open_set(tmp_path / "a") as members:
        assert members._ends == [3, 6, 8]
        read = []
        old = members._read
        monkeypatch.setattr(members, "_read", lambda group, columns: read.append(group) or old(group, columns))
        assert [members[k].key for k in (7, 6, 0)] == ["7", "6", "0"]
        assert read == [2, 0]


BLOB = coinr.encode_state_dict({"w": torch.ones(2)})


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([("a", BLOB), ("a", BLOB)], "two members have the key 'a'"),
        ([("a", BLOB), ("b", {"w": torch.ones(2)})], "member 'b' is no file"),
        ([("a", {"w": torch.ones(2)}), ("b", BLOB)], "member 'b' is a file"),
        ([("a", {"w": torch.ones(2)}), ("b", {"w": torch.tensor([torch.nan])})], "member 'b'"),
        ([("", BLOB)], "key of a member"),
        ([(3, BLOB)], "key of a member"),
        ([("\ud800", BLOB)], "key of a member"),
        ([("a",)], "a member is"),
        (["ab"], "a member is"),
        ([("a", BLOB, "good")], "score is a number"),
        ([("a", BLOB, None, {"x": object()})], "member 'a': meta must"),
        ([("a", BLOB[:-1])], "member 'a': truncated"),
    ],
)
def test_wrong_members_are_named_and_nothing_is_left(items, words, tmp_path):
    with pytest.raises(CoinrError, match=words):
        write_set(tmp_path / "a", items, threads=1)
    assert not os.listdir(tmp_path)


def test_an_iterator_that_fails_leaves_the_former_set(path, tmp_path):
    file = tmp_path / "a"
    file.write_bytes(path.read_bytes())

    def items():
        yield "a", BLOB
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        write_set(file, items())
    assert file.read_bytes() == path.read_bytes()
    assert os.listdir(tmp_path) == ["a"]


def test_other_files_are_refused(path, tmp_path):
    file = tmp_path / "a"
    data = path.read_bytes()
    for wrong in (b"", b"PAR1", BLOB, data[:-9], data[: len(data) // 2]):
        file.write_bytes(wrong)
        with pytest.raises(FormatError, match=str(file)):
            open_set(file)
    parquet.write_table(pyarrow.table({"key": ["a"]}), file)
    with pytest.raises(FormatError, match="no set of networks"):
        open_set(file)
    table = parquet.read_table(path)
    for metadata, error in (
        ({b"coinr.set": b"2"}, VersionError),
        ({b"coinr.set": b"1", b"coinr.base": b"?"}, FormatError),
        ({b"coinr.set": b"1", b"coinr.base": b"AAAA"}, FormatError),
    ):
        parquet.write_table(table.replace_schema_metadata(metadata), file)
        with pytest.raises(error, match=str(file)):
            open_set(file)
    parquet.write_table(table.drop_columns(["score"]).replace_schema_metadata({b"coinr.set": b"1"}), file)
    with pytest.raises(FormatError, match="columns of a set are"):
        open_set(file)
    with pytest.raises(FileNotFoundError):
        open_set(tmp_path / "none")


def test_limits_hold_for_groups_and_members(path):
    with pytest.raises(LimitError, match="raise it with Limits"):
        open_set(path, limits=coinr.Limits(decoded_bytes=100))


def test_damaged_bytes_are_never_a_wrong_member(path, tmp_path):
    file = tmp_path / "a"
    data = path.read_bytes()
    with open_set(path) as members:
        good = list(members)
    for at in range(0, len(data), 97):
        bad = bytearray(data)
        bad[at] ^= 0x55
        file.write_bytes(bad)
        try:
            with open_set(file) as members:
                got = list(members)
                decoded = [members.decode(k) for k in range(len(members))]
        except CoinrError:
            continue
        assert [member.blob for member in got] == [member.blob for member in good]
        assert len(decoded) == 12


@pytest.mark.parametrize(
    ("sds", "words"),
    [
        ([], "one or more"),
        (NETWORKS[0], "list of"),
        ([NETWORKS[0], {"w": torch.ones(2)}], "state dict 1 is not of the first one's layout"),
        ([dict.fromkeys("ab", torch.ones(2))], "state dict 0 has tied tensors"),
    ],
)
def test_networks_of_several_layouts_have_no_base(sds, words):
    with pytest.raises(InputError, match=words):
        make_base(sds)


def test_a_start_may_be_the_base():
    made = make_base(NETWORKS[:3], start=NETWORKS[5], threads=1)
    assert same({name: made[name] for name in NETWORKS[5]}, NETWORKS[5])
    assert made["statistics.table"].shape[0] == 3
