"""Inexact Newton steps by conjugate gradients: one read of A a product, preconditioned by a row sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import passes
from ..groups import Groups
from ..point import Point, Scales
from ..runners import walk
from .evaluator import Evaluator
from .factor import Solve, pseudo_inverse
from .newton import Step
from .wide import FACTORED_COLUMNS, diagonal

#: Rows sampled for the preconditioner, for each column and at least. In trials 2 % of 300,000 rows drawn in
#: proportion to |D| made a product contract by 0.1.
_ROWS_PER_COLUMN = 16
_LEAST_ROWS = 4000
#: Shift of the sampled Gram, against its mean eigenvalue: keeps directions that the sample missed finite.
_SHIFT = 1e-7
_MAX_PRODUCTS = 200


class ConjugateGradientStep:
    """Newton steps without an assembled Hessian, truncated where curvature turns negative.

    The residual asked for falls with the gradient measure, so that convergence is superlinear (Dembo,
    Eisenstat and Steihaug 1982). Step control is the line search's: it bounds ‖A t‖_inf and reads nothing.
    """

    def __init__(self, evaluator: Evaluator, point: Point):
        self.evaluator = evaluator
        self.rng = np.random.default_rng(0)
        self.first_gradient: float | None = None

    def memory(self) -> dict[str, Any]:
        """The state of the sampling, and the size of the first gradient."""
        return {"rng": self.rng, "first_gradient": self.first_gradient}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from there."""
        self.rng, self.first_gradient = memory["rng"], memory["first_gradient"]

    def propose(self, point: Point, scales: Scales, radius: float, careful: bool) -> Step:
        """A step at a point: one read for each product."""
        solve = self._preconditioner(point)
        g = point.grad
        t = np.zeros_like(g)
        r = -g
        s = solve(r)
        rho = float(r @ s)
        size = np.sqrt(max(rho, 0.0))
        if self.first_gradient is None:
            self.first_gradient = size
        forcing = min(0.1, np.sqrt(size / self.first_gradient)) if self.first_gradient > 0.0 else 0.1
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
            rho, before = float(r @ s), rho
            if np.sqrt(max(rho, 0.0)) <= forcing * size:
                break
            p = s + (rho / before) * p
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

    def _preconditioner(self, point: Point) -> Solve:
        """Inverse of the Gram matrix of rows sampled in proportion to |D|, centred."""
        problem, curvature = point.problem, point.curvature
        n, d = problem.shape
        if d > FACTORED_COLUMNS:
            return diagonal(self.evaluator, point)
        weight = np.abs(curvature.D)
        total = float(weight.sum())
        rows = max(_ROWS_PER_COLUMN * d, _LEAST_ROWS)
        source, groups = problem._source, problem._rows.groups
        there = not isinstance(
            weight, np.ndarray
        )  # rows in partitions: a sample of them would travel each time
        if there or rows >= n or not total > 0.0:
            self.evaluator.counts["assembly"] += 1
            P = point.gram(problem.dtype, D=weight)
        else:
            picked, D, part, known = sampled_groups(self.rng, groups, weight, rows)
            work = passes.Gram(part, point.means[known], D, curvature.va[picked], dtype=problem.dtype)
            P = passes.symmetric(walk(source.take(picked), work)[0], d)
        P[np.diag_indices(d)] += problem.ridge
        norms = np.sqrt(np.diag(P))
        norms[norms == 0.0] = 1.0
        P /= norms[:, None]
        P /= norms
        P[np.diag_indices(d)] += _SHIFT
        inverse = pseudo_inverse(P, _SHIFT)
        return lambda r: inverse(r / norms) / norms


def sampled_groups(
    rng: np.random.Generator, groups: Groups, weight: np.ndarray, draws: int
) -> tuple[np.ndarray, np.ndarray, Groups, np.ndarray]:
    """Rows drawn in proportion to ``weight``, with the means that their Gram matrix is taken about.

    Of a kept group, whose mean is known, single rows are drawn; of any other the whole group.

    Returns
    -------
    picked : (m,) intp
        Row numbers.
    D : (m,) float64
        Weights that make the sampled Gram matrix unbiased for the one with ``weight``.
    part : Groups
        How the sampled rows fall into groups.
    known : (k,) intp
        Numbers, among the kept groups, of those of ``part``.
    """
    sizes, total = np.diff(groups.ptr), float(weight.sum())
    short = np.where(groups.kept < 0, sizes, 1)
    draws = max(1, int(draws * groups.size / short.sum()))
    rows = np.searchsorted(np.cumsum(weight), rng.random(draws) * total)
    rows = np.sort(np.minimum(rows, weight.size - 1))
    of = np.searchsorted(groups.ptr, rows, side="right") - 1
    kept = groups.kept[of] >= 0
    lengths = np.where(kept, 1, sizes[of])
    ends = np.cumsum(lengths)
    starts = np.where(kept, rows, groups.ptr[of])
    picked = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1])
    share = np.where(kept, 1.0 / weight[rows], 1.0 / groups.sums(weight)[of])
    D = weight[picked] * np.repeat(share, lengths) * (total / draws)
    begins = ~kept
    begins[0] = True
    begins[1:] |= of[1:] != of[:-1]
    part = Groups(np.append((ends - lengths)[begins], ends[-1]))
    first = kept[begins]
    part.kept, part.n_kept = np.where(first, np.cumsum(first) - 1, -1), int(np.count_nonzero(first))
    return picked, D, part, groups.kept[of[begins][first]]
