"""Networks on a CPU by the extension: values, and gradients of any loss, faster than by torch's operations.

:func:`fused` says which calls are computed so. All others are computed by torch, operation by operation: its results
agree with these to rounding. The rule is:

- the network is of a class of this package itself, with layers as its constructor makes them: no hooks on them, no
  parametrization, no replaced part; all its weights are dense and float32 (complex64 in a Wire) on the CPU;
- the coordinates are dense, float32, on the CPU;
- nothing watches or changes single operations: no autocast, no function transform, no forward-mode derivative, no
  tracing or compilation, no mode of torch other than a default device.

Gradients flow to weights and coordinates. Where they are to be derived again (``create_graph=True``), torch computes
them. Results do not depend on the number of threads, which is that of torch, or less by ``COINR_THREADS``.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.modules import module as nn_module
from torch.utils._device import DeviceContext

from coinr.engine.native import MlpProgram
from coinr.engine.threads import available_threads
from coinr.networks.programs import Computation

_PLAIN = (Tensor, nn.Parameter)


class FusedModule(nn.Module):
    """A module that the extension can compute."""

    def computation(self) -> Computation | None:
        """Return what the network computes, for the extension; None if that cannot compute it."""
        return None

    def plain_values(self, inputs: Sequence[Tensor], count: int) -> Tensor:
        """Return by torch's operations what :func:`run` returns."""
        raise NotImplementedError


class Fused(NamedTuple):
    """A network that the extension computes: its program, and its weights and biases with their names."""

    program: MlpProgram
    tensors: list[Tensor]
    names: tuple[str, ...]


def fused(network: FusedModule) -> Fused | None:
    """Return a network as the extension computes it; None where the module's rule leaves it to torch."""
    computation = as_made(network)
    tensors = None if computation is None else _tensors(network, computation)
    if computation is None or tensors is None:
        return None
    return Fused(computation.program(), tensors, computation.names)


def as_made(network: FusedModule) -> Computation | None:
    """Return what a network computes; None unless its parts are as its constructor makes them, and nothing watches."""
    if not type(network).__module__.startswith("coinr.networks.") or _is_watched():
        return None
    if not _PATCHED.isdisjoint(network.__dict__):
        return None
    parts = network.modules()
    next(parts)  # its own hooks are called before and after
    if not all(is_untouched(part) for part in parts):
        return None
    return network.computation()


#: Methods of networks that an instance may have others of.
_PATCHED = frozenset({"plain_forward", "wave", "encode"})


def is_untouched(part: nn.Module) -> bool:
    """Return whether a part of a network is of a class that the networks are made of, and nobody watches its calls."""
    kind = type(part)
    if not (kind in (nn.Linear, nn.Sequential, nn.ModuleList) or kind.__module__.startswith("coinr.networks.")):
        return False
    hooks = part._forward_hooks or part._forward_pre_hooks or part._backward_hooks or part._backward_pre_hooks
    return not hooks and "forward" not in part.__dict__


def _tensors(network: nn.Module, computation: Computation) -> list[Tensor] | None:
    """Return weights and biases in the order of the program; None unless they are as it expects."""
    tensors = []
    for layer, names in zip(computation.layers, _pairs(computation.names), strict=True):
        dtype = torch.float32 if layer.storage == "real" else torch.complex64
        shapes = (layer.fan_out, layer.fan_in), (layer.fan_out,)
        for name, shape in zip(names, shapes, strict=True):
            try:
                tensor = operator.attrgetter(name)(network)
            except AttributeError:
                return None
            if not is_plain(tensor, dtype) or tensor.shape != shape or not tensor.is_contiguous():
                return None
            tensors.append(tensor)
    return tensors


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(names[::2], names[1::2], strict=True))


def is_plain(tensor: Any, dtype: torch.dtype = torch.float32) -> bool:
    """Return whether the extension can read a tensor: dense, on the CPU, of a dtype, with memory and no lazy view."""
    return (
        type(tensor) in _PLAIN
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and tensor.dtype == dtype
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not tensor.is_neg()
        and not tensor.is_conj()
        and (tensor.data_ptr() != 0 or not tensor.numel())
    )


def _is_watched() -> bool:
    """Return whether torch's operations have to be called one by one, as something watches or changes them."""
    return (
        torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or _has_global_hooks()
        or torch._C._len_torch_dispatch_stack() > 0
        or any(
            type(torch._C._get_function_stack_at(k)) is not DeviceContext
            for k in range(torch._C._len_torch_function_stack())
        )
    )


def _has_global_hooks() -> bool:
    return any(
        (
            nn_module._global_forward_hooks,
            nn_module._global_forward_pre_hooks,
            nn_module._global_backward_hooks,
            nn_module._global_backward_pre_hooks,
        )
    )


def threads() -> int:
    """Return the number of threads of a call: torch's, or less where that is limited."""
    return min(torch.get_num_threads(), available_threads())


def run(network: FusedModule, found: Fused, inputs: Sequence[Tensor], count: int) -> Tensor:
    """Return values float32 [count, outputs] of inputs [count / repeats, features].

    Adjacent samples share a row of an input with fewer rows. Gradients flow to all weights, and to the input if there
    is only one.
    """
    if torch.is_grad_enabled() and any(t.requires_grad for t in (*inputs, *found.tensors)):
        out: Tensor = _Values.apply(network, found, count, *inputs, *found.tensors)  # type: ignore[no-untyped-call]
        return out
    return _forward(found, inputs, found.tensors, count)


def _forward(found: Fused, inputs: Sequence[Tensor], tensors: Sequence[Tensor], count: int) -> Tensor:
    arrays = [t.detach().numpy() for t in tensors], [x.detach().numpy() for x in inputs]
    return torch.from_numpy(found.program.forward(*arrays, count, threads()))


class _Values(torch.autograd.Function):
    """The values of a network; its activations are computed again on the way back, tile by tile."""

    @staticmethod
    def forward(ctx: Any, network: FusedModule, found: Fused, count: int, *given: Tensor) -> Tensor:
        ctx.network, ctx.found, ctx.count = network, found, count
        ctx.save_for_backward(*given)
        inputs = len(given) - len(found.tensors)
        return _forward(found, given[:inputs], given[inputs:], count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        given, found = ctx.saved_tensors, ctx.found
        wanted = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled() or not is_plain(gradient):
            return None, None, None, *_plain_gradients(ctx.network, found, ctx.count, given, wanted, gradient)
        inputs = len(given) - len(found.tensors)
        arrays = [t.detach().numpy() for t in given[inputs:]], [x.detach().numpy() for x in given[:inputs]]
        of_tensors, of_input = found.program.backward(
            *arrays, ctx.count, gradient.numpy(), any(wanted[:inputs]), threads()
        )
        of_inputs = [None] * inputs if of_input is None else [of_input]
        made = [None if array is None else torch.from_numpy(array) for array in (*of_inputs, *of_tensors)]
        return None, None, None, *(one if want else None for one, want in zip(made, wanted, strict=True))


class _Plain(nn.Module):
    """A network that torch's operations compute."""

    def __init__(self, network: FusedModule) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Sequence[Tensor], count: int) -> Tensor:
        return self.network.plain_values(inputs, count)


def _plain_gradients(
    network: FusedModule, found: Fused, count: int, given: Sequence[Tensor], wanted: Sequence[bool], gradient: Tensor
) -> list[Tensor | None]:
    """Return gradients that can be derived again if gradients are enabled."""
    inputs = given[: len(given) - len(found.names)]
    named = {f"network.{name}": t for name, t in zip(found.names, given[len(inputs) :], strict=True)}
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        out = functional_call(_Plain(network), named, (inputs, count))
        chosen = [tensor for tensor, want in zip(given, wanted, strict=True) if want]
        found_gradients = iter(torch.autograd.grad(out, chosen, gradient, create_graph=again, allow_unused=True))
    return [next(found_gradients) if want else None for want in wanted]
