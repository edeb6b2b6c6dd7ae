"""When a point is a solution, and what it is when it is not (MATH 7)."""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np

from ..kernels import judging
from ..point import Point, Scales

#: A Newton decrement below this share of the loss (or of ½‖b‖² at a perfect fit) cannot change the fit.
DECREMENT = judging.DECREMENT
#: float32 sums leave a relative gradient of about this size; asking for less would never end.
FLOAT32_TOL = 1e-6


class Status(enum.IntEnum):
    """Why a run ended; 0 is the only success."""

    CONVERGED = 0
    MAXITER = 1
    PLATEAU = 2
    STALLED = 3
    UNBOUNDED = 4
    BARRIER = 5
    STOPPED = 6
    TIME = 7
    LEFT = 8  # a run among several that was bound for a minimum already known, or for none better


class Measures(NamedTuple):
    """First-order measures, free of every scale: units of columns, n, the loss and the start."""

    gradient: float  # largest |grad_j| against the sizes of the terms that cancel in it (m1)
    plateau: float  # ‖grad‖ against the rows' contributions (m2): stays near 1 on a plateau
    misfit: float  # ‖f - b‖² / ‖b‖²; for the likelihood the divergence from b over sum(b)

    def first_order(self, tol: float) -> bool:
        """A stationary point that is not a plateau: rows that cancel, or nothing left to fit."""
        return self.gradient <= tol and (self.plateau <= np.sqrt(tol) or self.misfit <= tol)


def unexplained(point: Point) -> float:
    """‖f - b‖², or twice the likelihood's divergence from b: twice the objective without its penalties."""
    problem = point.problem
    loss = 2.0 * (point.value - problem._floor) - problem.ridge * float(point.x @ point.x)
    data = problem._rows
    if data.ridged:
        penalty = data.w * (point.z * point.z)
        groups = data.groups
        loss -= float((groups.weight * groups.sums(penalty)).sum() if groups.weight.size else penalty.sum())
    return loss


def misfit(point: Point) -> float:
    """‖f - b‖² / ‖b‖²; for the likelihood the divergence from b over sum(b)."""
    loss, bb = unexplained(point), point.problem._bb
    return max(loss, 0.0) / bb if bb > 0.0 else (0.0 if loss <= 0.0 else np.inf)


def measure(point: Point, scales: Scales) -> Measures:
    """The measures at a point."""
    problem = point.problem
    loss, bb = unexplained(point), problem._bb
    return Measures(*judging.measures(point.grad, scales.terms, scales.rows, loss, bb, problem.ridge))


def negligible(point: Point, shares: tuple[float, float] = DECREMENT) -> float:
    """The Newton decrement that a minimum may still promise: shares of the objective and of ½‖b‖²."""
    return shares[0] * (point.value - point.problem._floor) + shares[1] * 0.5 * point.problem._bb


def tolerance(tol: float, dtype: np.dtype) -> float:
    """The tolerance that this storage can meet."""
    return max(tol, FLOAT32_TOL) if dtype == np.float32 else tol
