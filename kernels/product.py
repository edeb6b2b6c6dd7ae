"""Products with A and with the Hessian, one read of A for any number of vectors (MATH 3, 4)."""

from __future__ import annotations

import numpy as np

from . import simd
from . import storage as rows_of
from ._jit import inline, kernel, reduction
from .formula import BLOCK
from .gradient import run_of_groups


@kernel
def times(A, T, Y):
    """Y[k] = A @ T[k]. A (n, d); T (k, d) float64; Y (k, n) float64, written."""
    n, _ = rows_of.shape(A)
    step = rows_of.step(A)
    yb = np.empty(BLOCK + simd.ROWS)
    for start in range(0, n, step):
        rows = min(step, n - start)
        for k in range(T.shape[0]):
            rows_of.dots(A, T[k], start, rows, step, yb)
            for i in range(rows):
                Y[k, start + i] = yb[i]


@inline
def _add(A, start, rows, W, first, count, ahead, acc):
    """acc[first + k] += W[k] @ rows for k < count, where count is 1 or 4."""
    if count == 1:
        rows_of.add_rows_1(A, start, rows, W, ahead, acc[first])
    else:
        rows_of.add_rows_4(A, start, rows, W, ahead, acc[first:])


@kernel
def transposed_times(A, W, G):
    """G[k] = A.T @ W[k]. W (k, n) float64, k = 1 or a multiple of 4; G (k, d) float64, written."""
    n, _ = rows_of.shape(A)
    step = rows_of.step(A)
    many = W.shape[0]
    batch = 1 if many == 1 else 4
    wb = rows_of.weights(A)
    acc = rows_of.accumulator(A, G)
    for start in range(0, n, step):
        rows = min(step, n - start)
        for first in range(0, many, batch):
            for k in range(batch):
                for i in range(rows):
                    wb[k * BLOCK + i] = W[first + k, start + i]
            _add(A, start, rows, wb, first, batch, step, acc)
    rows_of.collect(A, acc, G)


@kernel
def times_and_sum(A, T, w, Y, g):
    """Y[k] = A @ T[k] and g[0] = A.T @ w in one read.

    T (k, d), k even; w (n,), or (0,) for 0; Y (k, n) and g (1, d) written.
    """
    n, _ = rows_of.shape(A)
    step = rows_of.step(A)
    W = rows_of.weights(A)
    yb = np.empty((2, BLOCK + simd.ROWS))
    acc = rows_of.accumulator(A, g)
    for start in range(0, n, step):
        rows = min(step, n - start)
        for k in range(0, T.shape[0], 2):
            # the second pair fetches the second half of the next block: later there may be no sum
            rows_of.dots_of_two(A, T, k, start, rows, step + (step // 2 if k else 0), yb)
            for i in range(rows):
                Y[k, start + i] = yb[0, i]
                Y[k + 1, start + i] = yb[1, i]
        if w.size:
            for i in range(rows):
                W[i] = w[start + i]
            _add(A, start, rows, W, 0, 1, step, acc)
    rows_of.collect(A, acc, g)


@kernel
def squares(A, w, G):
    """G[0, j] = sum w_i a_ij². w (n,) float64; G (1, d) float64, written."""
    n, _ = rows_of.shape(A)
    G[:] = 0.0
    rows_of.add_squares(A, n, w, G[0])


@reduction
def _slice_weights(Y, m, beta, D, h, start, rows, W, at, sums, k):
    """omega of MATH 3 for ``rows`` from ``start`` on, from column ``at`` of ``W``; ``sums[k]`` gets its
    scalars.

    Sums have loops of their own (``_jit.reduction``), and nothing is sliced (``_jit``).
    """
    to, here, row = np.uint64(at), np.uint64(start), np.uint64(m)
    for i in range(rows):
        j = here + np.uint64(i)
        W[to + np.uint64(i)] = D[j] * (Y[row, i] - beta) + beta * h[j]
    total = r = 0.0
    for i in range(rows):
        j = here + np.uint64(i)
        total += D[j] * (Y[row, i] - beta) + beta * h[j]
        r += h[j] * (Y[row, i] - beta)
    sums[k, 0] += total
    sums[k, 1] += r


@reduction
def _group_product(yb, first, last, D, h, va, kappa, W):
    """Row weights of the Hessian product for one whole group: H_z y, formed about the mean of y."""
    start, stop = np.uint64(first), np.uint64(last)
    beta = 0.0
    for i in range(start, stop):
        beta += va[i] * yb[i]
    total = r = 0.0
    for i in range(start, stop):
        y = yb[i] - beta
        total += D[i] * y + beta * h[i]
        r += h[i] * y
    common = r + kappa * beta - total
    for i in range(start, stop):
        W[i] = D[i] * (yb[i] - beta) + beta * h[i] + va[i] * common


@kernel
def hessp_rows(A, T, ptr, base, kept, means, D, h, va, kappa, out):
    """Hessian products summed over the groups of a chunk of rows, each group about its own mean (MATH 3).

    Parameters
    ----------
    A : (n, d) C-contiguous, or ``Csr``
    T : (k, d) float64, k = 1 or a multiple of 4
    ptr, base, kept : as for ``gradient.gradient_rows``
    means : (m, d) float64, of kept groups; the means of others act through their rows and are never formed
    D, h, va : (n,) float64, from ``rowstate.curvature``; va = v/alpha
    kappa : (g,) float64, of whole groups; a cut group's counts where it begins
    out : (k, d) float64, written
    """
    n, d = rows_of.shape(A)
    step = rows_of.step(A)
    many = T.shape[0]
    batch, pair = (1, 1) if many == 1 else (4, 2)
    exact = np.empty(BLOCK)
    W = rows_of.weights(A)
    Y = np.empty((2, BLOCK + simd.ROWS))
    yb, alone = Y[0], T[0]
    sums = np.empty((many, 2))
    beta = np.empty(many)
    acc = rows_of.accumulator(A, out)
    group, groups = 0, ptr.size - 1
    while group < groups:
        if kept[group] < 0:
            stop = run_of_groups(ptr, kept, group, step)
            start, rows = ptr[group] - base, ptr[stop] - ptr[group]
            Db, hb, vb = D[start : start + rows], h[start : start + rows], va[start : start + rows]
            for first in range(0, many, batch):
                for k in range(batch):
                    rows_of.dots(A, T[first + k], start, rows, rows, yb)
                    for g in range(group, stop):
                        i, j = ptr[g] - ptr[group], ptr[g + 1] - ptr[group]
                        _group_product(yb, i, j, Db, hb, vb, kappa[g], exact)
                    for i in range(rows):
                        W[k * BLOCK + i] = exact[i]
                _add(A, start, rows, W, first, batch, rows, acc)
            group = stop
            continue

        begin, end = max(ptr[group] - base, 0), min(ptr[group + 1] - base, n)
        mu = means[kept[group]]
        for k in range(many):
            beta[k] = 0.0
            for j in range(d):
                beta[k] += mu[j] * T[k, j]
        sums[:] = 0.0
        for start in range(begin, end, step):
            rows = min(step, end - start)
            simd.fetch(D, start + 2 * step, start + 3 * step)
            simd.fetch(h, start + 2 * step, start + 3 * step)
            for first in range(0, many, batch):
                for k in range(0, batch, pair):
                    ahead = step if first == 0 and k == 0 else 0
                    if pair == 1:
                        rows_of.dots(A, alone, start, rows, ahead, yb)
                    else:
                        rows_of.dots_of_two(A, T, first + k, start, rows, ahead, Y)
                    for m in range(pair):
                        v = first + k + m
                        _slice_weights(Y, m, beta[v], D, h, start, rows, W, (k + m) * BLOCK, sums, v)
                _add(A, start, rows, W, first, batch, step, acc)
        own = kappa[group] if ptr[group] >= base else 0.0
        for k in range(many):
            inner = sums[k, 1] + own * beta[k] - sums[k, 0]
            for j in range(d):
                out[k, j] += inner * mu[j]
        group += 1
    rows_of.collect(A, acc, out)
