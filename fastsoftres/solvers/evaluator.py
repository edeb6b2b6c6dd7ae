"""The problem as a solver sees it: every read of A is counted, by kind."""

from __future__ import annotations

from collections import Counter

import numpy as np

from .. import passes
from .. import point as points
from ..point import LinePoint, Point, Scales
from ..problem import SoftResProblem
from ..runners import walk


class Evaluator:
    """Evaluations of one problem, with the number of times each kind has read A."""

    def __init__(self, problem: SoftResProblem):
        self.problem = problem
        self.counts: Counter[str] = Counter()
        self.evaluations = 0
        self._metric: np.ndarray | None = None

    def metric(self) -> np.ndarray:
        """A'A/n (d, d): what a step does to z in mean square. Assembled once for all runs."""
        if self._metric is None:
            n, d = self.problem.shape
            self._metric = self.gram(np.zeros(d), np.full(n, 1.0 / n))
        return self._metric

    @property
    def passes(self) -> int:
        """Reads of A so far."""
        return sum(self.counts.values())

    def at(self, x: np.ndarray) -> Point:
        """The point at x, its z computed from x."""
        self.counts["value_and_grad"] += 1
        self.evaluations += 1
        return points.evaluate(self.problem, x.copy())

    def along(self, point: Point, t: np.ndarray, y: np.ndarray, eta: float) -> LinePoint | None:
        """The objective at point + eta*t: no read."""
        self.evaluations += 1
        return points.along(self.problem, point.x, t, point.z, y, eta)

    def gradient(self, x: np.ndarray, z: np.ndarray, line: LinePoint) -> tuple[Point, Scales]:
        """The point where z = A x is known, and the scales of its gradient."""
        self.counts["value_and_grad"] += 1
        return points.at_known_z(self.problem, x, z, line)

    def scales(self, point: Point) -> Scales:
        """The scales of the gradient of a point that was evaluated from x."""
        here = LinePoint(point.value, 0.0, *(float(v[0]) for v in point.normaliser))
        return self.gradient(point.x.copy(), point.z.copy(), here)[1]

    def times(self, t: np.ndarray) -> np.ndarray:
        """A @ t."""
        self.counts["product"] += 1
        return points.products(self.problem, t)

    def hessp(self, point: Point, t: np.ndarray) -> np.ndarray:
        """Hessian times t."""
        self.counts["hessp"] += 1
        return point.hessp(t)

    def hessian(self, point: Point) -> np.ndarray:
        """The assembled Hessian."""
        self.counts["assembly"] += 1
        return point.hessian().to_dense()

    def gram(self, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """sum weight_i (a_i - mean)(a_i - mean)' (d, d)."""
        return self.moments(mean, weight, None)[0]

    def moments(
        self, mean: np.ndarray, weight: np.ndarray, h: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The weighted Gram matrix of the rows about ``mean``, and C' h."""
        self.counts["assembly"] += 1
        work = passes.Gram(mean, weight, h, A_dtype=self.problem.dtype)
        H, k = walk(self.problem._source, work)
        return passes.symmetric(H, mean.size), k[: mean.size]

    def transposed(self, w: np.ndarray) -> np.ndarray:
        """A.T @ w."""
        self.counts["product"] += 1
        return walk(self.problem._source, passes.TransposedTimes(w[None, :]))[0]
