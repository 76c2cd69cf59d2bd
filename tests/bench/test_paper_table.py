"""The tables of the paper's experiments: which file counts, ours at the quality of others, means, who loses first."""

import argparse
from dataclasses import replace
from types import SimpleNamespace

import pytest
from matplotlib.axes import Axes

from bench.harness.measure import Row
from bench.paper import codecs, images, table
from bench.paper.__main__ import numbers
from bench.paper.context import BUDGETS, Context


def row(coder, size, loss, setting="", network="net"):
    return Row(network, coder, setting, size, 30 - loss, loss, 1.0, 0.0, 0.0)


def point(name="net", sizes=(3, 64), seed=0):
    return SimpleNamespace(entry=SimpleNamespace(name=name, recipe=SimpleNamespace(sizes=sizes, seed=seed)))


ROWS = [
    row("16-bit + Brotli", 1000, 0.0),
    row("INRIC 7 bit", 300, 1.5),
    row("nncodec", 480, 0.2, "coarse"),
    row("nncodec", 520, 0.09, "good"),
    row("nncodec", 560, 0.05, "fine"),
    row("auto", 600, 0.01),
    row("auto", 400, 0.1),
    row("auto", 250, 2.0),
    row("auto, refined", 380, 0.1),
]


def test_the_smallest_file_that_keeps_the_quality_counts_and_fixed_ones_as_they_are():
    found = table.chosen(ROWS)
    assert found["nncodec"].setting == "good"
    assert found["INRIC 7 bit"].bytes == 300
    assert table.chosen([row("nncodec", 480, 0.2)]) == {}


def test_ours_is_set_beside_every_row_at_that_rows_quality():
    lines = {line["codec"]: line for line in table.lines(point(), ROWS, lambda size: size / 100)}
    assert lines["16-bit + Brotli"]["auto / this"] == pytest.approx(0.6)  # nothing finer was measured
    assert 400 / 520 < lines["nncodec"]["auto / this"] < 600 / 520
    assert 250 / 300 < lines["INRIC 7 bit"]["auto / this"] < 400 / 300
    assert lines["INRIC 7 bit"]["auto, refined / this"] == pytest.approx(380 / 300)
    assert lines["auto"]["auto / this"] is None
    assert lines["auto"]["bpp"] == 4


def test_means_over_pictures_and_losing_rows_first():
    lines = [line for name in ("a", "b") for line in table.lines(point(name), ROWS)]
    found = table.summary(lines)
    assert found[0]["codec"] == "INRIC 7 bit"
    assert "auto, refined" in found[0]["loses"]
    assert not found[-1]["loses"]
    assert {line["networks"] for line in found} == {2}
    by_codec = {line["codec"]: line for line in found}
    assert by_codec["nncodec"]["bytes / 16-bit + Brotli"] == pytest.approx(0.52)
    assert "bytes, sd over seeds" not in by_codec["nncodec"]


def test_overlap_of_shapes_goes_from_the_file_to_the_means():
    rows_of_iou = [replace(row("16-bit + Brotli", 1000, 0.0), extra={"iou": iou}) for iou in (0.9, 0.7)]
    lines = [line for name, one in zip("ab", rows_of_iou, strict=True) for line in table.lines(point(name), [one])]
    assert [line["iou"] for line in lines] == [0.9, 0.7]
    assert table.summary(lines)[0]["iou"] == pytest.approx(0.8)


def test_spread_is_over_seeds_of_a_picture_and_not_over_pictures():
    lines = []
    for name, size in (("a", 100), ("a-seed1", 120), ("b", 1000), ("b-seed1", 1020)):
        lines += table.lines(point(name), [row("COIN, fp16", size, 0.0), row("16-bit + Brotli", size, 0.0)])
    assert table.summary(lines)[0]["bytes, sd over seeds"] == pytest.approx(10)


def test_networks_that_a_table_holds_are_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(Context, "point", lambda self, recipe: recipe)

    def context(**options):
        return Context(None, tmp_path, BUDGETS["quick"], **options)

    recipe = context().siren_recipe("coffee-half", 2, 32)
    held = {"network": recipe.name, "codec": "nncodec", "setting": None, "bytes": 5, "loss_db": 0.25, "code": "old"}
    context().write("t", [held])

    def measure(of):
        return [held | {"network": of.name, "bytes": 6}]

    assert context().lines(["t"], recipe, measure) == [held]
    other = context().siren_recipe("coffee-half", 3, 64)
    for made, asked in ((context(), other), (context(again=True), recipe)):
        (line,) = made.lines(["t"], asked, measure)
        assert (line["bytes"], line["network"]) == (6, asked.name)
        assert line["code"] != "old"
    assert context().known_first(["t"], [other, recipe]) == [recipe, other]
    context().write("u", [held | {"bytes": 7}, held | {"network": other.name}])
    assert context().lines(["t", "u"], recipe, measure) == [held]
    assert context().lines(["t", "u"], other, measure) == [held | {"network": other.name}]
    full = Context(None, tmp_path, BUDGETS["full"])
    assert full.lines(["t"], recipe, measure)[0]["bytes"] == 6


def test_every_codecs_best_files_are_drawn(tmp_path, monkeypatch):
    drawn = {}
    plot = Axes.plot

    def spy(self, x, y, **how):
        drawn[how["label"]] = (list(x), list(y))
        return plot(self, x, y, **how)

    monkeypatch.setattr(Axes, "plot", spy)
    table.draw(tmp_path / "a.png", "net", "PSNR in dB", [*ROWS, row("fp32, trained as long", 9, -1.0)])
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert drawn["auto"] == ([250, 400, 600], [28.0, 29.9, 29.99])
    assert set(drawn) == {"16-bit + Brotli", "INRIC 7 bit", "nncodec", "auto", "auto, refined"}


def test_the_papers_method_is_tried_with_ever_fewer_nonzeros_until_it_loses_too_much(monkeypatch):
    def made(bench, coder, setting, **options):
        loss = 0.0 if "s" not in options else 3 / options["s"] if options["M"] == 1 << 14 else 20 / options["s"]
        return row(coder, 10.0, loss, setting)

    monkeypatch.setattr(codecs, "_ours", made)
    found = [r.setting for r in codecs.paper_rows(point()) if r.coder == codecs.CHOSEN]
    assert found == ["M=2^14 s=31", "M=2^14 s=30", "M=2^14 s=28", "M=2^16 s=31"]


def test_what_not_all_networks_have_makes_no_curve():
    def line(codec, configuration, networks, bpp):
        return {
            "codec": codec,
            "configuration": configuration,
            "networks": networks,
            "bpp": bpp,
            "quality_db": 20 + bpp,
        }

    sizes = ("(2, 32)", "(3, 64)", "(3, 128)")
    means = [line("16-bit + Brotli", one, 2, bpp) for one, bpp in zip(sizes, (4.0, 8.0, 16.0), strict=True)]
    means += [line("some", one, 1, 1.0) for one in sizes]
    rates = images.bd_rates(means)
    assert rates == {"16-bit + Brotli": 0.0, "some": None}


@pytest.mark.parametrize(("text", "found"), [("1-3,19", (1, 2, 3, 19)), ("24", (24,))])
def test_numbers_of_pictures(text, found):
    assert numbers(text) == found


@pytest.mark.parametrize("text", ["", "0", "25", "a", "3-1", "1-"])
def test_other_numbers_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        numbers(text)
