"""Commands on several files: names, what is refused first, and what goes on where one file fails."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import coinr
from tests.cli.command import fail, run, succeed


def network(seed):
    generator = torch.Generator().manual_seed(seed)
    return {"w": torch.randn(6, 5, generator=generator), "b": torch.full((6,), float(seed))}


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Three model files in the working folder."""
    monkeypatch.chdir(tmp_path)
    torch.save(network(0), "a.pt")
    save_file(network(1), "b.v1.safetensors", metadata={"epoch": "1"})
    torch.save({"model": network(2)}, "c.ckpt")
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_are_packed_verified_and_unpacked_in_folders(models):
    printed = succeed("pack", "a.pt", "b.v1.safetensors", "-o", "out/", "--profile", "lossless")
    assert names(models / "out") == ["a.coinr", "b.v1.coinr", "manifest.jsonl"]
    lines = sorted(printed.splitlines())
    assert [line.split(": ")[0] for line in lines] == ["out/a.coinr", "out/b.v1.coinr"]
    assert f": {(models / 'out' / 'a.coinr').stat().st_size} bytes, " in lines[0]
    assert (models / "out" / "a.coinr").read_bytes() == coinr.encode_state_dict(network(0), profile="lossless")
    assert succeed("verify", "out/a.coinr", "out/b.v1.coinr").splitlines()[1].startswith("out/b.v1.coinr: intact, 2")
    printed = succeed("unpack", "out/a.coinr", "out/b.v1.coinr", "-o", "back")
    assert [line.split(": ")[0] for line in printed.splitlines()] == ["back/a.safetensors", "back/b.v1.safetensors"]
    back = load_file("back/b.v1.safetensors")
    assert all(torch.equal(back[name], tensor) for name, tensor in network(1).items())


def test_without_a_folder_outputs_lie_beside_their_sources(models):
    (models / "deep").mkdir()
    torch.save(network(3), "deep/d.pt")
    succeed("pack", "a.pt", "deep/d.pt", "--profile", "uniform")
    assert (models / "a.coinr").exists()
    assert names(models / "deep") == ["d.coinr", "d.pt"]


def test_one_file_is_as_before(models):
    assert "the output must end in .coinr" in fail(1, "pack", "a.pt", "-o", "out")
    report = json.loads(succeed("pack", "a.pt", "-o", "x.coinr", "--json"))
    assert report["file"] == "x.coinr"
    assert "ok" not in report


def test_outputs_of_one_name_are_refused_before_anything_is_coded(models):
    torch.save(network(1), "b.v1.pt")
    before = names(models)
    words = fail(1, "pack", "a.pt", "b.v1.pt", "b.v1.safetensors")
    assert "b.v1.coinr: b.v1.pt and b.v1.safetensors would both be written there" in words
    fail(1, "pack", "a.pt", "./a.pt")
    (models / "b.v1.coinr").write_text("old")
    assert "b.v1.coinr: exists already" in fail(1, "pack", "a.pt", "b.v1.pt")
    (models / "b.v1.coinr").unlink()
    assert "a.pt: is given twice" in fail(1, "pack", "./a.pt", "b.v1.pt", "a.pt", "-o", "out")
    assert "a.pt: is a file" in fail(1, "pack", "b.v1.pt", "c.ckpt", "-o", "a.pt")
    assert "No such file or directory: no/where" in fail(1, "pack", "b.v1.pt", "c.ckpt", "-o", "no/where")
    assert names(models) == before


def test_others_go_on_where_one_fails(models):
    result = run("pack", "a.pt", "c.ckpt", "b.v1.safetensors", "-o", "out", "--json", "--profile", "uniform")
    assert result.exit_code == 1
    error, count = result.stderr.splitlines()
    assert error.startswith("coinr: error: c.ckpt: it is a checkpoint of several entries")
    assert "--key model" in error
    assert count == "coinr: error: 1 of 3 files failed: see out/failures.jsonl"
    rows = json.loads(result.stdout)
    assert [(row["source"], row["ok"]) for row in rows] == [
        ("a.pt", True),
        ("b.v1.safetensors", True),
        ("c.ckpt", False),
    ]
    assert rows[0]["file"] == "out/a.coinr"
    assert rows[0]["file_bytes"] == (models / "out" / "a.coinr").stat().st_size
    assert rows[2]["error"] == "InputError"
    assert f"coinr: error: {rows[2]['message']}" == error
    assert names(models / "out") == ["a.coinr", "b.v1.coinr", "failures.jsonl", "manifest.jsonl"]

    (models / "out" / "a.coinr").write_bytes(b"\x8fCNR")
    for command in (["verify"], ["unpack", "-o", "back"]):
        result = run(*command, "out/a.coinr", "out/b.v1.coinr", "--json")
        assert result.exit_code == 1
        rows = json.loads(result.stdout)
        assert [row["ok"] for row in rows] == [False, True]
        assert rows[0]["error"] == "TruncatedError"
    assert names(models / "back") == ["b.v1.safetensors"]


def test_of_a_folder_in_which_nothing_was_written_the_failures_are_left(models):
    (models / "empty.pt").touch()
    result = run("pack", "c.ckpt", "empty.pt", "-o", "out")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert names(models / "out") == ["failures.jsonl"]


def test_large_files_are_packed_by_one_process(models, monkeypatch):
    from coinr.cli import many_files

    assert many_files.processes_for([models / "a.pt"], 3) == 3
    monkeypatch.setattr(many_files, "_LARGE", 100)
    assert many_files.processes_for([models / "a.pt"], 3) == 1


@pytest.mark.slow
def test_other_processes_pack_the_same(models):
    sources = []
    for seed in range(6):
        torch.save(network(seed), f"{seed}.pt")
        sources.append(f"{seed}.pt")
    sources.insert(3, "c.ckpt")
    result = run("pack", *sources, "-o", "out", "--jobs", "2", "--base", "a.pt")
    assert result.exit_code == 1
    assert "c.ckpt: it is a checkpoint" in result.stderr
    listed = ["failures.jsonl", "manifest.jsonl"]
    assert names(models / "out") == [*(f"{seed}.coinr" for seed in range(6)), *listed]
    for seed in range(6):
        assert (models / "out" / f"{seed}.coinr").read_bytes() == coinr.encode_state_dict(
            network(seed), base=network(0)
        )
