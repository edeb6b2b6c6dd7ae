"""When a point is a solution, and what it is when it is not (MATH 7)."""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np

from ..point import Point, Scales

#: A Newton decrement below this share of the loss (or of ½‖b‖² at a perfect fit) cannot change the fit.
DECREMENT = (1e-10, 1e-16)
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


class Measures(NamedTuple):
    """First-order measures, free of every scale: units of columns, n, the loss and the start."""

    gradient: float  # largest |grad_j| against the sizes of the terms that cancel in it (m1)
    plateau: float  # ‖grad‖ against the rows' contributions (m2): stays near 1 on a plateau
    misfit: float  # ‖f - b‖² / ‖b‖²; for the likelihood the divergence from b over sum(b)

    def first_order(self, tol: float) -> bool:
        """A stationary point that is not a plateau: rows that cancel, or nothing left to fit."""
        return self.gradient <= tol and (self.plateau <= np.sqrt(tol) or self.misfit <= tol)


def misfit(point: Point) -> float:
    """‖f - b‖² / ‖b‖²; for the likelihood the divergence from b over sum(b)."""
    problem = point.problem
    loss = 2.0 * (point.value - problem._floor) - problem.ridge * float(point.x @ point.x)
    data = problem._rows
    if data.ridged:
        penalty = data.w * (point.z * point.z)
        groups = data.groups
        loss -= float(groups.weight @ groups.sums(penalty)) if groups.weight.size else float(penalty.sum())
    bb = problem._bb
    return max(loss, 0.0) / bb if bb > 0.0 else (0.0 if loss <= 0.0 else np.inf)


def measure(point: Point, scales: Scales) -> Measures:
    """The measures at a point."""
    size = np.abs(point.grad)
    seen = scales.terms > 0.0  # in units in which every column's terms have size 1
    relative, rows = size[seen] / scales.terms[seen], scales.rows[seen] / scales.terms[seen]
    total = float(np.linalg.norm(rows))
    return Measures(
        float(relative.max(initial=0.0)),
        # rows that contribute exactly nothing have not cancelled: f is saturated, or it fits
        float(np.linalg.norm(relative)) / total if total > 0.0 else float(seen.any()),
        misfit(point),
    )


def negligible(point: Point, shares: tuple[float, float] = DECREMENT) -> float:
    """The Newton decrement that a minimum may still promise: shares of the objective and of ½‖b‖²."""
    return shares[0] * (point.value - point.problem._floor) + shares[1] * 0.5 * point.problem._bb


def tolerance(tol: float, dtype: np.dtype) -> float:
    """The tolerance that this storage can meet."""
    return max(tol, FLOAT32_TOL) if dtype == np.float32 else tol
