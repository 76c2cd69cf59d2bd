"""Errors that callers ask of single tensors."""

import pytest
import torch

import coinr


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"{k}.weight": torch.randn(48, 48, generator=generator) for k in range(3)}


def off(blob: bytes, name: str) -> float:
    return float((coinr.decode_tensor(blob, name) - weights()[name]).square().mean().sqrt())


def test_an_error_is_met_closely_and_leaves_other_tensors_as_they_are():
    asked = coinr.encode_state_dict(weights(), profile="direct", tolerance=1.0, errors={"2.weight": 0.01})
    plain = coinr.encode_state_dict(weights(), profile="direct", tolerance=1.0)
    assert 0.0097 <= off(asked, "2.weight") <= 0.01
    assert torch.equal(coinr.decode_tensor(asked, "1.weight"), coinr.decode_tensor(plain, "1.weight"))
    assert off(plain, "2.weight") > 0.02


@pytest.mark.parametrize("profile", ["auto", "direct", "sparse"])
def test_the_default_is_an_output_error(profile):
    sd = weights()
    blob = coinr.encode_state_dict(sd, profile=profile)
    assert blob == coinr.encode_state_dict(sd, profile=profile, output_error_db=-50.0)
    assert len(blob) < len(coinr.encode_state_dict(sd, profile=profile, output_error_db=-60.0))


def test_errors_are_in_proportion_to_the_tolerance_and_below_it():
    blobs = {
        tolerance: coinr.encode_state_dict(weights(), profile="direct", tolerance=tolerance)
        for tolerance in (0.15, 0.3)
    }
    assert len(blobs[0.3]) < len(blobs[0.15])
    for name, tensor in weights().items():
        fine, coarse = (off(blob, name) for blob in blobs.values())
        assert coarse == pytest.approx(2 * fine, rel=0.04)
        size = float(tensor.square().mean().sqrt())
        typical = float(tensor.abs()[tensor.abs() > size / 256].log().mean().exp())
        assert fine == pytest.approx(0.15 / 12 * typical, rel=0.1)
        assert coarse <= 0.3 * size


def test_the_tolerance_bounds_an_error():
    blob = coinr.encode_state_dict(weights(), tolerance=1e-3, errors={"1.weight": 0.5})
    assert off(blob, "1.weight") <= 1e-3 * float(weights()["1.weight"].square().mean().sqrt())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"errors": {"3.weight": 0.1}}, "3.weight"),
        ({"errors": {"1.weight": -1.0}}, "1.weight"),
        ({"errors": {"1.weight": float("inf")}}, "1.weight"),
        ({"errors": {"1.weight": 0.1}, "lossless": ["1.*"]}, "1.weight"),
        ({"errors": {"1.weight": 0.1}, "profile": "paper"}, "tolerance"),
    ],
)
def test_bad_errors_are_named(arguments, message):
    with pytest.raises(coinr.InputError, match=message):
        coinr.encode_state_dict(weights(), **arguments)
