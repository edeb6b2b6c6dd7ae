"""A problem as a general solver likes it: variables and objective of order one."""

from __future__ import annotations

import time

import numpy as np

import fastsoftres as fs
from fastsoftres import Point

#: The value where the objective is undefined; values are of order one.
LARGE = 1e10


class TimeUpError(Exception):
    """The time allowed to one solver is over."""


class Scaled:
    """L(y / norms) / L(0), norms the columns' root mean squares; a point is evaluated once and kept.

    Evaluations are the problem's own, so solvers differ in what they do with them and in nothing else.
    ``lowest`` is the best y seen.
    """

    def __init__(self, problem: fs.SoftResProblem, seconds: float):
        self.problem = problem
        A = np.asarray(problem.A, dtype=np.float64)
        norms = np.sqrt(np.mean(A * A, axis=0))
        self.norms = np.where(norms > 0.0, norms, 1.0)
        self.size = problem.value(np.zeros(problem.shape[1]))
        self.seconds = seconds
        self.start()

    def start(self) -> np.ndarray:
        """Forget the past, start the clock, and give the starting point."""
        zeros = np.zeros(self.problem.shape[1])
        self._y: np.ndarray | None = None
        self._point: Point | None = None
        self.lowest, self._least = zeros, np.inf
        self._deadline = time.perf_counter() + self.seconds
        return zeros

    def x(self, y: np.ndarray) -> np.ndarray:
        """In the problem's own units."""
        return y / self.norms

    def at(self, y: np.ndarray) -> Point | None:
        """The point at y, None where the objective is undefined."""
        if self._y is None or not np.array_equal(y, self._y):
            if time.perf_counter() > self._deadline:
                raise TimeUpError
            try:
                self._point = self.problem.at(self.x(y))
            except ValueError:  # undefined, or y is not finite
                self._point = None
            self._y = y.copy()
            if self._point is not None and self._point.value < self._least:
                self.lowest, self._least = self._y, self._point.value
        return self._point

    def value_and_grad(self, y: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective and its gradient."""
        point = self.at(y)
        if point is None:
            return LARGE, np.zeros_like(y)
        return point.value / self.size, point.grad / self.norms / self.size

    def hessp(self, y: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The Hessian times t."""
        point = self.at(y)
        return np.zeros_like(t) if point is None else point.hessp(t / self.norms) / self.norms / self.size

    def hessian(self, y: np.ndarray) -> np.ndarray:
        """The Hessian, assembled."""
        point = self.at(y)
        if point is None:
            return np.zeros((y.size, y.size))
        return point.hessian().to_dense() / self.norms[:, None] / self.norms / self.size

    def residuals(self, y: np.ndarray) -> np.ndarray:
        """What half the sum of squares of is the objective."""
        problem, point = self.problem, self.at(y)
        if point is None:
            return np.full(
                problem.shape[0] * (1 + problem.row_ridge.any()) + y.size * (problem.ridge > 0), LARGE
            )
        parts = [point.f - problem.b]
        if problem.row_ridge.any():
            parts.append(np.sqrt(problem.row_ridge) * point.z)
        if problem.ridge:
            parts.append(np.sqrt(problem.ridge) * point.x)
        return np.concatenate(parts) / np.sqrt(self.size)

    def jacobian(self, y: np.ndarray) -> np.ndarray:
        """Derivative of the residuals."""
        problem, point = self.problem, self.at(y)
        if point is None:
            return np.zeros((self.residuals(y).size, y.size))
        parts = [jacobian(point)]
        if problem.row_ridge.any():
            parts.append(np.sqrt(problem.row_ridge)[:, None] * problem.A)
        if problem.ridge:
            parts.append(np.sqrt(problem.ridge) * np.eye(y.size))
        return np.vstack(parts) / self.norms / np.sqrt(self.size)


def jacobian(point: Point) -> np.ndarray:
    """df/dx (n, d): v/alpha * a - f mu', mu = A'v/alpha."""
    A, va = point.problem.A, point.curvature.va
    J = va[:, None] * A
    J -= point.f[:, None] * (va @ A)
    return J
