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
from coinr.fitting.engines import Batched, Engine, Separate, Workers, judge
from coinr.fitting.optimizers import OPTIMIZERS, default_learning_rate
from coinr.fitting.plan import Plan
from coinr.fitting.samples import Sampler, block_steps
from coinr.fitting.stack import Stack
from coinr.signals.signal import Signal

#: How often progress is judged in one fit.
JUDGEMENTS = 20

#: Samples on which progress is judged; all are looked at once, at the end.
JUDGED = 16384


@dataclass
class State:
    """Where a fit of K networks stands, besides their weights and the optimizer.

    Attributes
    ----------
    step : int
        Steps done.
    seconds : float
        Spent on them, in this process and in those that wrote the checkpoints before.
    history : list of list of (int, float)
        For each network (steps done, score).
    best : list of float
        The best score of each network.
    best_weights : list of Tensor
        The stack [K, ...] with each network's weights at its best score.
    finished : bool
        Whether there is nothing left to do.
    """

    best_weights: list[Tensor]
    best: list[float]
    history: list[list[tuple[int, float]]]
    step: int = 0
    seconds: float = 0.0
    finished: bool = False

    def note(self, scores: Sequence[float], weights: Sequence[Tensor]) -> None:
        """Keep scores, and weights that are better than any before."""
        for k, score in enumerate(scores):
            self.history[k].append((self.step, score))
            if score > self.best[k]:
                self.best[k] = score
                for mine, theirs in zip(self.best_weights, weights, strict=True):
                    mine[k] = theirs.detach()[k]


def train(networks: Sequence[nn.Module], signals: Sequence[Signal], plan: Plan) -> State:
    """Train networks in place, each on its signal, and leave the best weights in them.

    Raises
    ------
    InputError
        If the networks cannot be trained together, or the checkpoint is of another fit.
    CoinrError
        If a fit diverged, so that no finite weights were ever seen.
    """
    stack = Stack(networks)
    device = stack.tensors[0].device
    if plan.precision == "mixed" and any(tensor.is_complex() for tensor in stack.tensors):
        raise InputError("precision 'mixed' needs real weights, and the network has complex ones")
    samplers: dict[tuple[int, int], Sampler] = {}
    for signal in signals:
        key = signal.count, signal.eval_split.count
        samplers.setdefault(key, Sampler(*key, plan.batch, plan.seed, device, most=JUDGED))
    mine = [samplers[signal.count, signal.eval_split.count] for signal in signals]
    identity = "" if plan.checkpoint is None else checkpoint.fingerprint(networks, signals, plan.identity())
    with stack, Workers(device, plan.threads) as workers:
        engine: Engine
        if device.type != "cpu" and len(networks) > 1 and Batched.suits(signals):
            engine = Batched(networks, signals, stack, plan.precision == "mixed")
        else:
            engine = Separate(networks, signals, stack, plan.precision == "mixed", workers)
        rate = plan.learning_rate
        if rate is None:
            assert plan.optimizer is not None
            rate = default_learning_rate(signals[0].recipe, networks[0], plan.optimizer, plan.steps)
        run = _Run(engine, workers, plan, rate, samplers, mine, identity)
        run.resume()
        run.until_done()
        if lost := [k for k, best in enumerate(run.state.best) if best == -math.inf]:
            which = f" of signals {lost}" if len(signals) > 1 else ""
            raise CoinrError(f"the fit{which} diverged; try a learning rate below {rate}")
        stack.assign(run.state.best_weights)
    return run.state


class _Run:
    """One training run and everything that a checkpoint of it holds."""

    def __init__(
        self,
        engine: Engine,
        workers: Workers,
        plan: Plan,
        rate: float,
        samplers: Mapping[Any, Sampler],
        sampler_of: Sequence[Sampler],
        identity: str,
    ) -> None:
        self.engine, self.workers, self.plan, self.rate, self.identity = engine, workers, plan, rate, identity
        self.samplers, self.sampler_of = list(samplers.values()), sampler_of
        tensors, count = engine.stack.tensors, len(engine.networks)
        assert plan.optimizer is not None
        self.optimizer = OPTIMIZERS[plan.optimizer](tensors, rate)
        self.scaler = torch.amp.GradScaler(tensors[0].device.type, enabled=plan.precision == "mixed")
        self.state = State(engine.stack.copy(), [-math.inf] * count, [[] for _ in range(count)])
        self._one = torch.ones((), dtype=torch.float32, device=tensors[0].device)

    def until_done(self) -> None:
        """Train until the steps, the seconds or the target are reached."""
        plan, state, block = self.plan, self.state, block_steps(self.plan.batch)
        left = None if plan.time_budget is None else plan.time_budget - state.seconds
        progress.report(state.step, total=plan.steps, seconds=left)
        begin = saved = time.perf_counter()
        earlier, first, drawn = state.seconds, state.step, False
        while not state.finished:
            step = state.step
            if step % block == 0 or not drawn:
                self._draw()
                drawn = True
            now = time.perf_counter()
            state.seconds = earlier + now - begin
            if plan.checkpoint is not None and now - saved >= plan.checkpoint_every:
                self.save()
                saved = now
            done = self._done()
            if step * JUDGEMENTS // plan.steps > (step - 1) * JUDGEMENTS // plan.steps or done >= 1:
                self._judge()
                state.finished = self._nothing_left()
            if not state.finished:
                errors = self._advance(step % block, self.rate * (1 + math.cos(math.pi * done)) / 2)
                state.step = step + 1
                progress.report(state.step, text=partial(self._told, errors, first, begin))
        if plan.checkpoint is not None:
            self.save()

    def _told(self, errors: Tensor, steps_before: int, begin: float) -> str:
        """The mean score at the last judgement, the mean error of the last step, and steps a second."""
        signal, history = self.engine.signals[0], self.state.history
        score = sum(scores[-1][1] for scores in history) / len(history)
        judged = history[0][-1][0]
        rate = (self.state.step - steps_before) / max(time.perf_counter() - begin, 1e-9)
        quality = f"{signal.metric} {score:.2f} {signal.unit}".rstrip() + f" after {judged} steps"
        return f"{quality}, error {float(errors.mean()):.2e}, {rate:.0f} steps/s"

    def _draw(self) -> None:
        rows = {id(sampler): sampler.draw() for sampler in self.samplers}
        self.engine.load([rows[id(sampler)] for sampler in self.sampler_of])

    def _judge(self) -> None:
        judged = [signal.eval_split for signal in self.engine.signals]
        chosen = [sampler.judged for sampler in self.sampler_of]
        self.state.note(judge(self.workers, self.engine.networks, judged, chosen), self.engine.stack.tensors)

    def _advance(self, row: int, learning_rate: float) -> Tensor:
        """Take one step; the errors [K] before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        errors = self.engine.gradient(row, self.scaler.scale(self._one))
        self.workers.run(lambda: self.scaler.step(self.optimizer))
        self.scaler.update()
        return errors

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "identity": self.identity,
            "weights": self.engine.stack.copy(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "samplers": [sampler.before for sampler in self.samplers],
            "state": vars(self.state),
        }
        assert self.plan.checkpoint is not None
        checkpoint.save(self.plan.checkpoint, state)

    def resume(self) -> None:
        """Go to where the checkpoint was written, if there is one.

        Raises
        ------
        InputError
            If it is of another fit, or of one that has more steps done.
        """
        if self.plan.checkpoint is None or (stored := checkpoint.load(self.plan.checkpoint, self.identity)) is None:
            return
        try:
            self.engine.stack.assign(stored["weights"])
            self.optimizer.load_state_dict(stored["optimizer"])
            self.scaler.load_state_dict(stored["scaler"])
            for sampler, before in zip(self.samplers, stored["samplers"], strict=True):
                sampler.rewind(before)
            self.state = State(**stored["state"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise InputError(f"{self.plan.checkpoint}: the checkpoint is damaged ({error})") from error
        self.state.best_weights = [t.to(self._one.device) for t in self.state.best_weights]
        if self.state.step > self.plan.steps:
            raise InputError(
                f"{self.plan.checkpoint}: {self.state.step} steps are done, more than the {self.plan.steps} asked for"
            )
        # when the fit is to end may have changed
        self.state.finished = self.state.finished and self._nothing_left()

    def _done(self) -> float:
        """The part of the steps, or of the seconds, that is over."""
        budget = self.plan.time_budget
        return max(self.state.step / self.plan.steps, 0.0 if budget is None else self.state.seconds / budget)

    def _nothing_left(self) -> bool:
        """Whether the steps or the seconds are over, or the target is reached."""
        return self._done() >= 1 or (self.plan.target is not None and min(self.state.best) >= self.plan.target)
