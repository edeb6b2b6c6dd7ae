"""fastsoftres/solvers/linesearch.py: on analytic functions of one variable, whose minimisers and slopes are
known; what an accepted step must fulfil is checked from the function itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastsoftres.passes import Normaliser
from fastsoftres.point import LinePoint
from fastsoftres.solvers.linesearch import search


class Line:
    """A function with its derivative along a line; None where it is undefined. Keeps what was tried."""

    def __init__(self, value, slope, alpha=lambda eta: 1.0):
        self.value, self.slope, self.alpha = value, slope, alpha
        self.tried: list[float] = []

    def __call__(self, eta: float) -> LinePoint | None:
        self.tried.append(eta)
        try:
            value, slope = self.value(eta), self.slope(eta)
        except (OverflowError, ValueError, ZeroDivisionError):
            return None
        if not (math.isfinite(value) and math.isfinite(slope)):
            return None
        alpha = np.atleast_1d(self.alpha(eta))
        return LinePoint(value, slope, Normaliser(alpha, np.zeros(alpha.size), np.zeros(alpha.size)))

    def search(self, first=1.0, longest=4.0, sign=1.0):
        return search(self, self.value(0.0), self.slope(0.0), np.atleast_1d(sign), first, longest)


def assert_decrease(line, found, longest=4.0):
    """Armijo's condition, or no rise and a flatter slope; the values are the function's; no trial twice."""
    assert found is not None
    assert 0.0 < found.eta <= longest
    assert found.at.value == line.value(found.eta)
    assert found.at.slope == line.slope(found.eta)
    value, slope = line.value(0.0), line.slope(0.0)
    flatter = found.at.value <= value and abs(found.at.slope) <= 0.9 * abs(slope)
    assert found.at.value <= value + 1e-4 * found.eta * slope or flatter
    assert len(set(line.tried)) == len(line.tried)
    assert 1 <= found.trials <= len(line.tried) <= 30


def parabola(minimiser, curvature=1.0):
    """½ curvature (eta - minimiser)²."""
    return Line(
        lambda eta: 0.5 * curvature * (eta - minimiser) ** 2, lambda eta: curvature * (eta - minimiser)
    )


def test_full_step_of_a_model_that_is_exact_is_taken_at_once():
    line = parabola(1.0)
    found = line.search()
    assert found.eta == 1.0
    assert line.tried == [1.0]


@given(minimiser=st.floats(1e-6, 1e6), curvature=st.floats(1e-8, 1e8))
def test_parabola_of_any_width(minimiser, curvature):
    """Below half of the first trial the step is cut back; beyond twice of it, lengthened."""
    line = parabola(minimiser, curvature)
    found = line.search(first=1.0, longest=1e9)
    assert_decrease(line, found, 1e9)
    assert found.eta < 2.0 * minimiser
    assert found.eta >= 0.05 * min(minimiser, 1.0)
    if minimiser > 1.0:
        assert found.at.value <= 0.85 * line.value(0.0)


def test_step_is_not_lengthened_beyond_the_longest():
    line = Line(lambda eta: -eta, lambda eta: -1.0)
    found = line.search(first=1.0, longest=7.0)
    assert found.eta == 7.0
    assert max(line.tried) == 7.0


def test_first_trial_may_be_the_longest():
    line = Line(lambda eta: -eta, lambda eta: -1.0)
    found = line.search(first=1.0, longest=1.0)
    assert found.eta == 1.0
    assert line.tried == [1.0]


@pytest.mark.parametrize("wall", [0.9, 1e-2, 1e-6])
def test_pole_is_never_crossed(wall):
    """1/(wall - eta) - c eta, defined before the wall only: the accepted step stays before it."""
    steep = 3.0 / wall**2

    def value(eta):
        if eta >= wall:
            raise ValueError
        return 1.0 / (wall - eta) - steep * eta

    line = Line(value, lambda eta: 1.0 / (wall - eta) ** 2 - steep)
    found = line.search()
    assert_decrease(line, found)
    assert found.eta < wall


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_other_side_of_the_barrier_is_refused_however_low(sign):
    """Beyond 0.3 alpha has changed its sign, and the function is far lower there."""
    line = Line(
        lambda eta: -eta if eta < 0.3 else -100.0 - eta,
        lambda eta: -1.0,
        lambda eta: sign if eta < 0.3 else -sign,
    )
    found = line.search(sign=sign)
    assert_decrease(line, found)
    assert found.eta < 0.3
    assert found.at.normaliser.alpha == sign


@pytest.mark.parametrize("group", [0, 1, 2])
def test_no_group_may_change_its_sign(group):
    """One of three normalisers, of different signs, vanishes at 0.3; the function is lower beyond."""
    signs = np.array([1.0, -1.0, 1.0])
    flipped = signs.copy()
    flipped[group] *= -1.0
    line = Line(
        lambda eta: -eta if eta < 0.3 else -100.0 - eta,
        lambda eta: -1.0,
        lambda eta: signs if eta < 0.3 else flipped,
    )
    found = line.search(sign=signs)
    assert_decrease(line, found)
    assert found.eta < 0.3


def test_nothing_before_the_wall_gives_no_step():
    """Undefined everywhere but at 0."""
    line = Line(lambda eta: 0.0 if eta == 0.0 else math.nan, lambda eta: -1.0)
    assert line.search() is None
    assert len(line.tried) <= 30


def test_overflow_is_stepped_back_from():
    """exp(800 eta) - 2000 eta overflows at 1; its minimiser is log(2.5)/800."""
    line = Line(lambda eta: math.exp(800 * eta) - 2000 * eta, lambda eta: 800 * math.exp(800 * eta) - 2000)
    found = line.search()
    assert_decrease(line, found)
    assert 0.05 * math.log(2.5) / 800 <= found.eta <= 3.0 * math.log(2.5) / 800


def test_rising_function_has_no_step():
    """The slope at 0 was a lie: values only rise."""
    line = Line(lambda eta: eta, lambda eta: 1.0)
    assert search(line, 0.0, -1.0, np.ones(1), 1.0, 4.0) is None
    assert len(line.tried) <= 30


def test_flat_function_has_no_step_to_speak_of():
    """Neither lower nor flatter: only where rounding hides what is asked for may a step seem good."""
    line = Line(lambda eta: 5.0, lambda eta: -1.0)
    found = search(line, 5.0, -1.0, np.ones(1), 1.0, 4.0)
    assert found is None or found.eta * 1e-4 < 5.0 * 2.3e-16


@pytest.mark.parametrize("level", [1.0, 1e-5, 1e8])
def test_near_a_minimum_the_slope_decides(level):
    """The loss changes by less than its rounding, and noise of that size covers it; the slope still falls."""
    noise = np.random.default_rng(0)

    def value(eta):
        return level * (1.0 + 2.2e-16 * noise.integers(-1, 2))

    line = Line(value, lambda eta: 1e-12 * level * (eta - 1.0))
    found = search(line, level, -1e-12 * level, np.ones(1), 1.0, 4.0)
    assert found is not None
    assert abs(found.at.slope) <= 0.9e-12 * level


def test_rounding_is_no_excuse_for_a_rise():
    """A rise of 1e-10 of the value is real, whatever the slope."""
    line = Line(lambda eta: 1.0 + (1e-10 if eta else 0.0), lambda eta: -1e-12 * (1.0 - eta))
    assert line.search() is None


@given(
    first=st.floats(1e-3, 1e3),
    depth=st.floats(0.1, 10.0),
    width=st.floats(1e-3, 1e3),
    tilt=st.floats(0.0, 0.4),
)
def test_every_accepted_step_decreases_enough(first, depth, width, tilt):
    """A smooth well with a tilt: -depth·s·exp(1 - s) + tilt·s for s = eta/width, many shapes."""
    line = Line(
        lambda eta: depth * (-(eta / width) * math.exp(1 - eta / width) + tilt * eta / width),
        lambda eta: depth / width * (-math.exp(1 - eta / width) * (1 - eta / width) + tilt),
    )
    found = line.search(first=first, longest=4.0 * first)
    assert_decrease(line, found, 4.0 * first)
    assert found.at.value == min(line.value(eta) for eta in line.tried if eta <= found.eta)
