"""Is this point a local minimum? Judged in long double, apart from the code that found it.

Newton's method in long double polishes the point. A minimum is confirmed where that converges nearby, the
objective does not fall by more than what counts as solved, and the Hessian there has no negative
eigenvalue. Gradient and Hessian are measured against the sums of absolute values of their terms, so that
units, conditioning and peaked f do not blur the verdict; directions that these terms do not see are not
identified by the data and take no part.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import fastsoftres as fs

Real = np.longdouble
#: Largest relative gradient of a polished point.
_STATIONARY = 1e-10
#: Negative curvature below this share of the terms' counts as zero: what flat directions leave.
_FLAT = 1e-9
#: Share of the terms' largest curvature below which a direction is not identified.
_UNSEEN = 1e-12
#: No z may move further while polishing.
_NEARBY = 0.1
_MOST_STEPS = 12


class Verdict(NamedTuple):
    """What the polished point is."""

    minimum: bool
    why: str
    gradient: float  # relative, as found
    polished: float  # relative, after polishing
    curvature: float  # smallest eigenvalue against the terms
    moved: float  # largest change of z


class _Model(NamedTuple):
    """The objective at one x, all in long double."""

    z: np.ndarray
    value: Real
    grad: np.ndarray
    terms: np.ndarray
    D: np.ndarray
    h: np.ndarray
    kappa: Real
    mean: np.ndarray


def _evaluate(A, problem: fs.SoftResProblem, x: np.ndarray) -> _Model:
    """MATH 1 to 3 with np.longdouble, shifted by the largest z."""
    skip, w, ridge = Real(problem.skip), problem.row_ridge.astype(Real), Real(problem.ridge)
    b = problem.b.astype(Real)
    z = A @ x
    shift = np.exp(-max(z.max(), Real(0)))
    e = np.exp(z - max(z.max(), Real(0)))
    u, v = e + skip * z * shift, e + skip * shift
    alpha = u.sum()
    f, va, ea = u / alpha, v / alpha, e / alpha
    c = f - b
    s = c @ f
    q = c - s
    value = (c @ c + w @ (z * z) + ridge * (x @ x)) / 2
    grad = A.T @ (va * q + w * z) + ridge * x
    terms = np.abs(A).T @ (np.abs(va) * (np.abs(f) + np.abs(b) + np.abs(s)) + np.abs(w * z)) + ridge * np.abs(
        x
    )
    skip_a = skip * shift / alpha
    return _Model(
        z, value, grad, terms,
        D=ea * q + va * va + w,
        h=va * skip_a * (1 - z) - skip_a * q + w,
        kappa=skip_a**2 * np.sum((1 - z) ** 2) - ea @ q - 2 * skip_a * q.sum() + w.sum(),
        mean=A.T @ va,
    )  # fmt: skip


def _basis(A, problem: fs.SoftResProblem, at: _Model) -> np.ndarray:
    """T (d, r) in which the terms of the Hessian sum to the identity, on what they see."""
    rows = (A - at.mean).astype(float)
    weight = (np.abs(at.D) + np.abs(at.h)).astype(float)
    mean = at.mean.astype(float)
    outer = float(np.abs(at.h).sum() + np.abs(at.kappa)) if problem.skip or problem.row_ridge.any() else 0.0
    W = (rows * weight[:, None]).T @ rows + outer * np.outer(mean, mean) + problem.ridge * np.eye(mean.size)
    size = float(np.diag(W).max(initial=0.0))
    norms = np.sqrt(np.diag(W))
    # a column that centring has wiped out, or that is zero, is not seen
    whole = np.sqrt(weight @ np.asarray(A * A, dtype=float)) if size else norms
    norms = np.where(norms > 1e-12 * whole, norms, np.inf)
    values, vectors = np.linalg.eigh(W / norms[:, None] / norms)
    kept = values > _UNSEEN * max(values[-1], 0.0)
    return (vectors[:, kept] / norms[:, None] / np.sqrt(values[kept])).astype(Real)


def _hessian(A, problem: fs.SoftResProblem, at: _Model, T: np.ndarray) -> np.ndarray:
    """T' H T, centred; rounded to float64 at the end."""
    C = A @ T - at.mean @ T
    mean = T.T @ at.mean
    k = C.T @ at.h
    H = (C * at.D[:, None]).T @ C + np.outer(k, mean) + np.outer(mean, k) + at.kappa * np.outer(mean, mean)
    if problem.skip == 0 and not problem.row_ridge.any():  # k and kappa are zero, but for rounding
        H = (C * at.D[:, None]).T @ C
    return (H + Real(problem.ridge) * (T.T @ T)).astype(float)


def _relative(at: _Model) -> float:
    seen = at.terms > 0
    return float((np.abs(at.grad[seen]) / at.terms[seen]).max(initial=0.0))


def judge(problem: fs.SoftResProblem, x: np.ndarray) -> Verdict:
    """Is x a local minimum, to second order?"""
    with np.errstate(all="ignore"):  # what is not finite fails the tests below
        return _judge(problem, x)


def _judge(problem: fs.SoftResProblem, x: np.ndarray) -> Verdict:
    A = problem.A.astype(Real)
    x = np.asarray(x, dtype=Real)
    first = at = _evaluate(A, problem, x)
    found = _relative(at)
    T = _basis(A, problem, at)
    if not np.isfinite(found) or T.shape[1] == 0:
        return Verdict(False, "nothing is identified", found, found, np.nan, np.nan)
    for _ in range(_MOST_STEPS):
        values, vectors = np.linalg.eigh(_hessian(A, problem, at, T))
        if _relative(at) <= 1e-3 * _STATIONARY:
            break
        curved = np.abs(values) > _FLAT
        along = vectors.T @ (T.T @ at.grad).astype(float)
        step = T @ (vectors[:, curved] @ (along[curved] / values[curved])).astype(Real)
        after = _evaluate(A, problem, x - step)
        if not _relative(after) < _relative(at):
            break
        x, at = x - step, after
    values = np.linalg.eigvalsh(_hessian(A, problem, at, T))
    curvature = float(values[0])
    moved = float(np.abs(at.z - first.z).max())
    fall = float(first.value - at.value)
    why = ""
    if _relative(at) > _STATIONARY:
        why = "not stationary"
    elif curvature < -_FLAT:
        why = "negative curvature"
    elif moved > _NEARBY:
        why = "the minimum is elsewhere"
    elif fall > 1e-6 * float(at.value) + 1e-12 * 0.5 * float(problem.b @ problem.b):
        why = "not accurate"
    return Verdict(not why, why, found, _relative(at), curvature, moved)
