"""kernels/gram.py against NumPy: weighted Gram matrices exactly, in small integers; groups against the
Hessian by its definition (MATH 3)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from fastsoftres.kernels import gram, simd

DTYPES = [np.float64, np.float32]
SKIPS = [0.0, 1.0, 0.3]


def upper(H, d):
    """The (d, d) symmetric matrix of an upper triangle."""
    return np.triu(H[:d, :d]) + np.triu(H[:d, :d], 1).T


def work_space(d, dtype):
    """left, right, H, k as the kernels want them."""
    size, capacity = gram.padded(d, dtype), gram.packed_rows(d, dtype)
    left = np.zeros(size * capacity, dtype)
    return left, np.zeros_like(left), np.zeros((size, size)), np.zeros(size)


def run_slice(A, mu, scale, centre, D, h, dtype):
    """C' diag(D) C (d, d) and C' h (d,) by the kernel."""
    d = A.shape[1]
    left, right, H, k = work_space(d, dtype)
    padded = np.zeros(k.size, A.dtype)
    padded[:d] = mu
    gram.gram_slice(A, padded, scale, centre, D, D if h is None else h, h is not None, left, right, H, k)
    assert (k[d:] == 0).all()
    return upper(H, d), k[:d]


@pytest.mark.parametrize("products", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 100])
def test_slice(d, dtype, products, rng):
    """More rows than are packed at a time; one scale and centre for all rows, or each its own."""
    n = 2 * gram.packed_rows(d, products) + 13
    A, mu = rng.integers(-3, 4, (n, d)).astype(dtype), rng.integers(-3, 4, d)
    D, h = rng.integers(-3, 4, n) * 1.0, rng.integers(-3, 4, n) * 1.0
    one, each = np.ones(1), rng.integers(-2, 3, n) * 1.0
    for scale, centre in [(one, one), (each, one), (one, each), (each, each[::-1].copy())]:
        H, k = run_slice(A, mu, scale, centre, D, h, products)
        C = scale[:, None] * A.astype(np.float64) - np.multiply.outer(centre, mu)
        np.testing.assert_array_equal(H, C.T @ (D[:, None] * C))
        np.testing.assert_array_equal(k, C.T @ h)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 255, 256, 257])
def test_any_number_of_rows(n, rng):
    A, mu = rng.integers(-3, 4, (n, 5)) * 1.0, rng.integers(-3, 4, 5)
    D = rng.integers(-3, 4, n) * 1.0
    H, k = run_slice(A, mu, np.ones(1), np.ones(1), D, None, np.float64)
    np.testing.assert_array_equal(H, (A - mu).T @ (D[:, None] * (A - mu)))
    np.testing.assert_array_equal(k, 0)


def test_results_are_added(rng):
    A, D = rng.integers(-3, 4, (50, 6)) * 1.0, rng.integers(-3, 4, 50) * 1.0
    left, right, H, k = work_space(6, np.float64)
    mu = np.zeros(k.size)
    for _ in range(3):
        gram.gram_slice(A, mu, np.ones(1), np.ones(1), D, D, True, left, right, H, k)
    np.testing.assert_array_equal(upper(H, 6), 3 * A.T @ (D[:, None] * A))
    np.testing.assert_array_equal(k[:6], 3 * A.T @ D)


def test_rounding_of_float32_products(rng):
    """Products within a block in float32, sums across blocks in float64."""
    n, d = 40_000, 9
    A, D = rng.standard_normal((n, d)), rng.standard_normal(n)
    H, _ = run_slice(A, np.zeros(d), np.ones(1), np.ones(1), D, None, np.float32)
    size = abs(A).T @ (abs(D)[:, None] * abs(A))
    error = abs(H - A.T @ (D[:, None] * A)) / size
    assert 1e-10 < error.max() < 1e-6


def test_nan_stays_in_its_column(rng):
    A = rng.standard_normal((70, 20))
    A[33, 4] = np.nan
    H, _ = run_slice(A, np.zeros(20), np.ones(1), np.ones(1), np.ones(70), None, np.float64)
    bad = np.isnan(H)
    assert bad[4].all()
    assert bad[:, 4].all()
    assert bad.sum() == 39


@given(st.integers(1, 5000), st.sampled_from(DTYPES))
def test_panels(d, dtype):
    """Padded to whole tiles; the packed rows in half a second-level cache unless d is very large."""
    size, capacity = gram.padded(d, dtype), gram.packed_rows(d, dtype)
    assert 0 <= size - d < simd.gram_columns(dtype)
    assert size % simd.gram_columns(dtype) == 0
    assert size % simd.GRAM_MR == 0
    assert capacity % 8 == 0
    assert 64 <= capacity <= 256
    assert 2 * capacity * size * np.dtype(dtype).itemsize <= 512 << 10 or capacity == 64


def group_hessian(A, z, b, w, skip, ptr):
    """Row vectors of MATH 3 in float64, the Hessian by definition and the size of its terms."""
    n, g = z.size, ptr.size - 1
    D, h, va, kappa = w.copy(), w.copy(), np.empty(n), np.empty(g)
    H = A.T @ (w[:, None] * A)
    size = abs(A).T @ (w[:, None] * abs(A))
    for k, (first, last) in enumerate(itertools.pairwise(ptr)):
        rows = slice(first, last)
        one = reference.group(z[rows], b[rows], skip)
        q = one.f - b[rows] - one.s
        D[rows] += one.D
        h[rows] += skip * (one.v * (1 - z[rows]) / one.alpha**2 - q / one.alpha)
        va[rows] = one.v / one.alpha
        l1 = skip / one.alpha
        kappa[k] = ((l1 * (1 - z[rows])) ** 2 - one.e * q / one.alpha - 2 * l1 * q + w[rows]).sum()
        P, V = A[rows].T @ one.p, A[rows].T @ one.v
        H += A[rows].T @ (one.D[:, None] * A[rows]) - np.outer(P, V) - np.outer(V, P)
        size += abs(A[rows]).T @ (abs(one.D)[:, None] * abs(A[rows])) + 2 * np.outer(abs(P), abs(V))
    return D, h, va, kappa, H, np.linalg.norm(size)


@pytest.mark.parametrize("products", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("d", [1, 7, 40])
def test_groups(d, skip, dtype, products, rng):
    ptr = np.concatenate([[0], np.cumsum([*rng.integers(1, 11, 150), 200, 254])])  # the last fills a block
    A = rng.standard_normal((ptr[-1], d)).astype(dtype)
    z, b = rng.standard_normal(ptr[-1]), rng.uniform(0, 1, ptr[-1])
    z = np.maximum(z, -0.3)  # keeps alpha of small groups away from zero
    with_h = skip > 0
    w = rng.exponential(size=z.size) if with_h else np.zeros(z.size)
    D, h, va, kappa, wanted, size = group_hessian(A.astype(np.float64), z, b, w, skip, ptr)
    left, right, H, _ = work_space(d, products)
    gram.gram_groups(A, ptr, va, np.ones(1), np.ones(1), D, h, kappa, with_h, left, right, H)
    exact = dtype == products == np.float64
    assert np.linalg.norm(upper(H, d) - wanted) <= (1e-15 if exact else 1e-6) * size


def test_groups_of_softmax_need_no_rank_one_terms(rng):
    """skip = 0 and no penalty: h = kappa = 0, the Gram of the centred rows is the Hessian."""
    ptr = np.arange(0, 301, 3)
    A, z, b = rng.standard_normal((300, 4)), rng.standard_normal(300), rng.uniform(0, 1, 300)
    D, h, va, kappa, wanted, _ = group_hessian(A, z, b, np.zeros(300), 0.0, ptr)
    assert (h == 0).all()
    assert (abs(kappa) < 1e-14).all()
    left, right, H, _ = work_space(4, np.float64)
    gram.gram_groups(A, ptr, va, np.ones(1), np.ones(1), D, h, kappa, False, left, right, H)
    np.testing.assert_allclose(upper(H, 4), wanted, atol=1e-12)


def test_groups_with_row_weights_of_the_gauss_newton_matrix(rng):
    """scale = v/alpha, centre = f, D = 1: J'J, a group at a time."""
    ptr = np.concatenate([[0], np.cumsum(rng.integers(1, 8, 60))])
    n = ptr[-1]
    A, z, b = rng.standard_normal((n, 5)), abs(rng.standard_normal(n)), rng.uniform(0, 1, n)
    va = group_hessian(A, z, b, np.zeros(n), 1.0, ptr)[2]
    f, wanted = np.empty(n), np.zeros((5, 5))
    for i, j in itertools.pairwise(ptr):
        one = reference.group(z[i:j], b[i:j], 1.0)
        f[i:j] = one.f
        J = np.diag(one.v / one.alpha) - np.outer(one.f, one.v / one.alpha)
        wanted += A[i:j].T @ J.T @ J @ A[i:j]
    left, right, H, _ = work_space(5, np.float64)
    gram.gram_groups(A, ptr, va, va, f, np.ones(n), va, np.zeros(1), False, left, right, H)
    np.testing.assert_allclose(upper(H, 5), wanted, rtol=1e-11, atol=1e-12)
