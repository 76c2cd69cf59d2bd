"""Runs on many sources: what is made, made again, kept and listed, whatever goes wrong in some."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import coinr
import coinr.many
from coinr.errors import BackendError, InputError
from coinr.many import folder as folders
from coinr.many.folder import OutputFolder
from coinr.many.manifest import append, rows_in
from coinr.many.pool import TimeLimitError, may_pass
from coinr.many.run import RunOptions, run
from tests.many.tasks import Copy


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Five small files in the working folder."""
    monkeypatch.chdir(tmp_path)
    return write(*"abcde")


def write(*texts):
    paths = [Path(f"{k}.txt") for k in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


def go(sources, task=None, out="out", **options):
    return {r.source: r for r in run(task or Copy(), sources, Path(out), RunOptions(**{"jobs": 2, **options}))}


def rows(name, out="out"):
    with open(f"{out}/{name}.jsonl", "rb") as file:
        return [json.loads(line) for line in file]


def outputs(out="out"):
    return {path.name: path.read_text() for path in sorted(Path(out).iterdir()) if path.suffix != ".jsonl"}


def test_outputs_and_their_rows(sources):
    results = go(sources)
    assert outputs() == {f"{k}.out": 2 * text for k, text in enumerate("abcde")}
    assert sorted(os.listdir("out"))[-1] == "manifest.jsonl"
    for row in rows("manifest"):
        assert row == results[row["source"]].row
        assert list(row) == ["source", "file", "seconds", "bytes", "score", "metric", "source_hash", "hash", "settings"]
        assert row["bytes"] == 2
    assert len(rows("manifest")) == 5


def test_what_is_there_is_kept_unless_source_output_or_settings_differ(sources):
    go(sources)
    assert all(result.resumed for result in go(sources).values())
    sources[0].write_text("new")
    os.truncate("out/1.out", 1)
    os.remove("out/2.out")
    again = go(sources)
    assert [again[str(source)].resumed for source in sources] == [False, False, False, True, True]
    assert outputs() == {f"{k}.out": 2 * text for k, text in enumerate(["new", *"bcde"])}
    assert not any(result.resumed for result in go(sources, Copy("!")).values())
    assert outputs()["0.out"] == "newnew!"
    assert not any(result.resumed for result in go(sources, Copy("!"), resume=False).values())
    assert all(result.resumed for result in go(sources, Copy("!")).values())


def test_items_that_fail_do_not_stop_the_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = write("a", "hang", "die", "corrupt", "e", f"die once {tmp_path}/died", "g")
    results = go(sources, time_limit=1.0, retries=1)
    assert [results[str(source)].ok for source in sources] == [True, False, False, False, True, True, True]
    assert sorted(outputs()) == ["0.out", "4.out", "5.out", "6.out"]
    listed = {row["path"]: row for row in rows("failures")}
    assert {path: row["kind"] for path, row in listed.items()} == {
        "1.txt": "TimeLimitError",
        "2.txt": "BackendError",
        "3.txt": "ValueError",
    }
    assert listed["1.txt"]["error"] == "took longer than the limit of 1 s"
    assert listed["1.txt"]["seconds"] >= 1
    assert "exit code -9" in listed["2.txt"]["error"]
    assert "no such content" in listed["3.txt"]["error"]
    sources = write("a", "b", "c", "d", "e", f"die once {tmp_path}/died", "g")
    assert sum(result.resumed for result in go(sources).values()) == 4
    assert not os.path.exists("out/failures.jsonl")


def test_only_what_may_pass_is_tried_again():
    assert may_pass(OSError(28, "full"))
    assert may_pass(MemoryError())
    assert may_pass(TimeLimitError("late"))
    assert may_pass(BackendError("died"))
    assert not may_pass(InputError("never"))
    assert not may_pass(FileNotFoundError("gone"))


def test_shards_make_each_item_once_under_the_names_of_the_whole(sources):
    os.mkdir("x")
    os.mkdir("y")
    both = [Path("x/0.txt"), Path("y/0.txt")]
    for path in both:
        path.write_text(str(path))
    made = [set(go(both + sources[1:], shard=(k, 3))) for k in (1, 2, 3)]
    assert [len(one) for one in made] == [2, 2, 2]
    assert set.union(*made) == {str(path) for path in both + sources[1:]}
    assert sorted(os.listdir("out")) == [
        *["1.out", "2.out", "3.out", "4.out"],
        *["manifest-1-of-3.jsonl", "manifest-2-of-3.jsonl", "manifest-3-of-3.jsonl"],
        *["x", "y"],
    ]
    assert all(result.resumed for result in go(both + sources[1:]).values())


def test_one_and_two_processes_make_equal_files(sources):
    go(sources, jobs=1, out="one")
    go(sources, out="two")
    assert outputs("one") == outputs("two")


def test_a_run_that_is_closed_leaves_finished_outputs_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = run(Copy(), write("a", "hang", "c"), Path("out"), RunOptions(jobs=2))
    done = [next(results).file for _ in range(2)]
    results.close()
    assert sorted(done) == ["0.out", "2.out"]
    assert sorted(os.listdir("out")) == ["0.out", "2.out", "manifest.jsonl"]


def test_a_file_that_no_run_made_stays(sources):
    os.mkdir("out")
    Path("out/1.out").write_text("mine")
    results = go(sources)
    assert "exists already" in str(results["1.txt"].error)
    assert outputs()["1.out"] == "mine"
    assert [row["path"] for row in rows("failures")] == ["1.txt"]


def test_two_runs_at_once_in_one_folder_are_refused(sources, tmp_path):
    with (
        OutputFolder(tmp_path / "out", None),
        pytest.raises(InputError, match="another run writes there"),
        OutputFolder(tmp_path / "out", None),
    ):
        pass
    with OutputFolder(tmp_path / "out", (1, 2)), OutputFolder(tmp_path / "out", (2, 2)):
        pass
    assert not (tmp_path / "out").exists()


def test_an_output_whose_row_cannot_be_written_is_not_left(sources, monkeypatch):
    def full(path, row):
        if path.name == "manifest.jsonl" and row["file"] == "1.out":
            raise OSError(28, "No space left on device")
        append(path, row)

    monkeypatch.setattr(folders, "append", full)
    assert not go(sources)["1.txt"].ok
    assert sorted(outputs()) == ["0.out", "2.out", "3.out", "4.out"]
    assert [row["error"] for row in rows("failures")] == ["No space left on device"]
    monkeypatch.undo()


def test_an_earlier_output_stays_where_the_row_of_a_new_one_cannot_be_written(sources, monkeypatch):
    go(sources)

    def full(path, row):
        if path.name == "manifest.jsonl":
            raise OSError(28, "No space left on device")
        append(path, row)

    before = outputs()
    monkeypatch.setattr(folders, "append", full)
    assert not any(result.ok for result in go(sources, Copy("!")).values())
    assert outputs() == before
    monkeypatch.setattr(folders, "append", append)
    assert all(result.resumed for result in go(sources).values())


def test_half_a_line_of_a_manifest_is_no_row(tmp_path):
    file = tmp_path / "manifest.jsonl"
    file.write_bytes(b'{"file": "a"}\n{"file": "b", "by')
    append(file, {"file": "c"})
    with file.open("rb") as lines:
        assert [row["file"] for row in rows_in(lines)] == ["a", "c"]
    with pytest.raises(OSError, match="No space"):
        append(Path("/dev/full"), {"file": "d"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"jobs": 0}, "jobs must be at least 1, got 0"),
        ({"time_limit": 0.0}, "time_limit must be above 0"),
        ({"retries": -1}, "retries must be 0 or more"),
        ({"shard": (3, 2)}, "shard must be"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        RunOptions(**options)


def test_sources_given_twice_are_refused(sources):
    with pytest.raises(InputError, match=r"0\.txt: is given twice"):
        go([*sources, Path("./0.txt")])
    with pytest.raises(InputError, match="got none"):
        go([])


def test_settings_that_a_manifest_cannot_hold_are_refused_at_once(sources):
    with pytest.raises(InputError, match="plain values"):
        run(Copy(note=len), sources, Path("out"), RunOptions())
    assert not os.path.exists("out")


@pytest.mark.slow
def test_signals_and_models_are_made_as_by_single_calls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.arange(240, dtype=np.uint8).reshape(8, 10, 3)
    coinr.write_image("photo.png", pixels)
    chosen = {"width": 8, "hidden_layers": 1}
    options = {"fitting": {"steps": 20}, "profile": "uniform", "jobs": 1}
    [made] = coinr.many.encode(["photo.png"], "coded", **chosen, **options)
    fitted = coinr.fit(coinr.open_signal("photo.png"), **chosen, steps=20).network
    blob = coinr.pack_signal(fitted, coinr.open_signal("photo.png"), profile="uniform")
    assert Path("coded/photo.coinr").read_bytes() == blob
    assert made.row["score"] == pytest.approx(coinr.psnr(pixels, coinr.open_image(blob).render()), abs=1e-3)
    torch.save(fitted.state_dict(), "model.pt")
    [made] = coinr.many.pack(["model.pt"], "coded", tolerance=0.1)
    assert Path("coded/model.coinr").read_bytes() == coinr.encode_state_dict(fitted.state_dict(), tolerance=0.1)
    assert [row["file"] for row in rows("manifest", "coded")] == ["photo.coinr", "model.coinr"]
    with pytest.raises(InputError, match="start decides the network"):
        coinr.many.encode(["photo.png"], "coded", width=8, start="x.start.coinr")
