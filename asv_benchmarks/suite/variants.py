"""The variants of the experiment on globalisation: a stepper, and how far it may go."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import fastsoftres as fs
from fastsoftres.kernels import judging
from fastsoftres.point import OutOfDomainError
from fastsoftres.solvers import descent
from fastsoftres.solvers.descent import Reach, State, begin
from fastsoftres.solvers.evaluator import Evaluator
from fastsoftres.solvers.newton import NewtonStep
from fastsoftres.solvers.stopping import Status

from . import steppers

TOL = 1e-8
MOST_ITERATIONS = 200
_STAGES = 4
_STAGE_ITERATIONS = 10
_STAGE_TOL = 1e-2


class Fit(NamedTuple):
    """Where a run ended and what it took."""

    fun: float
    status: Status
    iterations: int
    reads: int


@dataclasses.dataclass
class RadiusOnly(Reach):
    """The trust region's radius, and no bound on the largest change."""

    def __post_init__(self) -> None:
        self.cap = math.inf

    def update(self, length, largest, eta, agreement):
        """As in the package, the cap aside."""
        super().update(length, largest, eta, agreement)
        self.cap = math.inf


@dataclasses.dataclass
class CapOnly(Reach):
    """The bound on the largest change, and no radius."""

    radius: float = judging.MAX_RADIUS

    def update(self, length, largest, eta, agreement):
        """As in the package, the radius aside."""
        super().update(length, largest, eta, agreement)
        self.radius = judging.MAX_RADIUS


@dataclasses.dataclass
class CubicReach(RadiusOnly):
    """``radius`` is the inverse of the cubic's weight: twice for a good model, a quarter for a bad one."""

    def update(self, length, largest, eta, agreement):
        """Judged by agreement and by how the search changed the step."""
        if agreement > 0.9 or eta > 1.0:
            self.radius = min(2.0 * self.radius, judging.MAX_RADIUS)
        elif agreement < 0.1 or eta < 0.25:
            self.radius *= 0.25


class Variant(NamedTuple):
    """How steps are made and bounded."""

    stepper: Callable[[Evaluator, object], descent.Stepper]
    reach: Callable[[], Reach]
    stages: int = 1


VARIANTS = {
    "a trust region and cap (ours)": Variant(NewtonStep, Reach),
    "b trust region only": Variant(NewtonStep, RadiusOnly),
    "c cap and smallest shift": Variant(steppers.Shift, CapOnly),
    "d cubic regularisation": Variant(steppers.Cubic, CubicReach),
    "e Levenberg-Marquardt, then exact": Variant(steppers.GaussNewton, Reach),
    "f absolute eigenvalues and cap": Variant(steppers.SaddleFree, CapOnly),
    "g continuation in b (ours, 4 stages)": Variant(NewtonStep, Reach, _STAGES),
    "h exact where convex, else Gauss-Newton": Variant(steppers.ConvexElse, Reach),
}


def fit(problem: fs.SoftResProblem, x: np.ndarray, variant: Variant) -> Fit | None:
    """One run from x; None where the objective is undefined there."""
    try:
        first = problem.at(x)
    except OutOfDomainError:
        return None
    iterations = reads = 0
    for stage in range(1, variant.stages):
        b = first.f + (stage / variant.stages) * (problem.b - first.f)
        part = fs.SoftResProblem(
            problem.A, b, skip=problem.skip, ridge=problem.ridge, row_ridge=problem.row_ridge
        )
        evaluator, state, _ = _run(part, x, variant, _STAGE_TOL, _STAGE_ITERATIONS)
        x, iterations, reads = state.point.x, iterations + state.nit, reads + evaluator.passes
    evaluator, state, status = _run(problem, x, variant, TOL, MOST_ITERATIONS)
    return Fit(state.point.value, status, iterations + state.nit, reads + evaluator.passes)


def _run(
    problem: fs.SoftResProblem, x: np.ndarray, variant: Variant, tol: float, maxiter: int
) -> tuple[Evaluator, State, Status]:
    """``descend`` with the variant's own bounds."""
    evaluator = Evaluator(problem)
    state = begin(evaluator, evaluator.place(x))
    stepper = variant.stepper(evaluator, state.point)
    tol = max(tol, 1e-6) if problem.dtype == np.float32 else tol
    original, descent.Reach = descent.Reach, variant.reach  # descend makes its own
    try:
        status = descent.descend(evaluator, stepper, state, tol, maxiter, lambda state: False, math.inf)
    finally:
        descent.Reach = original
    return evaluator, state, status
