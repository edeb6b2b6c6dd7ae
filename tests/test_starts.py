"""fastsoftres/solvers/starts.py: against the inverse of the map by bisection, NumPy's least squares, and the
x that made a target."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import brentq

import fastsoftres as fs
from fastsoftres.solvers import starts
from fastsoftres.solvers.evaluator import Evaluator


def closed_forms(problem):
    signs = (1.0, -1.0) if problem.skip > 0 else (1.0,)
    return {s.name: s.point.x for sign in signs for s in starts.closed_form(Evaluator(problem), sign)}


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("skip", [0.0, 0.2, 1.0])
def test_attainable_target_is_inverted(rng, skip, spread):
    """Outright for skip = 0; for skip > 0 up to the step of the search over alpha."""
    A = rng.standard_normal((200, 5))
    x = rng.standard_normal(5)
    x *= spread / np.std(A @ x)
    problem = fs.SoftResProblem(A, fs.softres(A @ x, skip=skip), skip=skip)
    found = closed_forms(problem)["closed form"]
    assert np.linalg.norm(found - x) <= (1e-9 if skip == 0.0 else 0.2) * np.linalg.norm(x)
    if skip:
        assert problem.value(found) <= 0.02 * problem.value(np.zeros(5))


def test_nearly_collinear_columns_cost_no_digits(rng):
    """Normal equations square the condition (3e4 here); a step on the residual wins the digits back."""
    A = rng.standard_normal((300, 4))
    A[:, 3] = A[:, 0] + 1e-4 * A[:, 3]
    problem = fs.SoftResProblem(A, fs.softres(A @ [1.0, -0.5, 0.3, 0.5], skip=0), skip=0)
    error = closed_forms(problem)["closed form"] - [1.0, -0.5, 0.3, 0.5]
    assert np.linalg.norm(error) <= 1e-9


def test_attainable_target_of_negative_normaliser_is_inverted(rng):
    A = rng.standard_normal((200, 4))
    A[:, 0] = -1.0 - np.abs(A[:, 0])
    x = np.concatenate([[3.0], rng.standard_normal(3)])
    problem = fs.SoftResProblem(A, fs.softres(A @ x))
    found = closed_forms(problem)["closed form, alpha < 0"]
    z = A @ found
    assert np.sum(np.exp(z) + z) < 0.0
    assert problem.value(found) <= 0.02 * problem.value(np.zeros(4))


def test_least_squares_of_logarithms(rng):
    """skip = 0: log b on the columns and a constant, weighted by b², by NumPy's lstsq."""
    A = rng.standard_normal((100, 4)) * [1.0, 100.0, 0.01, 1.0]
    b = rng.dirichlet(np.full(100, 1.0))
    root = b  # of the weights b²
    design = np.hstack([A, np.ones((100, 1))])
    wanted = np.linalg.lstsq(design * root[:, None], np.log(b) * root)[0][:4]
    found = closed_forms(fs.SoftResProblem(A, b, skip=0))["closed form"]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_rows_without_an_inverse_are_left_out(rng):
    """skip = 0: a zero or negative share has no logarithm; the others decide."""
    A = rng.standard_normal((100, 4))
    b = rng.dirichlet(np.full(100, 1.0))
    b[::3] = 0.0
    b[1] = -0.01
    b /= b.sum()
    kept = b > 0
    design = np.hstack([A, np.ones((100, 1))])[kept]
    wanted = np.linalg.lstsq(design * b[kept, None], np.log(b[kept]) * b[kept])[0][:4]
    found = closed_forms(fs.SoftResProblem(A, b, skip=0))["closed form"]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_no_positive_share_no_closed_form(rng):
    A = rng.standard_normal((20, 2))
    with pytest.warns(UserWarning, match="b sums to"):
        problem = fs.SoftResProblem(A, np.full(20, -0.05), skip=0)
    assert closed_forms(problem) == {}
    assert [start.name for start in starts.choose(Evaluator(problem))] == ["zeros"]
    assert fs.solve(problem).success


@pytest.mark.parametrize("skip", [0.1, 1.0])
@pytest.mark.parametrize("alpha", [40.0, 3000.0, -50.0])
def test_map_is_inverted_for_a_given_alpha(rng, skip, alpha):
    """As many columns as rows: every z is attained, so z solves exp(z) + skip·z = alpha·b, by bisection."""
    A = rng.standard_normal((12, 12)) + 3.0 * np.eye(12)
    b = rng.dirichlet(np.ones(12))
    z = [
        brentq(lambda z, y=y: np.exp(min(z, 700.0)) + skip * z - y, -1e5, 50.0, xtol=1e-13) for y in alpha * b
    ]
    rows = starts._Rows.of(Evaluator(fs.SoftResProblem(A, b, skip=skip)))
    np.testing.assert_allclose(A @ rows.inverted(alpha / 12), z, rtol=1e-6, atol=1e-6)


def test_ridge_draws_the_closed_form_to_zero(rng):
    A = rng.standard_normal((100, 3))
    b = fs.softres(A @ [1.0, -0.5, 0.3], skip=0)
    sizes = [
        np.linalg.norm(closed_forms(fs.SoftResProblem(A, b, skip=0, ridge=ridge))["closed form"])
        for ridge in (0.0, 1e-4, 1e-2, 1.0)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.1 * sizes[0]


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_deficient_columns_have_a_finite_closed_form(rng, skip):
    A = rng.standard_normal((60, 3))
    A = np.hstack([A, A[:, :2], np.zeros((60, 1)), np.ones((60, 1))])
    for x in closed_forms(fs.SoftResProblem(A, rng.dirichlet(np.ones(60)), skip=skip)).values():
        assert np.isfinite(x).all()
        assert x[5] == 0.0
        np.testing.assert_allclose(x[:2], x[3:5], rtol=1e-6)


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_many_rows_are_sampled(rng, skip):
    """Above 20,000 rows a sample decides; what it says is near what all rows say."""
    A = rng.standard_normal((60_000, 3))
    b = fs.softres(A @ [0.6, -0.4, 0.2], skip=skip) * (1.0 + 0.1 * rng.standard_normal(60_000))
    problem = fs.SoftResProblem(A, b / b.sum(), skip=skip)
    evaluator = Evaluator(problem)
    assert starts._Rows.of(evaluator).evaluator.problem.shape[0] < 60_000
    found = starts.closed_form(evaluator)[0].point.x
    solved = fs.solve(problem)
    assert solved.success
    assert np.linalg.norm(found - solved.x) <= 0.1 * np.linalg.norm(solved.x)


def test_lowest_start_comes_first(rng):
    for skip in (0.0, 1.0):
        problem = fs.SoftResProblem(rng.standard_normal((50, 3)), rng.dirichlet(np.full(50, 0.3)), skip=skip)
        chosen = starts.choose(Evaluator(problem))
        values = [start.point.value for start in chosen]
        assert values == sorted(values)
        assert {"zeros", "closed form"} <= {start.name for start in chosen}
        for start in chosen:
            assert start.point.value == problem.value(start.point.x)


def test_random_starts_spread_z_alike_in_any_units(rng):
    """z of 0.5, 1, 2, 4 in root mean square, over many draws, whatever the columns' units."""
    A = rng.standard_normal((400, 8)) * 10.0 ** np.linspace(-3, 3, 8)
    problem = fs.SoftResProblem(A, np.full(400, 1 / 400), skip=0)
    drawn = list(itertools.islice(starts.random_starts(Evaluator(problem), np.random.default_rng(0)), 80))
    assert [start.name for start in drawn[:3]] == ["random 1", "random 2", "random 3"]
    sizes = np.array([np.sqrt(np.mean((A @ start.point.x) ** 2)) for start in drawn]).reshape(20, 4)
    np.testing.assert_allclose(sizes.mean(axis=0), [0.5, 1.0, 2.0, 4.0], rtol=0.25)


def test_random_starts_leave_out_what_is_undefined():
    """One row that is huge: exp overflows nowhere, A x does not; zero columns never move."""
    A = np.array([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])
    problem = fs.SoftResProblem(A, [0.2, 0.5, 0.3])
    for start in itertools.islice(starts.random_starts(Evaluator(problem), np.random.default_rng(0)), 10):
        assert np.isfinite(start.point.value)
        assert start.point.x[1] == 0.0
