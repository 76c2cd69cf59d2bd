"""The rule of the published text beside ours, on one small network."""

import pytest
import torch

from bench.harness.corpus import Entry, Recipe, untrained
from bench.harness.measure import Bench
from bench.paper.as_published import options_by_rule, rows


@pytest.mark.slow
def test_rows_of_a_network(tmp_path):
    recipe = Recipe("siren", (2, 24), "picture", "none", 1, 1, 1e-3)
    network = untrained(recipe)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(4096, 2, generator=generator) * 2 - 1
    with torch.no_grad():
        values = network(inputs)
    samples = {"inputs": inputs, "targets": values + 0.01 * torch.randn(values.shape, generator=generator)}
    found = list(rows(Bench(Entry(recipe, network.state_dict(), samples, {}), tmp_path)))
    assert [row.coder for row in found] == [*options_by_rule(24), "16-bit + Brotli"]
    ours, same, with_first, largest, plain = found
    assert 0 < with_first.loss_db < same.loss_db
    assert same.bytes < largest.bytes
    assert max(ours.bytes, same.bytes) < plain.bytes
    assert same.loss_db > largest.loss_db > abs(plain.loss_db)
    assert "'s': 11" in largest.setting
