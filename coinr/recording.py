"""Derivatives of a network's outputs by its weights, taken while a caller's own metric runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from coinr.curvature import Block, blocks_of
from coinr.watching import Seen, Watch

# Rows of derivatives by parameters of a block, and at most so many products in its matrix.
_ROWS, _PRODUCTS = 10, 3e11

# Fewer rows than these by parameters say too little of directions.
_FEWEST = 3


def recorded(
    sd: Mapping[str, Any], evaluate: Callable[[Mapping[str, Any]], float], watch: Watch
) -> tuple[list[Block], int]:
    """Blocks of a state dict from one more call of a metric that was watched, and how often it was called by now.

    There is no further call, and no block, where what was watched cannot be recorded.
    """
    record = Record(sd, watch)
    if not record.useful():
        return [], 1
    with record:
        evaluate(sd)
    return record.blocks(), 2


@dataclass
class _Call:
    """One layer as it ran: its inputs, a zero that was added to its outputs, and what it was."""

    seen: Seen
    inputs: Tensor
    probe: Tensor


class Record(Watch):
    """A context that derives, sample by sample, the outputs of the last layer by all layers that led to them.

    Layers and their order are those that a :class:`~coinr.watching.Watch` of the same metric saw. The values that the
    metric computes are not changed. :meth:`blocks` is empty where the metric is no plain chain of real layers.
    """

    def __init__(self, state_dict: Mapping[str, Any], watched: Watch) -> None:
        super().__init__(state_dict)
        order = list(watched.rows)
        self._first, self._last = (order[0], order[-1]) if order else ("", "")
        sizes = {
            name: value.numel()
            for name, value in state_dict.items()
            if isinstance(value, Tensor) and value.dtype in (torch.float32, torch.float64) and name in watched.touched
        }
        self._sizes = blocks_of(sizes)
        self._moments = [torch.zeros(sum(part.values()), sum(part.values())) for part in self._sizes]
        largest = max((len(moments) for moments in self._moments), default=1)
        rows = min(_ROWS * largest, _PRODUCTS / largest**2)
        outputs = len(state_dict[self._last]) if order else 1
        self._share = min(1.0, rows / outputs / max(watched.rows.get(self._last, 1), 1))
        self._enough = watched.rows.get(self._last, 0) * self._share * outputs > _FEWEST * largest
        self._generator = torch.Generator().manual_seed(0)
        self._calls: list[_Call] = []
        self._samples = 0
        self._complex = any(state_dict[name].is_complex() for name in order)
        self._whole = len(order) > 1 and not torch.is_inference_mode_enabled()

    def useful(self) -> bool:
        """Whether there is anything to record: a chain of real layers, small enough, with samples enough."""
        return self._whole and self._enough and bool(self._sizes) and not self._complex

    def blocks(self) -> list[Block]:
        """What was recorded; empty if nothing, or not the whole way."""
        if not self._whole or not self._samples:
            return []
        made = (
            Block.of(sizes, (moments / self._samples).double().numpy())
            for sizes, moments in zip(self._sizes, self._moments, strict=True)
        )
        return [block for block in made if block is not None]

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
            with torch.enable_grad():
                return func(*args, **(kwargs or {}))
        if seen.name == self._first:
            self._calls = []
        with torch.enable_grad():
            out = func(*args, **(kwargs or {}))
            if out.is_complex() or torch.is_inference(out):
                self._whole = False
                return out
            if not self._calls:
                out = out.detach()
            probe = torch.zeros_like(out, requires_grad=True)
            self._calls.append(_Call(seen, seen.inputs.detach(), probe))
            out = out + probe
        if seen.name != self._last:
            return out
        self._derive(out)
        self._calls = []
        return out.detach()

    def _derive(self, out: Tensor) -> None:
        with torch.enable_grad():
            flat = out.reshape(-1, out.shape[-1])
        wanted = torch.rand(len(flat), generator=self._generator) < self._share
        rows = wanted.nonzero()[:, 0].to(out.device)
        if not len(rows):
            return
        probes = [call.probe for call in self._calls]
        for channel in range(flat.shape[1]):
            with torch.enable_grad():
                total = flat[:, channel][rows].sum()
            gradients = torch.autograd.grad(total, probes, retain_graph=True, allow_unused=True)
            if any(gradient is None for gradient in gradients):
                self._whole = False
                return
            self._add([gradient.reshape(-1, gradient.shape[-1])[rows] for gradient in gradients], rows)
        self._samples += len(rows)

    def _add(self, gradients: list[Tensor], rows: Tensor) -> None:
        parts: dict[str, Tensor] = {}
        for call, gradient in zip(self._calls, gradients, strict=True):
            inputs = call.inputs.reshape(-1, call.inputs.shape[-1])[rows]
            for name, derivative in call.seen.derivatives(gradient, inputs).items():
                flat = derivative.reshape(len(rows), -1).to("cpu", torch.float32)
                parts[name] = parts[name] + flat if name in parts else flat
        for sizes, moments in zip(self._sizes, self._moments, strict=True):
            if not all(name in parts for name in sizes):
                self._whole = False
                return
            joined = torch.cat([parts[name] for name in sizes], 1)
            moments.addmm_(joined.T, joined)
