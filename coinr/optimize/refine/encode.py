"""Encoding trained weights at their trained errors, at a size or at a score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from coinr.codec.api import decode_state_dict
from coinr.codec.bracket import Bracket
from coinr.codec.encoder import Encoder
from coinr.codec.options import EncodeOptions
from coinr.codec.rate_control import encode_to_size
from coinr.optimize.refine.noisy_tensor import NoisyTensor
from coinr.progress import report
from coinr.runtime.work_limit import WorkLimit
from coinr.sensitivity.calibration import SensitivityInfo, TensorSensitivity
from coinr.sensitivity.hessian import HessianFactor

# Training sets the errors. This tolerance only keeps a tensor's error below the tensor itself.
_TOLERANCE = 1.0

# Files that are evaluated at most, the ratio of two scales that differ no more, and the widest between two tries; and
# the share of a bracket at its ends in which none is tried.
_TRIES, _ALIKE, _WIDEST, _EDGE = 12, 1.002, 2.0, 0.05

# What of a score's loss may be left over.
_UNUSED = 0.004

# The scale of the last file over the one before where the time is over and none kept the score.
_CAUTION = 1 / 8


@dataclass(frozen=True)
class EncodingResult:
    """The smallest file that meets the target.

    Attributes
    ----------
    blob : bytes
        The file; empty if none met the target.
    score : float or None
        Its score, where the target is a score.
    files : int
        How many files were evaluated for a score.
    best : float or None
        The best score among them.
    """

    blob: bytes
    score: float | None = None
    files: int = 0
    best: float | None = None


class ScaledEncoder:
    """Encode a state dict at a multiple of the errors that its tensors were trained for.

    Parameters
    ----------
    sd
        As trained.
    trained
        Its trained tensors, by name.
    hessian
        Second derivatives by tensors of a network; these get errors of equal effect on the loss. None leaves the
        trained errors.
    limit
        Of the work on files.
    options
        Of the encoding.
    """

    def __init__(
        self,
        sd: Mapping[str, Any],
        trained: Mapping[str, NoisyTensor],
        hessian: HessianFactor | None,
        limit: WorkLimit,
        options: EncodeOptions,
    ) -> None:
        allowed = {name: tensor.allowed_error() for name, tensor in trained.items()}
        sensitivities = {
            name: TensorSensitivity(None, weights, trained[name].input_covariance)
            for name, (_, weights) in allowed.items()
            if weights is not None
        }
        self._encoder = Encoder(sd, options)
        self._encoder.sensitivity = SensitivityInfo(sensitivities, hessian)
        self._errors = {name: error for name, (error, _) in allowed.items()}
        if hessian is not None:
            self._errors |= self._equalize(hessian)
        self._limit = limit
        self._base, self._limits = options.base, options.limits

    def _equalize(self, hessian: HessianFactor) -> dict[str, float]:
        """Return errors at which every parameter contributes equally, with the geometric mean of the trained errors.

        Second derivatives say more surely than training what a tensor's error does: training sees it through noise.
        """
        rule = self._encoder.rule()
        if not all(rule[name] > 0 and self._errors[name] > 0 for name in hessian.slices):
            return {}
        counts = [part.stop - part.start for part in hessian.slices.values()]
        logs = [math.log(self._errors[name] / rule[name]) for name in hessian.slices]
        level = math.exp(sum(count * log for count, log in zip(counts, logs, strict=True)) / sum(counts))
        return {name: level * rule[name] for name in hessian.slices}

    def encode(self, scale: float) -> bytes:
        """Return the file at ``scale`` times the errors."""
        return self._encoder.encode(_TOLERANCE, {name: scale * error for name, error in self._errors.items()})

    def decode(self, blob: bytes) -> dict[str, Tensor]:
        """Return the state dict of a file."""
        return dict(decode_state_dict(blob, base=self._base, limits=self._limits))

    def encode_as_trained(self) -> EncodingResult:
        """Encode at the trained errors."""
        return EncodingResult(self.encode(1.0))

    def encode_to_size(self, size: int) -> EncodingResult:
        """Encode to the largest file of at most ``size`` bytes."""
        return EncodingResult(encode_to_size(self.encode, size, self._encoder.parameters, 1.0, self._limit)[0])

    def encode_to_score(
        self, evaluate: Callable[[Mapping[str, Tensor]], float], full: float, target: float
    ) -> EncodingResult:
        """Encode to the smallest file that keeps a score; ``full`` is that of the state dict as trained."""
        spare = full - target
        scales = Bracket[tuple[bytes, float]](
            partial(_next, spare=spare),
            0.0,
            tries=_TRIES,
            alike=math.log(_ALIKE),
            limit=self._limit,
            caution=math.log(_CAUTION),
        )
        for at in scales if spare > 0 else ():
            with self._limit.unit("file"):
                blob = self.encode(math.exp(at))
            with self._limit.unit("score"):
                score = float(evaluate(self.decode(blob)))
            report(text=f"score {score:.6g} of {target:.6g}, {len(blob)} bytes")
            scales.add(at, _log_lost(full, score), score >= target, (blob, score))
            if 0 <= score - target <= _UNUSED * spare:
                break
        best = max([-math.inf, *(point.made[1] for point in scales.points)])
        blob, kept = (b"", None) if scales.good is None else scales.good.made
        return EncodingResult(blob, kept, len(scales.points), best)


def _next(scales: Bracket[tuple[bytes, float]], spare: float) -> float:
    """Return the logarithm of the scale at which ``spare`` is lost; losses follow a power of the scale, about 2."""
    target = math.log(spare)
    if scales.good is not None and scales.bad is not None:
        return scales.inside(scales.between(target), _EDGE)
    at = scales.points[-1].reach(target, 2.0, math.log(_WIDEST))
    return at + math.log(_ALIKE) * (1 if scales.bad is None else -1)


def _log_lost(full: float, score: float) -> float:
    """Return the logarithm of what a score loses: -inf where that is nothing, inf where it is no number."""
    lost = full - score
    return -math.inf if lost <= 0 else math.log(lost) if lost < math.inf else math.inf
