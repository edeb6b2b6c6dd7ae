"""method="approx-newton" and its sampling (fastsoftres/solvers/approximate.py, sampler.py, leverage.py).

Minima against exact Newton's (checked against SciPy in tests/test_solve.py), leverages and spectral errors
against NumPy on matrices formed whole.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

import fastsoftres as fs
from fastsoftres.solvers.approximate import EPSILON, ApproximateNewtonStep
from fastsoftres.solvers.evaluator import Evaluator
from fastsoftres.solvers.leverage import Norms, combinations
from fastsoftres.solvers.rankone import RankOne
from fastsoftres.solvers.sampler import Sampler, Sampling, rows_for
from fastsoftres.solvers.sampling import Parts, Sample, SampledHessian, draw, magnitudes

N, D = 6000, 4
KINDS = {
    "skip 1": {"skip": 1.0},
    "skip 0": {"skip": 0.0},
    "ridges": {"skip": 0.5, "row_ridge": 1e-9, "ridge": 1e-6},
    "long groups": {"skip": 1.0, "group_ptr": [0, 2500, N], "group_weights": [2.0, 0.5]},
    "short groups": {"skip": 0.0, "group_ptr": list(range(0, N + 1, 6))},
    "groups, skip": {"skip": 0.7, "group_ptr": [0, 3000, *range(3010, N + 1, 10)]},
    "kl": {"skip": 0.0, "loss": "kl", "group_ptr": list(range(0, N + 1, 8))},
}


def make(kind, rng, noise=0.3, **more):
    options = KINDS[kind] | more
    A = rng.standard_normal((N, D)) + 0.3
    ptr = options.get("group_ptr", [0, N])
    f = (
        fs.softres(A @ [0.5, -0.4, 0.3, 0.2], skip=options["skip"])
        if len(ptr) == 2
        else np.exp(A @ [0.5, -0.4, 0.3, 0.2])
    )
    b = np.abs(f * (1.0 + noise * rng.standard_normal(N)))
    for first, last in itertools.pairwise(ptr):
        b[first:last] /= b[first:last].sum()
    return fs.SoftResProblem(A, b, **options)


@pytest.mark.parametrize("sampling", ["leverage", "magnitude", "uniform"])
@pytest.mark.parametrize("kind", KINDS)
def test_minimum_is_that_of_exact_newton(rng, kind, sampling):
    problem = make(kind, rng)
    exact = fs.solve(problem, method="newton")
    found = fs.solve(problem, method="approx-newton", sampling=sampling, sample_size=800)
    assert exact.success
    assert found.success
    assert found.method == "approx-newton"
    assert found.fun == pytest.approx(exact.fun, rel=1e-9)
    np.testing.assert_allclose(found.x, exact.x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sampling", ["leverage", "magnitude", "uniform"])
@pytest.mark.parametrize("method", ["newton-cg", "approx-newton"])
def test_minimum_of_float32(rng, method, sampling):
    plain = make("skip 1", rng)
    single = fs.SoftResProblem(plain.A.astype(np.float32), plain.b)
    found = fs.solve(single, method=method, sampling=sampling, sample_size=800)
    assert found.success
    np.testing.assert_allclose(found.x, fs.solve(plain).x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["newton-cg", "approx-newton"])
def test_runs_repeat_for_the_same_rng(rng, method):
    problem = make("skip 1", rng)

    def run(seed):
        return fs.solve(problem, method=method, rng=seed, sample_size=600, sampling="leverage")

    one, two, other = run(3), run(np.random.default_rng(3)), run(4)
    assert np.array_equal(one.x, two.x)
    assert one.history == two.history
    assert one.history != other.history
    np.testing.assert_allclose(one.x, other.x, atol=1e-6)


def test_step_reads_the_matrix_once_while_the_sample_is_kept(rng):
    """From near the minimum: the value and gradient at the end of each step, nothing else."""
    problem = make("skip 0", rng)
    x = fs.solve(problem).x + 1e-3
    runs = [
        fs.solve(problem, x, method="approx-newton", sample_size=800, maxiter=k, tol=1e-12) for k in (1, 2, 3)
    ]
    assert [run.nit for run in runs] == [1, 2, 3]
    counts = [run.pass_counts["value_and_grad"] for run in runs]
    assert np.diff(counts).tolist() == [1, 1]
    assert len({run.passes - count for run, count in zip(runs, counts, strict=True)}) == 1


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_gradient_falls_by_epsilon_near_the_minimum(rng, skip):
    problem = make("skip 0", rng, skip=skip)
    x = fs.solve(problem).x + 1e-3
    run = fs.solve(problem, x, method="approx-newton", tol=1e-12)
    sizes = np.array([record["gradient"] for record in run.history])
    assert run.success
    assert np.all(sizes[1:-1] <= 1.5 * EPSILON * sizes[:-2])
    assert (sizes[-1] / sizes[0]) ** (1 / run.nit) <= EPSILON


def test_sample_is_doubled_where_it_is_not_good_enough(rng):
    """Uniform draws on a peaked f: nearly all of the curvature is on a few rows."""
    A = rng.standard_normal((20_000, 4))
    x = np.array([3.0, -2.0, 1.0, 1.0])
    problem = fs.SoftResProblem(A, fs.softres(A @ x, skip=0), skip=0)
    evaluator = Evaluator(problem)
    stepper = ApproximateNewtonStep(evaluator, 1e-10, Sampling("uniform", 100, np.random.default_rng(0)))
    near = evaluator.at(x + 1e-4)
    scales = evaluator.scales(near)
    stepper.propose(near, scales, 1.0, False)
    for _ in range(3):
        stepper.propose(near, scales, 1.0, False)  # the gradient has not fallen at all
    assert stepper.sampler.draws == 800
    assert fs.solve(problem, x + 1e-3, method="approx-newton", sampling="uniform", sample_size=100).success


def test_hessian_is_its_parts_and_the_exact_rank_one_terms(rng):
    """With every row drawn once, what the sampled Hessian adds up to is the assembled one."""
    for options in ({"skip": 1.0}, {"skip": 0.3, "row_ridge": 1e-4}, {"skip": 0.5, "group_weights": [3.0]}):
        A = rng.standard_normal((700, 3)) + 0.5
        problem = fs.SoftResProblem(A, rng.dirichlet(np.ones(700)), **options)
        evaluator = Evaluator(problem)
        point = evaluator.at(0.5 * rng.standard_normal(3))
        groups = problem._rows.groups
        sampled = SampledHessian(
            point, Sample(np.arange(700), np.ones(700), groups, np.arange(groups.n_kept))
        )
        H = sampled.gauss_newton() + sampled.residual() + RankOne.of(point).matrix(evaluator)
        exact = point.hessian().to_dense()
        np.testing.assert_allclose(H, exact, rtol=1e-9, atol=1e-12 * np.abs(exact).max())


# -- leverages ----------------------------------------------------------------------------------


def heavy(rng, n=20_000, d=6):
    """Rows with Student's t lengths of 1.5 degrees of freedom."""
    A = rng.standard_normal((n, d)) * rng.standard_t(1.5, n)[:, None]
    return A / np.quantile(np.abs(A), 0.99)


def coherent(rng, n=20_000, d=6):
    """Three directions are seen by ten rows each, and by no others."""
    A = rng.standard_normal((n, d))
    A[:, 3:] = 0.0
    for j in range(3, d):
        A[rng.choice(n, 10, replace=False), j] = 1.0
    return A


def flat_point(A, skip=0.0):
    """f is nearly flat: rows weigh alike, and differ in what they say."""
    problem = fs.SoftResProblem(A, np.full(A.shape[0], 1.0 / A.shape[0]), skip=skip)
    return Evaluator(problem), problem.at(np.full(A.shape[1], 1e-2))


def rows_of(point):
    """The Gauss-Newton rows, formed whole, and their leverages."""
    A, va, mu = point.problem.A, point.curvature.va, point.means[0]
    rows = va[:, None] * A - point.f[:, None] * mu
    Q = np.linalg.qr(rows)[0]
    return rows, np.sum(Q * Q, axis=1)


def spectral_error(estimate, exact):
    """Largest of |eigenvalue - 1| of the estimate against the exact matrix."""
    return np.abs(scipy.linalg.eigh(estimate, exact, eigvals_only=True) - 1.0).max()


@pytest.mark.parametrize("skip", [0.0, 1.0])
@pytest.mark.parametrize("design", [heavy, coherent])
def test_leverages_are_estimated(rng, design, skip):
    """Means of four squares of normals: d in all; those of 200 sketches average to the exact ones."""
    _, point = flat_point(design(rng, n=2000), skip)
    rows, leverage = rows_of(point)
    GN = rows.T @ rows
    L, ones = np.linalg.cholesky(GN), np.ones(GN.shape[0])
    parts = Parts.of(point, np.arange(2000))
    sketches = [Norms.of(point, combinations(L, ones, rng)).gauss_newton for _ in range(200)]
    mean = np.mean(sketches, axis=0) * parts.gauss_newton
    # relative standard error sqrt(2/4/200) = 0.05
    np.testing.assert_allclose(mean, leverage, rtol=0.3, atol=1e-12)
    assert mean.sum() == pytest.approx(6.0, rel=0.05)


@pytest.mark.parametrize("skip", [0.0, 1.0])
@pytest.mark.parametrize("design", [heavy, coherent])
def test_leverage_beats_uniform_and_magnitude(rng, design, skip):
    """Median spectral error of 20 samples of 500 rows. Uniform draws miss whole directions: an error of 1."""
    evaluator, point = flat_point(design(rng), skip)
    rows, _ = rows_of(point)
    exact = rows.T @ rows
    median = {}
    for kind in ("leverage", "magnitude", "uniform"):
        errors = []
        for _ in range(20):
            sampler = Sampler(evaluator, Sampling(kind, 500, rng))
            chance = sampler._chance(point, magnitudes(point))
            sampled = SampledHessian(point, draw(rng, point.problem._rows.groups, chance, 500))
            errors.append(spectral_error(sampled.gauss_newton(), exact))
        median[kind] = np.median(errors)
    assert median["leverage"] <= 0.5
    assert median["leverage"] <= 0.7 * min(median["uniform"], median["magnitude"])


def test_terms_that_wait_for_a_read_join_that_of_leverages(rng):
    """The same product as by a read of its own, and norms as without; the Hessian then reads no more."""
    for A in (heavy(rng, n=3000), scipy.sparse.random_array((3000, 6), density=0.4, rng=rng, format="csr")):
        evaluator, point = flat_point(A, 1.0)
        T = rng.standard_normal((4, 6))
        alone, joined = RankOne.of(point), RankOne.of(point)
        wanted, norms = Norms.of(point, T), Norms.of(point, T, joined)
        H = alone.matrix(evaluator)
        reads = evaluator.passes
        np.testing.assert_allclose(joined.matrix(evaluator), H, rtol=1e-10, atol=1e-12 * np.abs(H).max())
        assert evaluator.passes == reads
        np.testing.assert_allclose(norms.gauss_newton, wanted.gauss_newton, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("design", [heavy, coherent, lambda rng: rng.standard_normal((20_000, 6))])
def test_spectral_error_is_as_promised(rng, design):
    """At most epsilon in at least 95 % of 200 samples of the size that epsilon asks for."""
    evaluator, point = flat_point(design(rng), skip=1.0)
    rows, _ = rows_of(point)
    exact = rows.T @ rows
    for epsilon, trials in ((0.5, 200), (0.3, 50)):
        sampler = Sampler(evaluator, Sampling("leverage", rows_for(epsilon, 6), rng))
        chance = sampler._chance(point, magnitudes(point))
        errors = [
            spectral_error(
                SampledHessian(
                    point, draw(rng, point.problem._rows.groups, chance, sampler.draws)
                ).gauss_newton(),
                exact,
            )
            for _ in range(trials)
        ]
        assert np.mean(np.array(errors) <= epsilon) >= 0.95


# -- sparse rows --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["skip 1", "ridges", "long groups", "short groups"])
@pytest.mark.parametrize("method", ["newton-cg", "approx-newton"])
def test_sparse_rows_are_sampled_like_dense_ones(rng, kind, method):
    """Storage changes neither the draws nor, to rounding, the run."""
    dense = make(kind, rng)
    A = dense.A * (rng.random(dense.shape) < 0.5)
    options = KINDS[kind]
    runs = [
        fs.solve(
            fs.SoftResProblem(rows, dense.b, **options), method=method, sample_size=800, sampling="leverage"
        )
        for rows in (A, scipy.sparse.csr_array(A))
    ]
    assert [run.success for run in runs] == [True, True]
    assert runs[0].nit == runs[1].nit
    np.testing.assert_allclose(runs[0].x, runs[1].x, rtol=1e-6, atol=1e-8)


# -- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (
            {"method": "approx-newton", "sample_size": 3},
            ValueError,
            "at least the number of columns, 4, got 3",
        ),
        ({"method": "newton-cg", "sample_size": 3}, ValueError, "at least the number of columns, 4, got 3"),
        ({"method": "approx-newton", "sample_size": 40.5}, TypeError, "sample_size"),
        ({"method": "approx-newton", "epsilon": 0.0}, ValueError, "epsilon"),
        ({"method": "approx-newton", "epsilon": 1.0}, ValueError, "epsilon must be below 1"),
        ({"method": "approx-newton", "epsilon": "small"}, TypeError, "epsilon"),
        ({"method": "approx-newton", "sampling": "best"}, ValueError, "leverage, magnitude, uniform"),
        (
            {"method": "newton", "sampling": "leverage"},
            ValueError,
            "needs method='approx-newton' or 'newton-cg'",
        ),
        ({"sample_size": 100}, ValueError, "sample_size needs method="),
        ({"method": "newton-cg", "epsilon": 0.5}, ValueError, "epsilon needs method='approx-newton'"),
    ],
)
def test_wrong_options_are_named(rng, options, error, words):
    with pytest.raises(error, match=words):
        fs.solve(make("skip 1", rng), **options)


def test_epsilon_sets_the_sample(rng):
    """Sample sizes grow as 1/epsilon², and smaller epsilon needs fewer iterations."""
    assert rows_for(0.1, 10) / rows_for(0.2, 10) == pytest.approx(4.0, rel=0.05)
    problem = make("skip 0", rng)
    x = fs.solve(problem).x + 1e-2
    coarse, fine = (
        fs.solve(problem, x, method="approx-newton", epsilon=epsilon, tol=1e-12).nit for epsilon in (0.9, 0.3)
    )
    assert fine <= coarse


# -- degenerate problems ------------------------------------------------------------------------


def degenerate(rng):
    """Problems whose end is no plain minimum, by name."""
    A = rng.standard_normal((4000, 4))
    b = rng.dirichlet(np.full(4000, 0.5))
    constant = np.hstack([A, np.ones((4000, 1))])
    twice = np.hstack([A, A[:, :1]])
    hot = np.zeros(4000)
    hot[0] = 1.0
    peaked = A.copy()
    peaked[0] = [50.0, 0.0, 0.0, 0.0]
    return {
        "a constant column": (fs.SoftResProblem(constant, b, skip=0), None),
        "a column twice": (fs.SoftResProblem(twice, b, skip=1), None),
        "a zero column": (fs.SoftResProblem(np.hstack([A, np.zeros((4000, 1))]), b, skip=1), None),
        "no finite minimiser": (fs.SoftResProblem(peaked, hot, skip=0), None),
        "a plateau": (fs.SoftResProblem(peaked, np.roll(hot, 1), skip=0), np.array([40.0, 0.0, 0.0, 0.0])),
        "an exact fit": (fs.SoftResProblem(A, fs.softres(A @ [1.0, 0.5, 0.0, -0.3])), None),
    }


@pytest.mark.parametrize("method", ["newton-cg", "approx-newton"])
@pytest.mark.parametrize("name", sorted(degenerate(np.random.default_rng(0))))
def test_statuses_are_those_of_exact_newton(name, method):
    problem, x0 = degenerate(np.random.default_rng(0))[name]
    exact = fs.solve(problem, x0, method="newton", n_starts=1)
    found = fs.solve(problem, x0, method=method, n_starts=1, sample_size=300)
    if name == "no finite minimiser":  # how the march ends is a matter of rounding
        assert {found.status, exact.status} <= {1, 3, 4}
        return
    assert found.status == exact.status
    assert found.identified_rank == exact.identified_rank
    if exact.success:
        assert found.fun == pytest.approx(exact.fun, rel=1e-8, abs=1e-18)
