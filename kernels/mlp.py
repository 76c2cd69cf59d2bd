"""Networks on batches of samples: values, gradients, and both of the squared error, many networks in one launch.

A program takes a tile of samples through all layers and back (``mlp_tile.py``). Tiles form groups that depend on the
number of samples alone. Each group adds up its tiles in order and writes its gradients; a second kernel adds up the
groups in order. So equal inputs give equal bits on one device, whatever else is in the launch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from ._checks import check_tensor, multiprocessors
from .mlp_tile import BLOCK, go_back, origin, run_tile, wide
from .sine import reduction_table

KINDS = {"siren": 0, "finer": 1, "gauss": 2, "relu": 3}
PRECISIONS = ("tf32x3", "ieee")
# Of inputs, columns of hidden matrices and outputs.
MOST_WIDTH = 128
MOST_GROUPS = 128
REDUCED = 128
WORKSPACE_FLOATS = 1 << 28


@triton.jit
def forward_kernel(
    x_ptr,  # float32 [networks, samples, inputs], networks x_stride apart
    weight_ptr,  # float32 [networks, parameters], rows weight_stride apart
    out_ptr,  # float32 [networks, samples, outputs]
    tape_ptr,  # float32 [programs, 4, BLOCK, M]
    table_ptr,
    networks,
    samples,
    x_stride,
    weight_stride,
    inputs,
    width,
    hidden_layers,
    outputs,
    first_omega,
    omega,
    KIND: tl.constexpr,
    M: tl.constexpr,
    OUT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Set the values of all networks; any number of programs."""
    program = tl.program_id(0)
    tape_ptr += program.to(tl.int64) * (4 * BLOCK * M)
    tiles = tl.cdiv(samples, BLOCK)
    for item in range(program, networks * tiles, tl.num_programs(0)):
        network = wide(item // tiles)
        start = wide(item % tiles) * BLOCK
        count = tl.minimum(samples - start, BLOCK).to(tl.int32)
        out = run_tile(
            x_ptr + network * x_stride + start * inputs, weight_ptr + network * weight_stride, tape_ptr, table_ptr,
            count, inputs, width, hidden_layers, outputs, first_omega, omega,
            KIND, False, M, OUT, PRECISION,
        )  # fmt: skip
        zero = origin(table_ptr)
        s = zero + tl.arange(0, BLOCK)[:, None]
        o = zero + tl.arange(0, OUT)[None, :]
        at = (network * samples + start + s) * outputs + o
        tl.store(out_ptr + at, out, mask=(s < count) & (o < outputs))


@triton.jit
def gradient_kernel(
    x_ptr,  # float32 [networks, samples, inputs], networks x_stride apart
    weight_ptr,  # float32 [networks, parameters], rows weight_stride apart
    target_ptr,  # float32 [networks, samples, outputs]: targets (LOSS), or gradients of the outputs
    sums_ptr,  # float32 [networks, groups, sums_stride]: gradients, then half of factor times the squared error (LOSS)
    tape_ptr,  # float32 [programs, tape_size]
    table_ptr,
    networks,
    samples,
    groups,
    tiles_per_group,
    x_stride,
    weight_stride,
    target_stride,
    sums_stride,
    tape_size,
    inputs,
    width,
    hidden_layers,
    outputs,
    first_omega,
    omega,
    factor,
    KIND: tl.constexpr,
    LOSS: tl.constexpr,
    M: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Set each group's gradients of factor / 2 times the squared error, or from those of the outputs."""
    program = tl.program_id(0)
    tape_ptr += program.to(tl.int64) * tape_size
    tiles = tl.cdiv(samples, BLOCK)
    for item in range(program, networks * groups, tl.num_programs(0)):
        network = wide(item // groups)
        first = (item % groups) * tiles_per_group
        sums = sums_ptr + wide(item) * sums_stride
        weights = weight_ptr + network * weight_stride
        error = tl.zeros([BLOCK], tl.float32)
        for tile in range(first, tl.minimum(first + tiles_per_group, tiles)):
            start = wide(tile) * BLOCK
            count = tl.minimum(samples - start, BLOCK).to(tl.int32)
            x = x_ptr + network * x_stride + start * inputs
            out = run_tile(
                x, weights, tape_ptr, table_ptr, count, inputs, width, hidden_layers, outputs, first_omega, omega,
                KIND, True, M, OUT, PRECISION,
            )  # fmt: skip
            zero = origin(table_ptr)
            s = zero + tl.arange(0, BLOCK)[:, None]
            o = zero + tl.arange(0, OUT)[None, :]
            inside = (s < count) & (o < outputs)
            gradient = tl.load(target_ptr + network * target_stride + (start + s) * outputs + o, mask=inside, other=0.0)
            if LOSS:
                difference = tl.where(inside, out - gradient, 0.0)
                error += tl.sum(difference * difference, axis=1)
                gradient = difference * factor
            go_back(
                gradient, x, weights, tape_ptr, sums, table_ptr, count, tile - first,
                inputs, width, hidden_layers, outputs, M, IN, OUT, PRECISION,
            )  # fmt: skip
        if LOSS:
            parameters = (inputs + 1) * width + hidden_layers * (width + 1) * width + (width + 1) * outputs
            tl.store(sums + parameters, tl.sum(error, axis=0) * (0.5 * factor))


@triton.jit(do_not_specialize=["groups"])
def reduce_kernel(
    sums_ptr,  # float32 [networks, groups, stride]
    out_ptr,  # float32 [networks, stride]
    groups,
    stride,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Add up the groups of each network in order; grid (networks, parts of COLUMNS numbers)."""
    network = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros([COLUMNS], tl.float32)
    for start in range(0, groups, ROWS):
        rows = start + tl.arange(0, ROWS)
        at = (network * groups + rows[:, None]) * stride + columns[None, :]
        total += tl.sum(
            tl.load(sums_ptr + at, mask=(rows < groups)[:, None] & (columns < stride)[None, :], other=0.0), axis=0
        )
    tl.store(out_ptr + network * stride + columns, total, mask=columns < stride)


@dataclass(frozen=True)
class Mlp:
    """Describe networks of one kind and size.

    Parameters
    ----------
    kind
        ``siren``, ``finer``, ``gauss`` or ``relu``, without an encoding.
    inputs, width, hidden_layers, outputs
        Sizes: hidden_layers + 2 affine maps, 1 … 128 inputs, outputs and columns.
    omega, first_omega
        Factor of all sines, and of those of the first layer; the scale of Gaussians; not used by ``relu``.
    precision
        Of matrix products: ``tf32x3`` (three products of TF32 parts on matrix units) or ``ieee`` (float32).

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    kind: str
    inputs: int
    width: int
    hidden_layers: int
    outputs: int
    omega: float = 1.0
    first_omega: float = 1.0
    precision: str = "tf32x3"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be {', '.join(KINDS)}, got {self.kind!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be {' or '.join(PRECISIONS)}, got {self.precision!r}")
        for name in ("inputs", "width", "outputs"):
            if not 1 <= getattr(self, name) <= MOST_WIDTH:
                raise ValueError(f"{name} must lie in 1 … {MOST_WIDTH}, got {getattr(self, name)}")
        if not 0 <= self.hidden_layers <= 1024:
            raise ValueError(f"hidden_layers must lie in 0 … 1024, got {self.hidden_layers}")

    @property
    def parameters(self) -> int:
        """Return the number of weights and biases."""
        a, m, h, b = self.inputs, self.width, self.hidden_layers, self.outputs
        return (a + 1) * m + h * (m + 1) * m + (m + 1) * b

    @property
    def constants(self) -> dict[str, object]:
        """Return padded sizes and other constants of both kernels."""
        return {
            "KIND": KINDS[self.kind], "M": _padded(self.width), "OUT": _padded(self.outputs),
            "PRECISION": self.precision,
        }  # fmt: skip

    @property
    def options(self) -> dict[str, int]:
        """Return warps and stages of both kernels."""
        return {"num_warps": 4 if self.width <= 32 else 8, "num_stages": 1}

    @property
    def sizes(self) -> tuple[int | float, ...]:
        """Return the arguments that both kernels share."""
        return self.inputs, self.width, self.hidden_layers, self.outputs, self.first_omega, self.omega


def _padded(size: int) -> int:
    return max(16, triton.next_power_of_2(size))


def _check(name: str, tensor: torch.Tensor, shape: tuple[int, ...], device: torch.device) -> None:
    """Raise ValueError unless a tensor has the shape and device; its rows may lie anywhere, each without gaps."""
    check_tensor(name, tensor[:1], torch.float32, (min(1, shape[0]), *shape[1:]))
    if tensor.shape[0] != shape[0] or tensor.device != device:
        raise ValueError(f"{name} must be {list(shape)} on {device}, got {list(tensor.shape)} on {tensor.device}")


def _programs(items: int, mlp: Mlp, device: torch.device) -> int:
    """Return how many programs share the work; more than are resident would only enlarge the tapes."""
    return min(items, multiprocessors(device) * (2 if mlp.width > 32 else 4))


def mlp_forward(mlp: Mlp, parameters: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return the values of K networks: float32 ``[K, N, outputs]``.

    Parameters
    ----------
    mlp
        Kind and size of all networks.
    parameters
        float32 ``[K, mlp.parameters]``: weights [fan_out, fan_in] and biases of each layer in turn. Rows without gaps,
        any distance between rows.
    inputs
        float32 ``[K, N, mlp.inputs]``, networks at any distance: an expanded tensor is one batch for all.

    Raises
    ------
    ValueError
        If shape, dtype, strides or device of a tensor is wrong.
    """
    K, N, device = len(parameters), inputs.shape[1] if inputs.dim() == 3 else 0, parameters.device
    _check("parameters", parameters, (K, mlp.parameters), device)
    _check("inputs", inputs, (K, N, mlp.inputs), device)
    out = torch.empty(K, N, mlp.outputs, dtype=torch.float32, device=device)
    if K and N:
        constants = mlp.constants
        programs = _programs(K * triton.cdiv(N, BLOCK.value), mlp, device)
        tape = torch.empty(programs, 4 * BLOCK.value * int(constants["M"]), dtype=torch.float32, device=device)
        forward_kernel[(programs,)](
            inputs, parameters, out, tape, reduction_table(device), K, N, inputs.stride(0), parameters.stride(0),
            *mlp.sizes, **constants, **mlp.options,
        )  # fmt: skip
    return out


def mlp_backward(mlp: Mlp, parameters: torch.Tensor, inputs: torch.Tensor, out_gradient: torch.Tensor) -> torch.Tensor:
    """Return the gradients of sum(out * out_gradient) with respect to the parameters: float32 ``[K, mlp.parameters]``.

    Parameters and errors are those of :func:`mlp_forward`; ``out_gradient`` is float32 ``[K, N, mlp.outputs]``. Values
    are computed again.
    """
    return _gradients(mlp, parameters, inputs, out_gradient, 0.0)[:, : mlp.parameters]


def mlp_squared_error(
    mlp: Mlp, parameters: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each network's mean squared error, float32 ``[K]``, and its gradients, ``[K, mlp.parameters]``.

    Parameters and errors are those of :func:`mlp_forward`; ``targets`` is float32 ``[K, N, mlp.outputs]``, with N >= 1.
    """
    if targets.dim() != 3 or targets.shape[1] == 0:
        raise ValueError(f"targets must be [K, N, {mlp.outputs}] with N >= 1, got {list(targets.shape)}")
    result = _gradients(mlp, parameters, inputs, targets, 2 / (targets.shape[1] * mlp.outputs))
    return result[:, mlp.parameters], result[:, : mlp.parameters]


def _gradients(
    mlp: Mlp, parameters: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, factor: float
) -> torch.Tensor:
    """Return gradients, and errors in column ``mlp.parameters``, of factor / 2 times the squared error; 0: no error."""
    K, N, device = len(parameters), inputs.shape[1] if inputs.dim() == 3 else 0, parameters.device
    _check("parameters", parameters, (K, mlp.parameters), device)
    _check("inputs", inputs, (K, N, mlp.inputs), device)
    _check("targets" if factor else "out_gradient", targets, (K, N, mlp.outputs), device)
    # Rows begin at multiples of 64 bytes.
    stride = triton.cdiv(mlp.parameters + 1, 16) * 16
    out = torch.zeros(K, stride, dtype=torch.float32, device=device)
    if K == 0 or N == 0:
        return out
    tiles = triton.cdiv(N, BLOCK.value)
    tiles_per_group = triton.cdiv(tiles, MOST_GROUPS)
    groups = triton.cdiv(tiles, tiles_per_group)
    constants = mlp.constants
    tape_size = 2 * (mlp.hidden_layers + 2) * BLOCK.value * int(constants["M"]) + BLOCK.value * int(constants["OUT"])
    at_once = max(1, WORKSPACE_FLOATS // (groups * stride))
    for begin in range(0, K, at_once):
        some = min(at_once, K - begin)
        programs = _programs(some * groups, mlp, device)
        tape = torch.empty(programs, tape_size, dtype=torch.float32, device=device)
        sums = torch.zeros(some, groups, stride, dtype=torch.float32, device=device)
        gradient_kernel[(programs,)](
            inputs[begin:], parameters[begin:], targets[begin:], sums, tape, reduction_table(device), some, N, groups,
            tiles_per_group, inputs.stride(0), parameters.stride(0), targets.stride(0), stride, tape_size,
            *mlp.sizes, factor, LOSS=factor > 0, IN=_padded(mlp.inputs), **constants, **mlp.options,
        )  # fmt: skip
        reduce_kernel[(some, triton.cdiv(stride, REDUCED))](sums, out[begin:], groups, stride, ROWS=16, COLUMNS=REDUCED)
    return out
