"""A line search in row space: every trial costs O(n) and no read of A (MATH 4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..point import LinePoint

#: Share of the first-order decrease that is asked for (Armijo).
_DECREASE = 1e-4
#: A longer step is tried while the slope is still this share of the first one.
_STEEP = 0.5
#: Differences of the loss below this share of it drown in rounding: the slope decides instead.
_ROUNDING = 1e-13
_MAX_TRIALS = 30


class Accepted(NamedTuple):
    """The step taken along the line."""

    eta: float
    at: LinePoint
    trials: int


def search(
    along: Callable[[float], LinePoint | None],
    value: float,
    slope: float,
    signs: np.ndarray,
    first: float,
    longest: float,
) -> Accepted | None:
    """A step length with enough decrease on the same side of the barrier, or None.

    Parameters
    ----------
    along : callable
        The objective at a step length, None where it is undefined.
    value, slope : float
        Objective and its derivative at 0; the slope is negative.
    signs : (G,) ndarray
        Signs of each group's alpha, which a step must keep: alpha = 0 is a pole of the objective.
    first, longest : float
        Trial step, and the longest one allowed.
    """
    eta, lower, upper = first, 0.0, math.inf
    best: Accepted | None = None
    low_value, low_slope = value, slope
    for trial in range(1, _MAX_TRIALS + 1):
        at = along(eta)
        if at is None or (at.normaliser.alpha * signs <= 0.0).any():
            upper = eta
            eta = lower + 0.25 * (upper - lower)
        elif not _decreases(at, eta, value, slope):
            if best is not None:
                return best
            upper = eta
            eta = _between(lower, low_value, low_slope, eta, at.value, at.slope)
        else:
            if best is None or at.value <= best.at.value:
                best = Accepted(eta, at, trial)
            else:
                return best
            if at.slope >= _STEEP * slope or eta >= longest or upper < math.inf:
                return best
            lower, low_value, low_slope = eta, at.value, at.slope
            eta = min(longest, _beyond(eta, slope, at.slope))
        if upper < math.inf and upper - lower <= 1e-14 * upper:
            break
    return best


def _decreases(at: LinePoint, eta: float, value: float, slope: float) -> bool:
    if at.value <= value + _DECREASE * eta * slope:
        return True
    # near a solution the loss no longer tells: a step that flattens the slope is a good one
    return at.value <= value + _ROUNDING * abs(value) and abs(at.slope) <= 0.9 * abs(slope)


def _beyond(eta: float, slope: float, here: float) -> float:
    """Where the secant of the slopes has its zero, kept within 2 to 4 times the step."""
    rise = here - slope
    guess = -slope * eta / rise if rise > 0.0 else math.inf
    return min(max(guess, 2.0 * eta), 4.0 * eta)


def _between(a: float, fa: float, da: float, b: float, fb: float, db: float) -> float:
    """Minimiser of the cubic through both ends, kept away from them."""
    width = b - a
    c = da + db - 3.0 * (fb - fa) / width
    root = c * c - da * db
    guess = 0.5
    if root >= 0.0:
        root = math.sqrt(root)
        below = db - da + 2.0 * root
        if below != 0.0:
            guess = 1.0 - (db + root - c) / below
    return a + width * min(max(guess, 0.1), 0.6)
