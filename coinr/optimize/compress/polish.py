"""Polishing: smaller files that still keep a score, near the one that a search ended with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coinr.codec.api import decode_state_dict
from coinr.codec.bracket import Bracket
from coinr.codec.encoder import Encoder
from coinr.optimize.search.run import SearchResult
from coinr.runtime.work_limit import WorkLimit

#: How far above the target score a file may end.
ABOVE = 0.05

# Files at larger errors of all tensors, in even steps between these shares of the way to the target score. The score
# varies at random with small changes of all errors, so one of the files may be better than expected.
_LUCKY, _FROM, _TO = 8, 0.2, 2.2

# Files at errors of the last layer that are up to so many times larger. No later tensor changes with them, so the score
# varies smoothly.
_SMOOTH, _COARSEST = 8, 8.0


@dataclass(frozen=True)
class _File:
    errors: Mapping[str, float]
    blob: bytes
    score: float


def polish(
    sd: Mapping[str, Any],
    evaluate: Callable[[Mapping[str, Any]], float],
    found: SearchResult,
    min_score: float,
    encoder: Encoder,
    limit: WorkLimit,
) -> tuple[bytes, float]:
    """Encode at a few errors above those of a search, and return the smallest file that keeps a score, with its score.

    Parameters
    ----------
    sd
        The state dict.
    evaluate
        Returns the score of a state dict.
    found
        The result of the search; it keeps the score.
    min_score
        The score to keep.
    encoder
        Of ``sd``, as in the search.
    limit
        Once it is out of time, the smallest file so far is returned.
    """
    best = _File(found.errors, found.blob, found.score)

    def keeps(errors: Mapping[str, float]) -> bool:
        nonlocal best
        with limit.unit("file"):
            blob = encoder.encode(1.0, errors)
        with limit.unit("score"):
            score = evaluate(decode_state_dict(blob, base=encoder.options.base))
        if score >= min_score and len(blob) < len(best.blob):
            best = _File(errors, blob, score)
        return score >= min_score

    for scale in _scales(found.full_score - found.score, found.full_score - min_score):
        if best.score <= min_score + ABOVE or limit.out_of_time():
            break
        keeps({name: scale * error for name, error in found.errors.items()})
    last, errors = _last_layer(sd, found.errors), best.errors
    octaves = Bracket[None](Bracket.middle, low=0.0, high=math.log2(_COARSEST), tries=_SMOOTH)
    for at in octaves:
        if best.score <= min_score + ABOVE or limit.out_of_time():
            break
        kept = keeps({name: error * (2.0**at if name in last else 1.0) for name, error in errors.items()})
        octaves.add(at, best.score, kept, None)
    return best.blob, best.score


def _scales(lost: float, spare: float) -> Iterator[float]:
    """Yield scales of all errors around the one at which ``spare`` would be lost."""
    way = math.sqrt(spare / lost) - 1 if lost > 0 else 0.0
    return (1 + way * (_FROM + (_TO - _FROM) * k / (_LUCKY - 1)) for k in range(_LUCKY if way > 0 else 0))


def _last_layer(sd: Mapping[str, Any], errors: Mapping[str, float]) -> set[str]:
    """Return the names of the last matrix and of the tensors after it."""
    names = list(errors)
    matrices = [k for k, name in enumerate(names) if sd[name].ndim > 1]
    return set(names[matrices[-1] :]) if matrices else set()
