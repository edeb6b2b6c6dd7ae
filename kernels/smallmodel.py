"""A small problem and what is evaluated of it, for compiled code that fits it whole: all rows are one block.

The kernels are those of the passes; ``smallfit`` descends, ``smallstarts`` begins and ``smallruns`` chooses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.core import types

from . import dense, gram, judging, product, rowstate, steps
from ._jit import inline
from .apart import F1, F2, F3, FLAG, FLOAT, I1, INT, NOTHING, apart, part
from .gradient import column_sums as _column_sums
from .rowstate import N_LINE


class Model(NamedTuple):
    """What is to be fitted; the arrays are those of ``gradient.gradient_rows``, for all rows at once."""

    table: np.ndarray  # ``apart.table``
    A: np.ndarray
    b: np.ndarray
    w: np.ndarray
    offset: np.ndarray
    weight: np.ndarray
    ptr: np.ndarray
    kept: np.ndarray
    skip: float
    kl: bool
    ridge: float
    floor: float  # least objective
    bb: float  # twice the loss that says nothing


class State(NamedTuple):
    """Where a fit stands: arrays by size, their parts named below."""

    rows: np.ndarray  # (., n)
    groups: np.ndarray  # (., G)
    cols: np.ndarray  # (., d)
    squares: np.ndarray  # (., d, d)
    means: np.ndarray  # of the kept groups
    padded: np.ndarray  # what ``gram.gram_rows`` writes, and its moment and panels
    moment: np.ndarray
    left: np.ndarray
    right: np.ndarray
    point: np.ndarray  # numbers of the point
    step: np.ndarray  # numbers of the step, as in ``steps``
    run: np.ndarray  # numbers of the run, as in ``smallfit``
    search: np.ndarray  # as in ``linesearch``
    counts: np.ndarray  # reads of A by kind, and evaluations
    queue: np.ndarray  # starts that are known and not taken: x, objective, kind
    minima: np.ndarray  # that have been found: x, objective


#: Places of some arrays in it.
COLS, SQUARES = 2, 3

MODEL = types.NamedTuple((I1, F2, F1, F1, F1, F1, I1, I1, FLOAT, FLAG, FLOAT, FLOAT, FLOAT), Model)
STATE = types.NamedTuple((F2, F2, F2, F3, F2, F2, F1, F1, F1, F1, F1, F1, F1, F1, F2, F2), State)

# z, A t, row vectors of the Hessian, f
Z, Y, D, H, VA, F = range(6)
N_ROWS = 6
# of the point: normaliser, its shift, s = <c, f>; of a trial; kappa
ALPHA, SHIFT, MEAN_CF, TRIAL_ALPHA, TRIAL_SHIFT, TRIAL_S, KAPPA = range(7)
N_GROUPS = 7
# x, gradient and its scales, step, metric times step, the best x, sums (four), means of cut groups (two)
X, GRAD, TERMS, PARTS, DIRECTION, MT, BEST_X, SUMS, OPEN = 0, 1, 2, 3, 4, 5, 6, 7, 11
N_COLS = 13
# model's Hessian, work space, A'A/n, the same with the ridge's share, which measures steps, its whitening
HESS, FACTOR, SHIFTED, WHITE_H, METRIC, BALL, WHITENING = range(7)
N_SQUARES = 7
#: ``State.point``: objective and ``judging.measures``.
VALUE, GRADIENT, PLATEAU, MISFIT = range(4)
N_POINT = 4
GRADIENTS, PRODUCTS, ASSEMBLIES, EVALUATIONS = range(4)

times = apart("times", product.times, NOTHING, F2, F2, F2)
transposed_times = apart("transposed_times", product.transposed_times, NOTHING, F2, F2, F2)
line_rows = apart(
    "line_rows", rowstate.line_rows, NOTHING,
    F1, F1, FLOAT, F1, F1, F1, I1, INT, FLOAT, FLAG, F1, F1, F1, F1, F2,
)  # fmt: skip
column_sums = apart(
    "column_sums", _column_sums, NOTHING,
    F2, F1, F1, F1, F1, I1, INT, I1, FLOAT, FLAG, F1, F1, F1, F2, F2, F2,
)  # fmt: skip
curvature = apart(
    "curvature", rowstate.curvature, NOTHING,
    F1, F1, F1, F1, I1, INT, FLOAT, FLAG, F1, F1, F1, F1, F1, F1, F1,
)  # fmt: skip
map_rows = apart("map_rows", rowstate.map_rows, NOTHING, F1, FLOAT, I1, INT, F1, F1, F1)
gram_rows = apart(
    "gram_rows", gram.gram_rows, NOTHING,
    F2, I1, INT, I1, F2, F1, F1, F1, F1, F1, F1, INT, F1, F1, F2, F1,
)  # fmt: skip
cholesky_step = apart("cholesky_step", steps.cholesky_step, INT, F2, F2, F1, F1, FLOAT, F2, F2, F1, F1, F1)
eigen = apart("eigen", dense.eigen, NOTHING, F2, F2, F1)
ball_step = apart("ball_step", steps.ball_step, F1, F1, F1, FLOAT)
congruent = apart("congruent", dense.congruent, NOTHING, F2, F2, F2, F2)


@inline
def total_penalty(m, z):
    """Twice the loss of the row ridge."""
    total = 0.0
    if m.w.size:
        for g in range(m.ptr.size - 1):
            part = 0.0
            for i in range(m.ptr[g], m.ptr[g + 1]):
                part += m.w[i] * z[i] * z[i]
            total += part * m.weight[g] if m.weight.size else part
    return total


@inline
def along(m, x, t, z, y, eta, alpha, shift, mean):
    """Objective and derivative at x + eta*t, z + eta*y; the normalisers there are written."""
    totals = np.empty(2)
    unused = np.empty((2, N_LINE))
    line_rows(
        m.table, z, y, eta, m.b, m.w, m.weight, m.ptr, 0, m.skip, m.kl, alpha, shift, mean, totals, unused
    )
    value, slope = totals[0], totals[1]
    if m.ridge > 0.0:
        for j in range(x.size):
            moved = x[j] + eta * t[j]
            value += 0.5 * m.ridge * moved * moved
            slope += m.ridge * moved * t[j]
    return value, slope


@part(FLAG, MODEL, STATE)
def locate(m, s):
    """z, normalisers and objective of ``at`` from its x: one product. Whether the objective is defined
    there."""
    times(m.table, m.A, s.cols[X].reshape(1, s.cols[X].size), s.rows[Z].reshape(1, s.rows[Z].size))
    if m.offset.size:
        for i in range(s.rows[Z].size):
            s.rows[Z, i] += m.offset[i]
    value, _ = along(
        m,
        s.cols[X],
        s.cols[X],
        s.rows[Z],
        s.rows[Z],
        0.0,
        s.groups[ALPHA],
        s.groups[SHIFT],
        s.groups[MEAN_CF],
    )
    s.point[VALUE] = value
    s.counts[PRODUCTS] += 1
    s.counts[EVALUATIONS] += 1
    return np.isfinite(value)


@part(NOTHING, MODEL, STATE)
def differentiate(m, s):
    """Gradient, its scales and the measures where z and the normalisers are known: one read."""
    column_sums(
        m.table, m.A, s.rows[Z], m.b, m.w, m.weight, m.ptr, 0, m.kept, m.skip, m.kl,
        s.groups[ALPHA], s.groups[SHIFT], s.groups[MEAN_CF], s.cols[SUMS:OPEN], s.means, s.cols[OPEN:],
    )  # fmt: skip
    s.counts[GRADIENTS] += 1
    square = 0.0
    for j in range(s.cols[X].size):
        ridge = m.ridge * s.cols[X, j]
        s.cols[GRAD, j] = s.cols[SUMS + 0, j] + ridge
        s.cols[TERMS, j] = s.cols[SUMS + 2, j] + abs(ridge)
        s.cols[PARTS, j] = s.cols[SUMS + 3, j] + abs(ridge)
        square += ridge * s.cols[X, j]
    loss = 2.0 * (s.point[VALUE] - m.floor) - square - total_penalty(m, s.rows[Z])
    largest, plateau, misfit = judging.measures(s.cols[GRAD], s.cols[TERMS], s.cols[PARTS], loss, m.bb)
    s.point[GRADIENT], s.point[PLATEAU], s.point[MISFIT] = largest, plateau, misfit


@part(NOTHING, MODEL, F2, I1, I1, F1, F1, F1, F1, F1, F1, INT, STATE, F2)
def multiply(m, means, kept, ptr, va, scale, centre, D, h, kappa, how, s, H):
    """A Gram matrix of centred rows (``gram.gram_rows``) into the symmetric H; its moment stays in ``w``."""
    dense.fill_rows(s.padded, 0.0)
    dense.fill(s.moment, 0.0)
    gram_rows(
        m.table,
        m.A,
        ptr,
        0,
        kept,
        means,
        va,
        scale,
        centre,
        D,
        h,
        kappa,
        how,
        s.left,
        s.right,
        s.padded,
        s.moment,
    )
    s.counts[ASSEMBLIES] += 1
    d = m.A.shape[1]
    for i in range(d):
        for j in range(i, d):
            H[i, j] = s.padded[i, j]
            H[j, i] = s.padded[i, j]


@inline
def uncentred(m, D, s, H):
    """A' diag(D) A."""
    n, d = m.A.shape
    whole, kept = np.empty(2, np.intp), np.empty(1, np.intp)
    whole[0], whole[1], kept[0] = 0, n, 0
    one, mean = np.empty(1), np.empty((1, d))
    one[0] = 1.0
    dense.fill_rows(mean, 0.0)
    multiply(m.table, m, mean, kept, whole, D, one, one, D, D, D, gram.PLAIN, s, H)


@inline
def curvature_rows(m, s):
    """Row vectors of the Hessian."""
    curvature(
        m.table,
        s.rows[Z],
        m.b,
        m.w,
        m.weight,
        m.ptr,
        0,
        m.skip,
        m.kl,
        s.groups[ALPHA],
        s.groups[SHIFT],
        s.groups[MEAN_CF],
        s.rows[D],
        s.rows[H],
        s.rows[VA],
        s.groups[KAPPA],
    )


@part(NOTHING, MODEL, STATE)
def hessian(m, s):
    """The exact Hessian into ``s.squares[HESS]``."""
    curvature_rows(m, s)
    one = np.empty(1)
    one[0] = 1.0
    how = gram.HESSIAN if m.skip > 0.0 or m.w.size > 0 else gram.PLAIN
    multiply(
        m.table,
        m,
        s.means,
        m.kept,
        m.ptr,
        s.rows[VA],
        one,
        one,
        s.rows[D],
        s.rows[H],
        s.groups[KAPPA],
        how,
        s,
        s.squares[HESS],
    )
    for j in range(s.cols[X].size):
        s.squares[HESS, j, j] += m.ridge


@part(NOTHING, MODEL, STATE)
def gauss_newton(m, s):
    """Its positive semidefinite part into ``s.squares[HESS]``; ``curvature_rows`` was called."""
    n, d = m.A.shape
    one, weight = np.empty(1), np.empty(n)
    one[0] = 1.0
    for g in range(m.ptr.size - 1):
        each = m.weight[g] if m.weight.size else 1.0
        for i in range(m.ptr[g], m.ptr[g + 1]):
            weight[i] = each * (s.groups[MEAN_CF, g] * s.rows[VA, i] if m.kl else 1.0)
    if m.kl:
        multiply(
            m.table,
            m,
            s.means,
            m.kept,
            m.ptr,
            s.rows[VA],
            one,
            one,
            weight,
            s.rows[H],
            s.groups[KAPPA],
            gram.PLAIN,
            s,
            s.squares[HESS],
        )
    else:
        map_rows(m.table, s.rows[Z], m.skip, m.ptr, 0, s.groups[ALPHA], s.groups[SHIFT], s.rows[F])
        multiply(
            m.table,
            m,
            s.means,
            m.kept,
            m.ptr,
            s.rows[VA],
            s.rows[VA],
            s.rows[F],
            weight,
            s.rows[H],
            s.groups[KAPPA],
            gram.PLAIN,
            s,
            s.squares[HESS],
        )
    if m.w.size:
        for g in range(m.ptr.size - 1):
            for i in range(m.ptr[g], m.ptr[g + 1]):
                weight[i] = m.w[i] * (m.weight[g] if m.weight.size else 1.0)
        uncentred(m, weight, s, s.squares[SHIFTED])
        for i in range(d):
            for j in range(d):
                s.squares[HESS, i, j] += s.squares[SHIFTED, i, j]
    for j in range(d):
        s.squares[HESS, j, j] += m.ridge


@inline
def group_means(m, weight, share, means):
    """``share``: weight over its sum in each group; ``means``: the kept groups' means by it."""
    for g in range(m.ptr.size - 1):
        total = 0.0
        for i in range(m.ptr[g], m.ptr[g + 1]):
            total += weight[i]
        total = total if total > 0.0 else 1.0
        for i in range(m.ptr[g], m.ptr[g + 1]):
            share[i] = weight[i] / total
        if m.kept[g] >= 0:
            mean = means[m.kept[g]]
            dense.fill(mean, 0.0)
            for i in range(m.ptr[g], m.ptr[g + 1]):
                for j in range(mean.size):
                    mean[j] += share[i] * m.A[i, j]
