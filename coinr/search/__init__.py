"""The smallest file for a quality or a size that the caller names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from coinr.calibration import Calibration, Known
from coinr.encoder import Encoder
from coinr.errors import InputError
from coinr.profiles import HEEDING
from coinr.recording import recorded
from coinr.search.result import SearchResult
from coinr.search.shares import factors, groups, mixed
from coinr.search.trials import CALLS, Trial, Trials
from coinr.sizing import COARSEST, FINEST, START, largest_within
from coinr.watching import Watch

__all__ = ["SearchResult", "search"]

# How much of what may be lost a file may leave unused, and at most in units of the score, before the search ends.
_UNUSED, _CLOSE = 0.01, 0.02

# Calls kept for the last stage, in which all errors are scaled alike.
_LAST_CALLS = 6

# Single tensors are measured where all together lose between these multiples of what may be lost.
_MEASURED = 0.7, 4.0

# Widest factor between two scales that are tried one after the other.
_STRIDE = 4.0

# Ratio of two scales that differ no more: steps have eight bits.
_ALIKE = 1.0005


def search(
    sd: Mapping[str, Any],
    evaluate: Callable[[Mapping[str, Any]], float],
    *,
    min_score: float | None = None,
    target_bytes: int | None = None,
    calibrate: Calibration | None = None,
    **arguments: Any,
) -> SearchResult:
    """The smallest file that keeps a score, or the best one of a size.

    The metric is called at most 20 times. First with the state dict itself, when the inputs of its layers are watched
    for rounding that heeds them (where ``evaluate`` computes with torch; see :mod:`coinr.watching`); then with single
    tensors as decoded, to share the error among them; and last with files at several scales of all errors.

    Parameters
    ----------
    sd
        As for :func:`~coinr.encode_state_dict`.
    evaluate
        The caller's metric of a decoded state dict, higher is better; the same for the same tensors.
    min_score
        The lowest score that is good enough. The file is the smallest that was found to keep it, and the search ends
        when no more than a hundredth of what may be lost is left, nor 0.02.
    target_bytes
        The largest size that is allowed; the file is at most 2 % smaller.
    calibrate
        As for :func:`~coinr.encode_state_dict`; takes the place of what would be watched.
    **arguments
        For :func:`~coinr.encode_state_dict`, without ``tolerance`` and ``errors``.

    Raises
    ------
    InputError
        Unless exactly one of ``min_score`` and ``target_bytes`` is given, or where it is out of reach.
    """
    if (min_score is None) == (target_bytes is None):
        raise InputError("give min_score or target_bytes, one of them")
    watch = Watch(sd)
    with watch:
        full = float(evaluate(sd))
    calls = 1
    if min_score is not None and not full >= min_score:
        raise InputError(f"min_score {min_score} is above the score of the state dict itself, {full}")
    if calibrate is None and arguments.get("profile", "auto") in HEEDING:
        blocks, calls = recorded(sd, evaluate, watch)
        calibrate = Known(watch.sensitivities(), blocks)
    encoder = Encoder(sd, calibrate=calibrate, **arguments)
    trials = Trials(sd, evaluate, encoder, arguments.get("base"), encoder.rule(), CALLS - calls)
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
        CALLS - trials.left,
        sorted(curve, key=lambda row: (row["bytes"], row["score"])),
    )


def _of_size(trials: Trials, full: float, size: int) -> Trial:
    """The better of two files of the size: with errors by rule, and shared as measured on that one."""
    blob, scale = largest_within(trials.encode, size, trials.encoder.parameters, START)
    first = trials.score(scale, blob)
    if first.score >= full or not _share(trials, first, full):
        return first
    blob, scale = largest_within(trials.encode, size, trials.encoder.parameters, scale)
    return max(first, trials.score(scale, blob), key=lambda trial: trial.score)


def _share(trials: Trials, trial: Trial, full: float) -> bool:
    """Share the errors by what each group's alone does to the score; False where there is one group."""
    parts = groups(trials.sd, list(trials.shares), max(1, trials.left - _LAST_CALLS))
    # tensors of a block, alone, would lack what makes up for their errors
    if len(parts) < 2 or trials.encoder.known.blocks:
        return False
    harms = [full - trials.judge(mixed(trials.sd, trial.decoded, part)) for part in parts]
    by = factors(trials.sd, parts, harms)
    trials.shares = {name: share * by[name] for name, share in trials.shares.items()}
    return True


def _of_score(trials: Trials, full: float, wanted: float) -> Trial:
    spare = full - wanted
    trial = _near(trials, full, wanted)
    if full > trial.score > -math.inf and spare > 0:
        _share(trials, trial, full)
    best = _coarsest(trials, full, wanted, trial)
    if best is None:
        blob = Encoder(trials.sd, profile="lossless", base=trials.base).encode(None)
        return Trial(0.0, dict.fromkeys(trials.shares, 0.0), blob, trials.sd, full)
    return best


def _near(trials: Trials, full: float, wanted: float) -> Trial:
    """A file that loses about what may be lost, or a little more, within three tries."""
    scale, spare = START, full - wanted
    for _ in range(3):
        trial = trials.run(scale)
        lost = full - trial.score
        if spare <= 0 or _MEASURED[0] * spare <= lost <= _MEASURED[1] * spare:
            break
        scale *= _stride(1.6 * spare, lost)
    return trial


def _stride(spare: float, lost: float) -> float:
    """The factor of scales at which the loss, growing with the square, would be what is spare."""
    factor = math.sqrt(max(spare, 0.0) / lost) if lost > 0 else _STRIDE
    return min(max(factor, 1 / _STRIDE), _STRIDE)


def _coarsest(trials: Trials, full: float, wanted: float, near: Trial) -> Trial | None:
    """The smallest file found that is good enough: scales are narrowed down between good ones and bad ones."""
    spare = full - wanted
    close = min(_CLOSE, _UNUSED * spare)
    good: Trial | None = None
    bad: Trial | None = None
    scale = near.scale * (_stride(spare, full - near.score) if near.score > -math.inf else 1 / _STRIDE)
    while trials.left > 0:
        trial = trials.run(min(max(scale, FINEST), COARSEST))
        if trial.score < wanted:
            bad = trial
        else:
            good = trial
            if trial.score <= wanted + close:
                break
        if good is not None and bad is not None and not bad.scale / good.scale >= _ALIKE:
            break
        if (good is not None and good.scale >= COARSEST) or (bad is not None and bad.scale <= FINEST):
            break
        scale = _between(good, bad, full, spare)
    passing = [trial for trial in trials.tried if trial.score >= wanted]
    return min(passing, key=lambda trial: len(trial.blob), default=None)


def _between(good: Trial | None, bad: Trial | None, full: float, spare: float) -> float:
    """Where the loss would be what may be lost: on the line through both in logarithms, or by the square law."""
    one = good or bad
    assert one is not None
    if good is None or bad is None:
        factor = _stride(spare, full - one.score)
        return one.scale * (max(factor, _ALIKE) if good else min(factor, 1 / _ALIKE))
    lost = full - good.score, full - bad.score
    share = 0.5
    if 0 < lost[0] < lost[1] < math.inf and spare > 0:
        share = math.log(spare / lost[0]) / math.log(lost[1] / lost[0])
    return good.scale * math.pow(bad.scale / good.scale, min(max(share, 0.1), 0.9))
