"""The bundled markets fitted together, against SciPy's trust-region Newton method on NumPy's formulas."""

from __future__ import annotations

import numpy as np
import pytest
from outside import Plain, best_minimum, minimum

import fastsoftres as fs
from fastsoftres.data import load_automobiles


def markets(skip, **options):
    data = load_automobiles(None)
    return fs.SoftResProblem(data.A, data.b, skip=skip, group_ptr=data.group_ptr, **options)


def agree(problem, result, fun, x):
    """The same minimum: its value, and x as far as the curvature decides it."""
    assert result.success
    assert result.fun == pytest.approx(fun, rel=1e-9)
    np.testing.assert_allclose(result.x, x, rtol=1e-4, atol=1e-5 * np.abs(x).max())
    assert Plain.of(problem).relative_gradient(result.x) < 1e-8


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_twenty_markets_with_one_x(skip):
    problem = markets(skip)
    result = fs.solve(problem)
    agree(problem, result, *minimum(Plain.of(problem), np.zeros(6)))


def test_twenty_markets_by_likelihood():
    problem = markets(0.0, loss="kl")
    result = fs.solve(problem)
    agree(problem, result, *minimum(Plain.of(problem), np.zeros(6)))


@pytest.mark.slow
@pytest.mark.parametrize("skip", [0.0, 0.5, 1.0])
def test_no_start_leads_lower_in_twenty_markets(skip, rng):
    problem = markets(skip)
    agree(problem, fs.solve(problem), *best_minimum(Plain.of(problem), 24, rng))
