"""One tile of samples through an MLP and back: the code that the kernels of ``mlp.py`` are made of.

A network is one row of floats: weights [fan_out, fan_in] and biases of each layer in turn. All its hidden matrices are
[width, width]. M and OUT are width and outputs, padded to powers of two; padded columns meet weights of zero.

A program has a tape in global memory, small enough for the caches. It holds tiles: for each layer the activations,
[BLOCK, M], and their derivatives, which the way back replaces by gradients with respect to the layer's affine map. Two
more tiles follow for large phases, and one of the outputs' gradients, [BLOCK, OUT]. Matrix products read their factors
by steps of STEP, so registers and shared memory do not grow with the depth.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .sine import ZERO, sine_cosine

SIREN = tl.constexpr(0)
FINER = tl.constexpr(1)
GAUSS = tl.constexpr(2)
RELU = tl.constexpr(3)

# Samples of a tile, and terms of a product that are in registers at once.
BLOCK = tl.constexpr(64)
STEP = tl.constexpr(16)


@triton.jit
def wide(value):
    """Return an integer in 64 bits."""
    return tl.full([], value, tl.int64)


@triton.jit
def origin(table_ptr):
    """Return 0, in a way that the compiler cannot move out of a loop.

    All places in memory are counted from it. Otherwise the compiler would compute the addresses and masks of all
    products before the loops, and spill them.
    """
    return tl.multiple_of(tl.load(table_ptr + ZERO, volatile=True), 16)


@triton.jit
def multiply(
    table_ptr, a_ptr, a_row, a_column, rows, b_ptr, b_row, b_column, columns, inner,
    R: tl.constexpr, C: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return A B, float32 ``[R, C]``, of A [rows, inner] and B [inner, columns], zero beyond these sizes."""
    zero = origin(table_ptr)
    r = zero + tl.arange(0, R)[:, None]
    c = zero + tl.arange(0, C)[None, :]
    k = zero + tl.arange(0, STEP)
    a_at = a_ptr + r * a_row + k[None, :] * a_column
    b_at = b_ptr + k[:, None] * b_row + c * b_column
    total = tl.zeros([R, C], tl.float32)
    for start in range(0, INNER, STEP):
        inside = k < inner - start
        a = tl.load(a_at, mask=(r < rows) & inside[None, :], other=0.0)
        b = tl.load(b_at, mask=inside[:, None] & (c < columns), other=0.0)
        total = tl.dot(a, b, total, input_precision=PRECISION)
        a_at += STEP * a_column
        b_at += STEP * b_row
    return total


@triton.jit
def activate(z, omega, table_ptr, scratch_ptr, KIND: tl.constexpr, M: tl.constexpr):
    """Return the activation of affine maps z, and its derivative; omega is the scale of a Gaussian."""
    if KIND == RELU:
        y = tl.where(z < 0.0, 0.0, z)
        derivative = tl.where(z > 0.0, 1.0, 0.0)
    elif KIND == GAUSS:
        scaled = z * omega
        y = tl.exp(-(scaled * scaled))
        derivative = -2.0 * omega * scaled * y
    else:
        factor = omega
        if KIND == FINER:
            factor = omega * (tl.abs(z) + 1.0)
        y, cosine = sine_cosine(z * factor, table_ptr, scratch_ptr, BLOCK, M)
        derivative = cosine * factor
    return y, derivative


@triton.jit
def first_layer(table_ptr, x_ptr, weight_ptr, count, inputs, width, M: tl.constexpr):
    """Return W x + b of inputs [count, inputs], ``[BLOCK, M]``, in float32: phases are large here."""
    zero = origin(table_ptr)
    s = zero + tl.arange(0, BLOCK)
    m = zero + tl.arange(0, M)
    z = tl.zeros([BLOCK, M], tl.float32)
    z += row(table_ptr, weight_ptr + inputs * width, width, M)
    for i in range(0, inputs):
        x = tl.load(x_ptr + s * inputs + i, mask=s < count, other=0.0)
        weights = tl.load(weight_ptr + m * inputs + i, mask=m < width, other=0.0)
        z += x[:, None] * weights[None, :]
    return z


@triton.jit
def row(table_ptr, at_ptr, columns, C: tl.constexpr):
    """Return numbers [columns] as ``[1, C]``, zero beyond them."""
    c = origin(table_ptr) + tl.arange(0, C)
    return tl.load(at_ptr + c, mask=c < columns, other=0.0)[None, :]


@triton.jit
def keep(table_ptr, at_ptr, values, R: tl.constexpr, C: tl.constexpr):
    """Store ``[R, C]`` in a tape."""
    zero = origin(table_ptr)
    tl.store(at_ptr + (zero + tl.arange(0, R))[:, None] * C + (zero + tl.arange(0, C))[None, :], values)


@triton.jit
def kept(table_ptr, at_ptr, R: tl.constexpr, C: tl.constexpr):
    """Return ``[R, C]`` from a tape."""
    zero = origin(table_ptr)
    return tl.load(at_ptr + (zero + tl.arange(0, R))[:, None] * C + (zero + tl.arange(0, C))[None, :])


@triton.jit
def run_tile(
    x_ptr, weight_ptr, tape_ptr, table_ptr, count, inputs, width, hidden_layers, outputs, first_omega, omega,
    KIND: tl.constexpr, KEEP: tl.constexpr, M: tl.constexpr, OUT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Return the outputs of a tile, ``[BLOCK, OUT]``; the tape keeps all layers (KEEP), or two in turn."""
    scratch = 2 * hidden_layers + 2 if KEEP else 2
    for layer in range(0, hidden_layers + 1):
        # What the layer before stored must be there, and all of what this one overwrites must have been read.
        tl.debug_barrier()
        if layer == 0:
            z = first_layer(table_ptr, x_ptr, weight_ptr, count, inputs, width, M)
            factor = first_omega
            weight_ptr += (inputs + 1) * width
        else:
            before = 2 * layer - 2 if KEEP else (layer + 1) % 2
            z = multiply(
                table_ptr, tape_ptr + before * (BLOCK * M), M, 1, BLOCK, weight_ptr, 1, width, width, width,
                BLOCK, M, M, PRECISION,
            )  # fmt: skip
            z += row(table_ptr, weight_ptr + width * width, width, M)
            factor = omega
            weight_ptr += (width + 1) * width
        y, derivative = activate(z, factor, table_ptr, tape_ptr + scratch * (BLOCK * M), KIND, M)
        after = 2 * layer if KEEP else layer % 2
        keep(table_ptr, tape_ptr + after * (BLOCK * M), y, BLOCK, M)
        if KEEP:
            keep(table_ptr, tape_ptr + (after + 1) * (BLOCK * M), derivative, BLOCK, M)
    tl.debug_barrier()
    last = 2 * hidden_layers if KEEP else hidden_layers % 2
    out = multiply(
        table_ptr, tape_ptr + last * (BLOCK * M), M, 1, BLOCK, weight_ptr, 1, width, outputs, width,
        BLOCK, OUT, M, PRECISION,
    )  # fmt: skip
    return out + row(table_ptr, weight_ptr + width * outputs, outputs, OUT)


@triton.jit
def add_to(table_ptr, out_ptr, values, rows, columns, done, R: tl.constexpr, C: tl.constexpr):
    """Add ``[R, C]`` to the matrix [rows, columns] at out_ptr, or set it where no tile was done before."""
    zero = origin(table_ptr)
    r = zero + tl.arange(0, R)[:, None]
    c = zero + tl.arange(0, C)[None, :]
    inside = (r < rows) & (c < columns)
    at = out_ptr + r * columns + c
    if done > 0:
        values += tl.load(at, mask=inside, other=0.0)
    tl.store(at, values, mask=inside)


@triton.jit
def go_back(
    gradient, x_ptr, weight_ptr, tape_ptr, sums_ptr, table_ptr, count, done, inputs, width, hidden_layers, outputs,
    M: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the gradients of a tile to sums [parameters], from that of its outputs, ``[BLOCK, OUT]``, zero if padded."""
    out_ptr = tape_ptr + (hidden_layers + 2) * (2 * BLOCK * M)
    keep(table_ptr, out_ptr, gradient, BLOCK, OUT)
    tl.debug_barrier()
    skip = (inputs + 1) * width + hidden_layers * (width + 1) * width
    layer_ptr = tape_ptr + hidden_layers * (2 * BLOCK * M)
    last = multiply(table_ptr, out_ptr, 1, OUT, OUT, layer_ptr, M, 1, M, BLOCK, OUT, M, BLOCK, PRECISION)
    add_to(table_ptr, sums_ptr + skip, last, outputs, width, done, OUT, M)
    add_to(table_ptr, sums_ptr + skip + outputs * width, tl.sum(gradient, axis=0)[None, :], 1, outputs, done, 1, OUT)
    back = multiply(
        table_ptr, out_ptr, OUT, 1, BLOCK, weight_ptr + skip, width, 1, width, outputs, BLOCK, M, OUT, PRECISION
    )
    delta = back * kept(table_ptr, layer_ptr + BLOCK * M, BLOCK, M)
    for _step in range(0, hidden_layers):
        # What is stored needs what was loaded from the same place: no barrier between the two.
        keep(table_ptr, layer_ptr + BLOCK * M, delta, BLOCK, M)
        tl.debug_barrier()
        delta_ptr = layer_ptr + BLOCK * M
        layer_ptr -= 2 * BLOCK * M
        skip -= (width + 1) * width
        weights = multiply(table_ptr, delta_ptr, 1, M, M, layer_ptr, M, 1, M, BLOCK, M, M, BLOCK, PRECISION)
        add_to(table_ptr, sums_ptr + skip, weights, width, width, done, M, M)
        add_to(table_ptr, sums_ptr + skip + width * width, tl.sum(delta, axis=0)[None, :], 1, width, done, 1, M)
        back = multiply(
            table_ptr, delta_ptr, M, 1, BLOCK, weight_ptr + skip, width, 1, width, width, BLOCK, M, M, PRECISION
        )
        delta = back * kept(table_ptr, layer_ptr + BLOCK * M, BLOCK, M)
    keep(table_ptr, tape_ptr + BLOCK * M, delta, BLOCK, M)
    tl.debug_barrier()
    initial = multiply(
        table_ptr, tape_ptr + BLOCK * M, 1, M, M, x_ptr, inputs, 1, inputs, count, M, IN, BLOCK, PRECISION
    )
    add_to(table_ptr, sums_ptr, initial, width, inputs, done, M, IN)
    add_to(table_ptr, sums_ptr + inputs * width, tl.sum(delta, axis=0)[None, :], 1, width, done, 1, M)
