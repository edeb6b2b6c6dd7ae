"""The sampled Hessian of a run: drawn, factored, kept while it is good, enlarged where it is not."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..point import Point
from ..runners import in_blocks
from .evaluator import Evaluator
from .factor import Solve, cholesky, inverse, pseudo_inverse, triangle
from .leverage import Norms, combinations
from .rankone import RankOne
from .sampling import SampledHessian, Weights, draw, magnitudes
from .wide import FACTORED_COLUMNS, diagonal

SAMPLINGS = ("leverage", "magnitude", "uniform")
#: Shift of the sampled Gram, against its mean eigenvalue: keeps directions that the sample missed finite.
_SHIFT = 1e-7
#: Share of the Gauss-Newton matrix that must be left when the residual's sampled part is added, or that
#: part enters by its size.
_DEFINITE = 0.1
#: Share of a column's second moment below which what is left about the means of its groups is rounding:
#: squares of a thousand units in the last place. (Where f saturates, real columns come down to 1e-14.)
_RANK = {np.dtype(np.float64): 1e-26, np.dtype(np.float32): 1e-9}
#: The sample is kept while no sampled z_i has moved further than this: curvature changes by e to it.
_DRIFT = 0.1
#: Leverages are kept longer: they only say where to look.
_LEVERAGE_DRIFT = 1.0
#: Share of the draws that leverages leave to plain weights. Leverages are estimated from four squares: a row
#: whose own is too low would have a large weight when it is drawn (docs/sampling.md).
_PLAIN = 0.5
#: Failures allowed to a sample of the promised quality.
_FAILURES = 0.05
#: Rows for each column of the sample that measures leverages: they are wanted within a factor.
_METRIC_ROWS_PER_COLUMN = 64


class Sampling(NamedTuple):
    """How rows are sampled."""

    kind: str
    draws: int
    rng: np.random.Generator


def rows_for(epsilon: float, d: int) -> int:
    """Draws by leverage for a spectral error of at most ``epsilon`` in 95 % of samples (docs/sampling.md)."""
    # matrix Bernstein for a sum of m terms of size d/((1 - _PLAIN) m) and mean I
    bound = d / (1.0 - _PLAIN)
    return math.ceil((2.0 + 2.0 * epsilon / 3.0) * bound * math.log(2.0 * d / _FAILURES) / epsilon**2)


class Sampler:
    """A factored approximation P of the Hessian from a sample of rows.

    P is the estimate itself where that keeps a tenth of its Gauss-Newton part in every direction, else a
    bound on the Hessian's size. ``rank_one``: with the exact rank-one terms of the residual (one more read).
    """

    def __init__(self, evaluator: Evaluator, sampling: Sampling, *, rank_one: bool = False):
        self.evaluator = evaluator
        self.kind, self.draws, self.rng = sampling
        self.rank_one = rank_one
        self.L: np.ndarray | None = None
        self.norms = np.ones(evaluator.problem.shape[1])
        self.solve: Solve = np.copy
        self.full = False  # do all columns vary?
        self.definite = False  # is P the Hessian itself, which is definite?
        self._P: np.ndarray | None = None
        # rows drawn (None: all), and z there
        self._kept: tuple[np.ndarray | None, np.ndarray] | None = None
        self._leverages: tuple[Norms, np.ndarray, np.ndarray] | None = None  # and the rows and z they are of

    def update(self, point: Point, *, enlarge: bool = False) -> bool:
        """Have a sample for this point, twice as large if it must ``enlarge``. True if it is new."""
        if enlarge:
            self.draws *= 2
        elif self._kept is not None and _moved(point, *self._kept) <= _DRIFT:
            return False
        if point.x.size > FACTORED_COLUMNS:
            self._wide(point)
        else:
            self._factor(point, *self._estimate(point))
        return True

    def memory(self) -> dict[str, Any]:
        """What is kept of the last sample: arrays, numbers and the generator."""
        kept: dict[str, Any] = {"rng": self.rng, "draws": self.draws}
        if self._P is not None and self._kept is not None:
            rows, z = self._kept
            kept |= {"P": self._P, "norms": self.norms, "full": self.full, "z": z}
            kept |= {} if rows is None else {"rows": rows}
        if self._leverages is not None:
            norms, rows, z = self._leverages
            kept |= {"leverage_rows": rows, "leverage_z": z}
            kept |= {f"leverage_{name}": v for name, v in norms._asdict().items() if v.size}
        return kept

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from there."""
        self.rng, self.draws = memory["rng"], memory["draws"]
        if "P" in memory:
            self._use(memory["P"], memory["norms"], bool(memory["full"]))
            self._kept = memory.get("rows"), memory["z"]
        if "leverage_rows" in memory:
            norms = Norms(*(memory.get(f"leverage_{name}", np.empty(0)) for name in Norms._fields))
            self._leverages = norms, memory["leverage_rows"], memory["leverage_z"]

    def _wide(self, point: Point) -> None:
        """More columns than are factored: the Hessian by elimination, or its diagonal."""
        elimination = self.evaluator.elimination(FACTORED_COLUMNS)
        if elimination is None:
            self.solve = diagonal(self.evaluator, point)
            return
        self.evaluator.counts["assembly"] += 1
        self.solve, self.definite = elimination.approximate(point)

    def _estimate(self, point: Point) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Moments of the columns, a bound on the Hessian's size, and itself if it is safely positive."""
        problem = point.problem
        n = problem.shape[0]
        # rows in partitions: a sample of them would travel each time
        there = not isinstance(point.z, np.ndarray)
        weight = None if there else magnitudes(point)
        if weight is None or 2 * self.draws >= n or not weight.total > 0.0:
            self.evaluator.counts["assembly"] += 1
            self._kept = None, point.z
            D = np.abs(point.curvature.D)
            about_zero, _ = self.evaluator.moments(D, D, 0.0 * D, centred=False)
            return np.diag(about_zero), point.gram(problem.dtype, D=D), None
        rest = RankOne.of(point) if self.rank_one else None
        chance = self._chance(point, weight, rest)
        sample = draw(self.rng, problem._rows.groups, chance, self.draws)
        sampled = SampledHessian(point, sample, problem.dtype)
        self._kept = sample.rows, point.z[sample.rows]
        GN = sampled.gauss_newton()
        H = GN + sampled.residual()
        if rest is not None:
            H += rest.matrix(self.evaluator)
        if cholesky(H - _DEFINITE * GN) is not None:
            return sampled.moments(), GN, H
        return sampled.moments(), GN + sampled.residual(absolute=True), None

    def _factor(self, point: Point, moments: np.ndarray, bound: np.ndarray, H: np.ndarray | None) -> None:
        P = bound if H is None else H
        P[np.diag_indices_from(P)] += point.problem.ridge
        # a column that does not vary within groups has only rounding left of it: it stays where it is
        varies = np.diag(P) > _RANK[point.problem.dtype] * moments
        norms = np.sqrt(np.where(varies, np.diag(P), np.inf))
        P /= norms[:, None]
        P /= norms
        P[np.diag_indices_from(P)] += _SHIFT
        self._use(P, norms, bool(varies.all()))

    def _use(self, P: np.ndarray, norms: np.ndarray, full: bool) -> None:
        """Solve with diag(norms) P diag(norms)."""
        self._P, self.norms, self.full = P, norms, full
        self.L = triangle(P)
        solve = pseudo_inverse(P, _SHIFT) if self.L is None else inverse(self.L)
        self.solve = lambda r: solve(r / norms) / norms

    def _chance(self, point: Point, weight: Weights, rest: RankOne | None = None) -> np.ndarray:
        """What rows are drawn in proportion to. Leverages read A: terms that wait for that may join."""
        if self.kind == "uniform":
            return np.ones_like(weight.rows)
        if self.kind == "magnitude":
            return weight.rows
        scores = None
        if self._leverages is None or _moved(point, *self._leverages[1:]) > _LEVERAGE_DRIFT:
            scores = self._measure(point, weight, rest)
        if self._leverages is None:
            return weight.rows
        return self._mixed(self._leverages[0].scores(point) if scores is None else scores, weight)

    def _mixed(self, scores: Weights, weight: Weights) -> np.ndarray:
        """Leverages and plain weights together; the latter alone where f is a single row."""
        if not 0.0 < scores.total < np.inf:
            return weight.rows
        share, plain = (1.0 - _PLAIN) / scores.total, _PLAIN / weight.total
        chance = scores.rows

        def mix(rows: slice) -> None:
            chance[rows] *= share
            chance[rows] += plain * weight.rows[rows]

        in_blocks(chance.size, mix)
        return chance

    def _measure(self, point: Point, weight: Weights, rest: RankOne | None) -> Weights | None:
        """Leverages by the metric of a sample drawn by plain weights, then by that of a better one.

        Returns the scores, or None where there is no metric.
        """
        self._leverages, scores = None, None
        for _ in range(2):
            chance = weight.rows if scores is None else self._mixed(scores, weight)
            draws = min(self.draws, _METRIC_ROWS_PER_COLUMN * point.x.size)
            sample = draw(self.rng, point.problem._rows.groups, chance, draws)
            sampled = SampledHessian(point, sample, point.problem.dtype)
            self._factor(
                point, sampled.moments(), sampled.gauss_newton() + sampled.residual(absolute=True), None
            )
            if self.L is None:
                break
            self.evaluator.counts["product"] += 1
            norms = Norms.of(point, combinations(self.L, self.norms, self.rng), rest)
            self._leverages = norms, sample.rows, point.z[sample.rows]
            scores = norms.scores(point)
            if scores.total <= 2.0 * point.x.size:  # the sample has missed no direction
                break
        return scores


def _moved(point: Point, rows: np.ndarray | None, z: np.ndarray) -> float:
    """Furthest that z has moved on some rows, or on all."""
    here = point.z if rows is None else point.z[rows]
    return float(np.abs(here - z).max())
