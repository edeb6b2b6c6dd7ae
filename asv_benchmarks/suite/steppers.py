"""Other ways to keep Newton's method from going astray, as steppers of the package's own loop.

All see the same assembled Hessian in the same coordinates (whitened by A'A/n, so that lengths are root mean
squares of A t) and differ in how they turn eigenvalues v and gradient components c into a step.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from fastsoftres.point import Point, Scales
from fastsoftres.solvers import newton
from fastsoftres.solvers.newton import NewtonStep, Step

from .scaled import jacobian


class Spectral(NewtonStep):
    """A step from the spectrum; subclasses say which one in ``tau``."""

    def propose(self, point: Point, scales: Scales, radius: float, careful: bool) -> Step:
        """The step at a point; one assembly, always decomposed."""
        return super().propose(point, scales, radius, careful=True)

    def again(self, radius: float) -> Step:
        """What the package's step says of the model, with another t."""
        exact = super().again(radius)
        values, vectors, g, _ = self._eigen
        size = float(np.abs(values).max(initial=0.0))
        curved = np.abs(values) > newton._NOISE * values.size * size
        tau = np.zeros_like(g)
        if curved.any():
            tau[curved] = self.tau(values[curved], g[curved], radius)
        bend = float(tau[curved] @ (values[curved] * tau[curved]))
        t = self.whitening @ (vectors @ tau)
        return exact._replace(t=t, length=float(np.linalg.norm(tau)), bend=bend)

    def tau(self, v: np.ndarray, c: np.ndarray, radius: float) -> np.ndarray:
        """The step in the eigenvectors' coordinates; v ascends."""
        raise NotImplementedError


class Shift(Spectral):
    """Levenberg: shifted just enough to be positive definite; only the cap bounds the step."""

    def tau(self, v, c, radius):
        sigma = max(0.0, -1.1 * v[0] + 1e-8 * np.abs(v).max()) if v[0] <= 0.0 else 0.0
        return _clipped(-c / (v + sigma), radius)


class SaddleFree(Spectral):
    """Eigenvalues by absolute value (Dauphin et al. 2014); only the cap bounds the step."""

    def tau(self, v, c, radius):
        return _clipped(-c / np.abs(v), radius)


class Cubic(Spectral):
    """Adaptive cubic regularisation (Cartis, Gould and Toint 2011).

    The weight of the cubic is the largest curvature over ``radius``: free of the objective's scale.
    """

    def tau(self, v, c, radius):
        weight = float(np.abs(v).max()) / radius
        low = max(0.0, -v[0] / weight)
        norm = float(np.linalg.norm(c))
        if norm == 0.0:
            return np.zeros_like(c)

        def excess(length: float) -> float:
            return float(np.linalg.norm(c / (v + weight * length))) - length

        low = low * (1.0 + 1e-12) + 1e-300
        high = max(2.0 * low, np.sqrt(norm / weight))
        while excess(high) > 0.0:
            high *= 2.0
        if not excess(low) > 0.0:  # hard case: the gradient is blind to the most negative direction
            step = -c / np.where(v + weight * low > 1e-10 * np.abs(v).max(), v + weight * low, np.inf)
            step[0] = np.sqrt(max(low * low - float(step @ step), 0.0))
            return step
        return -c / (v + weight * brentq(excess, low, high, rtol=1e-10))


class GaussNewton(NewtonStep):
    """Levenberg-Marquardt in Moré's form, a trust region on Gauss-Newton; exact if the residual stays large.

    It turns to the exact Hessian when three steps in a row have each left more than half of the gradient and
    nine tenths of the objective.
    """

    exact = False
    _slow = 0
    _before = (np.inf, np.inf)

    def propose(self, point: Point, scales: Scales, radius: float, careful: bool) -> Step:
        """The step at a point; one assembly."""
        seen = scales.terms > 0.0
        now = float((np.abs(point.grad[seen]) / scales.terms[seen]).max(initial=0.0)), point.value
        self._slow = (
            self._slow + 1 if now[0] > 0.5 * self._before[0] and now[1] > 0.9 * self._before[1] else 0
        )
        self._before = now
        self.exact = self.exact or self._slow >= 3
        step = super().propose(point, scales, radius, careful)
        if self.exact or careful:
            return step
        self._H, self._eigen = _gauss_newton(point), None
        return self.again(radius)


class ConvexElse(NewtonStep):
    """The exact Hessian where it is positive definite, else Gauss-Newton: two assemblies there.

    After a Gauss-Newton step that left more than nine tenths of the objective the exact one has a turn,
    so that saddles are left.
    """

    _before = np.inf  # objective before the last step, if that was a Gauss-Newton one

    def propose(self, point: Point, scales: Scales, radius: float, careful: bool) -> Step:
        """The step at a point."""
        step = super().propose(point, scales, radius, careful)
        before, self._before = self._before, np.inf
        convex = self._eigen is None or self._eigen[0][0] > 0.0
        if careful or convex or 0.9 * before < point.value < before:
            return step
        self._before = point.value
        self.evaluator.counts["assembly"] += 1
        self._H, self._eigen = _gauss_newton(point), None
        return self.again(radius)


def _gauss_newton(point: Point) -> np.ndarray:
    problem, J = point.problem, jacobian(point)
    A = problem.A
    return J.T @ J + (A * problem.row_ridge[:, None]).T @ A + problem.ridge * np.eye(A.shape[1])


def _clipped(tau: np.ndarray, radius: float) -> np.ndarray:
    length = float(np.linalg.norm(tau))
    return tau * (radius / length) if length > radius else tau
