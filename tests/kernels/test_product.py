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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [2, 4, 6])
@pytest.mark.parametrize("shape", SHAPES)
def test_times_and_sum(shape, k, dtype, rng):
    A = rng.integers(-8, 9, shape).astype(dtype)
    T, w = rng.integers(-8, 9, (k, shape[1])) * 1.0, rng.integers(-8, 9, shape[0]) * 1.0
    Y, g = np.full((k, shape[0]), np.nan), np.full((1, shape[1]), np.nan)
    product.times_and_sum(A, T, w, Y, g)
    np.testing.assert_array_equal(Y, T @ A.T)
    np.testing.assert_array_equal(g[0], w @ A)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nonfinite_rows_are_not_hidden(bad, rng):
    A = rng.standard_normal((300, 9))
    A[255, 8] = bad
    Y, G = np.empty((1, 300)), np.empty((1, 9))
    product.times(A, np.ones((1, 9)), Y)
    product.transposed_times(A, np.ones((1, 300)), G)
    assert (~np.isfinite(Y[0])).nonzero()[0].tolist() == [255]
    assert (~np.isfinite(G[0])).nonzero()[0].tolist() == [8]


def run_rows(A, T, ptr, D, h, va, kappa, *, base=0, kept=None, means=None):
    """``hessp_rows`` into an array of nans."""
    kept = np.full(ptr.size - 1, -1) if kept is None else kept
    means = np.full((0, A.shape[1]), np.nan) if means is None else means
    out = np.full(T.shape, np.nan)
    product.hessp_rows(A, T, ptr, base, kept, means, D, h, va, kappa, out)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", COLUMNS)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_a_group_with_a_known_mean(shape, k, dtype, rng):
    """A'omega + mu(<h, y> + kappa beta - sum(omega)), omega = D y + beta h, y = A t - beta: exact.

    kappa counts where the group begins, and not in a chunk in the middle of it.
    """
    n, d = shape
    A = rng.integers(-2, 3, shape).astype(dtype)
    T, mu = np.zeros((k, d)), np.zeros(d)
    T[:, : min(d, 20)] = rng.integers(-2, 3, (k, min(d, 20)))
    mu[: min(d, 20)] = rng.integers(-1, 2, min(d, 20))
    D, h = rng.integers(-2, 3, (2, n)) * 1.0
    kappa, beta = np.array([3.0]), T @ mu
    y = (A @ T.T).astype(np.float64) - beta
    omega = D[:, None] * y + beta * h[:, None]
    inner = h @ y - omega.sum(0)
    group = {"kept": np.array([0]), "means": mu[None, :], "va": np.full(n, np.nan), "D": D, "h": h}
    begun = run_rows(A, T, np.array([0, n]), kappa=kappa, **group)
    np.testing.assert_array_equal(begun, omega.T @ A + (inner + 3.0 * beta)[:, None] * mu)
    ended = run_rows(A, T, np.array([2, n + 7]), kappa=kappa, base=7, **group)
    np.testing.assert_array_equal(ended, omega.T @ A + inner[:, None] * mu)


def row_vectors(z, b, w, skip, ptr):
    """D, h, v/alpha, kappa by the package's own ``curvature`` (tested in test_rowstate.py)."""
    g = ptr.size - 1
    groups = [reference.group(z[i:j], b[i:j], skip) for i, j in itertools.pairwise(ptr)]
    alpha, s = np.array([one.alpha for one in groups]), np.array([one.s for one in groups])
    D, h, va, kappa = np.empty(z.size), np.empty(z.size), np.empty(z.size), np.empty(g)
    none = np.zeros(0)
    rowstate.curvature(z, b, w, none, ptr, 0, skip, False, alpha, np.zeros(g), s, D, h, va, kappa)
    return groups, D, h, va, kappa


def means_of(A, va, ptr, kept):
    """Means of the kept groups."""
    chosen = [va[i:j] @ A[i:j] for i, j, k in zip(ptr[:-1], ptr[1:], kept, strict=True) if k >= 0]
    return np.array(chosen).reshape(-1, A.shape[1])


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
@pytest.mark.parametrize(("last", "lowest"), [([100, 256], -np.inf), ([257, 1, 700, 2], -0.3)])
def test_hessp_of_groups(last, lowest, d, skip, k, dtype, rng):
    """Short groups about a mean that is never formed, and long ones about a given one."""
    ptr = np.concatenate([[0], np.cumsum([*rng.integers(1, 11, 60), *last])])
    n = ptr[-1]
    A = rng.standard_normal((n, d)).astype(dtype)
    z, b, w = rng.standard_normal(n), rng.uniform(0, 1, n), rng.exponential(size=n)
    z = np.maximum(z, lowest)  # keeps alpha of the group of one row away from zero: all its terms cancel
    groups, D, h, va, kappa = row_vectors(z, b, w, skip, ptr)
    T = rng.standard_normal((k, d))
    kept = reference.kept(ptr, 256)
    single, A = A, A.astype(np.float64)
    out = run_rows(single, T, ptr, D, h, va, kappa, kept=kept, means=means_of(A, va, ptr, kept))
    H = dense_row_hessian(groups, w, ptr)
    wanted = T @ A.T @ H @ A
    scale = np.linalg.norm(abs(T) @ abs(A).T @ abs(H) @ abs(A), axis=1)
    error = np.linalg.norm(out - wanted, axis=1)
    assert (error <= (1e-14 if dtype == np.float64 else 1e-6) * scale).all()


@pytest.mark.parametrize("cuts", [[500], [100, 700, 720, 1350], [299, 300, 301, 302, 1301]])
def test_chunks_add_to_the_whole(cuts, rng):
    ptr = np.concatenate([[0], np.cumsum([300, 1, 1000, 2, 3, 50])])
    n, d = ptr[-1], 6
    A, z, b, w = rng.standard_normal((n, d)), rng.standard_normal(n), rng.uniform(0, 1, n), np.full(n, 0.1)
    groups, D, h, va, kappa = row_vectors(z, b, w, 1.0, ptr)
    kept = reference.kept(ptr, 256, cuts)
    means, T = means_of(A, va, ptr, kept), rng.standard_normal((4, d))
    total = np.zeros((4, d))
    for start, stop in itertools.pairwise([0, *cuts, n]):
        first, last = np.searchsorted(ptr, start, side="right") - 1, np.searchsorted(ptr, stop)
        rows, here = slice(start, stop), slice(first, last)
        total += run_rows(
            A[rows], T, ptr[first : last + 1], D[rows], h[rows], va[rows], kappa[here], base=start,
            kept=kept[here], means=means,
        )  # fmt: skip
    H = dense_row_hessian(groups, w, ptr)
    scale = np.linalg.norm(abs(T) @ abs(A).T @ abs(H) @ abs(A), axis=1)
    assert (np.linalg.norm(total - T @ A.T @ H @ A, axis=1) <= 1e-14 * scale).all()


@pytest.mark.parametrize("skip", SKIPS)
def test_a_known_mean_changes_nothing(skip, rng):
    """The same group about a mean that is given, or that acts through its rows."""
    n, d = 250, 7
    A, T = rng.standard_normal((n, d)), rng.standard_normal((4, d))
    z, b, w = rng.standard_normal(n), reference.target(rng, n), rng.exponential(size=n) / n
    ptr = np.array([0, n])
    _, D, h, va, kappa = row_vectors(z, b, w, skip, ptr)
    whole = run_rows(A, T, ptr, D, h, va, kappa)
    known = run_rows(A, T, ptr, D, h, va, kappa, kept=np.array([0]), means=(va @ A)[None, :])
    np.testing.assert_allclose(known, whole, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("row", [2, 100, 400])
def test_nonfinite_rows_are_not_hidden_in_groups(row, bad, rng):
    A, ptr = rng.standard_normal((410, 4)), np.array([0, 3, 6, 380, 395, 410])
    A[row, 1] = bad
    D, h, va = rng.standard_normal((3, 410))
    kept = np.array([-1, -1, 0, -1, -1])
    out = run_rows(A, np.ones((1, 4)), ptr, D, h, va, np.ones(5), kept=kept, means=np.ones((1, 4)))
    assert not np.isfinite(out).any()


@given(
    st.lists(st.integers(1, 250) | st.integers(257, 400), min_size=1, max_size=12),
    st.integers(1, 40),
    st.sampled_from([1, 4, 8]),
    st.integers(0, 2**32 - 1),
)
def test_columns_are_independent(lengths, d, k, seed):
    """Products of many vectors at once are those of each alone, whatever the groups."""
    rng = np.random.default_rng(seed)
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    n = ptr[-1]
    A, T = rng.standard_normal((n, d)), rng.standard_normal((k, d))
    D, h, va = rng.standard_normal((3, n))
    kappa, kept = rng.standard_normal(len(lengths)), reference.kept(ptr, 256)
    means = rng.standard_normal((max(kept) + 1, d))
    out = run_rows(A, T, ptr, D, h, va, kappa, kept=kept, means=means)
    for i in range(k):
        one = run_rows(A, T[i : i + 1].copy(), ptr, D, h, va, kappa, kept=kept, means=means)
        scale = math.sqrt(d) * n
        np.testing.assert_allclose(out[i], one[0], rtol=1e-9, atol=1e-11 * scale * np.abs(va).max())


@pytest.mark.parametrize("rows", [5, 12, 100])
def test_where_thework_space_lies_changes_no_bit(rows, rng):
    """Loops that write beside what they read come in two versions; sums must be the same in both."""
    vectors = [rng.standard_normal(rows) for _ in range(5)]
    seen = set()
    for arrays in reference.placements(rng, [*vectors, np.zeros(rows), np.zeros(rows), np.zeros(2)]):
        y, yb, D, h, va, W, groups, sums = arrays
        product._group_product(y, 0, rows, D, h, va, 0.5, groups)
        product._slice_weights(yb[None], 0, 0.3, D, h, 0, rows, W, 0, sums[None], 0)
        seen.add(b"".join(a.tobytes() for a in arrays))
    assert len(seen) == 1


@pytest.mark.parametrize("k", [1, 4])
def test_where_the_arrays_lie_changes_no_bit(k, rng):
    ptr, d = np.array([0, 3, 4, 13, 33, 35]), 3
    kept = np.array([-1, -1, -1, 0, -1])
    n, g = ptr[-1], ptr.size - 1
    vectors = [rng.standard_normal(size) for size in ((n, d), (k, d), (1, d), n, n, n, g, (k, d))]
    seen = set()
    for arrays in reference.placements(rng, vectors):
        A, T, means, D, h, va, kappa, out = arrays
        product.hessp_rows(A, T, ptr, 0, kept, means, D, h, va, kappa, out)
        seen.add(out.tobytes())
    assert len(seen) == 1
