"""Compression of a signal: a size or a score is given, everything else is chosen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from coinr.codec.encoder import Encoder
from coinr.codec.options import EncodeOptions
from coinr.errors import CoinrError, InputError
from coinr.fitting import Fit
from coinr.fitting.first_steps import network_at
from coinr.inputs.arguments import checked
from coinr.optimize.compress.architecture import CURVES_ERROR, Architecture, ArchitectureChooser
from coinr.optimize.compress.encode import EncodedNetwork, RefinementSettings, encode_by_refinement, encode_by_search
from coinr.optimize.compress.scaling import Observation, decibels, score_of_decibels
from coinr.optimize.compress.targets import Budget, check_encode_options, resolve_budget
from coinr.optimize.compress.training import TrainingRuns
from coinr.progress import show_progress
from coinr.runtime.ambient import independent
from coinr.signal_files.api import signal_meta, with_canonical
from coinr.signals.image.signal import ImageSignal
from coinr.signals.signal import Signal
from coinr.starts.find import needed_meta
from coinr.starts.start import Start

# Networks that are fitted for a score besides the short fit. Where all fall short, the best one is fitted once more in
# so many times the steps.
_TRIES, _LONGER = 4, 4

# Least parameters of a network, relative to the smallest one of the curves, and relative to one that was too small.
_LEAST, _LARGER = 0.5, 1.2

# A fit ends early where its score would still be kept by so many bits per parameter, and by 1.5 dB more: a smaller
# network will do. The next network is fitted if its predicted file is smaller than 0.8 of the best one.
_SURPLUS, _MIN_BITS, _WORTH_IT = 1.5, 4.0, 0.8

# The short fit: its share of the steps, the least steps, and its share of the time. Every other fit but the last one
# gets half of the remaining time.
_SHORT, _SHORTEST, _SHORT_TIME, _TIME = 0.25, 300, 0.1, 0.5

# Steps of a refinement relative to those of the fit; the share of the time for fits; the share of the rest that
# encoding takes before a refinement.
_REFINEMENT, _FITTING, _ENCODING = 0.5, 0.8, 1 / 3


_Tried = tuple[Architecture, Fit]
_Encoder = tuple[str, Callable[[], EncodedNetwork]]


@dataclass(frozen=True)
class Step:
    """A step of a compression: its name, and its outcome in words and in numbers."""

    name: str
    words: str
    numbers: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.name}: {self.words}"


@dataclass(frozen=True)
class Compressed:
    """What :func:`compress` returns.

    Attributes
    ----------
    blob : bytes
        The file; :func:`coinr.open_file` opens it.
    network : nn.Module
        The fitted network, before encoding.
    score : float
        Of the decoded network, over the whole signal (the held-out views of a scene).
    report : list of Step
        The steps in order.
    """

    blob: bytes = field(repr=False)
    network: nn.Module = field(repr=False)
    score: float
    report: list[Step] = field(repr=False)

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return len(self.blob)


@independent
@checked
def compress(
    signal: Any,
    network: str | None = None,
    *,
    start: Start | None = None,
    target_bytes: int | None = None,
    target_bpp: float | None = None,
    min_score: float | None = None,
    refine: bool = False,
    thorough: bool = False,
    seed: int = 0,
    steps: int | None = None,
    time_budget: float | None = None,
    progress: bool | None = None,
    fitting: Mapping[str, Any] | None = None,
    **codec: Any,
) -> Compressed:
    """Return a file of a signal with a given largest size or lowest score; everything else is chosen.

    For a size, the network is fitted that is best at this size according to measured curves
    (:mod:`coinr.optimize.compress.scaling`), and encoded as precisely as the size allows. For a score, a short fit of a
    small network shows how difficult the signal is. Then the network with the smallest predicted file is fitted, a
    larger one where it falls short, and encoded as coarsely as the score allows. At most four networks are fitted in
    this way, of at most 64 times the parameters of the largest one in the curves. Where all fall short by 6 dB or less
    and ``steps`` are not given, the best is fitted in four times the steps. A score is given up only after a full fit
    of a network with eight times the parameters of the small one.

    A start decides the network, which is fitted from there once; for a score that it misses by 6 dB or less, and
    without ``steps``, once more in four times the steps. It is encoded relative to the start and without it, and the
    better file is taken; :func:`coinr.inspect` says whether that has a base.

    Parameters
    ----------
    signal : Signal or array
        As for :func:`coinr.fit`.
    network : str, optional
        Kind of the network; by default that of the signal's recipe, for which the curves were measured.
    start : Start, optional
        Where the fit begins, in place of ``network``, see :func:`coinr.learn_start`.
    target_bytes : int, optional
        The largest size that is allowed; the file is at most 2 % smaller.
    target_bpp : float, optional
        The same in bits per sample: a pixel, a sample of a sound, a voxel of the grid.
    min_score : float, optional
        The lowest score that is allowed, as the signal measures it: PSNR or SNR in dB, or IoU. The file ends within
        0.05 dB above it. Networks of some hundred parameters may end higher, as small changes of errors move their
        score by more.
    refine : bool
        Train the network on for its quantization, by the optimizer of the fit in half as many steps, see
        :func:`coinr.optimize.refine.refine`.
    thorough : bool
        Needs ``refine``: encode the refined network by second derivatives, too. It takes minutes and up to 5 GB.
    seed : int
        Of initial weights, samples and dictionaries, 0 .. 2^64 - 1.
    steps : int, optional
        Of each fit, by default those of the recipe; the short fit has a quarter.
    time_budget : float, optional
        Seconds for everything, exceeded by one file and its evaluation at most. Fits take four fifths, or a little more
        than half before a refinement; encoding ends with the best file by then.
    progress : bool, optional
        Show progress on stderr, see :mod:`coinr.progress`; by default only if it takes two seconds or more.
    fitting : mapping, optional
        Other arguments of :func:`coinr.fit`: ``batch``, ``learning_rate``, ``optimizer``, ``precision``, ``device``,
        ``threads``, ``checkpoint`` and ``checkpoint_every``. Each fit has a checkpoint of its own, whose name ends in
        the network's size, and in the steps where they differ from the usual ones.
    **codec
        Of :func:`~coinr.encode_state_dict`: ``profile`` (``auto``, ``direct`` or ``sparse``), ``seeds``, ``lossless``,
        ``backend``, ``threads``, ...

    Raises
    ------
    InputError
        If an argument is out of range, or the size or score is out of reach; the message says what can be reached, what
        was tried and what was not.
    CoinrError
        If a fit diverged.
    """
    opened = signal if isinstance(signal, Signal) else ImageSignal(signal)
    if thorough and not refine:
        raise InputError("thorough is for a refinement: give refine=True, too")
    budget = resolve_budget(opened, target_bytes, target_bpp, min_score)
    check_encode_options(codec)
    if start is not None:
        network_at(start, opened, network=network)
    runs = TrainingRuns(opened, network, seed, steps, time_budget, fitting or {})
    chooser = ArchitectureChooser(opened, network)
    share = _FITTING / (1 + _REFINEMENT) if refine else _FITTING
    run = _Run(opened, chooser, runs, share, EncodeOptions.from_arguments({"effort": "best", **codec}))
    with show_progress("compress", progress):
        if start is not None:
            fitted = run.fit_from(start, budget)
        elif budget.size is not None:
            fitted = run.fit_for_size(budget.size)
        else:
            assert budget.score is not None
            fitted = run.fit_for_score(budget.score)
        meta = signal_meta(fitted.network, opened)
        arguments = plain = {"seed": seed, "meta": meta, **with_canonical(codec)}
        limit = runs.limit.part(_ENCODING) if refine else runs.limit
        encoders: list[_Encoder] = []
        if start is not None:
            relative = {**codec, "base": start.arrays}
            arguments = {"seed": seed, "meta": {**meta, **needed_meta(start)}, **with_canonical(relative)}
            half = limit.part(0.5)
            encoders.append(
                ("code differences", lambda: encode_by_search(fitted.network, opened, budget, half, arguments))
            )
        encoders.append(("code", lambda: encode_by_search(fitted.network, opened, budget, limit, plain)))
        if refine:
            steps, optimizer = max(1, round(_REFINEMENT * runs.steps)), runs.optimizer(fitted.network)
            settings = RefinementSettings(steps, runs.batch, optimizer, thorough)
            inputs = fitted.network, opened, budget, settings, runs.limit, arguments
            encoders.append(("refine", lambda: encode_by_refinement(*inputs)))
        best = run.encode_best(encoders, budget)
        return Compressed(best.blob, fitted.network, best.score, run.report)


class _Run:
    """The fits for one signal, and the report of them.

    Parameters
    ----------
    signal, chooser, runs
        Of one signal.
    share : float
        Of the time, for fits.
    options
        How networks are encoded. What they do not allow is refused before a network is fitted.
    """

    def __init__(
        self, signal: Signal, chooser: ArchitectureChooser, runs: TrainingRuns, share: float, options: EncodeOptions
    ) -> None:
        self.signal, self.chooser, self.runs, self.share, self._options = signal, chooser, runs, share, options
        self.report: list[Step] = []

    def fit_for_size(self, size: int) -> Fit:
        """Fit the network that is best at a size."""
        choice = self.chooser.for_size(size)
        if choice is None:
            least = self.chooser.smallest()
            raise InputError(f"{size} bytes are out of reach: the smallest file of this {self.signal.kind} has {least}")
        self._report_choice(choice)
        return self._fit("fit", choice, self.share, self.runs.steps, None)

    def fit_from(self, start: Start, budget: Budget) -> Fit:
        """Fit the network of a start; once more for longer where it misses a score by little.

        Raises
        ------
        InputError
            If it misses the score.
        """
        options = replace(self._options, base=start.arrays)
        Encoder(start.network().state_dict(), options)  # limits and patterns, before a long fit
        score, fits = budget.score, [self._fit_start(start, self.runs.steps)]
        if score is None or fits[0].score >= score:
            return fits[0]
        near = decibels(self.signal, fits[0].score) >= decibels(self.signal, score) - CURVES_ERROR
        if near and not self.runs.steps_given and not self.runs.limit.out_of_time():
            fits.append(self._fit_start(start, _LONGER * self.runs.steps))
        best = max(fits, key=lambda fitted: fitted.score)
        if best.score < score:
            raise InputError(
                f"{self.format_score(score)} is out of reach: {self.format_score(best.score)} was reached from the "
                f"start {start.name!r}, which decides the network, in {best.steps} steps"
            )
        return best

    def _fit_start(self, start: Start, steps: int) -> Fit:
        fitted = self.runs.fit_from(start, share=self.share, steps=steps)
        self._add_step(
            "fit",
            f"from the start {start.name!r}, {self.format_score(fitted.score)} after {fitted.steps} steps in "
            f"{fitted.seconds:.0f} s",
            {"score": fitted.score, "steps": fitted.steps, "seconds": fitted.seconds},
        )
        return fitted

    def fit_for_score(self, score: float) -> Fit:
        """Fit the network with the smallest predicted file at a score, and others where the prediction was wrong."""
        chooser, probe = self.chooser, self.chooser.probe()
        short = min(self.runs.steps, max(round(_SHORT * self.runs.steps), _SHORTEST))
        tried = [(probe, self._fit("short fit", probe, _SHORT_TIME * self.share, short, None))]
        least = _LEAST * chooser.curves.smallest
        small: int | None = None
        good: list[tuple[float, Fit]] = []
        untried = f"more than {_TRIES} networks after the short fit"
        for k in range(_TRIES):
            if k > 0 and self.runs.limit.out_of_time():
                untried = "further networks, as the time is over"
                break
            observed = self._observe(*tried[-1])
            choice = chooser.for_score(score, observed, least)
            if choice is None and k == 0:
                # a short fit of a small network is too little to give a score up
                choice = chooser.larger(score, observed, least)
            if choice is None or (good and choice.size > _WORTH_IT * min(good, key=_first)[0]):
                untried = (
                    f"larger networks, as of other signals none of up to {chooser.most_parameters()} parameters comes "
                    f"within {CURVES_ERROR:g} dB by what was measured"
                )
                break
            share = self.share * (_TIME if k < _TRIES - 1 else 1.0)
            size = self._fit_for_score(choice, score, share, self.runs.steps, tried)
            if size == math.inf:
                small, least = choice.parameters, _LARGER * choice.parameters
                continue
            good.append((size, tried[-1][1]))
            if small is not None:
                # the prediction was too small: go halfway between what was too small and what is large enough
                least = max(least, math.sqrt(small * choice.parameters))
        if good:
            return min(good, key=_first)[1]
        longer = self._fit_longer(score, tried)
        best = max((fitted for _, fitted in tried), key=lambda fitted: fitted.score)
        if best.score < score:
            raise InputError(self._describe_tried(score, tried, f"{untried}{longer}"))
        return best

    def _fit_for_score(
        self, choice: Architecture, score: float, share: float, steps: int, tried: list[_Tried]
    ) -> float:
        """Fit a network for a score, and return the predicted bytes of its file; infinite where it falls short."""
        self._report_choice(choice)
        target = decibels(self.signal, score)
        enough = target + self.chooser.curves.coding_loss(target, choice.parameters, _MIN_BITS) + _SURPLUS
        fitted = self._fit("fit", choice, share, steps, score_of_decibels(self.signal, enough))
        tried.append((choice, fitted))
        return self.chooser.file_of(self._observe(choice, fitted), score)

    def _fit_longer(self, score: float, tried: list[_Tried]) -> str:
        """Fit the best network for longer where that may reach a score; return what was not tried, for a message."""
        choice, fitted = max(tried, key=lambda one: one[1].score)
        if fitted.score >= score:
            return ""
        if self.runs.steps_given:
            return "; more steps than were given"
        if self.runs.limit.out_of_time() or any(fit.steps < self.runs.steps for _, fit in tried[1:]):
            return "; longer fits, as the time is over"
        if decibels(self.signal, fitted.score) < decibels(self.signal, score) - CURVES_ERROR:
            return f"; longer fits, as more than {CURVES_ERROR:g} dB are missing"
        self._fit_for_score(choice, score, self.share, _LONGER * self.runs.steps, tried)
        return f"; more than {_LONGER} times the usual steps"

    def _describe_tried(self, score: float, tried: list[_Tried], untried: str) -> str:
        """Return the message that a score is out of reach: what was tried and what was not."""
        best = max(fitted.score for _, fitted in tried)
        fits = ", ".join(
            f"{choice.hidden_layers} x {choice.width} in {fitted.steps} steps {self.format_score(fitted.score)}"
            for choice, fitted in tried
        )
        return (
            f"{self.format_score(score)} is out of reach: {self.format_score(best)} was reached with networks of up to "
            f"{max(choice.parameters for choice, _ in tried)} parameters (tried: {fits}; not tried: {untried})"
        )

    def encode_best(self, encoders: Sequence[_Encoder], budget: Budget) -> EncodedNetwork:
        """Encode in one or several ways; return the best score for a size, or the smallest file for a score.

        All but the first may fail with an :class:`~coinr.InputError`, which goes to the report.

        Raises
        ------
        CoinrError
            If no file keeps the score.
        """
        made: list[EncodedNetwork] = []
        for name, encode in encoders:
            begin = time.perf_counter()
            try:
                coded = encode()
            except InputError as error:
                if not made:
                    raise
                self._add_step(name, str(error), {})
                continue
            seconds = time.perf_counter() - begin
            made.append(coded)
            self._add_step(
                name,
                f"{len(coded.blob)} bytes, {self.format_score(coded.score)}, evaluated {coded.calls} times in "
                f"{seconds:.0f} s",
                {"bytes": len(coded.blob), "score": coded.score, "calls": coded.calls, "seconds": seconds},
            )
        if budget.score is None:
            return max(made, key=lambda coded: coded.score)
        kept = [coded for coded in made if coded.score >= budget.score]
        if not kept:
            best = self.format_score(max(coded.score for coded in made))
            raise CoinrError(f"no file kept {self.format_score(budget.score)}; the best has {best}")
        return min(kept, key=lambda coded: len(coded.blob))

    def _add_step(self, name: str, words: str, numbers: Mapping[str, float]) -> None:
        self.report.append(Step(name, words, numbers))

    def format_score(self, score: float) -> str:
        """Return a score with its metric and unit."""
        return f"{self.signal.metric} {score:.{2 if self.signal.unit else 4}f} {self.signal.unit}".rstrip()

    def _fit(self, name: str, choice: Architecture, share: float, steps: int, target: float | None) -> Fit:
        Encoder(self.runs.untrained(choice).state_dict(), self._options)  # limits and patterns, before a long fit
        fitted = self.runs.fit(choice, share=share, steps=steps, target=target)
        self._add_step(
            name,
            f"{choice.hidden_layers} x {choice.width}, {self.format_score(fitted.score)} after {fitted.steps} steps in "
            f"{fitted.seconds:.0f} s",
            {
                "hidden_layers": choice.hidden_layers,
                "width": choice.width,
                "score": fitted.score,
                "steps": fitted.steps,
                "seconds": fitted.seconds,
            },
        )
        return fitted

    def _report_choice(self, choice: Architecture) -> None:
        expected = score_of_decibels(self.signal, choice.quality - choice.lost)
        self._add_step(
            "choose",
            f"{choice.hidden_layers} x {choice.width}, {choice.parameters} parameters of {choice.bits:.1f} bits; "
            f"by the table {choice.size} bytes have {self.format_score(expected)}",
            {
                "hidden_layers": choice.hidden_layers,
                "width": choice.width,
                "parameters": choice.parameters,
                "bits_per_parameter": choice.bits,
                "bytes": choice.size,
                "score": expected,
            },
        )

    def _observe(self, choice: Architecture, fitted: Fit) -> Observation:
        return Observation(choice.hidden_layers, choice.parameters, decibels(self.signal, fitted.score))


def _first(pair: tuple[float, Fit]) -> float:
    return pair[0]
