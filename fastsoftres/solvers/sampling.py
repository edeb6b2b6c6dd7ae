"""Row samples that stand for all rows in the Hessian (docs/sampling.md).

The Hessian is split by rows into what is positive semidefinite by construction, the Gauss-Newton rows
(v_i a_i - u_i mu)/alpha and the row ridge, and what the residual adds, of either sign. A row is drawn in
proportion to its share of them, and weighs the inverse of how often it was to be expected.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import passes
from ..groups import Groups
from ..kernels import gram, sensitivity
from ..passes import Added
from ..point import Point
from ..runners import in_blocks, walk
from ..sources import DenseRows, Rows
from ..sparse import CsrRows

#: Rows from which the size of a column is told.
_MOMENT_ROWS = 1000


class Parts(NamedTuple):
    """Weights of some rows in the parts of the Hessian, (m,) each."""

    gauss_newton: np.ndarray  # of (a_i - r_i mu), r = u/v; for the likelihood of (a_i - mu)
    residual: np.ndarray | None  # of (a_i - mu), any sign; None where there is none
    ridge: np.ndarray | None  # of a_i

    @classmethod
    def of(cls, point: Point, rows: np.ndarray) -> Parts:
        """The parts at a point, of the rows with these numbers. No read of A."""
        data, curvature = point.problem._rows, point.curvature
        D, va = curvature.D[rows], curvature.va[rows]
        weight = _weights(data.groups, rows)
        ridge = weight * data.w[rows] if data.ridged else None
        smooth = D if ridge is None else D - ridge
        if data.kl:
            return cls(smooth, None, ridge)
        gauss_newton = va * va * weight
        return cls(gauss_newton, smooth - gauss_newton, ridge)

    def magnitude(self) -> np.ndarray:
        """What a row weighs in all of them, whatever its a_i."""
        total = self.gauss_newton if self.residual is None else self.gauss_newton + np.abs(self.residual)
        return total if self.ridge is None else total + self.ridge


class Scores(Added):
    """Weights of the rows' parts times their squared norms, written to ``out`` (n,), and their sum."""

    reads_A = False

    def __init__(self, point: Point, *norms: np.ndarray):
        self.data, self.groups = point.problem._rows, point.problem._rows.groups
        self.D, self.va, self.norms = point.curvature.D, point.curvature.va, norms
        self.out = self.groups.row_vector()

    def block(self, rows: Rows) -> float:
        data, span = self.data, self.groups.span(rows.start, rows.stop)
        total = sensitivity.scores(
            rows.of(self.D), rows.of(self.va), rows.of(data.w), span.weight, span.ptr, span.base, data.kl,
            *(rows.of(norm) for norm in self.norms), rows.of(self.out),
        )  # fmt: skip
        return float(total)


class Weights(NamedTuple):
    """A number for each row (n,), not negative, and their sum."""

    rows: np.ndarray
    total: float


def weighed(point: Point, *norms: np.ndarray) -> Weights:
    """The ``Scores`` of the rows: O(n), no read of A."""
    work = Scores(point, *norms)
    return Weights(work.out, walk(point.problem._source, work))


def magnitudes(point: Point) -> Weights:
    """What each row weighs in the parts of the Hessian, whatever its a_i: O(n), no read of A."""
    none = np.empty(0)
    return weighed(point, none, none, none)


def _weights(groups: Groups, rows: np.ndarray) -> Any:
    """Weights of the groups that the rows are of."""
    if not groups.weight.size:
        return 1.0
    return groups.weight[groups.of(rows)]


def fitted(point: Point, rows: np.ndarray) -> np.ndarray:
    """f of some rows: v/alpha - skip (1 - z)/alpha."""
    va, skip = point.curvature.va[rows], point.problem.skip
    if not skip:
        return va
    alpha, shift, _ = point.normaliser
    group = point.problem._rows.groups.of(rows)
    return va - skip * (1.0 - point.z[rows]) * (np.exp(-shift) / alpha)[group]


class Sample(NamedTuple):
    """Rows drawn with known chances, and how they fall into groups."""

    rows: np.ndarray  # (m,) intp, ascending
    weight: np.ndarray  # (m,) one over the expected number of times
    part: Groups
    known: np.ndarray  # numbers, among the kept groups, of those of ``part``


def draw(rng: np.random.Generator, groups: Groups, chance: np.ndarray, draws: int) -> Sample:
    """Rows drawn in proportion to ``chance`` (n,), one from each of ``draws`` equal shares of its sum.

    Of a kept group, whose mean is known, single rows are drawn; of any other the whole group, by its sum.
    """
    sizes = np.diff(groups.ptr)
    short = np.where(groups.kept < 0, sizes, 1)
    draws = max(1, int(draws * groups.size / short.sum()))
    # one draw in each stratum: ascending as they come, and steadier than independent ones
    rows, total = _located(chance, (np.arange(draws) + rng.random(draws)) / draws)
    if groups.size == 1 and groups.n_kept == 1:
        weight = total / draws / chance[rows]
        return Sample(rows, weight, Groups.one(draws, kept=True), np.zeros(1, np.intp))
    of = groups.of(rows)
    kept = groups.kept[of] >= 0
    lengths = np.where(kept, 1, sizes[of])
    ends = np.cumsum(lengths)
    starts = np.where(kept, rows, groups.ptr[of])
    picked = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1])
    expected = np.where(kept, chance[rows], groups.sums(chance)[of])
    begins = ~kept
    begins[0] = True
    begins[1:] |= of[1:] != of[:-1]
    part = Groups(np.append((ends - lengths)[begins], ends[-1]))
    first = kept[begins]
    part.kept, part.n_kept = np.where(first, np.cumsum(first) - 1, -1), int(np.count_nonzero(first))
    weight = np.repeat(total / draws / expected, lengths)
    return Sample(picked, weight, part, groups.kept[of[begins][first]])


def _located(chance: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, float]:
    """Rows in which the running sum of ``chance`` passes these shares, ascending, of the whole; the whole."""
    starts, sums = np.array(in_blocks(chance.size, lambda rows: (rows.start, chance[rows].sum()))).T
    before = np.append(0.0, np.cumsum(sums))
    total = float(before[-1])
    targets = np.minimum(shares * total, np.nextafter(total, 0.0))
    cuts = np.searchsorted(targets, before)
    found = np.empty(shares.size, np.intp)

    def block(rows: slice) -> None:
        k = int(np.searchsorted(starts, rows.start))
        some = slice(cuts[k], cuts[k + 1])
        sensitivity.locate(chance, rows.start, rows.stop, before[k], targets[some], found[some])

    in_blocks(chance.size, block)
    return found, total


def moments(source: Any, weight: np.ndarray, d: int) -> np.ndarray:
    """sum weight_i a_ij² of each column (d,), from evenly spaced rows of a source."""
    step = max(1, weight.size // _MOMENT_ROWS)
    work = passes.Gram.uncentred(weight[::step] * step, d)
    return np.diag(walk(source.take(np.arange(0, weight.size, step)), work)[0])[:d]


def _rows_of(source: Any, rows: np.ndarray) -> Any:
    """The rows of a sample; where they lie in memory they are gathered anew in each read.

    A copy of them is new memory, whose page faults took as long as all the reads, or ten times that.
    """
    there = isinstance(source, CsrRows) or (isinstance(source, DenseRows) and source.direct)
    return source.only(rows) if there else source.take(rows)


class SampledHessian:
    """The parts of the Hessian that a sample estimates, each without bias.

    What it leaves out are the rank-one terms of the residual and the penalty on x.
    """

    def __init__(self, point: Point, sample: Sample, dtype: Any = np.float64):
        self.point, self.sample, self.dtype = point, sample, dtype
        self.parts = Parts.of(point, sample.rows)
        self.source = _rows_of(point.problem._source, sample.rows)
        self.means = point.means[sample.known]

    def gauss_newton(self) -> np.ndarray:
        """J'J (d, d), row ridge included."""
        point, rows, weight = self.point, self.sample.rows, self.sample.weight
        if point.problem._rows.kl:
            H = self._gram(weight * self.parts.gauss_newton)
        else:
            own = weight * _weights(point.problem._rows.groups, rows)
            H = self._gram(own, scale=point.curvature.va[rows], centre=fitted(point, rows))
        if self.parts.ridge is not None:
            work = passes.Gram.uncentred(weight * self.parts.ridge, H.shape[0], dtype=self.dtype)
            H += passes.symmetric(walk(self.source, work)[0], H.shape[0])
        return H

    def residual(self, *, absolute: bool = False) -> np.ndarray | float:
        """What the residual adds, (d, d), or with the sizes of its rows' weights."""
        if self.parts.residual is None:
            return 0.0
        D = self.parts.residual
        return self._gram(self.sample.weight * (np.abs(D) if absolute else D))

    def moments(self) -> np.ndarray:
        """Second moment of each column (d,), weighted like the Hessian; from some of the sampled rows."""
        return moments(self.source, self.sample.weight * self.parts.magnitude(), self.point.x.size)

    def _gram(self, D: np.ndarray, **rows: np.ndarray) -> np.ndarray:
        va = self.point.curvature.va[self.sample.rows]
        work = passes.Gram(self.sample.part, self.means, D, va, gram.PLAIN, dtype=self.dtype, **rows)
        return passes.symmetric(walk(self.source, work)[0], self.point.x.size)
