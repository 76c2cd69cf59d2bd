"""The tables of README, docs and RESULTS hold the numbers of the files that they name."""

import csv
import json
from collections import defaultdict

import numpy as np
import pytest

from tests.documents import ROOT, rows, text

RESULTS = ROOT / "bench" / "results"

pytestmark = pytest.mark.skipif(not RESULTS.exists(), reason="a source distribution carries no results")


def read(name):
    with (RESULTS / name).open(newline="") as file:
        return list(csv.DictReader(file))


def spaced(number):
    """Return a number as tables have it: rounded, 12 345."""
    return f"{round(float(number)):,}".replace(",", " ")


def plain(cell):
    return cell.replace("*", "")


def by_codec(name):
    """Lines of one of the paper's tables by codec and configuration."""
    found = defaultdict(dict)
    for line in read(f"paper/{name}.csv"):
        found[line["codec"]][line["configuration"]] = line
    return found


def test_rate_in_the_readme():
    codecs = {
        "coinr, refined": "auto, refined",
        "coinr, `search`": "search",
        "coinr, `auto`": "auto",
        "nncodec 2.1.3 (ISO NNC)": "nncodec",
        "b-bit + Brotli, best b": "b-bit + Brotli",
        "published method, profile `paper`": "CoINR paper, rule",
        "16-bit + Brotli": "16-bit + Brotli",
        "fp16": "COIN, fp16",
    }
    lines = by_codec("c1")
    shown = rows("README.md", "rate")
    assert [plain(row[0]) for row in shown] == list(codecs)
    for row, codec in zip(shown, codecs.values(), strict=True):
        found = [lines[codec][sizes] for sizes in ("(2, 32)", "(3, 64)", "(3, 128)")]
        loss = max(float(line["loss_db"]) for line in found)
        assert row[1:] == [*(spaced(line["bytes"]) for line in found), f"{loss:.3f} dB"]
        assert loss <= 0.1


def test_ranges_over_ten_networks_in_the_readme():
    lines = [line for line in read("rate/summary.csv") if line["loss_db"] == "0.1"]
    assert len(lines) == 10
    for coder in ("auto", "search"):
        ratios = sorted(float(line[f"{coder} / nncodec"]) for line in lines)
        assert f"{ratios[0]:.2f} to {ratios[-1]:.2f}" in text("README.md")


def test_the_published_rule():
    codecs = {
        "`paper`": "ours, rule 1",
        '`paper`, `rule="published"`': "published, s of rule 1",
        "the same, first layer lossless": "published, first layer lossless",
        "as published, with the largest s": "published, largest s",
        "16-bit + Brotli": "16-bit + Brotli",
    }
    found = defaultdict(list)
    for line in read("paper/published.csv"):
        found[line["codec"], line["configuration"]].append((float(line["bytes"]), float(line["loss_db"])))
    shown = rows("docs/method.md", "published")
    assert [row[0] for row in shown] == list(codecs)
    for row, codec in zip(shown, codecs.values(), strict=True):
        means = [np.mean(found[codec, sizes], axis=0) for sizes in ("(2, 32)", "(3, 64)", "(3, 128)")]
        assert row[1:] == [f"{spaced(size)} B, {loss:.2f} dB" for size, loss in means]
    saved = [
        1 - largest[0] / plain[0]
        for sizes in ("(2, 32)", "(3, 64)", "(3, 128)")
        for largest, plain in zip(found["published, largest s", sizes], found["16-bit + Brotli", sizes], strict=True)
    ]
    assert f"at most {100 * max(saved):.1f} %" in text("docs/method.md")


def test_speed_in_the_readme():
    decoded = {line["name"]: line for line in read("decode_speed.csv")}
    encoded = {
        line["coder"]: float(line["encode_seconds"])
        for line in read("encode_speed.csv")
        if line["network"] == "SIREN (3, 128)"
    }
    searches = {(line["network"], line["value"]): line for line in read("rate/search.csv")}
    shapes = [("64", "65536", "192", "20"), ("128", "65536", "384", "48")]
    pursuits = defaultdict(dict)
    for line in read("omp_peers.csv"):
        if line["seconds"]:
            pursuits[line["n"], line["M"], line["B"], line["s"]][line["name"]] = float(line["seconds"])
    ours = [pursuits[shape]["coinr hadamard"] for shape in shapes]
    peers = [min(time for name, time in pursuits[shape].items() if "coinr" not in name) for shape in shapes]
    rate, peer = (
        float(decoded[f"{name} 1048576 at 4 bits"]["weights_per_second"]) / 1e6 for name in ("direct", "constriction")
    )
    assert [row[1:] for row in rows("README.md", "speed")] == [
        [f"{1000 * float(decoded['auto (3,64)']['seconds']):.1f} ms", "–"],
        [f"{rate:.1f} M weights/s", f"constriction: {peer:.1f} M weights/s"],
        [f"{encoded['default']:.3f} s", f"nncodec: {encoded['nncodec']:.3f} s"],
        [f"{float(searches['siren-3x64-kodim03', '31.1383']['own_cpu_seconds']):.1f} s", "–"],
        *([f"{one:.3f} s", f"PyTorch: {other:.2f} s"] for one, other in zip(ours, peers, strict=True)),
    ]


@pytest.mark.parametrize("page", ["README.md", "docs/signals.md"])
def test_signals(page):
    lines = {line["signal"]: line for line in read("signals.csv")}
    names = {
        "README.md": ("kodim03", "bach", "lucy_128", "bunny", "lego_100"),
        "docs/signals.md": ("kodim03", "kodim19", "bach", "lucy_128", "bunny_128", "bunny", "lego_100"),
    }[page]
    for row, name in zip(rows(page, "signals"), names, strict=True):
        line = lines[name]
        score = float(line["score"])
        assert row[2].startswith(spaced(line["bytes"]))
        assert row[3].startswith(f"IoU {score:.4f}" if score < 1 else f"{score:.2f} dB")
        assert row[4] == f"{float(line['encode_command_cpu_seconds']):.0f} s"


def test_refinement():
    lines = json.loads((RESULTS / "refine.json").read_text())["summary"]
    keys = ("auto", "search", "direct, refined", "sparse, refined")
    for row, line in zip(rows("docs/search_and_refine.md", "refine"), lines, strict=True):
        ratios = [line[f"{key} / nncodec"] for key in keys]
        assert row == [
            line["image"],
            spaced(line["nncodec bytes"]),
            *(f"{ratio:.3f}" if ratio else "–" for ratio in ratios),
        ]


def test_refinement_without_the_signal():
    found = {(line["network"], line["goal"], line["way"]): line["bytes"] for line in read("rate/distill.csv")}
    ways = ("search", "distilled", "distilled, thorough", "refined with the signal")
    table = rows("docs/search_and_refine.md", "distill")
    assert {(row[0], row[1].replace("−", "-")) for row in table} == {key[:2] for key in found}
    for network, goal, *sizes in table:
        known = [found.get((network, goal.replace("−", "-"), way)) for way in ways]
        assert sizes == [spaced(size) if size else "–" for size in known]


def test_symmetries():
    for row, line in zip(rows("RESULTS.md", "symmetries"), read("rate/symmetries.csv"), strict=True):
        assert row == [
            line["network"],
            line["effort"],
            *(spaced(line[f"{part}, {order}"]) for part in ("bytes", "biases") for order in ("trained", "canonical")),
            f"{float(line['saved, percent']):.1f} %",
            f"{float(line['in theory, percent']):.1f} %",
            f"{float(line['seconds, canonical']) / float(line['seconds, trained']):.2f}",
        ]


def test_costs_of_refinements():
    lines = json.loads((RESULTS / "refine_cost.json").read_text())["refinements"]
    for row, line in zip(rows("docs/search_and_refine.md", "refine_cost"), lines, strict=True):
        assert ("thorough" in row[0]) == line["thorough"]
        assert row[1:] == [
            str(line["steps"]),
            spaced(line["bytes"]),
            f"{line['own_steps']:.0f}",
            f"{line['memory_mib']:.0f} MiB",
        ]


def test_optimizers():
    found = defaultdict(list)
    for line in read("optimizers.csv"):
        if line["learning_rate"] == "0.002" and line["finish"] == "0.0":
            found[line["size"], line["optimizer"]].append(float(line["psnr"]))
    for row, size in zip(rows("docs/signals.md", "optimizers"), ("2x32", "3x64", "3x128"), strict=True):
        means = [sum(found[size, name]) / len(found[size, name]) for name in ("adam", "muon")]
        assert [float(cell.removesuffix(" dB")) for cell in row[2:]] == pytest.approx(means, abs=0.0051)


def test_recipe():
    found = {(line["picture"], line["method"], line["steps"]): line for line in read("fit_recipe.csv")}
    columns = (("before", "8000"), ("default", "3000"), ("budget", "8000"))
    shown = rows("docs/signals.md", "recipe")
    assert {row[0] for row in shown} == {line["picture"] for line in read("fit_recipe.csv")}
    for name, *cells in shown:
        for cell, column in zip(cells, columns, strict=True):
            line = found[(name, *column)]
            seconds = f"{float(line['cpu_seconds']):.0f} s"
            assert cell == f"{float(line['psnr_coded']):.2f} dB, {spaced(line['bytes'])} bytes, {seconds}"


def test_learning_rates():
    found = {
        (line["picture"], line["learning_rate"]): line
        for line in read("fit_choices.csv")
        if (line["size"], line["first_omega"]) == ("5x56", "45.0")
    }
    shown = rows("docs/signals.md", "rates")
    assert {row[0] for row in shown} == {picture for picture, _ in found}
    for name, *cells in shown:
        lines = [found[name, rate] for rate in ("0.001", "0.0007")]
        assert cells == [f"{float(line['psnr']):.2f} dB, {spaced(line['bytes'])} bytes" for line in lines]


def test_first_frequencies():
    found = {
        (line["picture"], line["size"], line["steps"], line["first_omega"]): line
        for line in read("fit_choices.csv")
        if (line["learning_rate"], line["last_layer"]) == ("0.001", "adam")
    }
    shown = rows("docs/signals.md", "frequencies")
    assert len(shown) == sum((*key[:3], "45.0") in found for key in found if key[3] == "30.0") > 0
    for name, size, steps, *cells in shown:
        key = name, size.strip("()").replace(", ", "x"), steps
        lines = [found[(*key, omega)] for omega in ("30.0", "45.0")]
        assert cells == [f"{float(line['psnr']):.2f} dB, {spaced(line['bytes'])} bytes" for line in lines]


def test_ten_networks():
    lines = {line["network"]: line for line in read("rate/summary.csv") if line["loss_db"] == "0.1"}
    shown = rows("docs/performance.md", "summary")
    assert {row[0] for row in shown} == set(lines)
    for name, *cells in shown:
        line, theirs = lines[name], float(lines[name]["nncodec bytes"])
        others = line["b-bit + Brotli bytes"]
        assert cells == [
            spaced(theirs),
            *(f"{float(line[f'{ours} / nncodec']):.2f}" for ours in ("auto fast", "auto", "auto best", "search")),
            f"{float(others) / theirs:.2f}" if others else "–",
        ]


def test_lossless():
    lines = {line["name"]: line for line in read("rate/lossless.csv")}
    for name, size, *ratios in rows("docs/performance.md", "lossless"):
        line = lines[name]
        assert size == spaced(line["raw"])
        assert ratios == [f"{float(line[key]):.3f}" for key in ("coinr / raw", "coinr / brotli_best")]


def test_goals_of_compress():
    found = defaultdict(list)
    for line in read("budget.csv"):
        if line["refine"] == "False" and line["steps"] == "1000":
            found[f"`{line['budget']}={float(line['wanted']):g}`"].append(line)
    shown = rows("docs/search_and_refine.md", "budget")
    assert [row[0] for row in shown] == list(found)
    for goal, count, off, fits, time in shown:
        distances, seconds = ([float(line[key]) for line in found[goal]] for key in ("off", "cpu_seconds"))
        ends = [min(distances), max(distances)]
        said = (
            "{:.1f} to {:.1f} %".format(*(100 * end for end in ends))
            if "%" in off
            else "{:+.3f} to {:+.3f} dB".format(*ends)
        )
        assert off == said.replace("-", "−")
        assert [count, fits] == [str(len(found[goal])), str(max(int(line["fits"]) for line in found[goal]))]
        assert time == f"{min(seconds):.0f} to {max(seconds):.0f} s"


def test_whole_pictures():
    stored = text("bench/results/kodak.md").split("## Mean PSNR")[1].split("##")[0].strip().splitlines()[2:]
    assert [" | ".join(row) for row in rows("docs/performance.md", "kodak")] == [line.strip("| ") for line in stored]


def test_pursuits():
    lines = defaultdict(dict)
    for line in read("omp_peers.csv"):
        lines[", ".join(line[key] for key in "nMBs")][line["name"]] = line
    shown = rows("docs/performance.md", "pursuit")
    assert [row[0] for row in shown] == list(lines)
    for shape, peer, seconds, *times in shown:
        timed = {name: float(line["seconds"]) for name, line in lines[shape].items() if line["seconds"]}
        others = {name: time for name, time in timed.items() if "coinr" not in name}
        assert others[peer] == min(others.values()) == pytest.approx(float(seconds), rel=0.006)
        ours = [float(lines[shape][f"coinr {kind}"]["times_fastest_peer"]) for kind in ("gaussian", "hadamard")]
        assert times == [f"{one:.1f} ×" for one in ours]


def test_decoding():
    lines = {line["name"]: line for line in read("decode_speed.csv")}
    for name, weights, bits, seconds, rate in rows("docs/performance.md", "decoding"):
        count = weights.replace(" ", "")
        line = lines.get(name) or lines[name.replace(" at ", f" {count} at ")]
        assert count == line["weights"]
        assert [bits, seconds] == [f"{float(line['bits']):.2f}", f"{float(line['seconds']):.4f}"]
        assert rate == f"{float(line['weights_per_second']) / 1e6:.1f}"


def test_memory_of_fits():
    found = json.loads((RESULTS / "fit_memory.json").read_text())
    assert found["size"] == [3000, 4000]
    sizes = ("picture_bytes", "signal_bytes", "fit_bytes", "coordinates_bytes")
    assert rows("docs/performance.md", "fit memory") == [
        [kind, *(f"{one[size] / 1e6:.1f}" for size in sizes)] for kind, one in found["kinds"].items()
    ]


def test_large_state_dicts():
    found = json.loads((RESULTS / "big.json").read_text())
    assert found["parameters"] > 1e8
    for row, step in zip(rows("docs/performance.md", "big"), ("encode", "decode", "one"), strict=True):
        one = found[step]
        seconds = f"{one['cpu_s']:.4f}" if step == "one" else f"{one['cpu_s']:.1f}"
        rate = f"{one['weights_per_cpu_second'] / 1e6:.1f}" if step != "one" else "–"
        assert row[1:] == [seconds, rate, f"{one['anonymous_over_largest']:.2f}"]
        assert one["anonymous_over_largest"] <= 2


def test_encoding():
    lines = read("encode_speed.csv")
    assert rows("docs/performance.md", "encoding") == [
        [
            line["network"],
            spaced(line["parameters"]),
            line["coder"],
            f"{float(line['encode_seconds']):.4f}",
            f"{float(line['decode_seconds']):.4f}",
            spaced(line["bytes"]),
            f"{float(line['error']):.5f}",
        ]
        for line in lines
    ]
    by = {(line["network"], line["coder"]): line for line in lines}
    for network, *cells in rows("RESULTS.md", "efforts"):
        fast, default, best = (by[network, effort] for effort in ("fast", "default", "best"))
        times = [float(line[f"{way}_ratio"]) for line in (fast, default) for way in ("encode", "decode")]
        sizes = [float(line["bytes"]) / float(best["bytes"]) for line in (fast, default)]
        assert cells == [*(f"{ratio:.2f}" for ratio in times), *(f"{ratio:.4f}" for ratio in sizes)]


def test_dictionaries():
    keys = (
        "sparse / paper M=2^14",
        "search, sparse / paper M=2^14",
        "sparse / direct",
        "search, sparse / search, direct",
    )
    for row, line in zip(rows("docs/performance.md", "sparse"), read("rate/sparse_ratio.csv"), strict=True):
        assert row[1:] == [f"{float(line[key]):.2f}" for key in keys]


def test_the_demo():
    lines = json.loads((RESULTS / "demo.json").read_text())["rows"]
    for row, line in zip(rows("docs/method.md", "demo"), lines, strict=True):
        loss = round(line["psnr_fp32"] - line["psnr"], 3) + 0.0
        assert row[1:] == [
            spaced(line["bytes"]),
            f"{line['bits_per_pixel']:.3f}",
            f"{line['psnr']:.2f}",
            f"{loss:.3f}",
        ]


CODECS = {
    "COIN, fp16": "COIN, fp16",
    "COIN, fp32 + Brotli": "COIN, fp32 + Brotli",
    '16-bit + Brotli ("INRIC" in the paper)': "16-bit + Brotli",
    "16-bit + Brotli": "16-bit + Brotli",
    "CoINR `paper`, by its rule": "CoINR paper, rule",
    "b-bit + Brotli": "b-bit + Brotli",
    "nncodec": "nncodec",
    "INRIC, 8 bit, as published": "INRIC 8 bit",
    "`sparse`": "sparse",
    "`auto`": "auto",
    "`coinr.search`": "search",
    "`auto`, refined": "auto, refined",
}


@pytest.mark.parametrize(
    ("name", "configurations"),
    [("c1", ("(2, 32)", "(3, 64)", "(3, 128)")), ("c2", ("(3, 64)", "(5, 64)", "(7, 64)"))],
)
def test_pictures_of_the_paper(name, configurations):
    lines = by_codec(name)
    for label, *cells in rows("RESULTS.md", name):
        for sizes, size, loss in zip(configurations, cells[::2], cells[1::2], strict=True):
            line = lines[CODECS[label]][sizes]
            assert size.partition(" ±")[0] == spaced(line["bytes"])
            assert loss.removesuffix(" dB") == f"{float(line['loss_db']):.3f}"


def test_occupancy_and_audio_of_the_paper():
    lines = {(line["network"], line["codec"]): line for line in read("paper/occupancy_rows.csv")}
    for label, *cells in rows("RESULTS.md", "occupancy"):
        for name, (size, loss, iou) in (("lucy", cells[:3]), ("bunny", cells[3:])):
            line = lines[f"gauss-3x128-{name}_128", CODECS[label]]
            assert [size, iou] == [spaced(line["bytes"]), f"{float(line['iou']):.4f}"]
            shown = float(loss.removesuffix(" dB").replace("−", "-"))
            assert shown == pytest.approx(float(line["loss_db"]), abs=0.00051)
    sounds = {line["codec"]: line for line in read("paper/audio.csv")}
    for label, size, quality in rows("RESULTS.md", "audio"):
        line = sounds[CODECS[label]]
        assert size == spaced(line["bytes"])
        assert quality.removesuffix(" dB") == f"{float(line['quality_db']):.2f}"


def test_s_by_width_of_the_paper():
    lines = [line for line in read("paper/sparsity_fit.csv") if line["mode"] == "standard"]
    for row, line in zip(rows("RESULTS.md", "sparsity"), lines, strict=True):
        slope, intercept = float(line["slope"]), -float(line["intercept"])
        assert row[1:] == [f"{slope:.3f} n − {intercept:.1f}", f"{float(line['r2']):.3f}"]


def test_speed_of_fitting():
    names = ("ours_ms", "torch_ms", "torch_ratio", "autograd_ms", "step_ms", "torch_step_ms", "peak_share")
    assert rows("docs/performance.md", "fitting") == [
        [f"({line['hidden_layers']}, {line['width']})", *(f"{float(line[name]):.2f}" for name in names)]
        for line in read("fit_speed.csv")
        if line["threads"] == "1"
    ]


def test_speed_of_commands():
    lines = json.loads((RESULTS / "latency.json").read_text())["commands"]
    found = [(name.replace("`", ""), *seconds) for name, *seconds in rows("docs/performance.md", "commands")]
    assert found == [(line["command"], f"{line['seconds']:.2f}", f"{line['seconds_before']:.2f}") for line in lines]
