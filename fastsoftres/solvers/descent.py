"""The main loop: propose a step, search along it without reading A, move, judge."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..kernels import judging, rowstate
from ..point import Point, Scales
from ..runners import in_blocks
from .evaluator import Evaluator, Place
from .linesearch import search
from .newton import Step
from .stopping import DECREMENT, Measures, Status, measure, misfit

#: A last step that moves some z_i further than this is no convergence but a march to infinity.
_STRIDE = judging.STRIDE
#: A step that moves no z_i by more than this share of the largest is rounding.
_STILL = 1e-16
#: Misfits between which the gradient of the one-read evaluation is as good as that at known z: s = <c, f> is
#: a difference that cancels where f is b, and all is divided by alpha, which cancels at the barrier.
_ACCURATE = (1e-6, 1e2)


class Stepper(Protocol):
    """Proposes steps at a point."""

    @property
    def bold(self) -> bool:
        """Are its steps mostly taken whole?"""

    def propose(self, point: Point, scales: Scales, radius: float, careful: bool) -> Step:
        """A step at a new point; ``careful`` where it may be the last, to second order."""

    def again(self, radius: float) -> Step:
        """A step at the same point in another radius."""

    def exactly(self, point: Point, scales: Scales, radius: float) -> Step | None:
        """A step from the assembled Hessian, where ``propose`` gives another; else None."""

    def memory(self) -> dict[str, Any]:
        """What later steps depend on beside the point: arrays, numbers, generators of random numbers."""

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from what ``memory`` returned."""


@dataclasses.dataclass
class Reach:
    """How far a step may go: in root mean square of A t (radius) and in its largest entry (cap)."""

    radius: float = judging.RADIUS
    cap: float = judging.CAP

    def update(self, length: float, largest: float, eta: float, agreement: float) -> None:
        """Learn from a step of ``eta`` times ``length``; agreement is actual over predicted decrease."""
        self.radius, self.cap = judging.reach(self.radius, self.cap, length, largest, eta, agreement)


@dataclasses.dataclass
class State:
    """Where a run stands; the best point is the last one, since the objective never rises."""

    point: Point
    scales: Scales
    measures: Measures
    nit: int = 0
    step: float = 0.0
    largest_dz: float = 0.0
    strides: int = 0
    fresh: bool = True  # are the scales of this very point?
    inexact: bool = False  # are steps less than Newton's?
    drifted: bool = False  # has z been added to since it was computed from x?
    last: Step | None = None
    reach: Reach = dataclasses.field(default_factory=Reach)
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)

    def refresh(self, evaluator: Evaluator) -> None:
        """Measure the gradient by the scales of this point: one read."""
        if not self.fresh:
            self.scales, self.fresh = evaluator.scales(self.point), True
            self.measures = measure(self.point, self.scales)

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


def begin(evaluator: Evaluator, place: Place) -> State:
    """The state at a start."""
    point, scales = evaluator.gradient(*place)
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
    reach = state.reach
    state.inexact = stepper.bold
    while True:
        if state.measures.gradient <= tol and not state.fresh:
            state.refresh(evaluator)
        careful = state.measures.gradient <= tol
        step = stepper.propose(state.point, state.scales, reach.radius, careful)
        state.last = step
        verdict = judge(state, step, tol)
        if verdict is not None:
            return verdict
        if state.nit >= maxiter:
            return Status.MAXITER
        if time.monotonic() > deadline:
            return Status.TIME
        if not _move(evaluator, stepper, state, step, reach):
            verdict = _without_sample(evaluator, stepper, state, tol, reach)
            if verdict is not None:
                return verdict
        state.nit += 1
        state.record()
        if report(state):
            return Status.STOPPED


def _without_sample(
    evaluator: Evaluator, stepper: Stepper, state: State, tol: float, reach: Reach
) -> Status | None:
    """What a run is that finds no step, once the exact Hessian has been asked; None where that moved it."""
    state.refresh(evaluator)
    step = stepper.exactly(state.point, state.scales, reach.radius)
    if step is None:
        return _at_rest(state, tol)
    state.last = step
    verdict = judge(state, step, tol)
    if verdict is None and not _move(evaluator, stepper, state, step, reach):
        verdict = _at_rest(state, tol)
    return verdict


def judge(state: State, step: Step, tol: float, shares: tuple[float, float] = DECREMENT) -> Status | None:
    """A minimum, to first and second order? Else None, or what it is instead.

    ``shares``: as for ``negligible``.
    """
    measures, problem = state.measures, state.point.problem
    code, state.strides = judging.judge(
        *measures, state.point.value - problem._floor, problem._bb, step.length, step.decrement,
        step.curvature, step.strength, bool(step.saturated), state.largest_dz, state.strides, tol, *shares,
    )  # fmt: skip
    if code == Status.CONVERGED and state.inexact and measures.misfit <= tol and step.length > 0.1 * _STRIDE:
        return None  # steps have been short because they were cut short: does it stride?
    return None if code == judging.UNDECIDED else Status(code)


def _at_rest(state: State, tol: float) -> Status:
    """No step lowers the objective any more: a solution at the limit of rounding, or a plateau."""
    step = state.last
    known = (step.curvature, step.strength, bool(step.saturated)) if step is not None else (0.0, 0.0, False)
    sum_f = float(state.point.problem._rows.groups.sums(np.abs(state.point.f)).max())
    return Status(judging.at_rest(*state.measures, sum_f, step is not None, *known, tol))


def _accurate(point: Point) -> bool:
    """Is the gradient of the one-read evaluation good here?"""
    return _ACCURATE[0] < misfit(point) < _ACCURATE[1]


def _change(z: Any, before: Any, y: Any) -> tuple[Any, float, float, float]:
    """y = z - before where it is not given, its largest abs(y_i) and root mean square, largest abs(before_i).

    The largest is nan if some y_i is.
    """
    if not isinstance(before, np.ndarray):  # with the partitions of a collection
        y = z - before if y is None else y
        sizes = float(np.abs(y).max()), float(np.sqrt(np.mean(y * y))), float(np.abs(before).max())
        return y, *sizes
    z, y = (z, np.empty(z.size)) if y is None else (before[:0], y)

    def block(rows: slice) -> tuple[float, float, float]:
        return rowstate.change(z[rows] if z.size else z, before[rows], y[rows])

    largest, squares, size = np.array(in_blocks(y.size, block)).T
    return y, float(largest.max()), float(np.sqrt(squares.sum() / y.size)), float(size.max())


def _move(evaluator: Evaluator, stepper: Stepper, state: State, step: Step, reach: Reach) -> bool:
    """Take the step, shortened or lengthened along its line. False if no step is found."""
    point = state.point
    signs = np.sign(point.normaliser.alpha)
    for _ in range(4):
        if not np.any(step.t):
            return False
        trial = evaluator.whole(point.x + step.t) if stepper.bold and _accurate(point) else None
        if trial is not None and not _accurate(trial):
            trial = None
        y = evaluator.times(step.t) if trial is None else None
        y, largest, length, size = _change(None if trial is None else trial.z, point.z, y)
        t, slope = step.t, float(point.grad @ step.t)
        if slope > 0.0:  # a pure direction of negative curvature has no sign of its own
            t, y, slope, trial = -t, -y, -slope, None
        if largest == 0.0 or not np.isfinite(largest):
            return False
        cap = reach.cap / largest
        found = search(
            functools.partial(evaluator.along, point, t, y, whole=trial),
            point.value, min(slope, -1e-300), signs, min(1.0, cap), max(1.0, 4.0 * cap),
        )  # fmt: skip
        if found is not None:
            break
        reach.radius = 0.1 * length
        step = stepper.again(reach.radius)
    else:
        return False
    eta = found.eta
    if eta * largest <= _STILL * size:
        return False
    predicted = -eta * (slope + 0.5 * eta * step.bend)
    decrease = point.value - found.at.value
    whole = trial if eta == 1.0 else None
    state.fresh = state.drifted = whole is None
    if whole is None:
        state.point, state.scales = evaluator.gradient(point.x + eta * t, point.z + eta * y, found.at)
    else:
        state.point = whole
    state.measures = measure(state.point, state.scales)
    state.step = eta * length
    state.largest_dz = eta * largest
    state.last = None  # what it says is of the point that was left
    reach.update(length, largest, eta, decrease / predicted if predicted > 0.0 else 0.0)
    return True
