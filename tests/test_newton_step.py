"""fastsoftres/solvers/newton.py, newton_cg.py, factor.py: steps against the root of the secular equation by
bisection, NumPy's and SciPy's factorisations and the plain Hessian of ``reference``."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from outside import Plain
from scipy.optimize import brentq

import fastsoftres as fs
from fastsoftres.kernels.steps import ball_step as _ball_step
from fastsoftres.solvers.evaluator import Evaluator
from fastsoftres.solvers.factor import cholesky, eigen, pseudo_inverse
from fastsoftres.solvers.newton import NewtonStep
from fastsoftres.solvers.newton_cg import ConjugateGradientStep


def model(values, g, tau):
    """g'tau + ½ tau'diag(values)tau."""
    return float(g @ tau + 0.5 * np.sum(values * tau * tau))


def ball_minimum(values, g, radius):
    """The model's minimum over the ball: the root of ‖tau(sigma)‖ = radius by bisection, or the interior."""

    def length(sigma):
        return float(np.linalg.norm(g / (values + sigma)))

    lowest = float(values.min())
    if lowest > 0.0 and length(0.0) <= radius:
        return -g / values
    low = max(0.0, -lowest)
    sigma = brentq(
        lambda s: 1.0 / length(s) - 1.0 / radius,
        low + 1e-13 * max(low, 1e-3),
        low + np.linalg.norm(g) / radius * 1.01 + 1e-12,
        xtol=1e-300,
        rtol=1e-14,
    )
    return -g / (values + sigma)


@pytest.mark.parametrize("radius", [1e-3, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("kind", ["convex", "indefinite", "negative"])
def test_ball_step_is_the_minimiser(rng, kind, radius):
    for d in (1, 2, 5, 20):
        for _ in range(5):
            values = np.sort(rng.standard_normal(d))
            values = {
                "convex": np.abs(values) + 0.01,
                "indefinite": values,
                "negative": -np.abs(values) - 0.01,
            }[kind]
            values.sort()
            g = rng.standard_normal(d)
            tau = _ball_step(values, g, radius)
            best = ball_minimum(values, g, radius)
            assert np.linalg.norm(tau) <= 1.01 * radius
            assert model(values, g, tau) <= 0.99 * model(values, g, best)
            if kind == "convex" and np.linalg.norm(best) < 0.9 * radius:
                np.testing.assert_allclose(tau, -g / values, rtol=1e-12)


@pytest.mark.parametrize("g", [[0.0, 0.0, 0.0], [0.0, 0.3, -0.2], [1e-20, 0.3, -0.2], [-1e-20, 0.0, 0.0]])
def test_ball_step_in_the_hard_case(g):
    """The gradient is blind to the most negative direction: the minimiser is at the edge all the same."""
    values, g = np.array([-1.0, 0.5, 2.0]), np.array(g)
    tau = _ball_step(values, g, 2.0)
    assert np.linalg.norm(tau) == pytest.approx(2.0, rel=1e-2)
    # moving along the first axis to the edge, the rest at its minimum for the multiplier 1
    rest = -g[1:] / (values[1:] + 1.0)
    best = np.r_[np.sqrt(4.0 - rest @ rest), rest]
    assert model(values, g, tau) <= 0.99 * model(values, g, best)


@pytest.mark.parametrize("size", 10.0 ** np.arange(-40, 1, 2.0))
@pytest.mark.parametrize("others", [0.0, 1.0])
def test_ball_step_from_a_saddle_reaches_the_edge_however_small_the_gradient(rng, size, others):
    for d in (1, 2, 4):
        for _ in range(10):
            values = np.sort(rng.standard_normal(d))
            values[0] = -np.abs(values[0]) - 1e-3
            values.sort()
            g = size * others * rng.standard_normal(d)
            g[0] = size
            tau = _ball_step(values, g, 1.0)
            assert np.linalg.norm(tau) == pytest.approx(1.0, rel=1e-2)
            assert model(values, g, tau) <= 0.98 * model(values, g, np.eye(d)[0] * -1.0)


def test_ball_step_follows_the_gradient_among_equal_curvatures():
    """Two directions of curvature -1: the gradient chooses."""
    tau = _ball_step(np.array([-1.0, -1.0, 2.0]), np.array([0.0, 0.5, 0.0]), 1.0)
    np.testing.assert_allclose(tau, [0.0, -1.0, 0.0], atol=1e-2)


def test_ball_step_leaves_directions_without_curvature():
    tau = _ball_step(np.array([0.0, 0.0, 2.0]), np.array([0.0, 0.0, 1.0]), 10.0)
    np.testing.assert_array_equal(tau, [0.0, 0.0, -0.5])
    np.testing.assert_array_equal(_ball_step(np.zeros(2), np.zeros(2), 1.0), [0.0, 0.0])
    np.testing.assert_array_equal(_ball_step(np.ones(2), np.zeros(2), 1.0), [0.0, 0.0])


@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=6),
    st.floats(1e-6, 1e6),
)
def test_ball_step_never_leaves_the_ball_and_never_rises(pairs, radius):
    values, g = (np.array(part) for part in zip(*sorted(pairs), strict=True))
    values = np.where(np.abs(values) < 1e-6, 0.0, values)
    g = np.where(values == 0.0, 0.0, g)
    tau = _ball_step(values, g, radius)
    assert np.isfinite(tau).all()
    assert np.linalg.norm(tau) <= 1.01 * radius
    assert model(values, g, tau) <= 1e-12 * (np.abs(g) @ np.abs(tau))


# -- Newton steps on a problem ------------------------------------------------------------------


def prepared(rng, skip, x, n=80, d=5, **penalties):
    """A problem, the plain one, its evaluator, a point, scales and stepper."""
    A = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2, 2, d)
    problem = fs.SoftResProblem(A, rng.dirichlet(np.ones(n)), skip=skip, **penalties)
    evaluator = Evaluator(problem)
    point = evaluator.at(x / np.sqrt(np.mean(A**2, axis=0)))
    return Plain.of(problem), evaluator, point, evaluator.scales(point), NewtonStep(evaluator, point)


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_whitening_makes_steps_root_mean_squares_of_z(rng, skip):
    plain, _, _, _, stepper = prepared(rng, skip, np.zeros(5))
    T = stepper.whitening
    np.testing.assert_allclose(T.T @ plain.A.T @ plain.A @ T / 80, np.eye(5), atol=1e-10)
    tau = rng.standard_normal(5)
    assert np.sqrt(np.mean((plain.A @ (T @ tau)) ** 2)) == pytest.approx(np.linalg.norm(tau), rel=1e-10)


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("penalties", [{}, {"ridge": 1e-4}, {"row_ridge": 1e-3}])
def test_short_newton_step_solves_newtons_equation(rng, careful, penalties):
    plain, _, point, scales, stepper = prepared(rng, 1.0, np.full(5, 0.01), **penalties)
    values = plain.at(point.x)
    step = stepper.propose(point, scales, 1e3, careful)
    wanted = -np.linalg.solve(values.hess, values.grad)
    np.testing.assert_allclose(step.t, wanted, rtol=1e-6, atol=1e-9 * np.abs(wanted).max())
    assert step.decrement == pytest.approx(-0.5 * values.grad @ wanted, rel=1e-8)
    assert step.bend == pytest.approx(wanted @ values.hess @ wanted, rel=1e-8)
    if "ridge" not in penalties:
        assert step.length == pytest.approx(np.sqrt(np.mean((plain.A @ wanted) ** 2)), rel=1e-8)
    if careful:
        assert step.rank == 5
        metric = stepper.metric
        eigenvalues = scipy.linalg.eigh(values.hess, metric, eigvals_only=True)
        assert step.curvature == pytest.approx(eigenvalues[0] / eigenvalues[-1], rel=1e-6)
        assert not step.saturated


@pytest.mark.parametrize("skip", [0.0, 1.0])
@pytest.mark.parametrize("size", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("radius", [0.01, 0.3])
def test_newton_step_is_the_models_minimiser_in_the_ball(rng, skip, size, radius):
    """By the eigenvalues of the plain Hessian in the metric of A, also where it is indefinite."""
    for careful in (False, True):
        plain, _, point, scales, stepper = prepared(rng, skip, size * rng.standard_normal(5))
        values = plain.at(point.x)
        metric = plain.A.T @ plain.A / 80
        eigenvalues, vectors = scipy.linalg.eigh(values.hess, metric)
        best = vectors @ ball_minimum(eigenvalues, vectors.T @ values.grad, radius)
        step = stepper.propose(point, scales, radius, careful)
        assert np.sqrt(np.mean((plain.A @ step.t) ** 2)) == pytest.approx(step.length, rel=1e-6)
        assert step.length <= 1.02 * radius

        def decrease(t, values=values):
            return -float(values.grad @ t + 0.5 * t @ values.hess @ t)

        assert decrease(step.t) >= 0.98 * decrease(best)
        shorter = stepper.again(0.1 * radius)
        assert shorter.length <= 0.102 * radius


def test_again_reads_nothing(rng):
    _, evaluator, point, scales, stepper = prepared(rng, 1.0, np.full(5, 0.5))
    stepper.propose(point, scales, 1.0, False)
    before = evaluator.passes
    stepper.again(0.1)
    assert evaluator.passes == before


def test_curved_directions_span_what_columns_say(rng):
    A = rng.standard_normal((60, 3))
    A = np.hstack([A, A[:, :1] + A[:, 1:2], np.ones((60, 1)), np.zeros((60, 1))])
    problem = fs.SoftResProblem(A, rng.dirichlet(np.ones(60)), skip=0)
    evaluator = Evaluator(problem)
    point = evaluator.at(np.zeros(6))
    stepper = NewtonStep(evaluator, point)
    stepper.propose(point, evaluator.scales(point), 1.0, True)
    basis = stepper.curved_directions()
    assert basis.shape == (6, 3)
    rows = scipy.linalg.orth((A - A.mean(axis=0)).T)
    np.testing.assert_allclose(basis @ basis.T, rows @ rows.T, atol=1e-10)
    seen = stepper.seen_directions()
    rows = scipy.linalg.orth(A.T)
    np.testing.assert_allclose(seen @ seen.T, rows @ rows.T, atol=1e-10)


# -- conjugate gradients ------------------------------------------------------------------------


@pytest.mark.parametrize("n", [80, 6000])
def test_conjugate_gradient_step_near_a_solution_is_newtons(rng, n):
    """Where the Hessian is positive definite; the residual asked for tightens from the first step on."""
    A = rng.standard_normal((n, 5)) * [1.0, 1e-3, 10.0, 1.0, 1.0]
    problem = fs.SoftResProblem(A, rng.dirichlet(np.full(n, 5.0)), skip=0)
    solved = fs.solve(problem, method="newton", tol=1e-10)
    evaluator = Evaluator(problem)
    stepper = ConjugateGradientStep(evaluator, 1e-8)
    for size in (1e-1, 1e-6):
        point = evaluator.at(solved.x + size * np.array([1.0, 1e3, 0.1, -1.0, 1.0]))
        step = stepper.propose(point, evaluator.scales(point), 1.0, False)
        values = Plain.of(problem).at(point.x)
        newton = -np.linalg.solve(values.hess, values.grad)
        error = step.t - newton
        assert np.sqrt(error @ values.hess @ error) <= 0.2 * np.sqrt(newton @ values.hess @ newton)
    assert np.sqrt(error @ values.hess @ error) <= 0.01 * np.sqrt(newton @ values.hess @ newton)


def test_conjugate_gradients_go_downhill_where_curvature_is_negative(rng):
    for _ in range(10):
        plain, evaluator, point, scales, _ = prepared(rng, 0.0, 2.0 * rng.standard_normal(5))
        step = ConjugateGradientStep(evaluator, 1e-8).propose(point, scales, 1.0, False)
        assert np.isfinite(step.t).all()
        assert plain.at(point.x).grad @ step.t < 0.0


# -- factorisations -----------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 3, 30, 100, 101, 150])
def test_factorisations_on_both_sides_of_the_change_to_lapack(rng, d):
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    H = (Q * np.geomspace(1.0, 1e-3, d)) @ Q.T
    H = 0.5 * (H + H.T)
    right = rng.standard_normal(d)
    solve = cholesky(H)
    assert solve is not None
    np.testing.assert_allclose(solve(right), np.linalg.solve(H, right), rtol=1e-8, atol=1e-10)
    values, vectors = eigen(H)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(H), atol=1e-13)
    np.testing.assert_allclose(H @ vectors, vectors * values, atol=1e-12)
    assert cholesky(H - 0.5 * np.eye(d)) is None or d == 1
    assert cholesky(np.zeros((d, d))) is None


@pytest.mark.parametrize("d", [4, 40, 120])
def test_pseudo_inverse(rng, d):
    """Of a correlation matrix without full rank, against NumPy's."""
    A = rng.standard_normal((3 * d, d // 2))
    A = np.hstack([A, A @ rng.standard_normal((d // 2, d - d // 2))])
    A /= np.linalg.norm(A, axis=0)
    H = A.T @ A
    right = H @ rng.standard_normal(d)
    inverse = pseudo_inverse(H, 1e-10)
    np.testing.assert_allclose(
        inverse(right), np.linalg.pinv(H, hermitian=True, rcond=1e-10) @ right, rtol=1e-6
    )
    full = pseudo_inverse(np.eye(d), 1e-10)
    np.testing.assert_allclose(full(right), right)
