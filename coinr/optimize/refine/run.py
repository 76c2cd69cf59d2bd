"""Refinement: training a network's weights for their quantization, then encoding them."""

from __future__ import annotations

import math
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from glob import escape
from typing import Any

import torch
from torch import Tensor

from coinr.codec.canonical import in_order, known_network
from coinr.codec.encoder import Encoder
from coinr.codec.options import EncodeOptions
from coinr.codec.profiles.tasks import uses_calibration
from coinr.errors import InputError
from coinr.fitting.optimizers import OPTIMIZERS
from coinr.inputs.arguments import checked
from coinr.inputs.callbacks import Metric
from coinr.inputs.state_dicts import StateDict, plain_tensors
from coinr.networks.symmetries import to_canonical
from coinr.optimize.refine.distill import decibels
from coinr.optimize.refine.encode import EncodingResult, ScaledEncoder
from coinr.optimize.refine.noisy_network import LossFunction, NoisyNetwork, mean_loss
from coinr.optimize.refine.noisy_tensor import NoisyTensor
from coinr.optimize.refine.task import Goals, Task
from coinr.optimize.refine.training import RefineOptions, train
from coinr.progress import report, show_progress
from coinr.runtime.ambient import independent
from coinr.runtime.work_limit import WorkLimit

# Profiles whose errors can be set tensor by tensor.
_PROFILES = ("auto", "direct", "sparse")

# Tolerance at which training starts: errors so small that they change nothing.
_START = 0.05

# The largest default learning rate, as a number and as a tolerance. Adam moves every weight by about the learning rate,
# Muon a matrix by twice that in spectral norm; a network must be able to compensate for it.
_RATE, _RATE_TOLERANCE = 2e-4, 0.6

# Errors of tensors that are all zero.
_LEAST = 1e-8


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
    output_error_db : float or None
        Of a module: the output error at the held-out samples, in dB of the output's range.
    history : list of (int, float, float)
        (steps done, loss, estimated bytes) with noise in the place of quantization; means over 1 % of the steps each.
        Of a module, the loss is the squared output error over the squared range.
    seconds : float
        Wall-clock seconds of the training.
    """

    state_dict: OrderedDict[str, Tensor] = field(repr=False)
    blob: bytes = field(repr=False)
    score: float | None
    output_error_db: float | None
    history: list[tuple[int, float, float]] = field(repr=False)
    seconds: float


@independent
@checked
def refine(
    sd: StateDict,
    loss_fn: Any,
    *,
    loss_increase: float | None = None,
    target_bytes: int | None = None,
    output_error_db: float | None = None,
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
    """Train a network for its quantization and encode it: fewer bytes at equal quality than without training.

    Weights are trained together with the error that quantization may leave in each row of each matrix. The objective is
    the loss with noise of these errors plus the estimated bits (as in Ballé et al., 2017); the noise is correlated like
    the errors of the encoder, whose feedback lets later weights compensate earlier ones. The state dict is then encoded
    at these errors, or at the multiple of them that meets the target. Give at most one of ``loss_increase``,
    ``target_bytes``, ``output_error_db`` and ``min_score``.

    ``refine(module, inputs)`` needs no signal and no loss: the output of the module itself is what is kept. The loss is
    the mean squared difference to it, on batches of the inputs.

    All work but training steps (encoding, evaluation, recording of layers' inputs) takes at most about the CPU time of
    300 steps, measured during training; one file and its evaluation are always made. So the number of files that are
    tried for a size or a score may differ from run to run. ``thorough`` lifts this limit and makes results
    reproducible.

    Parameters
    ----------
    sd
        As for :func:`~coinr.encode_state_dict`; not changed. A module with inputs is called in evaluation mode. Some
        tensors are encoded untrained: those of the ``lossless`` patterns, integers, bools and tensors that the loss
        does not depend on. Tensors by which the loss cannot be differentiated, such as running statistics, are stored
        exactly.
    loss_fn
        Takes a state dict of the same names, order, shapes, dtypes and devices, and returns a positive 0-dim loss
        through which gradients flow; for example :func:`torch.func.functional_call` on a random batch. It gets copies
        and runs under the caller's settings, but with gradients and without inference mode. A refinement that is
        thorough or has a ``loss_increase`` gives equal results where ``loss_fn`` does.

        Or the inputs of a module: a tensor of samples (an image's coordinates, say), a tuple of tensors, one for each
        argument, or a callable without arguments that draws a batch of them. An eighth of at least 64 samples is
        held out, at most 16 384; so are the first batches of a callable.
    loss_increase
        Relative increase of the loss by encoding, 0.02 by default: about 0.1 dB of a squared error.
    target_bytes
        The largest size that is allowed; the file is at most 2 % smaller.
    output_error_db
        Of a module: the largest output error, -50 by default: root mean squared difference to the original output at
        the held-out samples, in dB of the output's range there (largest less least value). The smallest file found to
        keep it is returned.
    min_score
        The lowest ``evaluate`` that is good enough: the smallest file found to reach it is returned.
    evaluate
        The score of a state dict, higher is better. ``min_score`` needs it, and calls it at most 23 times, 35 if
        ``thorough``; of a module with inputs, five times more.
    steps, learning_rate
        Steps, and the learning rate of the weights, which rises for 100 steps and then decays as a cosine. None stands
        for 2e-4, or less where weights tolerate less: four times the geometric mean of the errors that the tolerance
        0.15 allows.
    optimizer
        Of the weights: ``"adam"``, ``"muon"`` or ``"soap"``, see :mod:`coinr.fitting.optimizers`. For SIRENs of two
        coordinates or more, Muon gets further in equal steps.
    profile
        ``"auto"``, ``"direct"`` or ``"sparse"``, see :func:`~coinr.encode_state_dict`.
    seed
        Of the noise, and of the dictionaries, ``0 … 2**64 - 1``.
    seconds
        Wall-clock time for everything. It is exceeded by one file and its evaluation at most, by two where the first
        misses the target. The training leaves the time of 300 steps, or three tenths, for the rest; its learning rate
        has decayed to zero by then.
    thorough
        Try as many files as help. Plain networks of up to 13 312 parameters without a ``base`` are also encoded by
        second derivatives of all weights together, with errors of equal effect in all tensors; the better of both files
        is returned. That takes at most minutes of two cores, and 5 GB.
    progress
        Show progress on stderr, see :mod:`coinr.progress`; by default only if it takes two seconds or more.
    **options
        Others of :func:`~coinr.encode_state_dict`, without ``output_error_db``, ``tolerance``, ``errors`` and
        ``calibrate``. With ``canonical``, the network is brought into that order before and after the training.

    Raises
    ------
    InputError
        If an argument is out of range, the loss is not positive and 0-dim or depends on no tensor that may be trained,
        the module cannot take the inputs, its output is not finite or constant, or the size, score or output error is
        out of reach; the message says what was reached.
    CoinrError
        If the loss is not finite.
    """
    goals = Goals(loss_increase, target_bytes, output_error_db, min_score)
    goals.check(sd, loss_fn, evaluate)
    _check(steps, learning_rate, seconds)
    for name, value, allowed in (("profile", profile, _PROFILES), ("optimizer", optimizer, OPTIMIZERS)):
        if value not in allowed:
            raise InputError(f"{name} {value!r} cannot be refined with; it must be one of {', '.join(allowed)}")
    decided = ("output_error_db", "tolerance", "errors", "calibrate", "target_bits")
    requested = EncodeOptions.from_arguments({"seed": seed, "profile": profile, "effort": "best"} | options, decided)
    evaluate = None if evaluate is None else Metric(evaluate)
    limit = WorkLimit(seconds)
    with show_progress("refine", progress):
        report(0, total=steps, seconds=seconds)
        with limit.unit():
            task = Task.of(sd, loss_fn, seed, goals, evaluate)
            neurons = known_network(sd, requested.meta).neurons() if requested.canonical else []
            sd = in_order(sd, requested) if requested.canonical else task.state_dict
            loss_fn, distillation = task.loss_fn, task.distillation
            encoder = Encoder(sd, requested)
            network = _make_network(sd, encoder)
            generator = torch.Generator(next(iter(network.trained.values())).values.device).manual_seed(seed)
            if fixed := network.drop_unused(loss_fn, generator):
                requested = replace(requested, lossless=(*requested.lossless, *map(escape, fixed)))
                encoder = Encoder(sd, requested)
            multiplier = task.multiplier(encoder, network, generator)
        begin = time.perf_counter()
        rate = _default_learning_rate(encoder) if learning_rate is None else learning_rate
        training = RefineOptions(steps, optimizer, rate, seed, thorough)
        history = train(network, loss_fn, training, multiplier, limit)
        trained = time.perf_counter() - begin
        if neurons:
            network.reorder(to_canonical(network.value(), neurons))
        plain = network.value()
        encode: Callable[[ScaledEncoder], EncodingResult]
        if task.metric is not None:
            with limit.unit():
                full = float(task.metric(plain))
            encode = partial(ScaledEncoder.encode_to_score, evaluate=task.metric, full=full, target=task.least)
        elif target_bytes is not None:
            encode = partial(ScaledEncoder.encode_to_size, size=target_bytes)
        else:
            encode = ScaledEncoder.encode_as_trained
        report(text="coding")
        scaled = ScaledEncoder(plain, network.trained, None, limit, requested)
        results = [encode(scaled)]
        if thorough and encoder.reference is None:
            results += _encode_with_hessian(encode, plain, network, loss_fn, limit, requested)
        found = [one for one in results if one.blob]
        if not found:
            raise InputError(task.out_of_reach(results, full, history[-1][0]))
        if task.metric is not None:
            best = min(found, key=lambda one: len(one.blob))
        else:
            # files of a size are within it, whatever their bytes
            per_bit = multiplier.per_bit if target_bytes is None else 0.0
            best = _lowest_cost(found, scaled.decode, partial(mean_loss, loss_fn), per_bit)
        tensors = scaled.decode(best.blob)
        decoded = OrderedDict((name, tensor.to(plain[name].device)) for name, tensor in tensors.items())
        score = best.score if min_score is not None else None if evaluate is None else float(evaluate(decoded))
        if distillation is None:
            return Refined(decoded, best.blob, score, None, history, trained)
        output_error = decibels(distillation.squared_error(decoded))
        history = [(step, distillation.squared_error_of(loss), size) for step, loss, size in history]
        return Refined(decoded, best.blob, score, output_error, history, trained)


def _encode_with_hessian(
    encode: Callable[[ScaledEncoder], EncodingResult],
    plain: Mapping[str, Tensor],
    network: NoisyNetwork,
    loss_fn: LossFunction,
    limit: WorkLimit,
    options: EncodeOptions,
) -> list[EncodingResult]:
    """Encode by second derivatives of the loss, where they can be had in time.

    Errors spread by them differ from the noise of the training: they may do better or worse.
    """
    if limit.out_of_time():
        return []
    report(text="second derivatives")
    hessian = network.accumulate_hessian(loss_fn, limit)
    if hessian is None or limit.out_of_time():
        return []
    report(text="coding by second derivatives")
    return [encode(ScaledEncoder(plain, network.trained, hessian, limit, options))]


def _lowest_cost(
    found: list[EncodingResult],
    decode: Callable[[bytes], dict[str, Tensor]],
    loss: Callable[[Mapping[str, Tensor]], float],
    per_bit: float,
) -> EncodingResult:
    """Return the file with the least objective of the training: relative change of the loss + per_bit · bits."""
    if len(found) == 1:
        return found[0]
    losses = [loss(decode(one.blob)) for one in found]
    unit = max(min(losses), sys.float_info.min)
    costs = [one / unit + per_bit * 8 * len(file.blob) for one, file in zip(losses, found, strict=True)]
    return found[costs.index(min(costs))]


def _check(steps: int, learning_rate: float | None, seconds: float | None) -> None:
    for name, value in {"learning_rate": learning_rate, "seconds": seconds}.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} must be positive and finite, not {value!r}")
    if steps < 1:
        raise InputError(f"steps must be an integer ≥ 1, not {steps!r}")


def _make_network(sd: Mapping[str, Any], encoder: Encoder) -> NoisyNetwork:
    """Return the network of a state dict, with a noisy tensor for each that may be trained."""
    names = [entry.name for entry in encoder.entries]
    ties = {entry.name: names[entry.tied_to] for entry in encoder.entries if entry.tied_to is not None}
    tensors = plain_tensors(sd)
    rule = encoder.rule()
    trained = {
        entry.name: NoisyTensor(entry, tensors[entry.name].device, max(_START * rule[entry.name], _LEAST))
        for entry in encoder.lossy_entries
        if entry.finite()
    }
    if not trained:
        raise InputError("the state dict holds no tensor that is coded with loss")
    return NoisyNetwork(tensors, trained, ties, uses_calibration=uses_calibration(encoder.options.profile))


def _default_learning_rate(encoder: Encoder) -> float:
    """Return the learning rate for weights of this size: at most what they tolerate as errors."""
    rule = encoder.rule()
    entries = [entry for entry in encoder.lossy_entries if entry.finite() and rule[entry.name] > 0]
    count = sum(entry.count for entry in entries)
    mean_log = sum(entry.count * math.log(rule[entry.name]) for entry in entries) / max(count, 1)
    return min(_RATE, _RATE_TOLERANCE * math.exp(mean_log)) if count else _RATE
