"""The README's picture shows every byte of its file."""

import numpy as np
import pytest

import coinr
from coinr.signals.image.files import read_image
from examples import picture


@pytest.mark.parametrize("count", [1, 37, 500, 2400])
def test_every_byte_has_a_square(count):
    data = bytes(range(256)) * 10
    shown = picture.byte_picture(data[:count], 40, 60)
    assert shown.shape == (40, 60)
    side = next(side for side in range(40, 0, -1) if (40 // side) * (60 // side) >= count)
    squares = shown[: 40 // side * side : side, : 60 // side * side : side].reshape(-1)
    assert bytes(squares[:count]) == data[:count]
    assert (squares[count:] == 255).all()


def test_the_sheet_is_written(tmp_path):
    rows, columns = np.mgrid[:20, :30]
    photo = np.stack((12 * rows, 8 * columns, 100 + rows + columns), -1).astype(np.uint8)
    coinr.write_image(tmp_path / "a.png", photo)
    (tmp_path / "a.coinr").write_bytes(coinr.pack_signal(coinr.Siren(2, 3, 12, 1), coinr.ImageSignal(photo)))
    picture.main([str(tmp_path / name) for name in ("a.png", "a.coinr", "sheet.jpg")])
    sheet = read_image(tmp_path / "sheet.jpg")
    assert sheet.shape[0] > picture.HEIGHT
    assert sheet.shape[1] > 3 * picture.HEIGHT
