"""A whole small fit: starts, runs, and which of them is believed (docs/solver.md, "Starts").

``fit`` works for a given number of iterations and can be called again to go on: it keeps nothing but what
lies in the arrays that it is given.
"""

from __future__ import annotations

import numpy as np

from . import columns as by_columns
from . import dense, judging, linesearch, steps
from ._jit import inline, kernel, owner
from .apart import F1, F2, FLAG, FLOAT, INT, NOTHING, lean_part, part
from .byaddress import placed
from .smallfit import (
    BEFORE,
    KNOWN,
    LARGEST_DZ,
    N_RUN,
    NIT,
    NOISE,
    STEP,
    _whitened,
    begin,
    iterate,
    propose,
)
from .smallmodel import (
    ALPHA,
    BALL,
    BEST_X,
    FACTOR,
    GRAD,
    GRADIENT,
    HESS,
    METRIC,
    MISFIT,
    MODEL,
    N_COLS,
    N_GROUPS,
    N_POINT,
    N_ROWS,
    N_SQUARES,
    N_WEIGHTS,
    OTHER,
    PLATEAU,
    SHIFT,
    SHIFTED,
    STATE,
    VALUE,
    WHITE_H,
    F,
    Model,
    State,
    X,
    Y,
    congruent,
    differentiate,
    eigen,
    hessian,
    locate,
    multiply,
)  # fmt: skip
from .smallstarts import from_inverse, from_logarithms

#: Kinds of starts; random ones are counted on from ``RANDOM``.
GIVEN, ZEROS, CLOSED, CLOSED_NEGATIVE, RANDOM = range(5)
#: A run in the table.
KIND, FUN, ITERATIONS, STATUS, FIRST_FUN, FIRST_MISFIT = range(6)
N_RECORD = 6
#: An iteration in the history.
HISTORY = 4

# ``whole``: what a fit is told. STARTS: runs to make, 0 for auto, -1 for the one start that is given. LIMIT:
# iterations of this call. STOP: a status with which the run under way is to end, or -1.
KL, MAXITER, STARTS, LIMIT, STOP, PADDED, LENGTH = range(7)
N_WHOLE = 7
# ``numbers``: what a fit is told in numbers.
SKIP, RIDGE, FLOOR, BB, TOL = range(5)
N_TOLD = 5
# ``control``: where a fit stands.
PHASE, RUNS, BEST, QUEUED, TAKEN, DRAWN, HITS, MINIMA, SEARCHED, NOW, ITERATION = range(11)
N_CONTROL = 11
NEW, CHOOSING, RUNNING, OVER, DONE = range(5)
# ``answer``: what a finished fit says.
(
    A_VALUE, A_GRADIENT, A_PLATEAU, A_MISFIT, A_STATUS, A_DECREMENT, A_CURVATURE, A_RANK, A_NORM, A_RELATIVE,
    A_LARGEST, A_NIT, A_COUNTS,
) = range(13)  # fmt: skip
N_ANSWER = A_COUNTS + 4
#: A_NORM: x is as it was found, or has the least norm among the points that fit equally, or among its z's.
AS_FOUND, LEAST, LEAST_FOR_Z = range(3)

#: Distinct minima that are remembered.
_MINIMA = 8
_QUEUE = 3

# When is one run believed? Measured on the problem suite (docs/solver.md).
#: Share of ‖b‖² left unexplained that still counts as reproduced, and as nearly so by a model of few columns.
_REPRODUCED = 1e-5
_NEARLY = 1e-2
#: Share that may be noise, if the closed form's objective is within the factor of the minimum's.
_NOISY = 0.3
_CLOSE_START = 2.0
#: With fewer rows than this for each column x can nearly interpolate b, in many ways.
_ROWS_PER_COLUMN = 4
#: With so many, skip = 0 and no negative entry of b no first run that converged was wrong (docs/solver.md).
_MANY_ROWS_PER_COLUMN = 28
_MOST_STARTS = 30
_ENOUGH_HITS = 4
#: log(|alpha|/rows) of the closed forms that are tried; alpha/n is exp(s²/2) for normal z of variance s².
_GRID = (-1.0, 1.0, 3.0, 5.0)
_GRID_BEYOND = (0.0, 1.5)
#: A run is left where this root mean square of z separates it from a minimum that is known,
_NEAR = 0.2
#: or where this many times its Newton decrement does not take it down to the lowest value.
_HOPE = 4.0


def layout(n: int, d: int, G: int) -> list[tuple[int, ...]]:
    """Shapes of the arrays of a ``State``, in order."""
    up, length = by_columns.padded(d), by_columns.row_length(n)
    return [
        (up, length), (N_WEIGHTS, length), (N_ROWS, n), (N_GROUPS, G), (N_COLS, d), (N_SQUARES, d, d),
        (G, up), (up, up), (d,), (up * (by_columns.ROWS + 1) * min(G - 1, 1),), (2,), (N_POINT,),
        (steps.N_STEP,),
        (N_RUN,), (linesearch.N_SEARCH,), (4,), (_QUEUE, d + 2), (_MINIMA, d + 1),
    ]  # fmt: skip


@owner
def _cut(buffer, at, a, b):
    return buffer[at : at + a * b].reshape(a, b)


@owner
def carve(buffer, n, d, G, up, length):
    """A ``State`` of pieces of one buffer, as ``layout`` says."""
    columns = _cut(buffer, 0, up, length)
    o = columns.size
    weights = _cut(buffer, o, N_WEIGHTS, length)
    o += weights.size
    rows = _cut(buffer, o, N_ROWS, n)
    o += rows.size
    groups = _cut(buffer, o, N_GROUPS, G)
    o += groups.size
    cols = _cut(buffer, o, N_COLS, d)
    o += cols.size
    squares = buffer[o : o + N_SQUARES * d * d].reshape(N_SQUARES, d, d)
    o += squares.size
    means = _cut(buffer, o, G, up)
    o += means.size
    padded = _cut(buffer, o, up, up)
    o += padded.size
    moment = buffer[o : o + d]
    o += d
    packed = buffer[o : o + up * (by_columns.ROWS + 1) * min(G - 1, 1)]
    o += packed.size
    totals = buffer[o : o + 2]
    o += 2
    point = buffer[o : o + N_POINT]
    o += N_POINT
    step = buffer[o : o + steps.N_STEP]
    o += steps.N_STEP
    run = buffer[o : o + N_RUN]
    o += N_RUN
    search = buffer[o : o + linesearch.N_SEARCH]
    o += linesearch.N_SEARCH
    counts = buffer[o : o + 4]
    o += 4
    queue = _cut(buffer, o, _QUEUE, d + 2)
    o += queue.size
    minima = _cut(buffer, o, _MINIMA, d + 1)
    return State(
        columns, weights, rows, groups, cols, squares, means, padded, moment, packed, totals, point, step,
        run, search, counts, queue, minima,
    )  # fmt: skip


@lean_part(NOTHING, MODEL, STATE)
def settle(m, s):
    """What of a buffer must be there before anything else: A by columns, the metric A'A/n, zeros."""
    by_columns.turned(m.A, s.columns)
    n = m.A.shape[0]
    for k in range(N_WEIGHTS):
        for i in range(s.weights.shape[1]):
            s.weights[k, i] = 1.0 / n if k == OTHER and i < n else 0.0
    for g in range(s.means.shape[0]):
        for j in range(s.means.shape[1]):
            s.means[g, j] = 0.0
    for k in range(s.counts.size):
        s.counts[k] = 0.0
    multiply(m.table, m, s, s.means, s.weights[OTHER], s.rows[Y][:0], s.squares[METRIC])


@inline
def _enqueue(m, s, control, kind):
    """Put ``s.cols[X]`` into the queue of starts, the lower objective first among those not taken yet."""
    if not locate(m.table, m, s):
        return
    d = s.cols[X].size
    value = s.point[VALUE]
    place = np.intp(control[QUEUED])
    while place > control[TAKEN] and s.queue[place - 1, d] > value:
        dense.assign(s.queue[place], s.queue[place - 1])
        place -= 1
    dense.assign(s.queue[place], s.cols[X])
    s.queue[place, d], s.queue[place, d + 1] = value, kind
    control[QUEUED] += 1


@part(NOTHING, MODEL, STATE, F1)
def search_alpha(m, s, control):
    """skip > 0: the best closed forms of a few alpha, of both signs, join the queue."""
    d = s.cols[X].size
    G = m.ptr.size - 1
    alpha = np.empty(G)
    x, best_x = np.empty(d), np.empty(d)
    for kind in (CLOSED, CLOSED_NEGATIVE):
        best = np.inf
        for position in _GRID:
            for g in range(G):
                size = np.exp(position) * (m.ptr[g + 1] - m.ptr[g])
                alpha[g] = size if kind == CLOSED else -size
            if not from_inverse(m.table, m, s, alpha, x):
                continue
            dense.assign(s.cols[X], x)
            if locate(m.table, m, s) and s.point[VALUE] < best:
                best = s.point[VALUE]
                dense.assign(best_x, x)
        if best < np.inf:
            dense.assign(s.cols[X], best_x)
            _enqueue(m, s, control, kind)


@owner
def _first_starts(m, s, control):
    """What is known before any run: zeros, and for skip = 0 the closed form."""
    dense.fill(s.cols[X], 0.0)
    _enqueue(m, s, control, ZEROS)
    if m.skip == 0.0:
        x = np.empty(s.cols[X].size)
        if from_logarithms(m.table, m, s, x):
            dense.assign(s.cols[X], x)
            _enqueue(m, s, control, CLOSED)


@part(FLAG, MODEL, STATE, F1, F2)
def next_start(m, s, control, normals):
    """Move ``at`` to the next start. False if there is none."""
    d = s.cols[X].size
    if control[TAKEN] >= control[QUEUED] and m.skip > 0.0 and control[SEARCHED] == 0.0:
        control[SEARCHED] = 1.0
        search_alpha(m.table, m, s, control)
    if control[TAKEN] < control[QUEUED]:
        i = np.intp(control[TAKEN])
        dense.assign(s.cols[X], s.queue[i])
        control[TAKEN] += 1
        control[NOW] = s.queue[i, d + 1]
        return locate(m.table, m, s)
    while control[DRAWN] < normals.shape[0]:
        count = np.intp(control[DRAWN])
        control[DRAWN] += 1
        spread = 0.5 * 2.0 ** (count % 3) / np.sqrt(d)
        for j in range(d):
            norm = s.squares[METRIC, j, j]
            s.cols[X, j] = normals[count, j] / np.sqrt(norm) * spread if norm > 0.0 else 0.0
        control[NOW] = RANDOM + count
        if locate(m.table, m, s):
            return True
    return False


@inline
def _same(s, x, y):
    """Root mean square of A (x - y), the ridge's share included."""
    d = x.size
    total = 0.0
    for i in range(d):
        part = 0.0
        for j in range(d):
            part += s.squares[BALL, i, j] * (x[j] - y[j])
        total += part * (x[i] - y[i])
    return np.sqrt(max(total, 0.0))


@inline
def _slack(m, value):
    return 1e-7 * abs(value - m.floor) + 1e-13 * 0.5 * m.bb


@lean_part(INT, MODEL, STATE, F1)
def recognised(m, s, control):
    """Is the run under way bound for a minimum that is known, or for none better? Which one, -2: none better,
    -1: no."""
    lowest = np.inf
    d = s.cols[X].size
    for k in range(np.intp(control[MINIMA])):
        lowest = min(lowest, s.minima[k, d])
    value = s.point[VALUE]
    for k in range(np.intp(control[MINIMA])):
        if (
            value < s.minima[k, d] + 0.5 * abs(s.minima[k, d] - m.floor)
            and _same(s, s.cols[X], s.minima[k]) <= _NEAR
        ):
            return k
    # an exact model with safe pivots, not Gauss-Newton's
    convex = s.step[steps.CURVATURE] != s.step[steps.CURVATURE] and s.run[BEFORE] == np.inf
    reach = _HOPE * s.step[steps.DECREMENT_]
    if convex and value - reach > lowest + _slack(m, lowest):
        return -2
    return -1


@owner
def _reaches(m, s, alpha, level):
    """Does the closed form for these normalisers lie at or below an objective? The point is moved there."""
    x = np.empty(s.cols[X].size)
    s.run[KNOWN] = 0.0  # the model's arrays are overwritten
    if not from_inverse(m.table, m, s, alpha, x):
        return False
    dense.assign(s.cols[X], x)
    return locate(m.table, m, s) and s.point[VALUE] <= level


@owner
def _close(m, s, fun):
    """Does the closed form lie close to the minimum just found, at its own normalisers?"""
    G = m.ptr.size - 1
    alpha = np.empty(G)
    for g in range(G):
        alpha[g] = s.groups[ALPHA, g] * np.exp(s.groups[SHIFT, g])
    return _reaches(m, s, alpha, _CLOSE_START * fun)


@owner
def _rivalled_beyond(m, s, fun):
    """May there be a better minimum on the other side of alpha = 0? A closed form there comes near its
    objective."""
    G = m.ptr.size - 1
    alpha = np.empty(G)
    for position in _GRID_BEYOND:
        for g in range(G):
            alpha[g] = -np.exp(position) * (m.ptr[g + 1] - m.ptr[g])
        if _reaches(m, s, alpha, _CLOSE_START * fun):
            return True
    return False


@part(FLAG, MODEL, STATE, F1)
def believed(m, s, record):
    """Is the first run's minimum beyond doubt the best? ``at`` is moved."""
    if record[STATUS] != judging.CONVERGED:
        return False
    if m.kl:  # convex
        return True
    n, d = m.A.shape
    misfit = s.point[MISFIT]
    if misfit <= _REPRODUCED:
        return True
    if m.skip == 0.0 and n >= _MANY_ROWS_PER_COLUMN * d:
        lowest = 0.0
        for i in range(n):
            lowest = min(lowest, m.b[i])
        if lowest == 0.0:
            return True
    if misfit > _NOISY or n < _ROWS_PER_COLUMN * d:
        return False
    if m.skip > 0.0:
        if misfit > _NEARLY and not _close(m, s, record[FUN]):
            return False
        return not _rivalled_beyond(m, s, record[FUN])
    if misfit <= _NEARLY:
        return True
    return record[FIRST_FUN] <= _CLOSE_START * record[FUN]


@lean_part(NOTHING, MODEL, STATE, F1, F2, INT, INT, F2, F2)
def record(m, s, control, table, status, known, history, best_history):
    """Enter the run that has ended."""
    d = s.cols[X].size
    i = np.intp(control[RUNS])
    control[RUNS] += 1
    value = s.point[VALUE]
    record = table[i]
    record[KIND], record[FUN], record[ITERATIONS], record[STATUS] = control[NOW], value, s.run[NIT], status
    record[FIRST_FUN] = history[0, 0]
    record[FIRST_MISFIT] = s.point[MISFIT]
    if status == judging.LEFT:
        if known >= 0:
            record[FUN] = s.minima[known, d]
    elif status == judging.CONVERGED and control[MINIMA] < _MINIMA:
        k = np.intp(control[MINIMA])
        dense.assign(s.minima[k], s.cols[X])
        s.minima[k, d] = value
        control[MINIMA] += 1
    b = np.intp(control[BEST])
    better = b < 0
    if b >= 0 and status != judging.LEFT:
        slack = 1e-12 * abs(table[b, FUN]) + 1e-17 * m.bb
        lower = value < table[b, FUN] - slack
        level = value <= table[b, FUN] + slack
        succeeds = status == judging.CONVERGED and table[b, STATUS] != judging.CONVERGED
        better = lower or (level and succeeds)
    if better:
        control[BEST] = i
        dense.assign(s.cols[BEST_X], s.cols[X])
        for k in range(np.intp(s.run[NIT]) + 1):
            dense.assign(best_history[k], history[k])


@inline
def _enough(m, control, table, starts):
    """Have enough runs been made?"""
    runs = np.intp(control[RUNS])
    if starts != 0:
        return runs >= starts
    lowest = np.inf
    for i in range(runs):
        lowest = min(lowest, table[i, FUN])
    hits = 0
    for i in range(runs):
        hits += table[i, FUN] <= lowest + _slack(m, lowest)
    return hits >= _ENOUGH_HITS or runs >= _MOST_STARTS


@inline
def _note(s, control, history):
    i = np.intp(s.run[NIT])
    control[ITERATION] = i
    history[i, 0] = s.point[VALUE]
    history[i, 1] = s.point[GRADIENT]
    history[i, 2] = s.run[STEP]
    history[i, 3] = s.run[LARGEST_DZ]


@inline
def _without(m, s, x, basis, rank):
    """Move to x less its part along the rows of ``basis`` from ``rank`` on. Where the objective is another
    there, back to x: False."""
    d, value = x.size, s.point[VALUE]
    dense.assign(s.cols[X], x)
    for k in range(rank, d):
        along = dense.dot(basis[k], x)
        for j in range(d):
            s.cols[X, j] -= along * basis[k, j]
    if locate(m.table, m, s) and abs(s.point[VALUE] - value) <= 1e-12 * value + 1e-18 * m.bb:
        return True
    dense.assign(s.cols[X], x)
    locate(m.table, m, s)
    return False


@part(INT, MODEL, STATE, F1, FLAG)
def identify(m, s, answer, minimum):
    """How many directions of x a singular Hessian, whitened in ``s.squares[WHITE_H]``, identifies. The first
    rows of ``s.squares[FACTOR]`` become an orthonormal basis of them, its other rows one of all others.

    Of a ``minimum`` the point of least norm among those that fit equally is taken, and all that depends on
    x evaluated there. Where curvature vanishes on a curve or on saturated rows, moving straight along such
    directions does change the fit; then only what A does not see of x is left out.
    """
    d = s.cols[X].size
    T = _whitened(m, s)
    r = T.shape[1]
    B = s.squares[WHITE_H].reshape(d * d)[: r * r].reshape(r, r)
    values, vectors = np.empty(r), np.empty((r, r))
    eigen(m.table, B, vectors, values)
    size = max(abs(values[0]), abs(values[r - 1])) if r else 0.0
    metric, identified, seen = s.squares[BALL], s.squares[FACTOR], s.squares[SHIFTED]
    x, direction = np.empty(d), np.empty(d)
    rank = 0
    for k in range(r):
        if abs(values[k]) > NOISE * r * size:
            dense.times_vector(T, vectors[k], direction)
            dense.times_vector(metric, direction, identified[rank])
            rank += 1
    dense.orthonormal_basis(identified, rank)
    answer[A_NORM] = AS_FOUND
    if not minimum:
        return rank
    dense.assign(x, s.cols[X])
    if _without(m, s, x, identified, rank):
        answer[A_NORM] = LEAST
    else:
        for k in range(r):
            for j in range(d):
                direction[j] = T[j, k]
            dense.times_vector(metric, direction, seen[k])
        dense.orthonormal_basis(seen, r)
        if _without(m, s, x, seen, r):
            answer[A_NORM] = LEAST_FOR_Z
    differentiate(m.table, m, s)
    return rank


@part(NOTHING, MODEL, STATE, F1, F2, F1, F1, F1, FLOAT)
def finish(m, s, control, table, answer, x, grad, tol):
    """Recompute all that a result says at the best point, from its x: steps in row space let z drift.

    Where x has directions that are not identified, ``identify`` says which.
    """
    d = s.cols[X].size
    b = np.intp(control[BEST])
    here = b == control[RUNS] - 1 and s.run[KNOWN] > 0.0 and table[b, STATUS] == judging.CONVERGED
    for j in range(d):
        here = here and s.cols[X, j] == s.cols[BEST_X, j]
    dense.assign(s.cols[X], s.cols[BEST_X])
    locate(m.table, m, s)
    differentiate(m.table, m, s)
    if not here:  # the last step was another run's
        propose(m.table, m, s, tol)
        if s.point[GRADIENT] > tol:  # its step may have been Gauss-Newton's
            hessian(m.table, m, s)
    status = table[b, STATUS]
    if status == judging.CONVERGED and s.point[GRADIENT] > 10.0 * tol:
        status = judging.STALLED
    T = _whitened(m, s)
    r = T.shape[1]
    B = s.squares[WHITE_H].reshape(d * d)[: r * r].reshape(r, r)
    congruent(m.table, s.squares[HESS], T, np.empty((d, r)), B)
    values = np.empty(r)
    eigen(m.table, B, np.empty((0, 0)), values)
    size = max(abs(values[0]), abs(values[r - 1])) if r else 0.0
    rank = 0
    for k in range(r):
        rank += abs(values[k]) > NOISE * r * size
    answer[A_CURVATURE] = values[0] / size if size > 0.0 else 0.0
    answer[A_RANK] = rank if rank == d else identify(m.table, m, s, answer, status == judging.CONVERGED)
    answer[A_DECREMENT] = s.step[steps.DECREMENT_]
    answer[A_VALUE], answer[A_GRADIENT] = s.point[VALUE], s.point[GRADIENT]
    answer[A_PLATEAU], answer[A_MISFIT] = s.point[PLATEAU], s.point[MISFIT]
    answer[A_STATUS], answer[A_NIT] = status, table[b, ITERATIONS]
    dense.assign(x, s.cols[X])
    dense.assign(grad, s.cols[GRAD])
    error = square = largest = 0.0
    for i in range(m.b.size):
        c = abs(s.rows[F, i] - m.b[i])
        error += c * c
        square += m.b[i] * m.b[i]
        largest = max(largest, c)
    answer[A_RELATIVE] = np.sqrt(error) / np.sqrt(square) if square > 0.0 else np.inf
    answer[A_LARGEST] = largest
    dense.assign(answer[A_COUNTS:], s.counts)


@inline
def _work(m, s, tol, whole, normals, control, table, history, best_history, answer, x, grad):
    """``fit`` on its arrays."""
    starts = whole[STARTS]
    left = whole[LIMIT]
    if control[PHASE] == NEW:
        control[BEST] = -1.0
        settle(m.table, m, s)
        if starts < 0:
            dense.assign(s.cols[X], normals[0])
            _enqueue(m, s, control, GIVEN)
            control[SEARCHED] = 1.0
            control[DRAWN] = normals.shape[0]
        else:
            _first_starts(m, s, control)
        control[PHASE] = CHOOSING
    while control[PHASE] != OVER:
        if control[PHASE] == CHOOSING:
            more = next_start(m.table, m, s, control, normals)
            if not more:
                control[PHASE] = OVER
                break
            begin(m, s)
            _note(s, control, history)
            control[PHASE] = RUNNING
            if left <= 1:  # a caller that follows each iteration sees the start too
                return RUNNING
        status = judging.UNDECIDED
        known = -1
        if whole[STOP] >= 0:
            status = whole[STOP]
        while status == judging.UNDECIDED:
            status = iterate(m, s, tol, whole[MAXITER])
            if status != judging.UNDECIDED:
                break
            _note(s, control, history)
            if starts == 0 and control[RUNS] > 0:
                known = recognised(m.table, m, s, control)
                if known != -1:
                    status = judging.LEFT
                    break
            left -= 1
            if left <= 0:
                return RUNNING
        record(m.table, m, s, control, table, status, known, history, best_history)
        control[PHASE] = CHOOSING
        if (
            whole[STOP] >= 0
            or starts < 0
            or (starts == 0 and control[RUNS] == 1 and believed(m.table, m, s, table[0]))
            or _enough(m, control, table, starts)
        ):
            control[PHASE] = OVER
    if control[BEST] >= 0:
        finish(m.table, m, s, control, table, answer, x, grad, tol)
    control[PHASE] = DONE
    return DONE


@kernel
def fit(
    addresses, A, b, w_rows, offset, weight, ptr, of, numbers, whole, normals, buffer, control, table,
    history, best_history, answer, x, grad,
):  # fmt: skip
    """Work on a fit: ``DONE`` when ``answer``, x and grad are written, else ``RUNNING``: call again.

    Parameters
    ----------
    addresses : ``apart.table``
    A to ptr : as for ``gradient.gradient_rows``, all rows at once
    of : (n,) intp, each row's group, or (0,) where there is one
    numbers : (N_TOLD,), whole : (N_WHOLE,) intp
    normals : (k, d) float64, standard normal: the random starts. With STARTS = -1 the first row is the start.
    buffer : float64, of the size of ``layout`` or more, holding anything at first
    control : (N_CONTROL,) float64, zeros at first
    table : (runs, N_RECORD), history and best_history : (maxiter + 1, HISTORY), answer, x, grad : written
    """
    n, d = A.shape
    G = ptr.size - 1
    s = placed(carve(buffer, n, d, G, whole[PADDED], whole[LENGTH]))
    model = Model(
        addresses, A, b, w_rows, offset, weight, ptr, of, numbers[SKIP], whole[KL] > 0, numbers[RIDGE],
        numbers[FLOOR], numbers[BB],
    )  # fmt: skip
    return _work(
        placed(model), s, numbers[TOL], whole, normals, control, table, history, best_history, answer, x, grad
    )
