"""Search for the smallest file of a requested score, or the best file of a requested size."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from coinr.codec.bracket import Bracket, Point
from coinr.codec.canonical import in_order
from coinr.codec.encoder import Encoder
from coinr.codec.options import EncodeOptions
from coinr.codec.profiles.tasks import uses_calibration
from coinr.codec.rate_control import COARSEST, FINEST, START, encode_to_size
from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.callbacks import Metric
from coinr.inputs.state_dicts import StateDict, plain_classes
from coinr.optimize.search.allocation import error_factors, group_tensors, with_decoded
from coinr.optimize.search.result import SearchResult
from coinr.optimize.search.trials import CALLS, Trial, Trials
from coinr.progress import report, show_progress
from coinr.runtime.ambient import independent
from coinr.runtime.work_limit import WorkLimit
from coinr.sensitivity.calibration import Calibration, SensitivityInfo
from coinr.sensitivity.gauss_newton import accumulate_gauss_newton, resolve_calibration
from coinr.sensitivity.hessian import MAX_PARAMETERS, MAX_PARAMETERS_THOROUGH
from coinr.sensitivity.input_stats import InputStatsRecorder

__all__ = ["SearchResult", "search"]

# The search ends at a file that leaves this share of the allowed loss unused, and at most so many units of the score.
_UNUSED, _CLOSE = 0.01, 0.02

# Calls kept for the last stage, in which all errors are scaled alike.
_LAST_CALLS = 9

# Single tensors are evaluated where all together lose between these multiples of the allowed loss.
_MEASURED = 0.7, 4.0

# Bounds of the sum of single tensors' losses over the loss of all together: outside, losses do not add up.
_ADDS_UP = 0.6, 1.6

# Widest factor between two scales that are tried one after the other.
_STRIDE = 4.0

# Least and largest power of the scale with which losses grow.
_POWERS = 0.3, 4.0

# Calls kept for going from a good file to a bad one tensor by tensor.
_CROSSING = 3

# Ratio of a failing scale to a passing one below which chance matters more than the scale.
_NARROW = 1.02

# Share of a bracket at either end in which no scale is tried; the second after three tries on one side.
_EDGE, _STUCK = 0.1, 0.35

# Least and largest scatter of losses at one scale, expressed as a change of scale.
_LEAST_SCATTER, _MOST_SCATTER = 0.01, 0.3

# A measured allocation that loses more than this multiple of the prediction gives way to the rule's.
_SURPRISE = 2.5


@independent
@checked
def search(
    sd: StateDict,
    evaluate: Callable[[Mapping[str, Any]], float],
    *,
    min_score: float | None = None,
    target_bytes: int | None = None,
    calibrate: Calibration | None = None,
    thorough: bool = False,
    seconds: float | None = None,
    progress: bool | None = None,
    **arguments: Any,
) -> SearchResult:
    """Search for the smallest file that keeps a score, or for the best file of a size.

    The metric is called at most 20 times. First it is called with the state dict itself. While it runs, ``search``
    records each layer's inputs, and quantizes with their covariance (where ``evaluate`` computes with torch, see
    :mod:`coinr.sensitivity.input_stats`). Then it is called with single tensors decoded. This measures how each
    tensor's error affects the score, and the error budget is split accordingly. Last come files at several scales of
    all errors, or of some.

    Parameters
    ----------
    sd
        As for :func:`~coinr.encode_state_dict`.
    evaluate
        The caller's metric of a decoded state dict, higher is better; the same for the same tensors. It gets copies,
        runs under the caller's settings (autocast, default device, ...) and returns one real number; NaN of a decoded
        state dict is the worst. Its errors pass through. Layers are recognized by the memory of the tensors that it
        gets, also through copies and multiples. Weights that it makes in other ways are recognized by their values: of
        two that are multiples of each other, the first is taken.
    min_score
        The lowest score that is good enough. The file is the smallest that was found to keep it. The search ends where
        a file leaves at most a hundredth of the allowed loss unused, and at most 0.02.
    target_bytes
        The largest size that is allowed; the file is at most 2 % smaller.
    calibrate
        As for :func:`~coinr.encode_state_dict`, in place of recorded inputs.
    thorough
        Use second derivatives of all parameters together for plain networks of up to 13 312 parameters, in place of
        4 608: fewer bytes, after minutes on two cores and with 5 GB at the most.
    seconds
        Wall-clock time for all of it, passed by one file and one call of the metric at most. Second derivatives take
        half of it, or are given up. The best of the files that were tried by then is returned.
    progress
        Show how far the search is on stderr, see :mod:`coinr.progress`; if absent, only of two seconds or more.
    **arguments
        For :func:`~coinr.encode_state_dict`, without ``output_error_db``, ``tolerance`` and ``errors``; ``effort`` is
        ``"best"`` by default. With ``canonical``, the metric gets the network in that order from the first call on.

    Second derivatives need a plain chain of real layers, and a metric that runs it at enough points: four outputs for
    each parameter. ``SearchResult.second_derivatives`` says whether they were used, and if not, why.

    Raises
    ------
    InputError
        Unless exactly one of ``min_score`` and ``target_bytes`` is given, or where it is out of reach; the message says
        what was reached.
    """
    if (min_score is None) == (target_bytes is None):
        raise InputError("give min_score or target_bytes, one of them")
    if seconds is not None and not 0 < seconds < math.inf:
        raise InputError(f"seconds must be positive and finite, not {seconds!r}")
    decided = ("output_error_db", "tolerance", "errors", "target_bits")
    options = EncodeOptions.from_arguments({"effort": "best"} | arguments, decided)
    metric, sd = Metric(evaluate), in_order(sd, replace(options, calibrate=calibrate))
    with show_progress("search", progress):
        return _search(sd, metric, min_score, target_bytes, calibrate, thorough, WorkLimit(seconds), options)


def _search(
    sd: Mapping[str, Any],
    metric: Callable[[Mapping[str, Any]], float],
    min_score: float | None,
    target_bytes: int | None,
    calibrate: Calibration | None,
    thorough: bool,
    limit: WorkLimit,
    options: EncodeOptions,
) -> SearchResult:
    encoder = Encoder(sd, options)
    obstacle = f"profile {options.profile!r} does not use them" if not uses_calibration(options.profile) else ""
    if calibrate is not None:
        encoder.sensitivity = resolve_calibration(calibrate, sd, options.seed, uses_calibration(options.profile))
        if encoder.sensitivity.hessian is None:
            obstacle = obstacle or "the calibration gives none"
    sd = plain_classes(sd)
    inputs = InputStatsRecorder(sd)
    report(0, total=CALLS)
    with inputs, limit.unit("score"):
        full = metric(sd)
    report(1, text=f"score {full:.6g} before coding")
    calls = 1
    if math.isnan(full):
        raise InputError("evaluate gives NaN for the state dict itself")
    if min_score is not None and not full >= min_score:
        raise InputError(
            f"min_score {min_score} is above the score of the state dict itself, {full}: nothing was coded"
        )
    if calibrate is None and uses_calibration(options.profile):
        most = MAX_PARAMETERS_THOROUGH if thorough else MAX_PARAMETERS
        hessian, calls, obstacle = accumulate_gauss_newton(sd, metric, inputs, most, limit.part(0.5))
        encoder.sensitivity = SensitivityInfo(inputs.sensitivities(), hessian)
    if obstacle:
        report(calls, text=f"no second derivatives: {obstacle}")
    trials = Trials(sd, metric, encoder, options.base, encoder.rule(), CALLS - calls, limit)
    if target_bytes is not None:
        best = _search_size(trials, full, target_bytes)
    else:
        assert min_score is not None
        best = _search_score(trials, full, min_score)
    curve = [{"bytes": len(trial.blob), "score": trial.score} for trial in trials.tried]
    return SearchResult(
        best.blob,
        best.score,
        full,
        best.errors,
        CALLS - trials.calls_left,
        sorted(curve, key=lambda row: (row["bytes"], row["score"])),
        f"not used: {obstacle}" if obstacle else "used",
    )


def _search_size(trials: Trials, full: float, size: int) -> Trial:
    """Return the better of two files of a size: with the rule's budget, and with the one measured on that file."""
    blob, scale = encode_to_size(trials.encode, size, trials.encoder.parameters, START, trials.limit)
    first = trials.evaluate_file(scale, blob)
    if first.score >= full or not _reallocate(trials, first, full) or trials.left < 1:
        return first
    blob, scale = encode_to_size(trials.encode, size, trials.encoder.parameters, scale, trials.limit)
    return max(first, trials.evaluate_file(scale, blob), key=lambda trial: trial.score)


def _reallocate(trials: Trials, trial: Trial, full: float) -> bool:
    """Split the error budget by the loss of each group alone; return False where the losses do not add up."""
    parts = group_tensors(trials.sd, list(trials.budget), max(1, trials.left - _LAST_CALLS))
    # with a Hessian, one tensor alone would lack the others' compensation for its errors
    if len(parts) < 2 or trials.encoder.sensitivity.hessian is not None:
        return False
    losses = [full - trials.evaluate(with_decoded(trials.sd, trial.decoded, part)) for part in parts]
    if not _ADDS_UP[0] <= sum(losses) / (full - trial.score) <= _ADDS_UP[1]:
        return False
    by = error_factors(trials.sd, parts, losses)
    trials.budget = {name: error * by[name] for name, error in trials.budget.items()}
    return True


def _search_score(trials: Trials, full: float, target: float) -> Trial:
    """Return the smallest file whose score is at least the target, lossless if no other is."""
    spare = full - target
    near = _find_near(trials, full, target)
    if full > near.score > -math.inf and spare > 0:
        before, after = dict(trials.budget), trials.tried[-1]
        if _reallocate(trials, near, full) and trials.left > 0:
            point = Point(*_measured(near, full, target))
            after = trials.run(_predict_scale([point], spare))
        if full - after.score > _SURPRISE * spare and after is not near:
            trials.budget = before
        else:
            near = after
    _find_coarsest(trials, full, target, near)
    passing = [trial for trial in trials.tried if trial.score >= target]
    if passing:
        return min(passing, key=lambda trial: len(trial.blob))
    blob = Encoder(trials.sd, EncodeOptions(profile="lossless", base=trials.base)).encode(None)
    return Trial(0.0, dict.fromkeys(trials.budget, 0.0), blob, trials.sd, full)


def _measured(trial: Trial, full: float, target: float) -> tuple[float, float, bool, Trial]:
    """Return a trial as a bracket takes it: its scale, what it loses, and whether it passes."""
    return trial.scale, full - trial.score, trial.score >= target, trial


def _find_near(trials: Trials, full: float, target: float) -> Trial:
    """Return a file that loses about as much as is allowed, or a little more, within three tries."""
    spare = full - target
    scales = Bracket[Trial](lambda scales: _predict_scale(scales.points, 1.6 * spare), START, tries=3)
    for scale in scales:
        trial = trials.run(scale)
        scales.add(*_measured(trial, full, target))
        if spare <= 0 or trials.left < 1 or _MEASURED[0] * spare <= full - trial.score <= _MEASURED[1] * spare:
            break
    return scales.points[-1].made


def _predict_scale(points: list[Point[Trial]], lost: float) -> float:
    """Predict at which scale so much is lost, by a power law through the two nearest points, or a square law."""
    known = [point for point in points if 0 < point.value < math.inf]
    if not known or lost <= 0:
        return points[-1].at * (_STRIDE if points[-1].value <= 0 else 1 / _STRIDE)
    known.sort(key=lambda point: abs(math.log(lost / point.value)))
    power = 2.0
    if len(known) > 1 and known[0].at != known[1].at:
        rise = math.log(known[0].value / known[1].value)
        power = min(max(rise / math.log(known[0].at / known[1].at), _POWERS[0]), _POWERS[1])
    factor = math.pow(lost / known[0].value, 1 / power)
    return known[0].at * min(max(factor, 1 / _STRIDE), _STRIDE)


def _find_coarsest(trials: Trials, full: float, target: float, near: Trial) -> None:
    """Try scales between passing and failing ones, then those at which a smaller file may pass by chance.

    If too much of the allowed loss is then unused, the last calls go from a passing file to a failing one tensor by
    tensor.
    """
    close = min(_CLOSE, _UNUSED * (full - target))
    scales = Bracket[Trial](
        lambda scales: _next_scale(scales, trials, full, target),
        tries=CALLS,
        low=FINEST,
        high=COARSEST,
    )
    scales.add(*_measured(near, full, target))
    for scale in scales:
        if trials.left < 1 or (scales.good is not None and scales.good.made.score <= target + close):
            return
        scales.add(*_measured(trials.run(scale), full, target))
    good, coarser = scales.good, _failing_above(scales)
    if good is not None and coarser is not None and not scales.narrow():
        _narrow_by_tensor(trials, target, good.made, coarser.made)


def _next_scale(scales: Bracket[Trial], trials: Trials, full: float, target: float) -> float | None:
    """Return the next scale; None where nothing is left to try, or only tensor by tensor."""
    good, bad, spare = scales.good, scales.bad, full - target
    if good is not None and bad is not None and bad.at < _NARROW * good.at:
        close = good.made.score <= target + _CLOSE
        scale = _retry_scale(scales.points, spare, good.at) if close or trials.left > _CROSSING else None
        if scale is None and not close and _failing_above(scales) is None:
            scale = good.at * _NARROW
        return None if scale is None else min(max(scale, FINEST), COARSEST)
    scale = _predict_scale(scales.points, spare)
    if good is not None and bad is not None:
        stuck = len(scales.points) > 2 and len({point.good for point in scales.points[-3:]}) == 1
        width, edge = bad.at / good.at, _STUCK if stuck else _EDGE
        scale = min(max(scale, good.at * math.pow(width, edge)), good.at * math.pow(width, 1 - edge))
    elif good is not None:
        scale = max(scale, good.at * _NARROW)
    elif bad is not None:
        scale = min(scale, bad.at / _NARROW)
    return min(max(scale, FINEST), COARSEST)


def _failing_above(scales: Bracket[Trial]) -> Point[Trial] | None:
    """Return the failing trial of the least scale above that of the best passing one."""
    low = scales.ends()[0]
    return min((p for p in scales.points if not p.good and p.at > low), key=lambda p: p.at, default=None)


def _narrow_by_tensor(trials: Trials, target: float, good: Trial, bad: Trial) -> None:
    """Go from a passing file to a failing one tensor by tensor, where losses of whole files scatter too much."""
    while trials.left > 0 and good.score > target + _CLOSE:
        trial = trials.run_between(good, bad)
        good, bad = (trial, bad) if trial.score >= target else (good, trial)


def _retry_scale(points: list[Point[Trial]], spare: float, good: float) -> float | None:
    """Return a scale a little coarser than the predicted one, by how much losses scatter; None if that is unknown."""
    logs = [math.log(point.value / point.at**2) for point in points if 0 < point.value < math.inf]
    if len(logs) < 2 or spare <= 0:
        return None
    scatter = min(max(statistics.pstdev(logs) / 2, _LEAST_SCATTER), _MOST_SCATTER)
    middle = math.sqrt(spare / math.exp(statistics.median(logs)))
    missed = next((k for k, point in enumerate(reversed(points)) if point.good), len(points) - 1)
    return max(middle, good) * (1 + scatter * (0.5 + missed % 4) / 4)
