"""A small matrix kept by its columns: products, sums over rows, weighted Gram matrices (MATH 3).

By rows a vector register holds columns, and of ten columns half a tile is padding; by columns it holds rows,
of which there are enough, and plain loops vectorise. ``turned`` pays for itself in one Gram matrix.

``columns`` is (padded d, ``row_length(n)``): past d and past n it holds zeros.
"""

from __future__ import annotations

import numpy as np

from . import simd
from ._jit import inline, lean, reduction

#: Rows whose columns stay in a cache near the arithmetic between their uses.
ROWS = 256
#: Rows of a product that are added up while they stay in the first-level cache.
_PRODUCT_ROWS = 1024


def padded(d: int) -> int:
    """Columns, whole tiles of them."""
    return -(-d // simd.DOT_MR) * simd.DOT_MR


def row_length(n: int) -> int:
    """Distance of columns: whole vectors, and no power of two, at which columns would fall into the same sets
    of a cache."""
    length = n + -n % 8
    return length if length % 512 else length + 8


@inline
def turned(A, columns):
    """The columns of A (n, d), C-contiguous."""
    n, d = A.shape
    flat, out, ld = A.reshape(-1), columns.reshape(-1), columns.shape[1]
    whole = d - d % simd.SQUARE
    for i in range(0, n - n % simd.SQUARE, simd.SQUARE):
        for j in range(0, whole, simd.SQUARE):
            simd.transpose_tile(flat, i * d + j, d, 0, out, j * ld + i, ld)
        for k in range(i, i + simd.SQUARE):
            for j in range(whole, d):
                columns[j, k] = A[k, j]
    for i in range(n - n % simd.SQUARE, n):
        for j in range(d):
            columns[j, i] = A[i, j]
    for j in range(columns.shape[0]):
        for i in range(n if j < d else 0, ld):
            columns[j, i] = 0.0


@inline
def _add_four(F, ld, j, x0, x1, x2, x3, start, stop, z):
    """z += x0 F_j + x1 F_j+1 + x2 F_j+2 + x3 F_j+3 for some of the rows."""
    o0 = np.uint64(j * ld)
    o1, o2, o3 = o0 + np.uint64(ld), o0 + np.uint64(2 * ld), o0 + np.uint64(3 * ld)
    for r in range(np.uint64(start), np.uint64(stop)):
        z[r] = ((z[r] + x0 * F[o0 + r]) + x1 * F[o1 + r]) + (x2 * F[o2 + r] + x3 * F[o3 + r])


@lean
def times(columns, x, z):
    """z = A x; x (d,), z (n,)."""
    n, d = z.size, x.size
    F, ld = columns.reshape(-1), columns.shape[1]
    for start in range(0, n, _PRODUCT_ROWS):
        stop = min(n, start + _PRODUCT_ROWS)
        for r in range(np.uint64(start), np.uint64(stop)):
            z[r] = 0.0
        for j in range(0, d, 4):  # what is past d is zeros
            x1 = x[j + 1] if j + 1 < d else 0.0
            x2 = x[j + 2] if j + 2 < d else 0.0
            x3 = x[j + 3] if j + 3 < d else 0.0
            _add_four(F, ld, j, x[j], x1, x2, x3, start, stop, z)


@reduction
def _dot(F, first, mean, w, rows):
    """sum (F - mean) w for a column that begins at ``first``."""
    at = np.uint64(first)
    total = 0.0
    for r in range(np.uint64(rows)):
        total += (F[at + r] - mean) * w[r]
    return total


@lean
def dots(columns, w, out):
    """out = A' w; w (n,), out (d,)."""
    F, ld = columns.reshape(-1), columns.shape[1]
    for j in range(out.size):
        out[j] = _dot(F, j * ld, 0.0, w, w.size)


@reduction
def _four_sums(F, first, P, Q, R, j, out):
    at = np.uint64(first)
    p = q = r = s = 0.0
    for i in range(np.uint64(P.size)):
        a = F[at + i]
        p += P[i] * a
        q += Q[i] * a
        r += R[i] * abs(a)
        s += abs(P[i] * a)
    out[0, j], out[1, j], out[2, j], out[3, j] = p, q, r, s


@lean
def sums(columns, P, Q, R, out):
    """out (4, d): A'P, A'Q, abs(A)'R, abs(A)'abs(P); P, Q, R (n,)."""
    F, ld = columns.reshape(-1), columns.shape[1]
    for j in range(out.shape[1]):
        _four_sums(F, j * ld, P, Q, R, j, out)


@inline
def _tiles(F, at, ld, rows, mu, D, first, H):
    """Add a block of rows to the upper triangle of H, a tile at a time."""
    size = H.shape[1]
    flat = H.reshape(-1)
    for j in range(0, size, simd.DOT_NR):
        for i in range(0, j + simd.DOT_NR, simd.DOT_MR):
            simd.centred_tile(
                F, at + i * ld, at + j * ld, ld, rows, mu, i, j, D, first, flat, i * size + j, size
            )


@lean
def gram(columns, of, means, D, h, packed, H, k):
    """H = C' diag(D) C (upper triangle, by tiles) and k = C' h for C_i = a_i - mean of its group.

    Parameters
    ----------
    columns : (padded d, row length)
    of : (n,) intp, each row's group; not looked at where there is one
    means : (G, padded d), zero past d
    D : (row length,) float64, any sign, zero past n
    h : (n,), or (0,) where k is not asked for
    packed : (padded d * 257,) work space where there are several groups; their rows are centred there
    H : (padded d, padded d), written. k : (d,), written if there is an h
    """
    F, ld = columns.reshape(-1), columns.shape[1]
    size, d, one = columns.shape[0], k.size, means.shape[0] == 1
    for i in range(size):
        for j in range(size):
            H[i, j] = 0.0
    if one:
        mu = means[0]
        for first in range(0, ld, ROWS):
            _tiles(F, first, ld, min(ROWS, ld - first), mu, D, first, H)
        if h.size:
            for j in range(d):
                k[j] = _dot(F, j * ld, mu[j], h, h.size)
        return
    none = packed[size * ROWS : size * (ROWS + 1)]
    for j in range(size):
        none[j] = 0.0
    if h.size:
        for j in range(d):
            k[j] = 0.0
    for first in range(0, of.size, ROWS):
        rows = min(ROWS, of.size - first)
        up = rows + -rows % 8
        for j in range(d):
            at = j * ROWS
            for r in range(rows):
                packed[at + r] = columns[j, first + r] - means[of[first + r], j]
            for r in range(rows, up):
                packed[at + r] = 0.0
        for i in range(d * ROWS, size * ROWS):
            packed[i] = 0.0
        if h.size:
            for j in range(d):
                k[j] += _dot(packed, j * ROWS, 0.0, h[first : first + rows], rows)
        _tiles(packed, 0, ROWS, up, none, D, first, H)
