"""Where to begin: the map inverted, then one weighted least squares problem (MATH 7)."""

from __future__ import annotations

import math

import numpy as np

from .. import passes
from ..point import OutOfDomainError, Point
from ..runners import walk
from .evaluator import Evaluator

#: Candidates of the search over alpha on each side of the barrier, before it is refined.
_ALPHAS = 9
_REFINEMENTS = 6
#: Share of the largest eigenvalue below which a direction is not determined by the weighted rows.
_RANK = 1e-12


def closed_form(evaluator: Evaluator) -> list[tuple[str, np.ndarray]]:
    """Starting points from inverting u = alpha*b row by row: name and x (d,), best guess first.

    For skip = 0 a zero or negative entry of b has no inverse; such rows are left out. For skip > 0 every
    b_i has one for each alpha, and a 1-D search over alpha on both sides of 0 picks the best.
    """
    if evaluator.problem.skip == 0.0:
        x = _logarithms(evaluator)
        return [] if x is None else [("closed form", x)]
    found = []
    for sign in (1.0, -1.0):
        best = _best_alpha(evaluator, sign)
        if best is not None:
            side = "closed form" if sign > 0 else "closed form, alpha < 0"
            found.append((best[0], side, best[1]))
    return [(name, x) for _, name, x in sorted(found, key=lambda item: item[0])]


def _logarithms(evaluator: Evaluator) -> np.ndarray | None:
    """skip = 0: log b = A x - k in weighted least squares, k free, weights b (df/dz = f up to f²)."""
    problem = evaluator.problem
    b = problem.b
    positive = b > 0.0
    if not positive.any():
        return None
    target = np.log(b, out=np.zeros_like(b), where=positive)
    weight = np.where(positive, b * b, 0.0)
    return _least_squares(evaluator, weight, target, free_constant=True)


def _best_alpha(evaluator: Evaluator, sign: float) -> tuple[float, np.ndarray] | None:
    """skip > 0: the alpha of this sign whose least squares problem leads to the smallest objective."""
    n = evaluator.problem.shape[0]
    scores: dict[float, tuple[float, np.ndarray]] = {}

    def score(position: float) -> float:
        if position not in scores:
            scores[position] = _inverted(evaluator, sign * n * math.exp(position))
        return scores[position][0]

    low, high = -3.0, 9.0
    grid = np.linspace(low, high, _ALPHAS)
    best = min(grid, key=score)
    width = float(grid[1] - grid[0])
    for _ in range(_REFINEMENTS):
        width *= 0.5
        best = min((best, best - width, best + width), key=score)
    value, x = scores[best]
    return (value, x) if math.isfinite(value) else None


def _inverted(evaluator: Evaluator, alpha: float) -> tuple[float, np.ndarray]:
    """Objective and x of the least squares problem z = u^-1(alpha*b), rows weighted by df/dz = v/alpha."""
    from scipy.special import wrightomega

    problem = evaluator.problem
    skip = problem.skip
    y = alpha * problem.b / skip
    omega = wrightomega(y - math.log(skip)).real  # exp(z)/skip
    z = y - omega
    # exp(z) = skip*omega: v = skip*(omega + 1)
    weight = (skip * (omega + 1.0) / alpha) ** 2
    nothing = (math.inf, np.zeros(problem.shape[1]))
    if not np.isfinite(weight).all() or not np.isfinite(z).all():
        return nothing
    x = _least_squares(evaluator, weight, z, free_constant=False)
    if x is None:
        return nothing
    try:
        point = evaluator.at(x)
    except OutOfDomainError:
        return nothing
    return point.value, x


def _least_squares(
    evaluator: Evaluator, weight: np.ndarray, target: np.ndarray, *, free_constant: bool
) -> np.ndarray | None:
    """argmin sum weight_i (a_i x - k - target_i)² (k = 0 unless free), of least norm in columns of unit size.

    Normal equations from one Gram pass, refined once on the residual.
    """
    problem = evaluator.problem
    n, d = problem.shape
    total = float(weight.sum())
    if not total > 0.0 or not math.isfinite(total):
        return None
    weight = weight / total
    mean = np.zeros(d)
    if free_constant:
        mean = _transposed(evaluator, weight)
        target = target - float(weight @ target)
    ridge = (problem._rows.w if problem._rows.ridged else 0.0) / total
    work = passes.Gram(mean, weight + ridge if problem._rows.ridged else weight, weight * target,
                       A_dtype=problem.dtype, dtype=problem.dtype)  # fmt: skip
    evaluator.counts["assembly"] += 1
    H, k = walk(problem._source, work)
    H, k = np.triu(H[:d, :d]), k[:d]
    H += np.triu(H, 1).T
    H[np.diag_indices(d)] += problem.ridge / total
    norms = np.sqrt(np.diag(H))
    norms[norms == 0.0] = np.inf
    values, vectors = np.linalg.eigh(H / norms[:, None] / norms)
    rank = _RANK if problem.dtype == np.float64 else 1e-6
    kept = values > rank * max(values[-1], 0.0)
    if not kept.any():
        return None
    V = vectors[:, kept] / norms[:, None]
    x = V @ ((V.T @ k) / values[kept])
    # one step of refinement: the normal equations have lost half of the digits
    z = evaluator.times(x) if np.any(x) else np.zeros(n)
    residual = target - z
    if free_constant:
        residual = residual - float(weight @ residual)
    right = _transposed(evaluator, weight * residual) - problem.ridge / total * x
    if problem._rows.ridged:
        right -= _transposed(evaluator, ridge * z)
    x = x + V @ ((V.T @ right) / values[kept])
    return x if np.isfinite(x).all() else None


def _transposed(evaluator: Evaluator, w: np.ndarray) -> np.ndarray:
    evaluator.counts["product"] += 1
    return walk(evaluator.problem._source, passes.TransposedTimes(w[None, :]))[0]


def choose(evaluator: Evaluator) -> tuple[str, Point]:
    """The start with the lowest objective: the closed form, or zeros."""
    d = evaluator.problem.shape[1]
    name, best = "zeros", evaluator.at(np.zeros(d))
    for candidate, x in closed_form(evaluator):
        try:
            point = evaluator.at(x)
        except OutOfDomainError:
            continue
        if point.value < best.value:
            name, best = candidate, point
    return name, best
