"""How large a row ridge makes the objective strongly convex on a ball (docs/theory.md, 3)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .. import _validate, passes
from ..point import Point
from ..problem import SoftResProblem
from ..runners import walk
from .ball import Ball, ball
from .norms import UNIT, norms, outward


@dataclasses.dataclass(frozen=True)
class RowRidgeThreshold:
    """Row ridges from which the Hessian is at least ``curvature`` times the identity on the ball.

    Attributes
    ----------
    local : float
        From the rows' intervals on the ball.
    overall : float
        From n, the largest \\|z_i\\| and the least \\|alpha\\| alone (MATH 8); inf where that overflows.
    curvature, radius, smallest_singular_value : float
        What was asked for, and the least singular value of A (from below).
    """

    local: float
    overall: float
    curvature: float
    radius: float
    smallest_singular_value: float

    def __float__(self) -> float:
        """The smaller threshold."""
        return min(self.local, self.overall)


def strong_convexity_row_ridge(
    A: Any,
    b: Any,
    curvature: float,
    radius: float,
    *,
    x: Any = None,
    **options: Any,
) -> RowRidgeThreshold:
    """The row ridge that makes the Hessian >= curvature * identity wherever ‖x' - x‖ <= radius.

    Parameters
    ----------
    A, b
        As for ``SoftResProblem``.
    curvature : float
        The least eigenvalue wanted, >= 0.
    radius : float
        Of the ball, >= 0.
    x : (d,) array_like, optional
        Its centre; zeros by default.
    **options
        Of ``SoftResProblem``: skip, ridge, groups and so on. A ``row_ridge`` among them is not counted.

    Returns
    -------
    RowRidgeThreshold
        ``float(...)`` of it is the threshold to pass as ``row_ridge``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or A has no full column rank, so that no row ridge can help.

    Notes
    -----
    Three reads of A, two of them assemblies. MATH 3: the loss's Hessian in z is J'J plus
    ``diag(e q/alpha) - (v/alpha)(q v/alpha)' - (q v/alpha)(v/alpha)'``, and only that can be negative. The
    local rule bounds it on the ball row by row; the papers' rule bounds all of H_z by n, R and beta.

    Examples
    --------
    >>> import numpy as np
    >>> import fastsoftres as fs
    >>> A = np.random.default_rng(0).standard_normal((50, 2))
    >>> b = np.full(50, 0.02)
    >>> w = fs.strong_convexity_row_ridge(A, b, 1e-3, 0.1)
    >>> problem = fs.SoftResProblem(A, b, row_ridge=float(w))
    >>> bool(np.linalg.eigvalsh(problem.hessian([0.05, 0.05]).to_dense())[0] >= 1e-3)
    True
    """
    curvature = _validate.number(curvature, "curvature")
    radius = _validate.number(radius, "radius")
    options.pop("row_ridge", None)
    problem = SoftResProblem(A, b, **options)
    point = problem.at(np.zeros(problem.shape[1]) if x is None else x)
    weight = problem.group_weights
    if (weight == 0.0).any():
        g = int(np.argmin(weight))
        raise ValueError(
            f"group_weights must be > 0 here, got 0 at group {g}: a row ridge there counts nothing"
        )
    sigma = _smallest_singular_value(point)
    if sigma <= 0.0 and curvature > problem.ridge:
        raise ValueError(
            "A must have full column rank: along a direction that A does not see no row ridge adds "
            "curvature; use ridge"
        )
    needed = max(curvature - problem.ridge, 0.0)
    extra = needed / (sigma * sigma * float(weight.min())) if needed else 0.0
    with np.errstate(all="ignore"):
        if problem._rows.kl:
            return RowRidgeThreshold(extra, extra, curvature, radius, sigma)
        around = ball(point, norms(point, centred=False), radius)
        local = _most_negative(problem, around)
        overall = _papers(point, around, radius)
    outer = 1.0 + 1e-12
    return RowRidgeThreshold((local + extra) * outer, (overall + extra) * outer, curvature, radius, sigma)


def _most_negative(problem: SoftResProblem, around: Ball) -> float:
    """Largest over groups of -λ_min of what may be negative in H_z."""
    groups = problem._rows.groups
    more = outward(around.q.size)
    diagonal = np.maximum(-np.minimum.reduceat(around.low_eq, groups.ptr[:-1]), 0.0)
    qv = around.q * around.va
    # a b' + b a' has eigenvalues a·b ± ‖a‖‖b‖
    pair = np.sqrt(groups.sums(around.va**2) * groups.sums(qv * qv)) + groups.sums(around.va * qv)
    value = float(np.max(diagonal + pair * more))
    return value if math.isfinite(value) else math.inf


def _papers(point: Point, around: Ball, radius: float) -> float:
    """κ of MATH 8 for the largest group."""
    problem = point.problem
    data, groups = problem._rows, problem._rows.groups
    lam = problem.skip
    longest = float(norms(point, centred=False).raw.max())
    far = longest * (float(np.linalg.norm(point.x)) + radius)
    far += float(np.abs(data.offset).max()) if data.offset.size else 0.0
    n = np.diff(groups.ptr).astype(np.float64)
    E = np.exp(far)
    U, V = E + lam * far, E + lam
    beta = around.ball_alpha * np.exp(point.normaliser.shift) if lam else n * np.exp(-far)
    F = np.sqrt(n) * U / beta
    Q = (F + np.sqrt(groups.sums(data.b * data.b))) * (1.0 + F)
    P = (np.sqrt(n) * V * (Q + F) + 0.5 * F**2 * np.sqrt(n) * V) / beta**2
    value = float(np.max(E * Q / beta + V**2 / beta**2 + 2.0 * np.sqrt(n) * V * P))
    return value if math.isfinite(value) else math.inf


def _smallest_singular_value(point: Point) -> float:
    """Of A, from below: its square less what rounding of the Gram matrix may add."""
    n, d = point.problem.shape
    work = passes.Gram.uncentred(np.ones(n), d)
    values = np.linalg.eigvalsh(passes.symmetric(walk(point.problem._source, work)[0], d))
    least = float(values[0]) - (n + 8 * d) * UNIT * float(values.sum())
    return math.sqrt(least) if least > 0.0 else 0.0
