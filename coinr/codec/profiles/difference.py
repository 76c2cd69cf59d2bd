"""Tensors as differences to a reference network, where that takes fewer bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.codec.candidates import Candidate, cost
from coinr.codec.coders import CODERS, DIFFERENCE, DifferenceParams
from coinr.codec.coders.difference import difference_layout, subtract
from coinr.codec.distortion import NO_DISTORTION, Distortion, DistortionLimit, measure
from coinr.codec.options import EncodeOptions
from coinr.codec.profiles.tasks import Task, encode
from coinr.codec.reference import HASH_BYTES, ReferenceNetwork
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import to_bytes, to_planes

# The sum with the reference is rounded, which may exceed the limit: most tries with a finer difference, and the factor.
_TRIES, _FINER = 4, 0.99


def encode_differences(
    tasks: list[Task], absolute: list[Candidate], reference: ReferenceNetwork, settings: EncodeOptions
) -> list[Candidate]:
    """Return for each task the smaller of its candidate and, within the same limit, a difference to the reference.

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
        task = _bounded(task, absolute[row])
        if (same := _same(task, counterpart)) is not None:
            best[row] = min(absolute[row], same, key=cost)
        elif not task.exact and (difference := _difference(task, counterpart)) is not None:
            pending[row] = task, difference
    for row, candidate in _solve_differences(pending, reference, settings).items():
        best[row] = min(best[row], candidate, key=cost)
    saved = sum(cost(before) - cost(after) for before, after in zip(absolute, best, strict=True))
    # a file that shares its table with the reference holds a hash anyway
    return best if saved > (0 if reference.shared else HASH_BYTES) else absolute


def _bounded(task: Task, absolute: Candidate) -> Task:
    """Return the task with a limit: where the profile has a rule of its own, the error of what it made by that."""
    if task.exact or task.limit is not None:
        return task
    error = absolute.distortion.error
    return replace(task, limit=DistortionLimit(error, error))


def _same(task: Task, counterpart: NDArray[Any]) -> Candidate | None:
    """Return the reference's tensor as it is, if it can stand for the task's."""
    if task.exact:
        same = Candidate(DIFFERENCE.id, DifferenceParams(), b"", NO_DISTORTION)
        return same if to_bytes(counterpart) == to_bytes(task.entry.array) else None
    same = Candidate(DIFFERENCE.id, DifferenceParams(), b"", _distortion(counterpart, task))
    return same if same.satisfies(task.limit) else None


def _distortion(array: NDArray[Any], task: Task) -> Distortion:
    """Return the distortion of an array that stands for the task's."""
    with np.errstate(over="ignore", invalid="ignore"):
        difference = to_planes(array, task.entry.dtype) - task.entry.planes
    return measure(difference, task.entry.planes, task.limit)


def _difference(task: Task, counterpart: NDArray[Any]) -> Task | None:
    """Return the task to code the difference to the reference; None where that is not finite.

    Relative errors are those of the sum, which is measured when it is made.
    """
    layout = task.entry.layout
    coded = subtract(task.entry.array, counterpart, layout)
    entry = Entry(task.entry.name, coded, difference_layout(layout).dtype, None)
    limit = None if task.limit is None else replace(task.limit, relative_error=None)
    return replace(task, entry=entry, limit=limit) if entry.finite() else None


def _solve_differences(
    pending: dict[int, tuple[Task, Task]], reference: ReferenceNetwork, settings: EncodeOptions
) -> dict[int, Candidate]:
    """Return differences whose sums with the reference keep their limits, by row; others are made again, finer."""
    done: dict[int, Candidate] = {}
    finer = 1.0
    for _ in range(_TRIES):
        rows = [row for row in pending if row not in done]
        results = encode([_scaled(pending[row][1], finer) for row in rows], settings)
        for row, found in zip(rows, results, strict=True):
            candidate = _restored(found, pending[row][0], reference, settings.seed)
            if candidate.satisfies(pending[row][0].limit):
                done[row] = candidate
        finer *= _FINER
    return done


def _scaled(task: Task, factor: float) -> Task:
    """Return the task with a tighter limit."""
    limit = task.limit
    assert limit is not None
    limit = replace(limit, weighted_error=limit.weighted_error * factor, error=limit.error * factor)
    return replace(task, limit=limit)


def _restored(difference: Candidate, task: Task, reference: ReferenceNetwork, seed: int) -> Candidate:
    """Return the tensor by a coded difference, with the distortion of the sum."""
    layout, params = task.entry.layout, DifferenceParams((CODERS[difference.coder], difference.params))
    base = reference.take(task.entry.name, layout)
    array = DIFFERENCE.restore(memoryview(difference.payload), params, layout, seed, base)
    return Candidate(DIFFERENCE.id, params, difference.payload, _distortion(array, task))
