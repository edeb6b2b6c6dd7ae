"""The runs behind one ``solve``: from one start or several, and which of them is believed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..point import Point
from . import starts
from .approximate import EPSILON, ApproximateNewtonStep
from .checkpoint import Checkpoint, Saved
from .descent import State, begin, descend, judge
from .evaluator import Evaluator
from .lbfgs import lbfgs
from .newton import NewtonStep
from .newton_cg import ASSEMBLED_COLUMNS, ConjugateGradientStep, SampledStep
from .report import Run, build_result, reporter
from .sampler import Sampling
from .starts import Start
from .stopping import Status
from .wide import FACTORED_COLUMNS

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

# When is one run from the best start believed? Measured on the problem suite (docs/solver.md): it never ended
# in a wrong minimum where b was reproduced, or where the closed form was already close to what it led to.
#: Share of ‖b‖² left unexplained that still counts as reproduced.
REPRODUCED = 1e-5
#: Share that may be noise, if the start's objective is within the factor of the minimum's.
NOISY = 0.3
CLOSE_START = 2.0
#: With fewer rows than this for each column x can nearly interpolate b, in many ways.
ROWS_PER_COLUMN = 8
#: Entries of A up to which more runs are affordable, how many, and how often the lowest must be met.
MANY_STARTS_SIZE = 400_000
_MOST_STARTS = 30
_ENOUGH_HITS = 8
#: Newton decrement that a first-order method may leave, as a share of the objective and of ½‖b‖².
_FIRST_ORDER = (1e-7, 1e-10)


class Job:
    """One call of ``solve``: its runs from several starts, and the best of them."""

    def __init__(
        self,
        evaluator: Evaluator,
        method: str,
        tol: float,
        maxiter: int,
        callback: Callable[..., Any] | None,
        disp: bool,
        deadline: float,
        sampling: Sampling | None = None,
        epsilon: float = EPSILON,
    ):
        self.sampling, self.epsilon = sampling, epsilon
        self.evaluator = evaluator
        self.method = method
        self.tol = tol
        self.maxiter = maxiter
        self.callback = callback
        self.disp = disp
        self.deadline = deadline
        self.checkpoint: Checkpoint | None = None
        self.state: State | None = None
        self.runs: list[Run] = []

    def run(self, start: Start) -> Run:
        """Descend from a start."""
        return self._descend(start.name, begin(self.evaluator, start.point))

    def resume(self, saved: Saved) -> Run:
        """Go on from a checkpoint."""
        return self._descend(saved.start, saved.state, saved.memory)

    def _descend(self, name: str, state: State, memory: dict[str, Any] | None = None) -> Run:
        self.state, self._start = state, name
        report = reporter(self.callback, self.disp, state)
        limits = (self.tol, self.maxiter, report, self.deadline)
        stepper: NewtonStep | SampledStep | None = None
        if self.method == "lbfgs":
            status = lbfgs(self.evaluator, state, *limits)
        else:
            stepper = self._stepper(state.point)
            if self.checkpoint is not None:
                if memory is not None:
                    self.checkpoint.recount()
                if memory:  # of rows on a cluster none is kept
                    stepper.recall(memory)
                limits = (self.tol, self.maxiter, self.checkpoint.after(report, name, stepper), self.deadline)
            status = descend(self.evaluator, stepper, state, *limits)
            if isinstance(stepper, SampledStep):
                stepper = stepper.exact or stepper
        state.refresh(self.evaluator)
        small = self.evaluator.problem.shape[1] <= ASSEMBLED_COLUMNS
        if self.method == "lbfgs" and status == Status.CONVERGED and small:
            stepper, status = self._verified(state)
        self.runs.append(Run(name, state, status, stepper))
        self.state = None
        return self.runs[-1]

    def _stepper(self, point: Point) -> NewtonStep | SampledStep:
        """What proposes steps."""
        wide = point.x.size > FACTORED_COLUMNS and self.evaluator.elimination(FACTORED_COLUMNS) is not None
        if self.method == "newton" and not wide:
            return NewtonStep(self.evaluator, point)
        if self.method == "newton-cg" or self.sampling is None:
            return ConjugateGradientStep(self.evaluator, self.tol, self.sampling)
        return ApproximateNewtonStep(self.evaluator, self.tol, self.sampling, self.epsilon)

    def _verified(self, state: State) -> tuple[NewtonStep, Status]:
        """The second-order test of a point that a method without a Hessian takes for a minimum."""
        stepper = NewtonStep(self.evaluator, state.point)
        state.last = stepper.propose(state.point, state.scales, 1.0, careful=True)
        status = judge(state, state.last, self.tol, _FIRST_ORDER)
        return stepper, Status.STALLED if status is None else status

    def over(self) -> bool:
        """Was the last run ended from outside?"""
        return self.runs[-1].status in (Status.STOPPED, Status.TIME)

    def best(self) -> Run:
        """The lowest run; of equally low ones (to rounding) the first, a success before others."""
        lowest = min(run.state.point.value for run in self.runs)
        slack = 1e-12 * lowest + 1e-17 * self.evaluator.problem._bb
        level = [run for run in self.runs if run.state.point.value <= lowest + slack]
        return min(level, key=lambda run: run.status != Status.CONVERGED)

    def result(self) -> OptimizeResult:
        """The result of the best run so far."""
        if self.state is not None:  # interrupted
            self.runs.append(Run(self._start, self.state, Status.STOPPED, None))
        return build_result(self.evaluator, self.best(), self.runs, self.method, self.tol)


def _level(point: Point, lowest: float) -> bool:
    """Is this the same minimum, as far as its value tells?"""
    return point.value <= lowest * (1.0 + 1e-7) + 1e-13 * 0.5 * point.problem._bb


def from_many(job: Job, n_starts: Any, rng: np.random.Generator) -> None:
    """Run from the closed form and zeros, and from random points where that may matter.

    One run is enough where it is beyond doubt or the problem is large; else further ones are made until the
    lowest value has been met often enough.
    """
    known = starts.choose(job.evaluator)
    n, d = job.evaluator.problem.shape
    supply = itertools.chain(known, starts.random_starts(job.evaluator, rng))
    if n_starts != "auto":
        for start in itertools.islice(supply, n_starts):
            job.run(start)
            if job.over():
                return
        return
    first = job.run(next(supply))
    if job.over() or _believed(first) or (n * d > MANY_STARTS_SIZE and first.status != Status.PLATEAU):
        return
    for start in itertools.islice(supply, _MOST_STARTS - 1):
        job.run(start)
        lowest = min(run.state.point.value for run in job.runs)
        hits = sum(_level(run.state.point, lowest) for run in job.runs)
        if job.over() or hits >= _ENOUGH_HITS:
            return


def _believed(run: Run) -> bool:
    """Is this minimum beyond doubt the best?"""
    if run.status != Status.CONVERGED:
        return False
    misfit = run.state.measures.misfit
    n, d = run.state.point.problem.shape
    if misfit > REPRODUCED and n < ROWS_PER_COLUMN * d:
        return False
    close = run.state.history[0]["fun"] <= CLOSE_START * run.state.point.value
    return misfit <= REPRODUCED or (misfit <= NOISY and close)
