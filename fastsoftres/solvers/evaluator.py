"""The problem as a solver sees it: every read of A is counted, by kind."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from .. import passes
from .. import point as points
from ..kernels import gram
from ..passes import Gram
from ..point import LinePoint, OutOfDomainError, Point, Scales
from ..problem import SoftResProblem
from ..runners import walk
from .eliminate import Elimination


class Place(NamedTuple):
    """An x whose z and objective are known, and not its gradient."""

    x: np.ndarray
    z: np.ndarray
    line: LinePoint

    @property
    def value(self) -> float:
        """The objective."""
        return self.line.value


class Evaluator:
    """Evaluations of one problem, with the number of times each kind has read A."""

    def __init__(self, problem: SoftResProblem):
        self.problem = problem
        self.counts: Counter[str] = Counter()
        self.evaluations = 0
        self._metric: np.ndarray | None = None
        self._elimination: tuple[Elimination | None] | None = None

    def metric(self) -> np.ndarray:
        """A'A/n (d, d): what a step does to z in mean square. Assembled once for all runs."""
        if self._metric is None:
            n, d = self.problem.shape
            self.counts["assembly"] += 1
            even = self.problem._rows.groups.full(1.0 / n)
            self._metric = self._gram(passes.Gram.uncentred(even, d))[0]
        return self._metric

    def elimination(self, most: int) -> Elimination | None:
        """Columns that never meet, if eliminating them leaves at most so many. Found once for all runs."""
        if self._elimination is None:
            self._elimination = (Elimination.of(self.problem._source, most),)
        return self._elimination[0]

    def mean_squares(self) -> np.ndarray:
        """Diagonal of A'A/n (d,)."""
        n = self.problem.shape[0]
        return (
            np.diag(self._metric)
            if self._metric is not None
            else self.squares(self.problem._rows.groups.full(1.0 / n))
        )

    def squares(self, w: np.ndarray) -> np.ndarray:
        """Column sums of squares (d,) under row weights."""
        self.counts["product"] += 1
        return walk(self.problem._source, passes.Squares(w))[0]

    @property
    def passes(self) -> int:
        """Reads of A so far."""
        return sum(self.counts.values())

    def at(self, x: np.ndarray) -> Point:
        """The point at x, its z computed from x."""
        self.counts["value_and_grad"] += 1
        self.evaluations += 1
        return points.evaluate(self.problem, x.copy())

    def place(self, x: np.ndarray) -> Place:
        """x with its z and objective: one read, none for x = 0."""
        z = self.times(x) if x.any() else self.problem._rows.groups.full(0.0)
        z = z + self.offset()
        self.evaluations += 1
        line = points.along(self.problem, x, x, z, z, 0.0)
        if line is None:
            point = self.at(x)  # tells what is wrong, if anything is
            line = LinePoint(point.value, 0.0, point.normaliser)
        return Place(x.copy(), z, line)

    def whole(self, x: np.ndarray) -> Point | None:
        """The point at x, or None where the objective is undefined."""
        try:
            return self.at(x)
        except OutOfDomainError:
            return None

    def along(
        self, point: Point, t: np.ndarray, y: np.ndarray, eta: float, whole: Point | None = None
    ) -> LinePoint | None:
        """The objective at point + eta*t: no read. ``whole``: the point at eta = 1, where it is known."""
        if whole is not None and eta == 1.0:
            return LinePoint(whole.value, float(whole.grad @ t), whole.normaliser)
        self.evaluations += 1
        return points.along(self.problem, point.x, t, point.z, y, eta)

    def gradient(self, x: np.ndarray, z: np.ndarray, line: LinePoint) -> tuple[Point, Scales]:
        """The point where z = A x is known, and the scales of its gradient."""
        self.counts["value_and_grad"] += 1
        return points.at_known_z(self.problem, x, z, line)

    def scales(self, point: Point) -> Scales:
        """The scales of the gradient of a point that was evaluated from x."""
        here = LinePoint(point.value, 0.0, point.normaliser)
        return self.gradient(point.x.copy(), point.z.copy(), here)[1]

    def offset(self) -> np.ndarray | float:
        """What is added to A x (n,)."""
        offset = self.problem._rows.offset
        return offset if offset.size else 0.0

    def times(self, t: np.ndarray) -> np.ndarray:
        """A @ t."""
        self.counts["product"] += 1
        return points.products(self.problem, t)

    def hessp(self, point: Point, t: np.ndarray) -> np.ndarray:
        """Hessian times t."""
        self.counts["hessp"] += 1
        return point.hessp(t)

    def hessian(self, point: Point, dtype: Any = np.float64) -> np.ndarray:
        """The assembled Hessian, its products within a block of rows in ``dtype``."""
        self.counts["assembly"] += 1
        return point.assembled(dtype)

    def moments(
        self, weight: np.ndarray, D: np.ndarray, h: np.ndarray, *, centred: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """C' diag(D) C (d, d) and C' h for the rows C.

        ``centred``: about their groups' means by ``weight``.
        """
        data, d = self.problem._rows, self.problem.shape[1]
        self.counts["assembly"] += 1
        if not centred:
            return self._gram(passes.Gram.uncentred(D, d, how=gram.MOMENT, h=h))
        groups = data.groups
        sums = groups.sums(weight)
        va = weight / groups.rows_of(sums + (sums <= 0.0))
        work = passes.GroupMeans(groups, va, d)
        if groups.n_kept:
            self.counts["product"] += 1
            for group, mean, _ in walk(self.problem._source, work)[1]:
                work.means[groups.kept[group]] = mean
        return self._gram(passes.Gram(groups, work.means, D, va, gram.MOMENT, h))

    def within_groups(self) -> np.ndarray:
        """Gram matrix (d, d) of the rows about their groups' means, over n."""
        even = self.problem._rows.groups.full(1.0 / self.problem.shape[0])
        return self.moments(even, even, 0.0 * even, centred=True)[0]

    def _gram(self, work: Gram) -> tuple[np.ndarray, np.ndarray]:
        H, k = walk(self.problem._source, work)
        d = work.means.shape[1]
        return passes.symmetric(H, d), k[:d]

    def transposed(self, w: np.ndarray) -> np.ndarray:
        """A.T @ w."""
        self.counts["product"] += 1
        return walk(self.problem._source, passes.TransposedTimes(w[None, :]))[0]
