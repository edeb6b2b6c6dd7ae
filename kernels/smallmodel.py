"""A small problem and what is evaluated of it, for compiled code that fits it whole: all rows are one block.

A is kept by its columns (``columns``), and what a row tells of a point is computed once (``rowterms``).
``smallfit`` descends, ``smallstarts`` begins and ``smallruns`` chooses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.core import types

from . import columns as by_columns
from . import dense, judging, rowstate, rowterms, steps
from ._jit import inline
from .apart import F1, F2, F3, FLAG, FLOAT, I1, INT, NOTHING, apart, lean_part
from .byaddress import ByAddress


class Model(NamedTuple):
    """What is to be fitted; the arrays are those of ``gradient.gradient_rows``, for all rows at once."""

    table: np.ndarray  # ``apart.table``
    A: np.ndarray
    b: np.ndarray
    w: np.ndarray
    offset: np.ndarray
    weight: np.ndarray
    ptr: np.ndarray
    of: np.ndarray  # each row's group; (0,) where there is one
    skip: float
    kl: bool
    ridge: float
    floor: float  # least objective
    bb: float  # twice the loss that says nothing


class State(NamedTuple):
    """Where a fit stands: arrays by size, their parts named below."""

    columns: np.ndarray  # A, (padded d, row length)
    weights: np.ndarray  # (., row length), zero past n: what weighs rows in a Gram matrix
    rows: np.ndarray  # (., n)
    groups: np.ndarray  # (., G)
    cols: np.ndarray  # (., d)
    squares: np.ndarray  # (., d, d)
    means: np.ndarray  # of the groups, (G, padded d), zero past d
    padded: np.ndarray  # what ``columns.gram`` writes
    moment: np.ndarray
    packed: np.ndarray  # its work space
    totals: np.ndarray  # what ``line_rows`` writes
    point: np.ndarray  # numbers of the point
    step: np.ndarray  # numbers of the step, as in ``steps``
    run: np.ndarray  # numbers of the run, as in ``smallfit``
    search: np.ndarray  # as in ``linesearch``
    counts: np.ndarray  # reads of A by kind, and evaluations
    queue: np.ndarray  # starts that are known and not taken: x, objective, kind
    minima: np.ndarray  # minima that are known: x, objective


#: Places of ``cols`` and ``squares``, which Python reads, in a ``State``.
COLS, SQUARES = 4, 5

MODEL = ByAddress(types.NamedTuple((I1, F2, F1, F1, F1, F1, I1, I1, FLOAT, FLAG, FLOAT, FLOAT, FLOAT), Model))
STATE = ByAddress(
    types.NamedTuple((F2, F2, F2, F2, F2, F3, F2, F2, F1, F1, F1, F1, F1, F1, F1, F1, F2, F2), State)
)

# the Hessian's D; any other weights
D, OTHER = range(2)
N_WEIGHTS = 2
# z, A t, the Hessian's h, v/alpha, f, dL/dz, its scale, work space
Z, Y, H, VA, F, GZ, SIZE, WORK = range(8)
N_ROWS = 8
# of the point: normaliser, its shift, s = <c, f>; of the best trial; of a trial; kappa, and another model's
(
    ALPHA, SHIFT, MEAN_CF, BEST_ALPHA, BEST_SHIFT, BEST_S, TRIAL_ALPHA, TRIAL_SHIFT, TRIAL_S, KAPPA,
    OTHER_KAPPA,
) = range(11)  # fmt: skip
N_GROUPS = 11
# x, gradient and its scales, step, metric times step, the best x, sums (four)
X, GRAD, TERMS, PARTS, DIRECTION, MT, BEST_X, SUMS = range(8)
N_COLS = 11
# model's Hessian, work space, A'A/n, the same with the ridge's share, which measures steps, its whitening
HESS, FACTOR, SHIFTED, WHITE_H, METRIC, BALL, WHITENING = range(7)
N_SQUARES = 7
#: ``State.point``: objective and ``judging.measures``.
VALUE, GRADIENT, PLATEAU, MISFIT = range(4)
N_POINT = 4
GRADIENTS, PRODUCTS, ASSEMBLIES, EVALUATIONS = range(4)

times = apart("times", by_columns.times, NOTHING, F2, F1, F1)
dots = apart("dots", by_columns.dots, NOTHING, F2, F1, F1)
sums = apart("sums", by_columns.sums, NOTHING, F2, F1, F1, F1, F2)
gram = apart("gram", by_columns.gram, NOTHING, F2, I1, F2, F1, F1, F1, F2, F1)
line_rows = apart(
    "line_rows", rowstate.line_rows, NOTHING,
    F1, F1, FLOAT, F1, F1, F1, I1, INT, FLOAT, FLAG, F1, F1, F1, F1, F2,
)  # fmt: skip
row_terms = apart(
    "row_terms", rowterms.row_terms, NOTHING,
    F1, F1, F1, F1, I1, I1, FLOAT, FLAG, F1, F1, F1, F1, F1, F1, F1, F1, F1, F1, F1,
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
def along(m, s, x, t, z, y, eta, alpha, shift, mean):
    """Objective and derivative at x + eta*t, z + eta*y; the normalisers there are written."""
    line_rows(
        m.table, z, y, eta, m.b, m.w, m.weight, m.ptr, 0, m.skip, m.kl, alpha, shift, mean, s.totals,
        s.padded,  # no group is cut: not looked at
    )  # fmt: skip
    value, slope = s.totals[0], s.totals[1]
    if m.ridge > 0.0:
        for j in range(x.size):
            moved = x[j] + eta * t[j]
            value += 0.5 * m.ridge * moved * moved
            slope += m.ridge * moved * t[j]
    return value, slope


@lean_part(FLAG, MODEL, STATE)
def locate(m, s):
    """z, normalisers and objective of ``at`` from its x: one product. Whether the objective is defined
    there."""
    x, z = s.cols[X], s.rows[Z]
    times(m.table, s.columns, x, z)
    if m.offset.size:
        for i in range(z.size):
            z[i] += m.offset[i]
    value, _ = along(m, s, x, x, z, z, 0.0, s.groups[ALPHA], s.groups[SHIFT], s.groups[MEAN_CF])
    s.point[VALUE] = value
    s.counts[PRODUCTS] += 1
    s.counts[EVALUATIONS] += 1
    return np.isfinite(value)


@lean_part(NOTHING, MODEL, STATE)
def differentiate(m, s):
    """Where z and the normalisers are known: the row vectors, the gradient, its scales and the measures, and
    the groups' means. One read."""
    row_terms(
        m.table, s.rows[Z], m.b, m.w, m.weight, m.ptr, m.of, m.skip, m.kl,
        s.groups[ALPHA], s.groups[SHIFT], s.groups[MEAN_CF], s.rows[F], s.rows[VA], s.rows[GZ], s.rows[SIZE],
        s.weights[D], s.rows[H], s.rows[WORK], s.groups[KAPPA],
    )  # fmt: skip
    four = s.cols[SUMS:]
    sums(m.table, s.columns, s.rows[GZ], s.rows[VA], s.rows[SIZE], four)
    s.counts[GRADIENTS] += 1
    if m.of.size:
        row_means(m, s.rows[VA], s.means)
    else:
        dense.assign(s.means[0], four[1])
    square = 0.0
    for j in range(s.cols[X].size):
        ridge = m.ridge * s.cols[X, j]
        s.cols[GRAD, j] = four[0, j] + ridge
        s.cols[TERMS, j] = four[2, j] + abs(ridge)
        s.cols[PARTS, j] = four[3, j] + abs(ridge)
        square += ridge * s.cols[X, j]
    loss = 2.0 * (s.point[VALUE] - m.floor) - square - total_penalty(m, s.rows[Z])
    largest, plateau, misfit = judging.measures(
        s.cols[GRAD], s.cols[TERMS], s.cols[PARTS], loss, m.bb, m.ridge
    )
    s.point[GRADIENT], s.point[PLATEAU], s.point[MISFIT] = largest, plateau, misfit


@inline
def row_means(m, share, means):
    """means[g] = sum of share_i a_i over the rows of each group."""
    for g in range(m.ptr.size - 1):
        for j in range(means.shape[1]):
            means[g, j] = 0.0
        for i in range(m.ptr[g], m.ptr[g + 1]):
            for j in range(m.A.shape[1]):
                means[g, j] += share[i] * m.A[i, j]


@lean_part(NOTHING, MODEL, STATE, F2, F1, F1, F2)
def multiply(m, s, means, D, h, H):
    """A Gram matrix of centred rows (``columns.gram``) into the symmetric H; C' h stays in ``s.moment``."""
    gram(m.table, s.columns, m.of, means, D, h, s.packed, s.padded, s.moment)
    s.counts[ASSEMBLIES] += 1
    for i in range(m.A.shape[1]):
        for j in range(i, m.A.shape[1]):
            H[i, j] = s.padded[i, j]
            H[j, i] = s.padded[i, j]


@inline
def _add_pair(c, mu, H):
    """H += c mu' + mu c'."""
    for i in range(c.size):
        for j in range(c.size):
            H[i, j] += c[i] * mu[j] + mu[i] * c[j]


@inline
def assemble(m, s, D, h, kappa):
    """C' diag(D) C + sum over groups of k mu' + mu k' + kappa mu mu', and the ridge, into
    ``s.squares[HESS]``; h may be (0,) where all of it and all kappa are zero."""
    H = s.squares[HESS]
    d = m.A.shape[1]
    single = m.of.size == 0
    multiply(m.table, m, s, s.means, D, h if single else h[:0], H)
    if h.size:
        for g in range(m.ptr.size - 1):
            c = s.moment
            if not single:
                for j in range(d):
                    c[j] = 0.0
                for i in range(m.ptr[g], m.ptr[g + 1]):
                    for j in range(d):
                        c[j] += h[i] * (m.A[i, j] - s.means[g, j])
            for j in range(d):
                c[j] += 0.5 * kappa[g] * s.means[g, j]
            _add_pair(c, s.means[g], H)
    for j in range(d):
        H[j, j] += m.ridge


@lean_part(NOTHING, MODEL, STATE)
def hessian(m, s):
    """The exact Hessian into ``s.squares[HESS]``; ``differentiate`` was called."""
    crossed = m.skip > 0.0 or m.w.size > 0
    assemble(m, s, s.weights[D], s.rows[H] if crossed else s.rows[H][:0], s.groups[KAPPA])


@lean_part(NOTHING, MODEL, STATE)
def gauss_newton(m, s):
    """Its positive semidefinite part into ``s.squares[HESS]``; ``differentiate`` was called.

    With r = u/v rows of the residual's derivative are va (a - r mu) = va (C + (1 - r) mu).
    """
    weights, h, kappa = s.weights[OTHER], s.rows[WORK], s.groups[OTHER_KAPPA]
    va, f = s.rows[VA], s.rows[F]
    for g in range(m.ptr.size - 1):
        each = m.weight[g] if m.weight.size else 1.0
        kappa[g] = 0.0
        for i in range(m.ptr[g], m.ptr[g + 1]):
            weights[i] = each * (s.groups[MEAN_CF, g] * va[i] if m.kl else va[i] * va[i])
            h[i] = 0.0 if m.kl else each * (va[i] * (va[i] - f[i]))
            kappa[g] += 0.0 if m.kl else each * ((va[i] - f[i]) * (va[i] - f[i]))
            if m.w.size:
                weights[i] += each * m.w[i]
                h[i] += each * m.w[i]
                kappa[g] += each * m.w[i]
    crossed = m.skip > 0.0 or m.w.size > 0
    assemble(m, s, weights, h if crossed else h[:0], kappa)


@inline
def group_means(m, s, weight, share, means):
    """``share``: weight over its sum in each group; ``means``: the groups' means by it."""
    for g in range(m.ptr.size - 1):
        total = 0.0
        for i in range(m.ptr[g], m.ptr[g + 1]):
            total += weight[i]
        total = total if total > 0.0 else 1.0
        for i in range(m.ptr[g], m.ptr[g + 1]):
            share[i] = weight[i] / total
    if m.of.size:
        row_means(m, share, means)
    else:
        dots(m.table, s.columns, share, means[0][: m.A.shape[1]])
