"""Runs by Ray Data, with real processes of Ray on this machine."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coinr.many.run import RunOptions
from coinr.many.run import run as run_here
from tests.many.tasks import Copy

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(Path(__file__).parents[2])}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def go(sources, out, task=None, **options):
    from coinr.many.ray import run

    return {r.source: r for r in run(task or Copy(), sources, str(out), RunOptions(**{"jobs": 2, **options}), None, 0)}


def outputs(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".jsonl"}


def test_others_are_made_where_some_fail_and_a_new_run_goes_on(cluster, tmp_path):
    texts = ["a", "hang", "c", "die", "corrupt", f"die once {tmp_path}/died", f"kill once {tmp_path}/killed"]
    sources = [tmp_path / f"{k}.txt" for k in range(len(texts))]
    for source, text in zip(sources, texts, strict=True):
        source.write_text(text)
    results = go(sources, tmp_path / "out", time_limit=2.0, retries=1)
    assert [results[str(source)].ok for source in sources] == [True, False, True, False, False, True, True]
    listed = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    kinds = {Path(row["path"]).name: row["kind"] for row in listed}
    assert kinds == {"1.txt": "TimeLimitError", "3.txt": "BackendError", "4.txt": "ValueError"}

    for k, text in ((1, "b"), (3, "d"), (4, "e")):
        sources[k].write_text(text)
    (tmp_path / "out" / "0.out").write_text("changed")
    again = go(sources, tmp_path / "out")
    assert [again[str(source)].resumed for source in sources] == [False, False, True, False, False, True, True]
    assert not (tmp_path / "out" / "failures.jsonl").exists()
    assert all(result.ok for result in run_here(Copy(), sources, tmp_path / "here", RunOptions(jobs=1)))
    assert outputs(tmp_path / "out") == outputs(tmp_path / "here")
    assert not any(result.resumed for result in go(sources, tmp_path / "out", Copy("!")).values())


PROGRAM = """
import sys
from pathlib import Path
import ray
from coinr.many.ray import run
from coinr.many.run import RunOptions
from tests.many.tasks import Copy
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
for result in run(Copy(seconds=0.3), sorted(Path(sys.argv[1]).iterdir()), sys.argv[2], RunOptions(jobs=2), None, 0):
    pass
"""


def test_a_driver_that_is_killed_leaves_whole_files_and_another_goes_on(cluster, tmp_path):
    (tmp_path / "in").mkdir()
    for k in range(30):
        (tmp_path / "in" / f"{k:02d}.txt").write_text(str(k))
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "in"), str(out)], start_new_session=True)
    while len(list(out.glob("*.out"))) < 5:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(3)  # for Ray to end the actors
    assert 5 <= len(outputs(out)) < 30
    sources = sorted((tmp_path / "in").iterdir())
    results = go(sources, out)
    assert all(result.ok for result in results.values())
    assert {path.name for path in out.iterdir()} == {f"{k:02d}.out" for k in range(30)} | {"manifest.jsonl"}
    assert all((out / f"{k:02d}.out").read_text() == 2 * str(k) for k in range(30))
    files = [json.loads(line)["file"] for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(files) == len(set(files)) == 30


def test_a_signal_is_encoded_as_without_a_cluster(cluster, tmp_path):
    import numpy as np

    import coinr
    import coinr.many
    import coinr.many.ray

    photo = tmp_path / "photo.png"
    coinr.write_image(photo, np.arange(240, dtype=np.uint8).reshape(8, 10, 3))
    options = {"width": 8, "hidden_layers": 1, "fitting": {"steps": 20}, "profile": "uniform"}
    [there] = coinr.many.ray.encode(
        cluster.data.from_items([{"path": str(photo)}]), f"file://{tmp_path}/there", **options
    )
    [here] = coinr.many.encode([photo], tmp_path / "here", **options)
    assert there.error is here.error is None
    assert (tmp_path / "there" / "photo.coinr").read_bytes() == (tmp_path / "here" / "photo.coinr").read_bytes()
    assert there.row["settings"] == here.row["settings"]
