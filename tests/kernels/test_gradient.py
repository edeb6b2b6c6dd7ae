"""kernels/gradient.py against the sums of MATH 4 written out in NumPy, and its groups against the textbook
formulas a group at a time."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numba
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from fastsoftres.kernels import formula, gradient, rowgroups, simd, storage

SKIPS = [0.0, 1.0, 0.3]
DTYPES = [np.float64, np.float32]
SHAPES = [(1, 1), (1, 5), (7, 1), (8, 16), (300, 3), (1500, 17), (40, 130), (30, 2100)]
#: Of the sum of the absolute values of the terms.
TOLERANCE = {np.float64: 1e-13, np.float32: 2e-6}
NONE = np.zeros(0)


def run_rows(A, x, b, w, skip, ptr, *, base=0, kl=False, offset=None, weight=None):
    """All outputs of ``gradient_rows``, filled with nan before it runs."""
    (n, d), g = A.shape, ptr.size - 1
    kept = reference.kept(ptr, formula.BLOCK, (base, base + n))
    z, alpha, shift, s = (np.full(size, np.nan) for size in (n, g, g, g))
    totals, G, means = np.full(2, np.nan), np.full(d, np.nan), np.full((max(kept) + 1, d), np.nan)
    open_sums, open_G = np.full((2, gradient.N_SUMS), np.nan), np.full((2, 4, d), np.nan)
    w, offset, weight = (NONE if a is None else a for a in (w, offset, weight))
    gradient.gradient_rows(
        A, x, b, w, offset, weight, ptr, base, kept, skip, kl,
        z, alpha, shift, s, totals, G, means, open_sums, open_G,
    )  # fmt: skip
    return Rows(z, alpha, shift, s, totals, G, means, open_sums, open_G)


class Rows(NamedTuple):
    """What ``gradient_rows`` writes."""

    z: np.ndarray
    alpha: np.ndarray
    shift: np.ndarray
    s: np.ndarray
    totals: np.ndarray
    G: np.ndarray
    means: np.ndarray
    open_sums: np.ndarray
    open_G: np.ndarray


def run_slice(A, x, b, w, skip, kl=False):
    """z and the open sums of a chunk that lies inside one long group, which has no answers yet."""
    n = A.shape[0]
    rows = run_rows(A, x, b, w, skip, np.array([0, n + 1]), kl=kl)
    assert np.isnan(rows.alpha).all()
    assert np.isnan(rows.open_sums[0]).all()
    np.testing.assert_array_equal(rows.totals, 0)
    np.testing.assert_array_equal(rows.G, 0)
    return rows.z, rows.open_sums[1], rows.open_G[1]


def plain_slice(A, z, b, w, skip, shift, kl=False):
    """The same sums in NumPy, for this shift, and what their errors are measured by."""
    A = A.astype(np.float64)
    e, scale = np.exp(z - shift), math.exp(-shift) if skip else 0.0
    u, v = e + skip * z * scale, e + skip * scale
    w = np.zeros(z.size) if w is None else w
    if kl:
        weights, terms = np.stack([0 * e, b, e, w * z]), np.stack([e, b, b * z, 0 * e, w * z * z])
    else:
        weights = np.stack([v * u, v * b, v, w * z])
        terms = np.stack([u, u * u, u * b, b * b, w * z * z])
    return terms.sum(1), weights @ A, abs(terms).sum(1), abs(weights) @ abs(A)


def check_slice(A, x, b, w, skip, tolerance, shift=0.0, kl=False):
    z, sums, G = run_slice(A, x, b, w, skip, kl)
    A = A.astype(np.float64)
    assert (abs(z - A @ x) <= 1e-14 * (abs(A) @ abs(x))).all()  # also where A is float32
    assert sums[gradient.SHIFT] == shift
    scalars, columns, size_scalars, size_columns = plain_slice(A, z, b, w, skip, shift, kl)
    assert (abs(sums[1:] - scalars) <= tolerance * size_scalars).all()
    assert (abs(G - columns) <= tolerance * size_columns).all()
    return z, sums, G


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_slice_sums(shape, skip, ridged, dtype, rng):
    n, d = shape
    A = rng.standard_normal(shape).astype(dtype)
    x = rng.standard_normal(d) / math.sqrt(d)
    w = rng.exponential(size=n) if ridged else None
    check_slice(A, x, reference.target(rng, n), w, skip, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize("top", [0.0, -1000.0, 1000.0])
def test_slice_sums_of_the_likelihood(top, ridged, dtype, rng):
    """A'b, A'e, sum(b) and sum(b z), only those of e with a shift; here the last column moves z."""
    for n, d in SHAPES:
        A = rng.standard_normal((n, d)).astype(dtype)
        A[:, -1] = top
        x = rng.standard_normal(d) / math.sqrt(d)
        x[-1] = 1.0
        shift = (A.astype(np.float64) @ x).max() if top else 0.0
        w = rng.exponential(size=n) if ridged else None
        b = reference.target(rng, n)
        z, sums, G = run_slice(A, x, b, w, 0.0, kl=True)
        assert sums[gradient.SHIFT] == (z.max() if top else shift)
        wanted = plain_slice(A, z, b, w, 0.0, sums[gradient.SHIFT], kl=True)
        assert (abs(sums[1:] - wanted[0]) <= TOLERANCE[dtype] * wanted[2]).all()
        assert (abs(G - wanted[1]) <= TOLERANCE[dtype] * wanted[3]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize(("low", "high"), [(-1000, 1000), (-1000, -900), (900, 1000), (-300, 80), (-15, 15)])
def test_slice_sums_with_large_z(low, high, skip, dtype, rng):
    """One column, so that z is chosen; the shift is that of the largest term."""
    n = 600
    z = np.sort(rng.integers(low, high, n) * 1.0)  # exact in float32
    A = z[:, None].astype(dtype)
    tolerance = 1e-12 if dtype == np.float64 else TOLERANCE[dtype]
    if low == -1000 and high == -900 and skip > 0:
        shift = 0.0  # u is about -skip * 1000
    elif high == 80 and skip > 0 and dtype == np.float64:
        shift = z[-1] if z[-1] > formula.COMMON_F64 else 0.0
    else:
        shift = z[-1] if abs(z[-1]) > (64 if dtype == np.float64 else 16) else 0.0
    check_slice(A, np.ones(1), reference.target(rng, n), None, skip, tolerance, shift)


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_rows_far_below(dtype):
    """skip = 0 and all z = -1000: 0/0 without a shift."""
    _, sums, G = run_slice(np.full((300, 2), -500, dtype), np.ones(2), np.full(300, 1 / 300), None, 0.0)
    assert sums[gradient.SHIFT] == -1000
    assert sums[gradient.SUM_U] == sums[gradient.SUM_UU] == 300
    np.testing.assert_array_equal(G[2], np.full(2, -500 * 300))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skip", SKIPS)
def test_all_rows_the_same_far_below(skip, dtype):
    """skip > 0 and all z = -1000: u = -1000 skip, no shift can help and none is needed."""
    _, sums, _ = run_slice(np.full((300, 1), -1000, dtype), np.ones(1), np.full(300, 1 / 300), None, skip)
    if skip:
        assert sums[gradient.SHIFT] == 0
        assert sums[gradient.SUM_U] == pytest.approx(-1000 * skip * 300, rel=1e-14, abs=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("where", [0, 137, 599])
@pytest.mark.parametrize("top", [500.0, 1e30, 1e308])
def test_one_row_dominates(top, where, skip, dtype, rng):
    """Whichever block it is in, it is all that remains."""
    n = 600
    A = rng.standard_normal((n, 3)).astype(dtype)
    A[where] = [2, -1, 1]
    x = np.array([0.0, 0.0, 1.0])
    if dtype == np.float32:
        top = min(top, 1e38)
    A[where, 2] = top
    b = reference.target(rng, n)
    _, sums, G = run_slice(A, x, b, None, skip)
    assert sums[gradient.SHIFT] == np.float64(dtype(top))
    np.testing.assert_allclose(sums[1:4], [1, 1, b[where]], rtol=1e-14)
    np.testing.assert_allclose(G[[0, 2]], A[[where, where]].astype(float), rtol=1e-6)


@pytest.mark.parametrize("extreme", [1e308, -1e308])
@pytest.mark.parametrize("skip", SKIPS)
def test_largest_numbers_do_not_overflow(extreme, skip):
    """z = +-1e308 beside z = 0: finite sums, f is one-hot or for large -z the linear term's."""
    A = np.zeros((20, 1))
    A[3] = extreme
    _, sums, _ = run_slice(A, np.ones(1), np.full(20, 0.05), None, skip)
    assert np.isfinite(sums).all()
    if extreme > 0:
        np.testing.assert_allclose(sums[:3], [extreme, 1, 1])
    elif skip == 0:
        np.testing.assert_allclose(sums[:3], [0, 19, 19])
    else:
        np.testing.assert_allclose(sums[1:3], [-1, 1], rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("skip", SKIPS)
def test_nonfinite_z_is_never_hidden(bad, skip, rng):
    A = rng.standard_normal((500, 4))
    A[77, 2] = bad
    _, sums, _ = run_slice(A, np.ones(4), np.full(500, 1 / 500), None, skip)
    assert not np.isfinite(sums[gradient.SUM_U]) or not np.isfinite(sums[gradient.SUM_UU])


@pytest.mark.parametrize("kl", [False, True])
def test_rescale_raises_the_shift(kl, rng):
    A, x, b = rng.standard_normal((50, 3)), rng.standard_normal(3), np.full(50, 0.02)
    skip = 0.0 if kl else 1.0
    z, sums, G = run_slice(A, x, b, np.ones(50), skip, kl)
    moved, columns = sums.copy(), G.copy()
    gradient.rescale(moved, columns, kl, 2.5)
    scalars, wanted, *_ = plain_slice(A, z, b, np.ones(50), skip, 2.5, kl)
    np.testing.assert_allclose(moved, [2.5, *scalars], rtol=1e-12)
    np.testing.assert_allclose(columns, wanted, rtol=1e-12, atol=1e-15)


def test_rescale_of_nothing():
    sums, G = np.array([-np.inf, 0, 0, 0, 0, 0]), np.zeros((4, 2))
    gradient.rescale(sums, G, False, -700.0)
    np.testing.assert_array_equal(sums, [-700, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(G, 0)


@pytest.mark.parametrize(("kl", "skip"), [(False, 0.0), (False, 1.0), (True, 0.0)])
@pytest.mark.parametrize("cut", [1, 100, 256, 599])
@pytest.mark.parametrize("lift", [0.0, 300.0, -300.0])
def test_merged_slices_are_one_pass(lift, cut, kl, skip, rng):
    """Whichever of two slices has the larger shift."""
    A, x = rng.standard_normal((600, 4)), np.array([0.5, -0.3, 0.8, 1.0])
    A[:, 3] = np.where(np.arange(600) < cut, lift, 0.0)
    b, w = reference.target(rng, 600), rng.exponential(size=600)
    z, sums, G = run_slice(A, x, b, w, skip, kl)
    _, merged, H = run_slice(A[:cut], x, b[:cut], w[:cut], skip, kl)
    _, more, K = run_slice(A[cut:], x, b[cut:], w[cut:], skip, kl)
    gradient.merge_sums(merged, H, more, K, kl)
    assert merged[gradient.SHIFT] == sums[gradient.SHIFT]
    _, _, sizes, columns = plain_slice(A, z, b, w, skip, sums[gradient.SHIFT], kl)
    assert (abs(merged - sums)[1:] <= 1e-13 * sizes).all()
    assert (abs(H - G) <= 1e-13 * columns).all()


@numba.njit
def _dots(A, x, start, rows, ahead, zb):
    storage.dots(A, x, start, rows, ahead, zb)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dots(dtype, rng):
    A = rng.integers(-8, 9, (29, 19)).astype(dtype)
    x = rng.integers(-8, 9, 19) * 1.0
    out = np.full(12 + simd.ROWS, np.nan)
    _dots(A, x, 17, 12, 0, out)
    np.testing.assert_array_equal(out[:12], A[17:] @ x)


# ----------------------------------------------------------------------------------------------
# groups


def check_groups(A, x, b, w, skip, ptr, tolerance, kl=False, offset=None, weight=None):
    got = run_rows(A, x, b, w, skip, ptr, kl=kl, offset=offset, weight=weight)
    z = got.z
    A = A.astype(np.float64)
    add = np.zeros(z.size) if offset is None else offset
    assert (abs(z - (A @ x + add)) <= 1e-14 * (abs(A) @ abs(x) + abs(add))).all()
    weight = np.ones(ptr.size - 1) if weight is None else weight
    w = np.zeros(z.size) if w is None else w
    loss, weights, sizes, ridge = 0.0, w * z, abs(w * z), w * z * z / 2
    kept = reference.kept(ptr, formula.BLOCK)
    for g in range(ptr.size - 1):
        rows = slice(ptr[g], ptr[g + 1])
        plain = reference.group(z[rows], b[rows], skip, got.shift[g], kl)
        assert abs(got.alpha[g] - plain.alpha) <= tolerance * abs(plain.u).sum()
        # alpha may cancel (skip > 0): what follows from it inherits that
        worse = tolerance * abs(plain.u).sum() / abs(plain.alpha)
        assert got.s[g] == pytest.approx(plain.s, abs=worse * (1 + abs(plain.f).sum()) ** 2)
        loss += weight[g] * plain.loss
        ridge[rows] *= weight[g]
        weights[rows] = weight[g] * (weights[rows] + plain.grad_z)
        more = plain.size_z * (1 + abs(plain.u).sum() / abs(plain.alpha))
        sizes[rows] = weight[g] * (sizes[rows] + more)
        if kept[g] >= 0:
            mean, size = plain.v / plain.alpha @ A[rows], abs(plain.v / plain.alpha) @ abs(A[rows])
            assert (abs(got.means[kept[g]] - mean) <= tolerance * size).all()
    assert got.totals[0] == pytest.approx(loss, rel=1e4 * tolerance, abs=0)
    assert got.totals[1] == pytest.approx(float(ridge.sum()), rel=tolerance, abs=0)
    assert (abs(got.G - weights @ A) <= tolerance * (sizes @ abs(A))).all()
    assert np.isnan(got.open_sums).all()  # nothing is open


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("d", [1, 6, 33, 700])
def test_groups(d, skip, ridged, dtype, rng):
    ptr = reference.ragged(rng, 120)
    n = ptr[-1]
    A = (rng.standard_normal((n, d)) / math.sqrt(d)).astype(dtype)
    x = rng.standard_normal(d)
    w = rng.exponential(size=n) if ridged else None
    b = rng.dirichlet(np.ones(n)) * (ptr.size - 1)
    check_groups(A, x, b, w, skip, ptr, 4 * TOLERANCE[dtype])
    offset, weight = rng.standard_normal(n), rng.exponential(size=ptr.size - 1)
    check_groups(A, x, b, w, skip, ptr, 4 * TOLERANCE[dtype], offset=offset, weight=weight)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize("d", [1, 33])
def test_groups_of_the_likelihood(d, ridged, dtype, rng):
    """Short groups, one of exactly a block, longer ones; shares that are zero."""
    lengths = [*rng.integers(1, 11, 50), 256, 257, 1, 900, 3]
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    n = ptr[-1]
    A = (rng.standard_normal((n, d)) / math.sqrt(d)).astype(dtype)
    x, offset = rng.standard_normal(d), rng.standard_normal(n)
    w = rng.exponential(size=n) if ridged else None
    b = rng.exponential(size=n) * (rng.random(n) < 0.7)
    weight = rng.exponential(size=ptr.size - 1)
    check_groups(A, x, b, w, 0.0, ptr, 4 * TOLERANCE[dtype], kl=True)
    check_groups(A, x, b, w, 0.0, ptr, 4 * TOLERANCE[dtype], kl=True, offset=offset, weight=weight)


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize(
    "lengths",
    [[256], [255, 1, 256, 256], [1, 200, 57, 3, 256], [64] * 9, [257], [1000], [3, 300, 2, 2, 513, 257, 1]],
)
def test_long_groups(lengths, skip, rng):
    """Groups up to a whole block, blocks that hold fewer rows than one group, groups of several blocks."""
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    for d in (2, 300):
        A = rng.standard_normal((ptr[-1], d)) / math.sqrt(d)
        b = reference.target(rng, ptr[-1]) * len(lengths)
        w, weight = rng.exponential(size=ptr[-1]), rng.exponential(size=len(lengths))
        check_groups(A, np.ones(d) / math.sqrt(d), b, None, skip, ptr, 1e-12)
        check_groups(A, np.ones(d) / math.sqrt(d), b, w, skip, ptr, 1e-12, weight=weight)
        single = A.astype(np.float32)
        check_groups(single, np.ones(d) / math.sqrt(d), b, None, skip, ptr, 1e-5, weight=weight)


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("n", [200, 600])
def test_loss_keeps_its_digits_near_a_zero_residual(n, skip, rng):
    """b = f up to 1e-9: for a group of several blocks the expanded sums would have no digit left."""
    A, x = rng.standard_normal((n, 3)), rng.standard_normal(3)
    z = A @ x
    b = reference.group(z, 0 * z, skip).f + 1e-9 * rng.standard_normal(n) / n
    got = run_rows(A, x, b, None, skip, np.array([0, n]), weight=np.array([2.0]))
    wanted = 2.0 * reference.exact(A, x, b, skip).value
    assert got.totals[0] == pytest.approx(wanted, rel=1e-4, abs=0)


@pytest.mark.parametrize("kl", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_groups_cut_by_a_chunk_leave_their_sums_open(dtype, kl, rng):
    """A chunk with the end of one group, whole groups, and the beginning of another."""
    skip, d = 0.0 if kl else 0.3, 5
    ptr = np.concatenate([[0], np.cumsum([700, 4, 1, 300, 9, 800])])
    start, stop = 500, ptr[-2] + 345
    n = stop - start
    A, x = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal(d) / 2
    b, w, offset = rng.uniform(0, 1, n), rng.exponential(size=n), rng.standard_normal(n)
    weight = rng.exponential(size=6)
    got = run_rows(A, x, b, w, skip, ptr, base=start, kl=kl, offset=offset, weight=weight)
    for slot, rows in [(0, slice(0, 200)), (1, slice(n - 345, n))]:
        shift = got.open_sums[slot, gradient.SHIFT]
        sums, columns, size, sizes = plain_slice(A[rows], got.z[rows], b[rows], w[rows], skip, shift, kl)
        assert (abs(got.open_sums[slot, 1:] - sums) <= TOLERANCE[dtype] * size).all()
        assert (abs(got.open_G[slot] - columns) <= TOLERANCE[dtype] * sizes).all()
    inside = slice(200, n - 345)
    whole = run_rows(
        A[inside], x, b[inside], w[inside], skip, ptr[1:-1] - ptr[1], kl=kl, offset=offset[inside],
        weight=weight[1:-1],
    )  # fmt: skip
    assert np.isnan(got.alpha[[0, -1]]).all()
    np.testing.assert_array_equal(got.z[inside], whole.z)
    for one, other in [
        (got.alpha[1:-1], whole.alpha), (got.s[1:-1], whole.s), (got.shift[1:-1], whole.shift),
        (got.totals, whole.totals), (got.G, whole.G), (got.means[1:-1], whole.means),
    ]:  # fmt: skip
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("kl", "skip"), [(False, 0.0), (False, 1.0), (True, 0.0)])
@pytest.mark.parametrize("row", [1, 100, 500])
def test_nonfinite_rows_stay_in_their_group(row, kl, skip, bad, rng):
    """In a short group, a long one, a short one: the total is not finite, other groups' answers are."""
    ptr = np.array([0, 3, 6, 460, 480, 503, 510])
    A, b = rng.standard_normal((510, 3)), rng.uniform(0, 1, 510)
    A[row, 1] = bad
    got = run_rows(A, np.ones(3), b, None, skip, ptr, kl=kl)
    group = int(np.searchsorted(ptr, row, side="right")) - 1
    assert not np.isfinite(got.totals[0])
    others = np.arange(6) != group
    assert np.isfinite(got.alpha[others]).all()
    assert np.isfinite(got.s[others]).all()
    assert not (np.isfinite(got.alpha[group]) and np.isfinite(got.s[group]) and np.isfinite(got.totals[0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_group_of_one_row_has_f_one(dtype, rng):
    """f = u/u = 1 whatever x is: its gradient is zero, its loss that of the target."""
    A, x = rng.standard_normal((40, 5)).astype(dtype), rng.standard_normal(5)
    b = rng.uniform(0, 2, 40)
    z, _, _, s, totals, G, *_ = run_rows(A, x, b, None, 0.3, np.arange(41))
    v = abs(np.exp(z) + 0.3) / abs(np.exp(z) + 0.3 * z)
    assert (abs(G) <= 4e-16 * (v * (2 + b)) @ abs(A)).all()
    np.testing.assert_allclose(s, 1 - b, rtol=1e-14)
    assert totals[0] == pytest.approx(((1 - b) ** 2).sum() / 2, rel=1e-14, abs=0)


def test_each_group_has_its_own_shift():
    A = np.array([[-1000.0], [-1001.0], [0.0], [1.0], [800.0], [-800.0]])
    b = np.full(6, 0.5)
    _, alpha, shift, s, totals, G, *_ = run_rows(A, np.ones(1), b, None, 0.0, np.array([0, 2, 4, 6]))
    np.testing.assert_array_equal(shift, [-1000, 0, 800])
    np.testing.assert_allclose(alpha, [1 + math.exp(-1), 1 + math.e, 1])
    f = 1 / (1 + math.exp(-1))  # of the first two groups; the third is one-hot
    loss = 2 * (f - 0.5) ** 2 + 0.25
    assert totals[0] == pytest.approx(loss, rel=1e-14, abs=0)
    np.testing.assert_allclose(s[2], 0.5)
    # dL/dz of a pair is (g, -g) with g = 2 (f - ½) f (1 - f); both rows differ by 1 in A
    np.testing.assert_allclose(G, 2 * 2 * (f - 0.5) * f * (1 - f), rtol=1e-13)


@pytest.mark.parametrize("n", [200, 1000])
def test_one_group_is_the_slice(n, rng):
    """The one-pass sums of MATH 4 and the finished group, in one block or several, give the same gradient."""
    d = 6
    A, x, b = rng.standard_normal((n, d)), rng.standard_normal(d), reference.target(rng, n)
    w = np.full(n, 0.1)
    z, alpha, shift, s, totals, G, *_ = run_rows(A, x, b, w, 1.0, np.array([0, n]))
    zs, (m, su, suu, sub, sbb, swz), (G1, G2, G3, G4) = run_slice(A, x, b, w, 1.0)
    np.testing.assert_array_equal(z, zs)
    assert shift[0] == m
    assert alpha[0] == pytest.approx(su, rel=1e-14, abs=0)
    assert s[0] == pytest.approx(suu / su**2 - sub / su, rel=1e-12, abs=0)
    assert sbb == pytest.approx(b @ b, rel=1e-14, abs=0)
    assert totals[0] == pytest.approx((suu / su**2 - 2 * sub / su + b @ b) / 2, rel=1e-12, abs=0)
    assert totals[1] == pytest.approx(swz / 2, rel=1e-14, abs=0)
    np.testing.assert_allclose(G, (G1 / su - G2 - s[0] * G3) / su + G4, rtol=1e-11)


@given(
    st.lists(st.integers(1, 60) | st.integers(250, 400), min_size=1, max_size=25),
    st.integers(1, 40),
    st.sampled_from(SKIPS),
    st.integers(0, 2**32 - 1),
)
def test_groups_do_not_depend_on_what_is_beside_them(lengths, d, skip, seed):
    """The sum over groups is the sum of the groups run alone."""
    rng = np.random.default_rng(seed)
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    A, x = rng.standard_normal((ptr[-1], d)), rng.standard_normal(d) / math.sqrt(d)
    b = rng.uniform(0, 1, ptr[-1])
    _, alpha, _, s, totals, G, *_ = run_rows(A, x, b, None, skip, ptr)
    alone = [
        run_rows(A[i:j].copy(), x, b[i:j], None, skip, np.array([0, j - i]))
        for i, j in itertools.pairwise(ptr)
    ]
    np.testing.assert_allclose(alpha, [one[1][0] for one in alone], rtol=1e-12, atol=1e-12)
    conditions = [(abs(one[1][0]) < 1e-3) for one in alone]
    if not any(conditions):  # alpha near zero magnifies the rounding of z
        np.testing.assert_allclose(s, [one[3][0] for one in alone], rtol=1e-8, atol=1e-8)
        assert totals[0] == pytest.approx(sum(one[4][0] for one in alone), rel=1e-8, abs=0)
        scale = sum(np.linalg.norm(one[5]) for one in alone)
        assert np.linalg.norm(G - sum(one[5] for one in alone)) <= 1e-8 * scale


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30), st.integers(8, 256), st.integers(200, 300))
def test_blocks_take_whole_groups_in_order(lengths, most, longest):
    """As many as fit, up to the next kept one; a group that does not fit comes alone."""
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    kept = reference.kept(ptr, longest)
    group = 0
    while group < len(lengths):
        stop = gradient.run_of_groups(ptr, kept, group, most)
        assert stop > group
        assert ptr[stop] - ptr[group] <= most or stop == group + 1
        assert (kept[group + 1 : stop] < 0).all()
        assert stop == len(lengths) or kept[stop] >= 0 or ptr[stop + 1] - ptr[group] > most
        group = stop
    assert group == len(lengths)


# ----------------------------------------------------------------------------------------------
# column_sums


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize(("kl", "skip"), [*((False, skip) for skip in SKIPS), (True, 0.0)])
@pytest.mark.parametrize(
    ("lengths", "d", "base", "tail"),
    [
        ([1], 1, 0, 0), ([700], 5, 0, 0), ([7, 1, 3, 2, 9] * 30, 5, 0, 0), ([10, 1, 4] * 6, 400, 0, 0),
        ([3, 300, 4, 1, 257, 5], 4, 0, 0), ([700, 2, 3, 260, 500], 4, 500, 100), ([900], 3, 100, 100),
    ],
)  # fmt: skip
def test_column_sums(lengths, d, base, tail, kl, skip, ridged, dtype, rng):
    """Short and long groups, and those whose first ``base`` or last ``tail`` rows lie in other chunks."""
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    n, g = ptr[-1], ptr.size - 1
    A = rng.standard_normal((n, d)).astype(dtype)
    z, b, w = rng.standard_normal(n), reference.target(rng, n), rng.exponential(size=n)
    shift, weight = rng.uniform(-1, 1, g), rng.exponential(size=g)
    groups = [
        reference.group(z[i:j], b[i:j], skip, m, kl) for i, j, m in zip(ptr[:-1], ptr[1:], shift, strict=True)
    ]
    alpha, s = np.array([g.alpha for g in groups]), np.array([g.s for g in groups])
    penalty = w * z if ridged else 0 * z
    each = np.repeat(weight, np.diff(ptr))
    weights = each * (np.concatenate([g.grad_z for g in groups]) + penalty)
    means = np.concatenate([g.v / g.alpha for g in groups])
    sizes = each * (np.concatenate([g.size_z for g in groups]) + abs(penalty))
    A64 = A.astype(np.float64)
    here = slice(base, n - tail)
    kept = reference.kept(ptr, formula.BLOCK, (base, n - tail))
    G, found, open_means = np.full((4, d), np.nan), np.full((g, d), np.nan), np.full((2, d), np.nan)
    gradient.column_sums(
        A[here], z[here], b[here], w[here] if ridged else NONE, weight, ptr, base, kept, skip, kl,
        alpha, shift, s, G, found, open_means,
    )  # fmt: skip

    def sums(values, rows, size=False):
        return values[rows] @ (abs(A64[rows]) if size else A64[rows])

    absolute = sums(sizes, here, True)
    wanted = np.stack([sums(weights, here), sums(means, here), absolute, sums(abs(weights), here, True)])
    scale = np.stack([absolute, sums(abs(means), here, True), absolute, absolute])
    assert (abs(G - wanted) <= TOLERANCE[dtype] * scale).all()
    for k in range(g):
        rows = slice(max(ptr[k], base), min(ptr[k + 1], n - tail))
        mean, size = sums(means, rows), sums(abs(means), rows, True)
        if ptr[k] < base:
            assert (abs(open_means[0] - mean) <= TOLERANCE[dtype] * size).all()
        elif ptr[k + 1] > n - tail:
            assert (abs(open_means[1] - mean) <= TOLERANCE[dtype] * size).all()
        elif kept[k] >= 0:
            assert (abs(found[kept[k]] - mean) <= TOLERANCE[dtype] * size).all()


@pytest.mark.parametrize("n", [5, 12, 1000])
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize(("kl", "skip"), [(False, 1.0), (True, 0.0)])
@pytest.mark.parametrize("long", [False, True])
def test_where_the_arrays_lie_changes_no_bit(long, kl, skip, ridged, n, rng):
    """Loops that write beside what they read come in two versions; sums must be the same in both."""
    d = 3
    A, x, b = rng.standard_normal((n, d)), rng.standard_normal(d), reference.target(rng, n)
    w, offset = rng.exponential(size=n), rng.standard_normal(n)
    ptr = np.array([0, n // 2, n + 4]) if long else np.append(np.arange(0, n, 4), n)
    g = ptr.size - 1
    weight = rng.exponential(size=g)
    kept = reference.kept(ptr, 1 if long else formula.BLOCK, (n,))
    outputs = [np.empty(shape) for shape in (n, g, g, g, 2, d, (g, d), (2, gradient.N_SUMS), (2, 4, d))]
    outputs += [np.empty((4, d)), np.empty((g, d)), np.empty((2, d))]
    for array in outputs:
        array[...] = 1.0  # what is not written, too, is compared
    seen = set()
    for arrays in reference.placements(rng, [A, b, w, offset, weight, *outputs]):
        A, b, w, offset, weight, z, alpha, shift, s, totals, G, means, sums, columns, *rest = arrays
        wr = w if ridged else NONE
        gradient.gradient_rows(
            A, x, b, wr, offset, weight, ptr, 0, kept, skip, kl, z, alpha, shift, s, totals, G, means, sums,
            columns,
        )  # fmt: skip
        gradient.column_sums(A, z, b, wr, weight, ptr, 0, kept, skip, kl, alpha, shift, s, *rest)
        seen.add(b"".join(a.tobytes() for a in arrays))
    assert len(seen) == 1


@pytest.mark.parametrize("rows", [5, 12, 100])
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize(("kl", "skip"), [(False, 1.0), (True, 0.0)])
def test_where_thework_space_lies_changes_no_bit(kl, skip, ridged, rows, rng):
    """The same for the loops over one block, whose work space the allocator places."""
    zb, b, w = rng.standard_normal(rows), reference.target(rng, rows), rng.exponential(size=rows)
    A, ptr = np.zeros((rows, 2)), np.append(np.arange(0, rows, 3), rows)
    g = ptr.size - 1
    W, sums, state = (np.zeros(size) for size in (4 * formula.BLOCK, gradient.N_SUMS, 2))
    space, answers = np.zeros(rowgroups.COLUMNS * rowgroups.COLUMN), np.zeros((3, g))
    seen = set()
    for arrays in reference.placements(
        rng,
        [
            zb,
            np.resize(zb, 128),
            np.exp(np.resize(zb, 128)),
            b,
            w,
            np.full(g, 1.5),
            W,
            W,
            sums,
            state,
            space,
            answers,
        ],
    ):
        zb, z, E, b, w, weight, W, groups, sums, state, space, (shift, alpha, s) = arrays
        gradient._slice_terms(zb, rows, b, w, 0, ridged, skip, kl, 0.0, W, sums)
        gradient._block_weights(
            A, z, E, ptr, 0, g, 0, b, w, weight, ridged, skip, kl, shift, True, alpha, s, groups, space, state
        )
        seen.add(b"".join(a.tobytes() for a in arrays))
    assert len(seen) == 1
