"""Encoding a fitted network to a size or a score, which is measured on the signal itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from coinr.codec.api import decode_state_dict
from coinr.codec.canonical import in_order
from coinr.codec.encoder import Encoder
from coinr.codec.options import EncodeOptions
from coinr.codec.profiles.tasks import uses_calibration
from coinr.errors import CoinrError, InputError
from coinr.optimize.compress.evaluate import BatchLoss, Evaluator
from coinr.optimize.compress.polish import ABOVE, polish
from coinr.optimize.compress.targets import Budget
from coinr.optimize.refine import refine
from coinr.optimize.search.run import search
from coinr.progress import show_progress
from coinr.runtime.work_limit import WorkLimit
from coinr.sensitivity.calibration import SensitivityInfo
from coinr.sensitivity.gauss_newton import accumulate_gauss_newton
from coinr.sensitivity.input_stats import InputStatsRecorder
from coinr.signals.signal import Signal

# Points of the signal that a search evaluates a file on; the file that it finds is evaluated on all of them.
_POINTS = 1 << 20

# Where a search evaluates on a part: what the next one aims at above the target score, and how many there are at most.
_AIM, _SEARCHES = 0.02, 4


@dataclass(frozen=True)
class RefinementSettings:
    """How a refinement trains: arguments of :func:`coinr.refine`, and the samples of a batch of its loss."""

    steps: int
    batch: int
    optimizer: str
    thorough: bool


@dataclass(frozen=True)
class EncodedNetwork:
    """A file, its score over the whole signal, and how many state dicts were evaluated for it."""

    blob: bytes
    score: float
    calls: int


def encode_by_search(
    network: nn.Module, signal: Signal, budget: Budget, limit: WorkLimit, codec: Mapping[str, Any]
) -> EncodedNetwork:
    """Encode a network as it is, to the best file of a size or to the smallest file that keeps a score.

    Raises
    ------
    InputError
        If the budget is out of reach.
    CoinrError
        If no file that keeps the score on a part of the samples keeps it on all.
    """
    options = EncodeOptions.from_arguments({"effort": "best", **codec})
    sd = in_order(network, options)
    whole, some = Evaluator(network, signal), Evaluator(network, signal, _POINTS)
    sensitivity = _measure_sensitivity(sd, some, limit, codec)
    target = budget.score
    if target is not None and not some.whole:
        target += some(sd) - whole(sd)
    best: EncodedNetwork | None = None
    calls = searches = 0
    while searches < _SEARCHES:
        searches += 1
        targets: dict[str, Any] = {"min_score": target, "target_bytes": budget.size, "calibrate": sensitivity}
        found = search(sd, some, seconds=limit.seconds(), **targets, **codec)
        calls += found.calls
        blob, score = found.blob, found.score
        if target is not None and score > target + ABOVE:
            with show_progress("polish"):
                encoder = Encoder(sd, options)
                encoder.sensitivity = sensitivity or SensitivityInfo()
                blob, score = polish(sd, some, found, target, encoder, limit)
        if not some.whole:
            score = whole(decode_state_dict(blob, base=options.base))
        if budget.score is None or target is None or some.whole:
            return EncodedNetwork(blob, score, calls)
        if score >= budget.score and (best is None or len(blob) < len(best.blob)):
            best = EncodedNetwork(blob, score, calls)
        if budget.score <= score <= budget.score + ABOVE:
            break
        if limit.out_of_time():
            break
        target += budget.score + _AIM - score
    if best is None:
        raise CoinrError(f"no file kept the score {budget.score} in {searches} search{'es' * (searches != 1)}")
    return best


def _measure_sensitivity(
    sd: Mapping[str, Any], evaluator: Evaluator, limit: WorkLimit, codec: Mapping[str, Any]
) -> SensitivityInfo | None:
    """Measure what a search would from its metric; return None where the profile does not use it."""
    if not uses_calibration(codec.get("profile", "auto")):
        return None
    inputs = InputStatsRecorder(sd)
    with inputs:
        evaluator(sd)
    hessian, *_ = accumulate_gauss_newton(sd, evaluator, inputs, limit=limit.part(0.5))
    return SensitivityInfo(inputs.sensitivities(), hessian)


def encode_by_refinement(
    network: nn.Module,
    signal: Signal,
    budget: Budget,
    settings: RefinementSettings,
    limit: WorkLimit,
    codec: Mapping[str, Any],
) -> EncodedNetwork:
    """Train a network on for its quantization, and encode it to the best file of a size or the smallest of a score.

    Raises
    ------
    InputError
        If the budget is out of reach, or there is no time left.
    """
    if limit.out_of_time():
        raise InputError("not tried, as the time is over")
    whole = Evaluator(network, signal)
    calls = 0

    def evaluate(state_dict: Mapping[str, Any]) -> float:
        nonlocal calls
        calls += 1
        return whole(state_dict)

    found = refine(
        network.state_dict(),
        BatchLoss(network, signal, settings.batch, codec["seed"]).of_state_dict,
        min_score=budget.score,
        target_bytes=budget.size,
        evaluate=evaluate,
        steps=settings.steps,
        optimizer=settings.optimizer,
        seconds=limit.seconds(),
        thorough=settings.thorough,
        **codec,
    )
    assert found.score is not None
    return EncodedNetwork(found.blob, found.score, calls)
