"""Weighted Gram matrices of centred rows: the assembly of the Hessian (MATH 3, 4).

Rows are packed a block at a time into two panels, the centred rows and the same times their weight, in
the order in which a register tile reads them; weights may have any sign. No BLAS is called, so no second
thread pool competes with ours, and nothing n x d is formed.
"""

from __future__ import annotations

import numpy as np

from . import simd
from ._jit import inline, kernel

_MR = simd.GRAM_MR
_NV = simd.GRAM_NV


def padded(d: int, dtype) -> int:
    """Row length of the result that ``gram_slice`` and ``gram_groups`` write."""
    width = simd.gram_columns(dtype)
    return -(-d // width) * width


def packed_rows(d: int, dtype) -> int:
    """Rows packed at a time: both panels together fill half of a second-level cache of 1 MB."""
    rows = (512 << 10) // (2 * padded(d, dtype) * np.dtype(dtype).itemsize)
    return max(64, min(256, rows - rows % 8))


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
def _multiply(left, right, capacity, rows, width, H):
    """Add left' right to the upper triangle of H, a tile at a time."""
    size = H.shape[1]
    flat = H.reshape(-1)
    for j in range(0, size, width):
        for i in range(0, j + width, _MR):
            simd.gram_tile(left, i * capacity, right, j * capacity, rows, flat, i * size + j, size)


@kernel
def gram_slice(A, mu, scale, centre, D, h, with_h, left, right, H, k):
    """H += C' diag(D) C and k += C' h for the centred rows C_i = scale_i a_i - centre_i mu.

    Parameters
    ----------
    A : (n, d) C-contiguous
    mu : (padded,) of A's type, zero past d
    scale, centre : (n,) float64, or (1,) for one value
    D : (n,) float64, any sign
    h : (n,) float64 if ``with_h``
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
    for start in range(0, n, capacity):
        rows = min(capacity, n - start)
        for r in range(rows):
            i = start + r
            si, ci = scale[i * every_scale], centre[i * every_centre]
            simd.pack_row(flat, d, i, mu, si, ci, D[i], left, right, capacity, r)
        if with_h:
            _add_centred(h, start, right, capacity, rows, width, k)
        _multiply(left, right, capacity, rows, width, H)


@kernel
def gram_groups(A, ptr, va, scale, centre, D, h, kappa, with_h, left, right, H):
    """H += sum over whole groups of the centred Gram, each about its own mean mu_g = sum va_i a_i.

    As ``gram_slice``; with ``with_h`` also k mu' + mu k' + kappa mu mu' of each group (``kappa`` (g,)), as
    two rows more: with c = k + kappa/2 mu it is ((c + mu)(c + mu)' - (c - mu)(c - mu)') / 2, scaled
    so that c and mu are of one size. A group has at most capacity - 2 rows.
    """
    d = A.shape[1]
    flat = A.reshape(-1)
    size = H.shape[1]
    capacity = right.size // size
    width = _NV * (simd.VECTOR_BYTES // right.itemsize)
    every_scale = 1 if scale.size > 1 else 0
    every_centre = 1 if centre.size > 1 else 0
    mu = np.zeros(size)
    row = np.zeros(size, A.dtype)
    c = np.empty(d)
    zero = np.zeros(size)
    pair = np.empty(d)
    used = 0
    for g in range(ptr.size - 1):
        if used + ptr[g + 1] - ptr[g] + 2 > capacity:
            _multiply(left, right, capacity, used, width, H)
            used = 0
        mu[:] = 0.0
        for i in range(ptr[g], ptr[g + 1]):
            for j in range(d):
                mu[j] += va[i] * A[i, j]
        row[:] = mu
        for i in range(ptr[g], ptr[g + 1]):
            si, ci = scale[i * every_scale], centre[i * every_centre]
            simd.pack_row(flat, d, i, row, si, ci, D[i], left, right, capacity, used)
            used += 1
        if with_h:
            for j in range(d):
                c[j] = 0.5 * kappa[g] * mu[j]
            for i in range(ptr[g], ptr[g + 1]):
                for j in range(d):
                    c[j] += h[i] * (A[i, j] - mu[j])
            size_c = np.sqrt(np.sum(c * c))
            size_mu = np.sqrt(np.sum(mu * mu))
            if size_c > 0.0 and size_mu > 0.0:
                ratio = np.sqrt(size_c / size_mu)
                for sign in (1.0, -1.0):
                    for j in range(d):
                        pair[j] = c[j] / ratio + sign * (mu[j] * ratio)
                    simd.pack_row(pair, d, 0, zero, 1.0, 0.0, 0.5 * sign, left, right, capacity, used)
                    used += 1
    _multiply(left, right, capacity, used, width, H)
