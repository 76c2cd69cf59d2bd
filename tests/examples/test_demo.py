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
from coinr.cli import cli
from coinr.codec import baselines
from coinr.signals.image.files import read_image
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
        "--refine-steps": 5,
        "--out": folder / "out",
    }
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(demo.time_call, "__defaults__", (1e-9,))
        patch.setattr(demo.nncodec, "is_installed", lambda: False)
        demo.main([str(part) for pair in options.items() for part in pair])
    (folder / "out" / "stdout.txt").write_text(printed.getvalue())
    return folder / "out"


def test_the_photo_is_inside_the_installed_wheel():
    shipped = [file for file in importlib.metadata.files("scikit-image") or [] if file.name == demo.PHOTO.name]
    assert [Path(file.locate()).resolve() for file in shipped] == [demo.PHOTO.resolve()]


def test_the_table_tells_what_the_files_hold(out, photo):
    report = json.loads((out / "table.json").read_text())
    rows = {row["file"]: row for row in report["rows"]}
    ours = [f"cup.{suffix}" for suffix in ("refined.coinr", "search.coinr", "coinr", "paper.coinr")]
    others = ("fp32", "fp16", "uniform16", "uniform12", "uniform11", "uniform10", "uniform8")
    assert list(rows) == [*ours, *(f"cup.{method}" for method in others)]
    for name in ours:
        blob = (out / name).read_bytes()
        picture = coinr.open_file(blob)
        assert rows[name]["bytes"] == len(blob)
        assert rows[name]["bits_per_pixel"] == pytest.approx(8 * len(blob) / (80 * 120))
        assert rows[name]["psnr"] == pytest.approx(coinr.psnr(photo, picture.render()), abs=1e-3)
    like = picture.network.state_dict()
    for method in others:
        row = rows[f"cup.{method}"]
        stream = (out / "baselines" / row["file"]).read_bytes()
        network = coinr.Siren.from_state_dict(baselines.decode(stream, method, like))
        assert row["bytes"] == len(stream)
        assert row["psnr"] == pytest.approx(coinr.psnr(photo, coinr.render_image(network, 80, 120)), abs=1e-3)
    assert {row["psnr_fp32"] for row in rows.values()} == {rows["cup.fp32"]["psnr"]}
    assert {"cpu", "torch", "coinr", "date", "torch_threads"} <= set(report["machine"])


def test_what_may_lose_a_tenth_of_a_decibel_loses_no_more(out):
    rows = {row["name"]: row for row in json.loads((out / "table.json").read_text())["rows"]}
    for name in ("coinr, refined", "coinr, search"):
        assert rows[name]["psnr"] >= rows[name]["psnr_fp32"] - demo.LOSS
    assert rows["coinr, search"]["bytes"] < rows["coinr, auto"]["bytes"] < rows["published method"]["bytes"]


def test_the_row_of_nncodec_is_its_smallest_file_that_loses_little(photo, tmp_path, monkeypatch):
    fit = coinr.fit(photo, width=8, hidden_layers=1, steps=100, progress=False)
    exact = demo.nncodec.to_arrays(fit.network.state_dict())
    spoiled = {name: array * 0 for name, array in exact.items()}
    files = [(b"123", exact), (b"1", spoiled), (b"12", exact), (b"1234", exact)]
    made = [demo.nncodec.Coded(blob, arrays, 0.25, 0.125, 0.0, 0.0) for blob, arrays in files]
    monkeypatch.setattr(demo.nncodec, "code", lambda *_: iter(made))
    row = demo.measure_nncodec(tmp_path / "a.nnc", photo, fit)
    assert (row.bytes, row.encode_seconds, row.decode_seconds) == (2, 0.25, 0.125)
    assert (tmp_path / "a.nnc").read_bytes() == b"12"
    assert row.psnr == row.psnr_fp32


def test_a_missing_nncodec_is_said(out):
    assert f"nncodec: {demo.nncodec.INSTALL}" in (out / "stdout.txt").read_text()


def test_three_commands_are_named_that_exist(out):
    printed = re.findall(r"^ *coinr (\w+)", (out / "stdout.txt").read_text(), re.MULTILINE)
    assert printed == ["decode", "encode", "pack"]
    assert all(cli.get_command(None, name) is not None for name in printed)


def test_the_pictures_show_the_decoded_network(out):
    picture = coinr.open_file((out / "cup.coinr").read_bytes())
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
