"""The map and its derivatives for one row, and how a block of rows is kept in range.

MATH: u = e + skip*z, v = du/dz = e + skip, e = exp(z); f = u / sum(u). f does not change when u is
scaled, so every sum may carry a shift m: hats below are the plain quantities times exp(-m). In the
common range m is 0 and nothing is rounded differently from the plain formula.
"""

from __future__ import annotations

import math

import numpy as np
from numba import config

from ._jit import inline
from .simd import bits_float, float_bits

_LOG2E = 1.4426950408889634
#: ln 2 in two parts: the first has 21 trailing zero bits, so k * _LN2_HI is exact for |k| <= 1100.
_LN2_HI = 6.93147180369123816490e-01
_LN2_LO = 1.90821492927058770002e-10
#: Adding and subtracting 1.5 * 2**52 rounds to the nearest integer, which then stands in the low bits.
_ROUND = 6755399441055744.0

#: Shift 0 is kept while log max|u| stays within this: squares, products with b and sums over any n stay
#: far inside the range of float64, and of float32 when the sums of a block are kept in it.
COMMON_F64 = 64.0
COMMON_F32 = 16.0

#: Below this share of what it is a difference of, the loss is recomputed from c = f - b: the expanded sums
#: have lost two digits.
CANCELS = 1e-2

#: Most rows of a block. The arrays of a block have this row length, a constant, so that LLVM can tell
#: them apart and vectorise loops that write several.
BLOCK = 256
#: Loops over the rows of a block run to a multiple of this: a vectorised loop does what is left one by one.
PAD = 32
#: Bytes of A in a block: it and the next one, which is prefetched, share the first-level cache. Fastest of
#: 8, 12, 16, 24 and 32 kB tried.
BLOCK_BYTES = 16384
#: Rows of a block at most, where rows are short: more would keep its row state from the first-level cache.
MOST_ROWS = 128

#: Allocates the arrays of a block: what lies in their padding means nothing to compiled loops, but plain
#: Python would warn of it (``NUMBA_DISABLE_JIT=1``).
work_space = np.zeros if config.DISABLE_JIT else np.empty


@inline
def exp(x):
    """exp(x) to 1 ulp without a branch, so that loops over it vectorise; inf, nan and subnormals as usual.

    Cody-Waite reduction x = k ln 2 + r, |r| <= 0.347, a Taylor polynomial of degree 13 (remainder
    4e-18), and 2**k applied in two factors so that neither over- nor underflows before the product does.
    """
    x = -746.0 if x < -746.0 else x  # comparisons are false for nan, which passes through
    x = 710.0 if x > 710.0 else x
    shifted = x * _LOG2E + _ROUND
    k = float_bits(shifted) - float_bits(_ROUND)
    whole = shifted - _ROUND
    r = (x - whole * _LN2_HI) - whole * _LN2_LO
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = 1.0 + (r + (r * r) * p)
    half = k >> 1
    return (p * bits_float((half + 1023) << 52)) * bits_float((k - half + 1023) << 52)


@inline
def largest(z, start, stop):
    """Largest |z| of a block; nan counts as larger than inf. (Maxima of integers vectorise.)"""
    bits = 0
    for i in range(start, stop):
        bits = max(bits, float_bits(z[i]) & 0x7FFFFFFFFFFFFFFF)
    return bits_float(bits)


@inline
def natural_shift(z, start, stop, skip, common):
    """0 where the plain formula is in range for a block, else about log max|u|."""
    size = largest(z, start, stop)
    if size <= common and skip * size <= 1e6:
        return 0.0
    top = -np.inf
    for i in range(start, stop):
        top = max(top, z[i])
    if skip > 0.0 and size > 0.0:
        top = max(top, math.log(skip) + math.log(size))
    return 0.0 if -common <= top <= common else top


@inline
def padded(rows):
    """Rows to run loops over a block's work space to; nothing past ``rows`` is used."""
    return min(BLOCK, (rows + PAD - 1) // PAD * PAD)


@inline
def group_exponentials(z, ptr, group, stop, skip, shift, E):
    """E = exp(z - shift) for a block of whole groups ``group:stop``, which begins with row ptr[group].

    ``shift`` (g,) is written; returned is whether it is 0 for all. exp runs over the block, groups of a few
    rows would not vectorise, and into the padding of E.
    """
    rows = ptr[stop] - ptr[group]
    common = natural_shift(z, 0, rows, skip, COMMON_F64) == 0.0
    if common:
        for g in range(group, stop):
            shift[g] = 0.0
        for i in range(rows, padded(rows)):
            E[i] = 0.0
        for i in range(rows):
            E[i] = z[i]
    else:
        for g in range(group, stop):
            first, last = ptr[g] - ptr[group], ptr[g + 1] - ptr[group]
            shift[g] = natural_shift(z, first, last, skip, COMMON_F64)
            for i in range(first, last):
                E[i] = z[i] - shift[g]
        for i in range(rows, padded(rows)):
            E[i] = 0.0
    for i in range(padded(rows)):
        E[i] = exp(E[i])
    return common


@inline
def scaled_skip(skip, shift):
    """skip * exp(-shift), formed so that 0 * inf does not occur."""
    if shift == 0.0 or skip == 0.0:
        return skip
    return math.exp(math.log(skip) - shift)


@inline
def loss_of_sums(alpha, shift, suu, sub, sbb, kl):
    """s, data loss and the size of what it is a difference of, from a group's sums (``gradient``'s order).

    For the likelihood ``suu`` is sum(b) and ``sub`` sum(b z), and s is sum(b).
    """
    if kl:
        loss = suu * (math.log(alpha) + shift) - sub
        return suu, loss, 0.0
    ff, fb = (suu / alpha) / alpha, sub / alpha
    return ff - fb, 0.5 * (ff - 2.0 * fb + sbb), 0.5 * max(sbb, ff)


@inline
def block_rows(row_bytes):
    """Rows of a block that stays in the first-level cache between its two uses."""
    rows = BLOCK_BYTES // row_bytes
    return max(8, min(MOST_ROWS, rows - rows % 8))
