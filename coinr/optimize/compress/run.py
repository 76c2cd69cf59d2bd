"""One budget: a size or a score is given, everything else is chosen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from coinr.errors import CoinrError, InputError
from coinr.fitting import Fit
from coinr.inputs.arguments import checked
from coinr.optimize.compress.architecture import WRONG, Choice, Choosing
from coinr.optimize.compress.coding import Coded, Refinement, refined, searched
from coinr.optimize.compress.scaling import Seen, decibels, score_of_decibels
from coinr.optimize.compress.targets import Budget, budget_of, check_codec
from coinr.optimize.compress.training import Fits
from coinr.progress import show_progress
from coinr.runtime.ambient import independent
from coinr.signal_files.api import signal_meta
from coinr.signals.image.signal import ImageSignal
from coinr.signals.signal import Signal

# Networks that are fitted for a score, besides the short fit; and the steps of a last, longer fit where all fell short,
# over those of the others.
_TRIES, _LONGER = 4, 4

# Parameters that a network has at least, over those of the smallest in the table; and over those of one that was too
# small.
_LEAST, _LARGER = 0.5, 1.2

# A fit ends early where it is by so many dB better than this many bits a parameter need: a smaller network will do. The
# next network is fitted if its file should be smaller than this share of the best one.
_TOO_GOOD, _FEWEST_BITS, _WORTH_IT = 1.5, 4.0, 0.8

# The short fit: its share of the steps and at least so many of them, and its share of the time; and the share of what
# is left that another fit has which may not be the last.
_SHORT, _SHORTEST, _SHORT_TIME, _TIME = 0.25, 300, 0.1, 0.5

# Steps of a refinement over those of the fit; the share of the time that is not kept for coding; and what coding may
# take of the rest before a refinement.
_REFINED, _FITTING, _CODING = 0.5, 0.8, 1 / 3


@dataclass(frozen=True)
class Step:
    """Something that was done: its name, what came of it in words, and in numbers."""

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
        The network as it was fitted, before coding.
    score : float
        Of what the file decodes to, over the whole signal (the held views of a scene).
    report : list of Step
        What was done, in order.
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
    """Return a file of a signal, from one number: the largest size, or the lowest score. Everything else is chosen.

    For a size, the network that a measured table (:mod:`coinr.optimize.compress.scaling`) says is best at that size is
    fitted and coded as well as the size allows. For a score, a short fit of a small network places the signal on the
    table; the network whose file should be smallest is fitted, a larger one where that does not reach the score, and
    coded as coarsely as the score allows. Up to four networks are fitted so, of at most 64 times the parameters of the
    largest in the table. Where all fall short by 6 dB or less, and ``steps`` are not given, the best is fitted in four
    times as many steps. A score is given up at the earliest after a full fit of a network of eight times the parameters
    of the small one.

    Parameters
    ----------
    signal : Signal or array
        As for :func:`coinr.fit`.
    network : str, optional
        Kind of the network; by default that of the signal's recipe, which the table was measured with.
    target_bytes : int, optional
        The largest size that is allowed; the file is at most 2 % smaller.
    target_bpp : float, optional
        The same in bits for each sample: a pixel, a sample of a sound, a voxel of the grid.
    min_score : float, optional
        The lowest score that is good enough, as the signal measures it: PSNR or SNR in dB, or IoU. The file ends within
        0.05 dB above it, but for networks of some hundred parameters, whose quality jumps by more where errors change
        by little.
    refine : bool
        Train the network on for its code, by the optimizer of the fit in half as many steps, see
        :func:`coinr.optimize.refine.refine`.
    thorough : bool
        Needs ``refine``: its files are also coded by second derivatives, which takes minutes and up to 5 GB.
    seed : int
        Of initial weights, samples and dictionaries, 0 .. 2^64 - 1.
    steps : int, optional
        Of each fit, by default those of the recipe; the short fit has a quarter.
    time_budget : float, optional
        Seconds that all may take together, passed by one file and its judgement at most. Fits take four fifths, or
        a little more than half before a refinement; coding ends with the best file by then.
    progress : bool, optional
        Show how far it is on stderr, see :mod:`coinr.progress`; if absent, only of two seconds or more.
    fitting : mapping, optional
        Other arguments of :func:`coinr.fit`: ``batch``, ``learning_rate``, ``optimizer``, ``precision``, ``device``,
        ``threads``, ``checkpoint`` (each fit has a file of its own, so named with its size added, and its steps where
        they are not the usual) and ``checkpoint_every``.
    **codec
        Of :func:`~coinr.encode_state_dict`: ``profile`` (``auto``, ``direct`` or ``sparse``), ``seeds``, ``lossless``,
        ``backend``, ``threads``, ...

    Raises
    ------
    InputError
        If an argument is out of range, or the budget is out of reach; the message says what can be reached, what was
        tried and what was not.
    CoinrError
        If a fit diverged.
    """
    known = signal if isinstance(signal, Signal) else ImageSignal(signal)
    if thorough and not refine:
        raise InputError("thorough is for a refinement: give refine=True, too")
    budget = budget_of(known, target_bytes, target_bpp, min_score)
    check_codec(codec)
    fits = Fits(known, network, seed, steps, time_budget, fitting or {})
    run = _Run(known, Choosing(known, network), fits, _FITTING / (1 + _REFINED) if refine else _FITTING)
    with show_progress("compress", progress):
        if budget.size is not None:
            fitted = run.for_size(budget.size)
        else:
            assert budget.score is not None
            fitted = run.for_score(budget.score)
        arguments = {"seed": seed, "meta": signal_meta(fitted.network, known), **codec}
        limit = fits.limit.part(_CODING) if refine else fits.limit
        ways: list[tuple[str, Callable[[], Coded]]] = [
            ("code", lambda: searched(fitted.network, known, budget, limit, arguments))
        ]
        if refine:
            steps, optimizer = max(1, round(_REFINED * fits.steps)), fits.optimizer(fitted.network)
            plan = Refinement(steps, fits.batch, optimizer, thorough)
            ways.append(("refine", lambda: refined(fitted.network, known, budget, plan, fits.limit, arguments)))
        best = run.best(ways, budget)
        return Compressed(best.blob, fitted.network, best.score, run.report)


class _Run:
    """The choices and fits for one signal, and the report of them.

    Parameters
    ----------
    signal, choosing, fits
        Of one signal.
    share : float
        Of the time, for fits.
    """

    def __init__(self, signal: Signal, choosing: Choosing, fits: Fits, share: float) -> None:
        self.signal, self.choosing, self.fits, self.share = signal, choosing, fits, share
        self.report: list[Step] = []

    def for_size(self, size: int) -> Fit:
        """Fit the network that is best at a size."""
        choice = self.choosing.for_size(size)
        if choice is None:
            least = self.choosing.smallest()
            raise InputError(f"{size} bytes are out of reach: the smallest file of this {self.signal.kind} has {least}")
        self._note_choice(choice)
        return self._fit("fit", choice, self.share, self.fits.steps, None)

    def for_score(self, score: float) -> Fit:
        """Fit the network whose file should be smallest at a score, and others where it is not as foreseen."""
        choosing, probe = self.choosing, self.choosing.probe()
        short = min(self.fits.steps, max(round(_SHORT * self.fits.steps), _SHORTEST))
        tried = [(probe, self._fit("short fit", probe, _SHORT_TIME * self.share, short, None))]
        least = _LEAST * choosing.table.smallest
        small: int | None = None
        good: list[tuple[float, Fit]] = []
        untried = f"more than {_TRIES} networks after the short fit"
        for k in range(_TRIES):
            if k > 0 and self.fits.limit.out_of_time():
                untried = "further networks, as the time is over"
                break
            seen = self._seen(*tried[-1])
            choice = choosing.for_score(score, seen, least)
            if choice is None and k == 0:
                # a short fit of a small network is no reason to give up
                choice = choosing.larger(score, seen, least)
            if choice is None or (good and choice.size > _WORTH_IT * min(good, key=_first)[0]):
                untried = (
                    f"larger networks, as of other signals none of up to {choosing.most_parameters()} parameters comes "
                    f"within {WRONG:g} dB by what was measured"
                )
                break
            size = self._try(choice, score, self.share * (_TIME if k < _TRIES - 1 else 1.0), self.fits.steps, tried)
            if size == math.inf:
                small, least = choice.parameters, _LARGER * choice.parameters
                continue
            good.append((size, tried[-1][1]))
            if small is not None:
                # the table was wrong here: halfway between what was too small and what is large enough
                least = max(least, math.sqrt(small * choice.parameters))
        if good:
            return min(good, key=_first)[1]
        longer = self._longer(score, tried)
        best = max((fitted for _, fitted in tried), key=lambda fitted: fitted.score)
        if best.score < score:
            raise InputError(self._out_of_reach(score, tried, f"{untried}{longer}"))
        return best

    def _try(self, choice: Choice, score: float, share: float, steps: int, tried: list[tuple[Choice, Fit]]) -> float:
        """Fit a network for a score, and give the bytes that its file should have; infinite where it falls short."""
        self._note_choice(choice)
        wanted = decibels(self.signal, score)
        enough = wanted + self.choosing.table.lost(wanted, choice.parameters, _FEWEST_BITS) + _TOO_GOOD
        fitted = self._fit("fit", choice, share, steps, score_of_decibels(self.signal, enough))
        tried.append((choice, fitted))
        return self.choosing.file_of(self._seen(choice, fitted), score)

    def _longer(self, score: float, tried: list[tuple[Choice, Fit]]) -> str:
        """Fit the best network for longer, where that may reach a score; or why that was not tried, in words."""
        choice, fitted = max(tried, key=lambda one: one[1].score)
        if fitted.score >= score:
            return ""
        if self.fits.steps_given:
            return "; more steps than were given"
        if self.fits.limit.out_of_time() or any(fit.steps < self.fits.steps for _, fit in tried[1:]):
            return "; longer fits, as the time is over"
        if decibels(self.signal, fitted.score) < decibels(self.signal, score) - WRONG:
            return f"; longer fits, as more than {WRONG:g} dB are missing"
        self._try(choice, score, self.share, _LONGER * self.fits.steps, tried)
        return f"; more than {_LONGER} times the usual steps"

    def _out_of_reach(self, score: float, tried: list[tuple[Choice, Fit]], untried: str) -> str:
        """What was tried for a score and what was not, in words."""
        best = max(fitted.score for _, fitted in tried)
        fits = ", ".join(
            f"{choice.hidden_layers} x {choice.width} in {fitted.steps} steps {self.told(fitted.score)}"
            for choice, fitted in tried
        )
        return (
            f"{self.told(score)} is out of reach: {self.told(best)} was reached with networks of up to "
            f"{max(choice.parameters for choice, _ in tried)} parameters (tried: {fits}; not tried: {untried})"
        )

    def best(self, ways: Sequence[tuple[str, Callable[[], Coded]]], budget: Budget) -> Coded:
        """Code in one way or more; the file with the highest score for a size, or the smallest for a score.

        Ways but the first may fail: the report says so.

        Raises
        ------
        CoinrError
            If no file keeps the score.
        """
        made: list[Coded] = []
        for name, way in ways:
            begin = time.perf_counter()
            try:
                coded = way()
            except InputError as error:
                if not made:
                    raise
                self.note(name, str(error), {})
                continue
            seconds = time.perf_counter() - begin
            made.append(coded)
            self.note(
                name,
                f"{len(coded.blob)} bytes, {self.told(coded.score)}, judged {coded.calls} times in {seconds:.0f} s",
                {"bytes": len(coded.blob), "score": coded.score, "calls": coded.calls, "seconds": seconds},
            )
        if budget.score is None:
            return max(made, key=lambda coded: coded.score)
        kept = [coded for coded in made if coded.score >= budget.score]
        if not kept:
            raise CoinrError(
                f"no file kept {self.told(budget.score)}; the best has {self.told(max(coded.score for coded in made))}"
            )
        return min(kept, key=lambda coded: len(coded.blob))

    def note(self, name: str, words: str, numbers: Mapping[str, float]) -> None:
        """Add to the report."""
        self.report.append(Step(name, words, numbers))

    def told(self, score: float) -> str:
        """A score in words."""
        return f"{self.signal.metric} {score:.{2 if self.signal.unit else 4}f} {self.signal.unit}".rstrip()

    def _fit(self, name: str, choice: Choice, share: float, steps: int, target: float | None) -> Fit:
        fitted = self.fits.fit(choice, share=share, steps=steps, target=target)
        self.note(
            name,
            f"{choice.hidden_layers} x {choice.width}, {self.told(fitted.score)} after {fitted.steps} steps in "
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

    def _note_choice(self, choice: Choice) -> None:
        expected = score_of_decibels(self.signal, choice.quality - choice.lost)
        self.note(
            "choose",
            f"{choice.hidden_layers} x {choice.width}, {choice.parameters} parameters of {choice.bits:.1f} bits; "
            f"by the table {choice.size} bytes have {self.told(expected)}",
            {
                "hidden_layers": choice.hidden_layers,
                "width": choice.width,
                "parameters": choice.parameters,
                "bits_per_parameter": choice.bits,
                "bytes": choice.size,
                "score": expected,
            },
        )

    def _seen(self, choice: Choice, fitted: Fit) -> Seen:
        return Seen(choice.hidden_layers, choice.parameters, decibels(self.signal, fitted.score))


def _first(pair: tuple[float, Fit]) -> float:
    return pair[0]
