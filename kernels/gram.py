"""Weighted Gram matrices of centred rows: the assembly of the Hessian (MATH 3, 4).

Rows are packed a block at a time into two panels, the centred rows and the same times their weight, in
the order in which a register tile reads them; weights may have any sign. No BLAS is called, so no second
thread pool competes with ours, and nothing n x d is formed.
"""

from __future__ import annotations

import numpy as np

from . import simd
from ._jit import inline, kernel

#: What ``gram_rows`` does with h: nothing, the Hessian's cross terms, or the moment C' h.
PLAIN, HESSIAN, MOMENT = range(3)
_MR = simd.GRAM_MR
_NV = simd.GRAM_NV


def padded(d: int, dtype) -> int:
    """Row length of the result that ``gram_rows`` writes."""
    width = simd.gram_columns(dtype)
    return -(-d // width) * width


def packed_rows(d: int, dtype) -> int:
    """Rows packed at a time: both panels together fill half of a second-level cache of 1 MB.

    An odd number, since panels are as many cache lines apart: at a power of two all of them would share a few
    sets of the first-level cache.
    """
    rows = (512 << 10) // (2 * padded(d, dtype) * np.dtype(dtype).itemsize)
    return max(64, min(128, rows - rows % 8)) - 1


@inline
def _add_centred(h, start, right, capacity, rows, width, k):
    """k += C' h for the packed rows."""
    for panel in range((k.size + width - 1) // width):
        for r in range(rows):
            hi = h[start + r]
            at = (panel * capacity + r) * width
            for j in range(width):
                k[panel * width + j] += hi * right[at + j]


@inline
def _multiply(left, right, capacity, rows, width, d, H):
    """Add left' right to the upper triangle of H, a tile at a time; the last may be narrower."""
    size = H.shape[1]
    flat = H.reshape(-1)
    for j in range(0, d, width):
        narrow = d - j <= width // _NV
        for i in range(0, min(j + width, d), _MR):
            if narrow:
                simd.gram_tile_1(left, i * capacity, right, j * capacity, rows, flat, i * size + j, size)
            else:
                simd.gram_tile(left, i * capacity, right, j * capacity, rows, flat, i * size + j, size)


@inline
def _add_pair(c, mu, H):
    """H += c mu' + mu c', upper triangle."""
    d = c.size
    for i in range(d):
        for j in range(i, d):
            H[i, j] += c[i] * mu[j] + mu[i] * c[j]


@inline
def _pack_pair(c, mu, left, right, capacity, used, pair, zero):
    """c mu' + mu c' as two packed rows: ((c + mu)(c + mu)' - (c - mu)(c - mu)') / 2, both of one size."""
    size_c = size_mu = 0.0
    for j in range(c.size):
        size_c += c[j] * c[j]
        size_mu += mu[j] * mu[j]
    size_c, size_mu = np.sqrt(size_c), np.sqrt(size_mu)
    if not (size_c > 0.0 and size_mu > 0.0):
        return used
    ratio = np.sqrt(size_c / size_mu)
    for sign in (1.0, -1.0):
        for j in range(c.size):
            pair[j] = c[j] / ratio + sign * (mu[j] * ratio)
        simd.pack_row(pair, c.size, 0, zero, 1.0, 0.0, 0.5 * sign, left, right, capacity, used)
        used += 1
    return used


@kernel
def gram_rows(A, ptr, base, kept, means, va, scale, centre, D, h, kappa, how, left, right, H, k):
    """Weighted Gram of centred rows, added up over the groups of a chunk: H += C' diag(D) C.

    C_i = scale_i a_i - centre_i mu_g, each group about its own mean.

    Parameters
    ----------
    A : (n, d) C-contiguous
    ptr, base, kept : as for ``gradient.gradient_rows``
    means : (m, d) float64, of kept groups
    va : (n,) float64: mu_g = sum va_i a_i of a group that is not kept
    scale, centre : (n,) float64, or (1,) for one value
    D : (n,) float64, any sign
    h : (n,) float64 if ``how`` is not 0
    kappa : (g,) float64 if ``how`` is ``HESSIAN``; a cut group's counts where it begins
    how : int
        ``PLAIN``; ``HESSIAN`` adds k_g mu' + mu k_g' + kappa mu mu' of each group, k_g = C' h; ``MOMENT``
        adds the k_g to ``k``.
    left, right : (packed_rows * padded,) zeros, work space; float32 or float64: the precision of the products
    H : (padded, padded) float64, upper triangle (by tiles) added to
    k : (padded,) float64, added to
    """
    n, d = A.shape
    flat = A.reshape(-1)
    size = H.shape[1]
    capacity = right.size // size
    width = _NV * (simd.VECTOR_BYTES // right.itemsize)
    every_scale = 1 if scale.size > 1 else 0
    every_centre = 1 if centre.size > 1 else 0
    mu = np.zeros(size)
    row = np.zeros(size, A.dtype)
    own = np.zeros(size)
    c = np.empty(d)
    zero = np.zeros(size)
    pair = np.empty(d)
    used = 0
    for g in range(ptr.size - 1):
        first, last = max(ptr[g] - base, 0), min(ptr[g + 1] - base, n)
        if kept[g] < 0:
            mu[:] = 0.0
            for i in range(first, last):
                for j in range(d):
                    mu[j] += va[i] * A[i, j]
            row[:] = mu
            if how != PLAIN:
                for j in range(d):
                    c[j] = 0.0
                for i in range(first, last):
                    for j in range(d):
                        c[j] += h[i] * (A[i, j] - mu[j])
                if how == MOMENT:
                    for j in range(d):
                        k[j] += c[j]
            for i in range(first, last):
                if used == capacity:
                    _multiply(left, right, capacity, used, width, d, H)
                    used = 0
                si, ci = scale[i * every_scale], centre[i * every_centre]
                simd.pack_row(flat, d, i, row, si, ci, D[i], left, right, capacity, used)
                used += 1
            if how == HESSIAN:
                for j in range(d):
                    c[j] += 0.5 * kappa[g] * mu[j]
                if used + 2 > capacity:
                    _multiply(left, right, capacity, used, width, d, H)
                    used = 0
                used = _pack_pair(c, mu[:d], left, right, capacity, used, pair, zero)
            continue

        if used > 0:
            _multiply(left, right, capacity, used, width, d, H)
            used = 0
        mu[:d] = means[kept[g]]
        row[:] = mu
        own[:] = 0.0
        for start in range(first, last, capacity):
            rows = min(capacity, last - start)
            for r in range(rows):
                i = start + r
                si, ci = scale[i * every_scale], centre[i * every_centre]
                simd.pack_row(flat, d, i, row, si, ci, D[i], left, right, capacity, r)
            if how != PLAIN:
                _add_centred(h, start, right, capacity, rows, width, own)
            _multiply(left, right, capacity, rows, width, d, H)
        if how == MOMENT:
            k += own
        elif how == HESSIAN:
            here = kappa[g] if ptr[g] >= base else 0.0
            for j in range(d):
                c[j] = own[j] + 0.5 * here * mu[j]
            _add_pair(c, mu, H)
    _multiply(left, right, capacity, used, width, d, H)
