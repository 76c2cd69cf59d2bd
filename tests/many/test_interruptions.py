"""Runs that are killed, interrupted or out of disk leave what they finished, and nothing else; a new one goes on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coinr.many.run import RunOptions, run
from tests.many.tasks import Copy

ROOT = Path(__file__).parents[2]

# Runs a task on the files of a folder in a process of its own.
PROGRAM = """
import sys
from pathlib import Path
from coinr.many.run import RunOptions, run
from tests.many.tasks import Copy
for result in run(Copy(seconds=0.02), sorted(Path(sys.argv[1]).iterdir()), Path(sys.argv[2]), RunOptions(jobs=2)):
    pass
"""


def make_sources(folder, texts):
    folder.mkdir()
    for k, text in enumerate(texts):
        (folder / f"{k:03d}.txt").write_text(text)
    return sorted(folder.iterdir())


def start(*command, **options):
    return subprocess.Popen(
        [sys.executable, *map(str, command)], env={**os.environ, "PYTHONPATH": str(ROOT)}, **options
    )


def _can_be_interrupted():
    """Undo what a shell does to the commands that it runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def outputs(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file() and path.suffix != ".jsonl"}


def rows(out):
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_killed_at_any_moment_a_run_goes_on_to_the_same_bytes(tmp_path):
    sources = make_sources(tmp_path / "in", [str(k) for k in range(60)])
    assert all(result.ok for result in run(Copy(), sources, tmp_path / "alone", RunOptions(jobs=2)))
    moments = random.Random(0)
    out = tmp_path / "out"
    for _ in range(5):
        process = start("-c", PROGRAM, tmp_path / "in", out)
        while not out.is_dir():
            time.sleep(0.01)
        time.sleep(moments.uniform(0.05, 0.8))
        process.kill()
        process.wait()
        if out.is_dir():
            found = outputs(out)
            assert all(found[name] == (tmp_path / "alone" / name).read_bytes() for name in found)
    assert start("-c", PROGRAM, tmp_path / "in", out).wait() == 0
    assert outputs(out) == outputs(tmp_path / "alone")
    files = [row["file"] for row in rows(out)]
    assert len(files) == len(set(files)) == 60


@pytest.mark.slow
def test_processes_end_with_the_run_that_started_them(tmp_path):
    make_sources(tmp_path / "in", ["hang", "hang"])
    process = start("-c", PROGRAM, tmp_path / "in", tmp_path / "out")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(list((tmp_path / "out").glob(".coinr-parts/*/*"))) < 2:
        time.sleep(0.05)
    pids = children.read_text().split()
    assert len(pids) == 2
    process.kill()
    process.wait()
    end = time.monotonic() + 5
    while any(_lives(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(_lives(pid) for pid in pids)


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_interrupted_a_command_stops_at_once_and_says_what_is_done(tmp_path):
    import torch

    sources = []
    for k in range(3):
        torch.save({"w": torch.randn(8, 8)}, tmp_path / f"{k}.pt")
        sources.append(tmp_path / f"{k}.pt")
    os.mkfifo(tmp_path / "pipe.pt")  # to read it takes for ever
    command = ["-m", "coinr", "pack", *sources, tmp_path / "pipe.pt", "-o", tmp_path / "out", "--jobs", "2", "-q"]
    process = start(*command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=_can_be_interrupted)
    while not (tmp_path / "out" / "2.coinr").exists():
        time.sleep(0.05)
    time.sleep(0.3)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert time.monotonic() - begin < 2
    assert process.returncode == 130
    assert "3 of 4 files are done; the same command goes on with the others" in printed
    assert sorted(os.listdir(tmp_path / "out")) == ["0.coinr", "1.coinr", "2.coinr", "manifest.jsonl"]


@pytest.mark.slow
def test_what_finds_the_disk_full_is_listed_and_the_others_are_made(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        sources = make_sources(tmp_path / "in", ["a", "large", "c", "large", "e"])
        results = {r.source: r for r in run(Copy(), sources, small / "out", RunOptions(jobs=2))}
        assert [results[str(source)].ok for source in sources] == [True, False, True, False, True]
        assert sorted(outputs(small / "out")) == ["000.out", "002.out", "004.out"]
        listed = (small / "out" / "failures.jsonl").read_text()
        assert listed.count("No space left on device") == 2
        assert not (small / "out" / ".coinr-parts").exists()
    finally:
        subprocess.run(["umount", small], check=True)
