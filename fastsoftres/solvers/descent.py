"""The main loop: propose a step, search along it without reading A, move, judge."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..point import Point, Scales
from .evaluator import Evaluator
from .linesearch import search
from .newton import Step
from .stopping import Measures, Status, measure

#: No z_i moves further than this in one trial: e to this power is how much curvature may change.
_CAP = 5.0
#: First radius: root mean square change of z.
_RADIUS = 1.0
_MAX_RADIUS = 1e3
#: A Newton decrement below this share of the loss (or of ½‖b‖² at a perfect fit) cannot change the fit.
_DECREMENT = 1e-10
_DECREMENT_B = 1e-16
#: Curvature more negative than this share of the largest makes a stationary point a saddle.
_NEGATIVE = 1e-8


class Stepper(Protocol):
    """Proposes steps at a point."""

    def propose(self, point: Point, radius: float) -> Step:
        """A step at a new point."""

    def again(self, radius: float) -> Step:
        """A step at the same point in another radius."""


@dataclasses.dataclass
class State:
    """Where a run stands; the best point is the last one, since the objective never rises."""

    point: Point
    scales: Scales
    measures: Measures
    nit: int = 0
    step: float = 0.0
    largest_dz: float = 0.0
    last: Step | None = None
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)

    def record(self) -> None:
        """Append this iteration to the history."""
        self.history.append(
            {
                "nit": self.nit,
                "fun": self.point.value,
                "gradient": self.measures.gradient,
                "step": self.step,
                "largest_dz": self.largest_dz,
            }
        )


def begin(evaluator: Evaluator, point: Point) -> State:
    """The state at a start."""
    scales = evaluator.scales(point)
    state = State(point, scales, measure(point, scales))
    state.record()
    return state


def descend(
    evaluator: Evaluator,
    stepper: Stepper,
    state: State,
    tol: float,
    maxiter: int,
    report: Callable[[State], bool],
    deadline: float,
) -> Status:
    """Iterate until a test of ``judge`` fires. ``state`` always holds the best point.

    ``report`` is called at each iteration and stops the run by returning True.
    """
    radius = _RADIUS
    while True:
        step = stepper.propose(state.point, radius)
        state.last = step
        verdict = judge(state, step, tol)
        if verdict is not None:
            return verdict
        if state.nit >= maxiter:
            return Status.MAXITER
        if time.monotonic() > deadline:
            return Status.TIME
        moved = _move(evaluator, stepper, state, step, radius)
        if moved is None:
            return _at_rest(state, tol)
        radius = moved
        state.nit += 1
        state.record()
        if report(state):
            return Status.STOPPED


def judge(state: State, step: Step, tol: float) -> Status | None:
    """A minimum, to first and second order? Else None, or what it is instead."""
    measures, point = state.measures, state.point
    if measures.gradient > tol:
        return None
    floor = _DECREMENT * point.value + _DECREMENT_B * 0.5 * point.problem._bb
    settled = step.decrement <= floor and step.curvature >= -_NEGATIVE
    if measures.first_order(tol):
        return Status.CONVERGED if settled else None
    if settled and measures.plateau > 0.1 and measures.gradient <= 1e-3 * tol:
        return Status.PLATEAU
    return None


def _at_rest(state: State, tol: float) -> Status:
    """No step lowers the objective any more: a solution at the limit of rounding, or a plateau."""
    if state.measures.first_order(tol) and (state.last is None or state.last.curvature >= -_NEGATIVE):
        return Status.CONVERGED
    if state.measures.gradient <= tol:
        return Status.PLATEAU
    return Status.STALLED


def _move(
    evaluator: Evaluator, stepper: Stepper, state: State, step: Step, radius: float
) -> float | None:
    """Take the step, shortened or lengthened along its line. The next radius, or None if none is found."""
    point = state.point
    sign = float(point.normaliser.alpha[0])
    for _ in range(4):
        if not np.any(step.t):
            return None
        y = evaluator.times(step.t)
        largest = float(np.abs(y).max())
        slope = float(point.grad @ step.t)
        t = step.t
        if slope > 0.0:  # a pure direction of negative curvature has no sign of its own
            t, y, slope = -t, -y, -slope
        if largest == 0.0 or not np.isfinite(largest):
            return None
        cap = _CAP / largest
        found = search(
            lambda eta, t=t, y=y: evaluator.along(point, t, y, eta),
            point.value, min(slope, -1e-300), sign, min(1.0, cap), max(1.0, 4.0 * cap),
        )  # fmt: skip
        if found is not None:
            break
        radius = 0.1 * step.length
        step = stepper.again(radius)
    else:
        return None
    x, z = point.x + found.eta * t, point.z + found.eta * y
    state.point, state.scales = evaluator.gradient(x, z, found.at)
    state.measures = measure(state.point, state.scales)
    state.step = found.eta * step.length
    state.largest_dz = found.eta * largest
    return _next_radius(radius, step.length, found.eta)


def _next_radius(radius: float, length: float, eta: float) -> float:
    """Twice what the line search was content with, never more than doubling."""
    if eta >= 1.0:
        return min(max(radius, 2.0 * eta * length), _MAX_RADIUS)
    return max(2.0 * eta * length, 1e-3 * radius)
