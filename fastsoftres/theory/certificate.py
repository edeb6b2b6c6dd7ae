"""A proof that a true stationary point lies near a computed one: Newton-Kantorovich (docs/theory.md, 7)."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..point import LinePoint, Point, at_known_z
from ..problem import SoftResProblem
from .ball import Ball, ball, rounding_of_z
from .lipschitz import constants, suprema
from .norms import UNIT, Norms, norms, outward

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

#: Radii tried beyond the first one, when the constant found on it asks for more.
_WIDER = 3


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What is proven of a point.

    Attributes
    ----------
    proven : bool
        Does exactly one true stationary point lie within ``radius`` of x?
    radius : float
        inf where nothing is proven.
    strict_minimum : bool
        Is that point proven to be a strict local minimum?
    h : float
        M times step over curvature; at most ½ is a proof.
    step : float
        Bound of the exact Newton step's length at x.
    curvature : float
        Smallest absolute eigenvalue of the true Hessian at x, from below.
    lipschitz : float
        Of the Hessian on the ball that was used.
    reason : str
        In words, why it is proven or not.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> problem = fs.SoftResProblem([[1.0], [0.0], [2.0]], [0.3, 0.2, 0.5], skip=0)
    >>> proof = fs.certify(problem, fs.solve(problem))
    >>> proof.proven, proof.strict_minimum, proof.radius < 1e-8
    (True, True, True)
    """

    proven: bool
    radius: float
    strict_minimum: bool
    h: float
    step: float
    curvature: float
    lipschitz: float
    reason: str

    def __bool__(self) -> bool:
        return self.proven


def certify(problem: SoftResProblem, result: OptimizeResult | Any) -> Certificate:
    """Prove, if possible, that a true stationary point of the objective lies near a computed one.

    Parameters
    ----------
    problem : SoftResProblem
    result : OptimizeResult or (d,) array_like
        What ``solve`` returned, or any x.

    Returns
    -------
    Certificate
        True where it is proven. Not proven is no disproof: the constants are bounds.

    Raises
    ------
    TypeError, ValueError
        If x has a wrong shape or is not finite, or the objective is undefined there.

    Notes
    -----
    The point is that of the stored numbers: A, b and x as they are in memory, the objective in exact
    arithmetic. Rounding in gradient and Hessian is bounded by stated terms that grow with n times the unit
    roundoff. Five reads of A, two of them assemblies; d up to a few thousand.

    Examples
    --------
    >>> import numpy as np
    >>> import fastsoftres as fs
    >>> A = np.random.default_rng(0).standard_normal((200, 3))
    >>> problem = fs.SoftResProblem(A, fs.softres(A @ [1.0, -0.5, 0.2], skip=0), skip=0)
    >>> certificate = fs.certify(problem, fs.solve(problem))
    >>> certificate.proven, certificate.strict_minimum, certificate.radius < 1e-6
    (True, True, True)
    """
    if not isinstance(problem, SoftResProblem):
        raise TypeError(f"problem must be a SoftResProblem, got {type(problem).__name__}")
    point = problem.at(getattr(result, "x", result))
    line = LinePoint(point.value, 0.0, point.normaliser)
    point, _ = at_known_z(problem, point.x.copy(), point.z.copy(), line)
    with np.errstate(all="ignore"):
        sizes = norms(point, centred=problem.skip == 0.0)
        return _certificate(point, sizes)


def _certificate(point: Point, sizes: Norms) -> Certificate:
    around = ball(point, sizes, 0.0)
    if not np.isfinite(around.va).all():
        return _nothing("rounding alone may move a normaliser to zero")
    error_g, error_H = _rounding(point, sizes, around)
    H = point.assembled()
    values, vectors = np.linalg.eigh(H)
    d = values.size
    error_H += 8.0 * d * UNIT * float(np.linalg.norm(H))
    curvature = float(np.abs(values).min()) - error_H
    if not curvature > 0.0:
        return _nothing(
            "the Hessian is singular, or not distinguishable from a singular one: its smallest eigenvalue is "
            f"{values[np.abs(values).argmin()]:.1e}, rounding up to {error_H:.1e}"
        )
    g = vectors.T @ point.grad
    newton = float(np.linalg.norm(g / values))
    error_g += 4.0 * d * UNIT * float(np.linalg.norm(point.grad))
    step = (newton * (1.0 + 1e-9) + (error_g + error_H * newton) / curvature) * (1.0 + 1e-9)
    radius = 2.0 * step
    for _ in range(1 + _WIDER):
        wide = ball(point, sizes, radius)
        M = constants(point.problem, sizes, suprema(point, sizes, wide)).hess
        h = M * step / curvature
        if not h <= 0.5:
            why = f"h = {h:.1e} is above 1/2: the step {step:.1e} is too long for curvature {curvature:.1e}"
            return Certificate(False, math.inf, False, h, step, curvature, M, why)
        found = 2.0 * step / (1.0 + math.sqrt(1.0 - 2.0 * h)) * (1.0 + 1e-12)
        if found <= radius:
            break
        radius = 2.0 * radius
    minimum = bool(values[0] > error_H) and h < 0.5
    kind = "a strict local minimum" if minimum else "a stationary point"
    return Certificate(
        True, found, minimum, h, step, curvature, M, f"{kind} lies within {found:.1e} of x, and no other one"
    )


def _nothing(reason: str) -> Certificate:
    nan = math.nan
    return Certificate(False, math.inf, False, nan, nan, 0.0, nan, reason)


def _rounding(point: Point, sizes: Norms, around: Ball) -> tuple[float, float]:
    """Bounds of the errors of the computed gradient and Hessian, in norm (docs/theory.md, 7)."""
    problem = point.problem
    data, groups = problem._rows, problem._rows.groups
    n, d = problem.shape
    weight = groups.weight if groups.weight.size else np.ones(groups.size)
    every = groups.rows_of
    # sums of a block are kept in the storage's type: at most BLOCK rows long there, n elsewhere
    sums = (outward(n) - 1.0) + (
        256 * float(np.finfo(np.float32).eps) if problem.dtype == np.float32 else 0.0
    )
    unit = sums * (1.0 + every(around.cancelled))
    f, va, ea = around.f, around.va, around.ea
    b = np.abs(data.b)
    a = sizes.raw
    if data.kl:
        S = every(groups.sums(b))
        terms, diagonal, mixed = S * f + b, S * f, S * f
    else:
        S = every(groups.sums(f * (f + b)))
        size_q = f + b + S
        terms = va * size_q
        diagonal = ea * size_q + va * va
        mixed = va * (size_q + f + 0.5 * every(groups.sums(f * f)))
    # what rounding of z does to both, by the second and third derivative
    moved = rounding_of_z(point, sizes)
    along = every(groups.sums(a * mixed)) * va + every(groups.sums(a * va)) * mixed
    share = moved / np.maximum(a, 1e-300)  # as if x had moved by this much in each row
    third = suprema(point, sizes, around).third
    scale = every(weight)
    error_g = float(np.sum(scale * (4.0 * unit * a * terms + (a * diagonal + along) * moved)))
    pairs = groups.sums(a * mixed) * groups.sums(a * va) + groups.sums(a * va) ** 2 * groups.sums(diagonal)
    error_H = float(np.sum(weight * (groups.sums(8.0 * unit * a * a * diagonal))))
    error_H += float(np.sum(weight * 16.0 * np.maximum.reduceat(unit, groups.ptr[:-1]) * pairs))
    error_H += float(np.sum(weight * third * np.maximum.reduceat(share, groups.ptr[:-1])))
    if data.ridged:
        w = scale * data.w
        error_g += float(np.sum(w * a * (moved + sums * np.abs(point.z))))
        error_H += 8.0 * sums * float(np.sum(w * a * a))
    error_g += 4.0 * UNIT * problem.ridge * float(np.linalg.norm(point.x)) * math.sqrt(d)
    error_H += 4.0 * UNIT * problem.ridge
    more = outward(n)
    return error_g * more, error_H * more
