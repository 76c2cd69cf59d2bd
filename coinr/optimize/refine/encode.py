"""From trained weights and errors to the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from coinr.codec.api import decode_state_dict
from coinr.codec.encoder import Encoder
from coinr.codec.rate_control import encode_to_size
from coinr.optimize.refine.noisy_tensor import Channel
from coinr.progress import report
from coinr.runtime.work_limit import WorkLimit
from coinr.sensitivity.calibration import SensitivityInfo, TensorSensitivity
from coinr.sensitivity.hessian import HessianFactor

# Errors are what training says; the bound on relative errors only keeps a tensor from being worse than absent.
_LOOSEST = 1.0

# Files that are judged at most, the ratio of two scales that differ no more, and the widest between two tries.
_TRIES, _ALIKE, _WIDEST = 12, 1.002, 2.0

# What of a score's loss may be left over.
_UNUSED = 0.004

# The scale of the last file over the one before where the time is over and none kept the score.
_CAUTION = 1 / 8


@dataclass(frozen=True)
class Tried:
    """What is wanted, coded: the smallest file that keeps it, empty if none, and where scores count its score.

    ``files`` were judged, of which the best has ``best``.
    """

    blob: bytes
    score: float | None = None
    files: int = 0
    best: float | None = None


class Coding:
    """Files of a state dict at multiples of the errors that its channels were trained for, or a Hessian says.

    Parameters
    ----------
    sd
        As trained.
    channels
        By name.
    hessian
        The Gauss-Newton matrix of all, factored, or None.
    limit
        What may be spent on files.
    arguments
        Of :class:`~coinr.codec.encoder.Encoder`.
    """

    def __init__(
        self,
        sd: Mapping[str, Any],
        channels: Mapping[str, Channel],
        hessian: HessianFactor | None,
        limit: WorkLimit,
        arguments: Mapping[str, Any],
    ) -> None:
        allowed = {name: channel.allowed() for name, channel in channels.items()}
        tensors = {
            name: TensorSensitivity(None, weights, channels[name].input_covariance)
            for name, (_, weights) in allowed.items()
            if weights is not None
        }
        self._encoder = Encoder(sd, **arguments)
        self._encoder.sensitivity = SensitivityInfo(tensors, hessian)
        self._errors = {name: error for name, (error, _) in allowed.items()}
        if hessian is not None:
            self._errors |= self._equalized(hessian)
        self._limit = limit
        self._base, self._limits = arguments.get("base"), arguments.get("limits")

    def _equalized(self, hessian: HessianFactor) -> dict[str, float]:
        """Make every parameter contribute equally to the output error, with the geometric mean of the trained errors.

        The Hessian is more exact than errors that were trained with noise.
        """
        rule = self._encoder.rule()
        if not all(rule[name] > 0 and self._errors[name] > 0 for name in hessian.slices):
            return {}
        counts = [part.stop - part.start for part in hessian.slices.values()]
        logs = [math.log(self._errors[name] / rule[name]) for name in hessian.slices]
        level = math.exp(sum(count * log for count, log in zip(counts, logs, strict=True)) / sum(counts))
        return {name: level * rule[name] for name in hessian.slices}

    def encode(self, scale: float) -> bytes:
        """The file at a multiple of the errors."""
        return self._encoder.encode(_LOOSEST, {name: scale * error for name, error in self._errors.items()})

    def decode(self, blob: bytes) -> dict[str, Tensor]:
        """What a file holds."""
        return dict(decode_state_dict(blob, base=self._base, limits=self._limits))

    def as_trained(self) -> Tried:
        """The file at the errors as they are."""
        return Tried(self.encode(1.0))

    def of_size(self, size: int) -> Tried:
        """The largest file of at most a size."""
        return Tried(encode_to_size(self.encode, size, self._encoder.parameters, 1.0, self._limit)[0])

    def of_score(self, evaluate: Callable[[Mapping[str, Tensor]], float], full: float, wanted: float) -> Tried:
        """The smallest file found that keeps a score; ``full`` is that of the state dict as trained."""
        good: tuple[float, float, bytes] | None = None  # scale, score, file
        bad: tuple[float, float] | None = None
        scale, spare, files, best = 1.0, full - wanted, 0, -math.inf
        for _ in range(_TRIES if spare > 0 else 0):
            last = files > 0 and (self._limit.out_of_time() if good is None else self._limit.used_up())
            if last and good is not None:
                break
            if last:
                scale *= _CAUTION
            with self._limit.unit("file"):
                blob = self.encode(scale)
            with self._limit.unit("score"):
                score = float(evaluate(self.decode(blob)))
            files, best = files + 1, max(best, score)
            report(text=f"score {score:.6g} of {wanted:.6g}, {len(blob)} bytes")
            if not score >= wanted:
                bad = scale, score
            else:
                good = scale, score, blob
                if score - wanted <= _UNUSED * spare:
                    break
            if last:
                break
            if good is not None and bad is not None:
                if bad[0] / good[0] < _ALIKE:
                    break
                scale = _between((good[0], full - good[1]), (bad[0], full - bad[1]), spare)
            else:
                lost = full - score
                factor = math.sqrt(spare / lost) if 0 < lost < math.inf else _WIDEST if good else 1 / _WIDEST
                scale *= min(max(factor, 1 / _WIDEST), _WIDEST) * (_ALIKE if good else 1 / _ALIKE)
        return Tried(b"", None, files, best) if good is None else Tried(good[2], good[1], files, best)


def _between(good: tuple[float, float], bad: tuple[float, float], spare: float) -> float:
    """The scale at which as much as is spare would be lost, between two (scale, lost): losses follow a power of it."""
    share = 0.5
    if 0 < good[1] < bad[1] < math.inf:
        share = math.log(spare / good[1]) / math.log(bad[1] / good[1])
    return good[0] * math.pow(bad[0] / good[0], min(max(share, 0.05), 0.95))
