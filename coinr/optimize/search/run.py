"""The smallest file for a quality or a size that the caller names."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from coinr.codec.encoder import Encoder
from coinr.codec.profiles.tasks import uses_calibration
from coinr.codec.rate_control import COARSEST, FINEST, START, encode_to_size
from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.callbacks import Metric
from coinr.inputs.state_dicts import plain_classes
from coinr.optimize.search.allocation import factors, groups, mixed
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

# How much of what may be lost a file may leave unused, and at most in units of the score, before the search ends.
_UNUSED, _CLOSE = 0.01, 0.02

# Calls kept for the last stage, in which all errors are scaled alike.
_LAST_CALLS = 9

# Single tensors are measured where all together lose between these multiples of what may be lost.
_MEASURED = 0.7, 4.0

# What single tensors lose, in sum, over what all lose together: elsewhere the score is no sum of their losses.
_ADDS_UP = 0.6, 1.6

# Widest factor between two scales that are tried one after the other.
_STRIDE = 4.0

# Powers of the scale with which losses grow, at least and at most.
_POWERS = 0.3, 4.0

# Calls kept for going from a good file to a bad one tensor by tensor.
_CROSSING = 3

# Ratio of a bad scale to a good one that differ by chance more than by size.
_NARROW = 1.02

# Shares of a bracket at its ends in which no scale is tried, also where three tries in a row fell on one side.
_EDGE, _STUCK = 0.1, 0.35

# How much losses at one scale scatter, as a change of scale, at least and at most.
_LEAST_SCATTER, _MOST_SCATTER = 0.01, 0.3

# Errors shared by measurement that lose more than this multiple of what was foreseen are shared by rule again.
_SURPRISE = 2.5


@independent
@checked
def search(
    sd: Mapping[str, Any],
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
    """The smallest file that keeps a score, or the best one of a size.

    The metric is called at most 20 times. First with the state dict itself, when the inputs of its layers are watched
    for rounding that heeds them (where ``evaluate`` computes with torch; see :mod:`coinr.sensitivity.input_stats`);
    then with single tensors as decoded, to share the error among them; and last with files at several scales of all
    errors, or of some.

    Parameters
    ----------
    sd
        As for :func:`~coinr.encode_state_dict`.
    evaluate
        The caller's metric of a decoded state dict, higher is better; the same for the same tensors. It gets copies,
        runs under the caller's settings (autocast, default device, ...) and returns one real number; NaN of a coded
        state dict is the worst. What it raises passes through.
    min_score
        The lowest score that is good enough. The file is the smallest that was found to keep it, and the search ends
        when no more than a hundredth of what may be lost is left, nor 0.02.
    target_bytes
        The largest size that is allowed; the file is at most 2 % smaller.
    calibrate
        As for :func:`~coinr.encode_state_dict`; takes the place of what would be watched.
    thorough
        Code plain networks of up to 13 312 parameters by second derivatives of all together, as is done without being
        asked up to 4 608: fewer bytes, after minutes on two cores and with 5 GB at the most.
    seconds
        Wall-clock time for all of it, passed by one file and one call of the metric at most. Second derivatives take
        half of it, or are given up. Of what was tried by then the best is taken.
    progress
        Show how far the search is on stderr, see :mod:`coinr.progress`; if absent, only of two seconds or more.
    **arguments
        For :func:`~coinr.encode_state_dict`, without ``tolerance`` and ``errors``.

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
    metric = Metric(evaluate)
    with show_progress("search", progress):
        return _searched(sd, metric, min_score, target_bytes, calibrate, thorough, WorkLimit(seconds), arguments)


def _searched(
    sd: Mapping[str, Any],
    evaluate: Callable[[Mapping[str, Any]], float],
    min_score: float | None,
    target_bytes: int | None,
    calibrate: Calibration | None,
    thorough: bool,
    limit: WorkLimit,
    arguments: Mapping[str, Any],
) -> SearchResult:
    encoder = Encoder(sd, **arguments)
    if calibrate is not None:
        encoder.sensitivity = resolve_calibration(
            calibrate, sd, encoder.settings.seed, uses_calibration(encoder.profile)
        )
    sd = plain_classes(sd)
    inputs = InputStatsRecorder(sd)
    report(0, total=CALLS)
    with inputs, limit.unit("score"):
        full = evaluate(sd)
    report(1, text=f"score {full:.6g} before coding")
    calls = 1
    if math.isnan(full):
        raise InputError("evaluate gives NaN for the state dict itself")
    if min_score is not None and not full >= min_score:
        raise InputError(
            f"min_score {min_score} is above the score of the state dict itself, {full}: nothing was coded"
        )
    if calibrate is None and uses_calibration(encoder.profile):
        most = MAX_PARAMETERS_THOROUGH if thorough else MAX_PARAMETERS
        hessian, calls = accumulate_gauss_newton(sd, evaluate, inputs, most, limit.part(0.5))
        encoder.sensitivity = SensitivityInfo(inputs.sensitivities(), hessian)
    trials = Trials(sd, evaluate, encoder, arguments.get("base"), encoder.rule(), CALLS - calls, limit)
    if target_bytes is not None:
        best = _of_size(trials, full, target_bytes)
    else:
        assert min_score is not None
        best = _of_score(trials, full, min_score)
    curve = [{"bytes": len(trial.blob), "score": trial.score} for trial in trials.tried]
    return SearchResult(
        best.blob,
        best.score,
        full,
        best.errors,
        CALLS - trials.calls_left,
        sorted(curve, key=lambda row: (row["bytes"], row["score"])),
    )


def _of_size(trials: Trials, full: float, size: int) -> Trial:
    """The better of two files of the size: with errors by rule, and shared as measured on that one."""
    blob, scale = encode_to_size(trials.encode, size, trials.encoder.parameters, START, trials.limit)
    first = trials.score(scale, blob)
    if first.score >= full or not _share(trials, first, full) or trials.left < 1:
        return first
    blob, scale = encode_to_size(trials.encode, size, trials.encoder.parameters, scale, trials.limit)
    return max(first, trials.score(scale, blob), key=lambda trial: trial.score)


def _share(trials: Trials, trial: Trial, full: float) -> bool:
    """Share the errors by what each group's alone does to the score; False where that does not add up."""
    parts = groups(trials.sd, list(trials.shares), max(1, trials.left - _LAST_CALLS))
    # tensors of a block, alone, would lack what makes up for their errors
    if len(parts) < 2 or trials.encoder.sensitivity.hessian is not None:
        return False
    losses = [full - trials.judge(mixed(trials.sd, trial.decoded, part)) for part in parts]
    if not _ADDS_UP[0] <= sum(losses) / (full - trial.score) <= _ADDS_UP[1]:
        return False
    by = factors(trials.sd, parts, losses)
    trials.shares = {name: share * by[name] for name, share in trials.shares.items()}
    return True


def _of_score(trials: Trials, full: float, wanted: float) -> Trial:
    spare = full - wanted
    near = _near(trials, full, wanted)
    if full > near.score > -math.inf and spare > 0:
        before, after = dict(trials.shares), trials.tried[-1]
        if _share(trials, near, full) and trials.left > 0:
            after = trials.run(_aim([near], full, spare))
        if full - after.score > _SURPRISE * spare and after is not near:
            trials.shares = before
        else:
            near = after
    _coarsest(trials, full, wanted, near)
    passing = [trial for trial in trials.tried if trial.score >= wanted]
    if passing:
        return min(passing, key=lambda trial: len(trial.blob))
    blob = Encoder(trials.sd, profile="lossless", base=trials.base).encode(None)
    return Trial(0.0, dict.fromkeys(trials.shares, 0.0), blob, trials.sd, full)


def _near(trials: Trials, full: float, wanted: float) -> Trial:
    """A file that loses about what may be lost, or a little more, within three tries."""
    scale, spare = START, full - wanted
    for _ in range(3):
        trial = trials.run(scale)
        lost = full - trial.score
        if spare <= 0 or trials.left < 1 or _MEASURED[0] * spare <= lost <= _MEASURED[1] * spare:
            break
        scale = _aim(trials.tried, full, 1.6 * spare)
    return trial


def _aim(tried: list[Trial], full: float, lost: float) -> float:
    """The scale at which so much would be lost, by the power law of the two trials nearest to it, or a square law."""
    known = [trial for trial in tried if full > trial.score > -math.inf]
    if not known or lost <= 0:
        return tried[-1].scale * (_STRIDE if full <= tried[-1].score else 1 / _STRIDE)
    known.sort(key=lambda trial: abs(math.log(lost / (full - trial.score))))
    power = 2.0
    if len(known) > 1 and known[0].scale != known[1].scale:
        rise = math.log((full - known[0].score) / (full - known[1].score))
        power = min(max(rise / math.log(known[0].scale / known[1].scale), _POWERS[0]), _POWERS[1])
    factor = math.pow(lost / (full - known[0].score), 1 / power)
    return known[0].scale * min(max(factor, 1 / _STRIDE), _STRIDE)


def _coarsest(trials: Trials, full: float, wanted: float, near: Trial) -> None:
    """Try scales between good ones and bad ones, then where chance may still let a smaller file pass.

    Where chance leaves too much over, the last calls go from a good file to a bad one tensor by tensor.
    """
    spare = full - wanted
    close = min(_CLOSE, _UNUSED * spare)
    tried = [near]
    missed = 0
    while trials.left > 0:
        good = [trial for trial in tried if trial.score >= wanted]
        bad = [trial for trial in tried if trial.score < wanted]
        best = max(good, key=lambda trial: trial.scale, default=None)
        worst = min(bad, key=lambda trial: trial.scale, default=None)
        if best is not None and (best.score <= wanted + close or best.scale >= COARSEST):
            return
        if worst is not None and worst.scale <= FINEST:
            return
        if best is not None and worst is not None and worst.scale < _NARROW * best.scale:
            near_enough = best.score <= wanted + _CLOSE
            scale = None
            if near_enough or trials.left > _CROSSING:
                scale = _lucky(tried, full, spare, best.scale, missed)
            if scale is None:
                if near_enough:
                    return
                coarser = min((t for t in bad if t.scale > best.scale), key=lambda trial: trial.scale, default=None)
                if coarser is not None:
                    return _cross(trials, wanted, best, coarser)
                scale = best.scale * _NARROW
        else:
            stuck = len(tried) > 2 and len({trial.score >= wanted for trial in tried[-3:]}) == 1
            scale = _between(best, worst, _aim(tried, full, spare), _STUCK if stuck else _EDGE)
        tried.append(trials.run(min(max(scale, FINEST), COARSEST)))
        missed = 0 if tried[-1].score >= wanted else missed + 1


def _cross(trials: Trials, wanted: float, good: Trial, bad: Trial) -> None:
    """Go from a good file to a bad one tensor by tensor, where losses of whole files scatter too much."""
    while trials.left > 0 and good.score > wanted + _CLOSE:
        trial = trials.between(good, bad)
        good, bad = (trial, bad) if trial.score >= wanted else (good, trial)


def _lucky(tried: list[Trial], full: float, spare: float, good: float, missed: int) -> float | None:
    """A scale a little coarser than where the loss would be what may be lost, by how much losses scatter."""
    logs = [math.log((full - trial.score) / trial.scale**2) for trial in tried if full > trial.score > -math.inf]
    if len(logs) < 2 or spare <= 0:
        return None
    scatter = min(max(statistics.pstdev(logs) / 2, _LEAST_SCATTER), _MOST_SCATTER)
    middle = math.sqrt(spare / math.exp(statistics.median(logs)))
    return max(middle, good) * (1 + scatter * (0.5 + missed % 4) / 4)


def _between(good: Trial | None, bad: Trial | None, scale: float, edge: float) -> float:
    """The scale, but inside what good and bad ones leave open, a share of it at either end left out."""
    if good is not None and bad is not None:
        width = bad.scale / good.scale
        return min(max(scale, good.scale * math.pow(width, edge)), good.scale * math.pow(width, 1 - edge))
    if good is not None:
        return max(scale, good.scale * _NARROW)
    return scale if bad is None else min(scale, bad.scale / _NARROW)
