import os
import signal as signals
import subprocess
import sys

import numpy as np
import pytest
import torch
from skimage import data

from coinr.errors import InputError
from coinr.fitting import fit, fit_many, training

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
        *((at, {}) for at in (0, 1, 31, 32, 33)),
        (50, {"optimiser": "soap"}),
        (50, {"optimiser": "muon", "network": "wire"}),
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
    [{"steps": 11}, {"seed": 1}, {"learning_rate": 3e-3}, {"batch": 699}, {"optimiser": "soap"}, {"width": 9},
     {"network": "finer"}, {"target": 50.0}, {"precision": "mixed"}, {"time_budget": 9.0}],
)  # fmt: skip
def test_a_checkpoint_of_other_arguments_is_refused(photo, tmp_path, changes):
    settings = SETTINGS | {"steps": 10, "checkpoint": tmp_path / "c", "optimiser": "adam"}
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
