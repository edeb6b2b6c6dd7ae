"""m fits of one A in lock-step: A is read once an iteration for all of them (MATH 6).

Each column is first fitted on a row sample of its own (``kernels/sample.py``), which gives a start and the
factor P of an approximate Hessian. Then all columns move together: a preconditioned quasi-Newton step
(L-BFGS with P as its first matrix), one pass Z += A T that also gives every objective at the trial, one
pass A' W for the gradients. Columns that are done drop out. No Hessian is assembled on all rows: m of them
cost m n d², and an iteration here 4 m n d. What this cannot prove (negative curvature was seen, the
sample's Hessian is not positive definite, rows do not cancel, a barrier is near) goes to ``solve``, one
column at a time, from the best point known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
import warnings
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from .. import _threads
from ..kernels import gram, sample
from ..kernels import targets as kernels
from ..point import OutOfDomainError
from ..problem import SoftResProblem
from ..runners import walk
from ..sources import DenseRows
from ..targets import Draw, Targets, sizes
from . import runs
from .columns import Moving, RowState, Values
from .descent import _STRIDE
from .solve import solve
from .stopping import DECREMENT, Status, tolerance

#: Columns that move together. A block of A is then used 64 times while it lies in cache, the arithmetic is
#: all that counts, and more columns at once would only hold more row state.
COLUMNS = 64
#: Rows sampled for each column of A, and at least. With 64 d rows P^-1 H had eigenvalues 0.7 to 1.4, an
#: iteration contracted by 0.2, and the sample cost as much as two iterations (docs/solver.md).
_ROWS_PER_COLUMN = 64
_LEAST_ROWS = 4096
#: The part of it that is fitted first.
_FEW = 4
#: Share of the sample drawn evenly; the rest in proportion to b², which the Hessian's weights resemble.
_EVEN = 0.25
_SAMPLE_STEPS = 30
#: Moving the columns that are left to arrays of their own costs an iteration, and is done where it saves
#: three quarters of each later one.
_WORTH = 4
#: No z_i moves further in one step (``descent._CAP``).
_CAP = 5.0
_DECREASE = 1e-4
#: Differences of the loss below this share of what it is a difference of drown in rounding.
_ROUNDING = 1e-14
_MAX_TRIALS = 8
#: A column that has not converged after so many iterations is harder than its sample says: ``solve`` takes
#: over.
_PATIENCE = 40
#: The second-order test needs a start whose gradient is generic and large beside tol: a given start that is
#: nearly stationary is shaken, by so much in z.
_SHAKEN = 1e3
_SHAKE = 1e-3
#: Scales of the start and a drifting z stand behind the gradient measure on the way; the last word has
#: neither.
_MARGIN = 0.8
#: Least curvature along the last steps, against the sample's: 1 where P is exact.
_CURVED = 0.1


class LockstepResult(NamedTuple):
    """What ``lockstep`` found, one entry for each of the m targets."""

    x: np.ndarray  # (d, m)
    fun: np.ndarray  # (m,) objective
    jac: np.ndarray  # (d, m) gradient
    nit: np.ndarray  # (m,) iterations, those of ``solve`` included
    status: np.ndarray  # (m,) as for ``solve``; 0 is the only success
    gradient: np.ndarray  # (m,) relative gradient, m1 of MATH 7
    plateau: np.ndarray  # (m,) m2
    decrement: np.ndarray  # (m,) estimate of what a Newton step would still gain
    curvature: np.ndarray  # (m,) least curvature met, over the sample's; of ``solve`` where it finished
    fit_relative: np.ndarray  # (m,) ‖f - b‖/‖b‖
    fit_largest: np.ndarray  # (m,) max |f - b|
    alone: np.ndarray  # (m,) bool: finished by ``solve``, one at a time
    passes: int  # reads of A for all columns together, samples not counted
    passes_alone: int  # reads of A by ``solve`` for columns that were finished one at a time


def lockstep(
    source: DenseRows,
    B: np.ndarray,
    *,
    skip: float = 1.0,
    kl: bool = False,
    row_ridge: np.ndarray | None = None,
    ridge: float = 0.0,
    mask: np.ndarray | None = None,
    lengths: np.ndarray | None = None,
    offset: np.ndarray | None = None,
    X0: np.ndarray | None = None,
    tol: float = 1e-8,
    maxiter: int = 100,
    deadline: float = math.inf,
    seed: int = 0,
) -> LockstepResult:
    """Minimise m objectives that share A, together.

    Arguments are taken as valid: finite, of these shapes, b >= 0 where the likelihood is asked for.

    Parameters
    ----------
    source : DenseRows
        A (n, d).
    B : (n, m) float64
        Targets, one a column.
    skip, kl, ridge : as ``SoftResProblem``'s skip, loss="kl" and ridge
    row_ridge, offset : (n,) float64, optional
    mask : (n, m) bool, optional
        False: the row takes no part in that column's fit.
    lengths : (m,) integers, optional
        Instead of a mask: the first ``lengths[k]`` rows take part in column k.
    X0 : (d, m), optional
        Starts; by default those that the samples lead to.
    tol, maxiter : as for ``solve``
    deadline : float, optional
        Value of ``time.monotonic()`` after which columns that are not done stop with status 7.
    seed : int, optional
        Of the row samples.

    Returns
    -------
    LockstepResult

    Notes
    -----
    An iteration reads A twice for all columns and costs 4 n d m operations and two exponentials an entry of
    B. Memory: Z (n, m) beside B, a sample of some thousand rows for each thread, d² for each column that is
    being fitted. Results are the same to the last bit for any number of threads.

    A column is status 0 only if the tests of ``solve`` hold at x, its z computed afresh: gradient, decrement
    (by P^-1 in place of H^-1), rows that cancel or a fit. The test of second order is the descent itself: P
    is positive definite, every step of the last ones met positive curvature, and a gradient that was generic
    (the sampling error of the start) has fallen to ``tol``. Along a direction of negative curvature it would
    have grown.
    """
    n, m = B.shape
    none = np.empty(0)
    B = np.ascontiguousarray(B, np.float64)
    data = Targets(
        source, B,
        np.empty((0, 0), np.bool_) if mask is None else np.ascontiguousarray(mask),
        np.empty(0, np.intp) if lengths is None else np.ascontiguousarray(lengths, np.intp),
        none if row_ridge is None else row_ridge, none if offset is None else offset,
        float(skip), bool(kl), float(ridge),
    )  # fmt: skip
    if data.mask.size or data.lengths.size:
        live = data.mask if data.mask.size else np.arange(n)[:, None] < data.lengths
        data = dataclasses.replace(data, B=np.where(live, B, 0.0))
    options = _Options(tolerance(tol, source.dtype), maxiter, deadline, seed)
    found = _Found.empty(source.d, m)
    # P takes d² for each column: no more of it than A has
    together = max(16, min(COLUMNS, n // max(source.d, 1)))
    with np.errstate(all="ignore"):  # what over- or underflows is judged by its result
        for first in range(0, m, together):
            columns = np.arange(first, min(first + together, m))
            part = data if columns.size == m else data.take(columns)
            starts = None if X0 is None else np.asarray(X0)[:, columns].T
            _Batch(part, columns, found, options).run(starts)
        doubtful = found.status < 0
        if X0 is None and n * source.d <= runs.MANY_STARTS_SIZE:
            converged = np.flatnonzero(found.status == Status.CONVERGED).tolist()
            doubtful[[k for k in converged if not _believed(found, k, n, source.d)]] = True
        for k in np.flatnonzero(doubtful).tolist():
            _finish(data, k, found, X0 is not None, options)
    return found.result()


class _Options(NamedTuple):
    tol: float
    maxiter: int
    deadline: float
    seed: int


@dataclasses.dataclass
class _Found:
    """Results as they come in, columns as rows."""

    X: np.ndarray
    jac: np.ndarray
    values: dict[str, np.ndarray]
    status: np.ndarray  # -1: not decided
    nit: np.ndarray
    alone: np.ndarray
    usable: np.ndarray  # had the sample's fit a positive definite Hessian?
    closeness: np.ndarray  # objective of the sample at its start over that at its end
    misfit: np.ndarray
    reads: Counter[str] = dataclasses.field(default_factory=Counter)

    @classmethod
    def empty(cls, d: int, m: int) -> _Found:
        names = ("fun", "gradient", "plateau", "decrement", "curvature", "fit_relative", "fit_largest")
        values = {name: np.full(m, np.nan) for name in names}
        return cls(
            np.zeros((m, d)), np.zeros((m, d)), values, np.full(m, -1), np.zeros(m, np.intp),
            np.zeros(m, np.bool_), np.zeros(m, np.bool_), np.full(m, np.inf), np.full(m, np.inf),
        )  # fmt: skip

    def result(self) -> LockstepResult:
        return LockstepResult(
            x=np.ascontiguousarray(self.X.T), jac=np.ascontiguousarray(self.jac.T), nit=self.nit,
            status=self.status, alone=self.alone, passes=self.reads["shared"],
            passes_alone=self.reads["alone"],
            **self.values,
        )  # fmt: skip


class _Batch:
    """Columns that begin together."""

    def __init__(self, data: Targets, columns: np.ndarray, found: _Found, options: _Options):
        self.data, self.columns, self.found, self.options = data, columns, found, options
        self.sizes, self.sums = sizes(data)
        m = data.m
        self.X = np.zeros((m, data.source.d))
        self.nit, self.stride, self.curvature = np.zeros(m, np.intp), np.zeros(m), np.full(m, np.nan)
        self.candidate, self.over = np.zeros(m, np.bool_), np.zeros(m, np.bool_)
        self.decrement = np.full(m, np.nan)
        self.closeness = np.full(m, np.inf)  # objective at the start of the sample's fit over that at its end

    def run(self, starts: np.ndarray | None) -> None:
        """From samples to results. Columns that are not decided keep status -1."""
        if starts is not None:
            self.X[:] = starts
        good = self._move(starts is not None)
        late = time.monotonic() > self.options.deadline
        self.over |= ~self.candidate & (late | (self.nit >= self.options.maxiter))
        self.found.X[self.columns] = self.X
        self.found.nit[self.columns] = self.nit
        self.found.closeness[self.columns] = self.closeness
        self.found.usable[self.columns] = good
        self._verify(Status.TIME if late else Status.MAXITER)

    def _move(self, given: bool) -> np.ndarray:
        """Fit until every column is done. Which have had a usable sample?"""
        P, good = self._sample(given)
        if not good.any() or time.monotonic() > self.options.deadline:
            return good
        rows = RowState.of(self.data, self.found.reads, self.sums)
        moving = self._begin(rows, P, good, given)
        while moving.active.any():
            self._iterate(rows, moving)
            if time.monotonic() > self.options.deadline:
                self._leave(moving, moving.active)
                break
            count = int(np.count_nonzero(moving.active))
            if count > 0 and _WORTH * kernels.width(count) <= rows.data.width:
                left = np.flatnonzero(moving.active)
                rows, moving = rows.take(left), moving.take(left)
        return good

    # ------------------------------------------------------------------------------------------
    # starts

    def _sample(self, given: bool) -> tuple[np.ndarray, np.ndarray]:
        """Fit each column on its sample: X is written. The factors P, and which of them are usable."""
        data, m, d = self.data, self.data.m, self.data.source.d
        slots = max(_ROWS_PER_COLUMN * d, _LEAST_ROWS)
        draws: Draw | None = None
        if 2 * slots <= data.source.n:
            phase = 1.0 - np.random.default_rng((self.options.seed, int(self.columns[0]))).random(m)
            draws = Draw(data, self.sizes, self.sums, slots, _EVEN, phase)
            walk(data.source, draws)
        P, good = np.zeros((m, d, d)), np.zeros(m, np.bool_)

        def task(k: int) -> None:
            good[k] = self._sample_one(k, draws, given, P[k])

        _threads.run(task, m)
        return P, good

    def _sample_one(self, k: int, draws: Draw | None, given: bool, P: np.ndarray) -> bool:
        data = self.data
        if draws is None:
            live = data.live(k)
            picked = np.arange(data.source.n) if live is None else np.flatnonzero(live)
            omega = np.ones(picked.size)
        else:
            picked = draws.picked[k][draws.picked[k] >= 0]
            picked = np.concatenate([picked[i::_FEW] for i in range(_FEW)])  # each part is a sample itself
            omega = draws.omega(k, picked)
        if picked.size == 0:
            return False
        whole = picked.size == data.source.n and data.source.direct
        A = data.source.A if whole else data.source.take(picked).A
        d = A.shape[1]
        size = gram.padded(d, A.dtype) * gram.packed_rows(d, A.dtype)
        left, right, out = np.zeros(size, A.dtype), np.zeros(size, A.dtype), np.full(3, np.nan)
        w = data.w[picked] if data.w.size else data.w
        offset = data.offset[picked] if data.offset.size else data.offset
        few = picked.size // _FEW if draws is not None else picked.size
        b = data.B[picked, k]

        def fit(moved: bool, steps: int) -> bool:
            return bool(
                sample.fit(
                    A, b, omega, w, offset, data.skip, data.kl, data.ridge, moved, few, steps, left, right,
                    self.X[k], P, out,
                )
            )  # fmt: skip

        if given and fit(True, 0):
            return True
        done = fit(given, _SAMPLE_STEPS)
        self.closeness[k] = out[0] / out[1] if out[1] > 0.0 else np.inf
        return done

    def _begin(self, rows: RowState, P: np.ndarray, good: np.ndarray, given: bool) -> Moving:
        m, d = self.X.shape
        values, _ = rows.step(self.X, self.X, fresh=True)
        values, G, _ = rows.gradients(values, self.X, scales=1)
        moving = Moving(
            np.arange(m), good.copy(), self.X.copy(), P, values, G[0], G[1], np.sign(values.alpha),
            np.zeros(m, np.intp), np.zeros(m), np.zeros((m, 0, d)), np.zeros((m, 0, d)), np.zeros((m, 0)),
        )  # fmt: skip
        if given and (moving.gradient <= _SHAKEN * self.options.tol).any():
            kick = self._kick(moving.gradient <= _SHAKEN * self.options.tol)
            moving.X = moving.X + kick
            moving.values, _ = rows.step(kick, moving.X)
            moving.values, G, _ = rows.gradients(moving.values, moving.X)
            moving.g = G[0]
        moving.active &= np.isfinite(moving.values.value)
        self._judge(rows, moving)
        return moving

    def _kick(self, still: np.ndarray) -> np.ndarray:
        """Random steps of length _SHAKE in z, by the size of A's columns, for the columns ``still``."""
        source = self.data.source
        A = source.take(np.arange(0, source.n, max(1, source.n // 1000))).A
        norms = np.sqrt(np.mean(np.square(A, dtype=np.float64), axis=0))
        rng = np.random.default_rng((self.options.seed, int(self.columns[0]), 1))
        T = rng.standard_normal(self.X.shape)
        T = np.divide(T, norms, out=np.zeros_like(T), where=norms > 0.0) * (_SHAKE / math.sqrt(norms.size))
        return np.where(still[:, None], T, 0.0)

    # ------------------------------------------------------------------------------------------
    # iterations

    def _iterate(self, rows: RowState, moving: Moving) -> None:
        """One step of every active column."""
        X, g, values = moving.X, moving.g, moving.values
        moved = self._search(rows, moving, moving.direction())
        self._leave(moving, moving.active & ~moved)
        if not moving.active.any():
            return
        moving.values, G, _ = rows.gradients(moving.values, moving.X)
        moving.g = G[0]
        moving.nit[moving.active] += 1
        s = moving.X - X
        moving.remember(s, moving.g - g)
        # where the loss no longer tells, the gradient must: it may not grow along the step
        blind = np.abs(moving.values.value - values.value) <= _ROUNDING * values.size
        worse = np.abs(np.sum(s * moving.g, axis=1)) > np.abs(np.sum(s * g, axis=1))
        lost = (blind & worse) | ~np.isfinite(moving.g).all(axis=1) | ~np.isfinite(moving.values.value)
        self._judge(rows, moving)
        self._leave(moving, moving.active & (lost | (moving.nit >= min(_PATIENCE, self.options.maxiter))))

    def _search(self, rows: RowState, moving: Moving, T: np.ndarray) -> np.ndarray:
        """Move each active column along T, shortened where it must be. Which have moved? The others stay.

        A trial is a pass Z += A (change of eta) T; after the first one few columns have still to move.
        """
        X, old = moving.X, moving.values
        slope = np.sum(T * moving.g, axis=1)
        eta, now = np.ones(slope.size), np.zeros(slope.size)
        waiting, moved = moving.active.copy(), np.zeros(slope.size, np.bool_)
        for trial in range(_MAX_TRIALS + 1):
            T_now = np.where(waiting, eta - now, 0.0)[:, None] * T
            now = np.where(waiting, eta, now)
            values, most_y = rows.step(T_now, X + now[:, None] * T)
            if trial == 0:
                largest = most_y
            elif trial == _MAX_TRIALS:  # that was the way back
                break
            capped = now * largest > _CAP * (1.0 + 1e-9)
            inside = (values.alpha * moving.sign > 0.0) & np.isfinite(values.value)
            noise = _ROUNDING * old.size
            lower = values.value <= old.value + _DECREASE * now * slope
            level = (values.value <= old.value + noise) & (np.abs(slope) <= 1e3 * noise)
            accepted = waiting & inside & ~capped & (lower | level)
            moving.values = Values(
                *(np.where(accepted, new, kept) for new, kept in zip(values, moving.values, strict=True))
            )
            moved |= accepted
            waiting &= ~accepted
            if not waiting.any():
                break
            rise = values.value - old.value - now * slope
            guess = np.divide(-0.5 * slope * now * now, rise, out=0.25 * now, where=inside & (rise > 0.0))
            eta = np.where(capped, _CAP / largest, np.clip(guess, 0.1 * now, 0.5 * now))
            if trial == _MAX_TRIALS - 1:
                eta = np.zeros_like(eta)
        moving.X = np.where(moved[:, None], X + now[:, None] * T, X)
        moving.stride = np.where(moved, now * largest, moving.stride)
        return moved

    def _judge(self, rows: RowState, moving: Moving) -> None:
        """Columns whose gradient and decrement have vanished wait for their verification."""
        decrement, local = moving.decrement(), moving.at
        value = moving.values.value
        least = DECREMENT[0] * (value - rows.floor) + DECREMENT[1] * 0.5 * rows.bb
        done = moving.active & (moving.gradient <= _MARGIN * self.options.tol) & (decrement <= least)
        self.decrement[local] = decrement
        self.candidate[local[done]] = True
        self._leave(moving, done)

    def _leave(self, moving: Moving, which: np.ndarray) -> None:
        """Columns that are done, one way or the other: keep where they stand."""
        moving.active &= ~which
        local = moving.at[which]
        self.X[local], self.nit[local], self.stride[local] = (
            moving.X[which],
            moving.nit[which],
            moving.stride[which],
        )
        if which.any():
            self.curvature[local] = np.min(moving.curvature[which], axis=1, initial=1.0)

    # ------------------------------------------------------------------------------------------
    # the end

    def _verify(self, status_over: Status) -> None:
        """Evaluate at x, z computed afresh: what candidates claim, and how far those came that must stop."""
        which = np.flatnonzero(self.candidate | self.over)
        if which.size == 0:
            return
        whole = which.size == self.data.m
        data = self.data if whole else self.data.take(which)
        rows = RowState.of(data, self.found.reads, self.sums[:, which])
        X = self.X[which]
        values, _ = rows.step(X, X, fresh=True)
        values, (g, terms, sizes_), exact = rows.gradients(values, X, scales=2)
        seen = terms > 0.0
        relative = np.divide(np.abs(g), terms, out=np.zeros_like(g), where=seen)
        parts = np.divide(sizes_, terms, out=np.zeros_like(g), where=seen)
        total = np.linalg.norm(parts, axis=1)
        gradient = np.max(relative, axis=1, initial=0.0)
        plateau = np.divide(
            np.linalg.norm(relative, axis=1), total, out=seen.any(axis=1).astype(float), where=total > 0.0
        )
        penalty = values.penalty
        loss = np.maximum(2.0 * (values.value - rows.floor - penalty), 0.0)
        misfit = np.divide(loss, rows.bb, out=np.where(loss > 0.0, np.inf, 0.0), where=rows.bb > 0.0)
        tol = self.options.tol
        fits, cancels = misfit <= tol, plateau <= np.sqrt(tol)
        curvature = self.curvature[which]
        marching = (self.stride[which] > _STRIDE) & fits
        proven = (gradient <= tol) & (fits | cancels) & (curvature >= _CURVED) & ~marching
        proven &= np.isfinite(values.value)
        found, columns = self.found, self.columns[which]
        status = np.where(self.candidate[which] & proven, int(Status.CONVERGED), -1)
        found.status[columns] = np.where(self.over[which], int(status_over), status)
        found.jac[columns] = g
        b_norm = np.sqrt(self.sums[1, which])
        c_norm = np.sqrt(2.0 * exact[kernels.HALF_CC])
        found.misfit[columns] = misfit
        for name, value in (
            ("fun", values.value), ("gradient", gradient), ("plateau", plateau), ("curvature", curvature),
            ("decrement", self.decrement[which]), ("fit_largest", exact[kernels.MOST_C]),
            ("fit_relative", np.divide(c_norm, b_norm, out=np.full(which.size, np.inf), where=b_norm > 0.0)),
        ):  # fmt: skip
            found.values[name][columns] = value


def _believed(found: _Found, k: int, n: int, d: int) -> bool:
    """Is a minimum of a small problem beyond doubt the best (``runs._believed``)?"""
    misfit = found.misfit[k]
    if misfit > runs.REPRODUCED and n < runs.ROWS_PER_COLUMN * d:
        return False
    return bool(
        misfit <= runs.REPRODUCED or (misfit <= runs.NOISY and found.closeness[k] <= runs.CLOSE_START)
    )


def _finish(data: Targets, k: int, found: _Found, given: bool, options: _Options) -> None:
    """Column k by ``solve``: from where it stands, and from other starts where ``solve`` would make them."""
    left = options.deadline - time.monotonic()
    if left <= 0.0:
        found.status[k] = found.status[k] if found.status[k] >= 0 else int(Status.TIME)
        return
    problem = _problem(data, k)
    limits: dict[str, Any] = {"tol": options.tol, "maxiter": options.maxiter, "rng": options.seed}
    if math.isfinite(left):
        limits["max_seconds"] = left
    n, d = problem.shape
    results = []
    if given or (found.usable[k] and n * d > runs.MANY_STARTS_SIZE):
        with contextlib.suppress(OutOfDomainError):
            results.append(solve(problem, found.X[k], **limits))
    if not results or not (given or results[0].success):
        results.append(solve(problem, **limits))
    found.reads["alone"] += sum(result.passes for result in results)
    best = min(results, key=lambda result: (not result.success, result.fun))
    if found.status[k] == Status.CONVERGED and not best.fun < found.values["fun"][k] * (1.0 - 1e-9):
        return  # more starts have found nothing better
    found.alone[k] = True
    found.X[k], found.jac[k], found.status[k] = best.x, best.jac, best.status
    found.nit[k] += best.nit
    for name in ("gradient", "plateau", "decrement", "curvature"):
        value = best.optimality[name]
        found.values[name][k] = np.nan if value is None else value
    found.values["fun"][k] = best.fun
    found.values["fit_relative"][k], found.values["fit_largest"][k] = (
        best.fit["relative"],
        best.fit["largest"],
    )


def _problem(data: Targets, k: int) -> SoftResProblem:
    """The problem of one column."""
    source = data.source
    with warnings.catch_warnings():  # whoever called has been told what sum b has
        warnings.simplefilter("ignore", UserWarning)
        return SoftResProblem(
            source.A if source.picked is None else source.take(np.arange(source.n)).A, data.B[:, k],
            skip=data.skip, loss="kl" if data.kl else "least-squares", ridge=data.ridge, mask=data.live(k),
            row_ridge=data.w if data.w.size else 0.0, offset=data.offset if data.offset.size else None,
        )  # fmt: skip
