"""The training loop: random batches, cosine decay, best weights kept, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from coinr import progress
from coinr.errors import CoinrError, InputError
from coinr.fitting import checkpoint
from coinr.fitting.device_gradients import DeviceGradients
from coinr.fitting.evaluate import Scorer
from coinr.fitting.first_steps import FirstSteps
from coinr.fitting.fused_gradients import FusedGradients
from coinr.fitting.gradients import BatchedGradients, Gradients, SeparateGradients
from coinr.fitting.grid_gradients import GridGradients
from coinr.fitting.optimizers import Adam, Muon, make_optimizer, set_learning_rate
from coinr.fitting.options import TrainOptions
from coinr.fitting.samples import Sampler, block_steps
from coinr.fitting.stack import Stack
from coinr.fitting.workers import Workers
from coinr.runtime.denormals import denormals_as_zeros
from coinr.signals.signal import Signal

# How often progress is evaluated in one fit.
_EVALUATIONS = 20


@dataclass
class State:
    """The state of a fit of K networks, besides their weights and the optimizer.

    Attributes
    ----------
    step : int
        Steps done.
    seconds : float
        Time of these steps, with those before a resumption.
    history : list of list of (int, float)
        (steps done, score) for each network.
    best : list of float
        The best score of each network.
    best_weights : list of Tensor
        The stacked weights [K, ...] of each network at its best score.
    finished : bool
        Whether the fit has ended.
    """

    best_weights: list[Tensor]
    best: list[float]
    history: list[list[tuple[int, float]]]
    step: int = 0
    seconds: float = 0.0
    finished: bool = False

    def record(self, scores: Sequence[float], weights: Sequence[Tensor]) -> None:
        """Add scores to the history, and copy the weights of networks that have a new best score."""
        for k, score in enumerate(scores):
            self.history[k].append((self.step, score))
            if score > self.best[k]:
                self.best[k] = score
                for mine, theirs in zip(self.best_weights, weights, strict=True):
                    mine[k] = theirs.detach()[k]


def train(networks: Sequence[nn.Module], signals: Sequence[Signal], options: TrainOptions) -> State:
    """Train networks in place, each on its signal, and leave the best weights in them.

    Raises
    ------
    InputError
        If the networks cannot be trained together, or the checkpoint is of another fit.
    CoinrError
        If a fit diverged, so that its weights never had a finite score.
    """
    stack = Stack(networks)
    device = stack.tensors[0].device
    if options.mixed and any(tensor.is_complex() for tensor in stack.tensors):
        raise InputError("precision 'mixed' needs real weights, and the network has complex ones")
    identity = ""
    if options.checkpoint is not None:
        identity = checkpoint.fingerprint(networks, signals, options.identity(networks[0]))
    with stack, Workers(device, options.threads) as workers:
        sizes = [(signal.count, signal.eval_split.count) for signal in signals]
        samplers = {
            size: Sampler(*size, options.batch, options.seed, device, max(1, workers.count))
            for size in dict.fromkeys(sizes)
        }
        mine = [samplers[size] for size in sizes]
        gradients = make_gradients(networks, signals, stack, options.mixed, workers)
        run = _Run(gradients, workers, options, samplers, mine, identity)
        run.resume()
        run.run()
        if lost := [k for k, best in enumerate(run.state.best) if best == -math.inf]:
            which = f" of signals {lost}" if len(signals) > 1 else ""
            raise CoinrError(f"the fit{which} diverged; try a learning rate below {run.rate}")
        stack.assign(run.state.best_weights)
    return run.state


def make_gradients(
    networks: Sequence[nn.Module], signals: Sequence[Signal], stack: Stack, mixed: bool, workers: Workers
) -> Gradients:
    """Return what computes gradients of these networks fastest; arguments as for the classes of gradients."""
    device = stack.tensors[0].device
    programs = None if mixed else FusedGradients.programs_of(networks, signals, stack)
    grids = None if programs is None else GridGradients.grids_of(signals)
    if programs is not None and grids is not None:
        return GridGradients(networks, signals, stack, programs, workers, grids)
    if programs is not None:
        return FusedGradients(networks, signals, stack, programs, workers)
    if device.type == "cuda" and not mixed and (one := DeviceGradients.of(networks, signals, stack)):
        return one
    if device.type != "cpu" and len(networks) > 1 and BatchedGradients.suits(signals):
        return BatchedGradients(networks, signals, stack, mixed)
    return SeparateGradients(networks, signals, stack, mixed, workers)


class _Run:
    """One training run and everything that its checkpoint holds."""

    def __init__(
        self,
        gradients: Gradients,
        workers: Workers,
        options: TrainOptions,
        samplers: Mapping[Any, Sampler],
        sampler_of: Sequence[Sampler],
        identity: str,
    ) -> None:
        self.gradients, self.workers, self.options, self.identity = gradients, workers, options, identity
        splits = [signal.eval_split for signal in gradients.signals]
        self.scorer = Scorer(workers, gradients.networks, splits)
        self.samplers, self.sampler_of = list(samplers.values()), sampler_of
        tensors, count, network = gradients.stack.tensors, len(gradients.networks), gradients.networks[0]
        self.rate = options.learning_rate_of(network, gradients.signals[0].recipe)
        name = options.optimizer_of(network)
        self.optimizer = make_optimizer(name, network, gradients.stack.names, tensors, self.rate)
        self.first_steps = FirstSteps(tensors, gradients.stack.names, options.start)
        self.scaler = torch.amp.GradScaler(tensors[0].device.type, enabled=options.mixed)
        self.state = State(gradients.stack.copy(), [-math.inf] * count, [[] for _ in range(count)])
        self._one = torch.ones((), dtype=torch.float32, device=tensors[0].device)

    @denormals_as_zeros()
    def run(self) -> None:
        """Train until the steps, the seconds or the target are reached."""
        options, state, block = self.options, self.state, block_steps(self.options.batch)
        left = None if options.time_budget is None else options.time_budget - state.seconds
        progress.report(state.step, total=options.steps, seconds=left)
        begin = saved = time.perf_counter()
        earlier, first, drawn = state.seconds, state.step, False
        while not state.finished:
            step = state.step
            if step % block == 0 or not drawn:
                self._draw()
                drawn = True
            now = time.perf_counter()
            state.seconds = earlier + now - begin
            if options.checkpoint is not None and now - saved >= options.checkpoint_every:
                self.save()
                saved = now
            done = self._done()
            if step * _EVALUATIONS // options.steps > (step - 1) * _EVALUATIONS // options.steps or done >= 1:
                self._evaluate()
                state.finished = self._has_ended()
            if not state.finished:
                errors = self._advance(step % block, self.rate * (1 + math.cos(math.pi * done)) / 2)
                state.step = step + 1
                progress.report(state.step, text=partial(self._progress_text, errors, first, begin))
        if options.checkpoint is not None:
            self.save()

    def _progress_text(self, errors: Tensor, steps_before: int, begin: float) -> str:
        """Return the mean score at the last evaluation, the mean error of the last step, and steps per second."""
        signal, history = self.gradients.signals[0], self.state.history
        score = sum(scores[-1][1] for scores in history) / len(history)
        evaluated = history[0][-1][0]
        rate = (self.state.step - steps_before) / max(time.perf_counter() - begin, 1e-9)
        quality = f"{signal.metric} {score:.2f} {signal.unit}".rstrip() + f" after {evaluated} steps"
        return f"{quality}, error {float(errors.mean()):.2e}, {rate:.0f} steps/s"

    def _draw(self) -> None:
        rows = {id(sampler): sampler.draw() for sampler in self.samplers}
        self.gradients.load([rows[id(sampler)] for sampler in self.sampler_of])

    def _evaluate(self) -> None:
        scores = self.scorer.scores([sampler.eval_indices for sampler in self.sampler_of])
        self.state.record(scores, self.gradients.stack.tensors)

    def _advance(self, row: int, learning_rate: float) -> Tensor:
        """Take one step, and return the errors [K] before it."""
        set_learning_rate(self.optimizer, learning_rate)
        errors = self.gradients.compute(row, self.scaler.scale(self._one))
        self._move()
        return errors

    def _move(self) -> None:
        """Take a step of the optimizer."""
        self.first_steps.step_number = self.state.step
        optimizer = self.first_steps if self.state.step < self.first_steps.count else self.optimizer
        if self.options.mixed:
            self.workers.run(lambda: self.scaler.step(optimizer))
            self.scaler.update()
        elif isinstance(optimizer, Adam | Muon) and optimizer.native:
            optimizer.take_native_step(self.workers.count)
        else:
            self.workers.run(optimizer.step)

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "identity": self.identity,
            "weights": self.gradients.stack.copy(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "samplers": [sampler.before for sampler in self.samplers],
            "state": vars(self.state),
        }
        assert self.options.checkpoint is not None
        checkpoint.save(self.options.checkpoint, state)

    def resume(self) -> None:
        """Restore the state from the checkpoint, if there is one.

        Raises
        ------
        InputError
            If the checkpoint is of another fit, or has more steps done than are asked for.
        """
        path, steps = self.options.checkpoint, self.options.steps
        if path is None or (stored := checkpoint.load(path, self.identity)) is None:
            return
        try:
            self.gradients.stack.assign(stored["weights"])
            self.optimizer.load_state_dict(stored["optimizer"])
            self.scaler.load_state_dict(stored["scaler"])
            for sampler, before in zip(self.samplers, stored["samplers"], strict=True):
                sampler.rewind(before)
            self.state = State(**stored["state"])
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise InputError(f"{path}: the checkpoint is damaged ({error})") from error
        self.state.best_weights = [t.to(self._one.device) for t in self.state.best_weights]
        if self.state.step > steps:
            raise InputError(f"{path}: {self.state.step} steps are done, more than the {steps} asked for")
        # options of the end may have changed
        self.state.finished = self.state.finished and self._has_ended()

    def _done(self) -> float:
        """Return the share of the steps, or of the seconds if larger, that is over."""
        budget, seconds = self.options.time_budget, self.state.seconds
        steps = self.state.step / self.options.steps
        if budget is None:
            return steps
        # a denormal budget is zero here
        return 1.0 if seconds >= budget else max(steps, seconds / budget)

    def _has_ended(self) -> bool:
        """Return whether the steps or the seconds are over, or the target is reached."""
        return self._done() >= 1 or (self.options.target is not None and min(self.state.best) >= self.options.target)
