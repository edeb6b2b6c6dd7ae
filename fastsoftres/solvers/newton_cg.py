"""Inexact Newton steps by conjugate gradients: one read of A a product, preconditioned by a row sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..point import Point, Scales
from .evaluator import Evaluator
from .newton import NewtonStep, Step
from .sampler import Sampler, Sampling
from .secondorder import SHARE, proven_definite
from .stopping import measure, negligible

#: Up to this many columns the Hessian is assembled where it must be known: n d² operations, and d x d
#: numbers.
ASSEMBLED_COLUMNS = 2000
#: Rows sampled for the preconditioner, for each column and at least. The error of the sample falls with the
#: root of rows over columns; a product contracts by about 0.05 at 384 (docs/solver.md).
_ROWS_PER_COLUMN = 384
#: Fewer where that is more than this share of the rows, but not fewer than these.
_MOST_SHARE = 0.1
_LEAST_ROWS_PER_COLUMN = 16
_LEAST_ROWS = 4000
#: Residual left of a step: at most, and when its gradient is this share of what is asked for at the end.
_FORCING = 0.1
_ENOUGH = 0.3
#: Residual never asked for: below it products on an ill-conditioned Hessian bring in rounding.
_LEAST_FORCING = 1e-4
_MAX_PRODUCTS = 200
#: Entries of A below which a fit takes milliseconds by any method.
_LARGE = 1e6


def pays(n: int, d: int) -> bool:
    """Is this faster than assembling the Hessian? Measured in docs/solver.md."""
    return d > ASSEMBLED_COLUMNS or (n * d >= _LARGE and _ROWS_PER_COLUMN * d <= _MOST_SHARE * n)


def preconditioning_rows(n: int, d: int) -> int:
    """Rows that are worth drawing for a preconditioner."""
    return max(_LEAST_ROWS_PER_COLUMN * d, _LEAST_ROWS, min(_ROWS_PER_COLUMN * d, int(_MOST_SHARE * n)))


class SampledStep:
    """What steps from a sampled Hessian share: the sample, and how a point that may be the last is judged."""

    #: A step is first tried whole: its z is then known from x in the read that gives the gradient.
    bold = True

    def __init__(self, evaluator: Evaluator, tol: float, sampler: Sampler):
        self.evaluator = evaluator
        self.tol = tol
        self.sampler = sampler
        self.exact: NewtonStep | None = None  # judges where the cheap proof fails
        self.proven = False
        self._t = np.zeros(evaluator.problem.shape[1])

    def propose(self, point: Point, scales: Scales, radius: float, careful: bool) -> Step:
        """A step at a point."""
        raise NotImplementedError

    def memory(self) -> dict[str, Any]:
        """The sample."""
        return self.sampler.memory()

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from there."""
        self.sampler.recall(memory)

    def again(self, radius: float) -> Step:
        """A shorter step in the same direction."""
        self._t = 0.1 * self._t
        return Step(self._t, float("nan"), 0.0, np.inf, 0.0, self._t.size, 0.0, False)

    def _last(self, point: Point, scales: Scales, radius: float) -> Step | None:
        """What is left to gain and the curvature at a point that may be a minimum; None to go on.

        Where the rows cancel and the sampled Hessian says that next to nothing is left, exact products on
        random vectors prove that H is definite; in all other cases it is assembled, if d is not too large.
        Factors of the Hessian itself (``eliminate``) need no proof.
        """
        sampler = self.sampler
        s = sampler.solve(-point.grad)
        if sampler.definite:
            self.proven, self._t = True, s
            gain = -float(point.grad @ s)
            return Step(s, float("nan"), gain, 0.5 * gain, 1.0, s.size, 0.0, False)
        decrement = -0.5 * float(point.grad @ s) / SHARE
        measures = measure(point, scales)
        # (a perfect fit may be a march to infinity: how long Newton's step is tells)
        large = point.x.size > ASSEMBLED_COLUMNS
        plain = large or (measures.plateau <= np.sqrt(self.tol) and measures.misfit > self.tol)
        if plain and sampler.full and sampler.L is not None:
            if decrement > negligible(point):
                return None
            self.proven = proven_definite(
                lambda T: self.evaluator.hessp(point, T), sampler.L, sampler.norms, sampler.solve, sampler.rng
            )
            if self.proven:
                self._t = s
                return Step(s, float("nan"), -float(point.grad @ s), decrement, SHARE, s.size, 0.0, False)
        return self.exactly(point, scales, radius)

    def exactly(self, point: Point, scales: Scales, radius: float) -> Step | None:
        """The step from the assembled Hessian, if d is not too large."""
        if point.x.size > ASSEMBLED_COLUMNS:
            return None
        if self.exact is None:
            self.exact = NewtonStep(self.evaluator, point)
        step = self.exact.propose(point, scales, radius, careful=True)
        self._t = step.t
        return step


class ConjugateGradientStep(SampledStep):
    """Newton steps without an assembled Hessian, truncated where curvature turns negative.

    The residual asked for falls with the square of the last gain, as Newton's own error does (Eisenstat and
    Walker 1996), and no further than ``tol`` needs. Step control is the line search's: it bounds ‖A t‖_inf.

    Parameters
    ----------
    evaluator : Evaluator
    tol : float
        Of the relative gradient.
    sampling : Sampling, optional
        By default rows in proportion to their weights.
    preconditioned : bool
        False is for comparison.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        tol: float,
        sampling: Sampling | None = None,
        *,
        preconditioned: bool = True,
    ):
        if sampling is None:
            rows = preconditioning_rows(*evaluator.problem.shape)
            sampling = Sampling("magnitude", rows, np.random.default_rng(0))
        super().__init__(evaluator, tol, Sampler(evaluator, sampling))
        self.preconditioned = preconditioned
        self._size: float | None = None

    def memory(self) -> dict[str, Any]:
        """The sample, the size of the last gradient and, once the Hessian was assembled, the metric."""
        exact = {} if self.exact is None else self.exact.memory()
        return {"size": self._size, **self.sampler.memory(), **exact}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from there."""
        self._size = memory["size"]
        self.sampler.recall(memory)
        if "metric" in memory:
            self.exact = NewtonStep.of(self.evaluator, memory["metric"])

    def propose(self, point: Point, scales: Scales, radius: float, careful: bool) -> Step:
        """A step at a point: one read for each product."""
        if self.preconditioned:
            self.sampler.update(point)
        if careful:
            step = self._last(point, scales, radius)
            if step is not None:
                return step
        before, g, solve = self._size, point.grad, self.sampler.solve
        terms = np.where(scales.terms > 0.0, scales.terms, np.inf)
        # where b is fitted perfectly the gradient's last digits are still digits of x
        enough = _ENOUGH * self.tol if measure(point, scales).misfit > self.tol else 0.0
        t = np.zeros_like(g)
        r = -g
        s = solve(r)
        rho = float(r @ s)
        self._size = size = float(np.sqrt(max(rho, 0.0)))
        forcing = _FORCING if not before else min(_FORCING, max(_LEAST_FORCING, (size / before) ** 2))
        p, lowest = s, np.inf
        for _ in range(min(_MAX_PRODUCTS, 2 * g.size + 10)):
            if not rho > 0.0:
                break
            Hp = self.evaluator.hessp(point, p)
            curvature = float(p @ Hp)
            lowest = min(lowest, curvature / rho)  # against the preconditioner: 1 where it is exact
            if curvature <= 1e-12 * rho:
                if careful:  # the gradient has no size left that a step could take: to the edge of the ball
                    y = self.evaluator.times(p)
                    length = float(np.sqrt(np.mean(y * y)))
                    t = t + p * (radius / length if length > 0.0 else 1.0)
                elif not np.any(t):
                    t = p.copy()
                break
            alpha = rho / curvature
            t = t + alpha * p
            r = r - alpha * Hp
            s = solve(r)
            rho, last = float(r @ s), rho
            if np.sqrt(max(rho, 0.0)) <= forcing * size:
                break
            if np.max(np.abs(r) / terms) <= enough:
                break
            p = s + (rho / last) * p
        self._t = t
        along = float(g @ t)
        lowest = min(lowest, 1.0) if lowest < np.inf else 0.0
        return Step(t, float("nan"), -along, max(-0.5 * along, 0.0), lowest, g.size, 0.0, False)
