"""The measurement of learning rates of sounds: one small sound measured, and the table of the page."""

import numpy as np
import pytest

import coinr
from bench.harness.results import read_csv
from bench.signals import sound_choices
from tests.documents import ROOT, rows


def test_a_sound_is_fitted_and_coded(tmp_path):
    time = np.arange(2000) / 8000
    coinr.write_audio(tmp_path / "tone.wav", np.sin(2 * np.pi * 220 * time).astype(np.float32), 8000)
    key = {"sound": "tone", "network": "1x8", "steps": 20, "seed": 0}
    before, default = (
        sound_choices.run(tmp_path / "tone.wav", key | {"variant": name}) for name in ("before", "default")
    )
    assert before["snr"] != default["snr"]
    assert min(before["bytes"], default["bytes"]) > 50
    assert list(before) == [*key, "variant", "bytes", "snr", "cpu_seconds"]


@pytest.mark.skipif(not (ROOT / "bench" / "results").exists(), reason="a source distribution carries no results")
def test_the_table_of_the_page_holds_the_rows():
    found = {}
    for row in read_csv(ROOT / "bench" / "results" / "sound_choices.csv"):
        hidden_layers, width = row["network"].split("x")
        key = (row["sound"], f"({hidden_layers}, {width})", str(row["steps"]), str(row["seed"]))
        size = f"{row['bytes']:,}".replace(",", " ")
        found.setdefault(key, {})[row["variant"]] = f"{row['snr']:.2f} dB, {size} bytes"
    expected = [[*key, both["before"], both["default"]] for key, both in found.items()]
    assert rows("docs/signals.md", "sounds") == expected
