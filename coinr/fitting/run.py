"""Fitting coordinate networks to signals, one at a time or many at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from coinr.errors import InputError
from coinr.fitting.evaluate import Scorer
from coinr.fitting.first_steps import network_at
from coinr.fitting.new_networks import new_network
from coinr.fitting.options import TrainOptions
from coinr.fitting.training import train
from coinr.fitting.workers import Workers
from coinr.inputs.arguments import checked
from coinr.networks import Network
from coinr.networks.precision import single_network
from coinr.progress import show_progress
from coinr.runtime.ambient import callers_settings, independent
from coinr.runtime.devices import to_device
from coinr.signals.image.signal import ImageSignal
from coinr.signals.signal import Signal
from coinr.starts.start import Start


@dataclass(frozen=True)
class Fit:
    """What :func:`fit` returns.

    Attributes
    ----------
    network : nn.Module
        The fitted network, on the device of the fit.
    score : float
        Its score over the whole signal (the held-out views of a scene): PSNR of the rendered picture, SNR, IoU, ...
    history : list of (int, float)
        (steps done, score) on a fixed random choice of at most 16384 samples.
    seconds : float
        Wall-clock seconds of the training loop, with those before a resumption; of all networks of the call.
    steps : int
        Steps done.
    """

    network: nn.Module
    score: float
    history: list[tuple[int, float]] = field(repr=False)
    seconds: float
    steps: int


@independent
@checked
def fit(
    signal: Any,
    network: nn.Module | str | None = None,
    *,
    width: int | None = None,
    hidden_layers: int | None = None,
    steps: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    threads: int | None = None,
    time_budget: float | None = None,
    target: float | None = None,
    optimizer: str | None = None,
    precision: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 30.0,
    start: Start | None = None,
    progress: bool | None = None,
) -> Fit:
    """Fit a network to a signal: minimize its squared error on random batches, with cosine decay of the learning rate.

    Each step takes the next ``batch`` samples of a random order, and every sample is taken once before a new order
    begins; signals of at most ``batch`` samples are taken whole in every step. Progress is evaluated at 20 evenly
    spaced steps, and the weights of the best score are returned.
    Equal arguments give equal weights on one device and release of torch, on a CPU for any number of threads, unless
    ``time_budget`` ended the fit.

    Parameters
    ----------
    signal : Signal or array
        A :class:`~coinr.signals.signal.Signal`, or a picture as :class:`~coinr.signals.image.signal.ImageSignal` takes
        it.
    network : nn.Module or str, optional
        A module, which maps the signal's inputs to its values and is trained in place. Or the kind of a new network,
        see :func:`coinr.networks.build_network`, with weights drawn from ``seed``; by default that of the signal's
        recipe.
    width, hidden_layers : int, optional
        Of a new network; the depth of a NeRF is its number of hidden layers. By default those of the signal's recipe,
        with less width for a small signal, see :func:`coinr.fitting.new_networks.default_width`.
    steps, batch : int, optional
        Steps of the optimizer, and samples of each; by default those of the recipe.
    learning_rate : float, optional
        Of the first step; by default that of the recipe. For Muon the default is less if ``steps`` are many and a SIREN
        is wider than the recipe's, see :func:`coinr.fitting.optimizers.default_learning_rate`.
    seed : int
        Of the initial weights and of the choice of samples, 0 .. 2^64 - 1.
    device : str or torch.device, optional
        Where to fit; by default the device of a given module, otherwise CUDA if there is a device, else the CPU.
    threads : int, optional
        Threads on a CPU, each of which works on a chunk of samples; by default torch's number of threads.
    time_budget : float, optional
        Seconds after which the fit ends; the learning rate has decayed to zero by then.
    target : float, optional
        The fit ends at the first evaluation with this score or more.
    optimizer : str, optional
        ``muon``, ``adam`` or ``soap``, see :mod:`coinr.fitting.optimizers`; by default ``muon`` for a
        :class:`~coinr.Siren` of two coordinates or more and ``adam`` for all others.
    precision : str, optional
        ``mixed``: run networks in half precision with scaled gradients, which is faster on GPUs; weights, errors and
        scores stay in single precision.
    checkpoint : path, optional
        File of the fit's state, written every ``checkpoint_every`` seconds and at the end. It is complete at any time
        and never deleted. If it exists, the fit resumes from it and ends with the weights of an uninterrupted fit,
        unless ``time_budget`` ends it, whose clock goes on. A finished checkpoint gives its result at once. With more
        ``steps``, or another ``time_budget`` or ``target``, it is extended: the learning rate goes on as if these had
        been given from the start.
    checkpoint_every : float
        Seconds.
    start : Start, optional
        Where the fit begins, in place of a new network, see :func:`coinr.learn_start`. Its learned rates, if it has
        any, are those of the first steps; the optimizer goes on from there.
    progress : bool, optional
        Show progress on stderr, see :mod:`coinr.progress`; by default only if it takes two seconds or more.

    Raises
    ------
    InputError
        If an argument is out of range, ``network`` does not suit the signal, or the checkpoint is of another fit.
    CoinrError
        If the fit diverged, so that its weights never had a finite score.
    """
    one = read_signals([signal])
    options = TrainOptions(
        steps=one[0].recipe.steps if steps is None else steps,
        batch=one[0].recipe.batch if batch is None else batch,
        learning_rate=learning_rate,
        seed=seed,
        optimizer=optimizer,
        precision=precision,
        threads=threads,
        time_budget=time_budget,
        target=target,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        start=start,
    )
    if start is not None:
        networks = [network_at(start, one[0], network=network, width=width, hidden_layers=hidden_layers)]
    elif isinstance(network, nn.Module):
        return _fit_all(one, [network], options, device, progress)[0]
    else:
        networks = [new_network(one[0], network, width=width, hidden_layers=hidden_layers, seed=seed)]
    return _fit_all(one, networks, options, default_device() if device is None else device, progress)[0]


@independent
@checked
def fit_many(
    signals: Sequence[Any],
    network: Callable[[Signal], nn.Module] | str | None = None,
    *,
    width: int | None = None,
    hidden_layers: int | None = None,
    steps: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    threads: int | None = None,
    time_budget: float | None = None,
    target: float | None = None,
    optimizer: str | None = None,
    precision: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 30.0,
    start: Start | None = None,
    progress: bool | None = None,
) -> list[Fit]:
    """Fit equal networks to several signals at once, each as :func:`fit` would fit it.

    On a GPU all networks are one batched computation; on a CPU, cores share the networks' chunks of samples, which is
    faster there. All have one seed: networks start from the same weights, and signals of one size get batches of the
    same samples, just as in single fits.

    Parameters
    ----------
    signals : sequence
        Signals, or pictures as for :func:`fit`; of any sizes, all of one kind and number of values.
    network : callable or str, optional
        Returns the network of a signal; or the kind, as for :func:`fit`. All must be of one kind and size.
    width, hidden_layers, steps, batch, learning_rate, seed, device, threads, time_budget, optimizer, precision
        As for :func:`fit`; defaults are those of the first signal's recipe.
    target : float, optional
        All fits end once every network has reached this score.
    checkpoint, checkpoint_every, progress
        As for :func:`fit`, of all together.
    start : Start, optional
        As for :func:`fit`: where all fits begin.

    Returns
    -------
    list of Fit
        In the order of the signals.

    Raises
    ------
    InputError
        As for :func:`fit`; or if there is no signal, or signals or networks are not of one kind.
    CoinrError
        If one of the fits diverged.
    """
    if isinstance(network, nn.Module):
        raise InputError("network must make a network for each signal; one network cannot be fitted to many")
    many = read_signals(signals)
    options = TrainOptions(
        steps=many[0].recipe.steps if steps is None else steps,
        batch=many[0].recipe.batch if batch is None else batch,
        learning_rate=learning_rate,
        seed=seed,
        optimizer=optimizer,
        precision=precision,
        threads=threads,
        time_budget=time_budget,
        target=target,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        start=start,
    )
    if start is not None:
        chosen = {"network": network, "width": width, "hidden_layers": hidden_layers}
        networks = [network_at(start, one, **chosen) for one in many]
    elif callable(network):
        return _fit_all(many, _call_factory(network, many), options, device, progress)
    else:
        networks = [new_network(many[0], network, width=width, hidden_layers=hidden_layers, seed=seed) for _ in many]
    return _fit_all(many, networks, options, default_device() if device is None else device, progress)


def read_signals(signals: Sequence[Any]) -> list[Signal]:
    """Return signals or pictures as signals of one kind.

    Raises
    ------
    InputError
        If there is none, or they are not of one kind.
    """
    read = [signal if isinstance(signal, Signal) else ImageSignal(signal) for signal in signals]
    if not read:
        raise InputError("signals must be at least one")
    kinds = {(signal.kind, signal.in_features, signal.out_features) for signal in read}
    if len(kinds) > 1:
        raise InputError(f"signals must be of one kind, inputs and outputs, got {sorted(kinds)}")
    return read


def _call_factory(factory: Callable[[Signal], nn.Module], signals: Sequence[Signal]) -> list[nn.Module]:
    """Return the networks that a caller's function makes for signals."""
    with callers_settings():
        networks = [factory(signal) for signal in signals]
    for one in networks:
        if not isinstance(one, nn.Module):
            raise InputError(f"network must make an nn.Module for each signal, not {type(one).__name__}")
    return networks


def default_device() -> str:
    """Return the device of networks that are made here: CUDA if there is a device, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _fit_all(
    signals: Sequence[Signal],
    networks: Sequence[nn.Module],
    options: TrainOptions,
    device: str | torch.device | None,
    progress: bool | None,
) -> list[Fit]:
    for network in networks:
        _leave_inference_mode(network)
    if device is not None:
        for network in networks:
            to_device(network, device)
    where = next((p.device for p in networks[0].parameters() if p.requires_grad), None)
    if where is None:
        raise InputError("the network has no parameter to fit")
    for network in networks:
        if isinstance(network, Network) and single_network(network) is not network:
            kinds = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in network.state_dict().values()})
            raise InputError(f"a network is fitted in single precision, not {' and '.join(kinds)}: call its float()")
    there = [signal.to(where) for signal in signals]
    for network, signal in zip(networks, there, strict=True):
        check_values(network, signal, where)
    splits = [signal.eval_split for signal in there]
    with show_progress("fit", progress), Workers(where, options.threads) as workers:
        state = train(networks, there, options)
        with show_progress("score"):
            scores = Scorer(workers, networks, splits).scores([range(split.count) for split in splits], "samples")
    return [
        Fit(network, score, history, state.seconds, state.step)
        for network, score, history in zip(networks, scores, state.history, strict=True)
    ]


def _leave_inference_mode(network: nn.Module) -> None:
    """Replace tensors that were made in inference mode, which cannot be trained, by copies."""
    made: dict[int, torch.Tensor] = {}
    for module in network.modules():
        named = (module.named_parameters, module.named_buffers)
        for name, tensor in [pair for each in named for pair in each(recurse=False, remove_duplicate=False)]:
            if tensor.is_inference():
                if id(tensor) not in made:
                    copy = tensor.clone()
                    made[id(tensor)] = (
                        nn.Parameter(copy, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copy
                    )
                setattr(module, name, made[id(tensor)])


@torch.no_grad()
def check_values(network: nn.Module, signal: Signal, device: torch.device) -> None:
    """Raise an InputError unless a network maps the inputs of a signal to its number of values."""
    inputs, targets = signal.batch(torch.zeros(2, dtype=torch.int64, device=device))
    try:
        shape = list(signal.predict(network, inputs).shape)
    except RuntimeError as error:
        raise InputError(f"the network cannot take inputs {list(inputs.shape)}: {error}") from error
    if shape != list(targets.shape):
        raise InputError(
            f"the network must give [N, {targets.shape[1]}] for {list(inputs.shape[1:])} inputs, got {shape} for N = 2"
        )
