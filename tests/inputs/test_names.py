"""Names that are none, and sizes that a reader would refuse: errors before anything is coded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import coinr
from coinr.codec.coders import CODERS
from coinr.codec.profiles import tasks
from coinr.errors import InputError, LimitError
from tests.cli.command import run
from tests.grids import fast_where


@pytest.fixture
def sd() -> dict[str, torch.Tensor]:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).state_dict()


@pytest.mark.parametrize("pattern", ["1.runing_*", "2.weights", "*.gamma", "", "WEIGHT"])
def test_a_lossless_pattern_that_matches_nothing_is_refused_with_the_names(sd, pattern):
    with pytest.raises(InputError, match="matches no tensor") as caught:
        coinr.encode_state_dict(sd, lossless=["*.running_*", pattern])
    message = str(caught.value)
    assert repr(pattern) in message
    assert all(repr(name) in message for name in sd)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("pattern", "near"), [("2.weights", "2.weight"), ("1.runing_*", "1.running_var"), ("0.Bias", "0.bias")]
)
def test_the_nearest_name_is_asked_for(sd, pattern, near):
    with pytest.raises(InputError, match=f"did you mean '{near}'?"):
        coinr.encode_state_dict(sd, lossless=[pattern])


def test_long_lists_of_long_names_stay_readable():
    sd = {f"{'block.' * 40}{i}": torch.ones(1) for i in range(500)}
    with pytest.raises(InputError, match="and 488 more") as caught:
        coinr.encode_state_dict(sd, lossless=["head.*"])
    assert len(str(caught.value)) < 1200
    with pytest.raises(InputError, match="there are none"):
        coinr.encode_state_dict({}, lossless=["head.*"])


def test_patterns_of_integers_and_of_tied_tensors_match(sd):
    sd |= {"again": sd["0.weight"]}
    blob = coinr.encode_state_dict(sd, lossless=["*.num_batches_tracked", "again"])
    assert torch.equal(coinr.decode_state_dict(blob)["again"], sd["0.weight"])


def test_unknown_names_of_errors_and_calibrations_are_refused_with_the_nearest(sd):
    for options in ({"errors": {"0.wait": 0.1}}, {"calibrate": lambda: {"0.wait": torch.ones(2, 3)}}):
        with pytest.raises(InputError, match=r"'0\.wait'.*did you mean '0\.weight'\?.*'2\.bias'"):
            coinr.encode_state_dict(sd, **options)
    with pytest.raises(InputError, match=r"'0\.bias'.*stored with loss"):
        coinr.encode_state_dict(sd, errors={"0.bias": 0.1}, lossless=["0.bias"])
    with pytest.raises(InputError, match=r"'0\.wait'.*did you mean '0\.weight'\?"):
        coinr.decode_tensor(coinr.encode_state_dict(sd), "0.wait")


def test_the_command_line_refuses_a_pattern_that_matches_nothing(tmp_path, sd):
    torch.save(sd, tmp_path / "a.pt")
    done = run("pack", tmp_path / "a.pt", "-o", tmp_path / "a.coinr", "--lossless", "2.weights")
    assert done.exit_code != 0
    assert "error: --lossless '2.weights' matches no tensor; did you mean '2.weight'?" in done.output
    assert not (tmp_path / "a.coinr").exists()


def test_a_signal_is_not_fitted_where_a_pattern_matches_nothing(tmp_path, monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("fitted")

    assert coinr.compress  # imported before, or it would keep what stands in for the fit
    monkeypatch.setattr("coinr.fitting.fit", never)
    coinr.write_image(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    done = run("encode", tmp_path / "a.png", "-o", tmp_path / "a.coinr", "--lossless", "*.gain")
    assert "error: --lossless '*.gain' matches no tensor" in done.output
    with pytest.raises(InputError, match="sequence of patterns"):
        coinr.compress(coinr.ImageSignal(np.zeros((4, 4))), target_bytes=100, lossless="*.bias")
    with pytest.raises(InputError, match="sequence of patterns, not 5"):
        coinr.compress(coinr.ImageSignal(np.zeros((4, 4))), target_bytes=100, lossless=5)


LIMITS = {
    "bytes": (coinr.Limits(decoded_bytes=100), "decodes to 176 bytes, the limit is 100"),
    "tensors": (coinr.Limits(tensors=8), "holds 9 tensors, the limit is 8"),
}


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("profile", ["auto", "sparse", "direct", "paper", "uniform", "lossless"])
def test_sizes_beyond_the_limits_are_refused_before_anything_is_coded(kind, profile, sd, nothing_is_coded):
    limits, message = LIMITS[kind]
    with pytest.raises(LimitError, match=message):
        coinr.encode_state_dict(sd, profile=profile, limits=limits)


@pytest.mark.parametrize("kind", LIMITS)
def test_sizes_are_refused_before_calibrations_metrics_and_losses_run(kind, sd, nothing_is_coded):
    limits, message = LIMITS[kind]

    def never(*_: object) -> torch.Tensor:
        raise AssertionError("run for a file that its limits do not allow")

    for work in (
        lambda: coinr.encode_state_dict(sd, limits=limits, calibrate=never),
        lambda: coinr.encode_state_dict(sd, limits=limits, target_bytes=10),
        lambda: coinr.search(sd, never, min_score=0.0, limits=limits),
        lambda: coinr.refine(sd, never, steps=1, limits=limits),
    ):
        with pytest.raises(LimitError, match=message):
            work()


def test_shapes_that_no_file_holds_are_refused_before_anything_is_coded(nothing_is_coded):
    with pytest.raises(InputError, match="'deep'.*33 dimensions"):
        coinr.encode_state_dict({"deep": torch.ones((1,) * 33)})


@pytest.fixture
def matrices() -> dict[str, torch.Tensor]:
    """Two matrices of 32 x 64, which the paper's rule gives 26 atoms a vector."""
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(32, 64, generator=generator) for name in ("a", "b")}


@pytest.mark.parametrize("arguments", [{}, {"tolerance": 0.1}, {"target_bytes": 500}], ids=["rule", "error", "size"])
@pytest.mark.parametrize(("profile", "options"), [("paper", {}), ("paper", {"s": 9}), ("sparse", {"form": "dense"})])
def test_work_beyond_the_limit_is_refused_before_anything_is_coded(
    profile, options, arguments, matrices, nothing_is_coded, monkeypatch
):
    monkeypatch.setattr("coinr.codec.encoder.make_tasks", tasks.make_tasks)
    with pytest.raises(LimitError, match="decoding generates at least .* dictionary entries, the limit is 4095"):
        coinr.encode_state_dict(
            matrices, profile=profile, limits=coinr.Limits(work=2 * 32 * 64 - 1), **options, **arguments
        )


def test_the_work_of_a_known_number_of_atoms_is_known_exactly(matrices, nothing_is_coded, monkeypatch):
    file = {"profile": "paper", "s": 5, "M": 64}
    monkeypatch.setattr("coinr.codec.encoder.make_tasks", tasks.make_tasks)
    with pytest.raises(LimitError, match="at least 20480 dictionary entries"):
        coinr.encode_state_dict(matrices, limits=coinr.Limits(work=20479), **file)
    monkeypatch.undo()
    coinr.encode_state_dict(matrices, limits=coinr.Limits(work=20480), **file)


@pytest.mark.parametrize(
    ("kind", "profile"),
    fast_where(
        lambda kind, profile: (
            (kind, profile)
            in (("constant", "paper"), ("in the base", "paper"), ("vectors", "auto"), ("few bits", "sparse"))
        ),
        itertools.product(
            ["constant", "exact", "vectors", "in the base", "one outlier", "few bits", "sparse"],
            ["auto", "direct", "uniform", "paper", "sparse"],
        ),
    ),
)
def test_tensors_that_need_no_dictionary_are_not_refused_for_its_work(kind, profile, matrices):
    asked = {"exact": {"lossless": ["*"]}, "in the base": {"base": matrices}}.get(kind, {})
    if kind == "constant":
        matrices = {"a": torch.full((64, 64), 0.3)}
    elif kind == "vectors":
        matrices = {"a": matrices["a"].flatten()}
    elif kind == "one outlier":
        matrices["a"][0, 0], matrices["b"][0, 0] = 1e6, 1e6
    elif kind == "few bits":
        matrices = {name: tensor.bfloat16().float() for name, tensor in matrices.items()}
    elif kind == "sparse":
        matrices = {name: torch.where(tensor > 2, tensor, 0.0) for name, tensor in matrices.items()}
    # what decoding generates is all that its limit has to allow
    work = coinr.inspect(coinr.encode_state_dict(matrices, profile=profile, **asked)).totals["work"]
    coinr.encode_state_dict(matrices, profile=profile, limits=coinr.Limits(work=work), **asked)
    if kind in ("one outlier", "few bits", "sparse"):
        return
    coinr.encode_state_dict(matrices, profile=profile, limits=coinr.Limits(work=0), **asked)


def test_auto_leaves_out_what_the_limits_do_not_allow():
    tensors = {"a": torch.randn(64, 64, generator=torch.Generator().manual_seed(3))}
    options = {"tolerance": 0.9, "effort": "best"}
    least = coinr.encode_state_dict(tensors, **options)
    assert coinr.inspect(least).totals["work"] > 0
    within = coinr.encode_state_dict(tensors, limits=coinr.Limits(work=0), **options)
    assert coinr.inspect(within).totals["work"] == 0
    assert (coinr.decode_state_dict(within)["a"] - tensors["a"]).norm() <= 0.9 * tensors["a"].norm()


def test_names_that_no_table_expands_to_are_refused_before_anything_is_coded(nothing_is_coded):
    with pytest.raises(InputError, match="cannot be stored: their names take 4003000 bytes"):
        coinr.encode_state_dict({f"{'n' * 4000}{k:03}": torch.zeros(1) for k in range(1000)})


def test_tied_tensors_count_once_towards_the_bytes(sd):
    sd |= {"again": sd["0.weight"]}
    coinr.encode_state_dict(sd, limits=coinr.Limits(decoded_bytes=176, tensors=10))


@pytest.fixture
def nothing_is_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("something was coded")

    for name in ("encode", "make_tasks"):
        monkeypatch.setattr(f"coinr.codec.encoder.{name}", never)
    for coder in CODERS.values():
        monkeypatch.setattr(type(coder), "encode", never)
