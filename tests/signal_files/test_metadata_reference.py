"""A reader written from FORMAT.md's text shows what coinr shows, for every network and kind of signal."""

import numpy as np
import pytest
import torch

import coinr
from coinr.networks import Nerf, Relu, build_network, network_meta
from coinr.signals.audio.signal import AudioSignal
from coinr.signals.image.signal import ImageSignal
from coinr.signals.scene.signal import SceneSignal
from coinr.signals.shape.signal import ShapeSignal
from tests.small_signals import RATE, ball, disc_views, distance, siren, tones

from . import metadata_reference as reference


def read(blob):
    """Metadata and NumPy tensors of a file."""
    return coinr.read_meta(blob), {name: t.numpy() for name, t in coinr.decode_state_dict(blob).items()}


def packed(network, signal):
    return coinr.pack_signal(network, signal, profile="lossless")


CONFIGS = {
    "siren": [{}, {"omega": 12.5, "first_omega": 40.0}, {"frequencies": 3, "base": 1.4, "lowest": 3.14}],
    "finer": [{"omega": 5.0, "first_bias": 2.0}],
    "gauss": [{"scale": 2.5}, {"frequencies": 2}],
    "wire": [{"omega": 4.0, "scale": 1.5, "first_omega": 7.0}, {"frequencies": 2, "omega": 3.0}],
    "relu": [{}, {"frequencies": 4, "base": 1.7}],
}


@pytest.mark.parametrize(("kind", "options"), [(kind, options) for kind in CONFIGS for options in CONFIGS[kind]])
def test_networks(kind, options):
    sizes = {"in_features": 2, "out_features": 3, "width": 12, "hidden_layers": 2}
    network = build_network(kind, {**sizes, **options}, torch.Generator().manual_seed(3))
    blob = coinr.encode_state_dict(network.state_dict(), meta=network_meta(network), profile="lossless")
    x = torch.rand(50, 2, generator=torch.Generator().manual_seed(4)) * 2 - 1
    mine = reference.values(*read(blob), x.numpy())
    theirs = network(x).detach().numpy()
    assert theirs.std() > 0.01
    # phases of sines are rounded to float32
    assert mine == pytest.approx(theirs, abs=2e-5)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures(channels, dtype):
    image = np.zeros((10, 14) if channels == 1 else (10, 14, channels), dtype)
    network = siren(2, channels)
    blob = packed(network, ImageSignal(image))
    shown = coinr.open_file(blob).render(15, 9).reshape(15, 9, channels)
    assert shown.dtype == dtype
    assert shown.std() > 0
    # where alpha is next to nothing, colors are rounding errors divided by it
    solid = shown[..., -1:] > np.iinfo(dtype).max // 50 if channels in (2, 4) else np.ones_like(shown[..., :1], bool)
    assert solid.mean() > 0.3
    difference = np.abs(reference.picture(*read(blob), 15, 9) - shown)
    assert (difference * solid).max() <= (1 if dtype == np.uint8 else 8)


def test_sounds():
    signal = AudioSignal(np.stack((0.1 * tones(), -0.05 * tones()), axis=1), RATE)
    blob = packed(siren(1, 2), signal)
    assert len(coinr.read_meta(blob)["audio"]) == 3
    shown = coinr.open_file(blob).render(3000)
    assert np.abs(shown).max() < 0.1
    assert reference.sound(*read(blob), 3000) == pytest.approx(shown, abs=2e-6)


@pytest.mark.parametrize("case", ["whole", "box", "placed", "distance"])
def test_shapes(case):
    solid = np.pad(ball(8), ((0, 0), (2, 1), (0, 3)))
    signal = {
        "whole": lambda: ShapeSignal(np.ones((6, 8, 7), bool)),
        "box": lambda: ShapeSignal(solid),
        "placed": lambda: ShapeSignal(solid, (1.0, 2.5, -3.0, 0.125)),
        "distance": lambda: ShapeSignal(3 * distance(8)),
    }[case]()
    blob = packed(siren(3, 1), signal)
    file = coinr.open_file(blob)
    assert len(coinr.read_meta(blob)["shape"]) == {"whole": 3, "box": 9, "placed": 13, "distance": 3}[case]
    shown = file.field(19)
    mine, placement = reference.volume(*read(blob), shown.shape)
    assert mine == pytest.approx(shown, abs=2e-5)
    assert (shown == 0).any() == (case in ("box", "placed"))
    assert placement == pytest.approx(file.placement)


@pytest.mark.parametrize(
    ("samples", "fine", "skip", "shift"),
    [((6, 5), True, None, 0.0), ((6, 1), False, 1, 0.0), ((2, 4), True, 0, 2.0), ((5, 0), False, None, 0.0)],
)
def test_scenes(samples, fine, skip, shift):
    images, poses = disc_views([0, 60, 120, 180, 240, 300])
    poses[:, :3, 3] += shift
    signal = SceneSignal(images, poses, 14.4, 2.0, 6.0, images[:1], poses[:1], samples)
    network = Nerf(3, 16, skip, 3, 1, fine, generator=torch.Generator().manual_seed(5))
    for field in filter(None, (network.coarse, network.fine)):
        torch.nn.init.normal_(field.alpha_linear.weight, 0.5, 1, generator=torch.Generator().manual_seed(6))
    blob = packed(network, signal)
    assert (len(coinr.read_meta(blob)["scene"]) > 9) == (shift > 0)
    colors, depths = coinr.open_file(blob).render([35.0], (5, 9))
    mine, mine_depths = reference.view(*read(blob), 35.0, (5, 9))
    assert colors.std() > 3
    assert depths.std() > 0.01
    assert np.abs(mine - colors[0]).max() <= 1
    assert mine_depths == pytest.approx(depths[0], abs=1e-3)


@pytest.mark.parametrize("lens", [[9], [5, 4.5], [5, 4, 2.8], [7.5, 4.4, 3.3]])
def test_lenses_that_are_not_simple(lens):
    network = Nerf(2, 16, None, 2, 1, False, generator=torch.Generator().manual_seed(5))
    torch.nn.init.normal_(network.coarse.alpha_linear.weight, 0.5, 1, generator=torch.Generator().manual_seed(6))
    meta = {"scene": [6, 8, 5, 1, 5, 4, 0, 3, 25], "lens": lens, **network_meta(network)}
    blob = coinr.encode_state_dict(network.state_dict(), meta=meta, profile="lossless")
    colors, _ = coinr.open_file(blob).render([200.0], (5, 9))
    mine, _ = reference.view(*read(blob), 200.0, (5, 9))
    assert np.abs(mine - colors[0]).max() <= 1
    plain, _ = reference.view({**meta, "lens": []}, read(blob)[1], 200.0, (5, 9))
    assert np.abs(mine - plain).max() > 1


@pytest.mark.parametrize("up", range(6))
def test_orbits_of_every_axis(up):
    network = Nerf(2, 16, None, 2, 1, False, generator=torch.Generator().manual_seed(5))
    torch.nn.init.constant_(network.coarse.alpha_linear.bias, 0.5)
    meta = {"scene": [4, 4, 5, 1, 5, 4, 0, 3, 25, 0.5, -0.25, 0, up], **network_meta(network)}
    blob = coinr.encode_state_dict(network.state_dict(), meta=meta, profile="lossless")
    colors, _ = coinr.open_file(blob).render([200.0])
    assert np.abs(reference.view(*read(blob), 200.0, (4, 4))[0] - colors[0]).max() <= 1


def test_settings_without_brackets_and_left_out():
    network = Relu(2, 1, 8, 1, generator=torch.Generator().manual_seed(0))
    blobs = [
        coinr.encode_state_dict(network.state_dict(), meta={"relu": value}, profile="lossless")
        for value in (10, [], [10, 2], [10, 2, 1])
    ]
    x = torch.rand(5, 2)
    for blob in blobs:
        assert reference.values(*read(blob), x.numpy()) == pytest.approx(network(x).detach().numpy(), abs=1e-5)
        assert coinr.load_network(blob).config == network.config
