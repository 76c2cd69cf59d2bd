"""The script that measures the memory of fits of large pictures: none holds coordinates of all pixels."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from bench.speed import fit_memory


@pytest.mark.slow
def test_a_fit_of_twelve_megapixels_holds_no_floats_of_all_pixels(tmp_path, monkeypatch, capsys):
    out = tmp_path / "fit_memory.json"
    monkeypatch.setattr(sys, "argv", ["fit_memory", "--steps", "5", "--out", str(out)])
    fit_memory.main()
    found = json.loads(out.read_text())["kinds"]
    assert list(found) == list(fit_memory.KINDS)
    for kind, one in found.items():
        # bytes are copied, all else becomes floats
        channels = fit_memory.KINDS[kind][0]
        values = one["picture_bytes"] if kind in ("gray, 8 bits", "color, 8 bits") else 4 * 12_000_000 * channels
        assert one["signal_bytes"] < values + 24e6
        assert one["fit_bytes"] < one["coordinates_bytes"] / 8 == 12e6


@pytest.mark.parametrize("kind", fit_memory.KINDS)
def test_pictures_are_of_their_kind(kind):
    channels, dtype = fit_memory.KINDS[kind]
    picture = fit_memory.make_picture(6, 300, kind)
    assert picture.dtype == dtype
    assert picture.shape == ((6, 300) if channels == 1 else (6, 300, channels))
    assert len(np.unique(picture)) >= 256
