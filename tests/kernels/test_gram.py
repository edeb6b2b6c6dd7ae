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


ONE = np.ones(1)


def run_rows(
    A, ptr, D, products=np.float64, *, base=0, kept=None, means=None, va=None, how=gram.PLAIN, h=None,
    kappa=None, scale=ONE, centre=ONE,
):  # fmt: skip
    """H (d, d) and k (d,) by the kernel; what is not given is not read."""
    d = A.shape[1]
    left, right, H, k = work_space(d, products)
    kept = np.full(ptr.size - 1, -1) if kept is None else kept
    means = np.full((max(kept.max() + 1, 0), d), np.nan) if means is None else means
    va, h, kappa = (np.empty(0) if a is None else a for a in (va, h, kappa))
    gram.gram_rows(A, ptr, base, kept, means, va, scale, centre, D, h, kappa, how, left, right, H, k)
    assert (k[d:] == 0).all()
    return upper(H, d), k[:d]


def run_slice(A, mu, scale, centre, D, h, products, cut=False):
    """C' diag(D) C (d, d) and C' h (d,) of rows of one group with a known mean; ``cut``: amid others."""
    n = A.shape[0]
    ptr, base = (np.array([5, n + 20]), 13) if cut else (np.array([0, n]), 0)
    how = gram.PLAIN if h is None else gram.MOMENT
    return run_rows(
        A, ptr, D, products, base=base, kept=np.array([0]), means=mu[None, :] * 1.0, how=how, h=h,
        scale=scale, centre=centre,
    )  # fmt: skip


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
        for one, other in zip(run_slice(A, mu, scale, centre, D, h, products, cut=True), (H, k), strict=True):
            np.testing.assert_array_equal(one, other)
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


@pytest.mark.parametrize("kept", [-1, 0])
def test_results_are_added(kept, rng):
    A, D = rng.integers(-3, 4, (50, 6)) * 1.0, rng.integers(-3, 4, 50) * 1.0
    left, right, H, k = work_space(6, np.float64)
    for _ in range(3):
        gram.gram_rows(
            A, np.array([0, 50]), 0, np.array([kept]), np.zeros((1, 6)), np.zeros(50), ONE, ONE, D, D,
            np.zeros(1), gram.MOMENT, left, right, H, k,
        )  # fmt: skip
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
    ptr, ones = np.array([0, 30, 40, 70]), np.ones(70)
    for H, _ in [
        run_slice(A, np.zeros(20), ONE, ONE, ones, None, np.float64),
        run_rows(A, ptr, ones, va=ones / 30),
        run_rows(A, ptr, ones, va=ones / 30, how=gram.MOMENT, h=ones),
    ]:
        bad = np.isnan(H)
        assert bad[4].all()
        assert bad[:, 4].all()
        assert bad.sum() == 39
    H, _ = run_rows(A, ptr, ones, va=ones / 30, how=gram.HESSIAN, h=ones, kappa=np.ones(3))
    assert np.isnan(H[4]).all()


@given(st.integers(1, 5000), st.sampled_from(DTYPES))
def test_panels(d, dtype):
    """Padded to whole tiles; the packed rows in half a second-level cache unless d is very large."""
    size, capacity = gram.padded(d, dtype), gram.packed_rows(d, dtype)
    assert 0 <= size - d < simd.gram_columns(dtype)
    assert size % simd.gram_columns(dtype) == 0
    assert size % simd.GRAM_MR == 0
    assert capacity % 2 == 1
    assert 63 <= capacity <= 127
    assert 2 * capacity * size * np.dtype(dtype).itemsize <= 512 << 10 or capacity == 63


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
@pytest.mark.parametrize(("last", "rounding"), [([200, 254], 1e-15), ([300, 1, 1000, 2, 3], 2e-15)])
def test_groups(last, rounding, d, skip, dtype, products, rng):
    """Short groups whose means the kernel forms, and long ones that are given theirs."""
    ptr = np.concatenate([[0], np.cumsum([*rng.integers(1, 11, 150), *last])])
    A = rng.standard_normal((ptr[-1], d)).astype(dtype)
    z, b = rng.standard_normal(ptr[-1]), rng.uniform(0, 1, ptr[-1])
    z = np.maximum(z, -0.3)  # keeps alpha of small groups away from zero
    with_h = skip > 0
    w = rng.exponential(size=z.size) if with_h else np.zeros(z.size)
    A64 = A.astype(np.float64)
    D, h, va, kappa, wanted, size = group_hessian(A64, z, b, w, skip, ptr)
    kept = reference.kept(ptr, 256)
    means = np.array([va[i:j] @ A64[i:j] for i, j, k in zip(ptr[:-1], ptr[1:], kept, strict=True) if k >= 0])
    means = means.reshape(-1, d)
    how = gram.HESSIAN if with_h else gram.PLAIN
    H, k = run_rows(A, ptr, D, products, kept=kept, means=means, va=va, how=how, h=h, kappa=kappa)
    exact = dtype == products == np.float64
    assert np.linalg.norm(H - wanted) <= (rounding if exact else 1e-6) * size
    np.testing.assert_array_equal(k, 0)


@pytest.mark.parametrize("cuts", [[500], [100, 700, 720, 1350], [299, 300, 301, 302, 1301]])
def test_chunks_add_to_the_whole(cuts, rng):
    """Groups cut by chunks: each part is about the group's mean, kappa counts once."""
    ptr = np.concatenate([[0], np.cumsum([300, 1, 1000, 2, 3, 50])])
    n, d = ptr[-1], 6
    A, z, b, w = rng.standard_normal((n, d)), rng.standard_normal(n), rng.uniform(0, 1, n), np.full(n, 0.1)
    D, h, va, kappa, wanted, size = group_hessian(A, z, b, w, 1.0, ptr)
    kept = reference.kept(ptr, 256, cuts)
    means = np.array([va[i:j] @ A[i:j] for i, j, k in zip(ptr[:-1], ptr[1:], kept, strict=True) if k >= 0])
    total = np.zeros((d, d))
    for start, stop in itertools.pairwise([0, *cuts, n]):
        first, last = np.searchsorted(ptr, start, side="right") - 1, np.searchsorted(ptr, stop)
        rows = slice(start, stop)
        total += run_rows(
            A[rows], ptr[first : last + 1], D[rows], base=start, kept=kept[first:last], means=means,
            va=va[rows], how=gram.HESSIAN, h=h[rows], kappa=kappa[first:last],
        )[0]  # fmt: skip
    assert np.linalg.norm(total - wanted) <= 1e-15 * size


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [1, 9, 40])
def test_moments_of_groups_are_exact(d, dtype, rng):
    """C' h summed over groups: integers, about means that are integers."""
    ptr = np.concatenate([[0], np.cumsum([1, 2, 4, 300, 2, 8, 16, 1, 700, 4])])
    A = rng.integers(-4, 5, (ptr[-1], d)) * 1.0
    va, means = np.zeros(ptr[-1]), []
    for i, j in itertools.pairwise(ptr):  # the mean is the group's second row, or its only one
        va[min(i + 1, j - 1)] = 1.0
        means.append(A[min(i + 1, j - 1)])
    D, h = rng.integers(-3, 4, (2, ptr[-1])) * 1.0
    kept = reference.kept(ptr, 256)
    C = A - np.repeat(means, np.diff(ptr), axis=0)
    given = np.array(means)[kept >= 0]
    H, k = run_rows(A.astype(dtype), ptr, D, kept=kept, means=given, va=va, how=gram.MOMENT, h=h)
    np.testing.assert_array_equal(k, C.T @ h)
    np.testing.assert_array_equal(H, C.T @ (D[:, None] * C))


def test_groups_of_softmax_need_no_rank_one_terms(rng):
    """skip = 0 and no penalty: h = kappa = 0, the Gram of the centred rows is the Hessian."""
    ptr = np.arange(0, 301, 3)
    A, z, b = rng.standard_normal((300, 4)), rng.standard_normal(300), rng.uniform(0, 1, 300)
    D, h, va, kappa, wanted, _ = group_hessian(A, z, b, np.zeros(300), 0.0, ptr)
    assert (h == 0).all()
    assert (abs(kappa) < 1e-14).all()
    np.testing.assert_allclose(run_rows(A, ptr, D, va=va)[0], wanted, atol=1e-12)


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
    H, _ = run_rows(A, ptr, np.ones(n), va=va, scale=va, centre=f)
    np.testing.assert_allclose(H, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("how", [gram.PLAIN, gram.HESSIAN, gram.MOMENT])
def test_where_the_arrays_lie_changes_no_bit(how, rng):
    """Loops that write beside what they read come in two versions; sums must be the same in both."""
    d, ptr = 5, np.array([0, 3, 4, 13, 33, 35])
    n, g = ptr[-1], ptr.size - 1
    kept = np.array([-1, -1, -1, 0, -1])
    A, vectors = rng.standard_normal((n, d)), rng.standard_normal((3, n))
    size, capacity = gram.padded(d, np.float64), gram.packed_rows(d, np.float64)
    panel = np.zeros(size * capacity)
    sums = [np.zeros((size, size)), np.zeros(size)]
    seen = set()
    for arrays in reference.placements(
        rng, [A, *vectors, rng.standard_normal((1, d)), rng.standard_normal(g), panel, panel, *sums]
    ):
        A, D, h, va, means, kappa, left, right, H, k = arrays
        gram.gram_rows(A, ptr, 0, kept, means, va, ONE, ONE, D, h, kappa, how, left, right, H, k)
        seen.add(H.tobytes() + k.tobytes())
    assert len(seen) == 1
