"""Value and gradient: every row of A is read once (MATH 2, 4, 5).

Two entry points. ``gradient_slice`` takes rows of one group whose normaliser is known only at the
end: it returns sums that merge (the gradient is linear in 1/alpha and s). ``gradient_groups`` takes
whole groups and finishes each while its rows are in cache. ``column_sums`` serves a point where z, and
so every normaliser, is known already: one weighted sum of the rows, no dot product.
"""

from __future__ import annotations

import numpy as np

from . import simd
from ._jit import inline, kernel, reduction
from .formula import BLOCK, COMMON_F32, COMMON_F64, block_rows, exp, natural_shift, scaled_skip

# Scalars of a slice, in the order of the ``sums`` array; those after SHIFT carry exp(-SHIFT) or its square.
SHIFT, SUM_U, SUM_UU, SUM_UB, SUM_WZZ = range(5)
N_SUMS = 5
#: Unsigned, as are the row numbers it is added to.
_B = np.uint64(BLOCK)


@inline
def dots(A, x, start, rows, ahead, zb):
    """zb[:rows] = A[start:start+rows] @ x; zb has room for 7 more."""
    d = A.shape[1]
    flat = A.reshape(-1)
    for r in range(0, rows, simd.ROWS):
        simd.row_dots(flat, d, x, start + r, start + rows - 1, ahead, zb, r)


@reduction
def _slice_terms(zb, rows, b, w, ridged, skip, shift, W, sums):
    """Weights of the three (four) sums of MATH 4 for one block, and its scalars added to ``sums``.

    ``zb`` is overwritten with u. Sums have loops of their own (``_jit.reduction``).
    """
    lam = scaled_skip(skip, shift)
    su = suu = sub = swz = 0.0
    if ridged:
        for i in range(rows):
            W[3 * BLOCK + i] = w[i] * zb[i]
        for i in range(rows):
            swz += w[i] * zb[i] * zb[i]
    for i in range(rows):
        e = exp(zb[i] - shift)
        u = e + lam * zb[i]
        v = e + lam
        W[i] = v * u
        W[BLOCK + i] = v * b[i]
        W[2 * BLOCK + i] = v
        zb[i] = u
    for i in range(rows):
        u = zb[i]
        su += u
        suu += u * u
        sub += u * b[i]
    sums[SUM_U] += su
    sums[SUM_UU] += suu
    sums[SUM_UB] += sub
    sums[SUM_WZZ] += swz


@kernel
def rescale(sums, G, shift):
    """Raise the shift of a slice's sums."""
    if sums[SHIFT] == -np.inf:  # empty
        sums[SHIFT] = shift
        return
    s = np.exp(sums[SHIFT] - shift)
    sums[SHIFT] = shift
    sums[SUM_U] *= s
    sums[SUM_UB] *= s
    sums[SUM_UU] *= s * s
    for j in range(G.shape[1]):
        G[0, j] *= s * s
        G[1, j] *= s
        G[2, j] *= s


@kernel
def gradient_slice(A, x, b, w, ridged, skip, z, sums, G):
    """Sums of MATH 4 over rows of one group.

    Parameters
    ----------
    A : (n, d) C-contiguous, float32 or float64
    x : (d,) float64
    b : (n,) float64
    w : (n,) float64 if ``ridged``, else ignored (any length)
    z : (n,) float64, written
    sums : (N_SUMS,) float64, written
    G : (4, d) float64, written: A'(vu), A'(vb), A'v, A'(wz)
    """
    n, d = A.shape
    common = COMMON_F64 if A.itemsize == 8 else COMMON_F32
    step = block_rows(d * A.itemsize)
    zb = np.empty(step + simd.ROWS)
    W = np.empty(4 * BLOCK, A.dtype)
    flat = A.reshape(-1)
    acc = G.reshape(-1)
    sums[:] = 0.0
    sums[SHIFT] = -np.inf
    G[:] = 0.0
    ahead = step * d
    for start in range(0, n, step):
        rows = min(step, n - start)
        dots(A, x, start, rows, ahead, zb)
        for i in range(rows):
            z[start + i] = zb[i]
        shift = natural_shift(zb, 0, rows, skip, common)
        if shift > sums[SHIFT]:
            rescale(sums, G, shift)
        stop = start + rows
        _slice_terms(zb, rows, b[start:stop], w[start:stop], ridged, skip, sums[SHIFT], W, sums)
        if ridged:
            simd.add_rows_4(flat, d, start, rows, W, BLOCK, 0, ahead, acc)
        else:
            simd.add_rows_3(flat, d, start, rows, W, BLOCK, 0, ahead, acc)


@reduction
def _group_weights(zb, first, last, b, w, ridged, skip, shift, W, state):
    """One whole group inside a block: its normaliser, loss and gradient weights dL/dz into ``W``.

    ``state`` receives alpha, s, loss of the data and loss of the row ridge. Sums have loops of their own.
    """
    lam = scaled_skip(skip, shift)
    start, stop = np.uint64(first), np.uint64(last)
    for i in range(start, stop):
        W[_B + i] = exp(zb[i] - shift)
    alpha = 0.0
    for i in range(start, stop):
        alpha += W[_B + i] + lam * zb[i]
    for i in range(start, stop):
        f = (W[_B + i] + lam * zb[i]) / alpha
        W[i] = f
        W[_B + _B + i] = f - b[i]
    s = loss = ridge = 0.0
    for i in range(start, stop):
        c = W[_B + _B + i]
        s += c * W[i]
        loss += c * c
    for i in range(start, stop):
        W[i] = (W[_B + i] + lam) * ((W[_B + _B + i] - s) / alpha)
    if ridged:
        for i in range(start, stop):
            W[i] += w[i] * zb[i]
        for i in range(start, stop):
            ridge += w[i] * zb[i] * zb[i]
    state[0] = alpha
    state[1] = s
    state[2] = 0.5 * loss
    state[3] = 0.5 * ridge


@inline
def next_block(ptr, group, most):
    """First group that no longer fits into a block of ``most`` rows begun at ``group`` (one always fits)."""
    stop = group + 1
    while stop < ptr.size - 1 and ptr[stop + 1] - ptr[group] <= most:
        stop += 1
    return stop


@inline
def longest_group(ptr):
    """Rows of the longest group."""
    longest = 0
    for g in range(ptr.size - 1):
        longest = max(longest, ptr[g + 1] - ptr[g])
    return longest


@kernel
def gradient_groups(A, x, b, w, ridged, skip, ptr, z, alpha, shift, s, totals, G):
    """Loss and gradient summed over whole groups, each at most ``BLOCK`` rows.

    Parameters
    ----------
    A, x, b, w, ridged, skip, z : as in ``gradient_slice``
    ptr : (g + 1,) intp, row offsets of the groups, ptr[0] = 0
    alpha, shift, s : (g,) float64, written: the groups' normalisers (times exp(-shift)), shifts and <c, f>
    totals : (2,) float64, written: loss of the data, loss of the row ridge
    G : (d,) float64, written
    """
    d = A.shape[1]
    common = COMMON_F64  # weights are finished before they meet A: no sum is kept in float32
    step = block_rows(d * A.itemsize)
    zb = np.empty(BLOCK + simd.ROWS)
    W = np.empty(3 * BLOCK)
    out = np.empty(BLOCK, A.dtype)
    state = np.empty(4)
    flat = A.reshape(-1)
    totals[:] = 0.0
    G[:] = 0.0
    group = 0
    while group < ptr.size - 1:
        stop = next_block(ptr, group, step)
        start, rows = ptr[group], ptr[stop] - ptr[group]
        ahead = rows * d
        dots(A, x, start, rows, ahead, zb)
        for i in range(rows):
            z[start + i] = zb[i]
        bb, wb = b[start : start + rows], w[start : start + rows]
        for g in range(group, stop):
            first, last = ptr[g] - start, ptr[g + 1] - start
            shift[g] = natural_shift(zb, first, last, skip, common)
            _group_weights(zb, first, last, bb, wb, ridged, skip, shift[g], W, state)
            alpha[g] = state[0]
            s[g] = state[1]
            totals[0] += state[2]
            totals[1] += state[3]
        for i in range(rows):
            out[i] = W[i]
        simd.add_rows_1(flat, d, start, rows, out, BLOCK, 0, ahead, G)
        group = stop


@reduction
def _known_weights(z, first, last, b, w, ridged, skip, alpha, shift, s, at, W):
    """Weights of ``column_sums`` for rows of one group, written from column ``at`` of ``W``."""
    lam = scaled_skip(skip, shift)
    start, stop, to = np.uint64(first), np.uint64(last), np.uint64(at)
    for i in range(start, stop):
        e = exp(z[i] - shift)
        f = (e + lam * z[i]) / alpha
        v = (e + lam) / alpha
        bi = b[i]
        j = to + (i - start)
        W[j] = v * (f - bi - s)
        W[_B + j] = v
        W[_B + _B + j] = abs(v) * (abs(f) + abs(bi) + abs(s))
    if ridged:
        for i in range(start, stop):
            j = to + (i - start)
            W[j] += w[i] * z[i]
            W[_B + _B + j] += abs(w[i] * z[i])
    for j in range(to, to + (stop - start)):
        W[_B + _B + _B + j] = abs(W[j])


@kernel
def column_sums(A, z, b, w, ridged, skip, ptr, alpha, shift, s, G):
    """Gradient where z is known, and the scales it is judged by (MATH 7), in one read without a dot product.

    ``G`` (4, d) receives A'dL/dz, A'v/alpha, abs(A)' of the terms that cancel in dL/dz, which are
    v(abs(f) + abs(b) + abs(s))/abs(alpha) + w abs(z), and abs(A)'abs(dL/dz).

    The rows belong to the groups of ``ptr`` (g + 1,); the first and the last may be slices of longer ones.
    """
    n, d = A.shape
    step = block_rows(d * A.itemsize)
    W = np.empty(4 * BLOCK, A.dtype)
    flat = A.reshape(-1)
    acc = G.reshape(-1)
    G[:] = 0.0
    group = 0
    for start in range(0, n, step):
        rows = min(step, n - start)
        i = start
        while i < start + rows:
            while ptr[group + 1] <= i:
                group += 1
            last = min(ptr[group + 1], start + rows)
            _known_weights(z, i, last, b, w, ridged, skip, alpha[group], shift[group], s[group], i - start, W)
            i = last
        simd.add_rows_2_2(flat, d, start, rows, W, BLOCK, 0, step * d, acc)
