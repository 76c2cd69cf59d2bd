"""What every test relies on: the same random numbers, poisoned memory, no traces of other tests; files for commands."""

import gc
import itertools
import math
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

# Workers share the cores: a second thread costs more than it gains. Read when NumPy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

# Read when a kernel is defined, so it must stand before anything imports Triton.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

from tests import poison, profiles  # noqa: E402, F401

poison.everywhere()

torch.set_num_threads(1)

# What is imported and collected stays: looking for garbage among it takes a quarter of the time.
gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    # torch.manual_seed formats the stack for each kind of device that is not there: milliseconds a test
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(0)


# Modules, fixtures and tests start with the same random numbers, whatever ran before them.
@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report() -> None:
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    _seed()


# What pytest changes for each test, and PyTorch when it is first asked to compile.
_OTHERS = ("PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR")


def _settings() -> dict[str, object]:
    """Return what a test could leave behind for those after it: environment variables and settings."""
    return {
        **{name: value for name, value in os.environ.items() if name not in _OTHERS},
        "working directory": os.getcwd(),
        "threads of PyTorch": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "NumPy's errors": np.geterr(),
    }


@pytest.fixture(autouse=True)
def _leaves_no_trace() -> Iterator[None]:
    before = _settings()
    yield
    assert _settings() == before


@pytest.fixture(autouse=True)
def _however_slow(_leaves_no_trace: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No progress because the machine is busy; tests of progress have a clock of their own."""
    monkeypatch.setattr("coinr.progress.SILENT", math.inf)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a clock that passes a hundredth of a second whenever it is looked at, and stands still between."""
    looks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(looks) / 100)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that :func:`tests.cli.command.make` fills."""
    from tests.cli.command import make

    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that must be empty, or hold only finished files, after a failure."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
