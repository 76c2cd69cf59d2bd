"""A start and a file relative to it that were written once: their bits, and how the one finds the other."""

from pathlib import Path

import pytest

import coinr
from tests.codec.golden.make import digest

FOLDER = Path(__file__).parent / "golden"


def test_a_golden_start_keeps_its_hash_and_its_rates():
    start = coinr.open_start(FOLDER / "waves.start.coinr")
    assert (start.name, start.method, start.signal, start.steps) == ("waves", "maml", "image", 2)
    assert start.hash == "d757a8fcbb539a89d7c5eda84c1bfaa3"
    assert digest(start.rates) == "aacdbef0f8aac2d51ec353e758ac557d1aedc8269125624bcd96d83053443c99"


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_a_golden_file_finds_it_and_decodes_to_the_same_bits(backend, monkeypatch):
    monkeypatch.setenv("COINR_BACKEND", backend)
    file = FOLDER / "picture.coinr"
    assert coinr.read_meta(file.read_bytes()) == {"image": [12, 16], "siren": 30, "base": ["waves", "d757a8fc"]}
    found = coinr.load_network(file).state_dict()
    assert digest(found) == "ee06e0c3b6918590e23df561f4e16e8360ef8ca80e108c18ed71d8f96c0ac5d8"
