"""The decisions of a line search, apart from what evaluates a trial: numbers in, the next trial out (MATH 4).

A search is an array of numbers (``begin``), told of each trial by ``advance``. So the loop over a problem of
any size and storage and the compiled fit of a small one take the same steps.
"""

from __future__ import annotations

import math

import numpy as np

from ._jit import inline, kernel
from .dense import fill

# What a search knows: the next trial, the bracket, the value and slope at its lower end, the best trial so
# far (0: none) with its value, the value and slope at 0, the longest step allowed, and the trials made.
ETA, LOWER, UPPER, LOW_VALUE, LOW_SLOPE, BEST, BEST_VALUE, VALUE, SLOPE, LONGEST, TRIALS = range(11)
N_SEARCH = 11

#: What ``advance`` answers, added up: the trial is the best so far; there is another one to make.
KEEP, MORE = 1, 2

#: Share of the first-order decrease that is asked for (Armijo).
_DECREASE = 1e-4
#: A longer step is tried while the slope is still this share of the first one.
_STEEP = 0.5
#: Differences of the loss below this share of it drown in rounding: the slope decides instead.
_ROUNDING = 1e-13
_MAX_TRIALS = 30


@kernel
def begin(search, value, slope, first, longest):
    """A search from an objective ``value`` with derivative ``slope`` < 0; ``first`` is the first trial
    step."""
    fill(search, 0.0)
    search[ETA] = first
    search[UPPER] = np.inf
    search[LOW_VALUE] = search[VALUE] = value
    search[LOW_SLOPE] = search[SLOPE] = slope
    search[LONGEST] = longest


@inline
def _decreases(search, eta, value, slope):
    if value <= search[VALUE] + _DECREASE * eta * search[SLOPE]:
        return True
    # near a solution the loss no longer tells: a step that flattens the slope is a good one
    level = value <= search[VALUE] + _ROUNDING * abs(search[VALUE])
    return level and abs(slope) <= 0.9 * abs(search[SLOPE])


@inline
def _beyond(eta, slope, here):
    """Where the secant of the slopes has its zero, kept within 2 to 4 times the step."""
    rise = here - slope
    guess = -slope * eta / rise if rise > 0.0 else np.inf
    return min(max(guess, 2.0 * eta), 4.0 * eta)


@inline
def _between(a, fa, da, b, fb, db):
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


@kernel
def advance(search, defined, value, slope):
    """Take note of the trial at ``search[ETA]``; the answer is a sum of ``KEEP`` and ``MORE``.

    ``defined``: the objective is finite there, on the same side of alpha = 0. With ``MORE``, ``search[ETA]``
    is the next trial; without, the search is over and ``search[BEST]`` its step, 0 for none.
    """
    eta = search[ETA]
    search[TRIALS] += 1.0
    found = search[BEST] > 0.0
    answer = 0
    if not defined:
        search[UPPER] = eta
        eta = search[LOWER] + 0.25 * (eta - search[LOWER])
    elif not _decreases(search, eta, value, slope):
        if found:
            return 0
        search[UPPER] = eta
        eta = _between(search[LOWER], search[LOW_VALUE], search[LOW_SLOPE], eta, value, slope)
    else:
        if found and not value <= search[BEST_VALUE]:
            return 0
        answer = KEEP
        search[BEST] = eta
        search[BEST_VALUE] = value
        if slope >= _STEEP * search[SLOPE] or eta >= search[LONGEST] or search[UPPER] < np.inf:
            return KEEP
        search[LOWER], search[LOW_VALUE], search[LOW_SLOPE] = eta, value, slope
        eta = min(search[LONGEST], _beyond(eta, search[SLOPE], slope))
    search[ETA] = eta
    narrow = search[UPPER] < np.inf and search[UPPER] - search[LOWER] <= 1e-14 * search[UPPER]
    return answer if narrow or search[TRIALS] >= _MAX_TRIALS else answer + MORE
