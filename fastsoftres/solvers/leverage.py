"""Row sensitivities: how much of the curvature in some direction can hang on one row (docs/sampling.md).

A row's leverage is its squared norm in the metric of the matrix that all rows add up to. It is estimated from
the last sample's matrix and a few random combinations of the columns of A: one read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import passes
from ..point import Point
from ..runners import in_blocks, walk
from .factor import inverse
from .sampling import Parts, fitted

#: Random combinations: the estimate is a mean of so many squares of normal variables. A read of A serves four
#: at twice the time of one.
_COMBINATIONS = 4


def combinations(L: np.ndarray, norms: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random T (k, d) with E T'T = P^-1 for P = diag(norms) L L' diag(norms)."""
    solve = inverse(L)
    draws = rng.standard_normal((_COMBINATIONS, norms.size))
    # L'^-1 g = (L L')^-1 L g
    return np.stack([solve(L @ g) / norms for g in draws]) / np.sqrt(_COMBINATIONS)


class Norms(NamedTuple):
    """Squared norms of the rows in the metric P, (n,) each, estimated."""

    gauss_newton: np.ndarray  # of a_i - r_i mu
    centred: np.ndarray | None  # of a_i - mu, where it is another
    plain: np.ndarray | None  # of a_i, where there is a row ridge

    @classmethod
    def of(cls, point: Point, T: np.ndarray) -> Norms:
        """``T`` (k, d): what ``combinations`` draws. One read of A."""
        problem, n = point.problem, point.z.size
        data, groups = problem._rows, problem._rows.groups
        work = passes.Times(T, n)
        walk(problem._source, work)
        Y, va = work.Y, point.curvature.va
        means = np.stack([groups.sums(va * y) for y in Y])  # mu' T of each group
        different = bool(problem.skip) and not data.kl
        norms = cls(np.empty(n), np.empty(n) if different else None, np.empty(n) if data.ridged else None)

        def block(rows: slice) -> None:
            y = Y[:, rows]
            mean = means if groups.size == 1 else means[:, groups.of(np.arange(rows.start, rows.stop))]
            if different:
                r = fitted(point, rows) / np.where(va[rows] != 0.0, va[rows], 1.0)
                norms.gauss_newton[rows] = np.sum((y - r * mean) ** 2, axis=0)
                assert norms.centred is not None
                norms.centred[rows] = np.sum((y - mean) ** 2, axis=0)
            else:
                norms.gauss_newton[rows] = np.sum((y - mean) ** 2, axis=0)
            if norms.plain is not None:
                norms.plain[rows] = np.sum(y * y, axis=0)

        in_blocks(n, block)
        return norms

    def scores(self, point: Point) -> np.ndarray:
        """Sensitivities (n,) with the rows' weights at a point: at most 1 each, about d in all."""
        out = np.empty(point.curvature.D.size)  # formed here: a block may not walk over the rows

        def block(rows: slice) -> None:
            parts = Parts.of(point, rows)
            score = parts.gauss_newton * self.gauss_newton[rows]
            if parts.residual is not None:
                centred = self.gauss_newton if self.centred is None else self.centred
                score = score + np.abs(parts.residual) * centred[rows]
            if parts.ridge is not None and self.plain is not None:
                score = score + parts.ridge * self.plain[rows]
            out[rows] = np.minimum(score, 1.0)  # a direction that the last sample missed has no scale

        in_blocks(out.size, block)
        return out
