"""fastsoftres/solvers/solve.py: fits, against SciPy's trust-region method on plain NumPy formulas
(``outside``), against the x that made an attainable target, and against NumPy's pseudo-inverse where the
data leaves x undetermined."""

from __future__ import annotations

import numpy as np
import pytest
from outside import Plain, best_minimum, minimum
from scipy.linalg import null_space

import fastsoftres as fs
from fastsoftres.data import load_automobiles

METHODS = ("newton", "newton-cg", "approx-newton", "lbfgs")


def noisy_target(rng, A, x, skip, noise=0.3):
    """What x fits, up to multiplicative noise; sums to 1."""
    b = fs.softres(A @ x, skip=skip) * (1.0 + noise * rng.standard_normal(A.shape[0]))
    return b / b.sum()


# -- the bundled data ---------------------------------------------------------------------------


def assert_best_fit(A, b, skip, starts):
    problem = fs.SoftResProblem(A, b, skip=skip)
    plain = Plain(A, b, skip)
    result = fs.solve(problem)
    assert result.success
    assert result.status == 0
    assert result.optimality.gradient <= 1e-8
    assert plain.relative_gradient(result.x) <= 1e-8
    assert result.fun == pytest.approx(plain.value(result.x), rel=1e-12)
    best, _ = best_minimum(plain, starts, np.random.default_rng(7))
    assert result.fun <= (1.0 + 1e-10) * best


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_automobiles_are_fitted_as_well_as_scipy_fits_them(skip):
    A, b, _ = load_automobiles(1990)
    assert_best_fit(A, b, skip, starts=6)


@pytest.mark.slow
@pytest.mark.parametrize("skip", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("market", [1971, 1980, 1990])
def test_automobiles_are_fitted_as_well_as_scipy_fits_them_from_many_starts(market, skip):
    A, b, _ = load_automobiles(market)
    assert_best_fit(A, b, skip, starts=20)


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_every_market_is_fitted(skip):
    for market in range(1971, 1991):
        A, b, _ = load_automobiles(market)
        result = fs.solve(fs.SoftResProblem(A, b, skip=skip))
        assert result.success, (market, result.message)
        assert Plain(A, b, skip).relative_gradient(result.x) <= 1e-8, market
        # in 1971 air conditioning is standard in no model: a column of zeros
        basis = A - A.mean(axis=0) if skip == 0.0 else A
        assert result.identified_rank == np.linalg.matrix_rank(basis), market


# -- attainable targets -------------------------------------------------------------------------


@pytest.mark.parametrize("start", [None, "zeros"])
@pytest.mark.parametrize("spread", [0.5, 2.0])
@pytest.mark.parametrize("skip", [0.0, 0.5, 1.0])
def test_attainable_target_gives_back_its_x(rng, skip, spread, start):
    A = rng.standard_normal((300, 6))
    x = rng.standard_normal(6)
    x *= spread / np.std(A @ x)
    problem = fs.SoftResProblem(A, fs.softres(A @ x, skip=skip), skip=skip)
    result = fs.solve(problem, None if start is None else np.zeros(6))
    assert result.success, result.message
    assert np.linalg.norm(result.x - x) <= 1e-6 * np.linalg.norm(x)
    assert result.fit.relative <= 1e-6
    if start is None:
        assert result.start in ("closed form", "zeros")  # zeros first where alpha would have to be searched
        assert result.nit <= (6 if result.start == "closed form" else 12)
    else:
        assert result.start == "x0"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_attainable_target_of_negative_normaliser(seed, method):
    """A column of negative entries makes all z negative, and with them u and alpha."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((200, 5))
    A[:, 0] = -1.0 - np.abs(A[:, 0])
    x = np.concatenate([[3.0], rng.standard_normal(4)])
    plain = Plain(A, fs.softres(A @ x), 1.0)
    assert plain.alpha(x) < -100.0
    result = fs.solve(fs.SoftResProblem(A, plain.b, skip=1), method=method)
    if method != "lbfgs":  # which may stall on the last digits
        assert result.success, result.message
    assert result.optimality.gradient <= 1e-8
    assert plain.alpha(result.x) < 0.0
    assert np.linalg.norm(result.x - x) <= (1e-6 if method != "lbfgs" else 1e-4) * np.linalg.norm(x)


# -- what the data leaves undetermined ----------------------------------------------------------


def least_norm(A, z, skip):
    """The shortest x with the fit of z: A x = z, for skip = 0 up to a constant, by the pseudo-inverse."""
    if skip == 0.0:
        return np.linalg.pinv(A - A.mean(axis=0)) @ (z - z.mean())
    return np.linalg.pinv(A) @ z


def redundant(name, A, rng):
    """A with columns that say nothing new, and the columns that the note must name."""
    n, d = A.shape
    if name == "duplicates":
        return np.hstack([A, A[:, :2]]), [0, 1, d, d + 1]
    if name == "zero columns":
        return np.hstack([A[:, :2], np.zeros((n, 1)), A[:, 2:], np.zeros((n, 1))]), [2, d + 1]
    if name == "combinations":
        return np.hstack([A, A @ rng.standard_normal((d, 2))]), list(range(d + 2))
    if name == "constant":
        return np.hstack([np.full((n, 1), 3.0), A]), [0]
    if name == "indicators":  # sum to a constant
        levels = np.eye(3)[np.arange(n) % 3]
        return np.hstack([A, levels]), [d, d + 1, d + 2]
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("name", "skip"),
    [
        *[
            (name, skip)
            for name in ("duplicates", "zero columns", "combinations")
            for skip in (0.0, 0.5, 1.0)
        ],
        ("constant", 0.0),
        ("indicators", 0.0),
    ],
)
def test_least_norm_where_columns_repeat(rng, name, skip):
    n, d = 120, 4
    A = rng.standard_normal((n, d))
    b = noisy_target(rng, A, 0.7 * rng.standard_normal(d), skip)
    wide, columns = redundant(name, A, rng)
    problem = fs.SoftResProblem(wide, b, skip=skip)
    result = fs.solve(problem)
    assert result.success, result.message

    basis = wide - wide.mean(axis=0) if skip == 0.0 else wide
    rank = int(np.linalg.matrix_rank(basis))
    assert result.identified_rank == rank < wide.shape[1]
    assert f"{rank} of {wide.shape[1]} directions" in result.message
    assert "least norm" in result.message
    assert any(f"columns {', '.join(map(str, columns))} " in note for note in result.notes), result.notes

    # the same fit as without the redundant columns, at the shortest x that has it
    expected, x = minimum(Plain(basis, b, skip), least_norm(basis, basis @ result.x, skip))
    assert result.fun == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(result.x, least_norm(wide, wide @ x, skip), atol=1e-6 * np.linalg.norm(x))

    null = result.null_space
    assert null.shape == (wide.shape[1], wide.shape[1] - rank)
    np.testing.assert_allclose(null.T @ null, np.eye(null.shape[1]), atol=1e-12)
    outside = null_space(basis)
    np.testing.assert_allclose(null @ null.T, outside @ outside.T, atol=1e-8)
    assert np.abs(null.T @ result.x).max() <= 1e-8 * np.linalg.norm(result.x)
    for j in range(null.shape[1]):
        assert problem.value(result.x + null[:, j]) == pytest.approx(result.fun, rel=1e-10)


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_more_columns_than_rows(rng, skip):
    """Every positive target is attained. With skip = 0 the shortest x that attains it is known outright."""
    A = rng.standard_normal((20, 45))
    b = rng.dirichlet(np.full(20, 3.0))
    result = fs.solve(fs.SoftResProblem(A, b, skip=skip))
    assert result.success
    assert result.fit.relative <= 1e-8
    assert result.identified_rank == 19  # f has 19 free entries
    assert result.null_space.shape == (45, 26)
    # for skip > 0 a curve of z has the same f; x is the shortest for its z
    np.testing.assert_allclose(
        result.x, least_norm(A, A @ result.x, skip), atol=1e-8 * np.linalg.norm(result.x)
    )
    if skip == 0.0:
        np.testing.assert_allclose(result.x, least_norm(A, np.log(b), 0.0), atol=1e-8)


def test_a_ridge_identifies_every_column(rng):
    A = rng.standard_normal((60, 3))
    A = np.hstack([np.ones((60, 1)), A, A[:, :1]])
    b = rng.dirichlet(np.full(60, 3.0))
    result = fs.solve(fs.SoftResProblem(A, b, skip=0, ridge=1e-4))
    assert result.success
    assert result.identified_rank == 5
    assert result.null_space.shape == (5, 0)
    assert result.notes == []
    assert "directions" not in result.message
    np.testing.assert_allclose(result.x[4], result.x[1], rtol=1e-9)  # the ridge shares out evenly
    assert abs(result.x[0]) <= 1e-12 * np.abs(result.x).max()


def test_deficient_float32(rng):
    A = rng.standard_normal((200, 4)).astype(np.float32)
    b = noisy_target(rng, A, 0.5 * rng.standard_normal(4), 0.0)
    result = fs.solve(fs.SoftResProblem(np.hstack([A, A[:, 1:3]]), b, skip=0))
    assert result.success
    assert result.identified_rank == 4
    assert result.x[4] == pytest.approx(result.x[1], rel=1e-4)


def test_matrix_of_zeros_is_fitted_by_zeros():
    result = fs.solve(fs.SoftResProblem(np.zeros((5, 2)), [0.5, 0.2, 0.1, 0.1, 0.1]))
    assert result.success
    np.testing.assert_array_equal(result.x, [0.0, 0.0])
    assert result.identified_rank == 0
    np.testing.assert_allclose(np.abs(result.null_space), np.eye(2))
    assert result.fun == pytest.approx(0.5 * (0.3**2 + 3 * 0.1**2))


@pytest.mark.parametrize("skip", [0.0, 0.5, 1.0])
def test_one_row_is_fitted_by_anything(skip):
    """f = 1 whatever x is."""
    result = fs.solve(fs.SoftResProblem([[0.4, -1.2]], [1.0], skip=skip))
    assert result.success
    assert result.fun == 0.0
    assert np.isfinite(result.x).all()


# -- small closed forms -------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.9, 1e-3, 1e-6])
def test_two_rows_are_a_logit(share):
    """skip = 0, rows 1 and 0: f_1 = 1/(1 + exp(-x)), so x is the logit of the share."""
    result = fs.solve(fs.SoftResProblem([[1.0], [0.0]], [share, 1.0 - share], skip=0))
    assert result.success
    assert result.x[0] == pytest.approx(np.log(share / (1.0 - share)), rel=1e-8, abs=1e-12)


def test_ridge_solution_satisfies_its_scalar_equation():
    """One column, two rows, ridge: f(1 - f)(f - b)·2 + ridge·x = 0 with f = 1/(1 + exp(-x))."""
    result = fs.solve(fs.SoftResProblem([[1.0], [0.0]], [0.7, 0.3], skip=0, ridge=0.1))
    x = result.x[0]
    f = 1.0 / (1.0 + np.exp(-x))
    assert 2.0 * f * (1.0 - f) * (f - 0.7) == pytest.approx(-0.1 * x, abs=1e-8)


def test_uniform_target_is_fitted_by_zeros(rng):
    """f(0) is uniform for every skip: x = 0 fits exactly."""
    A = rng.standard_normal((50, 3))
    for skip in (0.0, 0.3, 1.0):
        result = fs.solve(fs.SoftResProblem(A, np.full(50, 0.02), skip=skip))
        assert result.success
        assert result.fun <= 1e-30
        assert np.abs(result.x).max() <= 1e-12


# -- methods, storage, penalties ----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "options", [{}, {"ridge": 1e-3}, {"row_ridge": 1e-3}, {"ridge": 1e-4, "row_ridge": "rows"}]
)
@pytest.mark.parametrize("skip", [0.0, 0.5, 1.0])
def test_methods_reach_the_minimum_of_scipy(rng, skip, options, method):
    A = rng.standard_normal((150, 5)) * [1.0, 0.01, 1.0, 100.0, 1.0]
    b = noisy_target(rng, A, 0.5 * rng.standard_normal(5) / [1.0, 0.01, 1.0, 100.0, 1.0], skip)
    options = dict(options)
    if options.get("row_ridge") == "rows":
        options["row_ridge"] = rng.exponential(size=150) * 1e-3
    problem = fs.SoftResProblem(A, b, skip=skip, **options)
    result = fs.solve(problem, method=method)
    assert result.success, result.message
    assert result.method == method
    best, _ = best_minimum(Plain.of(problem), 3, np.random.default_rng(0))
    assert result.fun == pytest.approx(best, rel=1e-8)
    assert Plain.of(problem).relative_gradient(result.x) <= 1.01e-8


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_float32_rows_are_fitted_to_what_they_hold(rng, skip, method):
    A = rng.standard_normal((400, 6)).astype(np.float32)
    b = noisy_target(rng, A, 0.5 * rng.standard_normal(6), skip)
    result = fs.solve(fs.SoftResProblem(A, b, skip=skip), method=method)
    assert result.success, result.message
    assert Plain(A, b, skip).relative_gradient(result.x) <= 5e-6
    best, _ = best_minimum(Plain(A, b, skip), 2, np.random.default_rng(0))
    assert result.fun == pytest.approx(best, rel=1e-8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layout", ["F", "strided", "reversed", "swapped"])
def test_layout_of_the_matrix_does_not_matter(rng, layout, method):
    A = rng.standard_normal((300, 5))
    b = noisy_target(rng, A, 0.5 * rng.standard_normal(5), 1.0)
    other = {
        "F": lambda: np.asfortranarray(A),
        "strided": lambda: np.repeat(A, 2, axis=1)[:, ::2],
        "reversed": lambda: A[::-1].copy()[::-1],
        "swapped": lambda: A.astype(A.dtype.newbyteorder()),
    }[layout]()
    expected = fs.solve(fs.SoftResProblem(A, b), method=method)
    result = fs.solve(fs.SoftResProblem(other, b), method=method)
    assert result.success
    np.testing.assert_allclose(result.x, expected.x, rtol=1e-12)


def test_conjugate_gradients_from_a_row_sample(rng):
    """Above 4000 rows the preconditioner sees a sample only; the minimum stays SciPy's."""
    A = rng.standard_normal((9000, 8))
    b = noisy_target(rng, A, 0.5 * rng.standard_normal(8), 0.0)
    problem = fs.SoftResProblem(A, b, skip=0)
    newton, cg = fs.solve(problem, method="newton"), fs.solve(problem, method="newton-cg")
    assert newton.success
    assert cg.success
    assert cg.fun == pytest.approx(newton.fun, rel=1e-12)
    best, _ = minimum(Plain.of(problem), np.zeros(8))
    assert newton.fun == pytest.approx(best, rel=1e-10)


def test_auto_takes_newton_for_few_columns_and_products_for_many(rng):
    few = fs.SoftResProblem(rng.standard_normal((30, 3)), np.full(30, 1 / 30), skip=0)
    assert fs.solve(few).method == "newton"
    many = fs.SoftResProblem(
        rng.standard_normal((10, 2500)), rng.dirichlet(np.full(10, 3.0)), skip=0, ridge=1e-3
    )
    result = fs.solve(many)
    assert result.method == "newton-cg"
    assert result.success
    assert result.identified_rank == 2500  # by the ridge, as probes have proven
    assert result.null_space.shape == (2500, 0)


# -- the result ---------------------------------------------------------------------------------

FIELDS = {
    "x", "feature_names", "fun", "jac", "nit", "nfev", "success", "status", "message", "method", "start",
    "passes", "pass_counts", "fit", "optimality", "identified_rank", "null_space", "starts", "notes",
    "history",
}  # fmt: skip


def assert_finite(value, where="result"):
    """No nan or inf anywhere in a result; None stands for what was not computed."""
    if isinstance(value, dict):
        for key, part in value.items():
            assert_finite(part, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            assert_finite(part, f"{where}[{i}]")
    elif isinstance(value, np.ndarray | float | int | np.number):
        assert np.isfinite(value).all(), where
    else:
        assert value is None or isinstance(value, str), where


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", [{}, {"maxiter": 0}, {"maxiter": 2}, {"n_starts": 3}])
def test_result_has_all_fields_and_they_are_finite(rng, method, options):
    A = rng.standard_normal((80, 4))
    b = rng.dirichlet(np.ones(80))
    problem = fs.SoftResProblem(A, b)
    result = fs.solve(problem, method=method, **options)
    assert set(result) == FIELDS
    assert_finite(result)
    assert set(result.optimality) == {"gradient", "plateau", "decrement", "curvature"}
    assert result.x.shape == result.jac.shape == (4,)
    assert result.x.dtype == result.jac.dtype == np.float64
    assert isinstance(result.fun, float)
    assert isinstance(result.success, bool)
    assert [type(result[name]) for name in ("nit", "nfev", "status", "passes")] == [int] * 4
    assert result.success == (result.status == 0)
    plain = Plain.of(problem)
    values = plain.at(result.x)
    assert result.fun == pytest.approx(values.value, rel=1e-12)
    np.testing.assert_allclose(result.jac, values.grad, atol=1e-12 * values.terms.max())
    assert result.optimality.gradient == pytest.approx(plain.relative_gradient(result.x), abs=1e-13, rel=1e-4)
    assert result.fit.relative == pytest.approx(np.linalg.norm(values.f - b) / np.linalg.norm(b), rel=1e-10)
    assert result.fit.largest == pytest.approx(np.abs(values.f - b).max(), rel=1e-10)


def test_result_belongs_to_the_caller(rng):
    """Its arrays can be written to, and nothing of the problem or a later call sees it."""
    A = rng.standard_normal((50, 3))
    x0 = np.zeros(3)
    problem = fs.SoftResProblem(A, rng.dirichlet(np.ones(50)))
    result = fs.solve(problem, x0)
    again = fs.solve(problem, x0)
    expected = result.x.copy()
    for array in (result.x, result.jac, result.null_space):
        assert array.flags.writeable
        assert array.base is None or array.base.flags.writeable
        array[...] = np.nan
    result.history.clear()
    np.testing.assert_array_equal(again.x, expected)
    np.testing.assert_array_equal(fs.solve(problem, x0).x, expected)
    np.testing.assert_array_equal(x0, 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_the_callers_is_modified(rng, method):
    A = rng.standard_normal((60, 3))
    b = rng.dirichlet(np.ones(60))
    w = rng.exponential(size=60) * 1e-3
    x0 = rng.standard_normal(3)
    before = [a.copy() for a in (A, b, w, x0)]
    for array in (A, b, w, x0):
        array.flags.writeable = False
    problem = fs.SoftResProblem(A, b, row_ridge=w, ridge=1e-4)
    fs.solve(problem, x0, method=method)
    fs.solve(problem, method=method, n_starts=3)
    for array, copy in zip((A, b, w, x0), before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert problem.ridge == 1e-4
    np.testing.assert_array_equal(problem.row_ridge, w)
