"""The rank-one terms of the Hessian that the residual leaves besides its rows (docs/sampling.md)."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..kernels import sensitivity
from ..point import Point
from ..runners import in_blocks
from .evaluator import Evaluator


@dataclasses.dataclass
class RankOne:
    """k mu' + mu k' + kappa mu mu' with k = C'h, C the rows about mu.

    ``product``, A'h, is left to whoever reads A next.
    """

    mu: np.ndarray
    h: np.ndarray
    total: float  # sum of h
    kappa: float
    product: np.ndarray | None = None

    @classmethod
    def of(cls, point: Point) -> RankOne | None:
        """Where all rows are one group; of groups, each of which has its own, they are left out."""
        problem, data = point.problem, point.problem._rows
        if not problem.skip or data.groups.size > 1 or not data.groups.n_kept:
            return None
        rows = point.curvature
        weight = float(data.groups.weight[0]) if data.groups.weight.size else 1.0
        alpha, shift, _ = point.normaliser
        per = problem.skip * float(np.exp(-shift[0]) / alpha[0])
        h = data.groups.row_vector()

        def left(picked: slice) -> tuple[float, float]:
            w = data.w[picked] if data.ridged else data.w
            return sensitivity.rest(
                point.z[picked], rows.va[picked], rows.h[picked], w, per, weight, h[picked]
            )

        squares, total = np.sum(in_blocks(h.size, left), axis=0).tolist()
        return cls(point.means[0], h, total, float(rows.kappa[0]) - weight * squares)

    def matrix(self, evaluator: Evaluator) -> np.ndarray:
        """The terms (d, d): one read of A, none where the product is known."""
        if self.product is None:
            self.product = evaluator.transposed(self.h)
        mu, k = self.mu, self.product - self.mu * self.total
        return np.outer(k, mu) + np.outer(mu, k) + self.kappa * np.outer(mu, mu)
