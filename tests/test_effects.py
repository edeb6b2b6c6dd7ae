"""fastsoftres/statistics/effects.py against finite differences of the fitted shares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastsoftres as fs

pytestmark = pytest.mark.filterwarnings("ignore:b .*sums to")


def market(rng, skip, d=3):
    ptr = np.array([0, 4, 5, 12])
    A = rng.uniform(0.5, 2.0, (12, d))
    problem = fs.SoftResProblem(A, np.full(12, 0.1), skip=skip, group_ptr=ptr)
    return problem, np.array([-0.5, 0.3, 0.2])[:d], ptr


def finite_differences(problem, x, move):
    """d log f_i for a relative change of row j's variable: (n, n)."""
    n, h = problem.shape[0], 1e-5
    E = np.empty((n, n))
    for j in range(n):
        up, down = (problem.predict(x, move(j, 1 + s * h), group_ptr=problem.group_ptr) for s in (1, -1))
        E[:, j] = (up - down) / (2 * h) / problem.predict(x)
    return E


@pytest.mark.parametrize("skip", [0.0, 0.5, 1.0])
def test_elasticities_are_derivatives(skip, rng):
    problem, x, ptr = market(rng, skip)

    def move(j, factor):
        A = problem.A.copy()
        A[j, 0] *= factor
        return A

    wanted = finite_differences(problem, x, move)
    E = fs.elasticities(problem, x, 0)
    for g, (i, j) in enumerate(itertools.pairwise(ptr)):
        np.testing.assert_allclose(E.matrix(g), wanted[i:j, i:j], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(E.own, np.diag(wanted), rtol=1e-6, atol=1e-8)
    assert (wanted[:4, 4:] == 0).all()


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_log_prices_and_interactions(skip, rng):
    """Column 0 is log p, column 1 is p times income: both move with p."""
    price, income = rng.uniform(1.0, 5.0, 12), rng.uniform(0.1, 0.5, 12)
    other, x = rng.uniform(0.5, 2.0, 12), np.array([-0.5, 0.3, 0.2])
    ptr = np.array([0, 4, 5, 12])

    def matrix(p):
        return np.column_stack([np.log(p), p * income, other])

    problem = fs.SoftResProblem(matrix(price), np.full(12, 0.1), skip=skip, group_ptr=ptr)

    def move(j, factor):
        p = price.copy()
        p[j] *= factor
        return matrix(p)

    wanted = finite_differences(problem, x, move)
    dA = np.column_stack([1 / price, income, np.zeros(12)])
    E = fs.elasticities(problem, x, 0, dA=dA, values=price)
    np.testing.assert_allclose(E.matrix(2), wanted[5:, 5:], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_diversion_is_where_lost_shares_go(skip, rng):
    problem, x, _ = market(rng, skip)
    E = fs.elasticities(problem, x, 0)
    D = E.diversion(2)
    f = problem.predict(x)
    A = problem.A.copy()
    A[6, 0] += 1e-6
    moved = problem.predict(x, A, group_ptr=problem.group_ptr) - f
    np.testing.assert_allclose(D[1], np.where(np.arange(7) == 1, 0, -moved[5:] / moved[6]), atol=1e-6)
    np.testing.assert_allclose(D.sum(axis=1), 1.0)


def test_averages_and_masked_rows(rng):
    problem, x, _ = market(rng, 0.0)
    E = fs.elasticities(problem, x, 1)
    assert E.average_own_derivative() == pytest.approx(np.mean(x[1] * E.f * (1 - E.f)))
    assert E.average_own_derivative(E.f) == pytest.approx(np.average(x[1] * E.f * (1 - E.f), weights=E.f))
    mask = np.ones(12, bool)
    mask[[1, 7]] = False
    masked = fs.SoftResProblem(problem.A, problem.b, skip=0, group_ptr=problem.group_ptr, mask=mask)
    F = fs.elasticities(masked, x, 1)
    np.testing.assert_allclose(F.cross, -x[1] * masked.predict(x)[mask] * problem.A[mask, 1], rtol=1e-12)


def test_errors_say_what_is_wrong(rng):
    problem, x, _ = market(rng, 0.0)
    with pytest.raises(ValueError, match="feature must be below 3, got 7"):
        fs.elasticities(problem, x, 7)
    with pytest.raises(ValueError, match="the problem has none"):
        fs.elasticities(problem, x, "price")
    with pytest.raises(ValueError, match="dA must have the shape of A"):
        fs.elasticities(problem, x, 0, dA=np.ones((2, 3)))
    with pytest.raises(ValueError, match="values must have one entry for each row"):
        fs.elasticities(problem, x, 0, values=[1.0])
    with pytest.raises(ValueError, match="group must be below 3"):
        fs.elasticities(problem, x, 0).matrix(3)
    with pytest.raises(ValueError, match="weights must not sum to zero"):
        fs.elasticities(problem, x, 0).average_own_derivative(np.zeros(12))
    with pytest.raises(TypeError, match="problem must be"):
        fs.elasticities(problem.A, x, 0)
    far = fs.SoftResProblem([[2000.0], [0.0]], [0.5, 0.5], skip=0)
    with pytest.raises(ValueError, match="fitted share of row 1 is zero"):
        fs.elasticities(far, [1.0], 0)
