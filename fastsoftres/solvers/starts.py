"""Where to begin: the map inverted row by row, then one weighted least squares problem (MATH 7)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..point import OutOfDomainError
from .evaluator import Evaluator, Place
from .factor import pseudo_inverse
from .wide import FACTORED_COLUMNS, least_squares

#: log(|alpha|/n) at which least squares problems are tried first; alpha/n is exp(s²/2) for normal z of
#: variance s², so this reaches from z of order 0 to very peaked f.
_GRID = np.linspace(-3.0, 9.0, 7)
_REFINEMENTS = 4
#: A grid point this many times above another start may still lead below it.
_PROMISING = 4.0
#: Above this many rows the map is inverted on a sample; of fewer rows where rows*d² would exceed the work.
_SAMPLE = 20_000
_SAMPLE_WORK = 2e9
#: The search over alpha makes do with fewer: it looks at misfits that differ by more than a sample's noise.
_SEARCH_SAMPLE = 2_000
#: Share of the largest eigenvalue below which a direction is not determined by the weighted rows.
_RANK = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-6}


class Start(NamedTuple):
    """A starting point with the name under which a result reports it."""

    name: str
    point: Place


def choose(evaluator: Evaluator) -> list[Start]:
    """Zeros and the closed-form starts of both signs of alpha, the lower objective first."""
    found = [Start("zeros", evaluator.place(np.zeros(evaluator.problem.shape[1])))]
    rows = _Rows.of(evaluator)
    found += closed_form(evaluator, rows=rows)
    if evaluator.problem.skip > 0.0:
        lowest = min(start.point.value for start in found)
        found += closed_form(evaluator, sign=-1.0, rival=lowest, rows=rows)
    return sorted(found, key=lambda start: start.point.value)


def random_starts(evaluator: Evaluator, rng: np.random.Generator) -> Iterator[Start]:
    """Random points for as long as they are asked for: z of standard deviation 0.5, 1, 2, 4 in turn."""
    norms = np.sqrt(evaluator.mean_squares())
    norms[norms == 0.0] = np.inf
    count = 0
    while True:
        spread = (0.5, 1.0, 2.0, 4.0)[count % 4]
        x = rng.standard_normal(norms.size) / norms * (spread / math.sqrt(norms.size))
        count += 1
        try:
            yield Start(f"random {count}", evaluator.place(x))
        except OutOfDomainError:
            continue


def closed_form(
    evaluator: Evaluator, sign: float = 1.0, rival: float = math.inf, rows: _Rows | None = None
) -> list[Start]:
    """The point that inverting u = alpha*b leads to, or none.

    For skip = 0 a zero or negative entry of b has no inverse, and such rows are left out. For skip > 0
    every b_i has one for each alpha; a 1-D search picks the best alpha of this sign, finely where it may
    lead below ``rival``, another start's objective. ``rows``: those to fit, where they are drawn already.
    """
    problem = evaluator.problem
    rows = rows or _Rows.of(evaluator)
    if problem.skip == 0.0:
        x = rows.logarithms()
    else:
        alpha = _best_alpha(rows.fewer(_SEARCH_SAMPLE), sign, rival)
        x = None if alpha is None else rows.inverted(alpha)
    if x is None:
        return []
    try:
        return [Start("closed form" if sign > 0.0 else "closed form, alpha < 0", evaluator.place(x))]
    except OutOfDomainError:
        return []


def _best_alpha(rows: _Rows, unit: float, rival: float) -> float | None:
    """The alpha of unit's sign whose least squares problem fits best."""
    scores: dict[float, float] = {}

    def score(position: float) -> float:
        if position not in scores:
            scores[position] = rows.misfit(unit * math.exp(position))
        return scores[position]

    best = min(_GRID.tolist(), key=score)
    width = float(_GRID[1] - _GRID[0])
    for _ in range(_REFINEMENTS if scores[best] <= _PROMISING * rival else 0):
        width *= 0.5
        best = min((best, best - width, best + width), key=score)
    return unit * math.exp(best) if math.isfinite(scores[best]) else None


class _Rows(NamedTuple):
    """Rows on which the inverted map is fitted: all of a problem's, or a weighted sample."""

    evaluator: Evaluator
    chance: np.ndarray | None  # of each sampled row, None for all rows
    sizes: Any  # rows of each row's group in the whole problem: an alpha here is meant for each of them

    @classmethod
    def of(cls, evaluator: Evaluator) -> _Rows:
        """All rows of a small problem; else a sample, half of it uniform and half in proportion to |b|.

        A sample determines x up to what noise leaves; the iterations that follow use all rows.
        """
        problem = evaluator.problem
        n, d = problem.shape
        count = max(min(_SAMPLE, int(_SAMPLE_WORK / d**2)), 8 * d)
        groups = problem._rows.groups
        sizes = np.diff(groups.ptr)
        remote = not isinstance(problem.b, np.ndarray)  # the sample comes here
        if n <= count:
            here = Evaluator(problem.rows(np.arange(n))) if remote else evaluator
            return cls(here, None, np.repeat(sizes, sizes) if groups.size > 1 else float(n))
        rng = np.random.default_rng(0)
        size = np.abs(problem.b)
        size = size / size.sum() if size.any() else groups.full(1.0 / n)
        share = 0.5 / n + 0.5 * size
        picked, chance = _drawn(share, rng.random(count))
        of = np.searchsorted(groups.ptr, picked, side="right") - 1
        return cls(
            Evaluator(problem.rows(picked)), chance * count, sizes[of] if groups.size > 1 else float(n)
        )

    def fewer(self, count: int) -> _Rows:
        """About so many rows of a sample, at least 8 for each column; all rows of a small problem."""
        n, d = self.evaluator.problem.shape
        step = n // max(count, 8 * d)
        if self.chance is None or step < 2:
            return self
        picked = np.arange(0, n, step)
        sizes = self.sizes[picked] if np.ndim(self.sizes) else self.sizes
        return _Rows(Evaluator(self.evaluator.problem.rows(picked)), self.chance[picked] / step, sizes)

    def logarithms(self) -> np.ndarray | None:
        """skip = 0: log b = A x - k_g in weighted least squares, k_g free for each group.

        Weights are b² (df/dz = f up to f²), or b for the likelihood.
        """
        b = self.evaluator.problem.b
        data = self.evaluator.problem._rows
        positive = b > 0.0
        if not positive.any():
            return None
        target = np.log(b, out=np.zeros_like(b), where=positive)
        weight = np.where(positive, b if data.kl else b * b, 0.0)
        weight = self._sampled(self._weighted(weight))
        return _least_squares(self.evaluator, weight, target, free_constant=True, refine=True)

    def _weighted(self, weight: np.ndarray) -> np.ndarray:
        groups = self.evaluator.problem._rows.groups
        return weight * groups.rows_of(groups.weight) if groups.weight.size else weight

    def _sampled(self, weight: np.ndarray) -> np.ndarray:
        return weight if self.chance is None else weight / self.chance

    def inverted(self, alpha: float) -> np.ndarray | None:
        """x of the least squares problem A x = u^-1(alpha*b), rows weighted by df/dz = v/alpha.

        ``alpha`` here and below is over the rows of each group: the mean of u.
        """
        inverse = self._inverse(alpha)
        if inverse is None:
            return None
        return _least_squares(self.evaluator, *inverse, free_constant=False, refine=True)

    def misfit(self, alpha: float) -> float:
        """The objective there; on a sample, what the least squares problem says of it (½ the misfit)."""
        inverse = self._inverse(alpha)
        if inverse is None:
            return math.inf
        weight, z = inverse
        x = _least_squares(self.evaluator, weight, z, free_constant=False, refine=False)
        if x is None:
            return math.inf
        if self.chance is None:
            try:
                return self.evaluator.place(x).value
            except OutOfDomainError:
                return math.inf
        z = z - self.evaluator.offset()
        return 0.5 * float(np.sum(weight * (self.evaluator.times(x) - z) ** 2))

    def _inverse(self, alpha: float) -> tuple[np.ndarray, np.ndarray] | None:
        """The rows' weights and u^-1(alpha*b), or None where they are not finite."""
        from scipy.special import wrightomega

        problem = self.evaluator.problem
        y = alpha * self.sizes * problem.b / problem.skip
        omega = wrightomega(y - math.log(problem.skip)).real  # exp(z)/skip, so v = skip*(omega + 1)
        z = y - omega
        weight = (problem.skip * (omega + 1.0) / (alpha * self.sizes)) ** 2
        if not (np.isfinite(weight).all() and np.isfinite(z).all()):
            return None
        return self._sampled(self._weighted(weight)), z


def _drawn(share: Any, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows drawn in proportion to ``share``, ascending, and their shares."""
    if not isinstance(share, np.ndarray):
        return share.drawn(uniform)
    # in order, neighbours are looked up in the same part of the cache
    picked = np.minimum(np.searchsorted(np.cumsum(share), np.sort(uniform) * share.sum()), share.size - 1)
    return picked, share[picked]


def _least_squares(
    evaluator: Evaluator, weight: np.ndarray, target: np.ndarray, *, free_constant: bool, refine: bool
) -> np.ndarray | None:
    """argmin sum weight_i (a_i x - k_g - target_i)² (k_g = 0 unless free), of least norm in unit columns.

    Normal equations from one Gram pass; ``refine`` adds one step on the residual (two reads more).
    """
    problem = evaluator.problem
    d = problem.shape[1]
    groups = problem._rows.groups
    total = float(weight.sum())
    if not total > 0.0 or not math.isfinite(total):
        return None
    weight = weight / total
    target = target - evaluator.offset()

    def centred(values: np.ndarray) -> np.ndarray:
        """About each group's weighted mean, which a free constant takes up."""
        if not free_constant:
            return values
        sums = groups.sums(weight)
        means = np.divide(groups.sums(weight * values), sums, out=np.zeros(groups.size), where=sums > 0.0)
        return values - groups.rows_of(means)

    target = centred(target)
    row_ridge = problem._rows.w / total if problem._rows.ridged else np.zeros(1)
    ridge = problem.ridge / total
    if d > FACTORED_COLUMNS:
        return least_squares(evaluator, weight, target, centred, row_ridge, ridge)
    H, k = evaluator.moments(weight, weight + row_ridge, weight * target, centred=free_constant)
    H[np.diag_indices(d)] += ridge
    diagonal = np.diag(H)
    # a column that is constant over the weighted rows of each group is left to the free constants
    rank = _RANK[problem.dtype]
    least = rank * np.diag(evaluator.metric()) if free_constant else 0.0
    norms = np.where(diagonal > least, np.sqrt(np.abs(diagonal)), np.inf)
    inverse = pseudo_inverse(H / norms[:, None] / norms, rank)
    x = inverse(k / norms) / norms
    if refine and np.any(x):  # the normal equations have lost half of the digits
        z = evaluator.times(x)
        residual = centred(target - z)
        right = evaluator.transposed(weight * residual - row_ridge * z) - ridge * x
        x = x + inverse(right / norms) / norms
    return x if np.isfinite(x).all() else None
