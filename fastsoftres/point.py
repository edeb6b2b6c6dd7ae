"""An evaluated point: everything known at x after one read of A, shared by products and the Hessian."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _validate, passes
from .kernels import gradient, rowstate
from .runners import walk

if TYPE_CHECKING:
    from .hessian import SoftResHessian
    from .problem import SoftResProblem

#: Below this share of ½‖b‖² the loss is recomputed from c = f - b: the expanded sums have lost two digits.
_CANCELS = 1e-2


@dataclasses.dataclass(frozen=True, eq=False)
class Curvature:
    """Row space of the centred Hessian (MATH 3): H_z in terms of D, h, v/alpha, and kappa_0."""

    D: np.ndarray
    h: np.ndarray
    va: np.ndarray
    kappa: float


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
    """The problem evaluated at one x. Immutable; safe to share between threads.

    Attributes
    ----------
    x : (d,) float64
    z : (n,) float64
        A @ x.
    value : float
        The objective.
    grad : (d,) float64
        Its gradient.
    """

    problem: SoftResProblem
    x: np.ndarray
    z: np.ndarray
    value: float
    grad: np.ndarray
    normaliser: passes.Normaliser
    mean: np.ndarray  # mu = A'v/alpha (d,)

    @functools.cached_property
    def curvature(self) -> Curvature:
        """Row vectors of the Hessian, O(n), no read of A."""
        rows = passes.CurvatureRows(self.problem._rows, self.z, self.normaliser)
        kappa = walk(self.problem._source, rows)
        return Curvature(rows.D, rows.h, rows.va, float(kappa[0]))

    @functools.cached_property
    def f(self) -> np.ndarray:
        """The fitted values f (n,), no read of A."""
        work = passes.Map(self.z, self.problem.skip, self.normaliser.alpha, self.normaliser.shift)
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
        Centred, one pass: MATH 3. The row vectors D and h are formed at the first product and kept.
        """
        d = self.problem.shape[1]
        t = np.asarray(t)
        if t.ndim not in (1, 2) or t.shape[0] != d:
            raise ValueError(f"t must have shape ({d},) or ({d}, k), got {t.shape}")
        if t.dtype.kind not in "fiub":
            raise TypeError(f"t must hold real numbers, got dtype {t.dtype}")
        t = t.astype(np.float64, copy=False)
        _validate.finite(t, "t")
        if t.ndim == 2 and t.shape[1] == 0:
            return np.zeros(t.shape)
        T = padded_rows(t)
        curvature = self.curvature
        beta = T @ self.mean
        scale = np.max(np.abs(T), axis=1)  # weights in float32 must not over- or underflow
        scale[scale == 0.0] = 1.0
        work = passes.HessianProduct(T / scale[:, None], beta / scale, curvature.D, curvature.h)
        out, sums = walk(self.problem._source, work)
        inner = sums[:, 1] + curvature.kappa * work.beta - sums[:, 0]
        out = (out + inner[:, None] * self.mean) * scale[:, None] + self.problem.ridge * T
        return out[0] if t.ndim == 1 else np.ascontiguousarray(out[: t.shape[1]].T)

    def hessian(self) -> SoftResHessian:
        """The Hessian here as a linear operator; assembled only when asked."""
        from .hessian import SoftResHessian  # scipy.sparse.linalg is slow to import

        return SoftResHessian(self)


def padded_rows(t: np.ndarray) -> np.ndarray:
    """Columns of t as contiguous rows, one, or a multiple of four as the kernels take them."""
    if t.ndim == 1:
        return t[None, :].copy()
    k = t.shape[1]
    T = np.zeros((1 if k == 1 else -(-k // 4) * 4, t.shape[0]))
    T[:k] = t.T
    return T


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


class OutOfDomainError(ValueError):
    """The objective is undefined at this x: A x is not finite, or the normaliser alpha is zero."""


def _loss(
    problem: SoftResProblem,
    z: np.ndarray,
    y: np.ndarray,
    eta: float,
    alpha: float,
    shift: float,
    suu: float,
    sub: float,
    swz: float,
) -> tuple[float, float]:
    """Loss without ridge, and s, from the sums of a pass; recomputed from c where they cancel."""
    if not (math.isfinite(alpha) and math.isfinite(suu) and alpha != 0.0):
        raise OutOfDomainError(
            "the objective is undefined at x: the normaliser alpha = sum(exp(z) + skip*z) is "
            f"{alpha} (times exp({-shift:g})); z = A @ x must be finite and alpha not zero"
        )
    ff, fb = (suu / alpha) / alpha, sub / alpha
    loss, s = 0.5 * (ff - 2.0 * fb + problem._bb), ff - fb
    if loss < _CANCELS * 0.5 * max(problem._bb, ff):
        cc, s, _ = walk(problem._source, passes.Residual(problem._rows, z, y, eta, alpha, shift))
        loss = 0.5 * cc
    if not math.isfinite(loss + swz):
        raise OutOfDomainError(f"the objective is not finite at x: the loss overflows ({loss + 0.5 * swz})")
    return float(loss) + 0.5 * float(swz), float(s)


def evaluate(problem: SoftResProblem, x: np.ndarray) -> Point:
    """The point at x, in one read of A (MATH 4)."""
    work = passes.Gradient(problem._rows, x, problem.shape[0])
    sums, G = walk(problem._source, work)
    alpha, shift = float(sums[gradient.SUM_U]), float(sums[gradient.SHIFT])
    with np.errstate(all="ignore"):  # overflow is told by an error below, not by a warning
        loss, s = _loss(problem, work.z, work.z, 0.0, alpha, shift, *sums[2:5].tolist())
        grad = (G[0] / alpha - G[1] - s * G[2]) / alpha
        if problem._rows.ridged:
            grad += G[3]
        return _point(problem, x, work.z, loss, s, alpha, shift, grad, G[2] / alpha)


def _point(
    problem: SoftResProblem,
    x: np.ndarray,
    z: np.ndarray,
    loss: float,
    s: float,
    alpha: float,
    shift: float,
    grad: np.ndarray,
    mean: np.ndarray,
) -> Point:
    value = loss
    if problem.ridge:
        value += 0.5 * problem.ridge * float(x @ x)
        grad = grad + problem.ridge * x
    normaliser = passes.Normaliser.of(alpha, shift, s)
    return Point(problem, _frozen(x), _frozen(z), value, _frozen(grad), normaliser, _frozen(mean))


@dataclasses.dataclass(frozen=True, eq=False)
class LinePoint:
    """The objective on a line through row space: z + eta*y, with its derivative in eta."""

    value: float
    slope: float
    alpha: float
    shift: float
    s: float


def along(
    problem: SoftResProblem, x: np.ndarray, t: np.ndarray, z: np.ndarray, y: np.ndarray, eta: float
) -> LinePoint | None:
    """The objective at x + eta*t with y = A t known: O(n), no read of A. None where it is undefined."""
    sums = walk(problem._source, passes.Line(problem._rows, z, y, eta))
    shift, alpha, suu, sub, swz, yvu, yvb, yv, wzy = sums.tolist()
    try:
        loss, s = _loss(problem, z, y, eta, alpha, shift, suu, sub, swz)
    except OutOfDomainError:
        return None
    slope = (yvu / alpha - yvb - s * yv) / alpha + wzy
    if problem.ridge:
        moved = x + eta * t
        loss += 0.5 * problem.ridge * float(moved @ moved)
        slope += problem.ridge * float(moved @ t)
    if not math.isfinite(slope):
        return None
    return LinePoint(loss, slope, alpha, shift, s)


@dataclasses.dataclass(frozen=True, eq=False)
class Scales:
    """What the gradient is measured against (MATH 7): column sums of absolute values, (d,) each."""

    terms: np.ndarray  # of the terms that cancel in it
    rows: np.ndarray  # of the rows' contributions


def at_known_z(
    problem: SoftResProblem, x: np.ndarray, z: np.ndarray, line: LinePoint
) -> tuple[Point, Scales]:
    """The point at x with z = A x and its normaliser known: one read of A, no dot product."""
    normaliser = passes.Normaliser.of(line.alpha, line.shift, line.s)
    G = walk(problem._source, passes.ColumnSums(problem._rows, z, normaliser))
    ridge = problem.ridge * np.abs(x)
    point = Point(
        problem, _frozen(x), _frozen(z), line.value, _frozen(G[0] + problem.ridge * x), normaliser, G[1]
    )
    return point, Scales(G[2] + ridge, G[3] + ridge)


def products(problem: SoftResProblem, t: np.ndarray) -> np.ndarray:
    """A @ t for t (d,): one read of A."""
    work = passes.Times(t[None, :], problem.shape[0])
    walk(problem._source, work)
    return work.Y[0]


assert (gradient.SUM_WZZ, rowstate.N_LINE) == (4, 9)  # the orders that this file unpacks
