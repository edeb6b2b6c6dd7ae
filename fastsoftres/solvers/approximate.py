"""Approximate Newton steps: the Hessian of a row sample in place of the Hessian, the gradient exact."""

from __future__ import annotations

import numpy as np

from ..point import Point, Scales
from .evaluator import Evaluator
from .newton import Step
from .newton_cg import SampledStep
from .sampler import Sampler, Sampling

#: Error of the sampled Gauss-Newton matrix that is asked for unless told: a sample of this size is small beside
#: 1e5 rows and more, and a step leaves about half of it of the gradient (docs/sampling.md).
EPSILON = 0.25
#: The gradient left by a whole step near a solution, against what is promised, from which the sample is enlarged.
_BROKEN = 1.5


class ApproximateNewtonStep(SampledStep):
    """Steps -P^-1 grad, P the sampled Hessian with the exact rank-one terms of the residual.

    Near a solution a whole step leaves at most about ``epsilon`` of the gradient, in the norm of P^-1: linear
    convergence, one read of A an iteration while the sample is kept. Where it leaves more, the sample is
    doubled.
    """

    def __init__(self, evaluator: Evaluator, tol: float, sampling: Sampling, epsilon: float = EPSILON):
        super().__init__(evaluator, tol, Sampler(evaluator, sampling, rank_one=True))
        self.epsilon = epsilon
        self._size: float | None = None

    def propose(self, point: Point, scales: Scales, radius: float, careful: bool) -> Step:
        """A step at a point: no read of A with the sample that there is."""
        if not self.sampler.update(point) and self._size is not None:
            left = self._measured(point)
            if left > _BROKEN * self.epsilon * self._size and 2 * self.sampler.draws < point.z.size:
                self.sampler.update(point, enlarge=True)
        self._size = self._measured(point)
        if careful:
            step = self._last(point, scales, radius)
            if step is not None:
                return step
        self._t = t = self.sampler.solve(-point.grad)
        along = float(point.grad @ t)
        return Step(t, float("nan"), -along, max(-0.5 * along, 0.0), 1.0, t.size, 0.0, False)

    def _measured(self, point: Point) -> float:
        """The gradient's norm by P^-1."""
        return float(np.sqrt(max(point.grad @ self.sampler.solve(point.grad), 0.0)))
