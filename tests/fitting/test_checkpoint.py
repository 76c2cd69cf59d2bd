import math
import os
import signal as signals
import subprocess
import sys

import numpy as np
import pytest
import torch
from skimage import data

from coinr.errors import InputError
from coinr.fitting import fit, fit_many, optimizers, training
from tests.grids import fast_where

SETTINGS = {"width": 8, "hidden_layers": 1, "batch": 700, "progress": False}


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(data.coffee()[::10, ::10])


def _weights(network):
    return [p.detach().clone() for p in network.parameters()]


def _equal(a, b):
    return all(torch.equal(p, q) for p, q in zip(_weights(a), _weights(b), strict=True))


class _Killed(Exception):
    pass


def _interrupted(photo, path, monkeypatch, at, **settings):
    """A fit that dies in the ``at``-th step."""
    done = 0
    advance = training._Run._advance

    def dying(run, *arguments):
        nonlocal done
        done += 1
        if done > at:
            raise _Killed
        return advance(run, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_advance", dying)
        with pytest.raises(_Killed):
            fit(photo, checkpoint=path, checkpoint_every=0, **settings)


@pytest.mark.parametrize(
    ("at", "changes"),
    [
        # samples are drawn for 32 steps at once
        *fast_where(lambda at, changes: at == 32, [(at, {}) for at in (0, 1, 31, 32, 33)]),
        (50, {"optimizer": "soap"}),
        (50, {"optimizer": "muon", "network": "wire"}),
        (50, {"network": "finer", "precision": "mixed"}),
    ],
)
def test_a_resumed_fit_gives_the_weights_of_an_uninterrupted_one(photo, tmp_path, monkeypatch, changes, at):
    settings = SETTINGS | {"steps": 60} | changes
    whole = fit(photo, **settings)
    _interrupted(photo, tmp_path / "c", monkeypatch, at, **settings)
    resumed = fit(photo, **settings, checkpoint=tmp_path / "c")
    assert _equal(resumed.network, whole.network)
    assert resumed.history == whole.history
    assert resumed.score == whole.score
    assert os.listdir(tmp_path) == ["c"]


def test_many_fits_resume_together(photo, tmp_path, monkeypatch):
    photos = [photo, photo[::2].copy(), photo.swapaxes(0, 1).copy()]
    settings = SETTINGS | {"steps": 40}
    whole = fit_many(photos, **settings)
    advance, calls = training._Run._advance, iter(range(25))
    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_advance", lambda run, *a: (next(calls), advance(run, *a))[1])
        with pytest.raises(StopIteration):
            fit_many(photos, checkpoint=tmp_path / "c", checkpoint_every=0, **settings)
    resumed = fit_many(photos, **settings, checkpoint=tmp_path / "c")
    assert all(_equal(a.network, b.network) for a, b in zip(whole, resumed, strict=True))


# Killed while it writes the checkpoint of step 30, when the last whole one is that of step 29.
SCRIPT = """
import os, signal, sys
import numpy as np
from coinr.fitting import checkpoint, fit

def save(state, stream):
    if state["state"]["step"] < 30:
        return write(state, stream)
    stream.write(b"half a checkpoint")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)

write = checkpoint.torch.save
checkpoint.torch.save = save
photo = np.load(sys.argv[1])
fit(photo, width=8, hidden_layers=1, batch=700, steps=60, checkpoint=sys.argv[2], checkpoint_every=0, threads=1)
"""


@pytest.mark.slow
def test_a_fit_that_was_killed_goes_on(photo, tmp_path):
    path = tmp_path / "c"
    np.save(tmp_path / "photo.npy", photo)
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path / "photo.npy", path], check=False)
    assert done.returncode == -signals.SIGKILL
    done = torch.load(path, weights_only=True)["state"]
    assert done["step"] == 29
    assert not done["finished"]
    settings = SETTINGS | {"steps": 60}
    resumed = fit(photo, **settings, checkpoint=path)
    assert resumed.steps == 60
    assert resumed.seconds > done["seconds"] > 0
    assert _equal(resumed.network, fit(photo, **settings).network)


def test_a_finished_checkpoint_gives_its_result_at_once(photo, tmp_path, monkeypatch):
    settings = SETTINGS | {"steps": 10, "checkpoint": tmp_path / "c"}
    first = fit(photo, **settings)
    assert (tmp_path / "c").exists()
    monkeypatch.setattr(training._Run, "_advance", None)
    again = fit(photo, **settings, threads=1)
    assert _equal(first.network, again.network)
    assert (again.score, again.history, again.steps, again.seconds) == (
        first.score, first.history, first.steps, first.seconds,
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"learning_rate": 3e-3}, {"batch": 699}, {"optimizer": "soap"}, {"width": 9}, {"network": "finer"},
     {"precision": "mixed"}],
)  # fmt: skip
def test_a_checkpoint_of_other_arguments_is_refused(photo, tmp_path, changes):
    settings = SETTINGS | {"steps": 10, "checkpoint": tmp_path / "c", "optimizer": "adam"}
    fit(photo, **settings)
    before = (tmp_path / "c").read_bytes()
    with pytest.raises(InputError, match="another signal, network or other arguments"):
        fit(photo, **settings | changes)
    assert (tmp_path / "c").read_bytes() == before


def test_a_checkpoint_of_another_signal_is_refused(photo, tmp_path):
    settings = SETTINGS | {"steps": 2, "checkpoint": tmp_path / "c"}
    fit(photo, **settings)
    other = photo.copy()
    other[-1, -1, -1] ^= 1
    with pytest.raises(InputError, match="another signal"):
        fit(other, **settings)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_file_that_is_no_checkpoint_is_refused_and_kept(photo, tmp_path, content):
    path = tmp_path / "c"
    if content is None:
        torch.save({"identity": os.system}, path)  # would need unpickling of code
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(InputError, match="no checkpoint that can be read"):
        fit(photo, **SETTINGS | {"steps": 2}, checkpoint=path)
    assert path.read_bytes() == before


def _rates(monkeypatch):
    """The learning rate of every step from now on."""
    rates = []

    class Recording(torch.optim.Adam):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setitem(optimizers.OPTIMIZERS, "adam", Recording)
    return rates


def _cosine(rate, first, steps):
    return [rate * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(first, steps)]


@pytest.mark.parametrize("first", [7, 32, 40])
def test_a_finished_fit_is_extended_by_more_steps(photo, tmp_path, monkeypatch, first):
    settings = SETTINGS | {"optimizer": "adam", "learning_rate": 0.01, "checkpoint": tmp_path / "c"}
    short = fit(photo, **settings, steps=first)
    rates = _rates(monkeypatch)
    more = fit(photo, **settings, steps=60)
    assert rates == pytest.approx(_cosine(0.01, first, 60))
    assert (more.steps, more.history[: len(short.history)]) == (60, short.history)
    assert more.history[-1][0] == 60
    assert more.seconds > short.seconds
    again = fit(photo, **settings, steps=60)
    assert _equal(more.network, again.network)
    assert len(rates) == 60 - first


def test_a_fit_that_chooses_its_rate_by_its_steps_is_extended(photo, tmp_path):
    settings = SETTINGS | {"width": 80, "optimizer": "muon", "checkpoint": tmp_path / "c"}
    fit(photo, **settings, steps=2, time_budget=1e-9)
    assert fit(photo, **settings, steps=10**6, target=-100.0).steps == 0


def test_a_fit_that_ended_by_its_target_or_its_time_is_extended(photo, tmp_path):
    settings = SETTINGS | {"steps": 40, "checkpoint": tmp_path / "c"}
    early = fit(photo, **settings, target=-100.0)
    assert early.steps == 0
    assert fit(photo, **settings, time_budget=1e-9).steps == 0
    assert fit(photo, **settings, time_budget=1000.0, target=1000.0).steps == 40
    assert _equal(fit(photo, **SETTINGS, steps=40).network, fit(photo, **settings).network)


def test_fewer_steps_than_are_done_are_refused(photo, tmp_path):
    settings = SETTINGS | {"checkpoint": tmp_path / "c"}
    fit(photo, **settings, steps=9)
    with pytest.raises(InputError, match="c: 9 steps are done, more than the 8 asked for"):
        fit(photo, **settings, steps=8)


def test_a_checkpoint_that_was_cut_off_is_named(photo, tmp_path):
    path = tmp_path / "fit.checkpoint"
    settings = SETTINGS | {"steps": 2, "checkpoint": path}
    fit(photo, **settings)
    whole = path.read_bytes()
    for size in (1, 4, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"fit\.checkpoint: no checkpoint .*: damaged: the file is truncated"):
            fit(photo, **settings)


def test_a_checkpoint_without_its_parts_is_named(photo, tmp_path):
    path = tmp_path / "c"
    settings = SETTINGS | {"steps": 2, "checkpoint": path}
    fit(photo, **settings)
    whole = torch.load(path, weights_only=True)
    for missing in ("weights", "optimizer", "samplers", "state"):
        torch.save({name: value for name, value in whole.items() if name != missing}, path)
        with pytest.raises(InputError, match="c: the checkpoint is damaged"):
            fit(photo, **settings)


def test_the_learning_rate_decays_as_a_cosine(photo, monkeypatch):
    rates = _rates(monkeypatch)
    fit(photo, **SETTINGS, steps=50, optimizer="adam", learning_rate=0.02)
    assert rates == pytest.approx(_cosine(0.02, 0, 50))


def test_the_learning_rate_follows_the_clock_where_time_ends_first(photo, monkeypatch):
    rates = _rates(monkeypatch)
    # a clock that a step moves by a second, whatever looks at it in between
    monkeypatch.setattr(training.time, "perf_counter", lambda: float(len(rates)))
    fit(photo, **SETTINGS, steps=1000, optimizer="adam", learning_rate=0.02, time_budget=40)
    assert rates == pytest.approx(_cosine(0.02, 0, 40))
