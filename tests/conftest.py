"""Marks that need a device, and the same random numbers in every test."""

import os

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


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)
