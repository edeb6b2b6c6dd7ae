"""kernels/gradient.py against the sums of MATH 4 written out in NumPy, and its groups against the textbook
formulas a group at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from fastsoftres.kernels import formula, gradient, simd

SKIPS = [0.0, 1.0, 0.3]
DTYPES = [np.float64, np.float32]
SHAPES = [(1, 1), (1, 5), (7, 1), (8, 16), (300, 3), (1500, 17), (40, 130), (30, 2100)]
#: Of the sum of the absolute values of the terms.
TOLERANCE = {np.float64: 1e-13, np.float32: 2e-6}
NO_W = np.zeros(0)


def run_slice(A, x, b, w, skip):
    """All outputs of ``gradient_slice``, filled with nan before it runs."""
    d = A.shape[1]
    z, sums, G = np.full(A.shape[0], np.nan), np.full(gradient.N_SUMS, np.nan), np.full((4, d), np.nan)
    gradient.gradient_slice(A, x, b, NO_W if w is None else w, w is not None, skip, z, sums, G)
    return z, sums, G


def plain_slice(A, z, b, w, skip, shift):
    """The same sums in NumPy, for this shift, and what their errors are measured by."""
    A = A.astype(np.float64)
    e, scale = np.exp(z - shift), math.exp(-shift) if skip else 0.0
    u, v = e + skip * z * scale, e + skip * scale
    w = np.zeros(z.size) if w is None else w
    weights = np.stack([v * u, v * b, v, w * z])
    terms = np.stack([u, u * u, u * b, w * z * z])
    return terms.sum(1), weights @ A, abs(terms).sum(1), abs(weights) @ abs(A)


def check_slice(A, x, b, w, skip, tolerance, shift=0.0):
    z, sums, G = run_slice(A, x, b, w, skip)
    A = A.astype(np.float64)
    assert (abs(z - A @ x) <= 1e-14 * (abs(A) @ abs(x))).all()  # also where A is float32
    assert sums[gradient.SHIFT] == shift
    scalars, columns, size_scalars, size_columns = plain_slice(A, z, b, w, skip, shift)
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


def test_rescale_raises_the_shift(rng):
    A, x, b = rng.standard_normal((50, 3)), rng.standard_normal(3), np.full(50, 0.02)
    _, sums, G = run_slice(A, x, b, np.ones(50), 1.0)
    moved, columns = sums.copy(), G.copy()
    gradient.rescale(moved, columns, 2.5)
    s = math.exp(-2.5)
    np.testing.assert_allclose(moved, [2.5, *(sums[1:] * [s, s * s, s, 1])], rtol=1e-15)
    np.testing.assert_allclose(columns, G * np.array([s * s, s, s, 1])[:, None], rtol=1e-15)


def test_rescale_of_nothing():
    sums, G = np.array([-np.inf, 0, 0, 0, 0]), np.zeros((4, 2))
    gradient.rescale(sums, G, -700.0)
    np.testing.assert_array_equal(sums, [-700, 0, 0, 0, 0])
    np.testing.assert_array_equal(G, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dots(dtype, rng):
    A = rng.integers(-8, 9, (29, 19)).astype(dtype)
    x = rng.integers(-8, 9, 19) * 1.0
    out = np.full(12 + simd.ROWS, np.nan)
    gradient.dots(A, x, 17, 12, 0, out)
    np.testing.assert_array_equal(out[:12], A[17:] @ x)


# ----------------------------------------------------------------------------------------------
# groups


def ragged(rng, groups, longest=10) -> np.ndarray:
    """Offsets of groups of 1 to ``longest`` rows."""
    return np.concatenate([[0], np.cumsum(rng.integers(1, longest + 1, groups))])


def run_groups(A, x, b, w, skip, ptr):
    n, d, g = *A.shape, ptr.size - 1
    z, totals, G = np.full(n, np.nan), np.full(2, np.nan), np.full(d, np.nan)
    alpha, shift, s = (np.full(g, np.nan) for _ in range(3))
    gradient.gradient_groups(
        A, x, b, NO_W if w is None else w, w is not None, skip, ptr, z, alpha, shift, s, totals, G
    )
    return z, alpha, shift, s, totals, G


def check_groups(A, x, b, w, skip, ptr, tolerance):
    z, alpha, shift, s, totals, G = run_groups(A, x, b, w, skip, ptr)
    A = A.astype(np.float64)
    assert (abs(z - A @ x) <= 1e-14 * (abs(A) @ abs(x))).all()
    w = np.zeros(z.size) if w is None else w
    loss, weights, sizes = 0.0, w * z, abs(w * z)
    for g in range(ptr.size - 1):
        rows = slice(ptr[g], ptr[g + 1])
        plain = reference.group(z[rows], b[rows], skip, shift[g])
        assert abs(alpha[g] - plain.alpha) <= tolerance * abs(plain.u).sum()
        # alpha may cancel (skip > 0): what follows from it inherits that
        worse = tolerance * abs(plain.u).sum() / abs(plain.alpha)
        assert s[g] == pytest.approx(plain.s, abs=worse * (1 + abs(plain.f).sum()) ** 2)
        loss += plain.loss
        weights[rows] += plain.grad_z
        sizes[rows] += plain.size_z * (1 + abs(plain.u).sum() / abs(plain.alpha))
    assert totals[0] == pytest.approx(loss, rel=1e4 * tolerance, abs=0)
    assert totals[1] == pytest.approx(float(w @ (z * z)) / 2, rel=tolerance, abs=0)
    assert (abs(G - weights @ A) <= tolerance * (sizes @ abs(A))).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("d", [1, 6, 33, 700])
def test_groups(d, skip, ridged, dtype, rng):
    ptr = ragged(rng, 120)
    n = ptr[-1]
    A = (rng.standard_normal((n, d)) / math.sqrt(d)).astype(dtype)
    x = rng.standard_normal(d)
    w = rng.exponential(size=n) if ridged else None
    b = rng.dirichlet(np.ones(n)) * (ptr.size - 1)
    check_groups(A, x, b, w, skip, ptr, 4 * TOLERANCE[dtype])


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("lengths", [[256], [255, 1, 256, 256], [1, 200, 57, 3, 256], [64] * 9])
def test_long_groups(lengths, skip, rng):
    """Groups up to a whole block, and blocks that hold fewer rows than one group."""
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    for d in (2, 300):
        A = rng.standard_normal((ptr[-1], d)) / math.sqrt(d)
        b = reference.target(rng, ptr[-1]) * len(lengths)
        check_groups(A, np.ones(d) / math.sqrt(d), b, None, skip, ptr, 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_group_of_one_row_has_f_one(dtype, rng):
    """f = u/u = 1 whatever x is: its gradient is zero, its loss that of the target."""
    A, x = rng.standard_normal((40, 5)).astype(dtype), rng.standard_normal(5)
    b = rng.uniform(0, 2, 40)
    z, _, _, s, totals, G = run_groups(A, x, b, None, 0.3, np.arange(41))
    v = abs(np.exp(z) + 0.3) / abs(np.exp(z) + 0.3 * z)
    assert (abs(G) <= 4e-16 * (v * (2 + b)) @ abs(A)).all()
    np.testing.assert_allclose(s, 1 - b, rtol=1e-14)
    assert totals[0] == pytest.approx(((1 - b) ** 2).sum() / 2, rel=1e-14, abs=0)


def test_each_group_has_its_own_shift():
    A = np.array([[-1000.0], [-1001.0], [0.0], [1.0], [800.0], [-800.0]])
    b = np.full(6, 0.5)
    _, alpha, shift, s, totals, G = run_groups(A, np.ones(1), b, None, 0.0, np.array([0, 2, 4, 6]))
    np.testing.assert_array_equal(shift, [-1000, 0, 800])
    np.testing.assert_allclose(alpha, [1 + math.exp(-1), 1 + math.e, 1])
    f = 1 / (1 + math.exp(-1))  # of the first two groups; the third is one-hot
    loss = 2 * (f - 0.5) ** 2 + 0.25
    assert totals[0] == pytest.approx(loss, rel=1e-14, abs=0)
    np.testing.assert_allclose(s[2], 0.5)
    # dL/dz of a pair is (g, -g) with g = 2 (f - ½) f (1 - f); both rows differ by 1 in A
    np.testing.assert_allclose(G, 2 * 2 * (f - 0.5) * f * (1 - f), rtol=1e-13)


def test_one_group_is_the_slice(rng):
    """The one-pass sums of MATH 4 and the finished group give the same gradient."""
    n, d = 200, 6
    A, x, b = rng.standard_normal((n, d)), rng.standard_normal(d), reference.target(rng, n)
    w = np.full(n, 0.1)
    z, alpha, shift, s, totals, G = run_groups(A, x, b, w, 1.0, np.array([0, n]))
    zs, (m, su, suu, sub, swz), (G1, G2, G3, G4) = run_slice(A, x, b, w, 1.0)
    np.testing.assert_array_equal(z, zs)
    assert shift[0] == m
    assert alpha[0] == pytest.approx(su, rel=1e-14, abs=0)
    assert s[0] == pytest.approx(suu / su**2 - sub / su, rel=1e-12, abs=0)
    assert totals[0] == pytest.approx((suu / su**2 - 2 * sub / su + b @ b) / 2, rel=1e-12, abs=0)
    assert totals[1] == pytest.approx(swz / 2, rel=1e-14, abs=0)
    np.testing.assert_allclose(G, (G1 / su - G2 - s[0] * G3) / su + G4, rtol=1e-11)


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=25),
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
    _, alpha, _, s, totals, G = run_groups(A, x, b, None, skip, ptr)
    alone = [
        run_groups(A[i:j].copy(), x, b[i:j], None, skip, np.array([0, j - i]))
        for i, j in itertools.pairwise(ptr)
    ]
    np.testing.assert_allclose(alpha, [one[1][0] for one in alone], rtol=1e-12, atol=1e-12)
    conditions = [(abs(one[1][0]) < 1e-3) for one in alone]
    if not any(conditions):  # alpha near zero magnifies the rounding of z
        np.testing.assert_allclose(s, [one[3][0] for one in alone], rtol=1e-8, atol=1e-8)
        assert totals[0] == pytest.approx(sum(one[4][0] for one in alone), rel=1e-8, abs=0)
        scale = sum(np.linalg.norm(one[5]) for one in alone)
        assert np.linalg.norm(G - sum(one[5] for one in alone)) <= 1e-8 * scale


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30), st.integers(8, 256))
def test_next_block_takes_whole_groups_in_order(lengths, most):
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    group = 0
    while group < len(lengths):
        stop = gradient.next_block(ptr, group, most)
        assert stop > group
        assert ptr[stop] - ptr[group] <= most or stop == group + 1
        assert stop == len(lengths) or ptr[stop + 1] - ptr[group] > most  # no room for one more
        group = stop
    assert group == len(lengths)


def test_longest_group():
    assert gradient.longest_group(np.array([0, 3, 3, 10, 12])) == 7
    assert gradient.longest_group(np.array([0])) == 0


# ----------------------------------------------------------------------------------------------
# column_sums


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize(
    ("n", "d", "grouped"), [(1, 1, False), (700, 5, False), (700, 5, True), (90, 400, True)]
)
def test_column_sums(n, d, grouped, skip, ridged, dtype, rng):
    ptr = ragged(rng, n)
    ptr = np.append(ptr[ptr < n], n) if grouped else np.array([0, n])
    A = rng.standard_normal((n, d)).astype(dtype)
    z, b, w = rng.standard_normal(n), reference.target(rng, n), rng.exponential(size=n)
    shift = rng.uniform(-1, 1, ptr.size - 1)
    groups = [
        reference.group(z[i:j], b[i:j], skip, m) for i, j, m in zip(ptr[:-1], ptr[1:], shift, strict=True)
    ]
    alpha, s = np.array([g.alpha for g in groups]), np.array([g.s for g in groups])
    penalty = w * z if ridged else 0 * z
    weights = np.concatenate([g.grad_z for g in groups]) + penalty
    means = np.concatenate([g.v / g.alpha for g in groups])
    sizes = np.concatenate([g.size_z for g in groups]) + abs(penalty)
    A64 = A.astype(np.float64)
    wanted = np.stack([weights @ A64, means @ A64, sizes @ abs(A64), abs(weights) @ abs(A64)])
    scale = np.stack([sizes @ abs(A64), abs(means) @ abs(A64), sizes @ abs(A64), abs(sizes) @ abs(A64)])
    G = np.full((4, d), np.nan)
    gradient.column_sums(A, z, b, w if ridged else NO_W, ridged, skip, ptr, alpha, shift, s, G)
    assert (abs(G - wanted) <= TOLERANCE[dtype] * scale).all()


@pytest.mark.parametrize("n", [5, 12, 1000])
@pytest.mark.parametrize("ridged", [False, True])
def test_where_the_arrays_lie_changes_no_bit(ridged, n, rng):
    """Loops that write beside what they read come in two versions; sums must be the same in both."""
    d = 3
    A, x, b = rng.standard_normal((n, d)), rng.standard_normal(d), reference.target(rng, n)
    w = rng.exponential(size=n)
    ptr = np.append(np.arange(0, n, 4), n)
    g = ptr.size - 1
    outputs = [np.empty(shape) for shape in (n, gradient.N_SUMS, (4, d), g, g, g, 2, d, (4, d))]
    seen = set()
    for arrays in reference.placements(rng, [A, b, w, *outputs]):
        A, b, w, z, sums, G, alpha, shift, s, totals, finished, columns = arrays
        gradient.gradient_slice(A, x, b, w, ridged, 1.0, z, sums, G)
        gradient.gradient_groups(A, x, b, w, ridged, 1.0, ptr, z, alpha, shift, s, totals, finished)
        gradient.column_sums(A, z, b, w, ridged, 1.0, ptr, alpha, shift, s, columns)
        seen.add(b"".join(a.tobytes() for a in arrays))
    assert len(seen) == 1


@pytest.mark.parametrize("rows", [5, 12, 100])
@pytest.mark.parametrize("ridged", [False, True])
def test_where_the_work_space_lies_changes_no_bit(ridged, rows, rng):
    """The same for the loops over one block, whose work space the allocator places."""
    zb, b, w = rng.standard_normal(rows), reference.target(rng, rows), rng.exponential(size=rows)
    W, sums, state = np.zeros(4 * formula.BLOCK), np.zeros(gradient.N_SUMS), np.zeros(4)
    seen = set()
    for arrays in reference.placements(rng, [zb, zb, b, w, W, W, sums, state]):
        z, zb, b, w, W, groups, sums, state = arrays
        gradient._slice_terms(zb, rows, b, w, ridged, 1.0, 0.0, W, sums)
        gradient._group_weights(z, 0, rows, b, w, ridged, 1.0, 0.0, groups, state)
        seen.add(b"".join(a.tobytes() for a in arrays))
    assert len(seen) == 1
