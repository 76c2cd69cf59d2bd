"""Sine and cosine together, right to two units in the last place for every float32, the same bits on any device.

The compiler's own sine may be an approximation of the device. Here the quadrant n = round(x 2/pi) and the rest
r = x - n pi/2 come first, then two polynomials on [-pi/4, pi/4]. Up to ``LIMIT`` pi/2 is cut into parts of at most 11
bits, whose products with n are exact, so that a fused multiply-add changes nothing. Beyond it 2/pi is taken from a
table of its bits (Payne and Hanek, 1983, as in Arm's optimized routines), if a value of the tile is so large.
"""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl

LIMIT = tl.constexpr(12000.0)
INFINITY = tl.constexpr(float("inf"))
TWO_OVER_PI = tl.constexpr(0.6366197723675814)
# Adding it rounds to an integer, whose last bits are then those of the sum.
ROUND = tl.constexpr(12582912.0)
# pi/2 is their sum.
PART1 = tl.constexpr(float.fromhex("0x1.92p+0"))
PART2 = tl.constexpr(float.fromhex("0x1.fb8p-12"))
PART3 = tl.constexpr(float.fromhex("-0x1.5ep-23"))
PART4 = tl.constexpr(float.fromhex("0x1.0b8p-34"))
PART5 = tl.constexpr(float.fromhex("-0x1.cf72cep-45"))
# pi / 2**63
PI63 = tl.constexpr(float.fromhex("0x1.921fb54442d18p-62"))

# Large values that are in registers at once.
PART = tl.constexpr(256)
# Where the table holds a zero, after 24 words.
ZERO = tl.constexpr(24)

# 32 bits of 4/pi each, every one 8 bits further.
FOUR_OVER_PI = 0xA2F9836E4E441529FC2757D1F534DDC0DB6295993C439041


@cache
def reduction_table(device: torch.device) -> torch.Tensor:
    """Return the 24 words of 4/pi that :func:`sine_cosine` reads, and a zero: int32 ``[25]``."""
    words = [(FOUR_OVER_PI >> 8 * (23 - i)) & 0xFFFFFFFF for i in range(24)]
    signed = [word - (1 << 32) if word >> 31 else word for word in words]
    return torch.tensor([*signed, 0], dtype=torch.int32, device=device)


@triton.jit
def reduce_small(x):
    """Return x - n pi/2 and an integer with the last bits of n, for |x| <= LIMIT."""
    shifted = x * TWO_OVER_PI + ROUND
    n = shifted - ROUND
    r = (x - n * PART1) - n * PART2
    # What each subtraction loses is kept.
    part = n * PART3
    near = r - part
    lost = (r - near) - part
    part = n * PART4
    r = near - part
    lost += (near - r) - part
    return r + (lost - n * PART5), shifted.to(tl.int32, bitcast=True)


@triton.jit
def reduce_large(x, table_ptr):
    """Return x - n pi/2 and n modulo 4, for finite |x| >= LIMIT."""
    bits = x.to(tl.int32, bitcast=True)
    size = bits & 0x7FFFFFFF
    word = (size >> 26) & 15
    mantissa = (((size & 0x7FFFFF) | 0x800000) << ((size >> 23) & 7)).to(tl.uint32)
    high = tl.load(table_ptr + word).to(tl.uint32, bitcast=True)
    middle = tl.load(table_ptr + word + 4).to(tl.uint32, bitcast=True)
    low = tl.load(table_ptr + word + 8).to(tl.uint32, bitcast=True)
    wide = mantissa.to(tl.uint64)
    product = ((mantissa * high).to(tl.uint64) << 32) | ((wide * low.to(tl.uint64)) >> 32)
    product += wide * middle.to(tl.uint64)
    n = (product + (1 << 61)) >> 62
    r = ((product - (n << 62)).to(tl.int64, bitcast=True).to(tl.float64) * PI63).to(tl.float32)
    quadrant = n.to(tl.int32)
    return tl.where(bits < 0, -r, r), tl.where(bits < 0, -quadrant, quadrant)


@triton.jit
def combine(r, n):
    """Return sin and cos of r + n pi/2, for |r| <= pi/4 and the last bits of n."""
    square = r * r
    s = r + r * square * (-0.16666654611 + square * (0.0083321608736 - 0.00019515295891 * square))
    tail = 0.04166664568298827 + square * (-0.001388731625493765 + 2.443315711809948e-5 * square)
    c = 1.0 - 0.5 * square + square * square * tail
    odd = (n & 1) != 0
    sine = tl.where(odd, c, s)
    cosine = tl.where(odd, s, c)
    return tl.where((n & 2) != 0, -sine, sine), tl.where(((n + 1) & 2) != 0, -cosine, cosine)


@triton.jit
def is_large(x):
    """Return where the table is needed: not for infinity, whose sine is NaN anyway."""
    return (tl.abs(x) >= LIMIT) & (tl.abs(x) < INFINITY)


@triton.jit
def sine_cosine(x, table_ptr, scratch_ptr, R: tl.constexpr, C: tl.constexpr):
    """Return sin(x) and cos(x), float32 ``[R, C]``; NaN for what is not finite.

    Where a value is large, all go through the scratch [2, R, C], few at a time: the table needs many registers.
    """
    large = is_large(x)
    r, n = reduce_small(tl.where(large, 0.0, x))
    sine, cosine = combine(r, n)
    if tl.max(large.to(tl.int32)) > 0:
        places = tl.arange(0, R)[:, None] * C + tl.arange(0, C)[None, :]
        tl.store(scratch_ptr + places, x)
        tl.debug_barrier()
        for start in range(0, R * C, PART):
            at = scratch_ptr + start + tl.arange(0, PART)
            some = tl.load(at)
            some_large = is_large(some)
            near, quadrant = reduce_small(tl.where(some_large, 0.0, some))
            far, far_quadrant = reduce_large(some, table_ptr)
            near = tl.where(some_large, far, near)
            some_sine, some_cosine = combine(near, tl.where(some_large, far_quadrant, quadrant))
            tl.store(at, some_sine)
            tl.store(at + R * C, some_cosine)
        tl.debug_barrier()
        sine = tl.load(scratch_ptr + places)
        cosine = tl.load(scratch_ptr + R * C + places)
    return sine, cosine


@triton.jit
def sine_kernel(x_ptr, out_ptr, table_ptr, R: tl.constexpr, C: tl.constexpr):
    """Set sine and cosine, [2, R, C], of [R, C], by the code of the networks; one program."""
    places = tl.arange(0, R)[:, None] * C + tl.arange(0, C)[None, :]
    sine, cosine = sine_cosine(tl.load(x_ptr + places), table_ptr, out_ptr, R, C)
    tl.store(out_ptr + places, sine)
    tl.store(out_ptr + R * C + places, cosine)
