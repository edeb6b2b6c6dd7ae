"""fastsoftres/passes.py: sums over slices, however the rows are cut and in whichever grouping they are
merged, against the sums over all rows at once (the ordered monoid of MATH 4)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from fastsoftres import passes
from fastsoftres.kernels import gradient, rowstate
from fastsoftres.sources import Rows

NO_W = np.zeros(0)


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


cut_sets = st.lists(st.integers(1, 399), max_size=12).map(lambda cuts: [0, *sorted(set(cuts)), 400])
orders = st.lists(st.integers(0, 100), max_size=12)
#: Where z lies in quarters of the rows: shifts differ from slice to slice.
offsets = st.lists(st.sampled_from([0.0, -3.0, 90.0, -90.0, 900.0, -900.0, -1e5]), min_size=4, max_size=4)
seeds = st.integers(0, 2**32 - 1)


def matrix(seed, offset):
    """A whose last column moves z of each quarter of the rows by its offset."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((400, 4))
    A[:, 3] = np.repeat(offset, 100)
    x = np.append(rng.standard_normal(3) / 2, 1.0)
    return A, x, reference.target(rng, 400), rng.exponential(size=400)


@given(cut_sets, orders, offsets, seeds, st.sampled_from([0.0, 1.0]), st.booleans())
def test_gradient_sums(cuts, order, offset, seed, skip, ridged):
    A, x, b, w = matrix(seed, offset)
    data = passes.RowData(b, w if ridged else NO_W, ridged, skip)
    work, parts = passes.Gradient(data, x), passes.Gradient(data, x)
    sums, G = work.block(Rows(0, 400, A))
    merged, H = folded(parts, [parts.block(rows) for rows in blocks(A, cuts)], order)
    np.testing.assert_allclose(parts.z, work.z, rtol=1e-15)
    assert merged[gradient.SHIFT] == sums[gradient.SHIFT]
    # measured by the sums of absolute values of the terms
    z = work.z
    e = np.exp(np.minimum(z - sums[0], 700))
    scale = np.exp(-sums[0]) if skip else 0.0
    u, v = abs(e + skip * z * scale), e + skip * scale
    sizes = np.array([u.sum(), (u * u).sum(), (u * b).sum(), (w * z * z).sum()])
    assert (abs(merged - sums)[1:] <= 1e-12 * sizes + 1e-300).all()
    columns = np.stack([v * u, v * b, v, abs(w * z)]) @ abs(A)
    assert (abs(H - G) <= 1e-12 * columns + 1e-300).all()


@given(cut_sets, orders, offsets, seeds, st.sampled_from([0.0, 1.0]), st.booleans())
def test_line_sums(cuts, order, offset, seed, skip, ridged):
    A, x, b, w = matrix(seed, offset)
    z, y = A @ x, A[:, 0].copy()
    work = passes.Line(passes.RowData(b, w if ridged else NO_W, ridged, skip), z, y, 0.25)
    sums = work.block(Rows(0, 400, None))
    merged = folded(work, [work.block(rows) for rows in blocks(None, cuts)], order)
    assert merged[rowstate.SHIFT] == sums[rowstate.SHIFT]
    moved = z + 0.25 * y
    e = np.exp(np.minimum(moved - sums[0], 700))
    scale = np.exp(-sums[0]) if skip else 0.0
    u, v, y = abs(e + skip * moved * scale), e + skip * scale, abs(y)
    terms = np.stack([u, u * u, u * b, w * moved**2, y * v * u, y * v * b, y * v, w * abs(moved) * y])
    assert (abs(merged - sums)[1:] <= 1e-12 * terms.sum(1) + 1e-300).all()


@given(cut_sets, orders, seeds)
def test_passes_that_add(cuts, order, seed):
    """Products, column sums, curvature, residuals, Gram: addition, checked on every pass."""
    A, x, b, w = matrix(seed, [0.0, 0.1, -0.1, 0.2])
    z, T = A @ x, A[:8].copy()
    one = reference.group(z, b, 1.0)
    data = passes.RowData(b, w, True, 1.0)
    normaliser = passes.Normaliser.of(one.alpha, 0.0, one.s)
    mu = one.v @ A / one.alpha
    made = {
        "column sums": lambda: passes.ColumnSums(data, z, normaliser),
        "transposed": lambda: passes.TransposedTimes(np.stack([b, w, z, b])),
        "hessp": lambda: passes.HessianProduct(T, T @ mu, w, b),
        "gram": lambda: passes.Gram(mu, b - w, h=z),
        "scaled gram": lambda: passes.Gram(mu, w, scale=z, centre=b),
        "curvature": lambda: passes.CurvatureRows(data, z, normaliser),
        "residual": lambda: passes.Residual(data, z, b, 0.5, one.alpha, 0.0),
    }
    for name, make in made.items():
        whole, cut = make(), make()
        rows = A if whole.reads_A else None
        wanted = whole.block(Rows(0, 400, rows))
        got = folded(cut, [cut.block(part) for part in blocks(rows, cuts)], order)
        if name == "curvature":
            got, wanted = (got, cut.D, cut.h, cut.va), (wanted, whole.D, whole.h, whole.va)
        elif not isinstance(got, tuple):
            got, wanted = (got,), (wanted,)
        for one_got, one_wanted in zip(got, wanted, strict=True):
            size = abs(one_wanted).max()
            np.testing.assert_allclose(one_got, one_wanted, rtol=1e-10, atol=1e-11 * size, err_msg=name)


@given(cut_sets)
def test_rows_are_written_where_they_belong(cuts):
    rng = np.random.default_rng(0)
    A, z = rng.standard_normal((400, 4)), rng.standard_normal(400)
    T = rng.standard_normal((2, 4))
    products, fitted = passes.Times(T, 400), passes.Map(z, 1.0, np.array([2.0]), np.array([0.5]))
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
