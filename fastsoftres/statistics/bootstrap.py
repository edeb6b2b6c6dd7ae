"""Wild cluster bootstrap: residuals of a cluster change sign together, all replicates refitted in shared
reads of A."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import passes
from ..groups import Groups
from ..kernels import rowstate
from ..point import Point
from ..runners import walk
from .scores import Clusters, cluster_scores, row_scores

#: Numbers of row state held for replicates at once (k of them hold k*n).
_STATE = 1 << 22
#: Replicates whose Newton step (with the Hessian of the fit) is shorter than this share of a standard error
#: are done.
_ENOUGH = 1e-3
_STEPS = 8
#: With fewer clusters the 2^C sign patterns are few: Webb's six points give more.
_FEW = 12


#: Share of replicates that may fail: beyond it those that converge are no fair sample of all.
_FAIR = 0.1


class Replicates(NamedTuple):
    """Studentised deviations (R, d) of the replicates that converged, and how many did not."""

    t: np.ndarray
    failed: int
    linear: bool = False  # are they those of the linearised fit?


def wild_bootstrap(
    point: Point, clusters: Clusters, inverse: np.ndarray, factor: float, count: int, rng: np.random.Generator
) -> Replicates:
    """Refit targets f + eta_c (b - f), eta_c a random sign for each cluster.

    The penalties are taken about the fit, so that it is the replicates' truth. Newton steps use the Hessian
    of the fit; two reads of A a step for all replicates of a batch, and one for their scores. Where a tenth
    of a batch does not converge, as next to the barrier, all replicates are linearised: one step from the
    fit, their scores those of the fit with changed signs (Kline and Santos 2012).
    """
    n, d = point.z.size, point.x.size
    width = max(4, min(count, _STATE // max(n, 1)))
    t, failed = [], 0
    for start in range(0, count, width):
        size = min(width, count - start)
        part = _batch(point, clusters, inverse, factor, size, rng)
        if part.failed > _FAIR * size:
            return _linearised(point, clusters, inverse, factor, count, rng)
        t.append(part.t)
        failed += part.failed
    return Replicates(np.concatenate(t).reshape(-1, d), failed)


def _signs(rng: np.random.Generator, clusters: int, count: int) -> np.ndarray:
    """(count, clusters): mean 0, variance 1."""
    if clusters >= _FEW:
        return rng.choice([-1.0, 1.0], (count, clusters))
    points = np.sqrt([0.5, 1.0, 1.5])
    return rng.choice([*-points, *points], (count, clusters))


def _linearised(
    point: Point, clusters: Clusters, inverse: np.ndarray, factor: float, count: int, rng: np.random.Generator
) -> Replicates:
    data = point.problem._rows
    score = row_scores(data, point.f, point.curvature.va, data.b)
    S = cluster_scores(point, score[None, :], clusters)[:, 0]
    S = S - S.mean(axis=0)  # with penalties the scores do not sum to zero
    moved = _signs(rng, clusters.count, count) @ S @ inverse
    errors = np.sqrt(factor * np.sum((S @ inverse) ** 2, axis=0))
    return Replicates(moved / errors, 0, linear=True)


def _batch(
    point: Point, clusters: Clusters, inverse: np.ndarray, factor: float, count: int, rng: np.random.Generator
) -> Replicates:
    problem = point.problem
    data, source = problem._rows, problem._source
    groups, d = data.groups, point.x.size
    eta = _signs(rng, clusters.count, count)
    of_group = eta if clusters.code is None else eta[:, clusters.code]
    fitted = groups.rows_of(groups.sums(data.b)) * point.f if data.kl else point.f
    b = fitted + np.repeat(of_group, np.diff(groups.ptr), axis=1) * (data.b - fitted)
    moved = np.zeros((count, d))
    unit = np.sqrt(np.diag(inverse))  # steps in these are free of the columns' units
    for step in range(_STEPS + 1):
        dz = _times(source, moved, point.z.size) if step else np.zeros_like(b)
        scores, ok = _scores(point, dz, b)
        newton = -(_transposed(source, scores) + problem.ridge * moved) @ inverse
        size = np.abs(newton / unit).max(axis=1)
        done = ok & (size <= _ENOUGH * np.abs(moved / unit).max(axis=1))
        if step == _STEPS or (done | ~ok).all():
            break
        moved[ok] += newton[ok]
    S = cluster_scores(point, scores, clusters)  # (clusters, count, d)
    S = S - S.mean(axis=0)  # with penalties the scores do not sum to zero
    errors = np.sqrt(factor * np.sum((S @ inverse) ** 2, axis=0))
    with np.errstate(all="ignore"):
        t = moved / errors
    good = done & np.isfinite(t).all(axis=1)
    return Replicates(t[good], int(count - good.sum()))


def _scores(point: Point, dz: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row scores (k, n) at z + dz for targets b, and (k,) whether the objective is defined there."""
    data = point.problem._rows
    groups = data.groups
    k, n = dz.shape
    z = (point.z + dz).reshape(-1)
    # all replicates are one long run of groups
    ptr = np.append((groups.ptr[:-1] + n * np.arange(k)[:, None]).reshape(-1), k * n)
    alpha, shift = np.empty(ptr.size - 1), np.empty(ptr.size - 1)
    rowstate.normalisers(z, data.skip, ptr, alpha, shift)
    side = (alpha.reshape(k, -1) * point.normaliser.alpha > 0.0) & np.isfinite(alpha.reshape(k, -1))
    ok = side.all(axis=1)
    many = Groups(ptr, np.tile(groups.weight, k))
    f = np.empty_like(z)
    with np.errstate(all="ignore"):
        rowstate.map_rows(z, data.skip, ptr, 0, alpha, shift, f)
        lam = data.skip * np.exp(-shift) if data.skip else np.zeros_like(shift)
        va = (np.exp(z - many.rows_of(shift)) + many.rows_of(lam)) / many.rows_of(alpha)
        score = row_scores(data._replace(groups=many), f, va, b.reshape(-1)).reshape(k, n)
    if data.ridged:
        weight = groups.rows_of(groups.weight) if groups.weight.size else 1.0
        score += weight * data.w * dz
    score[~ok] = 0.0
    return score, ok


def _times(source: object, T: np.ndarray, n: int) -> np.ndarray:
    work = passes.Times(np.ascontiguousarray(T), n)
    walk(source, work)  # type: ignore[arg-type]
    return work.Y


def _transposed(source: object, W: np.ndarray) -> np.ndarray:
    k = W.shape[0]
    padded = W if k % 4 == 0 or k == 1 else np.vstack([W, np.zeros((-k % 4, W.shape[1]))])
    return walk(source, passes.TransposedTimes(padded))[:k]  # type: ignore[arg-type]
