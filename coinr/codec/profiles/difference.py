"""Tensors as differences to a network that the receiver has, where that takes fewer bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from coinr.codec.candidates import Allowance, Coded, Settings, cost, error_of
from coinr.codec.coders import CODERS, DIFFERENCE, DifferenceParams
from coinr.codec.coders.difference import subtract
from coinr.codec.profiles.tasks import Task, encode
from coinr.codec.reference import HASH_BYTES, ReferenceNetwork
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import to_bytes, to_planes

# How often a difference that ends too far off, for the sum is rounded again, is made anew, and how much finer.
_TRIES, _FINER = 4, 0.99

_SAME = Coded(DIFFERENCE.id, DifferenceParams(), b"")


def encode_differences(
    tasks: list[Task], absolute: list[Coded], reference: ReferenceNetwork, profile: str, settings: Settings
) -> list[Coded]:
    """For each task the smaller of its coded form and, at equal allowed error, a difference to the reference.

    Parameters
    ----------
    absolute
        What :func:`coinr.codec.profiles.tasks.encode` made of the tasks.
    """
    best = list(absolute)
    pending: dict[int, tuple[Task, Task]] = {}
    for row, task in enumerate(tasks):
        counterpart = reference.find(task.entry.name, task.entry.layout)
        if counterpart is None:
            continue
        task = _bounded(task, absolute[row], settings.seed)
        if _equal(task, counterpart):
            best[row] = min(absolute[row], _SAME, key=cost)
        elif not task.exact and (difference := _difference(task, counterpart)) is not None:
            pending[row] = task, difference
    for row, coded in _solve_differences(pending, reference, profile, settings).items():
        best[row] = min(best[row], coded, key=cost)
    saved = sum(cost(before) - cost(after) for before, after in zip(absolute, best, strict=True))
    return best if saved > HASH_BYTES else absolute


def _bounded(task: Task, absolute: Coded, seed: int) -> Task:
    """The task with an allowance: where the profile has its own rule, the error of what it made by that."""
    if task.exact or task.allowance is not None:
        return task
    error = error_of(absolute, task.entry, seed)
    return replace(task, allowance=Allowance(error, error))


def _equal(task: Task, counterpart: torch.Tensor) -> bool:
    """Whether the reference's tensor can stand for the task's."""
    if task.exact:
        return to_bytes(counterpart) == to_bytes(task.entry.tensor)
    return _admitted(counterpart, task)


def _admitted(tensor: torch.Tensor, task: Task) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        difference = to_planes(tensor) - task.entry.planes
    if task.allowance is None or not np.isfinite(difference).all():
        return False
    return task.allowance.admits(difference, task.entry.planes)


def _difference(task: Task, counterpart: torch.Tensor) -> Task | None:
    """The task to code the difference to the reference; None where that is not finite.

    Relative errors of the sum are looked at when it is made.
    """
    entry = Entry(task.entry.name, subtract(task.entry.tensor, counterpart), None)
    allowance = None if task.allowance is None else replace(task.allowance, relative=None)
    return replace(task, entry=entry, allowance=allowance) if entry.finite() else None


def _solve_differences(
    pending: dict[int, tuple[Task, Task]], reference: ReferenceNetwork, profile: str, settings: Settings
) -> dict[int, Coded]:
    """Differences whose sums with the reference are allowed, by row; those that are not are made again, finer."""
    done: dict[int, Coded] = {}
    finer = 1.0
    for _ in range(_TRIES):
        rows = [row for row in pending if row not in done]
        results = encode([_scaled(pending[row][1], finer) for row in rows], profile, settings)
        for row, coded in zip(rows, results, strict=True):
            difference = Coded(DIFFERENCE.id, DifferenceParams((CODERS[coded.coder], coded.params)), coded.payload)
            if _admitted(_restored(difference, pending[row][0], reference, settings.seed), pending[row][0]):
                done[row] = difference
        finer *= _FINER
    return done


def _scaled(task: Task, factor: float) -> Task:
    """The task with a tighter allowance."""
    allowance = task.allowance
    assert allowance is not None
    return replace(task, allowance=replace(allowance, error=allowance.error * factor, limit=allowance.limit * factor))


def _restored(coded: Coded, task: Task, reference: ReferenceNetwork, seed: int) -> torch.Tensor:
    """What a difference decodes to."""
    layout = task.entry.layout
    assert isinstance(coded.params, DifferenceParams)
    return DIFFERENCE.restore(
        memoryview(coded.payload), coded.params, layout, seed, reference.take(task.entry.name, layout)
    )
