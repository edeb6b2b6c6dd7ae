"""Suprema over a ball of x, by interval reasoning on z (docs/theory.md, 5).

On ‖x - x0‖ <= r each z_i moves by at most ‖a_i‖ r. u and v rise with z, so they lie between their values at
the ends; the rest follows by interval arithmetic, rounded outward. Quantities carry the point's shift of
their group.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..point import Point
from .norms import UNIT, Norms, outward


@dataclasses.dataclass(frozen=True, eq=False)
class Ball:
    """Bounds of the model's quantities on a ball: (n,) of rows, (G,) of groups, none negative."""

    f: np.ndarray  # |f_i|
    va: np.ndarray  # |v_i / alpha|
    drift: np.ndarray  # how far v_i / alpha moves from its value at the centre
    ea: np.ndarray  # e_i / |alpha|
    q: np.ndarray  # |q_i|, q = c - <c, f>
    low_eq: np.ndarray  # e_i q_i / alpha from below, signed
    ball_alpha: np.ndarray  # |alpha| from below; 0 where its interval contains 0
    cancelled: np.ndarray  # sum |u| over |alpha| from below


def ball(point: Point, norms: Norms, radius: float) -> Ball:
    """All of it. Where the interval of alpha contains 0 the bounds are infinite."""
    problem = point.problem
    data, groups = problem._rows, problem._rows.groups
    shift = groups.rows_of(point.normaliser.shift)
    with np.errstate(all="ignore"):  # what overflows is an infinite bound
        lam = problem.skip * np.exp(-shift) if problem.skip else np.zeros_like(shift)
        reach = norms.rows * (radius * (1.0 + 4 * UNIT)) + rounding_of_z(point, norms)
        low, high = point.z - reach, point.z + reach
        e_low = np.exp(low - shift) * (1.0 - 8 * UNIT)
        e_high = np.exp(high - shift) * (1.0 + 8 * UNIT)
        lam_low, lam_high = lam * (1.0 - 8 * UNIT), lam * (1.0 + 8 * UNIT)
        u_low = e_low + np.minimum(lam_low * low, lam_high * low)
        u_high = e_high + np.maximum(lam_low * high, lam_high * high)
        v_high = e_high + lam_high
        sizes = groups.sums(np.maximum(np.abs(u_low), np.abs(u_high))) * outward(u_low.size)
        error = (outward(u_low.size) - 1.0) * sizes
        # alpha also moves by no more than the ball's radius times the norm of its gradient
        centre = groups.sums(np.exp(point.z - shift) + lam * point.z)
        moved = groups.sums(v_high * reach) * outward(u_low.size)
        alpha_low = np.maximum(groups.sums(u_low), centre - moved) - error
        alpha_high = np.minimum(groups.sums(u_high), centre + moved) + error
        least = np.where(alpha_low > 0.0, alpha_low, np.where(alpha_high < 0.0, -alpha_high, 0.0))
        at_least = groups.rows_of(least)
        sign = np.where(groups.rows_of(alpha_low) > 0.0, 1.0, -1.0)
        a_low, a_high = groups.rows_of(alpha_low), groups.rows_of(alpha_high)
        corners = np.stack([u_low / a_low, u_low / a_high, u_high / a_low, u_high / a_high])
        f_low = _down(corners.min(axis=0))
        f_high = _up(corners.max(axis=0))
        b = data.b
        squares = [f_low * (f_low - b), f_high * (f_high - b)]
        inside = (f_low < 0.5 * b) & (0.5 * b < f_high)
        s_low = np.where(inside, -0.25 * b * b, np.minimum(*squares))
        s_high = np.maximum(*squares)
        slip = (outward(b.size) - 1.0) * groups.sums(np.maximum(np.abs(s_low), np.abs(s_high)))
        s_low, s_high = groups.sums(s_low) - slip, groups.sums(s_high) + slip
        q_low = _down(f_low - b - groups.rows_of(s_high))
        q_high = _up(f_high - b - groups.rows_of(s_low))
        va = _up(v_high / at_least)
        most = groups.rows_of(np.maximum(np.abs(alpha_low), np.abs(alpha_high)))
        middle = (np.exp(point.z - shift) + lam) / np.abs(groups.rows_of(centre))
        drift = (
            np.maximum(_up(va - middle), _up(middle - _down((e_low + lam_low) / most))) + 16 * UNIT * middle
        )
        ea = _up(e_high / at_least)
        q = np.maximum(np.abs(q_low), np.abs(q_high))
        worst = np.where(sign > 0.0, q_low, -q_high)  # the most negative of q/alpha, times |alpha|
        low_eq = np.where(worst < 0.0, ea * worst, 0.0)
        bad = at_least <= 0.0
        for array in (va, drift, ea, q):
            array[bad] = np.inf
        low_eq[bad] = -np.inf
        f = np.maximum(np.abs(f_low), np.abs(f_high))
        f[bad] = np.inf
        return Ball(f, va, drift, ea, q, low_eq, least, np.where(least > 0.0, sizes / least, np.inf))


def rounding_of_z(point: Point, norms: Norms) -> np.ndarray:
    """What z_i may be off by (n,): the sum of d products, and the offset."""
    terms = np.abs(point.z) + 2.0 * norms.raw * float(np.linalg.norm(point.x))
    return (point.x.size + 4) * UNIT * terms


def _up(values: np.ndarray) -> np.ndarray:
    return values + 8.0 * UNIT * np.abs(values)


def _down(values: np.ndarray) -> np.ndarray:
    return values - 8.0 * UNIT * np.abs(values)
