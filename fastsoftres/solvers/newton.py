"""Newton steps from the assembled Hessian, in a ball of row space."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..kernels import steps
from ..point import Point, Scales
from .evaluator import Evaluator
from .factor import cholesky, eigen

#: Eigenvalues of the scaled Gram below this share of the largest are directions that A does not see.
_RANK = 1e-13
#: Curvature below this share of the largest is rounding of the assembly: no step is computed from it.
_NOISE = 1e-13
#: From this many columns float32 products assemble a dense Hessian faster (docs/performance.md).
_SINGLE_COLUMNS = 96
#: Pivots of such a Hessian that are this share of their diagonal entry at least give a step to three digits:
#: the products are right to 1e-7 or so. No step that comes near a minimum needs more.
_SINGLE_PIVOT = 1e-4


class Step(NamedTuple):
    """A proposed step and what its model says."""

    t: np.ndarray  # (d,)
    length: float  # root mean square of A t, as the trust region measures it; nan where not known
    bend: float  # t' H t
    decrement: float  # Newton decrement ½ g' |H|^-1 g where g is more than rounding
    curvature: float  # smallest eigenvalue over the largest in size; nan where only its sign (> 0) is known
    rank: int  # directions with curvature
    strength: float  # what is left of the rows' curvature after it cancels: 1 at most, 0 on a plateau
    saturated: bool  # fewer directions have curvature here than the model can identify


class NewtonStep:
    """The minimiser of the exact quadratic model within ‖A t‖² <= n radius² (More and Sorensen 1983).

    Measuring steps by what they do to z makes them free of the columns' units and correlation. Where the
    Hessian is safely positive definite, Cholesky factors suffice; elsewhere, and where ``propose`` is asked
    to be ``careful``, an eigendecomposition gives the global minimiser, the smallest curvature and the rank.
    """

    #: The line search looks further where a whole step is too short, which a trial of x alone cannot tell.
    bold = False

    def __init__(self, evaluator: Evaluator, point: Point):
        self.evaluator = evaluator
        problem = evaluator.problem
        d = problem.shape[1]
        self.metric = evaluator.metric()
        if problem.ridge:
            # a ridge counts as rows that weigh what the data weighs at the start: else a null space of A
            # would look infinitely curved
            size = float(np.sum(np.abs(point.curvature.D)))
            self.metric = self.metric + np.diag(np.full(d, problem.ridge / size))
        self._whitening: np.ndarray | None = None
        self._identifiable: int | None = None
        self.single = False  # is the Hessian so safely definite that the next one may be of float32 products?

    @property
    def whitening(self) -> np.ndarray:
        """T (d, r) with T' M T = I on the directions that A sees."""
        if self._whitening is None:
            norms = np.sqrt(np.diag(self.metric))
            norms[norms == 0.0] = np.inf  # a zero column never moves
            values, vectors = eigen(self.metric / norms[:, None] / norms)
            rank = _RANK if self.evaluator.problem.dtype == np.float64 else 1e-6
            kept = values > rank * max(values[-1], 0.0)
            self._whitening = vectors[:, kept] / norms[:, None] / np.sqrt(values[kept])
        return self._whitening

    def memory(self) -> dict[str, Any]:
        """The metric, and the precision of the next assembly; what is formed from them is formed again."""
        return {"metric": self.metric, "single": self.single}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from there."""
        self.metric, self.single = memory["metric"], bool(memory["single"])

    def propose(self, point: Point, scales: Scales, radius: float, careful: bool) -> Step:
        """The step at a point; one assembly.

        A step needs few digits of H, the answer rests on the gradient: once H is safely definite, products in
        float32 do, until a point may be the last.
        """
        self._point = point
        self._H: np.ndarray | None = None
        self._g = np.asarray(point.grad)
        self._scales = scales
        rows = float(np.sum(np.abs(point.curvature.D))) + point.problem.ridge
        self._uncancelled = max(rows, 1e-300) * self._g.size
        self._eigen: tuple[np.ndarray, np.ndarray, np.ndarray, float] | None = None
        if not careful:
            if self.single:
                H = self.evaluator.hessian(point, np.float32)
                step = _cholesky_step(H, self.metric, self._g, radius, _SINGLE_PIVOT)
                if step is not None:
                    return step
                self.single = False
            step = _cholesky_step(self.H, self.metric, self._g, radius)
            if step is not None:
                large = self._g.size >= _SINGLE_COLUMNS and point.problem._source.nnz is None
                self.single = large and cholesky(self.H, _SINGLE_PIVOT) is not None
                return step
        return self.again(radius)

    @property
    def H(self) -> np.ndarray:
        """The Hessian at the last point, float64."""
        if self._H is None:
            self._H = self.evaluator.hessian(self._point)
        return self._H

    def again(self, radius: float) -> Step:
        """The step at the same point in another radius; no assembly."""
        if self._eigen is None:
            self._eigen = self._decompose()
        values, vectors, g, noise = self._eigen
        size = float(np.abs(values).max(initial=0.0))
        curved = np.abs(values) > _NOISE * values.size * size
        seen = np.where(curved, values, 0.0)
        tau = steps.ball_step(seen, np.where(curved, g, 0.0), radius)
        told = curved & (np.abs(g) > noise)
        return Step(
            self.whitening @ (vectors @ tau),
            float(np.linalg.norm(tau)),
            float(tau @ (seen * tau)),
            0.5 * float(np.sum(g[told] ** 2 / np.abs(values[told]))),
            self.lowest_curvature(),
            int(np.count_nonzero(curved)),
            float(np.sum(np.abs(values[curved]))) / self._uncancelled,
            int(np.count_nonzero(curved)) < values.size and self._saturated(values[curved].size),
        )

    def _saturated(self, rank: int) -> bool:
        """Does the model identify more than ``rank`` directions somewhere? One assembly, once."""
        problem = self.evaluator.problem
        if problem.skip > 0.0 or problem.ridge or problem._rows.ridged:
            return rank < self.whitening.shape[1]
        if self._identifiable is None:  # for skip = 0 a constant shift of a group's z changes nothing
            T = self.whitening
            values, _ = eigen(T.T @ self.evaluator.within_groups() @ T)
            self._identifiable = int(np.count_nonzero(values > 1e-10))
        return rank < self._identifiable

    @classmethod
    def of(cls, evaluator: Evaluator, metric: np.ndarray) -> NewtonStep:
        """With a metric that is known."""
        step = cls.__new__(cls)
        step.evaluator, step.metric, step.single = evaluator, metric, False
        step._whitening = step._identifiable = None
        return step

    def exactly(self, point: Point, scales: Scales, radius: float) -> Step | None:
        """None: a step is already that."""
        return None

    def curved_directions(self) -> np.ndarray:
        """Orthonormal basis (d, r) of the Hessian's range at the last point: what is identified of x."""
        if self._eigen is None:
            self._eigen = self._decompose()
        values, vectors, _, _ = self._eigen
        curved = np.abs(values) > _NOISE * values.size * np.abs(values).max(initial=0.0)
        return np.linalg.qr(self.metric @ (self.whitening @ vectors[:, curved]))[0]

    def lowest_curvature(self) -> float:
        """Smallest eigenvalue at the last point, over the largest in size."""
        if self._eigen is None:
            self._eigen = self._decompose()
        values = self._eigen[0]
        size = float(np.abs(values).max(initial=0.0))
        return float(values[0] / size) if size > 0.0 else 0.0

    def seen_directions(self) -> np.ndarray:
        """Orthonormal basis (d, r) of the directions of x that change z (or a ridge)."""
        return np.linalg.qr(self.metric @ self.whitening)[0]

    def _decompose(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        T = self.whitening
        values, vectors = eigen(T.T @ self.H @ T)
        g = vectors.T @ (T.T @ self._g)
        # what rounding of the gradient's terms leaves of it in these coordinates
        unit = 1e-15 if self.evaluator.problem.dtype == np.float64 else 1e-7
        noise = unit * float(np.linalg.norm(np.abs(T).T @ self._scales.terms)) / max(g.size, 1) ** 0.5
        return values, vectors, g, noise


def _cholesky_step(H: np.ndarray, M: np.ndarray, g: np.ndarray, radius: float, *pivot: float) -> Step | None:
    """The step for a safely positive definite Hessian, else None; ``pivot``: what is safe."""
    solve = cholesky(H, *pivot)
    if solve is None:
        return None
    t = -solve(g)
    decrement = -0.5 * float(g @ t)
    sigma, Mt = 0.0, M @ t
    length = float(np.sqrt(t @ Mt))
    for _ in range(20):  # Newton's method on 1/length = 1/radius: monotone from sigma = 0
        if length <= 1.01 * radius:
            break
        slope = float(Mt @ solve(Mt))
        sigma += length * length / slope * (length - radius) / radius
        solve = cholesky(H + sigma * M, *pivot)
        if solve is None:
            return None
        t = -solve(g)
        Mt = M @ t
        length = float(np.sqrt(t @ Mt))
    bend = -float(g @ t) - sigma * length * length
    return Step(t, length, bend, decrement, float("nan"), g.size, float("nan"), False)
