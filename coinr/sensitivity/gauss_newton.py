"""The Gauss-Newton matrix of a network, accumulated while a caller's own metric runs.

H is the mean over samples of JᵀJ, with J the derivative of the network's outputs by all its parameters. Instead of each
output, random projections of the outputs are derived: their squared derivatives have the same mean.
"""

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
from coinr.sensitivity.calibration import Calibration, SensitivityInfo, measure_sensitivity
from coinr.sensitivity.hessian import MAX_PARAMETERS, HessianFactor
from coinr.sensitivity.input_stats import InputStatsRecorder, LayerCall
from coinr.sensitivity.sampled_module import SampledModule

# Derivatives for each parameter: usually, for networks that take minutes anyway, and at least. With fewer, H is too
# inexact and files get larger.
_ROWS, _ROWS_OF_LARGE, _FEWEST = 10, 20, 4

# Columns of H that are summed at once, of which only the upper half is needed.
_COLUMNS = 2048

# Names of operations that change a tensor.
_IN_PLACE = re.compile(r".*[^_]_|__(i|set)\w*__")

# Why there is no H.
_NO_CHAIN = "the metric runs no plain chain of real layers"
_OUT_OF_TIME = "the time was over"

# Samples whose derivatives are held at once.
_PART = 2048


def resolve_calibration(
    calibrate: Calibration, sd: Mapping[str, Any], seed: int, with_hessian: bool
) -> SensitivityInfo:
    """Measure the sensitivity of each tensor and, for a module ``with_hessian``, of all of them together.

    Other arguments and errors are those of :func:`~coinr.sensitivity.calibration.measure_sensitivity`.
    """
    info = measure_sensitivity(calibrate, sd, seed)
    if with_hessian and isinstance(calibrate, tuple):
        info = replace(info, hessian=module_hessian(*calibrate, plain_tensors(sd)))
    return info


def module_hessian(module: nn.Module, inputs: Any, sd: Mapping[str, Any]) -> HessianFactor | None:
    """Accumulate H from a module's outputs at sample inputs, with the values of a state dict.

    Returns
    -------
    HessianFactor or None
        None where :func:`accumulate_gauss_newton` returns none.
    """
    sampled = SampledModule(module, inputs, sd)
    state = {name: sampled.values[name].detach() for name in sd if name in sampled.values}
    recorder = InputStatsRecorder(state)
    with recorder, torch.no_grad():
        outputs = sampled.checked(0, sampled.count)
    if not all(bool(output.isfinite().all()) for output in outputs):
        why = sampled.why(0, sampled.count)
        raise InputError(f"the module of the calibration gives values that are not finite{why}")

    @torch.no_grad()
    def run(_: Mapping[str, Any]) -> float:
        sampled.call(0, sampled.count)
        return 0.0

    return accumulate_gauss_newton(state, run, recorder)[0]


def accumulate_gauss_newton(
    sd: Mapping[str, Any],
    evaluate: Callable[[Mapping[str, Any]], float],
    inputs: InputStatsRecorder,
    max_parameters: int = MAX_PARAMETERS,
    limit: WorkLimit | None = None,
) -> tuple[HessianFactor | None, int, str]:
    """Call a metric once more and accumulate H while it runs.

    Parameters
    ----------
    sd
        The state dict that the metric is called with.
    evaluate
        The metric.
    inputs
        What was recorded in the metric's first call.
    max_parameters
        Networks with more are left alone.
    limit
        The time that may be spent.

    Returns
    -------
    HessianFactor or None
        None if the network is too large, has too few samples or is no plain chain of real layers. None, too, if the
        time is over before all derivatives are taken.
    int
        Calls of the metric so far: 1 if the recorded inputs show that H cannot be accumulated, else 2.
    str
        Why there is none; empty if there is.
    """
    recorder = GaussNewtonRecorder(sd, inputs, max_parameters, limit)
    if recorder.obstacle:
        return None, 1, recorder.obstacle
    try:
        with recorder:
            evaluate(sd)
    except OutOfTime:
        return None, 2, _OUT_OF_TIME
    except RuntimeError as error:
        if not recorder.caused(error):
            raise
        return None, 2, _NO_CHAIN
    factor = recorder.factor()
    return factor, 2, "" if factor is not None else _NO_CHAIN


@dataclass
class _ProbedCall:
    """A call of a layer, its inputs, and a zero that was added to its outputs so that they can be derived by."""

    layer: LayerCall
    inputs: Tensor
    probe: Tensor


class GaussNewtonRecorder(InputStatsRecorder):
    """A context that derives the outputs of the last layer, sample by sample, by the layers that led to them.

    The values that the metric computes are not changed.

    Parameters
    ----------
    state_dict
        As for :class:`~coinr.sensitivity.input_stats.InputStatsRecorder`.
    inputs
        What was recorded in another call of the same metric: it says which layers there are, and their order.
    max_parameters
        Networks with more are left alone.
    limit
        The time that may be spent.

    Attributes
    ----------
    obstacle : str
        Why H cannot be accumulated; empty for a chain of real layers, small enough, with samples enough.
    """

    obstacle = ""

    def __init__(
        self,
        state_dict: Mapping[str, Any],
        inputs: InputStatsRecorder,
        max_parameters: int = MAX_PARAMETERS,
        limit: WorkLimit | None = None,
    ) -> None:
        super().__init__(state_dict)
        order = list(inputs.input_counts)
        self._first, self._last = (order[0], order[-1]) if order else ("", "")
        self._sizes = {name: state_dict[name].numel() for name in state_dict if name in inputs.used}
        self._limit = limit or WorkLimit()
        self._moments = torch.zeros(0, dtype=torch.float32)
        self._samples = 0
        self._calls: list[_ProbedCall] = []
        self._generator = torch.Generator().manual_seed(0)
        self._is_chain = len(order) > 1 and not any(state_dict[name].is_complex() for name in order)
        parameters = sum(self._sizes.values())
        samples, outputs = (inputs.input_counts[self._last], len(state_dict[self._last])) if order else (0, 1)
        if not self._is_chain:
            self.obstacle = _NO_CHAIN
        elif parameters > max_parameters:
            self.obstacle = f"{parameters} parameters, and at most {max_parameters} are taken together"
        elif samples * outputs < _FEWEST * parameters:
            self.obstacle = (
                f"{samples} points of {outputs} outputs are too few for {parameters} parameters: "
                f"{math.ceil(_FEWEST * parameters / outputs)} points would do"
            )
        target = (_ROWS if parameters <= MAX_PARAMETERS else _ROWS_OF_LARGE) * parameters / max(samples, 1)
        self._share = min(1.0, target)
        self._projections = min(math.ceil(target), outputs)
        self._failed: RuntimeError | None = None

    def has_spare_samples(self) -> bool:
        """Return whether H can be accumulated from a part of the samples."""
        return not self.obstacle and self._share < 1

    def caused(self, error: BaseException | None) -> bool:
        """Return whether this recorder caused an error: tensors that have derivatives here have none elsewhere."""
        while error is not None and error is not self._failed:
            error = error.__cause__ or error.__context__
        return error is not None

    def factor(self) -> HessianFactor | None:
        """Return H, factored, and forget it; None if there were no samples, or some call had no derivatives."""
        if not self._is_chain or not self._samples:
            return None
        moments, self._moments = self._moments.div_(self._samples).double().triu_(), torch.zeros(0, dtype=torch.float32)
        moments.add_(moments.triu(1).T)
        return HessianFactor.of_matrix(self._sizes, moments.numpy())

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation with a graph from the first layer to the last."""
        if not self._is_chain:
            return func(*args, **(kwargs or {}))
        layer = self._layer_call(func, args, kwargs or {})
        if layer is None:
            run = self._derived if self._calls else _plainly
            out = run(func, args, kwargs or {})
            self._identifier.follow(func, args, out)
            return out
        if layer.name == self._first:
            self._calls = []
        out = self._derived(func, args, kwargs or {})
        with torch.inference_mode(False), torch.enable_grad():
            if out.is_complex() or torch.is_inference(out):
                self._is_chain = False
                return out
            if not self._calls:
                out = out.detach()
            probe = torch.zeros_like(out, requires_grad=True)
            self._calls.append(_ProbedCall(layer, _tracked(layer.inputs).detach(), probe))
            out = out + probe
        if layer.name != self._last:
            return out
        self._derive(out)
        self._calls = []
        return out.detach()

    def _derived(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation with a graph, in inference mode too, but for what changes its tensors in place."""
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
        """Add derivatives of the network's outputs ``[..., outputs]``, of a random choice of samples."""
        flat = out.reshape(-1, out.shape[-1])
        chosen = torch.rand(len(flat), generator=self._generator, dtype=torch.float32) < self._share
        rows = chosen.nonzero()[:, 0].to(out.device)
        if not len(rows):
            return
        probes = [call.probe for call in self._calls]
        for projection in self._random_projections(len(rows), flat.shape[1]):
            total = (flat[rows] * projection.to(flat)).sum()
            gradients = torch.autograd.grad(total, probes, retain_graph=True, allow_unused=True)
            if any(gradient is None for gradient in gradients):
                self._is_chain = False
                return
            for part in rows.split(_PART):
                self._add([gradient.reshape(-1, gradient.shape[-1])[part] for gradient in gradients], part)
        self._samples += len(rows)

    def _random_projections(self, samples: int, outputs: int) -> Iterator[Tensor]:
        """Yield projections p, ``[samples or 1, outputs]``, of the outputs: the sum of pᵀp has the identity as mean.

        More samples give a better H than more outputs of each. So, with samples to spare, a few projections by random
        signs take the place of all outputs.
        """
        if self._projections == outputs:
            yield from torch.eye(outputs, dtype=torch.float32)[:, None]
            return
        for _ in range(self._projections):
            signs = torch.randint(2, (samples, outputs), generator=self._generator, dtype=torch.float32) * 2 - 1
            yield signs / math.sqrt(self._projections)

    def _add(self, gradients: list[Tensor], rows: Tensor) -> None:
        """Add JᵀJ of samples, given the derivatives of a projection by each call's outputs."""
        parts: dict[str, Tensor] = {}
        for call, gradient in zip(self._calls, gradients, strict=True):
            inputs = call.inputs.reshape(-1, call.inputs.shape[-1])[rows]
            for name, derivative in call.layer.derivatives(gradient, inputs).items():
                flat = derivative.reshape(len(rows), -1).to("cpu", torch.float32)
                parts[name] = parts[name] + flat if name in parts else flat
        if parts.keys() != self._sizes.keys():
            self._is_chain = False
            return
        joined = torch.cat([parts[name] for name in self._sizes], 1)
        if not self._moments.numel():
            self._moments = torch.zeros(joined.shape[1], joined.shape[1], dtype=torch.float32)
        for start in range(0, joined.shape[1], _COLUMNS):
            if self._limit.out_of_time():
                self._is_chain = False
                raise OutOfTime
            chosen = slice(start, start + _COLUMNS)
            self._moments[chosen, start:].addmm_(joined[:, chosen].T, joined[:, start:])


def _plainly(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return func(*args, **kwargs)


def _tracked(value: Any) -> Any:
    """Return a tensor that derivatives can be taken with: a copy of one that was made in inference mode."""
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value
