"""From a fitted network to a file of a size or a score, judged on the signal itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from coinr.codec.api import decode_state_dict
from coinr.codec.encoder import Encoder
from coinr.codec.profiles.tasks import uses_calibration
from coinr.errors import CoinrError, InputError
from coinr.optimize.compress.evaluate import Judge, Loss
from coinr.optimize.compress.polish import ABOVE, nearer
from coinr.optimize.compress.targets import Budget
from coinr.optimize.refine import refine
from coinr.optimize.search.run import search
from coinr.progress import show_progress
from coinr.runtime.work_limit import WorkLimit
from coinr.sensitivity.calibration import SensitivityInfo
from coinr.sensitivity.gauss_newton import accumulate_gauss_newton
from coinr.sensitivity.input_stats import InputStatsRecorder
from coinr.signals.signal import Signal

# Points of a network that one judgement of a search looks at; all are looked at once a file is found.
_POINTS = 1 << 20

# What is aimed at above the wanted score where a part of the samples was looked at, and searches that try.
_AIM, _SEARCHES = 0.02, 4


@dataclass(frozen=True)
class Refinement:
    """Steps, samples of a step, the optimizer, and whether to be thorough."""

    steps: int
    batch: int
    optimizer: str
    thorough: bool


@dataclass(frozen=True)
class Coded:
    """A file, the score of what it decodes to over the whole signal, and how often a state dict was judged."""

    blob: bytes
    score: float
    calls: int


def searched(network: nn.Module, signal: Signal, budget: Budget, limit: WorkLimit, codec: Mapping[str, Any]) -> Coded:
    """The best file of a size, or the smallest that keeps a score, of a network as it is.

    Raises
    ------
    InputError
        If the budget is out of reach.
    CoinrError
        If files that keep the score by a part of the samples never keep it by all.
    """
    sd, whole, some = network.state_dict(), Judge(network, signal), Judge(network, signal, _POINTS)
    sensitivity = _measure_sensitivity(sd, some, limit, codec)
    wanted = budget.score
    if wanted is not None and not some.whole:
        wanted += some(sd) - whole(sd)
    best: Coded | None = None
    calls = searches = 0
    while searches < _SEARCHES:
        searches += 1
        wishes: dict[str, Any] = {"min_score": wanted, "target_bytes": budget.size, "calibrate": sensitivity}
        found = search(sd, some, seconds=limit.seconds(), **wishes, **codec)
        calls += found.calls
        blob, score = found.blob, found.score
        if wanted is not None and score > wanted + ABOVE:
            with show_progress("polish"):
                encoder = Encoder(sd, **codec)
                encoder.sensitivity = sensitivity or SensitivityInfo()
                blob, score = nearer(sd, some, found, wanted, encoder, limit)
        if not some.whole:
            score = whole(decode_state_dict(blob))
        if budget.score is None or wanted is None or some.whole:
            return Coded(blob, score, calls)
        if score >= budget.score and (best is None or len(blob) < len(best.blob)):
            best = Coded(blob, score, calls)
        if budget.score <= score <= budget.score + ABOVE:
            break
        if limit.out_of_time():
            break
        wanted += budget.score + _AIM - score
    if best is None:
        raise CoinrError(f"no file kept the score {budget.score} in {searches} search{'es' * (searches != 1)}")
    return best


def _measure_sensitivity(
    sd: Mapping[str, Any], judge: Judge, limit: WorkLimit, codec: Mapping[str, Any]
) -> SensitivityInfo | None:
    """Measure what a search would from its metric; return None where the profile does not use it."""
    if not uses_calibration(codec.get("profile", "auto")):
        return None
    inputs = InputStatsRecorder(sd)
    with inputs:
        judge(sd)
    hessian, _ = accumulate_gauss_newton(sd, judge, inputs, limit=limit.part(0.5))
    return SensitivityInfo(inputs.sensitivities(), hessian)


def refined(
    network: nn.Module,
    signal: Signal,
    budget: Budget,
    refinement: Refinement,
    limit: WorkLimit,
    codec: Mapping[str, Any],
) -> Coded:
    """The best file of a size, or the smallest that keeps a score, of a network that is trained on for its code.

    Raises
    ------
    InputError
        If the budget is out of reach, or there is no time left.
    """
    if limit.out_of_time():
        raise InputError("not tried, as the time is over")
    whole = Judge(network, signal)
    calls = 0

    def judge(state_dict: Mapping[str, Any]) -> float:
        nonlocal calls
        calls += 1
        return whole(state_dict)

    found = refine(
        network.state_dict(),
        Loss(network, signal, refinement.batch, codec["seed"]).of,
        min_score=budget.score,
        target_bytes=budget.size,
        evaluate=judge,
        steps=refinement.steps,
        optimizer=refinement.optimizer,
        seconds=limit.seconds(),
        thorough=refinement.thorough,
        **codec,
    )
    assert found.score is not None
    return Coded(found.blob, found.score, calls)
