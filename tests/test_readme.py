"""The Python of README and docs runs, what they name exists, and together they name all that is public."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import coinr
from tests.documents import PAGES, ROOT, fenced, text

ALL = "".join(text(page) for page in PAGES)


def run(page, number, **names):
    block = fenced(page, "python")[number]
    exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture
def photo(tmp_path, monkeypatch):
    rows, columns = np.mgrid[:20, :30]
    pixels = np.stack((12 * rows, 8 * columns, 100 + rows + columns), -1).astype(np.uint8)
    coinr.write_image(tmp_path / "photo.png", pixels)
    monkeypatch.chdir(tmp_path)
    return pixels


@pytest.fixture
def problem():
    """A network and what its loss needs."""
    generator = torch.Generator().manual_seed(0)
    model = coinr.Siren(2, 3, 16, 1, generator=generator)
    x = torch.rand(128, 2, generator=generator) * 2 - 1
    return {"model": model, "x": x, "y": torch.sin(3 * x @ torch.ones(2, 3))}


def test_weights(capsys):
    names = run("README.md", 0, model=coinr.Siren(2, 3, 20, 2))
    assert names["weight"].shape == (20, 20)
    assert "layers.1.weight" in capsys.readouterr().out


def test_state_dicts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run("docs/state_dicts.md", 0, model=coinr.Siren(2, 3, 20, 2))
    assert len(names["blob"]) <= 4000
    assert list(names["same"]) == list(names["decoded"])
    assert Path("model.coinr").stat().st_size > 0
    assert "layers.1.weight" in capsys.readouterr().out


def test_canonical_order(capsys):
    names = run("docs/state_dicts.md", 1)
    assert "ascending" in capsys.readouterr().out
    assert len(names["blob"]) < len(coinr.encode_state_dict(names["network"], output_error_db=-50))


def test_large_state_dicts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("docs/state_dicts.md", 2)
    assert names["weight"].shape == (64, 32)


def test_many_state_dicts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("docs/state_dicts.md", 3)
    assert [batch.shape for batch in names["loader"]] == [(3, 195)]


def test_signals(photo):
    names = run("docs/signals.md", 0)
    assert coinr.psnr(photo, names["picture"].render()) > 30
    assert names["big"].shape == (40, 60, 3)
    assert isinstance(names["network"], coinr.Siren)
    assert 0.98 * 3000 <= len(names["made"].blob) <= 3000
    assert len(names["fits"]) == 2


def test_starts(photo, capsys):
    names = run("docs/starts.md", 0)
    start = names["start"]
    assert capsys.readouterr().out == f"photos {start.hash}\n"
    assert coinr.psnr(photo, names["picture"].render()) > 20
    assert coinr.inspect(names["blob"]).base in (start.hash, None)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "number"), [("README.md", 1), ("docs/search_and_refine.md", 0)])
def test_search_and_refinement(page, number, problem, capsys):
    model = problem["model"]
    before = len(coinr.encode_state_dict(model.state_dict()))
    names = run(page, number, **problem)
    assert len(names["found"].blob) < before
    assert names["found"].score >= names["found"].full_score - 0.1
    assert 0.98 * 700 <= len(names["refined"].blob) <= 700
    decoded = coinr.decode_state_dict(names["refined"].blob)
    assert all(torch.equal(tensor, decoded[name]) for name, tensor in model.state_dict().items())


def test_refinement_without_the_signal(problem):
    names = run("docs/search_and_refine.md", 1, coinr=coinr, **problem)
    assert names["refined"].output_error_db <= -40
    decoded = coinr.decode_state_dict(names["refined"].blob)
    assert all(torch.equal(tensor, decoded[name]) for name, tensor in problem["model"].state_dict().items())


def test_output_error(problem, capsys):
    names = run("docs/state_dicts.md", 4, model=problem["model"], inputs=problem["x"])
    *_, predicted, measured = capsys.readouterr().out.splitlines()
    assert "predicted output error: " in predicted
    decoded = coinr.decode_state_dict(names["blob"])
    assert coinr.measure_output_error(problem["model"], decoded, problem["model"], problem["x"]) <= -50


def test_many(photo, capsys):
    run("docs/many.md", 0)
    size = Path("coded/photo.coinr").stat().st_size
    assert capsys.readouterr().out == f"photo.png True {size} None\n"


def test_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    networks = [coinr.Siren(2, 3, 8, 1).state_dict() for _ in range(8)]
    names = run("docs/sets.md", 0, keys=[f"kodim01/{number}" for number in range(8)], networks=networks)
    assert names["member"].key == "kodim01/7"
    assert {name: tensor.shape for name, tensor in names["sd"].items()} == {
        name: tensor.shape for name, tensor in networks[7].items()
    }


def test_pursuit():
    names = run("docs/api.md", 0, torch=torch)
    assert names["code"].indices.shape == names["code"].values.shape == (10, 8)


def test_every_block_is_run_above():
    blocks = {page: len(fenced(page, "python")) for page in PAGES}
    assert {page: count for page, count in blocks.items() if count} == {
        "README.md": 2,
        "docs/api.md": 1,
        "docs/many.md": 1,
        "docs/search_and_refine.md": 2,
        "docs/sets.md": 1,
        "docs/signals.md": 1,
        "docs/starts.md": 1,
        "docs/state_dicts.md": 5,
    }


def test_every_named_file_exists():
    named = set(re.findall(r"`((?:bench|coinr|tests)/[\w/.]+)`", ALL))
    if not (ROOT / "bench/results").exists():  # in a source distribution
        named = {name for name in named if not name.startswith("bench/results")}
    assert len(named) >= 5
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", coinr.__all__)
def test_every_public_name_is_reported(name):
    assert re.search(rf"\b{name}\b", text("docs/api.md"))


def test_every_name_named_exists():
    named = set(re.findall(r"\bcoinr\.([a-z_A-Z]+)\(", ALL)) | set(re.findall(r"`coinr\.([a-z_A-Z]+)`", ALL))
    assert len(named) >= 10
    assert [name for name in sorted(named) if not hasattr(coinr, name)] == []


def test_every_command_and_option_named_exists():
    from coinr.cli import cli

    for page in PAGES:
        lines = re.findall(r"^coinr ([\w-]+)(.*)", "".join(fenced(page)), re.MULTILINE)
        for command, rest in lines:
            known = {option for p in cli.get_command(None, command).params for option in p.opts}
            assert set(re.findall(r"(?<= )--?[a-z-]+", rest.partition("#")[0])) <= known
    commands = set(re.findall(r"^coinr ([\w-]+)", "".join(fenced("docs/cli.md")), re.MULTILINE))
    assert commands >= {"encode", "learn-start", "decode", "compare", "preview", "pack", "unpack", "info", "verify"}
