"""Marks that need a device, the same random numbers in every test, and files for the command line."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

# Read when a kernel is defined, so it must stand before anything imports Triton.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Workers share the cores; torch's barriers between threads cost more than the second one gains on small tensors.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _however_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No progress because the machine is busy; tests of progress have a clock of their own."""
    monkeypatch.setattr("coinr.progress.SILENT", math.inf)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that :func:`tests.command.make` fills."""
    from tests.command import make

    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that must be empty, or hold only finished files, after a failure."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
