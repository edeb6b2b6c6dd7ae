"""Where a small fit may begin: the map inverted row by row, then one weighted least squares problem (MATH 7).

``solvers/starts.py`` does the same for rows wherever they lie, on a sample where there are many.
"""

from __future__ import annotations

import math

import numpy as np

from . import dense
from ._jit import inline, owner, reduction
from .apart import F1, FLAG, part
from .formula import BLOCK, exp
from .smallmodel import (
    FACTOR,
    HESS,
    METRIC,
    MODEL,
    OTHER,
    PRODUCTS,
    STATE,
    SUMS,
    VA,
    H,
    Y,
    dots,
    group_means,
    multiply,
    times,
)
from .steps import PIVOT

#: Share of the largest eigenvalue below which a direction is not determined by the weighted rows.
_RANK = 1e-12
#: Newton's method on exp(z) + skip z = y gains about one in z an iteration where skip is tiny, else it takes
#: five.
_MOST_ROUNDS = 60


@reduction
def _newton_round(y, z, E, rows, skip):
    """One Newton step on exp(z) + skip*z = y for each row; the largest change."""
    most = 0.0
    for i in range(rows):
        E[i] = exp(z[i])
    for i in range(rows):
        E[i] = (E[i] + skip * z[i] - y[i]) / (E[i] + skip)
    for i in range(rows):
        z[i] -= E[i]
    for i in range(rows):
        most = max(most, abs(E[i]))
    return most


@owner
def inverted(b, ptr, alpha, skip, z, weight):
    """z with exp(z) + skip*z = alpha_g b, and weights (df/dz)² there. False where they are not finite.

    Newton's method from the right of the root of a convex increasing function: monotone.
    """
    yb, E = np.empty(BLOCK), np.empty(BLOCK)
    for g in range(ptr.size - 1):
        a = alpha[g]
        for start in range(ptr[g], ptr[g + 1], BLOCK):
            rows = min(BLOCK, ptr[g + 1] - start)
            zb = z[start : start + rows]
            for i in range(rows):
                y = a * b[start + i]
                yb[i] = y
                zb[i] = math.log(y) if y >= 1.0 else min(y / skip, 0.0)
            for _ in range(_MOST_ROUNDS):
                if not _newton_round(yb, zb, E, rows, skip) > 1e-10:
                    break
            for i in range(rows):
                v = (exp(zb[i]) + skip) / a
                weight[start + i] = v * v
    return np.isfinite(dense.total(weight) + dense.total(z))


@inline
def _centre(m, share, values):
    """Take each group's mean by ``share`` out of ``values``: a free constant takes it up."""
    for g in range(m.ptr.size - 1):
        mean = 0.0
        for i in range(m.ptr[g], m.ptr[g + 1]):
            mean += share[i] * values[i]
        for i in range(m.ptr[g], m.ptr[g + 1]):
            values[i] -= mean


@part(FLAG, MODEL, STATE, F1, F1, FLAG, F1)
def least_squares(m, s, weight, target, free, x):
    """argmin sum weight_i (a_i x - k_g - target_i)², k_g = 0 unless ``free``, the penalties as they are; into
    x.

    Normal equations and one step on the residual, which wins back the digits they lose. ``weight`` and
    ``target`` are overwritten. False where there is no such x.
    """
    n, d = m.A.shape
    total = dense.total(weight)
    if not total > 0.0 or not np.isfinite(total):
        return False
    for i in range(n):
        weight[i] /= total
    if m.offset.size:
        for i in range(n):
            target[i] -= m.offset[i]
    share, weights, h = s.rows[VA], s.weights[OTHER], s.rows[H]
    means = np.empty(s.means.shape)
    dense.fill_rows(means, 0.0)
    if free:
        group_means(m, s, weight, share, means)
        _centre(m, share, target)
    for i in range(n):
        weights[i] = weight[i] + (m.w[i] / total if m.w.size else 0.0)
        h[i] = weight[i] * target[i]
    multiply(m.table, m, s, means, weights, h, s.squares[HESS])
    ridge = m.ridge / total
    norms = np.empty(d)
    for j in range(d):
        s.squares[HESS, j, j] += ridge
        # a column that is constant over the weighted rows of each group is left to the free constants
        least = _RANK * s.squares[METRIC, j, j] if free else 0.0
        norms[j] = np.sqrt(s.squares[HESS, j, j]) if s.squares[HESS, j, j] > least else np.inf
    for i in range(d):
        for j in range(d):
            s.squares[HESS, i, j] /= norms[i] * norms[j]
    if dense.factor_semidefinite(s.squares[HESS], PIVOT, s.squares[FACTOR]) == dense.INDEFINITE:
        return False
    right, part = np.empty(d), np.empty(d)
    for j in range(d):
        right[j] = s.moment[j] / norms[j]
    dense.solve_semidefinite(s.squares[FACTOR], right, part)
    for j in range(d):
        x[j] = part[j] / norms[j]
    times(m.table, s.columns, x, s.rows[Y])
    for i in range(n):
        h[i] = target[i] - s.rows[Y, i]
    if free:
        _centre(m, share, h)
    for i in range(n):
        h[i] *= weight[i]
        if m.w.size:
            h[i] -= m.w[i] / total * s.rows[Y, i]
    dots(m.table, s.columns, h, s.cols[SUMS])
    s.counts[PRODUCTS] += 2
    finite = True
    for j in range(d):
        right[j] = (s.cols[SUMS, j] - ridge * x[j]) / norms[j]
    dense.solve_semidefinite(s.squares[FACTOR], right, part)
    for j in range(d):
        x[j] += part[j] / norms[j]
        finite = finite and np.isfinite(x[j])
    return finite


@inline
def _weighted(m, weight):
    if m.weight.size:
        for g in range(m.ptr.size - 1):
            for i in range(m.ptr[g], m.ptr[g + 1]):
                weight[i] *= m.weight[g]


@part(FLAG, MODEL, STATE, F1)
def from_logarithms(m, s, x):
    """skip = 0: log b = A x - k_g, weighted by b² (df/dz = f up to f²), or b for the likelihood."""
    n = m.b.size
    weight, target = np.empty(n), np.empty(n)
    for i in range(n):
        b = m.b[i]
        target[i] = math.log(b) if b > 0.0 else 0.0
        weight[i] = 0.0 if not b > 0.0 else (b if m.kl else b * b)
    _weighted(m, weight)
    return least_squares(m.table, m, s, weight, target, True, x)


@part(FLAG, MODEL, STATE, F1, F1)
def from_inverse(m, s, alpha, x):
    """skip > 0: A x = u^-1(alpha_g b) for given normalisers (G,), rows weighted by df/dz."""
    n = m.b.size
    weight, target = np.empty(n), np.empty(n)
    if not inverted(m.b, m.ptr, alpha, m.skip, target, weight):
        return False
    _weighted(m, weight)
    return least_squares(m.table, m, s, weight, target, False, x)
