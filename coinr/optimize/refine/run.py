"""Refinement through the code: a network's weights trained for how they will be coded."""

from __future__ import annotations

import math
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from glob import escape
from typing import Any

import torch
from torch import Tensor

from coinr.codec.encoder import Encoder
from coinr.codec.profiles.tasks import uses_calibration
from coinr.errors import InputError
from coinr.fitting.optimizers import OPTIMIZERS
from coinr.inputs.arguments import checked
from coinr.inputs.callbacks import Loss, Metric
from coinr.inputs.state_dicts import plain_tensors
from coinr.optimize.refine.encode import Coding, Tried
from coinr.optimize.refine.lagrange import RISE, OfScore, OfSize, Price
from coinr.optimize.refine.noisy_network import LossFunction, Network, mean_loss
from coinr.optimize.refine.noisy_tensor import Channel
from coinr.optimize.refine.training import Plan, train
from coinr.progress import report, show_progress
from coinr.runtime.ambient import independent
from coinr.runtime.work_limit import WorkLimit

# Profiles whose errors can be trained.
_PROFILES = ("auto", "direct", "sparse")

# Errors that training starts from, as a tolerance for the rule: so fine that they cost nothing.
_START = 0.05

# The largest learning rate where none is given, and what it is at most as a tolerance for the rule: Adam moves every
# weight by about the learning rate, and Muon a matrix by twice that in spectral norm, which must be no more than a
# network can make up for.
_RATE, _BORNE = 2e-4, 0.6

# Errors of tensors that are zero throughout, and those at which any tensor vanishes.
_LEAST, _MOST = 1e-8, 1e30


@dataclass(frozen=True)
class Refined:
    """What :func:`refine` returns.

    Attributes
    ----------
    state_dict : OrderedDict of str to Tensor
        What ``blob`` decodes to, on the devices of the tensors that were given.
    blob : bytes
        The file.
    score : float or None
        ``evaluate(state_dict)``, where it was given.
    history : list of (int, float, float)
        (steps done, loss, estimated bytes) with noise in the place of rounding, means over a hundredth of the steps.
    seconds : float
        Wall-clock seconds of the training.
    """

    state_dict: OrderedDict[str, Tensor] = field(repr=False)
    blob: bytes = field(repr=False)
    score: float | None
    history: list[tuple[int, float, float]] = field(repr=False)
    seconds: float


@independent
@checked
def refine(
    sd: Mapping[str, Any],
    loss_fn: LossFunction,
    *,
    rise: float | None = None,
    target_bytes: int | None = None,
    min_score: float | None = None,
    evaluate: Callable[[Mapping[str, Tensor]], float] | None = None,
    steps: int = 3000,
    learning_rate: float | None = None,
    optimizer: str = "adam",
    profile: str = "auto",
    seed: int = 0,
    seconds: float | None = None,
    thorough: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Refined:
    """Train a network for its code and code it: fewer bytes at the same quality than coding it as it is.

    Weights and the errors of every row of every matrix are trained together, so that the loss with noise of these
    errors, and what bits are worth, are least (as in Ballé et al., 2017); the noise is spread as the coder's feedback
    spreads its errors. Then the state dict is coded at these errors, or at the multiple of them that keeps what was
    asked for. At most one of ``rise``, ``target_bytes`` and ``min_score`` is given.

    What is not a training step (coding, judging, looking at layers' inputs) takes at most about the CPU time of 300
    steps, measured as they run, but one file and what it takes to judge it. So how many files are tried for a size or
    a score may differ from run to run. ``thorough`` lifts that, and repeats itself.

    Parameters
    ----------
    sd
        As for :func:`~coinr.encode_state_dict`; not changed. Tensors of the ``lossless`` patterns, integers and bools,
        and tensors that the loss does not depend on are coded as they are; those that it cannot be derived by, such as
        running statistics, are stored exactly.
    loss_fn
        Takes a state dict of the same names, order, shapes, dtypes and devices, and gives the loss, 0-dim and positive,
        through which gradients flow back; for example of :func:`torch.func.functional_call` on a random batch. It
        gets copies and runs under the caller's settings, but with gradients and without inference mode. A refinement
        that is thorough or keeps a ``rise`` repeats itself where ``loss_fn`` does.
    rise
        Relative rise of the loss by coding, 0.02 by default: about 0.1 dB of a squared error.
    target_bytes
        The largest size that is allowed; the file is at most 2 % smaller.
    min_score
        The lowest ``evaluate`` that is good enough: the file is the smallest found to keep it.
    evaluate
        The score of a state dict, higher is better; needed for ``min_score`` and called at most 23 times for it, 35 if
        ``thorough``.
    steps, learning_rate
        Steps and the learning rate of the weights, which rises for 100 steps and falls as a cosine. None: 2e-4, and
        less where weights bear less: four times the mean error (geometric, over weights) that the tolerance 0.15
        allows.
    optimizer
        Of the weights, ``"adam"``, ``"muon"`` or ``"soap"``, see :mod:`coinr.fitting.optimizers`. Muon takes SIRENs of
        two coordinates or more further in as many steps.
    profile
        ``"auto"``, ``"direct"`` or ``"sparse"``, see :func:`~coinr.encode_state_dict`.
    seed
        Of the noise, and of the dictionaries, ``0 … 2**64 - 1``.
    seconds
        Wall-clock time for all of it, passed by one file and its judgement at most, by two
        files where the first does not keep what is asked for. The training leaves what 300 steps
        take, or three tenths, for what comes after it; the learning rate has fallen to zero by then.
    thorough
        Try as many files as help, and code plain networks of up to 13 312 parameters without a ``base`` by second
        derivatives of all together, too, with errors so that every parameter contributes equally; of both files the
        better is kept. That takes minutes of two cores, and 5 GB, at the most.
    progress
        Show how far it is on stderr, see :mod:`coinr.progress`; if absent, only of two seconds or more.
    **options
        Others of :func:`~coinr.encode_state_dict`, without ``tolerance``, ``errors`` and ``calibrate``.

    Raises
    ------
    InputError
        If an argument is out of range, the loss is no such number or depends on no tensor that may be trained, or the
        size or score is out of reach; the message says what was reached.
    CoinrError
        If the loss is not finite.
    """
    _check(rise, target_bytes, min_score, evaluate, steps, learning_rate, seconds)
    for name, value, allowed in (("profile", profile, _PROFILES), ("optimizer", optimizer, OPTIMIZERS)):
        if value not in allowed:
            raise InputError(f"{name} {value!r} cannot be refined with; it must be one of {', '.join(allowed)}")
    arguments: dict[str, Any] = {"seed": seed, "profile": profile} | options
    loss_fn, evaluate = Loss(loss_fn), None if evaluate is None else Metric(evaluate)
    limit = WorkLimit(seconds)
    with show_progress("refine", progress):
        report(0, total=steps, seconds=seconds)
        with limit.unit():
            encoder = Encoder(sd, **arguments)
            network = _network(sd, encoder)
            generator = torch.Generator(next(iter(network.channels.values())).values.device).manual_seed(seed)
            if fixed := network.drop_unused(loss_fn, generator):
                arguments["lossless"] = (*options.get("lossless", ()), *map(escape, fixed))
                encoder = Encoder(sd, **arguments)
            price = _price(encoder, network, rise, target_bytes, min_score, evaluate)
        begin = time.perf_counter()
        rate = _learning_rate(encoder) if learning_rate is None else learning_rate
        history = train(network, loss_fn, Plan(steps, optimizer, rate, seed, thorough), price, limit)
        trained = time.perf_counter() - begin
        clean = network.clean()
        code: Callable[[Coding], Tried]
        if min_score is not None and evaluate is not None:
            with limit.unit():
                full = float(evaluate(clean))
            code = partial(Coding.of_score, evaluate=evaluate, full=full, wanted=min_score)
        elif target_bytes is not None:
            code = partial(Coding.of_size, size=target_bytes)
        else:
            code = Coding.as_trained
        report(text="coding")
        plain = Coding(clean, network.channels, None, limit, arguments)
        tried = [code(plain)]
        if thorough and encoder.reference is None and not limit.out_of_time():
            report(text="second derivatives")
            # errors spread by second derivatives are not the noise that was trained with: they may do better or worse
            hessian = network.accumulate_hessian(loss_fn, limit)
            if hessian is not None and not limit.out_of_time():
                report(text="coding by second derivatives")
                tried.append(code(Coding(clean, network.channels, hessian, limit, arguments)))
        found = [one for one in tried if one.blob]
        if not found:
            raise InputError(f"min_score {min_score} is out of reach: {_reached(tried, full, history[-1][0])}")
        if min_score is not None:
            best = min(found, key=lambda one: len(one.blob))
        else:
            best = _cheapest(found, plain.decode, partial(mean_loss, loss_fn), price)
        decoded = OrderedDict((name, tensor.to(clean[name].device)) for name, tensor in plain.decode(best.blob).items())
        score = best.score if evaluate is None or min_score is not None else float(evaluate(decoded))
        return Refined(decoded, best.blob, score, history, trained)


def _price(
    encoder: Encoder,
    network: Network,
    rise: float | None,
    target_bytes: int | None,
    min_score: float | None,
    evaluate: Callable[[Mapping[str, Tensor]], float] | None,
) -> Price:
    """What a bit is worth, by what is wanted."""
    count = sum(channel.values.numel() for channel in network.channels.values())
    if target_bytes is not None:
        return OfSize(8 * (target_bytes - _overhead(encoder)), count)
    if min_score is not None and evaluate is not None:
        return OfScore(evaluate, float(evaluate(network.clean())), min_score, count)
    return Price(RISE if rise is None else rise, count)


def _reached(tried: list[Tried], full: float, steps: int) -> str:
    """What was tried for a score and what came of it, in words."""
    files = sum(one.files for one in tried)
    best = max(one.best for one in tried if one.best is not None) if files else None
    coded = f"the best of {files} files has {best}" if files else "nothing was coded"
    return (
        f"after {steps} steps the score before coding is {full}, and {coded} (more steps, more seconds or another "
        "learning rate may help)"
    )


def _cheapest(
    found: list[Tried],
    decode: Callable[[bytes], dict[str, Tensor]],
    loss: Callable[[Mapping[str, Tensor]], float],
    price: Price,
) -> Tried:
    """The file with the least of what training makes least: relative change of the loss plus price of the bits."""
    if len(found) == 1:
        return found[0]
    losses = [loss(decode(one.blob)) for one in found]
    unit = max(min(losses), sys.float_info.min)
    costs = [one / unit + price.of_a_bit * 8 * len(file.blob) for one, file in zip(losses, found, strict=True)]
    return found[costs.index(min(costs))]


def _check(
    rise: float | None,
    target_bytes: int | None,
    min_score: float | None,
    evaluate: object,
    steps: int,
    learning_rate: float | None,
    seconds: float | None,
) -> None:
    if sum(wish is not None for wish in (rise, target_bytes, min_score)) > 1:
        raise InputError("give one of rise, target_bytes and min_score, or none")
    if min_score is not None and evaluate is None:
        raise InputError("min_score needs evaluate")
    for name, value in {"rise": rise, "learning_rate": learning_rate, "seconds": seconds}.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} must be positive and finite, not {value!r}")
    for name, count in {"steps": steps, "target_bytes": target_bytes}.items():
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise InputError(f"{name} must be an integer ≥ 1, not {count!r}")


def _network(sd: Mapping[str, Any], encoder: Encoder) -> Network:
    """All tensors where they are, with a channel for each that may be trained."""
    names = [entry.name for entry in encoder.entries]
    ties = {entry.name: names[entry.tied_to] for entry in encoder.entries if entry.tied_to is not None}
    tensors = plain_tensors(sd)
    rule = encoder.rule()
    channels = {
        entry.name: Channel(entry, tensors[entry.name].device, max(_START * rule[entry.name], _LEAST))
        for entry in encoder.lossy_entries
        if entry.finite()
    }
    if not channels:
        raise InputError("the state dict holds no tensor that is coded with loss")
    return Network(tensors, channels, ties, uses_calibration=uses_calibration(encoder.profile))


def _learning_rate(encoder: Encoder) -> float:
    """What suits the network's weights."""
    rule = encoder.rule()
    entries = [entry for entry in encoder.lossy_entries if entry.finite() and rule[entry.name] > 0]
    count = sum(entry.planes.size for entry in entries)
    borne = sum(entry.planes.size * math.log(rule[entry.name]) for entry in entries) / max(count, 1)
    return min(_RATE, _BORNE * math.exp(borne)) if count else _RATE


def _overhead(encoder: Encoder) -> int:
    """Bytes of the file besides those of trained tensors: of one whose tensors are all but gone."""
    return len(encoder.encode(1.0, dict.fromkeys(encoder.rule(), _MOST)))
