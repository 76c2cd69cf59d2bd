"""The script that measures large state dicts, on a small one."""

from __future__ import annotations

import json
import sys

import pytest

from bench.speed import big


@pytest.mark.slow
def test_both_directions_are_measured(tmp_path, monkeypatch, capsys):
    out = tmp_path / "big.json"
    monkeypatch.setattr(sys, "argv", ["big", "--parameters", "6000000", "--out", str(out)])
    big.main()
    found = json.loads(out.read_text())
    assert found["parameters"] == 6_000_000 + sum(
        rows * (columns + 1) for columns, rows in ((32, 64), (64, 64), (64, 4))
    )
    assert found["coded_bytes"] < found["input_bytes"] / 2
    assert max(found["relative_error"].values()) < 0.15
    assert found["one"]["anonymous_bytes"] < found["largest_tensor_bytes"]
    for step in ("encode", "decode"):
        assert found[step]["weights_per_cpu_second"] > 0
        assert found[step]["anonymous_bytes"] > 0


def test_scales_fall_from_coarse_to_fine_levels():
    scene = big.make_scene(64_000)
    levels = scene["embedding.weight"].float().reshape(big.LEVELS, -1)
    assert (levels.square().mean(1).diff() < 0).all()
    assert scene["grid.params"].ndim == 1
    assert sum(tensor.numel() for tensor in scene.values()) >= 64_000
