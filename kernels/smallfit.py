"""One descent of a small problem as a compiled function: evaluate, assemble, factor, step, search, judge.

It is the loop of ``solvers/descent.py`` with the steps of ``solvers/newton.py``, on the same kernels, for one
block of rows in this thread: at this size what Python costs between kernels is many times what they take. The
decisions are shared (``judging``, ``linesearch``, ``steps``); what is written twice is the order in which
they are asked, since compiled code cannot call back. All arrays lie in one buffer, so that a descent stops
after any iteration and goes on at the next call.
"""

from __future__ import annotations

import numpy as np

from . import dense, judging, linesearch, steps
from ._jit import inline, owner
from .apart import F1, F2, FLAG, FLOAT, I1, INT, NOTHING, lean_part, part
from .smallmodel import (
    ALPHA,
    BALL,
    BEST_ALPHA,
    BEST_S,
    BEST_SHIFT,
    DIRECTION,
    EVALUATIONS,
    FACTOR,
    GRAD,
    GRADIENT,
    HESS,
    MEAN_CF,
    METRIC,
    MISFIT,
    MODEL,
    MT,
    OTHER,
    PLATEAU,
    PRODUCTS,
    SHIFT,
    SHIFTED,
    STATE,
    TERMS,
    TRIAL_ALPHA,
    TRIAL_S,
    TRIAL_SHIFT,
    VALUE,
    WHITE_H,
    WHITENING,
    D,
    F,
    X,
    Y,
    Z,
    along,
    ball_step,
    cholesky_step,
    congruent,
    differentiate,
    eigen,
    gauss_newton,
    group_means,
    hessian,
    multiply,
    times,
)

# ``Work.run``. BEFORE: the objective before the last step, if that was a Gauss-Newton one.
RADIUS_, CAP_, NIT, STEP, LARGEST_DZ, STRIDES, BEFORE, WHITE, KNOWN, IDENTIFIABLE = range(10)
N_RUN = 10

#: A step that moves no z_i by more than this share of the largest is rounding.
_STILL = 1e-16
#: Curvature below this share of the largest is rounding of the assembly: no step is computed from it.
NOISE = 1e-13
_WELL_WITHIN = 1e-4
#: A Gauss-Newton step must lower the objective by this share, or the exact model has its turn.
_STALLS = 0.9


@inline
def begin(m, s):
    """Start a run at a located point: gradient, measures, and the metric with this point's share of a
    ridge."""
    differentiate(m.table, m, s)
    dense.fill(s.run, 0.0)
    s.run[RADIUS_], s.run[CAP_] = judging.RADIUS, judging.CAP
    s.run[BEFORE] = np.inf
    s.run[IDENTIFIABLE] = -1.0
    for i in range(s.cols[X].size):
        dense.assign(s.squares[BALL, i], s.squares[METRIC, i])
    if m.ridge > 0.0:
        # a ridge counts as rows that weigh what the data weighs at the start: else a null space of A
        # would look infinitely curved
        size = dense.total_size(s.weights[D], 0, m.b.size)
        for j in range(s.cols[X].size):
            s.squares[BALL, j, j] += m.ridge / size


#: Eigenvalues of the scaled Gram below this share of the largest are directions that A does not see.
_UNSEEN = 1e-13


@part(INT, I1, F2, F2, F1)
def whitening(table, M, L, T):
    """T (d, r) with T' M T = I on the directions that M sees, written to the flat T (d*d,); r is returned."""
    d = M.shape[0]
    if dense.factor_semidefinite(M, steps.PIVOT, L) == dense.DEFINITE:
        dense.inverse_transposed(L, T.reshape(d, d))
        return d
    norms = np.empty(d)
    scaled = np.empty((d, d))
    for i in range(d):
        norms[i] = np.sqrt(M[i, i]) if M[i, i] > 0.0 else np.inf  # a zero column never moves
    for i in range(d):
        for j in range(d):
            scaled[i, j] = M[i, j] / norms[i] / norms[j]
    values, vectors = np.empty(d), np.empty((d, d))
    eigen(table, scaled, vectors, values)
    first = 0
    while first < d and not values[first] > _UNSEEN * max(values[d - 1], 0.0):
        first += 1
    r = d - first
    for i in range(d):
        for k in range(r):
            T[i * r + k] = vectors[first + k, i] / norms[i] / np.sqrt(values[first + k])
    return r


@owner
def _whitened(m, s):
    """T (d, r) of this run's metric, made when first needed."""
    d = s.squares[BALL].shape[0]
    if s.run[WHITE] == 0.0:
        s.run[WHITE] = whitening(
            m.table, m.table, s.squares[BALL], s.squares[FACTOR], s.squares[WHITENING].reshape(d * d)
        )
    r = np.intp(s.run[WHITE])
    return s.squares[WHITENING].reshape(d * d)[: d * r].reshape(d, r)


@part(INT, MODEL, STATE)
def identifiable(m, s):
    """Directions that the model identifies somewhere: for skip = 0 a shift of a whole group's z changes
    nothing."""
    T = _whitened(m, s)
    d, r = T.shape
    if m.skip > 0.0 or m.ridge > 0.0 or m.w.size:
        return r
    if s.run[IDENTIFIABLE] < 0.0:
        n = m.A.shape[0]
        inside = np.empty(n)
        even = s.weights[OTHER]
        for i in range(n):
            even[i] = 1.0 / n
        means = np.empty(s.means.shape)
        dense.fill_rows(means, 0.0)
        group_means(m, s, even, inside, means)
        H = np.empty((d, d))
        multiply(m.table, m, s, means, even, inside[:0], H)
        B = np.empty((r, r))
        congruent(m.table, H, T, np.empty((d, r)), B)
        values = np.empty(r)
        eigen(m.table, B, np.empty((0, 0)), values)
        count = 0
        for k in range(r):
            count += values[k] > 1e-10
        s.run[IDENTIFIABLE] = count
    return np.intp(s.run[IDENTIFIABLE])


@part(NOTHING, MODEL, STATE, FLOAT)
def eigen_step(m, s, radius):
    """The model's global minimiser in the ball, by an eigendecomposition in whitened coordinates
    (``s.squares[HESS]`` is kept)."""
    T = _whitened(m, s)
    d, r = T.shape
    B = s.squares[WHITE_H].reshape(d * d)[: r * r].reshape(r, r)
    half = np.empty((d, r))
    congruent(m.table, s.squares[HESS], T, half, B)
    values, vectors = np.empty(r), np.empty((r, r))
    eigen(m.table, B, vectors, values)
    # what rounding of the gradient's terms leaves of it in these coordinates
    whitened = np.empty(r)
    noise = 0.0
    for k in range(r):
        part = whitened[k] = 0.0
        for i in range(d):
            whitened[k] += T[i, k] * s.cols[GRAD, i]
            part += abs(T[i, k]) * s.cols[TERMS, i]
        noise += part * part
    noise = 1e-15 * np.sqrt(noise / max(r, 1))
    g = np.empty(r)
    dense.times_vector(vectors, whitened, g)
    size = max(abs(values[0]), abs(values[r - 1])) if r else 0.0
    rank = 0
    decrement = strength = 0.0
    lowest = values[0] / size if size > 0.0 else 0.0
    for k in range(r):
        if abs(values[k]) > NOISE * r * size:
            rank += 1
            strength += abs(values[k])
            if abs(g[k]) > noise:
                decrement += 0.5 * g[k] * g[k] / abs(values[k])
        else:
            values[k] = g[k] = 0.0
    tau = ball_step(m.table, values, g, radius)
    bend = length = 0.0
    for k in range(r):
        bend += values[k] * tau[k] * tau[k]
        length += tau[k] * tau[k]
    half_tau = np.empty(r)
    dense.transposed_vector(vectors, tau, half_tau)
    dense.times_vector(T, half_tau, s.cols[DIRECTION])
    step = s.step
    step[steps.LENGTH] = np.sqrt(length)
    step[steps.BEND] = bend
    step[steps.DECREMENT_] = decrement
    step[steps.CURVATURE] = lowest
    step[steps.RANK] = rank
    weight = dense.total_size(s.weights[D], 0, m.b.size) + m.ridge
    step[steps.STRENGTH] = strength / (max(weight, 1e-300) * d)
    step[steps.SATURATED] = 1.0 if rank < r and rank < identifiable(m.table, m, s) else 0.0


@inline
def _factored_step(m, s, radius):
    """The step of the model in ``s.squares[HESS]`` where that is semidefinite; whether it is."""
    return cholesky_step(
        m.table, s.squares[HESS], s.squares[BALL], s.cols[GRAD], s.cols[TERMS], radius,
        s.squares[FACTOR], s.squares[SHIFTED], s.cols[DIRECTION], s.cols[MT], s.step,
    )  # fmt: skip


@lean_part(NOTHING, MODEL, STATE, FLOAT)
def propose(m, s, tol):
    """A step at a point into ``s.cols[DIRECTION]`` and ``s.step``."""
    hessian(m.table, m, s)
    s.run[KNOWN] = 1.0
    before, s.run[BEFORE] = s.run[BEFORE], np.inf
    careful = s.point[GRADIENT] <= tol
    radius = s.run[RADIUS_]
    kind = _factored_step(m, s, radius)
    if not careful and kind != dense.INDEFINITE:
        return
    if careful:
        # safe pivots show a minimum to second order; what they do not show, an eigendecomposition does
        fits = s.point[MISFIT] <= tol or s.point[PLATEAU] <= np.sqrt(tol)
        small = s.step[steps.DECREMENT_] <= promised(m, s)
        if not (kind == dense.DEFINITE and fits and small):
            eigen_step(m.table, m, s, radius)
        return
    value = s.point[VALUE]
    if _STALLS * before < value < before:
        eigen_step(m.table, m, s, radius)
        return
    # far from a solution negative curvature misleads; Gauss-Newton steps need fewer iterations
    # (docs/solver.md)
    gauss_newton(m.table, m, s)
    kind = _factored_step(m, s, radius)
    if kind == dense.INDEFINITE:
        eigen_step(m.table, m, s, radius)
    s.run[BEFORE] = value


@inline
def promised(m, s):
    """What the Newton decrement of a minimum may be."""
    share, fitted = judging.DECREMENT
    return share * (s.point[VALUE] - m.floor) + fitted * 0.5 * m.bb


@inline
def judged(m, s, tol):
    """``judging.judge`` at a point with its step."""
    share, fitted = judging.DECREMENT
    at, step = s.point, s.step
    status, strides = judging.judge(
        at[GRADIENT], at[PLATEAU], at[MISFIT], at[VALUE] - m.floor, m.bb,
        step[steps.LENGTH], step[steps.DECREMENT_], step[steps.CURVATURE], step[steps.STRENGTH],
        step[steps.SATURATED] > 0.0, s.run[LARGEST_DZ], np.intp(s.run[STRIDES]), tol, share, fitted,
    )  # fmt: skip
    s.run[STRIDES] = strides
    return status


@lean_part(INT, MODEL, STATE, FLOAT)
def rested(m, s, tol):
    """``judging.at_rest``: the verdict where no step lowers the objective."""
    most = 0.0
    for g in range(m.ptr.size - 1):
        most = max(most, dense.total_size(s.rows[F], m.ptr[g], m.ptr[g + 1]))
    at, step = s.point, s.step
    return judging.at_rest(
        at[GRADIENT], at[PLATEAU], at[MISFIT], most, s.run[KNOWN] > 0.0, step[steps.CURVATURE],
        step[steps.STRENGTH], step[steps.SATURATED] > 0.0, tol,
    )  # fmt: skip


@lean_part(FLOAT, MODEL, STATE, FLOAT, FLOAT, FLOAT)
def line_search(m, s, slope, first, longest):
    """``linesearch`` along the step: its length, 0 for none; the best trial's normalisers in ``s.groups``
    are its own."""
    search = s.search
    linesearch.begin(search, s.point[VALUE], slope, first, longest)
    alpha, shift, mean = s.groups[TRIAL_ALPHA], s.groups[TRIAL_SHIFT], s.groups[TRIAL_S]
    answer = linesearch.MORE
    while answer & linesearch.MORE:
        eta = search[linesearch.ETA]
        value, derivative = along(
            m, s, s.cols[X], s.cols[DIRECTION], s.rows[Z], s.rows[Y], eta, alpha, shift, mean
        )
        s.counts[EVALUATIONS] += 1
        defined = np.isfinite(value) and np.isfinite(derivative)
        for g in range(alpha.size):
            defined = defined and (alpha[g] > 0.0 if s.groups[ALPHA, g] > 0.0 else alpha[g] < 0.0)
        answer = linesearch.advance(search, defined, value, derivative)
        if answer & linesearch.KEEP:
            dense.assign(s.groups[BEST_ALPHA], alpha)
            dense.assign(s.groups[BEST_SHIFT], shift)
            dense.assign(s.groups[BEST_S], mean)
    return search[linesearch.BEST]


@lean_part(FLAG, MODEL, STATE)
def move(m, s):
    """Take the step, shortened or lengthened along its line. False if no step is found."""
    d, n = s.cols[X].size, s.rows[Z].size
    eta = slope = largest = length = 0.0
    for attempt in range(4):
        if attempt:
            s.run[RADIUS_] = 0.1 * length
            eigen_step(m.table, m, s, s.run[RADIUS_])
        times(m.table, s.columns, s.cols[DIRECTION], s.rows[Y])
        s.counts[PRODUCTS] += 1
        slope = dense.dot(s.cols[GRAD], s.cols[DIRECTION])
        if slope > 0.0:  # a pure direction of negative curvature has no sign of its own
            slope = -slope
            for j in range(d):
                s.cols[DIRECTION, j] = -s.cols[DIRECTION, j]
            for i in range(n):
                s.rows[Y, i] = -s.rows[Y, i]
        largest = 0.0
        for i in range(n):
            largest = max(largest, abs(s.rows[Y, i]))
        length = np.sqrt(dense.dot(s.rows[Y], s.rows[Y]) / n)
        if largest == 0.0 or not np.isfinite(length):
            return False
        cap = s.run[CAP_] / largest
        eta = line_search(m.table, m, s, min(slope, -1e-300), min(1.0, cap), max(1.0, 4.0 * cap))
        if eta > 0.0:
            break
    size = 0.0
    for i in range(n):
        size = max(size, abs(s.rows[Z, i]))
    if eta == 0.0 or eta * largest <= _STILL * size:
        return False
    value = s.search[linesearch.BEST_VALUE]
    predicted = -eta * (slope + 0.5 * eta * s.step[steps.BEND])
    decrease = s.point[VALUE] - value
    for j in range(d):
        s.cols[X, j] += eta * s.cols[DIRECTION, j]
    for i in range(n):
        s.rows[Z, i] += eta * s.rows[Y, i]
    for g in range(m.ptr.size - 1):
        s.groups[ALPHA, g] = s.groups[BEST_ALPHA, g]
        s.groups[SHIFT, g] = s.groups[BEST_SHIFT, g]
        s.groups[MEAN_CF, g] = s.groups[BEST_S, g]
    s.point[VALUE] = value
    differentiate(m.table, m, s)
    s.run[STEP] = eta * length
    s.run[LARGEST_DZ] = eta * largest
    s.run[KNOWN] = 0.0  # what the step says is of the point that was left
    agreement = decrease / predicted if predicted > 0.0 else 0.0
    radius, cap = judging.reach(s.run[RADIUS_], s.run[CAP_], length, largest, eta, agreement)
    s.run[RADIUS_], s.run[CAP_] = radius, cap
    return True


@inline
def iterate(m, s, tol, maxiter):
    """One iteration: ``judging.UNDECIDED`` where the run goes on, else how it ended."""
    propose(m.table, m, s, tol)
    status = judged(m, s, tol)
    if status != judging.UNDECIDED:
        # where f fits and curvature is missing, the rank is told well only from well within the tolerance
        singular = s.step[steps.RANK] < s.cols[X].size and s.point[MISFIT] <= tol
        if not (singular and status == judging.CONVERGED and s.point[GRADIENT] > _WELL_WITHIN * tol):
            return status
        if s.run[NIT] >= maxiter or not move(m.table, m, s):
            s.run[KNOWN] = 0.0
            return status
        s.run[NIT] += 1.0
        return judging.UNDECIDED
    if s.run[NIT] >= maxiter:
        return judging.MAXITER
    if not move(m.table, m, s):
        return rested(m.table, m, s, tol)
    s.run[NIT] += 1.0
    return judging.UNDECIDED
