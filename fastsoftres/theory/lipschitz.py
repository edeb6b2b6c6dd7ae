"""Lipschitz constants of f, of the gradient and of the Hessian on a ball (docs/theory.md, 4 to 6)."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _validate
from ..point import Point
from .ball import Ball, ball
from .norms import Norms, norms
from .suprema import Sums, Suprema, finite_or_inf, least_squares, likelihood

if TYPE_CHECKING:
    from ..problem import SoftResProblem


@dataclasses.dataclass(frozen=True)
class Constants:
    """Lipschitz constants on one ball.

    Attributes
    ----------
    f : float
        Of x -> f, all groups together.
    grad : float
        Of the gradient: the largest ‖Hessian‖.
    hess : float
        Of the Hessian, in the spectral norm.
    """

    f: float
    grad: float
    hess: float


@dataclasses.dataclass(frozen=True)
class LipschitzBounds(Constants):
    """The smaller of two rigorous bounds for each constant, and both.

    Attributes
    ----------
    f, grad, hess : float
        See ``Constants``; the smaller of ``local`` and ``overall``.
    local : Constants
        By interval reasoning on the rows. Infinite where the normaliser may vanish on the ball.
    overall : Constants
        From n, the norm of A, the largest \\|z_i\\| and the least \\|alpha\\| alone, as in the papers.
    radius : float
    """

    local: Constants
    overall: Constants
    radius: float


def lipschitz(problem: SoftResProblem, x: Any, radius: Any) -> LipschitzBounds:
    """See ``SoftResProblem.lipschitz``."""
    radius = _validate.number(radius, "radius")
    point = problem.at(x)
    with np.errstate(all="ignore"):
        sizes = norms(point, centred=problem.skip == 0.0)
        around = ball(point, sizes, radius)
        local = constants(problem, sizes, suprema(point, sizes, around))
        overall = constants(problem, sizes, _overall(point, sizes, around, radius))
    smaller = {name: min(value, getattr(overall, name)) for name, value in dataclasses.asdict(local).items()}
    return LipschitzBounds(**smaller, local=local, overall=overall, radius=radius)


def suprema(point: Point, sizes: Norms, around: Ball) -> Suprema:
    """Of each group's loss on the ball."""
    data, groups = point.problem._rows, point.problem._rows.groups
    sums = Sums(sizes.rows, sizes.spectral, groups.sums, lambda c: np.maximum.reduceat(c, groups.ptr[:-1]))
    # sum v y/alpha is mu·t at the centre, and drifts from there
    a1 = np.minimum(sizes.means + sums.linear(around.drift), sums.linear(around.va))
    if data.kl:
        return likelihood(sums, a1, around.f, groups.sums(data.b) * sums.outward)
    return least_squares(sums, a1, around.f, around.va, around.ea, around.q)


def constants(problem: SoftResProblem, sizes: Norms, of: Suprema) -> Constants:
    """Constants of the whole problem, its penalties included."""
    data, groups = problem._rows, problem._rows.groups
    weight = groups.weight if groups.weight.size else np.ones(groups.size)
    penalty = problem.ridge
    if data.ridged:
        w = groups.rows_of(weight) * data.w
        sums = Sums(sizes.raw, math.inf, lambda c: np.array([c.sum()]), lambda c: np.array([c.max()]))
        penalty += float(sums.total(w * sizes.raw**2)[0]) * sums.outward
    outer = 1.0 + 1e-12
    return Constants(
        finite_or_inf(float(np.sqrt(np.sum(of.f**2))) * outer),
        finite_or_inf(float(np.sum(weight * of.second) + penalty) * outer),
        finite_or_inf(float(np.sum(weight * of.third)) * outer),
    )


def _overall(point: Point, sizes: Norms, around: Ball, radius: float) -> Suprema:
    """The papers' setting: |z_i| <= the longest row times the farthest x, |alpha| >= beta, uniform in the
    rows."""
    problem = point.problem
    data, groups = problem._rows, problem._rows.groups
    offset = np.abs(data.offset) if data.offset.size else np.zeros(1)
    far = float(np.linalg.norm(point.x)) + radius
    largest = float(sizes.raw.max()) * far * (1.0 + 1e-12) + float(offset.max())
    counts = np.diff(groups.ptr).astype(np.float64)
    shift = point.normaliser.shift
    beta = around.ball_alpha
    if problem.skip == 0.0:
        beta = counts * np.exp(-largest - shift)
    E = np.exp(largest - shift)  # in the units of the shifted alpha
    lam = problem.skip * np.exp(-shift)
    U, V = E + lam * largest, E + lam
    F = np.sqrt(counts) * U / beta
    if problem.skip == 0.0:
        F = np.minimum(F, 1.0)
    C = F + np.sqrt(groups.sums(data.b * data.b))
    Q = C * (1.0 + F)
    longest = np.array([min(float(sizes.rows.max()), sizes.spectral)])
    sums = Sums(longest, sizes.spectral, lambda c: c * counts, lambda c: c)  # of counts equal rows
    f = F / np.sqrt(counts)
    a1 = sums.linear(V / beta)
    if data.kl:
        return likelihood(sums, a1, f, groups.sums(data.b) * (1.0 + 1e-12))
    return least_squares(sums, a1, f, V / beta, E / beta, Q)
