"""How the rule shares error among layers and rows, from the weights alone."""

import numpy as np
import pytest
import torch

from coinr.codec.allocate.default_errors import DEPTH_GROWTH, MOST_DEPTH_GROWTH, distortion_limits, rule_errors
from coinr.codec.allocate.row_weights import TRUST, row_weights
from coinr.codec.profiles.paper_rules import RULES, sparsity
from coinr.codec.state_dict import read_state_dict
from coinr.sensitivity.calibration import SensitivityInfo

HIDDEN = 8


def layers(first=True, sizes=None):
    """Matrices of equal magnitudes, behind a first layer of two coordinates if given."""
    generator = torch.Generator().manual_seed(0)
    sizes = sizes or [24] * (HIDDEN + 1)
    shapes = [(sizes[0], 2)] * first + list(zip(sizes[1:], sizes[:-1], strict=True))
    sd = {f"net.{k}.weight": torch.randn(shape, generator=generator) for k, shape in enumerate(shapes)}
    return {name: tensor / tensor.abs().log().mean().exp() for name, tensor in sd.items()}


def test_errors_grow_with_depth_and_not_beyond_the_most():
    errors = rule_errors(read_state_dict(layers()), SensitivityInfo())[1:]
    growth = [error / errors[0] for error in errors]
    assert DEPTH_GROWTH**HIDDEN > 3 * MOST_DEPTH_GROWTH
    assert growth == pytest.approx([min(DEPTH_GROWTH**k, MOST_DEPTH_GROWTH) for k in range(HIDDEN)], rel=0.02)


def test_what_is_allowed_is_capped_as_the_rule_is():
    allowed = [limit.weighted_error for limit in distortion_limits(read_state_dict(layers()), 0.15)[1:]]
    assert max(allowed) / min(allowed) == pytest.approx(MOST_DEPTH_GROWTH, rel=0.02)


def test_weights_of_rows_are_estimated_unless_rows_are_known_to_weigh_alike():
    sd = layers()
    sd["net.2.weight"][:, :6] *= 0.1
    entries = read_state_dict(sd)
    assert any(limit.distortion_weights is not None for limit in distortion_limits(entries, 0.15))
    known = SensitivityInfo(rows_alike=True)
    assert all(limit.distortion_weights is None for limit in distortion_limits(entries, 0.15, known))


def test_errors_do_not_grow_where_no_layer_takes_coordinates():
    errors = rule_errors(read_state_dict(layers(first=False)), SensitivityInfo())
    assert errors == pytest.approx([errors[0]] * HIDDEN, rel=0.02)


def test_sensitivity_is_passed_back_through_all_layers():
    sd = layers(first=False, sizes=[12, 16, 20, 18, 14, 3])
    spread = torch.logspace(-2, 2, 14)
    sd["net.4.weight"] *= spread  # some of the last hidden layer's outputs hardly count
    found = row_weights(read_state_dict(sd))
    assert found.keys() == {0, 1, 2, 3}
    passed = np.ones(3)
    for k in (3, 2, 1, 0):
        passed = np.square(sd[f"net.{k + 1}.weight"].double().numpy()).T @ passed
        expected = passed**TRUST
        assert found[k] == pytest.approx(expected / expected.mean(), rel=1e-5)


def test_a_branch_that_the_last_layer_ignores_is_coarse_from_the_first_layer_on():
    sd = {f"net.{k}.weight": 0.02 + torch.kron(torch.eye(2), torch.ones(8, 8)) for k in range(4)}
    for k in range(4):
        sd[f"net.{k}.weight"][:8, 8:] = sd[f"net.{k}.weight"][8:, :8] = 0.0
    sd["net.4.weight"] = torch.ones(2, 16)
    sd["net.4.weight"][:, 8:] = 1e-3
    found = row_weights(read_state_dict(sd))
    assert found.keys() == {0, 1, 2, 3}
    for weights in found.values():
        assert weights[8:].max() < 1e-4 * weights[:8].min()


def test_the_sparsity_of_the_published_method_is_one_at_least():
    assert sparsity(RULES[1], 4, 1 << 16, 0.9) == 1
    assert sparsity(RULES[1], 64, 1 << 16, 0.5) > 1
