"""fastsoftres/statistics/inference.py against clustered Poisson regression with a constant for each group
(statsmodels: the same estimate and scores), a sandwich from automatic differentiation, and coverage in
simulations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import fastsoftres as fs
from fastsoftres.data import load_automobiles

pytestmark = pytest.mark.filterwarnings("ignore:b .*sums to")


def shares(rng, count, size=10, d=3, skip=0.0, noise=0.01, **options):
    """Groups of ``size`` rows, additive noise of its own size in each group."""
    n = count * size
    A = rng.standard_normal((n, d))
    x = np.array([0.4, -0.3, 0.2, 0.1])[:d]
    f = fs.softres((A @ x).reshape(count, size), skip=skip, axis=1)
    b = f + noise * rng.standard_normal((count, 1)) * rng.standard_normal((count, size))
    if options.get("loss") == "kl":
        b = np.abs(b) / np.abs(b).sum(axis=1, keepdims=True)
    problem = fs.SoftResProblem(A, b.reshape(-1), skip=skip, group_ptr=np.arange(0, n + 1, size), **options)
    return problem, x


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("coarse", [False, True])
def test_likelihood_equals_clustered_poisson(weighted, coarse, rng):
    import statsmodels.api as sm

    weights = rng.uniform(0.5, 3.0, 60) if weighted else np.ones(60)
    problem, _ = shares(rng, 60, loss="kl", noise=0.03, group_weights=weights if weighted else None)
    group = np.repeat(np.arange(60), 10)
    cluster = group % 45 if coarse else group
    dummies = (group[:, None] == np.arange(60)).astype(float)
    count = problem.b * np.repeat(weights, 10)
    X = np.hstack([problem.A, dummies])
    there = sm.GLM(count, X, family=sm.families.Poisson()).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}, tol=1e-14, maxiter=200
    )
    result = fs.solve(problem, tol=1e-12)
    table = fs.inference(problem, result, "cluster", clusters=np.arange(60) % 45 if coarse else None)
    np.testing.assert_allclose(table.coefficient, there.params[:3], rtol=1e-6)
    C = 45 if coarse else 60
    np.testing.assert_allclose(table.cov * (C - 1) / C, there.cov_params()[:3, :3], rtol=1e-5)
    assert table.df == C - 1
    by_rows = fs.inference(problem, result, "cluster", clusters=cluster)
    if coarse:
        np.testing.assert_array_equal(by_rows.cov, table.cov)


@pytest.mark.parametrize("skip", [0.0, 1.0])
@pytest.mark.parametrize("options", [{}, {"ridge": 1e-3, "row_ridge": 2e-4}], ids=["plain", "penalised"])
def test_least_squares_equals_a_numerical_sandwich(skip, options, rng):
    import jax
    import jax.numpy as jnp

    weights = rng.uniform(0.5, 2.0, 50)
    problem, _ = shares(rng, 50, skip=skip, group_weights=weights, **options)
    x = fs.solve(problem, tol=1e-12).x
    A, b = problem.A.reshape(50, 10, 3), problem.b.reshape(50, 10)

    def group_loss(x, A, b, w):
        z = A @ x
        u = jnp.exp(z) + skip * z
        return w * 0.5 * jnp.sum((u / u.sum() - b) ** 2)

    def total(x):
        z = A @ x
        penalty = options.get("row_ridge", 0.0) * jnp.sum(weights[:, None] * z * z) + options.get(
            "ridge", 0.0
        ) * (x @ x)
        return sum(group_loss(x, A[g], b[g], weights[g]) for g in range(50)) + 0.5 * penalty

    S = np.stack([np.asarray(jax.grad(group_loss)(x, A[g], b[g], weights[g])) for g in range(50)])
    H = np.linalg.inv(np.asarray(jax.hessian(total)(x)))
    wanted = 50 / 49 * H @ (S.T @ S) @ H
    np.testing.assert_allclose(fs.inference(problem, x, "cluster").cov, wanted, rtol=1e-8)


def test_model_covariance_of_counts_is_that_of_the_poisson_likelihood(rng):
    import statsmodels.api as sm

    problem, _ = shares(rng, 30, loss="kl", group_weights=np.full(30, 50.0), noise=0.02)
    dummies = np.repeat(np.eye(30), 10, axis=0)
    there = sm.GLM(50 * problem.b, np.hstack([problem.A, dummies]), family=sm.families.Poisson()).fit(
        tol=1e-14
    )
    table = fs.inference(problem, fs.solve(problem, tol=1e-12), "model")
    np.testing.assert_allclose(table.cov, there.cov_params()[:3, :3], rtol=1e-5)
    assert math.isinf(table.df)
    np.testing.assert_allclose(table.p, there.pvalues[:3], rtol=1e-3, atol=1e-12)


def test_model_covariance_of_least_squares_is_right_for_errors_of_one_variance(rng):
    """Against the spread of estimates over simulated errors."""
    A = rng.standard_normal((400, 2))
    ptr = np.arange(0, 401, 8)
    f = fs.softres((A @ [0.3, -0.2]).reshape(50, 8), skip=0, axis=1).reshape(-1)
    found = []
    for _ in range(300):
        problem = fs.SoftResProblem(A, f + 0.002 * rng.standard_normal(400), skip=0, group_ptr=ptr)
        found.append(fs.solve(problem, [0.3, -0.2]).x)
    table = fs.inference(problem, found[-1], "model")
    np.testing.assert_allclose(table.std_error, np.std(found, axis=0), rtol=0.2)


def test_chunks_that_cut_groups_change_nothing(rng):
    A = rng.standard_normal((60_000, 4))
    ptr = np.array([0, 100, 31_000, 31_010, 50_000, 55_000, 60_000])
    b = np.concatenate([fs.softres(A[i:j] @ [0.1, 0.2, 0, 0], skip=0) for i, j in itertools.pairwise(ptr)])
    problem = fs.SoftResProblem(A, b * rng.uniform(0.5, 1.5, 60_000), skip=0, group_ptr=ptr)
    x = fs.solve(problem).x
    table = fs.inference(problem, x, "cluster")
    point = problem.at(x)
    rows = A * (point.curvature.va * (point.f - problem.b - point.normaliser.s.repeat(np.diff(ptr))))[:, None]
    S = np.add.reduceat(rows, ptr[:-1])
    H = np.linalg.inv(point.hessian().to_dense())
    np.testing.assert_allclose(table.cov, 6 / 5 * H @ S.T @ S @ H, rtol=1e-8)
    again = fs.inference(problem, x, "cluster", clusters=["a", "b", "c", "d", "e", "f"])
    np.testing.assert_allclose(again.cov, table.cov, rtol=1e-10)


@pytest.mark.parametrize("loss", ["least-squares", "kl"])
def test_bootstrap_replicates_are_refits(loss, rng, monkeypatch):
    """Each replicate's x equals what solve finds for its target."""
    from fastsoftres.statistics import bootstrap

    problem, _ = shares(rng, 20, loss=loss, noise=0.005)
    x = fs.solve(problem, tol=1e-12).x
    seen = {}

    def remembered(point, dz, b, plain=bootstrap._scores):
        seen["b"], seen["dz"] = b, dz
        return plain(point, dz, b)

    monkeypatch.setattr(bootstrap, "_scores", remembered)
    fs.inference(problem, x, "bootstrap", n_boot=99)
    checked = 0
    for b, dz in zip(seen["b"][:20], seen["dz"], strict=False):
        if loss == "kl" and b.min() < 0:
            continue
        again = fs.SoftResProblem(problem.A, b, skip=0, loss=loss, group_ptr=problem.group_ptr)
        refit = fs.solve(again, x, tol=1e-12).x
        moved = np.linalg.norm(problem.A @ (refit - x))
        assert np.linalg.norm(dz - problem.A @ (refit - x)) <= 2e-3 * moved
        checked += 1
    assert checked >= 5


def test_defaults_follow_the_number_of_clusters(rng):
    problem, _ = shares(rng, 39)
    assert fs.inference(problem, fs.solve(problem), n_boot=99).kind == "bootstrap"
    problem, _ = shares(rng, 40)
    table = fs.inference(problem, fs.solve(problem))
    assert table.kind == "cluster"
    assert fs.inference(problem, fs.solve(problem), clusters=np.arange(40) % 8, n_boot=99).kind == "bootstrap"


def test_bootstrap_repeats_and_agrees_with_the_sandwich_for_many_clusters(rng):
    problem, _ = shares(rng, 150)
    result = fs.solve(problem)
    a, b = (fs.inference(problem, result, "bootstrap", n_boot=399) for _ in range(2))
    np.testing.assert_array_equal(a.lower, b.lower)
    sandwich = fs.inference(problem, result, "cluster")
    np.testing.assert_allclose(a.upper - a.lower, sandwich.upper - sandwich.lower, rtol=0.25)
    assert (a.p > 0).all()
    assert (a.p <= 1).all()


def test_linearised_replicates_are_those_of_refits_where_these_are_close(rng, monkeypatch):
    from fastsoftres.statistics import bootstrap

    problem, _ = shares(rng, 30, noise=0.001)
    result = fs.solve(problem)
    refitted = fs.inference(problem, result, "bootstrap")
    monkeypatch.setattr(bootstrap, "_FAIR", -1.0)
    linear = fs.inference(problem, result, "bootstrap")
    assert "linearised" in linear.notes[-1]
    np.testing.assert_allclose(linear.upper - linear.lower, refitted.upper - refitted.lower, rtol=0.3)


def test_the_bundled_markets_have_intervals(rng):
    """Twenty markets, least squares: most refits of the replicates do not converge."""
    markets = load_automobiles(None)
    problem = fs.SoftResProblem(markets.A, markets.b, skip=0, group_ptr=markets.group_ptr)
    table = fs.inference(problem, fs.solve(problem), n_boot=199)
    assert table.kind == "bootstrap"
    assert np.isfinite(table.upper - table.lower).all()


@pytest.mark.slow
@pytest.mark.parametrize("skip", [0.0, 1.0])
@pytest.mark.parametrize(("count", "kind"), [(200, "cluster"), (20, "bootstrap")])
def test_coverage(skip, count, kind):
    rng = np.random.default_rng(2024)
    covered, total = np.zeros(3), 0
    for sample in range(2000):
        problem, x = shares(rng, count, skip=skip)
        result = fs.solve(problem, x)
        if not result.success:
            continue
        table = fs.inference(problem, result, n_boot=199, rng=sample)
        assert table.kind == kind
        covered += (table.lower < x) & (x < table.upper)
        total += 1
    assert total >= 1990
    assert (covered / total >= 0.93).all()
    assert (covered / total <= 0.97).all()


def test_errors_say_what_is_wrong(rng):
    problem, _ = shares(rng, 12)
    result = fs.solve(problem)
    one = fs.SoftResProblem(problem.A[:30], np.full(30, 1 / 30), skip=0)
    with pytest.raises(ValueError, match="score of a single group is zero"):
        fs.inference(one, [0.0, 0.0, 0.0], "cluster")
    with pytest.raises(ValueError, match="more than the coefficients: got 3 clusters for 3"):
        fs.inference(problem, result, clusters=np.arange(12) % 3)
    with pytest.raises(ValueError, match="clusters must have one label for each group"):
        fs.inference(problem, result, clusters=[1, 2])
    with pytest.raises(ValueError, match="same for all rows of a group, but group 0"):
        fs.inference(problem, result, clusters=np.arange(120))
    with pytest.raises(ValueError, match="missing labels"):
        fs.inference(problem, result, clusters=[None] + ["a"] * 11)
    with pytest.raises(ValueError, match="cov must be one of cluster, bootstrap, model"):
        fs.inference(problem, result, "robust")
    with pytest.raises(ValueError, match="level"):
        fs.inference(problem, result, level=1.0)
    with pytest.raises(ValueError, match="n_boot must be at least 99"):
        fs.inference(problem, result, n_boot=3)
    with pytest.raises(ValueError, match=r"not a stationary point|not a minimum"):
        fs.inference(problem, result.x + 0.5)
    with pytest.raises(TypeError, match="problem must be"):
        fs.inference(problem.A, result)


def test_a_singular_hessian_names_the_directions(rng):
    problem, _ = shares(rng, 50)
    A = np.hstack([problem.A, problem.A[:, :1]])
    twice = fs.SoftResProblem(A, problem.b, skip=0, group_ptr=problem.group_ptr)
    with pytest.raises(ValueError, match=r"combination.* of x0, x3; drop columns or add ridge"):
        fs.inference(twice, fs.solve(twice), "cluster")


def test_the_table_shows_itself(rng):
    problem, _ = shares(rng, 50, ridge=1e-6)
    table = fs.inference(problem, fs.solve(problem), level=0.9)
    text, page = str(table), table._repr_html_()
    assert "std. error" in text
    assert "50 clusters, t(49); 90 % intervals" in text
    assert "penalty's bias" in text
    assert page.count("<tr>") == 4
    assert "x2" in page
    frame = table.to_frame()
    assert list(frame.index) == ["x0", "x1", "x2"]
    np.testing.assert_array_equal(frame["std_error"], table.std_error)
    wider = fs.inference(problem, fs.solve(problem), level=0.99)
    assert (wider.lower < table.lower).all()
