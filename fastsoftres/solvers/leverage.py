"""Row sensitivities: how much of the curvature in some direction can hang on one row (docs/sampling.md).

A row's leverage is its squared norm in the metric of the matrix that all rows add up to. It is estimated from
the last sample's matrix and a few random combinations of the columns of A: one read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels import product, sensitivity
from ..passes import Added
from ..point import Point
from ..runners import walk
from ..sources import Rows
from .factor import inverse
from .rankone import RankOne
from .sampling import Weights, weighed

#: Random combinations: the estimate is a mean of so many squares of normal variables. A read of A serves four
#: at twice the time of one.
_COMBINATIONS = 4


def combinations(L: np.ndarray, norms: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random T (k, d) with E T'T = P^-1 for P = diag(norms) L L' diag(norms)."""
    solve = inverse(L)
    draws = rng.standard_normal((_COMBINATIONS, norms.size))
    # L'^-1 g = (L L')^-1 L g
    return np.stack([solve(L @ g) / norms for g in draws]) / np.sqrt(_COMBINATIONS)


class _Measure(Added):
    """Squared norms of the rows, transformed by ``T`` (k, d), k even, about the means of their groups.

    Written to ``norms``, three of (n,) or (0,). Returns A'w (1, d) of ``rest``, which the read serves, too.
    """

    reads_A = True

    def __init__(self, point: Point, T: np.ndarray, norms: Norms, rest: RankOne | None):
        self.groups, self.T, self.norms = point.problem._rows.groups, T, norms
        self.means = point.means @ T.T
        self.va, self.z = point.curvature.va, point.z
        alpha, shift, _ = point.normaliser
        self.per = point.problem.skip * np.exp(-shift) / alpha
        self.w = np.empty(0) if rest is None or rest.product is not None else rest.h

    def block(self, rows: Rows) -> np.ndarray:
        span = self.groups.span(rows.start, rows.stop)
        Y, g = np.empty((self.T.shape[0], rows.stop - rows.start)), np.empty((1, self.T.shape[1]))
        product.times_and_sum(rows.A, self.T, rows.of(self.w), Y, g)
        va = rows.of(self.va)
        if span.kept.min() < 0:  # groups that no chunk cuts
            means = np.add.reduceat(va * Y, np.maximum(span.ptr[:-1] - span.base, 0), axis=1).T.copy()
            means[span.kept >= 0] = self.means[span.kept[span.kept >= 0]]
        else:
            means = self.means[span.kept]
        sensitivity.squared_norms(
            Y, means, va, rows.of(self.z), span.of(self.per), span.ptr, span.base,
            *(rows.of(norm) for norm in self.norms),
        )  # fmt: skip
        return g


class Norms(NamedTuple):
    """Squared norms of the rows in the metric P, (n,) each, estimated; (0,) where there is none."""

    gauss_newton: np.ndarray  # of a_i - r_i mu
    centred: np.ndarray  # of a_i - mu, where it is another
    plain: np.ndarray  # of a_i, where there is a row ridge

    @classmethod
    def of(cls, point: Point, T: np.ndarray, rest: RankOne | None = None) -> Norms:
        """``T`` (k, d): what ``combinations`` draws. One read of A, which serves ``rest``, too."""
        data = point.problem._rows
        different = point.problem.skip and not data.kl
        norms = cls(
            *(data.groups.row_vector() if kept else np.empty(0) for kept in (True, different, data.ridged))
        )
        work = _Measure(point, T, norms, rest)
        g = walk(point.problem._source, work)
        if rest is not None and work.w.size:
            rest.product = g[0]
        return norms

    def scores(self, point: Point) -> Weights:
        """Sensitivities with the rows' weights at a point: at most 1 each, about d in all."""
        return weighed(point, *self)
