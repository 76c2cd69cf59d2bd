"""Learning a start for fits from signals of one kind."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from coinr import progress as shown
from coinr.errors import CoinrError, InputError
from coinr.fitting.new_networks import new_network
from coinr.fitting.run import check_values, default_device, read_signals
from coinr.fitting.workers import Workers
from coinr.inputs.arguments import checked
from coinr.meta.joint import Joint
from coinr.meta.learner import Learner
from coinr.meta.maml import Maml
from coinr.meta.options import MetaOptions
from coinr.meta.reptile import Reptile
from coinr.meta.start_file import make_start
from coinr.networks import NETWORKS
from coinr.networks.precision import single_network
from coinr.progress import show_progress
from coinr.runtime.ambient import independent
from coinr.runtime.devices import to_device
from coinr.signals.signal import Signal
from coinr.starts.start import Start, StartMeta

_DIVERGED = "learning diverged in step {}; try a lower learning_rate or inner_rate"

_LEARNERS: Mapping[str, type[Learner]] = {"maml": Maml, "reptile": Reptile, "joint": Joint}


@independent
@checked
def learn_start(
    signals: Sequence[Any],
    network: nn.Module | str | None = None,
    *,
    method: str = "maml",
    name: str = "start",
    width: int | None = None,
    hidden_layers: int | None = None,
    steps: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    signals_per_step: int | None = None,
    inner_steps: int | None = None,
    inner_rate: float | None = None,
    first_order: bool | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    threads: int | None = None,
    time_budget: float | None = None,
    progress: bool | None = None,
) -> Start:
    """Learn from signals a start from which fits of others of their kind reach more in the same steps.

    The start decides the network of the fits. Their files may hold differences to it, see :func:`coinr.pack_signal`;
    whoever decodes these needs the start. Equal arguments give equal starts on one device and release of torch, on a
    CPU for any number of threads, unless ``time_budget`` ended the learning.

    Parameters
    ----------
    signals : sequence
        Signals, or pictures as for :func:`coinr.fit`; of any sizes, all of one kind and number of values.
    network : nn.Module or str, optional
        One of :data:`coinr.networks.NETWORKS`, which is copied, or the kind of a new one, as for :func:`coinr.fit`.
    method : str
        ``"maml"`` (Finn et al. 2017): weights, and a rate for each of them in each of the first ``inner_steps`` steps,
        such that the error after these steps is small. ``"reptile"`` (Nichol et al. 2018): weights near those that
        short fits reach; cheap, also for long ``inner_steps``. ``"joint"`` (STRAINER, Vyas et al. 2024): one fit to
        all signals, which share all layers but the last.
    name : str
        Of the start; files that need it name it.
    width, hidden_layers : int, optional
        Of a new network, as for :func:`coinr.fit`; by default those for the first signal.
    steps : int, optional
        Steps of learning: 1000 for maml, 300 for reptile, 2000 for joint.
    batch : int, optional
        Samples of each signal in a step; by default those of the recipe.
    learning_rate : float, optional
        At the first step, from where it decays to zero as a cosine: of Adam for maml, 0.001 by default and 0.0001 for
        sounds; the share of the way to the mean of the fits for reptile, 1 by default; for joint that of a fit of as
        many steps.
    signals_per_step : int, optional
        Signals that a step learns from, 3 by default; joint takes all.
    inner_steps : int, optional
        Steps of each fit within a step: 3 for maml, 20 for reptile; joint has none.
    inner_rate : float, optional
        Learning rate of these steps: for maml where the learned rates begin, 0.01 by default; for reptile by default
        0.3 of that of a fit. INRIC has 1e-5 for maml, with a learning rate of 5e-5.
    first_order : bool, optional
        For maml: take the gradients of the inner steps for constants. That takes less time and brings less.
    seed : int
        Of the first weights and of the choice of signals and samples, 0 .. 2^64 - 1.
    time_budget : float, optional
        Seconds after which learning ends; the learning rate has decayed to zero by then.
    device, threads, progress
        As for :func:`coinr.fit`.

    Raises
    ------
    InputError
        If an argument is out of range, the method does not have it, or signals and network do not go together.
    CoinrError
        If learning diverged.
    """
    read = read_signals(signals)
    options = MetaOptions.of(
        method,
        name=name,
        batch=read[0].recipe.batch if batch is None else batch,
        seed=seed,
        steps=steps,
        learning_rate=learning_rate,
        signals_per_step=signals_per_step,
        inner_steps=inner_steps,
        inner_rate=inner_rate,
        first_order=first_order,
        threads=threads,
        time_budget=time_budget,
    )
    first = _first_network(read[0], network, width=width, hidden_layers=hidden_layers, seed=seed)
    own = isinstance(network, nn.Module) and device is None
    to_device(first, next(first.parameters()).device if own else device or default_device())
    where = next(first.parameters()).device
    there = [signal.to(where) for signal in read]
    for signal in there:
        check_values(first, signal, where)
    with show_progress("learn", progress), Workers(where, threads) as workers:
        learner = _LEARNERS[method](first, there, options, workers)
        _run(learner, options)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in (*learner.weights.values(), *learner.rates.values())):
        raise CoinrError(_DIVERGED.format(options.steps))
    with torch.no_grad():
        for key, parameter in first.named_parameters():
            if key in learner.weights:
                parameter.copy_(learner.weights[key])
    return make_start(first, learner.rates, StartMeta(name, method, read[0].kind))


def _first_network(signal: Signal, network: nn.Module | str | None, **new: Any) -> nn.Module:
    """Return a copy of a network, or a new one; ``new`` are arguments of that.

    Raises
    ------
    InputError
        If the network cannot be stored, or arguments of a new one are given with it.
    """
    if not isinstance(network, nn.Module):
        return new_network(signal, network, **new)
    if given := [name for name, value in new.items() if name != "seed" and value is not None]:
        raise InputError(f"give a network or {', '.join(given)}, not both")
    if type(network) not in NETWORKS.values():
        raise InputError(f"network must be one of {', '.join(NETWORKS)}, got {type(network).__name__}")
    made = copy.deepcopy(single_network(network))
    if not any(p.requires_grad for p in made.parameters()):
        raise InputError("the network has no parameter to learn")
    return made


def _run(learner: Learner, options: MetaOptions) -> None:
    """Take all steps.

    Raises
    ------
    CoinrError
        If learning diverged.
    """
    begin = time.perf_counter()
    shown.report(0, total=options.steps, seconds=options.time_budget)
    for step in range(options.steps):
        share = step / options.steps
        if options.time_budget is not None:
            share = max(share, (time.perf_counter() - begin) / options.time_budget)
        if share >= 1:
            break
        error = learner.step(share)
        if not math.isfinite(error):
            raise CoinrError(_DIVERGED.format(step + 1))
        shown.report(step + 1, text=f"error {error:.2e}")
