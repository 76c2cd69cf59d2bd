"""FORMAT.md's test vectors hold."""

import re
from pathlib import Path

import numpy as np
import pytest

import coinr
from coinr.engine import packing, philox

TEXT = (Path(__file__).parents[2] / "FORMAT.md").read_text()
ENTRIES = re.findall(r"\| (\w+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| ([-\d …]+) \|", TEXT)
FILES = [bytes.fromhex(block) for block in re.findall(r"```\n(8f43.*?)```", TEXT, re.DOTALL)]


def test_all_vectors_are_found():
    assert len(ENTRIES) == 8
    assert {entry[0] for entry in ENTRIES} == set(philox.KINDS)
    assert len(FILES) == 2


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("vector", ENTRIES, ids=lambda vector: "-".join(vector[:5]))
def test_entries(vector, backend):
    kind, n, seed, stream, atom, values = vector
    dictionary = coinr.Dictionary(kind, int(n), 2**24, int(seed), int(stream))
    made = dictionary.atoms([int(atom)], backend=backend)[:, 0].tolist()
    head, *tail = [[int(value) for value in part.split()] for part in values.split("…")]
    assert made[: len(head)] == head
    assert not tail or made[-len(tail[0]) :] == tail[0]
    assert tail or len(head) == int(n)


def test_packing():
    assert "`01083000fa`" in TEXT
    assert packing.pack_bits(np.array([1, 2, 3, 1000], np.uint32), 10).hex() == "01083000fa"
    assert "`04067c0f2e00`" in TEXT
    assert packing.pack_sorted(np.array([[3, 4, 100], [0, 50, 51]], np.int32), 128).hex() == "04067c0f2e00"


def test_first_file():
    sd = coinr.decode_state_dict(FILES[0])
    step = np.float32(2 / 127)
    assert list(sd) == ["b", "k"]
    assert sd["b"].numpy().tobytes() == (np.array([64, -127, 32], np.float32) * step).tobytes()
    assert sd["k"].tolist() == [0, 1, 2]
    assert coinr.inspect(FILES[0]).seed == 7


def test_second_file():
    w = coinr.decode_state_dict(FILES[1])["w"].numpy()
    assert [f"{bits:08x}" for bits in w.reshape(-1)[:3].view(np.uint32)] == ["bed93a2b", "bf98d5ba", "3eb0e291"]
    row = coinr.inspect(FILES[1]).to_dict()["tensors"][0]
    assert {key: row[key] for key in ("kind", "n", "M", "s", "B", "bits")} == {
        "kind": "gaussian",
        "n": 16,
        "M": 64,
        "s": 2,
        "B": 2,
        "bits": 8,
    }
