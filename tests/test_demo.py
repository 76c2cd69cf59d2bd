import contextlib
import importlib.metadata
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from skimage import data

import coinr
from coinr import baselines
from coinr.signals.image_io import read_image
from examples import demo


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(data.coffee()[::5, ::5])


@pytest.fixture(scope="module")
def out(tmp_path_factory, photo):
    folder = tmp_path_factory.mktemp("demo")
    coinr.write_image(folder / "cup.png", photo)
    options = {
        "--photo": folder / "cup.png",
        "--width": 12,
        "--hidden-layers": 1,
        "--steps": 40,
        "--out": folder / "out",
    }
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(demo.timed, "__defaults__", (1e-9,))
        demo.main([str(part) for pair in options.items() for part in pair])
    (folder / "out" / "stdout.txt").write_text(said.getvalue())
    return folder / "out"


def test_the_photo_is_inside_the_installed_wheel():
    shipped = [file for file in importlib.metadata.files("scikit-image") or [] if file.name == demo.PHOTO.name]
    assert [Path(file.locate()).resolve() for file in shipped] == [demo.PHOTO.resolve()]


def test_the_table_tells_what_the_files_hold(out, photo):
    report = json.loads((out / "table.json").read_text())
    blob = (out / "cup.coinr").read_bytes()
    ours, *others = report["rows"]
    picture = coinr.open_image(blob)
    assert ours["bytes"] == len(blob)
    assert ours["bits_per_pixel"] == pytest.approx(8 * len(blob) / (80 * 120))
    assert ours["psnr"] == pytest.approx(coinr.psnr(photo, picture.render()), abs=1e-3)
    like = picture.network.state_dict()
    assert [row["file"] for row in others] == [
        f"cup.{method}" for method in ("fp32", "fp16", "uniform16", "uniform12", "uniform10", "uniform8")
    ]
    for row in others:
        stream = (out / "baselines" / row["file"]).read_bytes()
        network = coinr.Siren.from_state_dict(baselines.decode(stream, row["file"].split(".")[1], like))
        assert row["bytes"] == len(stream)
        assert row["psnr"] == pytest.approx(coinr.psnr(photo, coinr.render_image(network, 80, 120)), abs=1e-3)
    assert others[0]["psnr"] == others[0]["psnr_fp32"] == ours["psnr_fp32"]
    assert {"cpu", "torch", "coinr", "date", "torch_threads"} <= set(report["machine"])


def test_the_pictures_show_the_decoded_network(out):
    picture = coinr.open_image((out / "cup.coinr").read_bytes())
    assert np.abs(read_image(out / "decoded.png").astype(int) - picture.render()).max() <= 1
    double = read_image(out / "decoded_2x.png")
    assert np.abs(double.astype(int) - picture.render(160, 240)).max() <= 1
    sheet = read_image(out / "comparison.png")
    assert sheet.shape[0] > 160
    assert sheet.shape[1] > 240


def test_the_table_is_printed(out):
    text = (out / "stdout.txt").read_text()
    for row in json.loads((out / "table.json").read_text())["rows"]:
        assert re.search(rf"^ *{re.escape(row['name'])} +{row['bytes']} ", text, re.MULTILINE), row["name"]
