"""fastsoftres/solvers/: what the objective's shape does to a run. Plateaus, saddles, minima at infinity, the
barrier alpha = 0, units and far starts, against constructions whose answer is known beforehand, SciPy's
trust-region method (``outside``) and NumPy's and SciPy's eigenvalues."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
from outside import Plain, best_minimum, minimum

import fastsoftres as fs

METHODS = ("newton", "newton-cg", "approx-newton", "lbfgs")
CONVERGED, MAXITER, PLATEAU, UNBOUNDED, STOPPED, TIME = 0, 1, 2, 4, 6, 7


def whitened_eigenvalues(plain: Plain, x) -> np.ndarray:
    """Of the Hessian against A'A/n, ascending."""
    metric = plain.A.T @ plain.A / plain.A.shape[0]
    return scipy.linalg.eigh(plain.at(x).hess, metric, eigvals_only=True)


# -- no finite minimiser ------------------------------------------------------------------------


def separable(rng, shares, n=40, d=5):
    """A target of zeros but for ``shares``, and an x(t) whose f tends to it as t grows.

    The first column is 1 on the rows that hold the shares and at most 1/2 on the others; the second
    orders the shares among themselves and is their log. f(x) > 0 everywhere, so the limit is not reached.
    """
    shares = np.asarray(shares)
    k = shares.size
    A = rng.standard_normal((n, d))
    A[:k, 0], A[:k, 1], A[:k, 2:] = 1.0, np.log(shares), 0.0
    A[k:, 0] = -np.abs(A[k:, 0]) + 0.5
    A[k:, 1] = np.clip(A[k:, 1], -1.0, 1.0)
    b = np.zeros(n)
    b[:k] = shares
    return A, b, lambda t: np.concatenate([[t, 1.0], np.zeros(d - 2)])


SHARES = ([1.0], [0.5, 0.5], [0.7, 0.3], [0.5, 0.3, 0.2])


@pytest.mark.parametrize("shares", SHARES)
def test_construction_has_its_infimum_at_infinity(rng, shares):
    A, b, x = separable(rng, shares)
    plain = Plain(A, b, 0.0)
    values = [plain.value(x(t)) for t in (5.0, 10.0, 20.0, 40.0, 60.0)]
    assert all(later < 1e-2 * earlier for earlier, later in itertools.pairwise(values))
    assert values[-1] < 1e-24


@pytest.mark.parametrize("x0", [None, "zeros"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("seed", range(2))
def test_no_finite_minimiser_is_no_success(seed, shares, method, x0):
    A, b, _ = separable(np.random.default_rng(seed), shares)
    problem = fs.SoftResProblem(A, b, skip=0)
    result = fs.solve(problem, None if x0 is None else np.zeros(5), method=method)
    assert not result.success, result.message
    if method != "lbfgs":  # SciPy's line search gives up on the way, or goes on until it may not
        assert result.status == UNBOUNDED
        assert "no finite minimiser" in result.message
    assert np.isfinite(result.x).all()
    assert result.fun < 1e-6


@pytest.mark.parametrize("shares", SHARES)
def test_a_ridge_makes_the_minimiser_finite(rng, shares):
    A, b, _ = separable(rng, shares)
    result = fs.solve(fs.SoftResProblem(A, b, skip=0, ridge=1e-5))
    assert result.success
    assert result.fun == pytest.approx(best_minimum(Plain(A, b, 0.0, ridge=1e-5), 6, rng)[0], rel=1e-9)


# -- plateaus -----------------------------------------------------------------------------------


def saturated_start(rng, skip, size, n=50, d=4):
    """A problem and an x0 at which nearly all of f is on the row that b gives least."""
    A = rng.standard_normal((n, d))
    b = rng.dirichlet(np.ones(n))
    row = A[int(np.argmin(b))]
    return fs.SoftResProblem(A, b, skip=skip), row * (size / np.linalg.norm(row))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("skip", [0.0, 1.0])
@pytest.mark.parametrize("size", [10, 30, 60, 100, 300, 600, 3000])
def test_saturated_start_leads_to_a_minimum_or_to_no_success(size, skip, method):
    """Success at 30 times the loss of the best fit was seen: f saturated on two rows is flat in all else."""
    for seed in range(4):
        problem, x0 = saturated_start(np.random.default_rng(seed), skip, size)
        result = fs.solve(problem, x0, method=method)
        assert np.isfinite(result.x).all()
        assert result.fun <= problem.value(x0)
        if result.success:
            eigenvalues = whitened_eigenvalues(Plain.of(problem), result.x)
            assert eigenvalues[0] > 1e-7 * eigenvalues[-1], (seed, result.message)


@pytest.mark.parametrize("method", ["newton", "newton-cg"])
@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_where_exp_has_underflowed_it_is_a_plateau(rng, skip, method):
    """f is one-hot to the last bit, so gradient and Hessian are exact zeros: nothing leads away."""
    A = rng.standard_normal((30, 3))
    A[:, 0] = 0.0
    A[7, 0] = 1.0
    b = rng.dirichlet(np.ones(30))
    problem = fs.SoftResProblem(A, b, skip=skip)
    x0 = np.array([5000.0, 0.0, 0.0])
    result = fs.solve(problem, x0, method=method)
    assert result.status == PLATEAU
    assert not result.success
    assert "plateau" in result.message
    assert np.isfinite(result.x).all()
    assert result.fun == pytest.approx(0.5 * (b @ b - b[7] ** 2 + (1.0 - b[7]) ** 2), rel=1e-12)


def test_default_starts_avoid_the_plateaus(rng):
    """Peaked and noisy targets, where an unguarded Newton step lands on a one-hot f."""
    for _ in range(6):
        A = rng.standard_normal((60, 4))
        f = fs.softres(A @ (2.5 * rng.standard_normal(4)), skip=0)
        b = f * (1.0 + 0.3 * rng.standard_normal(60))
        plain = Plain(A, b / b.sum(), 0.0)
        result = fs.solve(fs.SoftResProblem(plain.A, plain.b, skip=0))
        assert result.success, result.message
        best, _ = best_minimum(plain, 6, rng)
        assert result.fun <= (1.0 + 1e-9) * best + 1e-16 * (plain.b @ plain.b)


# -- a success is a minimum ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["newton", "newton-cg"])
@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_success_is_a_local_minimum_wherever_the_run_begins(rng, skip, method):
    """First and second order by NumPy's formulas, and SciPy does not get lower from a point beside it."""
    successes = 0
    for _ in range(25):
        A = rng.standard_normal((30, 3)) * rng.choice([0.3, 1.0, 2.0])
        plain = Plain(A, rng.dirichlet(np.full(30, rng.choice([0.2, 1.0, 5.0]))), skip)
        x0 = rng.standard_normal(3) * rng.choice([0.1, 1.0, 3.0])
        result = fs.solve(fs.SoftResProblem(A, plain.b, skip=skip), x0, method=method, maxiter=300)
        assert result.fun <= plain.value(x0) * (1.0 + 1e-12)
        if result.success:
            successes += 1
            assert plain.relative_gradient(result.x) <= 1e-7
            eigenvalues = whitened_eigenvalues(plain, result.x)
            assert eigenvalues[0] > -1e-7 * np.abs(eigenvalues).max()
            beside = result.x + 1e-4 * rng.standard_normal(3) / np.sqrt(np.mean(A**2, axis=0))
            assert minimum(plain, beside)[0] >= result.fun * (1.0 - 1e-8)
    assert successes >= 15


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_start_at_a_minimum_is_a_success_at_once(rng, skip, method):
    A = rng.standard_normal((80, 4))
    problem = fs.SoftResProblem(A, rng.dirichlet(np.full(80, 3.0)), skip=skip)
    first = fs.solve(problem, method=method)
    assert first.success
    again = fs.solve(problem, first.x, method=method)
    assert again.success
    assert again.nit <= 1
    assert again.fun <= first.fun * (1.0 + 1e-14)
    np.testing.assert_allclose(again.x, first.x, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_may_not_move_succeeds_only_at_a_minimum(rng, method):
    A = rng.standard_normal((80, 4))
    problem = fs.SoftResProblem(A, rng.dirichlet(np.full(80, 3.0)))
    for maxiter in (0, 1):
        result = fs.solve(problem, np.full(4, 0.3), method=method, maxiter=maxiter)
        assert not result.success
        assert result.status == MAXITER
        assert result.nit == maxiter
        assert "iteration limit" in result.message
        assert np.isfinite(result.x).all()
    solved = fs.solve(problem, method=method)
    assert fs.solve(problem, solved.x, method=method, maxiter=0).success


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("given", [True, False])
def test_time_limit(rng, given, method):
    A = rng.standard_normal((200, 4))
    problem = fs.SoftResProblem(A, rng.dirichlet(np.full(200, 0.3)))
    x0 = np.full(4, 0.5) if given else None
    result = fs.solve(problem, x0, method=method, max_seconds=1e-9)
    assert result.status == TIME
    assert not result.success
    assert "time limit" in result.message
    assert np.isfinite(result.x).all()
    assert len(result.starts) == 1
    assert result.nit <= 1


# -- saddles ------------------------------------------------------------------------------------


def symmetric():
    """Rows in pairs ±a with equal targets: no gradient at 0, and a heavy outer pair makes it a saddle."""
    half = np.array([[3.0, 0.2], [0.5, 1.0], [0.1, -1.0], [0.2, 0.3]])
    return Plain(np.vstack([half, -half]), np.tile([0.4, 0.05, 0.03, 0.02], 2), 0.0)


def test_symmetric_point_is_a_saddle():
    values = symmetric().at(np.zeros(2))
    np.testing.assert_allclose(values.grad, 0.0, atol=1e-16)
    lowest, highest = np.linalg.eigvalsh(values.hess)
    assert lowest < -0.1 < 0.1 < highest


@pytest.mark.parametrize("method", ["newton", "newton-cg"])
@pytest.mark.parametrize("offset", [0.0, 1e-12, 1e-6])
def test_run_leaves_a_saddle(method, offset):
    plain = symmetric()
    result = fs.solve(fs.SoftResProblem(plain.A, plain.b, skip=0), np.full(2, offset), method=method)
    assert result.success
    assert result.nit > 0
    assert result.fun < 0.9 * plain.value(np.zeros(2))
    best, x = best_minimum(plain, 8, np.random.default_rng(0))
    assert result.fun == pytest.approx(best, rel=1e-10)
    np.testing.assert_allclose(np.abs(result.x), np.abs(x), rtol=1e-5)  # the other one is its mirror image
    assert np.linalg.eigvalsh(plain.at(result.x).hess)[0] > 0.0


def test_default_starts_find_the_minimum_beside_the_saddle():
    plain = symmetric()
    result = fs.solve(fs.SoftResProblem(plain.A, plain.b, skip=0))
    assert result.success
    assert result.fun == pytest.approx(best_minimum(plain, 8, np.random.default_rng(0))[0], rel=1e-10)


def test_first_order_method_takes_no_saddle_for_a_minimum():
    """L-BFGS sees a vanishing gradient and stays, but what it found is looked at to second order."""
    plain = symmetric()
    result = fs.solve(fs.SoftResProblem(plain.A, plain.b, skip=0), np.zeros(2), method="lbfgs")
    assert not result.success
    assert result.optimality.curvature < -0.1


@pytest.mark.parametrize("skip", [0.0, 0.5, 1.0])
def test_curvature_is_the_ratio_of_eigenvalues(rng, skip):
    """In the metric of A'A, so that it is free of the columns' units."""
    A = rng.standard_normal((120, 5)) * 10.0 ** rng.uniform(-2, 2, 5)
    plain = Plain(A, rng.dirichlet(np.full(120, 2.0)), skip)
    result = fs.solve(fs.SoftResProblem(A, plain.b, skip=skip))
    assert result.success
    eigenvalues = whitened_eigenvalues(plain, result.x)
    assert eigenvalues[0] > 0.0
    assert result.optimality.curvature == pytest.approx(eigenvalues[0] / np.abs(eigenvalues).max(), rel=1e-6)
    values = plain.at(result.x)
    decrement = 0.5 * values.grad @ np.linalg.solve(values.hess, values.grad)
    assert 0.0 <= result.optimality.decrement <= 1e-10 * result.fun
    assert decrement <= 1e-10 * result.fun


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_curvature_where_a_run_was_stopped(offset):
    """Negative at the saddle, and its own at each point."""
    plain = symmetric()
    x = np.array([offset, -0.3 * offset])
    result = fs.solve(fs.SoftResProblem(plain.A, plain.b, skip=0), x, method="newton", maxiter=0)
    assert result.status == MAXITER
    eigenvalues = whitened_eigenvalues(plain, x)
    assert eigenvalues[0] < 0.0
    assert result.optimality.curvature == pytest.approx(eigenvalues[0] / np.abs(eigenvalues).max(), rel=1e-6)


# -- the barrier alpha = 0 ----------------------------------------------------------------------


def test_alpha_keeps_its_sign_along_a_run(rng):
    runs = {1: 0, -1: 0}
    while min(runs.values()) < 12:
        A = rng.standard_normal((25, 3))
        A[:, 0] = -np.abs(A[:, 0]) - 0.3
        plain = Plain(A, rng.dirichlet(np.ones(25)), 1.0)
        x0 = np.concatenate([rng.uniform(0.0, 3.0, 1), rng.standard_normal(2)])
        sign = 1 if plain.alpha(x0) > 0 else -1
        if runs[sign] == 12:
            continue
        runs[sign] += 1
        for method in ("newton", "newton-cg"):
            seen = []

            def watch(intermediate_result, seen=seen):
                seen.append(intermediate_result.x)

            fs.solve(fs.SoftResProblem(A, plain.b), x0, method=method, maxiter=40, callback=watch)
            assert seen
            assert all(plain.alpha(x) * sign > 0.0 for x in seen)


@pytest.mark.parametrize("method", METHODS)
def test_start_beside_the_barrier(rng, method):
    """alpha nearly zero: the objective is huge, and the run comes away on its own side."""
    A = -np.abs(rng.standard_normal((25, 2))) - 0.1
    plain = Plain(A, rng.dirichlet(np.ones(25)), 1.0)
    root = scipy.optimize.brentq(lambda t: plain.alpha(np.full(2, t)), 0.0, 3.0, xtol=1e-14)
    for side in (-1e-6, 1e-6):
        x0 = np.full(2, root + side)
        assert plain.value(x0) > 1e6
        result = fs.solve(fs.SoftResProblem(A, plain.b), x0, method=method)
        assert result.fun < 1.0
        if method != "lbfgs":
            assert plain.alpha(result.x) * plain.alpha(x0) > 0.0


@pytest.mark.parametrize("seed", range(3))
def test_best_minimum_beyond_the_barrier_is_found(seed):
    """A noisy target made where alpha < 0: the best of 30 SciPy runs on both sides has alpha < 0."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((80, 4))
    A[:, 0] = -1.0 - np.abs(A[:, 0])
    x = np.concatenate([[3.0], rng.standard_normal(3)])
    b = fs.softres(A @ x) * (1.0 + 0.1 * rng.standard_normal(80))
    plain = Plain(A, b / b.sum(), 1.0)
    best, found = min(
        (minimum(plain, sign * start) for start in scipy_starts(rng) for sign in (1.0, -1.0)),
        key=lambda pair: pair[0],
    )
    assert plain.alpha(found) < 0.0
    assert best_minimum_of_sign(plain, rng) > 1.01 * best
    result = fs.solve(fs.SoftResProblem(A, plain.b))
    assert result.success
    assert plain.alpha(result.x) < 0.0
    assert result.fun <= best * (1.0 + 1e-9)


def scipy_starts(rng):
    """Points of which half lie far on the side alpha < 0 (negative first column, positive x_0)."""
    return [np.concatenate([[scale], rng.standard_normal(3)]) for scale in np.linspace(0.5, 4.0, 15)]


def best_minimum_of_sign(plain, rng):
    """The lowest of SciPy's minima that end at alpha > 0, from starts with small or negative x_0."""
    starts = [np.concatenate([[-scale], 0.5 * rng.standard_normal(3)]) for scale in np.linspace(0.0, 2.0, 8)]
    found = [minimum(plain, start) for start in starts]
    return min(value for value, x in found if plain.alpha(x) > 0.0)


# -- units and starts ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("skip", [0.0, 1.0])
@pytest.mark.parametrize("start", ["default", "given"])
def test_units_of_the_columns_do_not_matter(rng, start, skip, method):
    A = rng.standard_normal((100, 6))
    b = rng.dirichlet(np.full(100, 2.0))
    units = 10.0 ** np.linspace(-3, 3, 6)
    x0 = 0.5 * rng.standard_normal(6) if start == "given" else None
    plain = fs.solve(fs.SoftResProblem(A, b, skip=skip), x0, method=method)
    scaled = fs.solve(
        fs.SoftResProblem(A * units, b, skip=skip), None if x0 is None else x0 / units, method=method
    )
    assert plain.success
    assert scaled.success
    assert scaled.status == plain.status
    if method == "newton":
        assert scaled.nit == plain.nit
        np.testing.assert_allclose(scaled.x * units, plain.x, rtol=1e-7, atol=1e-9 * np.abs(plain.x).max())
    assert scaled.fun == pytest.approx(plain.fun, rel=1e-9)
    np.testing.assert_allclose(scaled.x * units, plain.x, atol=1e-4 * np.abs(plain.x).max())


@pytest.mark.parametrize("n", [50, 5000])
def test_repeated_rows_do_not_matter(rng, n):
    """Each row k times with a k-th of its share: f and b divide by k, and x stays."""
    A = rng.standard_normal((50, 3))
    b = rng.dirichlet(np.full(50, 2.0))
    k = n // 50
    one = fs.solve(fs.SoftResProblem(A, b, skip=0))
    many = fs.solve(fs.SoftResProblem(np.repeat(A, k, axis=0), np.repeat(b, k) / k, skip=0))
    assert many.success
    assert many.fun == pytest.approx(one.fun / k, rel=1e-9)
    np.testing.assert_allclose(many.x, one.x, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_where_a_run_begins_does_not_matter(rng, skip, method):
    """The same verdict and as small a gradient from beside the solution and from far away."""
    A = rng.standard_normal((200, 4))
    b = fs.softres(A @ [0.5, -0.3, 0.2, 0.1], skip=skip) * (1.0 + 0.2 * rng.standard_normal(200))
    problem = fs.SoftResProblem(A, b / b.sum(), skip=skip)
    solved = fs.solve(problem)
    directions = rng.standard_normal((3, 4))
    for size in (1e-9, 1e-6, 1e-3, 0.1, 1.0):
        for direction in directions:
            result = fs.solve(problem, solved.x + size * direction, method=method)
            assert result.status == CONVERGED, (size, result.message)
            assert result.optimality.gradient <= 1e-8
            assert result.fun == pytest.approx(solved.fun, rel=1e-9)
    assert problem.value(solved.x + directions[0]) > 2.0 * solved.fun
