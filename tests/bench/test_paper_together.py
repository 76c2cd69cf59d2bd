import csv
import json
import os

import numpy as np
import pytest

from bench.paper import images, occupancy, together
from bench.paper.context import BUDGETS, Context
from bench.paper.experiments import EXPERIMENTS


@pytest.fixture
def context(tmp_path, monkeypatch):
    monkeypatch.setattr(occupancy, "_voxels", lambda context, name: np.ones((64, 64, 64), bool))
    return Context(None, tmp_path / "out", BUDGETS["quick"], tmp_path / "cache")


def note_core(context):
    context.out.mkdir(parents=True, exist_ok=True)
    (context.out / context.experiment).write_text(json.dumps(sorted(os.sched_getaffinity(0))))
    print(f"this is {context.experiment}")


def fail(context):
    raise ValueError(f"{context.experiment} cannot run")


def test_wide_networks_are_begun_first_and_narrow_ones_last(context):
    names = list(together.tasks(context))
    first, last = names.index("ablations, entropy"), names.index("inric")
    assert names[0].startswith("gauss-3x128")
    assert all("x128-" in name for name in names[:first])
    assert all("x32-" in name or "x64-" in name for name in names[last + 1 :])
    # a shape, a sound and two pictures; six (2, 32), and of two pictures (3, 64), (5, 64) and (7, 64)
    assert (first, len(names[last + 1 :])) == (4, 12)


def test_no_experiment_is_forgotten():
    assert {*together.WHOLE, *together.GATHERED, "ablations"} == set(EXPERIMENTS)


def test_networks_that_a_table_holds_are_left_out_unless_asked_for_again(context):
    known = images.recipes(context, "c1")[0].name
    context.out.mkdir()
    (context.out / "c1_rows.json").write_text(json.dumps({"budget": {"name": "quick"}}))
    with (context.out / "c1_rows.csv").open("w") as file:
        csv.writer(file).writerows([["network", "codec"], [known, "auto"]])
    every = together.tasks(Context(None, context.out, context.budget, again=True))
    assert set(every) - set(together.tasks(context)) == {known}


@pytest.mark.slow
def test_tasks_run_on_a_core_each_and_print_into_files(context):
    seconds = together._side_by_side({"one": note_core, "other": note_core}, context, processes=2)
    assert set(seconds) == {"one", "other"}
    for name in seconds:
        assert len(json.loads((context.out / name).read_text())) == 1
    printed = "".join(path.read_text() for path in (context.folder / "log").iterdir())
    assert sorted(printed.splitlines()) == ["this is one", "this is other"]


def test_a_task_that_fails_ends_the_run(context):
    with pytest.raises(ValueError, match="broken cannot run"):
        together._side_by_side({"broken": fail, "good": note_core}, context, processes=1)
