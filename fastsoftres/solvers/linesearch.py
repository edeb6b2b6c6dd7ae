"""A line search in row space: every trial costs O(n) and no read of A (MATH 4). ``kernels/linesearch``
decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..kernels import linesearch as decide
from ..point import LinePoint


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
    state = np.empty(decide.N_SEARCH)
    decide.begin(state, value, slope, first, longest)
    best: Accepted | None = None
    answer = decide.MORE
    while answer & decide.MORE:
        eta = float(state[decide.ETA])
        at = along(eta)
        defined = at is not None and bool((at.normaliser.alpha * signs > 0.0).all())
        trial = (at.value, at.slope) if at is not None else (np.inf, np.inf)
        answer = decide.advance(state, defined, *trial)
        if at is not None and answer & decide.KEEP:
            best = Accepted(eta, at, int(state[decide.TRIALS]))
    return best
