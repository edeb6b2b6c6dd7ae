"""fastsoftres/sparse.py: the same problem with A filled in, automatic differentiation (jax), 50 digits
(mpmath),
and SciPy's own checks of its formats."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import relative, run_python, target
from scipy import sparse

import fastsoftres as fs
from fastsoftres import memory
from fastsoftres import sparse as ours
from fastsoftres.point import Point
from fastsoftres.solvers import newton_cg, runs, sampler, starts, wide
from fastsoftres.solvers.eliminate import Elimination
from fastsoftres.solvers.evaluator import Evaluator

DTYPES = [np.float64, np.float32]
INDICES = [np.int32, np.int64]


def random(rng, n, d, density=0.2, dtype=np.float64, index=np.int32, kind=sparse.csr_array):
    A = sparse.random_array((n, d), density=density, format="csr", rng=rng, data_sampler=rng.standard_normal)
    A = kind(A.astype(dtype))
    A.indices, A.indptr = A.indices.astype(index), A.indptr.astype(index)
    return A


def snapshot(A):
    return [part.copy() for part in (A.data, A.indices, A.indptr)]


def agree(A, b, x, accuracy, **options):
    """Every evaluation, with A sparse and with A filled in."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "b (of|sums)")
        thin, full = fs.SoftResProblem(A, b, **options), fs.SoftResProblem(A.toarray(), b, **options)
    point, wanted = thin.at(x), full.at(x)
    u = np.exp(wanted.z) + full.skip * wanted.z
    condition = float(np.max(full._rows.groups.sums(abs(u)) / abs(full._rows.groups.sums(u))))
    accuracy = accuracy * condition
    assert point.value == pytest.approx(wanted.value, rel=accuracy, abs=1e-15)
    np.testing.assert_allclose(point.z, wanted.z, rtol=0, atol=1e-14 * max(1.0, np.abs(wanted.z).max()) * 10)
    np.testing.assert_allclose(point.f, wanted.f, rtol=0, atol=accuracy)
    scales, wanted_scales = Evaluator(thin).scales(point), Evaluator(full).scales(wanted)
    for one, other in zip(scales_of(scales), scales_of(wanted_scales), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=accuracy * max(other.max(), 1e-300))
    size = wanted_scales.terms.max()
    np.testing.assert_allclose(point.grad, wanted.grad, rtol=0, atol=accuracy * max(size, 1e-300))
    H, wanted_H = point.hessian().to_dense(), wanted.hessian().to_dense()
    size = max(
        np.abs(wanted_H).max(), np.abs(A.toarray()).max(initial=0.0) ** 2 * np.abs(point.curvature.D).sum()
    )
    np.testing.assert_allclose(H, wanted_H, rtol=0, atol=10 * accuracy * max(size, 1e-300))
    np.testing.assert_array_equal(H, H.T)
    J, wanted_J = point.hessian().gauss_newton(), wanted.hessian().gauss_newton()
    np.testing.assert_allclose(J, wanted_J, rtol=0, atol=10 * accuracy * max(size, 1e-300))
    T = np.cos(np.arange(6.0) + np.arange(x.size)[:, None])
    for t in (T, T[:, 0], T[:, :1]):
        found = point.hessp(t)
        assert found.shape == t.shape
        np.testing.assert_allclose(found, wanted.hessp(t), rtol=0, atol=100 * accuracy * max(size, 1e-300))
    np.testing.assert_allclose(thin.predict(x), full.predict(x), rtol=0, atol=accuracy)


def scales_of(scales):
    return scales.terms, scales.rows


OPTIONS = {
    "one group": {},
    "softmax": {"skip": 0.0},
    "likelihood": {"skip": 0.0, "loss": "kl"},
    "penalties": {"skip": 0.3, "row_ridge": "vector", "ridge": 0.02, "offset": "vector"},
    "groups": {"group_ptr": [0, 3, 4, 300, 330, 333, 400]},
    "weighted groups": {
        "skip": 0.0,
        "loss": "kl",
        "group_ptr": [0, 300, 310, 400],
        "group_weights": [1.0, 0.0, 2.5],
    },
    "labels": {"groups": "labels", "row_ridge": 1e-3},
    "mask": {"mask": "scattered"},
    "mask of a run": {"mask": "run", "offset": "vector"},
    "masked groups": {"skip": 0.0, "group_ptr": [0, 9, 300, 400], "mask": "scattered", "offset": "vector"},
}


def options_of(name, rng, n=400):
    made = dict(OPTIONS[name])
    for key, value in made.items():
        if isinstance(value, str) and key != "loss":
            run = (np.arange(n) > 20) & (np.arange(n) < 390)
            made[key] = {
                "vector": rng.exponential(size=n) / n,
                "labels": rng.integers(0, 7, n),
                "scattered": rng.random(n) < 0.7,
                "run": run,
            }[value]
    return made


@pytest.mark.filterwarnings("ignore:rows of a group are not consecutive")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIONS)
def test_all_evaluations_are_those_of_dense_rows(name, dtype, rng):
    A, b = random(rng, 400, 23, dtype=dtype), target(rng, 400)
    before = snapshot(A)
    accuracy = 1e-13 if dtype == np.float64 else 3e-6
    agree(A, b, rng.standard_normal(23), accuracy, **options_of(name, rng))
    for part, was in zip((A.data, A.indices, A.indptr), before, strict=True):
        np.testing.assert_array_equal(part, was)


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
def test_arrays_and_matrices_of_either_index(kind, index, rng):
    A = random(rng, 60, 9, index=index, kind=kind)
    problem = fs.SoftResProblem(A, target(rng, 60))
    assert problem.A is A
    assert problem._source.indices.dtype == index
    assert np.shares_memory(problem._source.data, A.data)
    agree(A, target(rng, 60), rng.standard_normal(9), 1e-13)


@st.composite
def patterns(draw):
    """Any CSR: empty rows and columns, duplicates, explicit zeros, unordered indices, one row or column."""
    n, d = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    counts = draw(st.lists(st.integers(0, 7), min_size=n, max_size=n))
    nnz = sum(counts)
    indices = draw(st.lists(st.integers(0, d - 1), min_size=nnz, max_size=nnz))
    data = draw(st.lists(st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0]), min_size=nnz, max_size=nnz))
    dtype, index = draw(
        st.sampled_from([(np.float64, np.int32), (np.float32, np.int32), (np.float64, np.int64)])
    )
    A = sparse.csr_array((n, d))
    A.data, A.indices = np.array(data, dtype=dtype), np.array(indices, dtype=index)
    A.indptr = np.concatenate([[0], np.cumsum(counts)]).astype(index)
    return A


@given(patterns(), st.integers(0, 2**31), st.sampled_from([0.0, 1.0]), st.booleans())
@settings(max_examples=30)
def test_any_pattern(A, seed, skip, grouped):
    rng = np.random.default_rng(seed)
    n, d = A.shape
    before = snapshot(A)
    cuts = np.unique(np.concatenate([[0], rng.integers(0, n, 3), [n]]))
    options = {"group_ptr": cuts} if grouped else {}
    x, b = rng.standard_normal(d) / 4, rng.random(n)
    agree(A, b / b.sum(), x, 1e-12 if A.dtype == np.float64 else 1e-5, skip=skip, **options)
    for part, was in zip((A.data, A.indices, A.indptr), before, strict=True):
        np.testing.assert_array_equal(part, was)


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_by_automatic_differentiation(skip, rng):
    import jax

    A, b, x = random(rng, 80, 7, 0.4), target(rng, 80), rng.standard_normal(7)
    row_ridge = rng.exponential(size=80) / 80
    loss = reference.loss_jax(A.toarray(), b, skip, row_ridge, 0.01)
    point = fs.SoftResProblem(A, b, skip=skip, row_ridge=row_ridge, ridge=0.01).at(x)
    assert point.value == pytest.approx(float(loss(x)), rel=1e-13)
    assert relative(point.grad, np.asarray(jax.grad(loss)(x))) <= 1e-12
    true = np.asarray(jax.hessian(loss)(x))
    assert relative(point.hessian().to_dense(), true) <= 1e-12
    assert relative(point.hessp(np.eye(7)), true) <= 1e-12


@pytest.mark.parametrize("ptr", [None, [0, 50, 200], [0, 7, 16, 200]])
@pytest.mark.parametrize("skip", [0.0, 1.0, 0.3])
def test_peaked_with_fifty_digits(skip, ptr, rng):
    """One row of u far above the others: the expansion about the mean would lose what the plain formula
    loses.
    """
    A = random(rng, 200, 6, 0.6).toarray()
    x = rng.standard_normal(6)
    z = A @ x
    A[0, A[0] != 0] = 0.0
    A[0, :3] = x[:3] * (max(z) + 16) / (x[:3] @ x[:3])
    b = target(rng, 200)
    true = reference.exact(A, x, b, skip, ptr=ptr)
    options = {} if ptr is None else {"group_ptr": ptr}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        point = fs.SoftResProblem(sparse.csr_array(A), b, skip=skip, **options).at(x)
    if ptr is None:
        assert relative(reference.plain(A, x, b, skip).hess, true.hess) > 1e-11
    assert relative(point.hessian().to_dense(), true.hess) <= 2e-13
    T = rng.standard_normal((6, 5))
    assert relative(point.hessp(T), true.hess @ T) <= 1e-12


def dummies(rng, n, levels, dtype=np.float64):
    """Dummy columns of several factors, and two covariates."""
    columns, parts = 0, []
    for count in levels:
        parts.append(columns + rng.integers(0, count, n))
        columns += count
    data = np.concatenate([np.ones((n, len(levels))), rng.standard_normal((n, 2))], axis=1)
    indices = np.stack([*parts, np.full(n, columns), np.full(n, columns + 1)], axis=1)
    ptr = np.arange(0, data.size + 1, data.shape[1])
    return sparse.csr_array(
        (data.reshape(-1).astype(dtype), indices.reshape(-1), ptr), shape=(n, columns + 2)
    )


def fitted(rng, A, skip, noise, groups=None):
    x = rng.standard_normal(A.shape[1]) / 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f = fs.SoftResProblem(A, np.full(A.shape[0], 1.0), skip=skip, group_ptr=groups).predict(x)
    return f * np.exp(noise * rng.standard_normal(f.size)), x


@pytest.mark.parametrize("method", ["auto", "newton", "newton-cg", "lbfgs"])
@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_solutions_are_those_of_dense_rows(method, skip, rng):
    A = random(rng, 600, 8, 0.3)
    b, _ = fitted(rng, A, skip, 0.2)
    b /= b.sum()
    options = {"method": method, "maxiter": 500}
    thin = fs.solve(fs.SoftResProblem(A, b, skip=skip), **options)
    full = fs.solve(fs.SoftResProblem(A.toarray(), b, skip=skip), **options)
    assert thin.success
    assert thin.fun == pytest.approx(full.fun, rel=1e-9)
    assert relative(thin.x, full.x) <= 1e-5


@pytest.mark.parametrize("dtype", DTYPES)
def test_groups_and_likelihood_are_solved(dtype, rng):
    groups = np.arange(0, 901, 9)
    A = random(rng, 900, 8, 0.3, dtype)
    b, _ = fitted(rng, A, 0.0, 0.2, groups)
    b /= np.repeat(np.add.reduceat(b, groups[:-1]), 9)
    for options in ({}, {"loss": "kl"}):
        thin = fs.solve(fs.SoftResProblem(A, b, skip=0.0, group_ptr=groups, **options))
        full = fs.solve(fs.SoftResProblem(A.toarray(), b, skip=0.0, group_ptr=groups, **options))
        assert thin.success
        assert relative(thin.x, full.x) <= (1e-6 if dtype == np.float64 else 1e-3)


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_many_columns_need_no_matrix_of_them(skip, monkeypatch, rng):
    """The wide solver's conjugate gradients against Newton's method with factors, on the same problem."""
    A = dummies(rng, 4000, [40, 15])
    b, _ = fitted(rng, A, skip, 0.1)
    b /= b.sum()
    problem = fs.SoftResProblem(A, b, skip=skip, ridge=1e-9)
    wanted = fs.solve(problem, method="newton")
    assert wanted.success
    for module in (wide, starts, sampler):
        monkeypatch.setattr(module, "FACTORED_COLUMNS", 10)
    found = fs.solve(problem, x0=None, method="newton-cg", n_starts=1)
    assert found.fun == pytest.approx(wanted.fun, rel=1e-9)
    assert found.optimality.gradient <= 1e-8
    assert found.start == wanted.start


def test_least_squares_without_a_matrix(rng):
    """Against NumPy's lstsq, with and without a free constant."""
    A, target = random(rng, 300, 12, 0.3), rng.standard_normal(300)
    full, weight = A.toarray(), rng.random(300)
    evaluator = Evaluator(fs.SoftResProblem(A, np.full(300, 1 / 300)))
    root = np.sqrt(weight)
    x = wide.least_squares(evaluator, weight, target, lambda v: v, np.zeros(1), 0.0)
    assert relative(x, np.linalg.lstsq(root[:, None] * full, root * target, rcond=None)[0]) <= 1e-5

    def centred(values):
        return values - weight @ values / weight.sum()

    x = wide.least_squares(evaluator, weight, centred(target), centred, np.zeros(1), 0.0)
    with_constant = np.column_stack([full, np.ones(300)])
    wanted = np.linalg.lstsq(root[:, None] * with_constant, root * target, rcond=None)[0][:12]
    assert relative(x, wanted) <= 1e-5


# -- a Hessian and factors without d x d numbers ------------------------------------------------


@pytest.mark.filterwarnings("ignore:rows of a group are not consecutive", "ignore:b (of|sums)")
@pytest.mark.parametrize("name", OPTIONS)
def test_the_sparse_hessian_is_the_dense_one(name, rng):
    A, b = random(rng, 400, 23), target(rng, 400)
    point = fs.SoftResProblem(A, b, **options_of(name, rng)).at(rng.standard_normal(23))
    H, wanted = point.hessian().to_sparse(), point.hessian().to_dense()
    np.testing.assert_allclose(H.to_dense(), wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    assert (H.sparse != H.sparse.T).nnz == 0
    assert H.left.shape == H.right.shape


@pytest.mark.parametrize("ptr", [None, [0, 50, 200], [0, 7, 16, 200]])
@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_the_sparse_hessian_where_one_row_holds_all_weight(skip, ptr, rng):
    """Against 50 digits: rows close to their group's mean must not cancel."""
    A = random(rng, 200, 6, 0.6).toarray()
    x = rng.standard_normal(6)
    A[0] = 0.0
    A[0, :3] = x[:3] * (max(A @ x) + 16) / (x[:3] @ x[:3])
    b = target(rng, 200)
    true = reference.exact(A, x, b, skip, ptr=ptr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = fs.SoftResProblem(sparse.csr_array(A), b, skip=skip, group_ptr=ptr)
    assert relative(problem.hessian(x).to_sparse().to_dense(), true.hess) <= 2e-13


def test_the_hessian_of_dummies_stays_sparse(rng):
    """Entries where two levels meet in a row, and no others: 30,000 of 4 columns each."""
    A = dummies(rng, 30_000, [9000, 300])
    H = fs.SoftResProblem(A, np.full(30_000, 1 / 30_000)).hessian(np.zeros(A.shape[1])).to_sparse()
    pattern = abs(A).T @ abs(A)
    assert H.sparse.nnz <= pattern.nnz < 2e-3 * A.shape[1] ** 2
    assert H.left.shape == (A.shape[1], 1)
    t = rng.standard_normal(A.shape[1])
    found = H.sparse @ t + H.left @ (H.right.T @ t) + H.right @ (H.left.T @ t)
    problem = fs.SoftResProblem(A, np.full(30_000, 1 / 30_000))
    assert relative(found, problem.hessp(np.zeros(A.shape[1]), t)) <= 1e-12


def test_a_dense_problem_has_no_sparse_hessian(rng):
    with pytest.raises(TypeError, match="sparse A in memory"):
        fs.SoftResProblem(np.eye(3), np.full(3, 1 / 3)).hessian(np.zeros(3)).to_sparse()


@pytest.mark.parametrize("kind", ["softmax", "resnet", "row ridge", "kl", "two groups", "one factor"])
def test_elimination_solves_with_the_hessian_where_it_is_definite(kind, rng):
    """Against NumPy on the assembled matrix, at points of either curvature."""
    options = {
        "softmax": {"skip": 0.0, "ridge": 1e-6},
        "resnet": {"skip": 1.0, "ridge": 1e-6},
        "row ridge": {"skip": 0.4, "row_ridge": 1e-4, "ridge": 1e-6},
        "kl": {"skip": 0.0, "loss": "kl", "ridge": 1e-6},
        "two groups": {"skip": 1.0, "group_ptr": [0, 400, 900], "ridge": 1e-6},
        "one factor": {"skip": 0.0, "ridge": 1e-6},
    }[kind]
    A = (
        dummies(rng, 900, [40, 7])
        if kind != "one factor"
        else sparse.csr_array(dummies(rng, 900, [40])[:, :40])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        b, x = fitted(rng, A, options["skip"], 0.05, options.get("group_ptr"))
        problem = fs.SoftResProblem(A, b, **options)
    elimination = Elimination.of(problem._source, 20)
    assert elimination.first.size == 40
    seen = set()
    for size in (0.0, 0.02, 0.3, 3.0, 3.0):
        point = problem.at(x + size * rng.standard_normal(A.shape[1]))
        H = point.hessian().to_dense()
        lowest = np.linalg.eigvalsh(H)[0]
        approximation = elimination.approximate(point)
        seen.add(approximation.definite)
        r = rng.standard_normal((A.shape[1], 3))
        if approximation.definite:
            assert lowest > 0.0
            assert relative(approximation.solve(r), np.linalg.solve(H, r)) <= 1e-7
            assert relative(approximation.solve(r[:, 0]), np.linalg.solve(H, r[:, 0])) <= 1e-7
        else:  # no proof, but a positive definite P
            P = np.linalg.inv(approximation.solve(np.eye(A.shape[1])))
            assert np.linalg.eigvalsh(0.5 * (P + P.T))[0] > 0.0
    assert True in seen


def test_elimination_is_left_where_too_many_columns_meet(rng):
    source = fs.SoftResProblem(random(rng, 400, 60, 0.5), target(rng, 400))._source
    assert Elimination.of(source, 30) is None
    assert Elimination.of(fs.SoftResProblem(np.eye(3), np.full(3, 1 / 3))._source, 30) is None


@pytest.mark.parametrize("method", ["newton", "newton-cg"])
@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_many_dummies_take_newtons_steps_by_elimination(method, skip, monkeypatch, rng):
    """The minimum of exact Newton's assembled steps, in as many iterations, each with one product or two."""
    A = dummies(rng, 4000, [40, 15])
    b, _ = fitted(rng, A, skip, 0.1)
    b /= b.sum()
    problem = fs.SoftResProblem(A, b, skip=skip, ridge=1e-9)
    wanted = fs.solve(problem, method="newton")
    for module in (wide, starts, sampler, runs):
        monkeypatch.setattr(module, "FACTORED_COLUMNS", 20)
    monkeypatch.setattr(newton_cg, "ASSEMBLED_COLUMNS", 20)
    monkeypatch.setattr(Point, "assembled", None)
    found = fs.solve(problem, method=method, n_starts=1)
    assert found.success
    assert found.fun == pytest.approx(wanted.fun, rel=1e-12)
    assert relative(found.x, wanted.x) <= 1e-6
    assert found.nit <= wanted.nit + 1
    assert found.pass_counts["hessp"] <= 2 * found.nit
    assert found.identified_rank == A.shape[1]
    assert found.null_space.shape == (A.shape[1], 0)


def test_collinear_dummies_without_a_ridge(monkeypatch, rng):
    """Factors whose levels add up to the same column: no unique x, the same minimum."""
    A = dummies(rng, 4000, [40, 15])
    b, _ = fitted(rng, A, 1.0, 0.1)
    problem = fs.SoftResProblem(A, b / b.sum(), skip=1.0)
    wanted = fs.solve(problem, method="newton")
    assert wanted.identified_rank == A.shape[1] - 1
    for module in (wide, starts, sampler, runs):
        monkeypatch.setattr(module, "FACTORED_COLUMNS", 20)
    found = fs.solve(problem, method="newton-cg", n_starts=1)
    assert found.success
    assert found.fun == pytest.approx(wanted.fun, rel=1e-9)


def test_dummies_by_the_thousand(rng):
    """20,000 columns: products, a solution, and no attempt at 20,000 x 20,000 numbers."""
    A = dummies(rng, 60_000, [19_000, 998])
    b, _ = fitted(rng, A, 0.0, 0.05)
    b /= b.sum()
    problem = fs.SoftResProblem(A, b, skip=0.0, ridge=1e-12)
    result = fs.solve(problem, maxiter=200)
    assert result.method == "newton-cg"
    assert result.success
    assert result.identified_rank == 20_000  # proven by its factors
    assert result.pass_counts["hessp"] <= 2 * result.nit
    assert result.fit.relative < 0.1
    assert relative(problem.grad(result.x), 0 * result.x + 1) < 2  # finite


def test_a_matrix_that_does_not_fit_is_refused(monkeypatch, rng):
    problem = fs.SoftResProblem(random(rng, 50, 300), target(rng, 50))
    monkeypatch.setattr(memory, "physical_memory", lambda: 1_000_000)
    for call in (
        lambda: problem.hessian(np.zeros(300)).to_dense(),
        lambda: fs.solve(problem, method="newton"),
    ):
        with pytest.raises(MemoryError, match=r"300 x 300.*newton-cg"):
            call()
    monkeypatch.setattr(memory, "physical_memory", lambda: None)
    assert problem.hessian(np.zeros(300)).to_dense().shape == (300, 300)


@pytest.mark.parametrize("groups", [None, 7, 5000])
def test_same_bits_for_any_number_of_threads(groups, rng):
    n = 60_000
    A = random(rng, n, 30, 0.3)
    ptr = None if groups is None else np.append(np.arange(0, n - groups, groups), n)
    b = np.full(n, 1.0 / n) if ptr is None else np.repeat(1.0 / np.diff(ptr), np.diff(ptr))
    problem = fs.SoftResProblem(A, b, group_ptr=ptr)
    assert len(problem._source.bounds()) > 8
    x, t = rng.standard_normal(30), rng.standard_normal((30, 5))
    answers = []
    for threads in (1, 2, 3):
        with fs.num_threads(threads):
            point = problem.at(x)
            hessian = point.hessian()
            matrices = hessian.to_dense(), hessian.gauss_newton()
            answers.append((point.value, point.grad, point.hessp(t), *matrices))
    for other in answers[1:]:
        for one, two in zip(answers[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_chunks_carry_equal_work(rng):
    """Rows of very different length; every row in one chunk."""
    n = 100_000
    counts = np.where(np.arange(n) < 1000, 900, 2)
    ptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.concatenate([np.arange(c) for c in counts]).astype(np.int32)
    source = ours.CsrRows(np.ones(indices.size), indices, ptr[:-1], ptr[1:], 1000)
    bounds = source.bounds()
    assert len(bounds) > 10
    assert [0, *(stop for _, stop in bounds)] == [*(start for start, _ in bounds), n]
    work = [ptr[stop] - ptr[start] + 4 * (stop - start) for start, stop in bounds]
    assert max(work) <= 1.5 * np.mean(work) + 1000


# ----------------------------------------------------------------------------------------------
# what users give


@pytest.mark.parametrize("kind", ["csc", "coo", "bsr", "lil", "dok", "dia"])
def test_other_formats_are_converted_once_with_notice(kind, rng):
    A = random(rng, 30, 6, 0.4)
    other = A.asformat(kind)
    with pytest.warns(UserWarning, match="not in CSR format.*converted once"):
        problem = fs.SoftResProblem(other, np.full(30, 1 / 30))
    x = rng.standard_normal(6)
    assert problem.value(x) == fs.SoftResProblem(A, np.full(30, 1 / 30)).value(x)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.bool_, np.float16, np.longdouble, ">f8", ">f4"])
def test_other_types_are_converted(dtype, rng):
    A = random(rng, 30, 6, 0.4)
    A.data = np.round(A.data)
    converted = A.copy()
    converted.data = A.data.astype(dtype)
    problem = fs.SoftResProblem(converted, np.full(30, 1 / 30))
    assert problem.dtype == (np.float32 if dtype == ">f4" else np.float64)
    wanted = A.toarray() != 0 if dtype is np.bool_ else A.toarray()
    np.testing.assert_array_equal(problem.A.toarray(), wanted)


def test_duplicates_are_summed_in_a_copy():
    A = sparse.csr_array((3, 3))
    A.data, A.indices = np.array([1.0, 2.0, 5.0, -5.0, 4.0]), np.array([2, 0, 1, 1, 2], np.int32)
    A.indptr = np.array([0, 2, 4, 5], np.int32)
    before = snapshot(A)
    problem = fs.SoftResProblem(A, [0.2, 0.3, 0.5])
    np.testing.assert_array_equal(problem.A.toarray(), [[2, 0, 1], [0, 0, 0], [0, 0, 4]])
    for part, was in zip((A.data, A.indices, A.indptr), before, strict=True):
        np.testing.assert_array_equal(part, was)


def test_read_only_arrays_and_entries_past_the_end(rng):
    A = random(rng, 30, 6, 0.4)
    x = rng.standard_normal(6)
    wanted = fs.SoftResProblem(A, np.full(30, 1 / 30)).grad(x)
    longer = sparse.csr_array((30, 6))
    longer.data = np.append(A.data, [np.nan, np.nan])
    longer.indices, longer.indptr = np.append(A.indices, [99, -3]).astype(np.int32), A.indptr
    for part in (longer.data, longer.indices, longer.indptr):
        part.flags.writeable = False
    np.testing.assert_array_equal(fs.SoftResProblem(longer, np.full(30, 1 / 30)).grad(x), wanted)


def broken(change):
    """A sound matrix with one of its arrays replaced, past SciPy's checks."""
    A = sparse.csr_array(np.arange(12.0).reshape(4, 3))
    for name, values in change.items():
        setattr(A, name, np.array(values))
    return A


CORRUPT = {
    "decreasing indptr": ({"indptr": [0, 5, 3, 8, 11]}, "indptr must not decrease, got 5 to 3 at row 1"),
    "indptr does not begin with 0": ({"indptr": [1, 3, 5, 8, 11]}, "indptr must begin with 0, got 1"),
    "negative indptr": ({"indptr": [0, -4, 5, 8, 11]}, "indptr must not decrease, got 0 to -4 at row 0"),
    "short indptr": ({"indptr": [0, 2, 5]}, "indptr must have one entry more than rows .5., got 3"),
    "indptr past the entries": ({"indptr": [0, 2, 5, 8, 999]}, "indices must have the 999 entries"),
    "indptr of floats": ({"indptr": [0.0, 2.0, 5.0, 8.0, 11.0]}, "indptr must be a one-dimensional integer"),
    "index too large": ({"indices": [1, 2, 0, 1, 3, 0, 1, 2, 0, 1, 2]}, "0 to 2, got column 3 at row 1"),
    "negative index": ({"indices": [1, 2, 0, 1, 2, 0, 1, 2, 0, 1, -1]}, "0 to 2, got column -1 at row 3"),
    "huge index": ({"indices": [2**62, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]}, "0 to 2, got column 46116860184273"),
    "short indices": ({"indices": [1, 2, 0]}, "indices must have the 11 entries"),
    "short data": ({"data": [1.0, 2.0]}, "data must have the 11 entries"),
    "indices in two dimensions": ({"indices": [[1, 2], [0, 1]]}, "indices must be a one-dimensional"),
    "data in two dimensions": ({"data": [[1.0, 2.0]]}, "data must be one-dimensional"),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_corrupt_matrices_are_named_before_any_kernel_reads_them(name):
    change, message = CORRUPT[name]
    with pytest.raises(ValueError, match=message):
        fs.SoftResProblem(broken(change), np.full(4, 0.25))
    problem = fs.SoftResProblem(np.eye(3), np.full(3, 1 / 3))
    with pytest.raises(ValueError, match=message):
        problem.predict(np.zeros(3), broken(change))


@pytest.mark.parametrize("index", INDICES)
def test_what_is_corrupted_after_it_was_checked_is_not_used(index, rng):
    A, x = random(rng, 400, 23, index=index), rng.standard_normal(23)
    problem = fs.SoftResProblem(A, target(rng, 400))
    value, grad = problem.value_and_grad(x)
    A.indices[:] = 2**30
    A.indptr[:] = 2**30
    again = problem.value_and_grad(x)
    assert again[0] == value
    np.testing.assert_array_equal(again[1], grad)
    assert problem.hessian(x).to_sparse().sparse.shape == (23, 23)


def test_corrupt_matrices_in_other_formats():
    A = sparse.csc_array(np.arange(12.0).reshape(4, 3))
    A.indices = np.array([1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 4], np.int32)
    with pytest.raises(ValueError, match="0 to 3, got row 4 at column 2"):
        fs.SoftResProblem(A, np.full(4, 0.25))
    A = sparse.coo_array(np.arange(12.0).reshape(4, 3))
    A.coords = (A.coords[0], A.coords[1] - 1)
    with pytest.raises(ValueError, match="columns from 0 to 2, got -1"):
        fs.SoftResProblem(A, np.full(4, 0.25))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_entries_that_are_not_finite(bad, rng):
    A = random(rng, 40, 6, 0.4)
    A.data[17] = bad
    row, column = int(np.searchsorted(A.indptr, 17, side="right")) - 1, int(A.indices[17])
    with pytest.raises(ValueError, match=f"A must be finite, got {bad} at row {row}, column {column}"):
        fs.SoftResProblem(A, np.full(40, 1 / 40))
    mask = np.ones(40, bool)
    mask[row] = False
    fs.SoftResProblem(A, np.full(40, 1 / 39), mask=mask)


@pytest.mark.parametrize(
    ("A", "error", "words"),
    [
        (sparse.csr_array((0, 3)), ValueError, "at least one row"),
        (sparse.csr_array((3, 0)), ValueError, "at least one row"),
        (sparse.csr_array(np.eye(3) * 1j), TypeError, "real numbers"),
        (sparse.coo_array(np.ones(3)), ValueError, "two-dimensional"),
    ],
)
def test_other_mistakes(A, error, words):
    with pytest.raises(error, match=words):
        fs.SoftResProblem(A, np.full(3, 1 / 3))


def test_sparse_vectors_are_not_taken_for_dense_ones():
    for name in ("b", "offset"):
        with pytest.raises(TypeError, match=f"{name} is a sparse matrix"):
            fs.SoftResProblem(np.eye(3), **({"b": np.full(3, 1 / 3)} | {name: sparse.eye_array(3)}))


def test_predict_and_parts(rng):
    """Sparse rows for a dense problem and the other way round; a problem on some rows."""
    A, B, x = random(rng, 40, 6, 0.4), random(rng, 25, 6, 0.4), rng.standard_normal(6)
    b = target(rng, 40)
    thin, full = fs.SoftResProblem(A, b), fs.SoftResProblem(A.toarray(), b)
    for problem in (thin, full):
        for rows in (B, B.toarray()):
            np.testing.assert_allclose(problem.predict(x, rows), fs.softres(B @ x), rtol=1e-13)
    picked = np.array([0, 3, 3, 17, 39])
    part = thin.rows(picked)
    np.testing.assert_array_equal(part.A.toarray(), A.toarray()[picked])
    assert part.value(x) == pytest.approx(full.rows(picked).value(x), rel=1e-13)
    assert f"n=40, d=6, nnz={A.nnz}, dtype=float64" in repr(thin)
    bounds, wanted = thin.lipschitz(x, 0.1), full.lipschitz(x, 0.1)
    assert bounds.hess == pytest.approx(wanted.hess, rel=1e-9)


def test_inference_and_elasticities(rng):
    groups = np.arange(0, 401, 8)
    A = random(rng, 400, 4, 0.6)
    b, _ = fitted(rng, A, 0.0, 0.2, groups)
    b /= np.repeat(np.add.reduceat(b, groups[:-1]), 8)
    thin, full = (fs.SoftResProblem(rows, b, skip=0.0, group_ptr=groups) for rows in (A, A.toarray()))
    x = fs.solve(full).x
    for kind, clusters in (("cluster", None), ("cluster", np.arange(50) // 2), ("model", None)):
        cov, wanted = (fs.inference(problem, x, kind, clusters=clusters).cov for problem in (thin, full))
        np.testing.assert_allclose(cov, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())
    found, wanted = fs.elasticities(thin, x, 2), fs.elasticities(full, x, 2)
    np.testing.assert_allclose(found.own, wanted.own, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(found.cross, wanted.cross, rtol=1e-11, atol=1e-14)


MEASURE = """if True:
    import numpy as np
    from scipy import sparse
    import fastsoftres as fs

    def status(name):
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    def problem(n, d, k):
        indices = (np.arange(n * k) * 7919 % d).astype(np.int32).reshape(n, k)
        indices.sort(axis=1)
        A = sparse.csr_array((np.ones(n * k), indices.reshape(-1), np.arange(0, n * k + 1, k)), shape=(n, d))
        return fs.SoftResProblem(A, np.full(n, 1 / n))

    def use(problem):
        point = problem.at(np.zeros(problem.shape[1]))
        point.hessp(np.ones(problem.shape[1]))

    use(problem(20_000, 50, 10))
    large = problem(400_000, 50_000, 10)
    before = status("VmRSS")
    use(large)
    print((status("VmHWM") - before) / 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_that_of_vectors():
    """z, D, h, v/alpha of 3 MiB each, a few vectors of 0.4 MiB for each chunk at work; A filled in: 150
    GiB.
    """
    assert float(run_python(MEASURE)) <= 60
