import numpy as np
import pytest
import torch

import coinr
from coinr.errors import InputError
from coinr.signals.image.picture import unit_image
from coinr.signals.image.rendering import render_image
from coinr.signals.image.signal import ImageSignal
from coinr.signals.metrics import psnr
from coinr.signals.sampling import score_of
from tests.small_signals import siren


def picture(channels, dtype):
    generator = np.random.default_rng(channels)
    shape = (9, 7) if channels == 1 else (9, 7, channels)
    if dtype == "float":
        return generator.random(shape)
    return generator.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, "float"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_score_is_the_psnr_of_the_picture_rendered_back(channels, dtype):
    signal = ImageSignal(picture(channels, dtype))
    network = siren(2, channels)
    bits = 16 if dtype == np.uint16 else 8
    shown = render_image(network, 9, 7, bits=bits)
    assert shown.dtype == (np.uint16 if bits == 16 else np.uint8)
    assert score_of(network, signal) == pytest.approx(psnr(signal.image, shown), abs=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_wanted_values_are_those_that_render_the_picture(channels):
    image = picture(channels, np.uint8)
    signal = ImageSignal(image)
    indices = torch.tensor([0, 8, 62])
    places, targets = signal.batch(indices)
    np.testing.assert_allclose(places.numpy(), [[-8 / 9, -6 / 7], [-6 / 9, -4 / 7], [8 / 9, 6 / 7]], atol=1e-6)
    expected = unit_image(image).reshape(63, channels)[indices.numpy()] * 2 - 1
    assert targets.dtype == torch.float32
    np.testing.assert_allclose(targets.numpy(), expected, atol=1e-6)


def test_the_wanted_values_score_best():
    for channels in (1, 2, 3, 4):
        signal = ImageSignal(picture(channels, np.uint8))
        _, targets = signal.batch(torch.arange(signal.count))
        assert signal.score(signal.partial_score(targets, targets)) > 140, "as far as float32 goes"


def test_colours_of_invisible_pixels_do_not_count():
    image = picture(4, np.uint8)
    image[..., 3] = 0
    other = image.copy()
    other[..., :3] = 255 - other[..., :3]
    assert psnr(image, other) == np.inf
    network = torch.nn.Sequential(torch.nn.Linear(2, 4))
    torch.nn.init.zeros_(network[0].weight)
    network[0].bias.data = torch.tensor([-1.0, -1.0, -1.0, -1.0])
    assert score_of(network, ImageSignal(image)) == np.inf


def test_half_transparent_colours_come_back_straight():
    network = torch.nn.Sequential(torch.nn.Linear(2, 4))
    torch.nn.init.zeros_(network[0].weight)
    # half of full scale red, times alpha of one half
    network[0].bias.data = torch.tensor([0.25, 0.0, 0.0, 0.5]) * 2 - 1
    assert render_image(network, 1, 1).tolist() == [[[128, 0, 0, 128]]]


@pytest.mark.parametrize(
    ("color", "alpha", "shown"),
    [
        (0.6, 1.5, [153, 255]),  # divided by 1, not by 1.5
        (0.5, 1.0, [128, 255]),
        (2**-21, 2**-22, [122, 0]),  # divided by 1e-6, not by 2.4e-7
        (0.0, 0.0, [0, 0]),
        (0.25, 0.0, [255, 0]),
        (0.25, -0.5, [255, 0]),  # divided by 1e-6, not by -0.5
        (-0.25, -0.5, [0, 0]),
    ],
)
def test_alpha_is_clipped_before_colours_are_divided_by_it(color, alpha, shown):
    """As FORMAT.md says: to 1e-6 .. 1; all values here are exact in float32."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    torch.nn.init.zeros_(network[0].weight)
    network[0].bias.data = torch.tensor([color, alpha]) * 2 - 1
    assert render_image(network, 1, 1).tolist() == [[shown]]


def test_partial_scores_add_up():
    signal = ImageSignal(picture(3, np.uint8))
    network = siren(2, 3)

    def partial_score(indices):
        inputs, targets = signal.batch(indices)
        return signal.partial_score(signal.predict(network, inputs), targets)

    whole = partial_score(torch.arange(63))
    parts = partial_score(torch.arange(20)) + partial_score(torch.arange(20, 63))
    torch.testing.assert_close(whole, parts)
    assert whole.dtype == torch.float64


def test_values_that_are_no_numbers_score_minus_infinity():
    signal = ImageSignal(picture(1, np.uint8))
    assert signal.score(signal.partial_score(torch.full((3, 1), torch.nan), torch.zeros(3, 1))) == -np.inf


def test_metadata_is_small():
    assert ImageSignal(picture(3, np.uint8)).meta() == {"image": [9, 7]}
    assert ImageSignal(picture(4, np.uint8)).meta() == {"image": [9, 7]}
    assert ImageSignal(picture(1, np.uint16)).meta() == {"image": [9, 7, 16]}


def test_what_is_no_picture_is_refused():
    with pytest.raises(InputError, match="at least one pixel"):
        coinr.ImageSignal(np.zeros((0, 4), np.uint8))
    with pytest.raises(InputError, match="NaN"):
        coinr.ImageSignal(np.full((2, 2), np.nan))
