"""Derivatives of a network's outputs by its weights, taken while a caller's own metric runs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from coinr.errors import InputError
from coinr.inputs.state_dicts import plain_tensors
from coinr.runtime.ambient import independent
from coinr.runtime.work_limit import OutOfTime, WorkLimit
from coinr.sensitivity.calibration import Calibration, Known, sensitivities
from coinr.sensitivity.curvature import MOST, Block
from coinr.sensitivity.input_stats import Seen, Watch
from coinr.sensitivity.sampled_module import SampledModule

# Rows of derivatives for each parameter, those of networks that take minutes anyway, and the fewest that say enough of
# directions: fewer rows make larger files.
_ROWS, _ROWS_OF_LARGE, _FEWEST = 10, 20, 4

# Columns of the matrix of second derivatives that are summed at once, of which only the upper half is needed.
_COLUMNS = 2048

# Names of operations that change a tensor.
_IN_PLACE = re.compile(r".*[^_]_|__(i|set)\w*__")

# Samples whose derivatives are held at once.
_PART = 2048


def known_of(calibrate: Calibration, sd: Mapping[str, Any], seed: int, block: bool) -> Known:
    """Return what a calibration tells of the tensors; with ``block``, a module's block too.

    Arguments and errors are those of :func:`~coinr.sensitivity.calibration.sensitivities`.
    """
    known = sensitivities(calibrate, sd, seed)
    if block and isinstance(calibrate, tuple):
        known = replace(known, block=block_of(*calibrate, plain_tensors(sd)))
    return known


def block_of(module: nn.Module, inputs: Any, sd: Mapping[str, Any]) -> Block | None:
    """The block of a module's parameters, with the values of a state dict, from its outputs at sample inputs."""
    sampled = SampledModule(module, inputs, sd)
    state = {name: sampled.values[name].detach() for name in sd if name in sampled.values}
    watch = Watch(state)
    with watch, torch.no_grad():
        outputs = sampled.checked(0, sampled.count)
    if not all(bool(output.isfinite().all()) for output in outputs):
        why = sampled.why(0, sampled.count)
        raise InputError(f"the module of the calibration gives values that are not finite{why}")

    @torch.no_grad()
    def run(_: Mapping[str, Any]) -> float:
        sampled.call(0, sampled.count)
        return 0.0

    return recorded(state, run, watch)[0]


def recorded(
    sd: Mapping[str, Any],
    evaluate: Callable[[Mapping[str, Any]], float],
    watch: Watch,
    most: int = MOST,
    limit: WorkLimit | None = None,
) -> tuple[Block | None, int]:
    """The block of a state dict from one more call of a metric that was watched, and how often it was called by now.

    There is no further call, and no block, of more than ``most`` parameters or where what was watched cannot be
    recorded; no block, either, where the time of ``limit`` is over before all is recorded.
    """
    record = Record(sd, watch, most, limit)
    if not record.useful():
        return None, 1
    try:
        with record:
            evaluate(sd)
    except OutOfTime:
        return None, 2
    except RuntimeError as error:
        if not record.made(error):
            raise
        return None, 2
    return record.block(), 2


@dataclass
class _Call:
    """One layer as it ran: its inputs, a zero that was added to its outputs, and what it was."""

    seen: Seen
    inputs: Tensor
    probe: Tensor


class Record(Watch):
    """A context that derives, sample by sample, the outputs of the last layer by all layers that led to them.

    Layers and their order are those that a :class:`~coinr.sensitivity.input_stats.Watch` of the same metric saw. The
    values that the metric computes are not changed. There is no :meth:`block` where the metric is no plain chain of
    real layers.
    """

    def __init__(
        self, state_dict: Mapping[str, Any], watched: Watch, most: int = MOST, limit: WorkLimit | None = None
    ) -> None:
        super().__init__(state_dict)
        order = list(watched.rows)
        self._first, self._last = (order[0], order[-1]) if order else ("", "")
        self._sizes = {name: state_dict[name].numel() for name in state_dict if name in watched.touched}
        self._limit = limit or WorkLimit()
        self._moments = torch.zeros(0, dtype=torch.float32)
        self._samples = 0
        self._calls: list[_Call] = []
        self._generator = torch.Generator().manual_seed(0)
        self._whole = len(order) > 1 and not any(state_dict[name].is_complex() for name in order)
        parameters = sum(self._sizes.values())
        samples, outputs = (watched.rows[self._last], len(state_dict[self._last])) if order else (0, 1)
        wanted = (_ROWS if parameters <= MOST else _ROWS_OF_LARGE) * parameters / max(samples, 1)
        self._share = min(1.0, wanted)
        self._rows = min(math.ceil(wanted), outputs)
        self._failed: RuntimeError | None = None
        self._useful = self._whole and parameters <= most and samples * outputs >= _FEWEST * parameters

    def useful(self) -> bool:
        """Whether there is anything to record: a chain of real layers, small enough, with samples enough."""
        return self._useful

    def ample(self) -> bool:
        """Whether there are samples to choose from, too."""
        return self._useful and self._share < 1

    def made(self, error: BaseException | None) -> bool:
        """Whether an error came of what a metric did to a tensor that has derivatives here, which it has not else."""
        while error is not None and error is not self._failed:
            error = error.__cause__ or error.__context__
        return error is not None

    def block(self) -> Block | None:
        """What was recorded; None if nothing, or not the whole way."""
        if not self._whole or not self._samples:
            return None
        moments, self._moments = self._moments.div_(self._samples).double().triu_(), torch.zeros(0, dtype=torch.float32)
        moments.add_(moments.triu(1).T)
        return Block.of(self._sizes, moments.numpy())

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation with a graph from the first layer to the last."""
        if not self._whole:
            return func(*args, **(kwargs or {}))
        seen = self._seen(func, args, kwargs or {})
        if seen is None:
            if not self._calls:
                return func(*args, **(kwargs or {}))
            return self._derived(func, args, kwargs or {})
        if seen.name == self._first:
            self._calls = []
        out = self._derived(func, args, kwargs or {})
        with torch.inference_mode(False), torch.enable_grad():
            if out.is_complex() or torch.is_inference(out):
                self._whole = False
                return out
            if not self._calls:
                out = out.detach()
            probe = torch.zeros_like(out, requires_grad=True)
            self._calls.append(_Call(seen, _tracked(seen.inputs).detach(), probe))
            out = out + probe
        if seen.name != self._last:
            return out
        self._derive(out)
        self._calls = []
        return out.detach()

    def _derived(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What an operation gives, with a graph; in inference mode, too, but for what changes its tensors in place."""
        if torch.is_inference_mode_enabled() and _IN_PLACE.fullmatch(getattr(func, "__name__", "")):
            return func(*args, **kwargs)
        try:
            with torch.inference_mode(False), torch.enable_grad():
                return func(*tree_map(_tracked, args), **tree_map(_tracked, kwargs))
        except RuntimeError as error:
            self._failed = error
            raise

    @independent
    def _derive(self, out: Tensor) -> None:
        flat = out.reshape(-1, out.shape[-1])
        wanted = torch.rand(len(flat), generator=self._generator, dtype=torch.float32) < self._share
        rows = wanted.nonzero()[:, 0].to(out.device)
        if not len(rows):
            return
        probes = [call.probe for call in self._calls]
        for mix in self._mixes(len(rows), flat.shape[1]):
            total = (flat[rows] * mix.to(flat)).sum()
            gradients = torch.autograd.grad(total, probes, retain_graph=True, allow_unused=True)
            if any(gradient is None for gradient in gradients):
                self._whole = False
                return
            for part in rows.split(_PART):
                self._add([gradient.reshape(-1, gradient.shape[-1])[part] for gradient in gradients], part)
        self._samples += len(rows)

    def _mixes(self, samples: int, outputs: int) -> Iterator[Tensor]:
        """Weights ``[samples or 1, outputs]`` of outputs, whose squared mixes add up to those of all outputs.

        More samples say more than more outputs of each: with samples to spare, outputs are mixed by random signs.
        """
        if self._rows == outputs:
            yield from torch.eye(outputs, dtype=torch.float32)[:, None]
            return
        for _ in range(self._rows):
            signs = torch.randint(2, (samples, outputs), generator=self._generator, dtype=torch.float32) * 2 - 1
            yield signs / math.sqrt(self._rows)

    def _add(self, gradients: list[Tensor], rows: Tensor) -> None:
        parts: dict[str, Tensor] = {}
        for call, gradient in zip(self._calls, gradients, strict=True):
            inputs = call.inputs.reshape(-1, call.inputs.shape[-1])[rows]
            for name, derivative in call.seen.derivatives(gradient, inputs).items():
                flat = derivative.reshape(len(rows), -1).to("cpu", torch.float32)
                parts[name] = parts[name] + flat if name in parts else flat
        if parts.keys() != self._sizes.keys():
            self._whole = False
            return
        joined = torch.cat([parts[name] for name in self._sizes], 1)
        if not self._moments.numel():
            self._moments = torch.zeros(joined.shape[1], joined.shape[1], dtype=torch.float32)
        for start in range(0, joined.shape[1], _COLUMNS):
            if self._limit.out_of_time():
                self._whole = False
                raise OutOfTime
            chosen = slice(start, start + _COLUMNS)
            self._moments[chosen, start:].addmm_(joined[:, chosen].T, joined[:, start:])


def _tracked(value: Any) -> Any:
    """A tensor that derivatives can be taken with: a copy of one that was made in inference mode."""
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value
