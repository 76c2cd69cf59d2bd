"""The corpus of many small networks, and the table of output errors."""

import pytest
import torch

from bench.harness import corpus, wide_corpus
from bench.harness.signals import KINDS
from bench.rate.output_error import add_folds, gain_rows, meter_of, network_row, summarize
from coinr.sensitivity.inference import infer
from coinr.sensitivity.layers import find_layers
from coinr.sensitivity.tables import find_grid

GRIDS = ("grid", "grids", "tcnn")
RECIPES = wide_corpus.recipes(None)


def test_at_least_forty_networks_have_names_of_their_own_with_and_without_data(tmp_path):
    for recipes in (RECIPES, wide_corpus.recipes(tmp_path)):
        assert len({recipe.name for recipe in recipes}) == len(recipes) >= 40


def test_untrained_networks_take_the_coordinates_of_their_signals():
    inputs = {"crop": 2, "clip": 1, "shape": 3}
    for recipe in RECIPES:
        network = corpus.untrained(recipe)
        if recipe.kind in inputs:
            assert network(torch.zeros(3, inputs[recipe.kind])).shape[0] == 3, recipe.name
            state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
            assert bool(find_layers(state)) != (recipe.family in GRIDS), recipe.name
            assert bool(find_grid(state)) == (recipe.family in ("grid", "grids")), recipe.name


def test_named_networks_have_the_names_of_other_codebases():
    names = {recipe.family: list(corpus.untrained(recipe).state_dict()) for recipe in RECIPES}
    assert names["coin"][:2] == ["net.0.linear.weight", "net.0.linear.bias"]
    assert names["unit"][-2:] == ["last_layer.weight", "last_layer.bias"]


@pytest.mark.parametrize(("kind", "name", "shape"), [("crop", "coffee-16", (256, 3)), ("clip", "tones-500", (500, 1))])
def test_parts_of_signals(kind, name, shape):
    samples = KINDS[kind](name, None)
    assert samples.targets.shape == shape
    assert samples.inputs.abs().max() <= 1


@pytest.mark.slow
def test_rows_of_a_network_of_one_recipe(tmp_path):
    recipe = corpus.Recipe("siren", (1, 16), "crop", "coffee-24", 150, 400, 2e-3)
    entry = corpus.build(recipe, None, tmp_path)
    assert corpus.build(recipe, None, tmp_path).recipe == recipe
    layers = find_layers({name: tensor.numpy() for name, tensor in entry.state_dict.items()})
    assert infer(layers)
    meter = meter_of(entry)
    row = network_row(entry, meter)
    for effort in ("", "fast_", "best_"):
        assert abs(float(row[f"{effort}output_error_db"]) + 50) < 6
    assert row["unknown_bytes"] != row["bytes"] != row["paper_bytes"]
    assert row["bytes"] != row["tolerance_bytes"]
    for gain in gain_rows(entry, meter):
        assert abs(float(gain["measured_gain_db"]) - float(gain["predicted_gain_db"])) < 10


def test_held_out_errors_are_shifted_by_the_other_folds():
    rows = [{"output_error_db": str(-50.0 - k % 5), "tolerance_output_error_db": "-60"} for k in range(10)]
    add_folds(rows)
    assert [row["fold"] for row in rows] == [0, 1, 2, 3, 4] * 2
    assert rows[0]["held_out_db"] == "-47.5"
    assert {row["tolerance_held_out_db"] for row in rows} == {"-50.0"}
    ways = ("", "fast_", "best_", "paper_", "unknown_", "tolerance_")
    made = {f"{way}output_error_db": "-50" for way in ways[1:-1]} | {f"{way}loss_db": "0.1" for way in ways}
    rows = [row | made | {f"{way}bytes": 9 for way in ways} | {"equal_ratio": "0.9"} for row in rows]
    assert summarize(rows)["held_out_db"]["within_3_db_of_-50"] == 1.0
