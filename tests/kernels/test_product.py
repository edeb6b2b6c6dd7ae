"""kernels/product.py against NumPy: products with A exactly, in integers; the Hessian's against H_z of
MATH 3 formed as an n x n matrix by its definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from fastsoftres.kernels import product, rowstate

SKIPS = [0.0, 1.0, 0.3]
DTYPES = [np.float64, np.float32]
SHAPES = [(1, 1), (1, 5), (7, 1), (300, 3), (1100, 17), (40, 130), (30, 2100)]
COLUMNS = [1, 4, 8, 12]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("shape", SHAPES)
def test_times(shape, k, dtype, rng):
    A = rng.integers(-8, 9, shape).astype(dtype)
    T = rng.integers(-8, 9, (k, shape[1])) * 1.0
    Y = np.full((k, shape[0]), np.nan)
    product.times(A, T, Y)
    np.testing.assert_array_equal(Y, T @ A.T)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", COLUMNS)
@pytest.mark.parametrize("shape", SHAPES)
def test_transposed_times(shape, k, dtype, rng):
    A = rng.integers(-8, 9, shape).astype(dtype)
    W = rng.integers(-8, 9, (k, shape[0])) * 1.0
    G = np.full((k, shape[1]), np.nan)
    product.transposed_times(A, W, G)
    np.testing.assert_array_equal(G, W @ A)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nonfinite_rows_are_not_hidden(bad, rng):
    A = rng.standard_normal((300, 9))
    A[255, 8] = bad
    Y, G = np.empty((1, 300)), np.empty((1, 9))
    product.times(A, np.ones((1, 9)), Y)
    product.transposed_times(A, np.ones((1, 300)), G)
    assert (~np.isfinite(Y[0])).nonzero()[0].tolist() == [255]
    assert (~np.isfinite(G[0])).nonzero()[0].tolist() == [8]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", COLUMNS)
@pytest.mark.parametrize("shape", SHAPES)
def test_hessp_slice_sums(shape, k, dtype, rng):
    """omega = D(y - beta) + beta h, its sum, <h, y - beta> and A' omega: all exact in integers."""
    n, d = shape
    A = rng.integers(-2, 3, shape).astype(dtype)
    T = np.zeros((k, d))
    T[:, : min(d, 20)] = rng.integers(-2, 3, (k, min(d, 20)))
    beta, D, h = (rng.integers(-2, 3, size) * 1.0 for size in (k, n, n))
    sums, out = np.full((k, 2), np.nan), np.full((k, d), np.nan)
    product.hessp_slice(A, T, beta, D, h, sums, out)
    y = (A @ T.T).astype(np.float64) - beta
    omega = D[:, None] * y + beta * h[:, None]
    np.testing.assert_array_equal(sums, np.stack([omega.sum(0), h @ y], axis=1))
    np.testing.assert_array_equal(out, omega.T @ A)


def row_vectors(z, b, w, skip, ptr):
    """D, h, v/alpha, kappa by the package's own ``curvature`` (tested in test_rowstate.py)."""
    g = ptr.size - 1
    groups = [reference.group(z[i:j], b[i:j], skip) for i, j in itertools.pairwise(ptr)]
    alpha, s = np.array([one.alpha for one in groups]), np.array([one.s for one in groups])
    D, h, va, kappa = np.empty(z.size), np.empty(z.size), np.empty(z.size), np.empty(g)
    rowstate.curvature(z, b, w, True, skip, ptr, alpha, np.zeros(g), s, D, h, va, kappa)
    return groups, D, h, va, kappa


def dense_row_hessian(groups, w, ptr):
    """H_z = diag(D) - p v' - v p', a block a group."""
    H = np.diag(w)
    for one, i, j in zip(groups, ptr[:-1], ptr[1:], strict=True):
        H[i:j, i:j] += np.diag(one.D) - np.outer(one.p, one.v) - np.outer(one.v, one.p)
    return H


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 4, 8])
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("d", [1, 6, 300])
def test_hessp_groups(d, skip, k, dtype, rng):
    ptr = np.concatenate([[0], np.cumsum([*rng.integers(1, 11, 60), 100, 256])])
    n = ptr[-1]
    A = rng.standard_normal((n, d)).astype(dtype)
    z, b, w = rng.standard_normal(n), rng.uniform(0, 1, n), rng.exponential(size=n)
    groups, D, h, va, kappa = row_vectors(z, b, w, skip, ptr)
    T = rng.standard_normal((k, d))
    out = np.full((k, d), np.nan)
    product.hessp_groups(A, T, ptr, D, h, va, kappa, out)
    H = dense_row_hessian(groups, w, ptr)
    A = A.astype(np.float64)
    wanted = T @ A.T @ H @ A
    scale = np.linalg.norm(abs(T) @ abs(A).T @ abs(H) @ abs(A), axis=1)
    error = np.linalg.norm(out - wanted, axis=1)
    assert (error <= (1e-14 if dtype == np.float64 else 1e-6) * scale).all()


@pytest.mark.parametrize("skip", SKIPS)
def test_one_group_is_the_slice(skip, rng):
    """MATH 3: A' omega - mu sum(omega) + mu(r + kappa beta) of the slice is the group's finished product."""
    n, d = 250, 7
    A, T = rng.standard_normal((n, d)), rng.standard_normal((4, d))
    z, b, w = rng.standard_normal(n), reference.target(rng, n), rng.exponential(size=n) / n
    ptr = np.array([0, n])
    _, D, h, va, kappa = row_vectors(z, b, w, skip, ptr)
    mu = va @ A
    beta = T @ mu
    sums, out, whole = np.empty((4, 2)), np.empty((4, d)), np.empty((4, d))
    product.hessp_slice(A, T, beta, D, h, sums, out)
    product.hessp_groups(A, T, ptr, D, h, va, kappa, whole)
    inner = sums[:, 1] + kappa[0] * beta - sums[:, 0]
    np.testing.assert_allclose(out + inner[:, None] * mu, whole, rtol=1e-10, atol=1e-13)


@given(
    st.lists(st.integers(1, 250), min_size=1, max_size=12),
    st.integers(1, 40),
    st.sampled_from([1, 4, 8]),
    st.integers(0, 2**32 - 1),
)
def test_columns_are_independent(lengths, d, k, seed):
    """Products of many vectors at once are those of each alone, slices and groups."""
    rng = np.random.default_rng(seed)
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    n = ptr[-1]
    A, T = rng.standard_normal((n, d)), rng.standard_normal((k, d))
    D, h, va = rng.standard_normal((3, n))
    kappa, beta = rng.standard_normal(len(lengths)), rng.standard_normal(k)
    sums, out, groups = np.empty((k, 2)), np.empty((k, d)), np.empty((k, d))
    product.hessp_slice(A, T, beta, D, h, sums, out)
    product.hessp_groups(A, T, ptr, D, h, va, kappa, groups)
    for i in range(k):
        one_sums, one, group = np.empty((1, 2)), np.empty((1, d)), np.empty((1, d))
        product.hessp_slice(A, T[i : i + 1].copy(), beta[i : i + 1], D, h, one_sums, one)
        product.hessp_groups(A, T[i : i + 1].copy(), ptr, D, h, va, kappa, group)
        scale = math.sqrt(d) * n
        np.testing.assert_allclose(out[i], one[0], rtol=1e-11, atol=1e-13 * scale)
        np.testing.assert_allclose(sums[i], one_sums[0], rtol=1e-11, atol=1e-13 * scale)
        np.testing.assert_allclose(groups[i], group[0], rtol=1e-9, atol=1e-11 * scale * np.abs(va).max())


@pytest.mark.parametrize("rows", [5, 12, 100])
def test_where_the_arrays_lie_changes_no_bit(rows, rng):
    """Loops that write beside what they read come in two versions; sums must be the same in both."""
    vectors = [rng.standard_normal(rows) for _ in range(5)]
    seen = set()
    for arrays in reference.placements(rng, [*vectors, np.zeros(rows), np.zeros(rows), np.zeros(2)]):
        y, yb, D, h, va, W, groups, sums = arrays
        product._group_product(y, 0, rows, D, h, va, 0.5, groups)
        product._slice_weights(yb, 0.3, D, h, rows, W, 0, sums)
        seen.add(b"".join(a.tobytes() for a in arrays))
    assert len(seen) == 1
