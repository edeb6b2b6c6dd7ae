"""fastsoftres/hessian.py against automatic differentiation (jax.hessian, float64), the uncentred formula of
MATH 3 with 50 digits (mpmath), and J'J of jax's Jacobian."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from reference import relative, target
from test_problem import CASES, case

import fastsoftres as fs

SKIPS = [0.0, 1.0, 0.3]
DTYPES = [np.float64, np.float32]
#: Of the matrix's norm.
ACCURACY = {np.float64: 1e-11, np.float32: 2e-5}


def hessian_at(A, x, b, skip, row_ridge=0.0, ridge=0.0):
    return fs.SoftResProblem(A, b, skip=skip, row_ridge=row_ridge, ridge=ridge).hessian(x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("name", CASES)
def test_dense_with_fifty_digits(name, skip, dtype, rng):
    A, x, b, row_ridge, ridge = case(name, rng, dtype)
    true = reference.exact(A, x, b, skip, row_ridge, ridge)
    hessian = hessian_at(A, x, b, skip, row_ridge, ridge)
    dense = hessian.to_dense()
    np.testing.assert_array_equal(dense, dense.T)
    u = np.exp(true.z) + skip * true.z
    condition = abs(u).sum() / abs(u.sum())
    # a single row leaves f = 1 and a Hessian of zeros: what is judged then is the size of its terms
    size = max(np.linalg.norm(true.hess), 0.1 * np.linalg.norm(A) ** 2 if A.shape[0] == 1 else 0.0)
    assert np.linalg.norm(dense - true.hess) <= ACCURACY[dtype] * condition * size
    assert np.linalg.norm(hessian.gauss_newton() - true.gauss_newton) <= ACCURACY[dtype] * condition * max(
        np.linalg.norm(true.gauss_newton), size
    )


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("name", ["flat", "peaked", "penalties", "more columns"])
def test_dense_by_automatic_differentiation(name, skip, rng):
    import jax

    A, x, b, row_ridge, ridge = case(name, rng)
    true = np.asarray(jax.hessian(reference.loss_jax(A, b, skip, row_ridge, ridge))(x))
    # uncentred inside jax, which loses digits where f is peaked (see below)
    accuracy = 1e-11 if name != "peaked" else 1e-8
    assert relative(hessian_at(A, x, b, skip, row_ridge, ridge).to_dense(), true) <= accuracy


@pytest.mark.parametrize("skip", SKIPS)
def test_many_chunks_by_automatic_differentiation(skip, rng):
    """Gram sums of 16 chunks, merged."""
    import jax

    n, d = 40_000, 9
    A, x, b = rng.standard_normal((n, d)), rng.standard_normal(d) / 3, target(rng, n)
    row_ridge = rng.exponential(size=n) / n
    problem = fs.SoftResProblem(A, b, skip=skip, row_ridge=row_ridge, ridge=0.01)
    assert len(problem._source.bounds()) > 5
    loss = reference.loss_jax(A, b, skip, row_ridge, 0.01)
    t = rng.standard_normal(d)
    assert relative(problem.hessian(x).to_dense(), np.asarray(jax.hessian(loss)(x))) <= 1e-11
    product = jax.jvp(jax.grad(loss), (x,), (t,))[1]
    assert relative(problem.hessp(x, t), np.asarray(product)) <= 1e-11


@pytest.mark.parametrize("skip", SKIPS)
class TestPeaked:
    """Entropy of f below 0.1: the three terms of the plain formula cancel (MATH 3)."""

    def data(self, rng, skip, gap=16):
        """One row of u far above the others."""
        A, x = rng.standard_normal((200, 6)), rng.standard_normal(6)
        z = A @ x
        A[0] += (max(z) + gap - z[0]) * x / (x @ x)
        b = target(rng, 200)
        true = reference.exact(A, x, b, skip)
        assert -(abs(true.f) * np.log(abs(true.f))).sum() < 0.1
        return A, x, b, true

    def test_centred_assembly_keeps_the_digits_that_the_plain_formula_loses(self, skip, rng):
        A, x, b, true = self.data(rng, skip)
        assert relative(reference.plain(A, x, b, skip).hess, true.hess) > 1e-10  # 6 of 16 digits
        assert relative(hessian_at(A, x, b, skip).to_dense(), true.hess) <= 1e-13

    @pytest.mark.parametrize("gap", [8, 12, 20])
    def test_products(self, gap, skip, rng):
        A, x, b, true = self.data(rng, skip, gap)
        T = rng.standard_normal((6, 5))
        assert relative(hessian_at(A, x, b, skip).matmat(T), true.hess @ T) <= 1e-13

    def test_gauss_newton(self, skip, rng):
        """Its largest term is a difference of nearly equal rows: only as good as their mean is known."""
        A, x, b, true = self.data(rng, skip, gap=8)
        assert relative(hessian_at(A, x, b, skip).gauss_newton(), true.gauss_newton) <= 1e-11

    def test_float32_assembly(self, skip, rng):
        A, x, b, true = self.data(rng, skip)
        assert relative(hessian_at(A, x, b, skip).to_dense(assembly_dtype=np.float32), true.hess) <= 1e-5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("name", ["flat", "peaked", "penalties", "more columns", "one column"])
def test_products_are_those_of_the_matrix(name, skip, dtype, rng):
    """One vector and any number of columns, also as a LinearOperator."""
    A, x, b, row_ridge, ridge = case(name, rng, dtype)
    hessian = hessian_at(A, x, b, skip, row_ridge, ridge)
    dense, d = hessian.to_dense(), x.size
    for k in (1, 2, 3, 4, 5, 8, 9):
        T = rng.standard_normal((d, k))
        size = np.linalg.norm(dense) * np.linalg.norm(T)
        products = hessian.point.hessp(T)
        assert products.shape == (d, k)
        assert np.linalg.norm(products - dense @ T) <= ACCURACY[dtype] * size
        for j in range(k):
            column = hessian.point.hessp(T[:, j])
            assert column.shape == (d,)
            assert np.linalg.norm(column - products[:, j]) <= ACCURACY[dtype] * size
        np.testing.assert_array_equal(hessian @ T, products)
        np.testing.assert_array_equal(hessian @ T[:, 0], hessian.point.hessp(T[:, 0]))
        np.testing.assert_array_equal(hessian.T @ T, products)
        np.testing.assert_array_equal(hessian.H @ T, products)


def test_operator(rng):
    A, x, b, _, _ = case("flat", rng)
    hessian = hessian_at(A, x, b, 1.0)
    assert hessian.shape == (6, 6)
    assert hessian.dtype == np.float64
    assert isinstance(hessian, fs.SoftResHessian)
    t = rng.standard_normal(6)
    np.testing.assert_allclose((2 * hessian) @ t, 2 * (hessian @ t))
    np.testing.assert_array_equal(hessian.matvec(t[:, None]), (hessian @ t)[:, None])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "make", [lambda T: T[::-1], lambda T: T.astype(np.float32), lambda T: T.astype(">f8")]
)
def test_any_layout_of_the_vectors(make, order, rng):
    A, x, b, _, _ = case("flat", rng)
    point = fs.SoftResProblem(A, b).at(x)
    T = make(np.asarray(rng.integers(-3, 4, (6, 4)) * 1.0, order=order))
    np.testing.assert_array_equal(point.hessp(T), point.hessp(np.ascontiguousarray(T, dtype=np.float64)))


def test_no_columns_and_zero_vectors(rng):
    A, x, b, _, _ = case("flat", rng)
    point = fs.SoftResProblem(A, b).at(x)
    assert point.hessp(np.zeros((6, 0))).shape == (6, 0)
    np.testing.assert_array_equal(point.hessp(np.zeros(6)), np.zeros(6))
    np.testing.assert_array_equal(point.hessp(np.zeros((6, 3))), np.zeros((6, 3)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e300])
def test_products_are_linear_over_the_whole_range(size, dtype, rng):
    A, x, b, _, _ = case("flat", rng, dtype)
    point, t = fs.SoftResProblem(A, b).at(x), rng.standard_normal(6)
    accuracy = 1e-13 if dtype == np.float64 else 1e-5
    assert relative(point.hessp(size * t) / size, point.hessp(t)) <= accuracy


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("ridged", [False, True])
def test_row_space_factors(skip, ridged, rng):
    """H_z = diag(row_diag) + r r' - s s' is the second derivative in z, by jax."""
    import jax

    A, x, b, row_ridge, _ = case("penalties", rng)
    row_ridge = row_ridge if ridged else 0.0
    hessian = hessian_at(A, x, b, skip, row_ridge)
    (plus, r), (minus, s) = hessian.rank_one
    assert (plus, minus) == (1, -1)
    H_z = np.diag(hessian.row_diag) + np.outer(r, r) - np.outer(s, s)
    true = np.asarray(jax.hessian(reference.loss_jax(np.eye(60), b, skip, row_ridge))(A @ x))
    assert relative(H_z, true) <= 1e-12
    assert relative(A.T @ H_z @ A, hessian.to_dense()) <= 1e-12


def test_row_space_factors_are_the_callers_to_change(rng):
    A, x, b, _, _ = case("flat", rng)
    hessian = hessian_at(A, x, b, 1.0)
    before = hessian.to_dense()
    hessian.row_diag[:] = 0
    hessian.rank_one[0][1][:] = 0
    np.testing.assert_array_equal(hessian.to_dense(), before)


class TestGaussNewton:
    @pytest.mark.parametrize("skip", SKIPS)
    @pytest.mark.parametrize("name", ["flat", "peaked", "penalties", "more columns"])
    def test_is_the_square_of_the_jacobian(self, name, skip, rng):
        import jax

        A, x, b, row_ridge, ridge = case(name, rng)

        def residual(x):
            z = A @ x
            u = jax.numpy.exp(z) + skip * z
            return u / u.sum() - b

        J = np.asarray(jax.jacobian(residual)(x))
        wanted = J.T @ J + A.T @ (np.broadcast_to(row_ridge, b.shape)[:, None] * A) + ridge * np.eye(x.size)
        got = hessian_at(A, x, b, skip, row_ridge, ridge).gauss_newton()
        np.testing.assert_array_equal(got, got.T)
        assert relative(got, wanted) <= 1e-9 if name == "peaked" else 1e-11

    @given(st.integers(1, 30), st.integers(1, 12), st.sampled_from(SKIPS), st.floats(0, 20))
    def test_is_positive_semidefinite(self, n, d, skip, scale):
        rng = np.random.default_rng(n * 100 + d)
        A, x = rng.standard_normal((n, d)), scale * rng.standard_normal(d) / math.sqrt(d)
        G = hessian_at(A, x, target(rng, n), skip).gauss_newton()
        eigenvalues = np.linalg.eigvalsh(G)
        assert eigenvalues.min() >= -1e-14 * max(eigenvalues.max(), 1e-300)

    @pytest.mark.parametrize("skip", SKIPS)
    def test_is_the_hessian_where_the_residual_is_zero(self, skip, rng):
        A, x = rng.standard_normal((60, 6)), rng.standard_normal(6) / 2
        b = reference.exact(A, x, np.zeros(60), skip).f
        hessian = hessian_at(A, x, b, skip)
        assert relative(hessian.to_dense(), hessian.gauss_newton()) <= 1e-11


class TestAssemblyType:
    def test_float32_products(self, rng):
        A, x, b, row_ridge, ridge = case("penalties", rng)
        hessian = hessian_at(A, x, b, 1.0, row_ridge, ridge)
        exact = hessian.to_dense()
        for dtype in (np.float32, "float32", np.dtype("f4")):
            assert 1e-12 < relative(hessian.to_dense(assembly_dtype=dtype), exact) < 1e-5
        rounded = hessian.gauss_newton(assembly_dtype=np.float32)
        assert 1e-12 < relative(rounded, hessian.gauss_newton()) < 1e-5

    def test_float32_rows_are_multiplied_in_float32(self, rng):
        A, x, b, _, _ = case("flat", rng, np.float32)
        hessian = hessian_at(A, x, b, 1.0)
        np.testing.assert_array_equal(hessian.to_dense(), hessian.to_dense(assembly_dtype=np.float32))

    def test_range_of_float32_is_no_limit(self, rng):
        """Squares beyond 1e38: assembled in float64 after all."""
        A, x, b, _, _ = case("flat", rng)
        hessian = hessian_at(1e25 * A, x / 1e25, b, 1.0)
        assert relative(hessian.to_dense(assembly_dtype=np.float32), hessian.to_dense()) <= 1e-5

    @pytest.mark.parametrize("bad", [np.float16, np.int64, complex])
    def test_other_types(self, bad, rng):
        A, x, b, _, _ = case("flat", rng)
        hessian = hessian_at(A, x, b, 1.0)
        for method in (hessian.to_dense, hessian.gauss_newton):
            with pytest.raises(ValueError, match=f"assembly_dtype must be .* got {np.dtype(bad)}"):
                method(assembly_dtype=bad)


@pytest.mark.parametrize(
    ("t", "error", "message"),
    [
        (np.ones(5), ValueError, r"t must have shape \(6,\) or \(6, k\), got \(5,\)"),
        (np.ones((5, 6)), ValueError, r"t must have shape \(6,\) or \(6, k\), got \(5, 6\)"),
        (np.ones((6, 2, 2)), ValueError, r"t must have shape .* got \(6, 2, 2\)"),
        (3.0, ValueError, r"t must have shape .* got \(\)"),
        ([0, 0, np.nan, 0, 0, 0], ValueError, r"t must be finite, got nan at \[2\]"),
        (np.full((6, 2), np.inf), ValueError, r"t must be finite, got inf at \[0, 0\]"),
        (np.ones(6) * 1j, TypeError, "t must hold real numbers, got dtype complex128"),
        (["a"] * 6, TypeError, "t must hold real numbers, got dtype <U1"),
    ],
)
def test_bad_vectors(t, error, message, rng):
    A, x, b, _, _ = case("flat", rng)
    with pytest.raises(error, match=message):
        fs.SoftResProblem(A, b).at(x).hessp(t)
