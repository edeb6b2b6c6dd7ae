"""Newton steps from the assembled Hessian, in coordinates where a unit step moves z by one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import passes
from ..point import Point
from ..runners import walk
from .evaluator import Evaluator

#: Eigenvalues of the scaled Gram below this share of the largest are directions that A does not see.
_RANK = 1e-13
#: Curvature below this share of the largest is rounding of the assembly: no step is computed from it.
_NOISE = 1e-13


class Step(NamedTuple):
    """A proposed step and what its model says."""

    t: np.ndarray  # (d,)
    length: float  # root mean square of A t, as the trust region measures it
    decrement: float  # Newton decrement ½ g' |H|^-1 g over the curved directions; inf if not known
    curvature: float  # smallest eigenvalue over the largest in size
    rank: int  # directions with curvature


class Whitening:
    """x = T tau with ‖A T tau‖²/n = ‖tau‖²: free of columns' units and correlation, and of A's null space."""

    def __init__(self, evaluator: Evaluator):
        problem = evaluator.problem
        n, d = problem.shape
        work = passes.Gram(np.zeros(d), np.ones(n), A_dtype=problem.dtype, dtype=problem.dtype)
        evaluator.counts["assembly"] += 1
        gram = walk(problem._source, work)[0][:d, :d]
        gram = np.triu(gram) + np.triu(gram, 1).T
        norms = np.sqrt(np.diag(gram))
        norms[norms == 0.0] = np.inf  # a zero column never moves
        gram /= norms[:, None]
        gram /= norms
        values, vectors = np.linalg.eigh(gram)
        rank = _RANK if problem.dtype == np.float64 else 1e-6
        kept = values > rank * max(values[-1], 0.0)
        self.T = vectors[:, kept] / norms[:, None] / np.sqrt(values[kept] / n)
        self.column_norms = norms


class NewtonStep:
    """The minimiser of the exact quadratic model in a ball of the whitened space.

    An indefinite Hessian is no obstacle: the eigendecomposition gives the global minimiser (More and
    Sorensen 1983), and the smallest curvature for the second-order test.
    """

    def __init__(self, evaluator: Evaluator):
        self.evaluator = evaluator
        self.T = Whitening(evaluator).T

    def propose(self, point: Point, radius: float) -> Step:
        """The step at a point; one assembly."""
        H = self.T.T @ self.evaluator.hessian(point) @ self.T
        values, vectors = np.linalg.eigh(H)
        g = vectors.T @ (self.T.T @ point.grad)
        self._model = (values, vectors, g)
        return self.again(radius)

    def again(self, radius: float) -> Step:
        """The step at the same point in another radius; no assembly."""
        values, vectors, g = self._model
        size = float(np.abs(values).max()) if values.size else 0.0
        curved = np.abs(values) > _NOISE * values.size * size
        tau = _ball_step(np.where(curved, values, 0.0), np.where(curved, g, 0.0), radius)
        decrement = 0.5 * float(np.sum(g[curved] ** 2 / np.abs(values[curved])))
        return Step(
            self.T @ (vectors @ tau),
            float(np.linalg.norm(tau)),
            decrement,
            float(values[0] / size) if size > 0.0 else 0.0,
            int(np.count_nonzero(curved)),
        )


def _ball_step(values: np.ndarray, g: np.ndarray, radius: float) -> np.ndarray:
    """Minimiser of g'tau + ½ tau'diag(values)tau over ‖tau‖ <= radius. Ascending values; zeros stay put."""
    if values.size == 0 or not np.any(values):
        norm = float(np.linalg.norm(g))
        return -g * (radius / norm) if norm > 0.0 else np.zeros_like(g)
    active = values != 0.0
    v, c = values[active], g[active]
    tau = np.zeros_like(g)
    lowest = float(v[0])
    if lowest > 0.0:
        full = -c / v
        if np.linalg.norm(full) <= radius:
            tau[active] = full
            return tau
    scale = max(abs(lowest), float(np.abs(v).max()) * 1e-15)
    edge = max(0.0, -lowest)
    norm_c = float(np.linalg.norm(c))
    if lowest <= 0.0 and abs(c[0]) <= 1e-12 * norm_c + 1e-300:
        # hard case: the gradient is blind to the most negative direction; follow it to the ball's edge
        rest = np.zeros_like(c)
        gap = v - lowest
        open_ = gap > 1e-10 * scale
        rest[open_] = -c[open_] / gap[open_]
        room = radius**2 - float(rest @ rest)
        if room > 0.0:
            rest[0] += np.sqrt(room) if c[0] <= 0.0 else -np.sqrt(room)
            tau[active] = rest
            return tau
    # secular equation 1/‖tau(sigma)‖ = 1/radius, convex and monotone in sigma: Newton from the left end
    low, high = edge, edge + norm_c / radius
    sigma = max(low + 1e-12 * scale, low + abs(float(c[0])) / radius)
    for _ in range(60):
        shifted = v + sigma
        part = c / shifted
        norm = float(np.linalg.norm(part))
        if abs(norm - radius) <= 1e-3 * radius:
            break
        if norm > radius:
            low = sigma
        else:
            high = sigma
        slope = float(np.sum(part * part / shifted)) / norm
        sigma += (norm - radius) / radius * norm / slope
        if not low < sigma < high:
            sigma = 0.5 * (low + high)
    tau[active] = -c / (v + sigma)
    return tau
