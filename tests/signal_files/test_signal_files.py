import json

import numpy as np
import pytest
import torch

import coinr
from coinr.cli.compare import _text
from coinr.errors import FormatError, InputError
from coinr.networks import Gauss, network_meta
from coinr.signal_files.api import load_network, open_file, pack_signal
from coinr.signals.audio.rendering import render_audio
from coinr.signals.audio.signal import AudioSignal
from coinr.signals.image.rendering import render_image
from coinr.signals.image.signal import ImageSignal
from coinr.signals.metrics import iou, psnr, snr
from coinr.signals.scene.signal import render_views
from coinr.signals.shape.signal import ShapeSignal
from coinr.signals.sheets import contact_sheet
from tests.grids import fast_where
from tests.small_signals import RATE, ball, disc_scene, distance, nerf, siren, tones

SOUND = np.stack((0.1 * tones(), -0.05 * tones()), axis=1)


def gauss():
    return Gauss(3, 1, 16, 1, generator=torch.Generator().manual_seed(1))


#: Each kind of signal, with a network that shows something of its form, and the metadata expected.
CASES = {
    "grey": (lambda: ImageSignal(np.random.default_rng(0).random((20, 30))), lambda: siren(2, 1), {"image": [20, 30]}),
    "wide alpha": (
        lambda: ImageSignal(np.random.default_rng(0).integers(0, 2**16, (12, 14, 4), dtype=np.uint16)),
        lambda: siren(2, 4),
        {"image": [12, 14, 16]},
    ),
    "sound": (lambda: AudioSignal(SOUND, RATE), lambda: siren(1, 2), {"audio": [2000, RATE, 4]}),
    "occupancy": (lambda: ShapeSignal(ball()), gauss, {"shape": [24, 24, 24, 5, 5, 5, 14, 14, 14]}),
    "distance": (lambda: ShapeSignal(distance(16)), lambda: siren(3, 1), {"shape": [16, 16, 16], "sdf": 1.0238}),
    "placed": (
        lambda: ShapeSignal(ball(), (1.0, 2.5, -3.0, 0.125)),
        gauss,
        {"shape": [24, 24, 24, 5, 5, 5, 14, 14, 14, 1, 2.5, -3, 0.125]},
    ),
    "scene": (disc_scene, nerf, {"scene": [12, 12, 14.4, 2, 6, 8, 8, 4, 30]}),
}


@pytest.mark.parametrize("case", CASES)
def test_files_hold_all_that_is_needed_in_few_bytes(case, tmp_path):
    make, network, meta = CASES[case]
    signal, network = make(), network()
    blob = pack_signal(network, signal, profile="lossless")
    assert coinr.read_meta(blob) == meta | network_meta(network)
    (tmp_path / "a.coinr").write_bytes(blob)
    for source in (blob, tmp_path / "a.coinr", str(tmp_path / "a.coinr")):
        rebuilt = load_network(source)
        assert type(rebuilt) is type(network)
        assert rebuilt.config == network.config
        assert all(torch.equal(a, b) for a, b in zip(rebuilt.parameters(), network.parameters(), strict=True))
    file = open_file(blob)
    assert file.kind == signal.kind
    assert file.describe().startswith(signal.kind)


@pytest.mark.parametrize("case", fast_where(lambda case: case not in ("distance", "placed"), CASES))
def test_metrics_and_pictures_of_every_kind(case):
    make, network, _ = CASES[case]
    signal = make()
    blob = pack_signal(network(), signal, profile="lossless")
    file = open_file(blob)
    restored = file.restore(signal)
    metrics = file.metrics(signal, restored)
    json.dumps(metrics, allow_nan=True)
    assert signal.metric.lower() in metrics
    for given in (None, signal):
        panels, columns = file.panels(file.restore(given), given)
        sheet = contact_sheet(panels, columns)
        assert sheet.dtype == np.uint8
        assert len({caption for caption, _ in panels}) == len(panels)
        assert sheet.std() > 0


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (32, 32), (1, 300)])
def test_sheets_of_small_pictures_are_large_enough_to_see(size):
    signal = ImageSignal(np.zeros((*size, 3), np.uint8))
    file = open_file(pack_signal(siren(2, 3), signal, profile="lossless"))
    for given in (None, signal):
        panels, _ = file.panels(file.restore(given), given)
        assert all(256 <= max(image.shape[:2]) < 512 for _, image in panels)
    part, finer = (image for _, image in file.panels(file.restore())[0][1:])
    assert part.shape == finer.shape


def test_a_picture_is_restored_and_measured():
    make, _, _ = CASES["wide alpha"]
    signal, network = make(), siren(2, 4)
    file = open_file(pack_signal(network, signal, profile="lossless"))
    shown = render_image(network, 12, 14, bits=16)
    assert np.array_equal(file.restore(signal), shown)
    assert file.metrics(signal, shown)["psnr"] == psnr(signal.image, shown)
    assert file.metrics(signal, shown)["ms_ssim"] is None
    assert file.rates(21) == {"bits_per_pixel": 1.0}


def test_a_sound_is_restored_and_measured():
    make, network, _ = CASES["sound"]
    signal, network = make(), network()
    file = open_file(pack_signal(network, signal, profile="lossless"))
    shown = render_audio(network, 2000, 4)
    assert np.array_equal(file.restore(signal), shown)
    assert file.metrics(signal, shown) == {"snr": snr(SOUND, shown)}
    assert file.render(4000).shape == (1000, 2)
    assert file.render(1).shape == (1, 2)
    assert file.rates(1000) == {"kbit_per_second": pytest.approx(32)}
    with pytest.raises(InputError, match="rate"):
        file.render(0)


def test_a_shape_is_restored_and_measured():
    make, network, _ = CASES["placed"]
    signal = make()
    file = open_file(pack_signal(network(), signal, profile="lossless"))
    field = signal.volume.astype(np.float32)
    metrics = file.metrics(signal, field)
    assert metrics["iou"] == 1
    assert metrics["chamfer"] < 0.02
    assert file.metrics(signal, 0 * field) == {"iou": 0.0, "chamfer": None}
    assert _text("chamfer", None) == "not defined: a shape without a surface"
    assert _text("ssim", None) == "not defined for this size"
    occupied = file.render()
    assert (occupied.dtype, occupied.shape) == (np.bool_, (24, 24, 24))
    assert iou(occupied, file.restore(signal) > 0.5) == 1
    assert file.render(12).shape == (12, 12, 12)
    with pytest.raises(InputError, match="at least 1"):
        file.render(0)


def test_meshes_lie_where_the_original_did():
    class Full(Gauss):
        def forward(self, x):
            return torch.ones(len(x), 1)

    signal = ShapeSignal(ball(), (1.0, 2.5, -3.0, 0.125))
    file = open_file(pack_signal(gauss(), signal))
    object.__setattr__(file, "network", Full(3, 1, 2, 0))
    for longest in (24, 48):
        mesh = file.mesh(longest)
        corner = np.array([1.0, 2.5, -3.0]) + 5 * 0.125
        np.testing.assert_allclose(mesh.bounds, [corner, corner + 14 * 0.125], atol=0.13 * 24 / longest)
        assert mesh.is_watertight


def test_distances_come_back_in_their_units():
    signal = ShapeSignal(3 * distance(16))
    network = siren(3, 1)
    file = open_file(pack_signal(network, signal, profile="lossless"))
    field = file.render()
    assert field.dtype == np.float32
    with torch.no_grad():
        first = network(torch.full((1, 3), -15 / 16))
    assert field[0, 0, 0] == pytest.approx(first.item() * signal.scale, rel=1e-5)
    metrics = file.metrics(signal, signal.volume)
    assert (metrics["iou"], metrics["chamfer"] < 0.02) == (1, True)


def test_a_scene_is_measured_on_views_held_back():
    scene, network = disc_scene(), nerf()
    file = open_file(pack_signal(network, scene, profile="lossless"))
    restored = file.restore(scene)
    pictures, depths = render_views(network, list(scene.eval_split.poses), scene.lens)
    assert np.array_equal(restored[0], pictures)
    metrics = file.metrics(scene, restored)
    assert metrics["psnr_by_view"] == [psnr(a, b) for a, b in zip(scene.eval_split.images, pictures, strict=True)]
    assert metrics["psnr"] == pytest.approx(np.mean(metrics["psnr_by_view"]))
    shown, far = file.render([0, 90], (6, 8))
    assert (shown.shape, far.shape) == ((2, 6, 8, 3), (2, 6, 8))
    stored = file.quantize_depths(np.array([[[2.0, 4.0, 6.0, 9.0]]], np.float32))
    assert stored.tolist() == [[[0, 32768, 65535, 65535]]]
    assert file.color_depths(depths).shape == (2, 12, 12, 3)
    for azimuths, size in (([], None), ([0], (0, 4)), ([0], (4, 2**15))):
        with pytest.raises(InputError, match="one view or more"):
            file.render(azimuths, size)


def test_an_original_that_is_another_is_refused():
    file = open_file(pack_signal(siren(2, 1), ImageSignal(np.zeros((4, 4)))))
    for other, message in [
        (AudioSignal(tones(), RATE), "the original is of kind audio"),
        (ImageSignal(np.zeros((4, 5))), "image of 4 x 4 pixels in 1 channels, the original has 4 x 5"),
        (ImageSignal(np.zeros((4, 4, 3))), "in 3 channels"),
    ]:
        with pytest.raises(InputError, match=message):
            file.restore(other)
    file = open_file(pack_signal(siren(1, 1), AudioSignal(tones(), RATE)))
    with pytest.raises(InputError, match="2000 samples at 8000 Hz"):
        file.restore(AudioSignal(tones(), RATE + 1))
    file = open_file(pack_signal(gauss(), ShapeSignal(ball())))
    with pytest.raises(InputError, match="voxels of signed distance"):
        file.restore(ShapeSignal(distance()))


def test_networks_that_do_not_show_the_signal_are_refused():
    image = ImageSignal(np.zeros((4, 4)))
    for network, message in [
        (siren(3, 1), "2 inputs and 1 or 2 or 3 or 4 outputs, not 3 and 1"),
        (siren(2, 5), "not 2 and 5"),
        (nerf(), "not shown by a Nerf"),
        (torch.nn.Linear(2, 1), "Linear"),
    ]:
        with pytest.raises(InputError, match=message):
            pack_signal(network, image)
    with pytest.raises(InputError, match="not shown by a Siren"):
        pack_signal(siren(6, 3), disc_scene())
    for size in ([0, 4], [4, 2**31], [4.0, 4]):
        with pytest.raises(FormatError, match="image metadata"):
            coinr.ImageFile.from_meta(siren(2, 3), {"image": size})


def test_weights_and_other_signals_are_distinguished():
    blob = coinr.encode_state_dict(siren(2, 3).state_dict())
    with pytest.raises(InputError, match="weights and no signal"):
        open_file(blob)
    with pytest.raises(InputError, match="names no network"):
        load_network(blob)
    assert isinstance(open_file(pack_signal(siren(1, 1), AudioSignal(tones(), RATE))), coinr.AudioFile)
    both = coinr.encode_state_dict(siren(2, 3).state_dict(), meta={"siren": 30, "image": [4, 4], "audio": [3, 4]})
    with pytest.raises(FormatError, match="several signals"):
        open_file(both)


@pytest.mark.parametrize(
    ("make", "meta"),
    [
        (lambda: siren(2, 3), {"image": value})
        for value in (
            [4],
            [4, 4, 4, 4],
            [0, 4],
            [4, 2**31],
            [4, 4.0],
            [4, True],
            [4, "4"],
            [4, 4, 8],
            4,
            None,
            {},
            [[]],
        )
    ]
    + [(lambda: siren(1, 1), {"audio": value}) for value in ([4], [0, 8], [4, 8, 129], [4, 8, 0.5], [4, 0])]
    + [
        (gauss, {"shape": value})
        for value in (
            [4, 4],
            [4, 4, 0],
            [4, 4, 4, 0, 0, 0, 4, 4, 5],
            [4, 4, 4, -1, 0, 0, 4, 4, 4],
            [4, 4, 4, 0, 0, 0, 0],
            [4, 4, 4, 0, 0, 1e31, 1],
            [4, 4, 4, 0],
        )
    ]
    + [(gauss, {"shape": [4, 4, 4], "sdf": value}) for value in (0, -1, "1", None, 1e31)]
    + [
        (nerf, {"scene": value})
        for value in (
            [4, 4, 5, 2, 6, 8, 8, 4],
            [0, 4, 5, 2, 6, 8, 8, 4, 30],
            [4, 4, 0, 2, 6, 8, 8, 4, 30],
            [4, 4, 5, 6, 2, 8, 8, 4, 30],
            [4, 4, 5, 2, 6, 1, 8, 4, 30],
            [4, 4, 5, 2, 6, 8, 5000, 4, 30],
            [4, 4, 5, 2, 6, 8, 8, 4, 30, 0, 0, 0, 6],
            [4, 4, 5, 2, 6, 8, 8, 4, 30, 0, 0, 0, 2, 1],
        )
    ]
    + [(lambda: siren(2, 5), {"image": [4, 4]}), (lambda: siren(6, 3), {"scene": [4, 4, 5, 2, 6, 8, 8, 4, 30]})],
)
def test_metadata_that_describes_nothing_is_refused(make, meta):
    network = make()
    blob = coinr.encode_state_dict(network.state_dict(), meta=meta | network_meta(network), profile="lossless")
    with pytest.raises(FormatError):
        open_file(blob)


def test_pictures_of_earlier_files_open():
    network = siren(2, 3)
    blob = coinr.encode_state_dict(network.state_dict(), meta={"image": [6, 8], "siren": 30}, profile="lossless")
    assert blob == pack_signal(network, ImageSignal(np.zeros((6, 8), np.uint8)), profile="lossless")
    assert np.array_equal(open_file(blob).render(), render_image(network, 6, 8))


def test_huge_sizes_in_metadata_cost_nothing_until_they_are_rendered():
    network = siren(1, 1)
    meta = {"audio": [2**31 - 1, 1]} | network_meta(network)
    file = open_file(coinr.encode_state_dict(network.state_dict(), meta=meta))
    with pytest.raises(InputError, match="samples"):
        file.render()


def test_a_picture_is_packed_by_its_size_and_opened_as_a_picture():
    network = siren(2, 3)
    blob = coinr.pack_image(network, 6, 8, profile="lossless")
    assert blob == pack_signal(network, ImageSignal(np.zeros((6, 8), np.uint8)), profile="lossless")
    assert np.array_equal(coinr.open_image(blob).render(), render_image(network, 6, 8))
    for size in ((0, 4), (4, 2**31)):
        with pytest.raises(InputError, match="image metadata"):
            coinr.pack_image(network, *size)
    with pytest.raises(InputError, match="height must be an integer"):
        coinr.pack_image(network, 4.0, 4)
    with pytest.raises(InputError, match="weights and no signal"):
        coinr.open_image(coinr.encode_state_dict(network.state_dict()))
    with pytest.raises(InputError, match="kind audio and no image"):
        coinr.open_image(pack_signal(siren(1, 1), AudioSignal(tones(), RATE)))


def test_meshes_cameras_and_weights_have_short_names():
    from coinr.files import read_state_dict_file, write_state_dict_file
    from coinr.signals.cameras import Orbit
    from coinr.signals.meshes import surface, write_mesh

    assert all(map(callable, (read_state_dict_file, write_state_dict_file, Orbit, surface, write_mesh)))
