"""Many columns: what replaces a d x d matrix and its factors where they would not fit, or take too long."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..point import Point
from .evaluator import Evaluator
from .factor import Solve

#: Columns up to which a d x d matrix is factored: 0.4 s on two cores and 130 MB at this size, eight times the
#: time at twice it.
FACTORED_COLUMNS = 4000
_MAX_PRODUCTS = 200
#: Residual of the least squares problem of a start, which iterations on the whole problem follow.
_ENOUGH = 1e-6


def diagonal(evaluator: Evaluator, point: Point) -> Solve:
    """Inverse of the diagonal of A'abs(D)A + ridge: exact for dummies of one factor."""
    size = evaluator.squares(np.abs(point.curvature.D)) + point.problem.ridge
    size[size == 0.0] = 1.0
    return lambda r: r / size


def _inverse(evaluator: Evaluator, weight: np.ndarray, ridge: float) -> Solve:
    """Of A' diag(weight) A + ridge I, or of its diagonal; weights >= 0."""
    elimination = evaluator.elimination(FACTORED_COLUMNS)
    solve = None if elimination is None else elimination.factor(weight, ridge)
    if solve is not None:
        evaluator.counts["assembly"] += 1
        return solve
    size = evaluator.squares(weight) + ridge
    size[size == 0.0] = np.inf
    return lambda r: r / size


def least_squares(
    evaluator: Evaluator,
    weight: np.ndarray,
    target: np.ndarray,
    centred: Callable[[np.ndarray], np.ndarray],
    row_ridge: np.ndarray,
    ridge: float,
) -> np.ndarray | None:
    """argmin sum weight (centred(A x) - target)² + row_ridge (A x)² + ridge ‖x‖², to a few digits.

    Conjugate gradients on the normal equations, scaled by their diagonal, or by their factors where
    elimination gives these: two reads of A an iteration. From zero they end at the solution of least norm in
    columns of unit size, or by the factors.
    """
    inverse = _inverse(evaluator, weight + row_ridge, ridge)
    r = evaluator.transposed(weight * target)
    s = inverse(r)
    x, p = np.zeros_like(r), s
    rho = first = float(r @ s)
    for _ in range(_MAX_PRODUCTS):
        if not rho > _ENOUGH**2 * first:
            break
        y = evaluator.times(p)
        Hp = evaluator.transposed(weight * centred(y) + row_ridge * y) + ridge * p
        curvature = float(p @ Hp)
        if not curvature > 0.0:
            break
        x = x + (rho / curvature) * p
        r = r - (rho / curvature) * Hp
        s = inverse(r)
        rho, before = float(r @ s), rho
        p = s + (rho / before) * p
    return x if np.isfinite(x).all() else None
