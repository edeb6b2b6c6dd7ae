"""Approximate Newton steps: the Hessian of a row sample in place of the Hessian, the gradient exact."""

from __future__ import annotations

import numpy as np

from ..point import Point, Scales
from .evaluator import Evaluator
from .newton import Step
from .newton_cg import SampledStep
from .sampler import Sampler, Sampling

#: Error of the sampled Gauss-Newton matrix that is asked for unless told: a sample of this size is small
#: beside 1e5 rows and more, and a step leaves about half of it of the gradient (docs/sampling.md).
EPSILON = 0.3
#: The gradient left by a whole step near a solution, against what is promised, from which the sample is
#: enlarged.
_BROKEN = 1.5
#: Changes of the gradient that are remembered: as many as iterations with one sample, rarely more.
_PAIRS = 12


class ApproximateNewtonStep(SampledStep):
    """Steps -P^-1 grad, P the sampled Hessian with the exact rank-one terms of the residual.

    Near a solution a whole step leaves at most about ``epsilon`` of the gradient, in the norm of P^-1: linear
    convergence, one read of A an iteration while the sample is kept. Where it leaves more, the sample is
    doubled. While it is kept, the changes of the exact gradient correct P^-1 (BFGS's update, Nocedal's two
    loops), which costs nothing and does for these steps what conjugate gradients do for products.
    """

    def __init__(self, evaluator: Evaluator, tol: float, sampling: Sampling, epsilon: float = EPSILON):
        super().__init__(evaluator, tol, Sampler(evaluator, sampling, rank_one=True))
        self.epsilon = epsilon
        self._size: float | None = None
        self._before: Point | None = None
        self._pairs: list[tuple[np.ndarray, np.ndarray, float]] = []

    def propose(self, point: Point, scales: Scales, radius: float, careful: bool) -> Step:
        """A step at a point: no read of A with the sample that there is."""
        new = self.sampler.update(point)
        if not new and self._size is not None:
            left = self._measured(point)
            if left > _BROKEN * self.epsilon * self._size and 2 * self.sampler.draws < point.z.size:
                new = self.sampler.update(point, enlarge=True)
        self._learn(point, new)
        self._size = self._measured(point)
        if careful:
            step = self._last(point, scales, radius)
            if step is not None:
                return step
        self._t = t = -self._corrected(point.grad)
        along = float(point.grad @ t)
        return Step(t, float("nan"), -along, max(-0.5 * along, 0.0), 1.0, t.size, 0.0, False)

    def _learn(self, point: Point, new: bool) -> None:
        """Keep what the last step changed the gradient by; a new sample starts from nothing."""
        before, self._before = self._before, point
        if new or before is None:
            self._pairs = []
            return
        s, y = point.x - before.x, point.grad - before.grad
        if float(s @ y) > 1e-8 * float(np.linalg.norm(s) * np.linalg.norm(y)):
            self._pairs = [*self._pairs[1 - _PAIRS :], (s, y, float(s @ y))]

    def _corrected(self, r: np.ndarray) -> np.ndarray:
        """P^-1 r, corrected by the pairs."""
        r = r.copy()
        along = []
        for s, y, sy in reversed(self._pairs):
            along.append(float(s @ r) / sy)
            r -= along[-1] * y
        t = self.sampler.solve(r)
        for (s, y, sy), a in zip(self._pairs, reversed(along), strict=True):
            t += (a - float(y @ t) / sy) * s
        return t

    def _measured(self, point: Point) -> float:
        """The gradient's norm by P^-1."""
        return float(np.sqrt(max(float(point.grad @ self.sampler.solve(point.grad)), 0.0)))
