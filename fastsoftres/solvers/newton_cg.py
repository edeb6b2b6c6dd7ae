"""Inexact Newton steps by conjugate gradients: one read of A a product, preconditioned by a row sample."""

from __future__ import annotations

import numpy as np

from ..point import Point, Scales
from .evaluator import Evaluator
from .factor import Solve, cholesky, pseudo_inverse, triangle
from .newton import NewtonStep, Step
from .sampling import SampledHessian, draw, magnitudes
from .secondorder import SHARE, proven_definite
from .stopping import measure, negligible

#: Up to this many columns the Hessian is assembled where it must be known: n d² operations, and d x d numbers.
ASSEMBLED_COLUMNS = 2000
#: Rows sampled for the preconditioner, for each column and at least. The error of the sample falls with the
#: root of rows over columns; a product contracts by about 0.05 at 384 (docs/solver.md).
_ROWS_PER_COLUMN = 384
#: Fewer where that is more than this share of the rows, but not fewer than these.
_MOST_SHARE = 0.1
_LEAST_ROWS_PER_COLUMN = 16
_LEAST_ROWS = 4000
#: Shift of the sampled Gram, against its mean eigenvalue: keeps directions that the sample missed finite.
_SHIFT = 1e-7
#: Share of the Gauss-Newton matrix that must be left when the residual's sampled part is added, or that
#: part enters by its size.
_DEFINITE = 0.1
#: The sample is kept while no sampled z_i has moved further than this: curvature changes by e to it.
_DRIFT = 0.1
#: Residual left of a step: at most, and when its gradient is this share of what is asked for at the end.
_FORCING = 0.1
_ENOUGH = 0.3
_MAX_PRODUCTS = 200
#: Entries of A below which a fit takes milliseconds by any method.
_LARGE = 1e6


def pays(n: int, d: int) -> bool:
    """Is this faster than assembling the Hessian? Measured in docs/solver.md."""
    return d > ASSEMBLED_COLUMNS or (n * d >= _LARGE and _ROWS_PER_COLUMN * d <= _MOST_SHARE * n)


class ConjugateGradientStep:
    """Newton steps without an assembled Hessian, truncated where curvature turns negative.

    The residual asked for falls with the square of the last gain, as Newton's own error does (Eisenstat and
    Walker 1996), and no further than ``tol`` needs. Step control is the line search's: it bounds ‖A t‖_inf.
    """

    #: A step is first tried whole: its z is then known from x in the read that gives the gradient.
    bold = True

    def __init__(
        self, evaluator: Evaluator, point: Point, tol: float = 0.0, *, preconditioned: bool = True
    ):
        self.evaluator = evaluator
        self.tol = tol
        self.preconditioned = preconditioned
        self.rng = np.random.default_rng(0)
        self.exact: NewtonStep | None = None  # judges where the cheap proof fails
        self.proven = False
        self._size: float | None = None
        self._sampled: tuple[np.ndarray, np.ndarray] | None = None  # rows, and z there
        self._solve: Solve = np.copy
        self._L: np.ndarray | None = None
        self._norms = np.ones(point.x.size)

    def propose(self, point: Point, scales: Scales, radius: float, careful: bool) -> Step:
        """A step at a point: one read for each product."""
        if self.preconditioned:
            self._refresh(point)
        if careful:
            step = self._last(point, scales, radius)
            if step is not None:
                return step
        return self._step(point, scales)

    def _last(self, point: Point, scales: Scales, radius: float) -> Step | None:
        """What is left to gain and the curvature at a point that may be a minimum; None to go on."""
        s = self._solve(-point.grad)
        decrement = -0.5 * float(point.grad @ s) / SHARE
        measures = measure(point, scales)
        plain = measures.plateau <= np.sqrt(self.tol) or measures.misfit <= self.tol
        if plain and self._L is not None and decrement <= negligible(point):
            self.proven = proven_definite(
                lambda T: self.evaluator.hessp(point, T), self._L, self._norms, self._solve, self.rng
            )
            if self.proven:
                self._t = s
                return Step(s, float("nan"), -float(point.grad @ s), decrement, SHARE, s.size, 0.0, False)
        if point.x.size > ASSEMBLED_COLUMNS:
            return None
        if self.exact is None:
            self.exact = NewtonStep(self.evaluator, point)
        step = self.exact.propose(point, scales, radius, careful=True)
        self._t = step.t
        return step

    def curved_directions(self) -> np.ndarray | None:
        """Orthonormal basis of what is identified of x, as far as it is known."""
        return np.eye(self._norms.size) if self.proven else None

    def _step(self, point: Point, scales: Scales) -> Step:
        """Conjugate gradients on the exact Hessian."""
        before, g, solve = self._size, point.grad, self._solve
        terms = np.where(scales.terms > 0.0, scales.terms, np.inf)
        t = np.zeros_like(g)
        r = -g
        s = solve(r)
        rho = float(r @ s)
        self._size = size = float(np.sqrt(max(rho, 0.0)))
        forcing = _FORCING if not before else min(_FORCING, (size / before) ** 2)
        p, lowest = s, np.inf
        for _ in range(min(_MAX_PRODUCTS, 2 * g.size + 10)):
            if not rho > 0.0:
                break
            Hp = self.evaluator.hessp(point, p)
            curvature = float(p @ Hp)
            lowest = min(lowest, curvature / rho)  # against the preconditioner: 1 where it is exact
            if curvature <= 1e-12 * rho:
                if not np.any(t):
                    t = p.copy()
                break
            alpha = rho / curvature
            t = t + alpha * p
            r = r - alpha * Hp
            s = solve(r)
            rho, last = float(r @ s), rho
            if np.sqrt(max(rho, 0.0)) <= forcing * size:
                break
            if np.max(np.abs(r) / terms) <= _ENOUGH * self.tol:
                break
            p = s + (rho / last) * p
        self._t = t
        along = float(g @ t)
        return Step(
            t,
            float("nan"),
            -along,
            max(-0.5 * along, 0.0),
            min(lowest, 1.0) if lowest < np.inf else 0.0,
            g.size,
            0.0,
            False,
        )

    def again(self, radius: float) -> Step:
        """A shorter step in the same direction."""
        self._t = 0.1 * self._t
        return Step(self._t, float("nan"), 0.0, np.inf, 0.0, self._t.size, 0.0, False)

    def _refresh(self, point: Point) -> None:
        """Sample anew, unless z has hardly moved on the rows that matter."""
        if self._sampled is not None:
            rows, z = self._sampled
            if np.max(np.abs(point.z[rows] - z)) <= _DRIFT:
                return
        self._solve = self._preconditioner(point)

    def _preconditioner(self, point: Point) -> Solve:
        """Inverse of the sampled Hessian, or where that is not safely positive of a bound on it."""
        problem = point.problem
        n, d = problem.shape
        weight = magnitudes(point)
        wanted = max(_LEAST_ROWS_PER_COLUMN * d, _LEAST_ROWS, min(_ROWS_PER_COLUMN * d, int(_MOST_SHARE * n)))
        if wanted >= n or not float(weight.sum()) > 0.0:
            self.evaluator.counts["assembly"] += 1
            P = point.gram(problem.dtype, D=np.abs(point.curvature.D))
            self._sampled = None
        else:
            sample = draw(self.rng, problem._rows.groups, weight, wanted)
            sampled = SampledHessian(point, sample, problem.dtype)
            self._sampled = sample.rows, point.z[sample.rows]
            P = sampled.gauss_newton()
            H = P + sampled.residual()
            if cholesky(H - _DEFINITE * P) is None:
                P += sampled.residual(absolute=True)
            else:
                P = H
        P[np.diag_indices(d)] += problem.ridge
        norms = np.sqrt(np.diag(P))
        norms[norms == 0.0] = 1.0
        P /= norms[:, None]
        P /= norms
        P[np.diag_indices(d)] += _SHIFT
        self._norms, self._L = norms, triangle(P)
        inverse = pseudo_inverse(P, _SHIFT)
        return lambda r: inverse(r / norms) / norms
