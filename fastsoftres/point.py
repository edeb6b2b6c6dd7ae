"""An evaluated point: everything known at x after one read of A, shared by products and the Hessian."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _validate, passes
from .kernels import gradient, gram, rowstate
from .kernels.formula import CANCELS
from .runners import walk

if TYPE_CHECKING:
    from .hessian import SoftResHessian
    from .problem import SoftResProblem


@dataclasses.dataclass(frozen=True, eq=False)
class Curvature:
    """Row space of the centred Hessian (MATH 3): H_z in terms of D, h, v/alpha (n,), and kappa_0 (G,)."""

    D: np.ndarray
    h: np.ndarray
    va: np.ndarray
    kappa: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
    """The problem evaluated at one x. Immutable; safe to share between threads.

    Attributes
    ----------
    x : (d,) float64
    z : (n,) float64
        A @ x, plus the offset.
    value : float
        The objective.
    grad : (d,) float64
        Its gradient.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> point = fs.SoftResProblem([[1.0], [0.0]], [0.7, 0.3], skip=0).at([0.0])
    >>> point.f.tolist(), round(point.value, 12), point.grad.round(12).tolist()
    ([0.5, 0.5], 0.04, [-0.1])
    """

    problem: SoftResProblem
    x: np.ndarray
    z: np.ndarray
    value: float
    grad: np.ndarray
    normaliser: passes.Normaliser
    means: np.ndarray  # A'v/alpha of the kept groups (k, d)

    @functools.cached_property
    def curvature(self) -> Curvature:
        """Row vectors of the Hessian, O(n), no read of A."""
        rows = passes.CurvatureRows(self.problem._rows, self.z, self.normaliser)
        for group, kappa, _ in walk(self.problem._source, rows)[1]:
            rows.kappa[group] = kappa[0]
        return Curvature(rows.D, rows.h, rows.va, rows.kappa)

    @functools.cached_property
    def f(self) -> np.ndarray:
        """The fitted values f (n,), no read of A."""
        work = passes.Map(self.problem._rows.groups, self.z, self.problem.skip, self.normaliser)
        walk(self.problem._source, work)
        return _frozen(work.f)

    def hessp(self, t: Any) -> np.ndarray:
        """Hessian times t, in one read of A for any number of columns.

        Parameters
        ----------
        t : (d,) or (d, k) array_like

        Returns
        -------
        (d,) or (d, k) float64

        Raises
        ------
        ValueError, TypeError
            If t has another shape, or entries that are not finite real numbers.

        Notes
        -----
        Centred, one pass: MATH 3, 5. The row vectors D and h are formed at the first product and kept.
        """
        d = self.problem.shape[1]
        t = _validate.array(t, "t")
        if t.ndim not in (1, 2) or t.shape[0] != d:
            raise ValueError(f"t must have shape ({d},) or ({d}, k), got {t.shape}")
        with np.errstate(over="ignore"):  # a long double beyond float64: inf, which is refused
            t = t.astype(np.float64, copy=False)
        _validate.finite(t, "t")
        if t.ndim == 2 and t.shape[1] == 0:
            return np.zeros(t.shape)
        T = padded_rows(t)
        rows = self.curvature
        scale = np.max(np.abs(T), axis=1)  # weights in float32 must not over- or underflow
        scale[scale == 0.0] = 1.0
        work = passes.HessianProduct(
            self.problem._rows.groups, T / scale[:, None], self.means, rows.D, rows.h, rows.va, rows.kappa
        )
        out = walk(self.problem._source, work) * scale[:, None] + self.problem.ridge * T
        return out[0] if t.ndim == 1 else np.ascontiguousarray(out[: t.shape[1]].T)

    def hessian(self) -> SoftResHessian:
        """The Hessian here as a linear operator; assembled only when asked."""
        from .hessian import SoftResHessian  # scipy.sparse.linalg is slow to import

        return SoftResHessian(self)

    def gram(self, dtype: Any, **how: Any) -> np.ndarray:
        """A Gram matrix (d, d) of the rows about their groups' means here: the arguments of
        ``passes.Gram``."""
        rows = self.curvature
        options = {"D": rows.D, "va": rows.va, **how}
        work = passes.Gram(self.problem._rows.groups, self.means, dtype=dtype, **options)
        H, _ = walk(self.problem._source, work)
        if dtype == np.float32 and not np.isfinite(H).all():  # squares leave its range at 1e19
            return self.gram(np.dtype(np.float64), **how)
        return passes.symmetric(H, self.x.size)

    def assembled(self, dtype: Any = np.float64) -> np.ndarray:
        """The Hessian (d, d): one read of A; ``SoftResHessian.to_dense`` documents it."""
        rows = self.curvature
        data = self.problem._rows
        crossed = bool(self.problem.skip) or data.ridged
        how = {"how": gram.HESSIAN, "h": rows.h, "kappa": rows.kappa} if crossed else {}
        H = self.gram(dtype, **how)
        H[np.diag_indices_from(H)] += self.problem.ridge
        return H


def padded_rows(t: np.ndarray) -> np.ndarray:
    """Columns of t as contiguous rows, one, or a multiple of four as the kernels take them."""
    if t.ndim == 1:
        return t[None, :].copy()
    k = t.shape[1]
    T = np.zeros((1 if k == 1 else -(-k // 4) * 4, t.shape[0]))
    T[:k] = t.T
    return T


def _frozen(array: np.ndarray) -> np.ndarray:
    if isinstance(array, np.ndarray):  # what lies with partitions cannot be written to
        array.flags.writeable = False
    return array


class OutOfDomainError(ValueError):
    """The objective is undefined at this x: A x is not finite, or a normaliser alpha is zero."""


def representable(values: np.ndarray, what: str) -> np.ndarray:
    """Values that a user is about to get, if all of them are finite."""
    if not np.isfinite(values).all():
        raise OutOfDomainError(f"{what} is not finite at x: it overflows float64; scale the columns of A")
    return values


def _residual_losses(
    problem: SoftResProblem,
    z: np.ndarray,
    y: np.ndarray,
    eta: float,
    normaliser: passes.Normaliser,
    losses: dict[int, float],
    sizes: dict[int, float],
) -> None:
    """Losses of cut groups whose expanded sums cancel, and their s, recomputed from c = f - b."""
    groups = problem._rows.groups
    picked = [g for g, loss in losses.items() if loss < CANCELS * sizes[g] and normaliser.alpha[g]]
    if picked and not problem._rows.kl:
        again = passes.Residual(problem._rows, z, y, eta, normaliser, picked)
        for group, sums, _ in walk(problem._source, again)[1]:
            losses[group] = (groups.weight[group] if groups.weight.size else 1.0) * float(sums[0])
            normaliser.s[group] = sums[1]


def _checked(value: float, normaliser: passes.Normaliser, problem: SoftResProblem) -> float:
    """The loss, if it is finite."""
    if math.isfinite(value):
        return value
    bad = ~(np.isfinite(normaliser.alpha) & (normaliser.alpha != 0.0))
    if bad.any():
        g = int(np.argmax(bad))
        where = f" of group {g}" if bad.size > 1 else ""
        raise OutOfDomainError(
            f"the objective is undefined at x: the normaliser alpha = sum(exp(z) + skip*z){where} is "
            f"{normaliser.alpha[g]} (times exp({-normaliser.shift[g]:g})); z = A @ x must be finite and "
            "alpha not zero"
        )
    raise OutOfDomainError(f"the objective is not finite at x: the loss overflows ({value})")


def evaluate(problem: SoftResProblem, x: np.ndarray) -> Point:
    """The point at x, in one read of A (MATH 4, 5)."""
    data = problem._rows
    work = passes.Gradient(data, x, problem.shape[0], data.groups.row_vector())
    (totals, grad), pieces = walk(problem._source, work)
    normaliser, means = work.normaliser, work.means
    with np.errstate(all="ignore"):  # overflow is told by an error below, not by a warning
        if pieces:
            losses, sizes, answer = {}, {}, np.empty(6)
            weight = data.groups.weight
            for group, sums, G in pieces:
                importance = weight[group] if weight.size else 1.0
                mean = means[data.groups.kept[group]]
                gradient.finish_sums(sums, G, data.kl, importance, grad, mean, answer)
                normaliser.alpha[group], normaliser.shift[group], normaliser.s[group] = answer[:3]
                losses[group], sizes[group] = float(answer[3]), float(answer[5])
                totals[1] += answer[4]
            _residual_losses(problem, work.z, work.z, 0.0, normaliser, losses, sizes)
            totals[0] += sum(losses.values())
        value = _checked(float(totals[0]) + float(totals[1]), normaliser, problem)
        if problem.ridge:
            value += 0.5 * problem.ridge * float(x @ x)
            grad += problem.ridge * x
            if not math.isfinite(value):
                raise OutOfDomainError("the objective is not finite at x: ½ ridge ‖x‖² overflows")
    return Point(problem, _frozen(x), _frozen(work.z), value, _frozen(grad), normaliser, _frozen(means))


@dataclasses.dataclass(frozen=True, eq=False)
class LinePoint:
    """The objective on a line through row space: z + eta*y, with its derivative in eta."""

    value: float
    slope: float
    normaliser: passes.Normaliser


def along(
    problem: SoftResProblem, x: np.ndarray, t: np.ndarray, z: np.ndarray, y: np.ndarray, eta: float
) -> LinePoint | None:
    """The objective at x + eta*t with y = A t known: O(n), no read of A. None where it is undefined."""
    data = problem._rows
    work = passes.Line(data, z, y, eta)
    (totals,), pieces = walk(problem._source, work)
    normaliser = work.normaliser
    loss, slope = totals.tolist()
    if pieces:
        losses, sizes, answer = {}, {}, np.empty(7)
        weight = data.groups.weight
        for group, sums, _ in pieces:
            importance = weight[group] if weight.size else 1.0
            rowstate.finish_line(sums, data.kl, importance, answer)
            normaliser.alpha[group], normaliser.shift[group], normaliser.s[group] = answer[:3]
            losses[group], sizes[group] = float(answer[6]), float(answer[5])
            loss += float(answer[3] - answer[6])
            slope += float(answer[4])
        _residual_losses(problem, z, y, eta, normaliser, losses, sizes)
        loss += sum(losses.values())
    if problem.ridge:
        moved = x + eta * t
        loss += 0.5 * problem.ridge * float(moved @ moved)
        slope += problem.ridge * float(moved @ t)
    if not (math.isfinite(loss) and math.isfinite(slope)):
        return None
    return LinePoint(loss, slope, normaliser)


@dataclasses.dataclass(frozen=True, eq=False)
class Scales:
    """What the gradient is measured against (MATH 7): column sums of absolute values, (d,) each."""

    terms: np.ndarray  # of the terms that cancel in it
    rows: np.ndarray  # of the rows' contributions


def at_known_z(
    problem: SoftResProblem, x: np.ndarray, z: np.ndarray, line: LinePoint
) -> tuple[Point, Scales]:
    """The point at x with z = A x and its normalisers known: one read of A, no dot product."""
    work = passes.ColumnSums(problem._rows, z, line.normaliser, x.size)
    (G,), pieces = walk(problem._source, work)
    for group, mean, _ in pieces:
        work.means[problem._rows.groups.kept[group]] = mean
    ridge = problem.ridge * np.abs(x)
    grad = _frozen(G[0] + problem.ridge * x)
    point = Point(problem, _frozen(x), _frozen(z), line.value, grad, line.normaliser, _frozen(work.means))
    return point, Scales(G[2] + ridge, G[3] + ridge)


def fitted(problem: SoftResProblem, x: np.ndarray) -> np.ndarray:
    """The fitted values f (n,) at x: one read of A, and no gradient."""
    groups, offset = problem._rows.groups, problem._rows.offset
    z = products(problem, x)
    if offset.size:
        z = z + offset
    with np.errstate(all="ignore"):
        line = along(problem, x, x, z, z, 0.0)
    if line is None:
        return evaluate(problem, x).f  # tells what is wrong, if anything is
    work = passes.Map(groups, z, problem.skip, line.normaliser)
    walk(problem._source, work)
    return work.f


def products(problem: SoftResProblem, t: np.ndarray) -> np.ndarray:
    """A @ t for t (d,): one read of A."""
    work = passes.Times(t[None, :], problem.shape[0], problem._rows.groups.row_vector(1))
    walk(problem._source, work)
    return work.Y[0]
