"""fastsoftres/passes.py: sums over chunks, however the rows are cut and in whichever grouping they are
merged, against the formulas of ``reference`` and the pass over all rows at once (MATH 4)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from fastsoftres import passes
from fastsoftres.groups import Groups
from fastsoftres.kernels import gradient as kernel
from fastsoftres.kernels import gram, rowstate
from fastsoftres.sources import Rows

NONE = np.zeros(0)
N = 1000


def blocks(A, cuts):
    """``Rows`` between the cuts; A may be None."""
    return [
        Rows(start, stop, None if A is None else A[start:stop]) for start, stop in itertools.pairwise(cuts)
    ]


def folded(work, parts, order):
    """Merge neighbours in the order given by random numbers: any grouping, never another order."""
    parts = list(parts)
    for number in order:
        if len(parts) == 1:
            break
        k = number % (len(parts) - 1)
        parts[k : k + 2] = [work.merge(parts[k], parts[k + 1])]
    while len(parts) > 1:
        parts[:2] = [work.merge(parts[0], parts[1])]
    return parts[0]


cut_sets = st.lists(st.integers(1, N - 1), max_size=12).map(lambda cuts: [0, *sorted(set(cuts)), N])
#: Ends of groups: one long group, short ones, or any of both.
group_sets = (
    st.lists(st.integers(1, N - 1), max_size=8).map(lambda ends: np.array([0, *sorted(set(ends)), N]))
    | st.just(np.array([0, N]))
    | st.just(np.append(np.arange(0, N, 7), N))
    | st.just(np.arange(N + 1))
)
orders = st.lists(st.integers(0, 100), max_size=12)
#: Where z lies in quarters of the rows: shifts differ from slice to slice.
offsets = st.lists(st.sampled_from([0.0, -3.0, 90.0, -90.0, 900.0, -900.0, -1e5]), min_size=4, max_size=4)
seeds = st.integers(0, 2**32 - 1)
losses = st.sampled_from([(0.0, False), (1.0, False), (0.0, True)])


def matrix(seed, offset):
    """A whose last column moves z of each quarter of the rows by its offset."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((N, 4))
    A[:, 3] = np.repeat(offset, N // 4)
    x = np.append(rng.standard_normal(3) / 2, 1.0)
    return A, x, reference.target(rng, N), rng.exponential(size=N)


def row_data(ptr, b, w, skip, kl, cuts, weight=NONE, offset=NONE):
    """Groups across cuts are kept, as those across a file's blocks are."""
    return passes.RowData(b, w, offset, Groups(ptr, weight, cuts[1:-1]), skip, kl)


def sizes_of(z, b, w, skip, kl, shift):
    """Sums of absolute values of the terms in a group's sums, and the weights of those of rows."""
    e = np.exp(np.minimum(z - shift, 700))
    scale = np.exp(-shift) if skip else 0.0
    u, v = abs(e + skip * z * scale), e + skip * scale
    if kl:
        return [e.sum(), b.sum(), b @ abs(z), 0.0, w @ (z * z)], [0 * e, b, e, abs(w * z)]
    sums = [u.sum(), (u * u).sum(), (u * b).sum(), b @ b, w @ (z * z)]
    return sums, [v * u, v * b, v, abs(w * z)]


@given(cut_sets, orders, offsets, seeds, losses, st.booleans())
def test_open_sums_of_a_slice(cuts, order, offset, seed, loss, ridged):
    """One group that begins before the rows and ends after them: its sums stay open through every merge."""
    skip, kl = loss
    A, x, b, w = matrix(seed, offset)
    w = w if ridged else NONE
    data = row_data(np.array([0, N + 2]), b, w, skip, kl, [0, N, N + 1])
    work, parts = passes.Gradient(data, x, N), passes.Gradient(data, x, N)
    (totals, G), [piece] = work.block(Rows(0, N, A))
    np.testing.assert_array_equal([*totals, *G], 0)
    (totals, G), [merged] = folded(parts, [parts.block(rows) for rows in blocks(A, cuts)], order)
    np.testing.assert_array_equal([*totals, *G], 0)
    np.testing.assert_allclose(parts.z, work.z, rtol=1e-15)
    assert merged.group == 0
    assert merged.sums[kernel.SHIFT] == piece.sums[kernel.SHIFT]
    w = w if ridged else np.zeros(N)
    sums, weights = sizes_of(work.z, b, w, skip, kl, piece.sums[kernel.SHIFT])
    assert (abs(merged.sums - piece.sums)[1:] <= 1e-12 * np.array(sums) + 1e-300).all()
    assert (abs(merged.G - piece.G) <= 1e-12 * np.stack(weights) @ abs(A) + 1e-300).all()


@given(cut_sets, orders, offsets, seeds, losses, st.booleans())
def test_open_line_sums_of_a_slice(cuts, order, offset, seed, loss, ridged):
    skip, kl = loss
    A, x, b, w = matrix(seed, offset)
    z, y = A @ x, A[:, 0].copy()
    data = row_data(np.array([0, N + 2]), b, w if ridged else NONE, skip, kl, [0, N, N + 1])
    work = passes.Line(data, z, y, 0.25)
    _, [piece] = work.block(Rows(0, N, None))
    _, [merged] = folded(work, [work.block(rows) for rows in blocks(None, cuts)], order)
    assert merged.sums[rowstate.SHIFT] == piece.sums[rowstate.SHIFT]
    w = w if ridged else np.zeros(N)
    moved = z + 0.25 * y
    sums, weights = sizes_of(moved, b, w, skip, kl, piece.sums[rowstate.SHIFT])
    along = [float(v @ abs(y)) for v in weights]
    assert (abs(merged.sums - piece.sums)[1:] <= 1e-12 * np.array([*sums, *along]) + 1e-300).all()


@given(group_sets, cut_sets, orders, seeds, losses, st.booleans())
def test_gradient_of_groups(ptr, cuts, order, seed, loss, ridged):
    """Finished and open sums together are the objective by its formulas, group by group."""
    skip, kl = loss
    A, x, b, w = matrix(seed, [0.0, 0.5, -0.5, 1.0])
    rng = np.random.default_rng(seed)
    g = ptr.size - 1
    weight, offset = rng.exponential(size=g), rng.uniform(0.5, 2, N)
    offset -= np.minimum(A @ x + offset, 0.2) - 0.2  # z >= 0.2: no alpha near zero
    data = row_data(ptr, b, w if ridged else NONE, skip, kl, cuts, weight, offset)
    work = passes.Gradient(data, x, N)
    (totals, grad), pieces = folded(work, [work.block(rows) for rows in blocks(A, cuts)], order)
    cut = [k for k in range(g) if any(ptr[k] < at < ptr[k + 1] for at in cuts)]
    assert [piece.group for piece in pieces] == cut
    answer = np.empty(6)
    for k, sums, G in pieces:
        mean = work.means[data.groups.kept[k]]
        kernel.finish_sums(sums, G, kl, weight[k], grad, mean, answer)
        for array, value in zip(work.normaliser, answer[:3], strict=True):
            array[k] = value
        totals += answer[3:5]
    true = reference.plain(A, x, b, skip, w if ridged else 0.0, ptr=ptr, weights=weight, offset=offset, kl=kl)
    assert totals.sum() == pytest.approx(true.value, rel=1e-10, abs=1e-15)
    assert (abs(grad - true.grad) <= 1e-11 * true.terms).all()
    for k, (i, j) in enumerate(itertools.pairwise(ptr)):
        one = reference.group(true.z[i:j], b[i:j], skip, kl=kl)
        alpha, shift, s = (array[k] for array in work.normaliser)
        assert alpha * np.exp(shift) == pytest.approx(one.alpha, rel=1e-12, abs=0)
        assert s == pytest.approx(one.s, rel=1e-9, abs=1e-12)
        if data.groups.kept[k] >= 0:
            mean = one.v / one.alpha @ A[i:j]
            np.testing.assert_allclose(work.means[data.groups.kept[k]], mean, rtol=1e-11, atol=1e-12)


def known(ptr, cuts, seed, skip, kl):
    """Data and a point of groups cut anywhere, all that follows from z known."""
    A, x, b, w = matrix(seed, [0.0, 0.1, -0.1, 0.2])
    z = np.maximum(A @ x, -0.3)
    groups = [reference.group(z[i:j], b[i:j], skip, kl=kl) for i, j in itertools.pairwise(ptr)]
    alpha, s = np.array([one.alpha for one in groups]), np.array([one.s for one in groups])
    data = row_data(ptr, b, w, skip, kl, cuts, np.random.default_rng(seed).exponential(size=alpha.size))
    va = np.concatenate([one.v / one.alpha for one in groups])
    means = [va[i:j] @ A[i:j] for i, j in itertools.pairwise(ptr)]
    means = np.array([m for m, k in zip(means, data.groups.kept, strict=True) if k >= 0]).reshape(-1, 4)
    return A, z, data, passes.Normaliser(alpha, np.zeros(alpha.size), s), va, means


@given(group_sets, cut_sets, orders, seeds, losses)
def test_passes_that_add(ptr, cuts, order, seed, loss):
    """Products, column sums, curvature, residuals, Gram: what is cut and merged is what one pass gives."""
    skip, kl = loss
    A, z, data, normaliser, va, means = known(ptr, cuts, seed, skip, kl)
    b, w, groups, g = data.b, data.w, data.groups, ptr.size - 1
    kappa, T = np.linspace(-1, 2, g), A[:8].copy()
    rows_D, rows_h = b - w, z * b
    made = {
        "column sums": lambda: passes.ColumnSums(data, z, normaliser, 4),
        "transposed": lambda: passes.TransposedTimes(np.stack([b, w, z, b])),
        "hessp": lambda: passes.HessianProduct(groups, T, means, rows_D, rows_h, va, kappa),
        "gram": lambda: passes.Gram(groups, means, rows_D, va, gram.HESSIAN, rows_h, kappa),
        "moment": lambda: passes.Gram(groups, means, rows_D, va, gram.MOMENT, rows_h),
        "scaled gram": lambda: passes.Gram(groups, means, w, va, scale=z, centre=b),
        "uncentred gram": lambda: passes.Gram.uncentred(rows_D, 4),
        "curvature": lambda: passes.CurvatureRows(data, z, normaliser),
        "residual": lambda: passes.Residual(data, z, b, 0.5, normaliser, list(range(0, g, 2))),
        "means": lambda: passes.GroupMeans(groups, va, 4),
        "map": lambda: passes.Map(groups, z, skip, normaliser),
    }
    for name, make in made.items():
        whole, cut = make(), make()
        rows = A if whole.reads_A else None
        wanted = flat(whole, whole.block(Rows(0, N, rows)), groups)
        got = flat(cut, folded(cut, [cut.block(part) for part in blocks(rows, cuts)], order), groups)
        for one_got, one_wanted in zip(got, wanted, strict=True):
            size = abs(one_wanted).max(initial=0.0)
            np.testing.assert_allclose(one_got, one_wanted, rtol=1e-10, atol=1e-11 * size, err_msg=name)


def flat(work, sums, groups):
    """What a pass has found, as arrays: its open sums go where ``point.py`` puts them."""
    if isinstance(work, passes.CurvatureRows):
        for group, kappa, _ in sums[1]:
            work.kappa[group] = kappa[0]
        return work.D, work.h, work.va, work.kappa
    if isinstance(work, (passes.ColumnSums, passes.GroupMeans)):
        for group, mean, _ in sums[1]:
            work.means[groups.kept[group]] = mean
        return (*sums[0], work.means)
    if isinstance(work, passes.Residual):
        assert sorted(work.picked) == [piece.group for piece in sums[1]]
        return (np.array([piece.sums for piece in sums[1]]),)
    if isinstance(work, passes.Map):
        return (work.f,)
    return sums if isinstance(sums, tuple) else (sums,)


@given(group_sets, cut_sets, orders, seeds, losses)
def test_line_of_groups(ptr, cuts, order, seed, loss):
    skip, kl = loss
    _, z, data, _, _, _ = known(ptr, cuts, seed, skip, kl)
    y, weight = 0.2 * np.sin(np.arange(N)), data.groups.weight
    work = passes.Line(data, z, y, 0.5)
    (totals,), pieces = folded(work, [work.block(rows) for rows in blocks(None, cuts)], order)
    answer = np.empty(7)
    for k, sums, _ in pieces:
        rowstate.finish_line(sums, kl, weight[k], answer)
        for array, value in zip(work.normaliser, answer[:3], strict=True):
            array[k] = value
        totals += answer[3:5]
    moved, each = z + 0.5 * y, data.groups.rows_of(weight) * data.w
    loss, slope, size = moved @ (each * moved) / 2, moved @ (each * y), abs(moved * each) @ abs(y)
    for k, (i, j) in enumerate(itertools.pairwise(ptr)):
        one = reference.group(moved[i:j], data.b[i:j], skip, kl=kl)
        loss, slope = loss + weight[k] * one.loss, slope + weight[k] * one.grad_z @ y[i:j]
        size += weight[k] * one.size_z @ abs(y[i:j])
        assert work.normaliser.alpha[k] == pytest.approx(one.alpha, rel=1e-12, abs=0)
        assert work.normaliser.s[k] == pytest.approx(one.s, rel=1e-9, abs=1e-12)
    assert totals[0] == pytest.approx(loss, rel=1e-10, abs=0)
    assert abs(totals[1] - slope) <= 1e-11 * size


@given(cut_sets)
def test_rows_are_written_where_they_belong(cuts):
    rng = np.random.default_rng(0)
    A, z = rng.standard_normal((N, 4)), rng.standard_normal(N)
    T = rng.standard_normal((2, 4))
    normaliser = passes.Normaliser(np.array([2.0]), np.array([0.5]), np.zeros(1))
    products, fitted = passes.Times(T, N), passes.Map(Groups.one(N), z, 1.0, normaliser)
    products.Y[:], fitted.f[:] = np.nan, np.nan
    for rows in blocks(A, cuts):
        products.block(rows)
        fitted.block(rows)
    np.testing.assert_allclose(products.Y, T @ A.T, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(fitted.f, (np.exp(z - 0.5) + np.exp(-0.5) * z) / 2, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("d", [1, 5, 40])
def test_symmetric_takes_the_upper_triangle(d, rng):
    H = rng.standard_normal((48, 48))
    S = passes.symmetric(H, d)
    np.testing.assert_array_equal(S, S.T)
    np.testing.assert_array_equal(np.triu(S), np.triu(H[:d, :d]))
