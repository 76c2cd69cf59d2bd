"""The public door: profiles, tolerance, determinism, metadata, reports, files."""

import itertools
import json
from collections import OrderedDict

import numpy as np
import pytest
import torch

import coinr
import coinr.codec.format.container
import coinr.codec.format.tensor_table
from coinr.codec.profiles import paper_rules
from coinr.codec.tensors import Cut
from coinr.inputs.dtypes import dtype_name
from tests.codec.arrays import layout as layout_for
from tests.grids import fast_where


def matrices(**shapes):
    return OrderedDict((name, torch.randn(*shape)) for name, shape in shapes.items())


def error(decoded, original):
    return float(
        torch.linalg.vector_norm(decoded.double() - original.double()) / torch.linalg.vector_norm(original.double())
    )


def rows(blob):
    return {row["name"]: row for row in coinr.inspect(blob).to_dict()["tensors"]}


NET = {"first": (64, 2), "hidden": (64, 64), "skip": (64, 40), "last": (3, 64), "bias": (64,)}


def test_paper_stores_what_the_paper_says():
    blob = coinr.encode_state_dict(matrices(**NET), profile="paper", M=4096)
    table = rows(blob)
    assert {name: row["coder"] for name, row in table.items()} == {
        "first": "uniform",
        "hidden": "dictionary",
        "skip": "dictionary",
        "last": "dictionary",
        "bias": "uniform",
    }
    assert (table["hidden"]["n"], table["hidden"]["B"], table["hidden"]["bits"]) == (64, 64, 16)
    assert (table["last"]["n"], table["last"]["B"]) == (64, 3)
    assert all(2 * row["s"] < row["n"] for row in table.values() if "s" in row)


def test_tiny_networks_are_flattened():
    table = rows(coinr.encode_state_dict(matrices(hidden=(20, 20), wide=(50, 50)), profile="paper", M=1024))
    assert (table["hidden"]["n"], table["hidden"]["B"]) == (400, 1)
    assert (table["wide"]["n"], table["wide"]["B"]) == (50, 50)


def test_the_rule_reaches_the_error_it_states():
    aim = paper_rules.RULES[paper_rules.LATEST].tolerance
    for n, B in ((64, 64), (128, 40)):
        sd = {"w": torch.randn(B, n)}
        decoded = coinr.decode_state_dict(coinr.encode_state_dict(sd, profile="paper"))["w"]
        assert 0.6 * aim < error(decoded, sd["w"]) < 1.1 * aim


def test_the_first_version_of_the_rule_stays():
    """Files made with ``rule=1`` can be made again whatever rules follow."""
    assert [paper_rules.sparsity(paper_rules.RULES[1], n, 1 << 16, None) for n in (16, 48, 64, 100, 128, 1024)] == [
        7,
        20,
        26,
        41,
        53,
        488,
    ]
    row = rows(coinr.encode_state_dict(matrices(hidden=(64, 64)), profile="paper", rule=1))["hidden"]
    assert row["s"] == 26


@pytest.mark.parametrize(
    ("profile", "tolerance"),
    fast_where(
        lambda profile, tolerance: tolerance == 0.3 or profile == "uniform" or (profile, tolerance) == ("auto", 0.0),
        itertools.product(["auto", "direct", "sparse", "paper", "uniform", "lossless"], [0.3, 0.03, 1e-3, 1e-6, 0.0]),
    ),
)
def test_tolerance_holds_for_every_tensor(profile, tolerance):
    sd = matrices(first=(32, 2), hidden=(32, 32), skip=(32, 20), last=(3, 32), bias=(32,))
    sd["complex"] = torch.randn(15, 20, dtype=torch.complex64)
    sd["half"] = torch.randn(24, 24).half()
    sd["double"] = torch.randn(5, 5).double()
    options = {"M": 2048} if profile == "paper" else {}
    decoded = coinr.decode_state_dict(coinr.encode_state_dict(sd, profile=profile, tolerance=tolerance, **options))
    for name, tensor in sd.items():
        distance = torch.linalg.vector_norm((decoded[name] - tensor).to(torch.complex128))
        assert distance <= tolerance * torch.linalg.vector_norm(tensor.to(torch.complex128)), name


def test_a_looser_tolerance_takes_fewer_bytes():
    sd = matrices(**NET)
    sizes = [
        len(coinr.encode_state_dict(sd, profile="paper", M=2048, tolerance=tolerance))
        for tolerance in (0.03, 0.3, 1.0, 3.0)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.75 * sizes[0]


def test_first_layers_are_held_finer_where_sparse_coded():
    sd = matrices(first=(256, 3))
    blob = coinr.encode_state_dict(sd, tolerance=2.0, profile="paper", M=4096)
    assert rows(blob)["first"]["coder"] == "dictionary"
    assert rows(blob)["first"]["n"] == 256
    assert error(coinr.decode_tensor(blob, "first"), sd["first"]) <= 0.03


def test_options_are_taken():
    sd = matrices(hidden=(64, 64))
    row = rows(coinr.encode_state_dict(sd, profile="paper", kind="hadamard", M=500, s=7, bits=9))["hidden"]
    assert (row["kind"], row["M"], row["s"], row["bits"]) == ("hadamard", 500, 7, 9)


@pytest.mark.parametrize(("s", "coder"), [(31, "dictionary"), (32, "uniform")])
def test_more_atoms_than_the_condition_of_the_paper_allows_keep_a_tensor_out_of_the_dictionary(s, coder):
    sd = matrices(hidden=(64, 64))
    assert rows(coinr.encode_state_dict(sd, profile="paper", M=256, s=s))["hidden"]["coder"] == coder


def test_sorted_indices_take_fewer_bytes_than_lists():
    sd = matrices(hidden=(64, 64))
    by_index, by_pick = (coinr.encode_state_dict(sd, profile="paper", M=4096, sorted=order) for order in (True, False))
    assert len(by_index) < 0.95 * len(by_pick)
    first, second = (coinr.decode_tensor(blob, "hidden") for blob in (by_index, by_pick))
    assert torch.equal(first, second)


def test_uniform_bits():
    sd = matrices(**NET)
    sizes = [len(coinr.encode_state_dict(sd, profile="uniform", bits=bits)) for bits in (4, 8, 12, 16)]
    assert sizes == sorted(sizes)
    row = rows(coinr.encode_state_dict(sd, profile="uniform", tolerance=0.01))["hidden"]
    # a twelfth of the tolerance, of the typical weight: three to four bits finer than 1 % of the deviation
    assert row["bits"] in (12, 13)


def test_lossless_is_bit_exact_and_smaller_than_raw_where_it_can_be():
    sd = OrderedDict(w=torch.randn(64, 64), zeros=torch.zeros(1000), nan=torch.tensor([float("nan"), float("inf")]))
    blob = coinr.encode_state_dict(sd, profile="lossless")
    decoded = coinr.decode_state_dict(blob)
    assert all(decoded[name].numpy().tobytes() == sd[name].numpy().tobytes() for name in sd)
    assert len(blob) < 0.95 * sum(tensor.nbytes for tensor in sd.values())


def test_named_tensors_can_be_kept_exact():
    sd = {"bn.running_mean": torch.randn(70), "w": torch.randn(70, 70)}
    decoded = coinr.decode_state_dict(coinr.encode_state_dict(sd, profile="paper", M=256, lossless=["*.running_*"]))
    assert torch.equal(decoded["bn.running_mean"], sd["bn.running_mean"])
    assert not torch.equal(decoded["w"], sd["w"])


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-20, 1e20, 1e35])
def test_extreme_scales(scale):
    sd = {"w": (torch.randn(64, 64).double() * scale).float()}
    decoded = coinr.decode_state_dict(coinr.encode_state_dict(sd, profile="paper", M=1024, tolerance=0.05))["w"]
    assert torch.isfinite(decoded).all()
    assert error(decoded / scale, sd["w"] / scale) <= 0.05


def test_one_tensor_of_extreme_scale_leaves_the_others_in_the_dictionary():
    sd = {"plain": torch.randn(64, 64), "huge": torch.randn(64, 64) * 1e35, "zero": torch.zeros(64, 64)}
    table = rows(coinr.encode_state_dict(sd, profile="paper", M=1024))
    assert table["plain"]["coder"] == "dictionary"
    assert table["huge"]["coder"] == "uniform"
    assert table["zero"]["coder"] == "lossless"


def test_equal_input_gives_equal_bytes_and_seeds_differ():
    sd = matrices(**NET)
    first = coinr.encode_state_dict(sd, 5, profile="paper", M=1024)
    assert first == coinr.encode_state_dict(sd, 5, profile="paper", M=1024, threads=1)
    assert first != coinr.encode_state_dict(sd, 6, profile="paper", M=1024)
    assert coinr.inspect(first).seed == 5


def test_reference_and_native_encode_to_equal_weights():
    sd = matrices(hidden=(24, 24), skip=(24, 20))
    blobs = [
        coinr.encode_state_dict(sd, profile="paper", M=300, backend=backend) for backend in ("reference", "native")
    ]
    assert blobs[0] == blobs[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "-1"),
        ({"seed": 1.5}, "1.5"),
        ({"seed": 2**64}, "seed"),
        ({"profile": "best"}, "'best'"),
        ({"tolerance": -1}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"nonfinite": "drop"}, "'drop'"),
        ({"lossless": "*.bias"}, "sequence"),
        ({"bits": 17, "profile": "paper"}, "17"),
        ({"s": 0, "profile": "paper"}, "s must be"),
        ({"speed": 3}, "'speed'"),
        ({"rule": 99}, "rule"),
        ({"kind": "normal", "profile": "paper"}, "'normal'"),
        ({"M": 0, "profile": "paper"}, "M must be"),
        ({"backend": "abacus"}, "'abacus'"),
        ({"profile": "uniform", "backend": "abacus"}, "'abacus'"),
        ({"threads": 0}, "threads"),
        ({"profile": []}, "profile"),
        ({"lossless": (3,)}, "lossless"),
        ({"sorted": "False"}, "sorted"),
        ({"kind": [1]}, "kind"),
        ({"profile": "lossless", "bits": 8}, "'bits'"),
        ({"meta": {"x": {1, 2}}}, "meta"),
        ({"meta": [1]}, "meta"),
    ],
    ids=lambda value: json.dumps(value, default=str) if isinstance(value, dict) else "",
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(coinr.InputError, match=message):
        coinr.encode_state_dict(matrices(hidden=(32, 32)), **arguments)


def test_metadata_comes_back():
    meta = {"kind": "image", "size": [512, 768], "note": "größe", "nested": {"a": [1.5, None, True]}}
    blob = coinr.encode_state_dict({"w": torch.ones(2)}, meta=meta)
    assert coinr.read_meta(blob) == meta
    assert coinr.read_meta(coinr.encode_state_dict({})) == {}


def test_report_is_a_table_and_json():
    report = coinr.inspect(coinr.encode_state_dict(matrices(**NET), profile="paper", M=512, seed=3))
    text = str(report)
    assert len(text.splitlines()) == len(NET) + 2 + len(report.notes)
    assert "dictionary" in text
    values = json.loads(json.dumps(report.to_dict()))
    assert values["totals"]["parameters"] == sum(np.prod(shape) for shape in NET.values())
    assert values["totals"]["payload_bytes"] == sum(row["bytes"] for row in values["tensors"])
    assert {row["dtype"] for row in values["tensors"]} == {"float32"}


def test_save_and_load(tmp_path):
    sd = matrices(**NET)
    path = tmp_path / "net.coinr"
    size = coinr.save(path, sd, seed=9, profile="paper", M=256)
    assert path.stat().st_size == size
    decoded = coinr.load(path)
    assert list(decoded) == list(sd)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "net.coinr"
    coinr.save(path, {"w": torch.ones(3)})
    before = path.read_bytes()
    with pytest.raises(coinr.StateDictError):
        coinr.save(path, {"w": torch.tensor([float("nan")])})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "coder", "expected"),
    [
        ({"profile": "direct"}, "direct", {"step": float, "states": int}),
        (
            {"profile": "sparse", "form": "dense"},
            "sparse",
            {"kind": str, "n": int, "M": int, "step": float, "form": "dense"},
        ),
        (
            {"profile": "sparse", "form": "sparse", "M": 256, "beam": 1, "tolerance": 0.5},
            "sparse",
            {"kind": str, "n": int, "M": 256, "s": int, "B": int, "step": float, "form": "sparse"},
        ),
        (
            {"profile": "paper", "M": 512},
            "dictionary",
            {"kind": str, "n": int, "M": 512, "s": int, "B": int, "bits": int},
        ),
    ],
    ids=["direct", "dense", "sparse", "paper"],
)
def test_a_report_says_how_a_tensor_is_coded(options, coder, expected):
    report = coinr.inspect(coinr.encode_state_dict({"w": torch.randn(32, 32)}, **options)).to_dict()
    row = report["tensors"][0]
    assert row["coder"] == coder
    for name, value in expected.items():
        assert isinstance(row[name], value) if isinstance(value, type) else row[name] == value


def test_verify_returns_the_report():
    blob = coinr.encode_state_dict(matrices(**NET), profile="paper", M=256)
    assert coinr.verify(blob).to_dict() == coinr.inspect(blob).to_dict()


def test_missing_names_are_reported():
    with pytest.raises(coinr.InputError, match="'x'.*'w'"):
        coinr.decode_tensor(coinr.encode_state_dict({"w": torch.ones(2)}), "x")


@pytest.mark.parametrize("shape", [(7, 5), (4, 6, 2), (30,), (1, 30), (30, 1)])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("n", [1, 3, 4, 30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=dtype_name)
def test_cuts_are_undone(shape, transposed, n, dtype):
    layout = layout_for(dtype, shape)
    cut = Cut(transposed, n)
    planes = np.random.default_rng(0).standard_normal((layout.planes, layout.size))
    vectors = cut.apply(planes, layout)
    assert vectors.shape == (cut.batch(layout), n)
    assert np.array_equal(cut.undo(vectors, layout), planes)


def test_a_transposed_cut_runs_along_columns():
    layout = layout_for(torch.float32, (4, 2))
    vectors = Cut(True, 4).apply(np.arange(8.0)[None], layout)
    assert vectors.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_a_tensor_and_its_lazy_conjugate_are_not_tied():
    w = torch.randn(5, 4, dtype=torch.complex64)
    sd = {"a": w, "b": w.conj(), "imag": w.imag, "negative": w.conj().imag}
    decoded = coinr.decode_state_dict(coinr.encode_state_dict(sd, profile="lossless"))
    assert all(torch.equal(decoded[name], sd[name]) for name in sd)


def test_a_pattern_may_name_any_of_tied_tensors():
    v = torch.randn(300)
    decoded = coinr.decode_state_dict(
        coinr.encode_state_dict({"a[0]": v, "b": v}, profile="uniform", bits=4, lossless=["b"])
    )
    assert torch.equal(decoded["b"], v)
    assert decoded["a[0]"] is decoded["b"]


@pytest.mark.parametrize("shape", [(1,) * 33, (0, 1 << 50)])
def test_what_readers_refuse_is_refused_when_encoding(shape):
    with pytest.raises(coinr.InputError, match="cannot be stored"):
        coinr.encode_state_dict({"w": torch.zeros(shape)})


def test_limits_bind_whoever_reads_the_metadata():
    blob = coinr.encode_state_dict({str(k): torch.ones(1) for k in range(11)}, meta={"a": 1})
    assert coinr.read_meta(blob, limits=coinr.Limits(tensors=11)) == {"a": 1}
    with pytest.raises(coinr.LimitError, match="11 tensors"):
        coinr.read_meta(blob, limits=coinr.Limits(tensors=10))


def test_limits_bind_the_encoder_too():
    with pytest.raises(coinr.LimitError, match="101 tensors"):
        coinr.encode_state_dict({str(k): torch.ones(1) for k in range(101)}, limits=coinr.Limits(tensors=100))


@pytest.mark.parametrize("device", ["bogus", "cuda:99", 1.5])
def test_unusable_devices_are_input_errors(device):
    blob = coinr.encode_state_dict({"w": torch.ones(2)})
    with pytest.raises(coinr.InputError, match="device"):
        coinr.decode_state_dict(blob, device=device)


def test_metadata_nests_as_deep_as_the_format_says_and_brackets_in_strings_do_not_count():
    def nested(levels):
        return {"a": json.loads("[" * (levels - 1) + r'"[[\"{{[\\"' + "]" * (levels - 1))}

    blob = coinr.encode_state_dict({}, meta=nested(64) | {"}]": ["[" * 100]})
    assert coinr.read_meta(blob) == nested(64) | {"}]": ["[" * 100]}
    with pytest.raises(coinr.CoinrError, match="deep"):
        coinr.encode_state_dict({}, meta=nested(65))


@pytest.mark.parametrize(
    "meta", [b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", b'{"a":1' + b"0" * 400 + b"}"]
)
def test_metadata_that_is_no_plain_json_is_refused(meta, monkeypatch):
    monkeypatch.setattr(coinr.codec.format.tensor_table, "write_meta", lambda _: meta)
    blob = coinr.codec.format.container.write(coinr.codec.format.tensor_table.Header(0, (), {"a": 1}), [])
    with pytest.raises(coinr.FormatError, match="metadata"):
        coinr.read_meta(blob)


def test_a_step_whose_rounded_product_overflows_is_refused():
    from coinr.codec.coders.coder import read_step, write_step
    from coinr.codec.wire import Reader

    bound = 32767 * 529
    step = float(np.nextafter(np.float32(np.finfo(np.float32).max / np.float64(bound)), np.float32(np.inf)))
    with pytest.raises(coinr.FormatError, match="finite"):
        read_step(Reader(write_step(step)), bound)
    assert read_step(Reader(write_step(step / 2)), bound) == step / 2
