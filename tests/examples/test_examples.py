"""The small examples run and do what they say; the demo has tests of its own."""

import numpy as np
import pytest

import coinr
from examples import signal, weights


@pytest.mark.slow
def test_weights(capsys):
    found = weights.main()
    said = capsys.readouterr().out
    assert f"became {len(found.blob)} at" in said
    assert found.full_score > 30
    assert found.full_score - 0.1 <= found.score <= found.full_score
    assert len(found.blob) < 4 * 1153 / 2  # bytes of fp16
    assert set(coinr.decode_state_dict(found.blob)) == {f"{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias")}


@pytest.mark.slow
def test_signal(tmp_path, capsys):
    rows, columns = np.mgrid[:192, :288]  # enough for the network of the recipe
    photo = (2 / 3 * rows + 5 / 12 * columns).astype(np.uint8)
    coinr.write_image(tmp_path / "a.png", photo)
    signal.main([str(tmp_path / "a.png"), str(tmp_path / "a.coinr"), "--steps", "60"])
    description, quality, *_ = capsys.readouterr().out.splitlines()
    assert description == "image 192 x 288, 1 channel of 8 bits"
    shown = coinr.open_file(tmp_path / "a.coinr").render()
    assert quality == f"psnr: {coinr.psnr(photo, shown)}"
    assert coinr.psnr(photo, shown) > 30
