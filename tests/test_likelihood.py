"""loss="kl": against automatic differentiation (jax), statsmodels' conditional and multinomial logit, and
scikit-learn's Poisson and multinomial regression."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import reference
from reference import relative
from scipy.special import softmax
from test_groups import METHODS, SIZES, case, offsets_of

import fastsoftres as fs

DTYPES = [np.float64, np.float32]
ACCURACY = {np.float64: 1e-12, np.float32: 1e-5}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SIZES)
def test_value_and_derivatives(name, dtype, rng):
    """Shares of any sum, some of them zero; every parameter there is."""
    import jax

    A, x, b, ptr = case(rng, SIZES[name], dtype=dtype)
    n, g = ptr[-1], ptr.size - 1
    b = b * rng.uniform(0.5, 3, n) * (rng.random(n) < 0.7)
    weights, offset, row_ridge = rng.exponential(size=g), rng.standard_normal(n), rng.exponential(size=n)
    problem = fs.SoftResProblem(
        A, b, skip=0, loss="kl", group_ptr=ptr, group_weights=weights, offset=offset, row_ridge=row_ridge,
        ridge=0.1,
    )  # fmt: skip
    loss = reference.loss_jax(A, b, 0.0, row_ridge, 0.1, ptr, weights, offset, kl=True)
    value, grad = jax.value_and_grad(loss)(x)
    true = reference.plain(A, x, b, 0.0, row_ridge, 0.1, ptr, weights, offset, kl=True)
    accuracy = ACCURACY[dtype]
    point = problem.at(x)
    assert point.value == pytest.approx(float(value), rel=1e-12, abs=0)
    assert np.linalg.norm(point.grad - grad) <= accuracy * np.linalg.norm(true.terms)
    wanted, hessian = np.asarray(jax.hessian(loss)(x)), point.hessian()
    assert relative(hessian.to_dense(), wanted) <= accuracy
    assert relative(hessian.gauss_newton(), wanted) <= accuracy  # all of it is positive semidefinite
    t = rng.standard_normal(x.size)
    assert relative(hessian @ t, wanted @ t) <= accuracy
    (_, r), (_, s) = hessian.rank_one
    H_z = np.diag(hessian.row_diag)
    for i, j in itertools.pairwise(ptr):
        H_z[i:j, i:j] += np.outer(r[i:j], r[i:j]) - np.outer(s[i:j], s[i:j])
    A = A.astype(np.float64)
    assert relative(A.T @ H_z @ A + 0.1 * np.eye(x.size), wanted) <= 1e-10


def test_value_far_from_zero(rng):
    """z of thousands: f underflows, log f does not."""
    A, b = rng.standard_normal((30, 3)), rng.dirichlet(np.ones(30))
    x = np.array([3000.0, -2000.0, 500.0])
    true = reference.exact(A, x, b, 0.0, kl=True)
    point = fs.SoftResProblem(A, b, skip=0, loss="kl").at(x)
    assert point.value == pytest.approx(true.value, rel=1e-13, abs=0)
    np.testing.assert_allclose(point.grad, true.grad, rtol=1e-12)


def test_it_is_convex(rng):
    """No negative curvature anywhere, and one minimum from every start, by every method."""
    A, _, b, ptr = case(rng, [5, 8, 300, 2])
    problem = fs.SoftResProblem(A, b, skip=0, loss="kl", group_ptr=ptr)
    for scale in (0.1, 1.0, 5.0, 20.0):
        values = np.linalg.eigvalsh(problem.hessian(scale * rng.standard_normal(4)).to_dense())
        assert values[0] >= -1e-13 * max(values[-1], 1e-10)
    wanted = fs.solve(problem)
    assert wanted.success
    for method in METHODS:
        for _ in range(3):
            result = fs.solve(problem, 2 * rng.standard_normal(4), method=method)
            assert result.success, (method, result.message)
            assert result.fun == pytest.approx(wanted.fun, rel=1e-9, abs=0)
            np.testing.assert_allclose(result.x, wanted.x, rtol=1e-4, atol=1e-5)


def test_least_value_is_the_entropy(rng):
    """A target that is attained: -sum b log b, and x is the one that made it."""
    A, x, _, ptr = case(rng, [7, 5, 9, 400])
    b = np.concatenate([softmax(A[i:j] @ x) for i, j in itertools.pairwise(ptr)])
    result = fs.solve(fs.SoftResProblem(A, b, skip=0, loss="kl", group_ptr=ptr))
    assert result.success
    assert result.fun == pytest.approx(-float(b @ np.log(b)), rel=1e-12, abs=0)
    np.testing.assert_allclose(result.x, x, atol=1e-8)


def test_zero_shares_are_data(rng):
    """A group of nothing but zeros adds nothing; zeros beside others pull their f down."""
    A, x, b, ptr = case(rng, [6, 5, 7])
    b[[1, 3, 12]] = 0.0
    b[6:11] = 0.0
    problem = fs.SoftResProblem(A, b, skip=0, loss="kl", group_ptr=ptr)
    true = reference.plain(A, x, b, 0.0, ptr=ptr, kl=True)
    assert problem.value(x) == pytest.approx(true.value, rel=1e-13, abs=0)
    rest = np.r_[0:6, 11:18]
    without = fs.SoftResProblem(A[rest], b[rest], skip=0, loss="kl", group_ptr=[0, 6, 13], ridge=0.01)
    result, wanted = fs.solve(problem.with_penalty(ridge=0.01)), fs.solve(without)
    assert result.success
    np.testing.assert_allclose(result.x, wanted.x, rtol=1e-7, atol=1e-9)


def test_refused_with_a_linear_term():
    with pytest.raises(ValueError, match=r"loss='kl' needs skip=0, got skip=1: .* no logarithm"):
        fs.SoftResProblem(np.eye(2), [0.5, 0.5], loss="kl")


def test_refused_for_negative_shares():
    with pytest.raises(ValueError, match=r"b must be >= 0 for loss='kl', got -0.5 at row 1"):
        fs.SoftResProblem(np.eye(2), [1.5, -0.5], skip=0, loss="kl")


def test_unknown_loss():
    with pytest.raises(ValueError, match="one of least-squares, kl"):
        fs.SoftResProblem(np.eye(2), [0.5, 0.5], loss="huber")


def choices(rng, groups=400, d=3):
    """One chosen alternative in each group of 2 to 6, by a logit model with coefficients x."""
    ptr = offsets_of(rng.integers(2, 7, groups))
    A, x = rng.standard_normal((ptr[-1], d)), np.array([0.8, -0.5, 0.3])
    b = np.zeros(ptr[-1])
    for i, j in itertools.pairwise(ptr):
        b[i + rng.choice(j - i, p=softmax(A[i:j] @ x))] = 1.0
    return A, b, ptr


@pytest.mark.parametrize("method", METHODS)
def test_conditional_logit_of_statsmodels(method, rng):
    """Choices: coefficients, log-likelihood, and standard errors from the Hessian."""
    from statsmodels.discrete import conditional_models as conditional

    A, b, ptr = choices(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = conditional.ConditionalLogit(b, A, groups=np.repeat(np.arange(ptr.size - 1), np.diff(ptr)))
        fitted = model.fit(disp=False, method="newton")
    problem = fs.SoftResProblem(A, b, skip=0, loss="kl", group_ptr=ptr)
    result = fs.solve(problem, method=method)
    assert result.success
    np.testing.assert_allclose(result.x, fitted.params, rtol=1e-6)
    assert result.fun == pytest.approx(-fitted.llf, rel=1e-10, abs=0)
    errors = np.sqrt(np.diag(np.linalg.inv(problem.hessian(result.x).to_dense())))
    np.testing.assert_allclose(errors, fitted.bse, rtol=1e-4)


def test_poisson_regression_of_statsmodels(rng):
    """Counts in one group: a Poisson model with an intercept, given their total; exposure by an offset."""
    from statsmodels import api

    n = 200
    A, exposure = rng.standard_normal((n, 3)), rng.uniform(0.5, 2, n)
    b = rng.poisson(exposure * np.exp(0.4 + A @ [0.5, -0.3, 0.2])).astype(float)
    fitted = api.GLM(
        b, np.column_stack([A, np.ones(n)]), family=api.families.Poisson(), offset=np.log(exposure)
    ).fit(tol=1e-14)
    result = fs.solve(fs.SoftResProblem(A, b, skip=0, loss="kl", offset=np.log(exposure)))
    assert result.success
    np.testing.assert_allclose(result.x, fitted.params[:3], rtol=1e-7)


def test_poisson_regression_with_an_intercept_for_each_group(rng):
    """Counts in groups: a Poisson model with fixed effects; weighted groups are weighted rows."""
    from sklearn import linear_model as linear

    ptr = offsets_of([30, 40, 50])
    A = rng.standard_normal((120, 3))
    level = np.repeat([0.5, -0.2, 1.0], np.diff(ptr))
    b = rng.poisson(np.exp(level + A @ [0.5, -0.3, 0.2])).astype(float)
    weights = np.array([1.0, 3.0, 0.5])
    dummies = (np.repeat(np.arange(3), np.diff(ptr))[:, None] == np.arange(3)).astype(float)
    model = linear.PoissonRegressor(
        alpha=0, fit_intercept=False, tol=1e-12, max_iter=1000, solver="newton-cholesky"
    )
    model.fit(np.column_stack([A, dummies]), b, sample_weight=np.repeat(weights, np.diff(ptr)))
    problem = fs.SoftResProblem(A, b, skip=0, loss="kl", group_ptr=ptr, group_weights=weights)
    result = fs.solve(problem)
    assert result.success
    np.testing.assert_allclose(result.x, model.coef_[:3], rtol=1e-6)


def test_multinomial_logit_of_scikit_learn(rng):
    """Classes: a group of one row for each class, with the features in that class's own columns."""
    from sklearn import linear_model as linear

    n, p, classes, C = 60, 3, 4, 2.0
    X, y = rng.standard_normal((n, p)), rng.integers(0, classes, n)
    model = linear.LogisticRegression(C=C, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(X, y)
    A = np.concatenate([np.kron(np.eye(classes), row) for row in X])
    b = (y[:, None] == np.arange(classes)).astype(float).reshape(-1)
    problem = fs.SoftResProblem(
        A, b, skip=0, loss="kl", group_ptr=np.arange(0, n * classes + 1, classes), ridge=1 / C
    )
    result = fs.solve(problem)
    assert result.success
    np.testing.assert_allclose(result.x.reshape(classes, p), model.coef_, atol=1e-6)
    np.testing.assert_allclose(
        problem.predict(result.x).reshape(n, classes), model.predict_proba(X), atol=1e-6
    )


def test_row_ridge_draws_z_to_zero(rng):
    """A penalty on z: its stationary point, found by SciPy on the plain formulas."""
    from scipy import optimize

    A, x, b, ptr = case(rng, [5, 8, 300])
    w, weights = rng.exponential(size=313) / 10, np.array([2.0, 1.0, 0.5])
    problem = fs.SoftResProblem(A, b, skip=0, loss="kl", group_ptr=ptr, row_ridge=w, group_weights=weights)
    result = fs.solve(problem)
    assert result.success

    def plain(x):
        values = reference.plain(A, x, b, 0.0, w, ptr=ptr, weights=weights, kl=True)
        return float(values.value), values.grad

    found = optimize.minimize(plain, 0 * x, jac=True, method="BFGS", options={"gtol": 1e-9})
    assert result.fun == pytest.approx(found.fun, rel=1e-11, abs=0)
    np.testing.assert_allclose(result.x, found.x, rtol=1e-5, atol=1e-7)
