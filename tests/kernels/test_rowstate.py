"""kernels/rowstate.py against the formulas of MATH 1 and 3 in extended precision (50-digit mpmath) and
against central differences in the step length."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from fastsoftres.kernels import rowstate

SKIPS = [0.0, 1.0, 0.3]
NONE = np.zeros(0)
SIZES = [1, 2, 255, 256, 257, 1000]


def random_rows(rng, n):
    """z, y, b, w."""
    return rng.standard_normal(n), rng.standard_normal(n), reference.target(rng, n), rng.exponential(size=n)


class Line(NamedTuple):
    """What ``line_rows`` writes."""

    alpha: np.ndarray
    shift: np.ndarray
    s: np.ndarray
    totals: np.ndarray
    open_sums: np.ndarray


def line_rows(z, y, eta, b, w, skip, ptr, *, base=0, kl=False, weight=None):
    """All outputs of ``line_rows``, filled with nan before it runs."""
    g = ptr.size - 1
    out = Line(*(np.full(shape, np.nan) for shape in (g, g, g, 2, (2, rowstate.N_LINE))))
    w, weight = NONE if w is None else w, NONE if weight is None else weight
    rowstate.line_rows(z, y, eta, b, w, weight, ptr, base, skip, kl, *out)
    return out


def line(z, y, eta, b, w, skip, kl=False):
    """The open sums of a chunk that lies inside one group."""
    out = line_rows(z, y, eta, b, w, skip, np.array([0, z.size + 1]), kl=kl)
    assert np.isnan(out.alpha).all()
    assert np.isnan(out.open_sums[0]).all()
    np.testing.assert_array_equal(out.totals, 0)
    return out.open_sums[1]


def plain_line(z, y, b, w, skip, shift, kl=False):
    """The sums of a chunk at z, and the sums of the absolute values of their terms."""
    e, scale = np.exp(z - shift), math.exp(-shift) if skip else 0.0
    u, v = e + skip * z * scale, e + skip * scale
    none = 0 * z
    if kl:
        terms = np.stack([e, b, b * z, none, w * z * z, none, y * b, y * e, w * z * y])
    else:
        terms = np.stack([u, u * u, u * b, b * b, w * z * z, y * v * u, y * v * b, y * v, w * z * y])
    return terms.sum(1), abs(terms).sum(1)


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_line_sums(n, ridged, skip, rng):
    z, y, b, w = random_rows(rng, n)
    sums = line(z, y, 0.7, b, w if ridged else None, skip)
    wanted, sizes = plain_line(z + 0.7 * y, y, b, w * ridged, skip, 0.0)
    assert sums[rowstate.SHIFT] == 0
    assert (abs(sums[1:] - wanted) <= 1e-14 * sizes).all()
    if skip == 0:
        sums = line(z, y, 0.7, b, w if ridged else None, skip, kl=True)
        wanted, sizes = plain_line(z + 0.7 * y, y, b, w * ridged, skip, 0.0, kl=True)
        assert (abs(sums[1:] - wanted) <= 1e-14 * sizes).all()


@pytest.mark.parametrize(("kl", "skip"), [*((False, skip) for skip in SKIPS), (True, 0.0)])
@pytest.mark.parametrize("top", [-900.0, -70.0, 70.0, 900.0])
def test_line_sums_shift_with_the_largest_term(top, kl, skip, rng):
    """The largest term sits in the last of three blocks, so the sums so far are rescaled."""
    n = 700
    z, y = top - rng.uniform(1, 50, n), rng.standard_normal(n)
    z[-1], y[-1] = top, 0.0
    b = reference.target(rng, n)
    sums = line(z, y, 0.5, b, None, skip, kl)
    if skip == 0 or top > 0:
        assert sums[rowstate.SHIFT] == top
    else:
        assert sums[rowstate.SHIFT] == 0
    wanted, sizes = plain_line(z + 0.5 * y, y, b, 0 * z, skip, sums[rowstate.SHIFT], kl)
    assert (abs(sums[1:] - wanted) <= 1e-13 * sizes).all()


@pytest.mark.parametrize(("kl", "skip"), [*((False, skip) for skip in SKIPS), (True, 0.0)])
def test_finished_line_is_the_loss_and_its_slope(kl, skip, rng):
    """The loss by the formulas, the slope by a central difference of it."""
    n, weight = 400, 1.7
    z, y, b, w = random_rows(rng, n)

    def finished(eta):
        answer = np.full(7, np.nan)
        rowstate.finish_line(line(z, y, eta, b, w, skip, kl), kl, weight, answer)
        return answer

    alpha, shift, s, loss, slope, size, data_loss = finished(0.3)
    moved = z + 0.3 * y
    one = reference.group(moved, b, skip, kl=kl)
    assert alpha * math.exp(shift) == pytest.approx(one.alpha, rel=1e-13, abs=0)
    assert s == pytest.approx(one.s, rel=1e-12, abs=0)
    assert data_loss == pytest.approx(weight * one.loss, rel=1e-12, abs=0)
    assert loss == pytest.approx(weight * (one.loss + moved @ (w * moved) / 2), rel=1e-13, abs=0)
    assert size == (0 if kl else pytest.approx(weight * max(b @ b, one.f @ one.f) / 2, rel=1e-13, abs=0))
    step = 1e-5
    difference = (finished(0.3 + step)[3] - finished(0.3 - step)[3]) / (2 * step)
    assert slope == pytest.approx(difference, rel=1e-7, abs=0)


@pytest.mark.parametrize("kl", [False, True])
def test_rescale_line_raises_the_shift(kl, rng):
    z, y, b, w = rng.standard_normal((4, 50))
    skip = 0.0 if kl else 1.0
    moved = line(z, y, 0.0, b, abs(w), skip, kl)
    rowstate.rescale_line(moved, kl, 3.0)
    wanted, sizes = plain_line(z, y, b, abs(w), skip, 3.0, kl)
    assert moved[rowstate.SHIFT] == 3.0
    assert (abs(moved[1:] - wanted) <= 1e-14 * sizes).all()


def test_rescale_line_of_nothing():
    sums = np.zeros(rowstate.N_LINE)
    sums[rowstate.SHIFT] = -np.inf
    rowstate.rescale_line(sums, False, -800.0)
    np.testing.assert_array_equal(sums, [-800, *[0] * 9])


@pytest.mark.parametrize(("kl", "skip"), [(False, 0.0), (False, 1.0), (True, 0.0)])
@pytest.mark.parametrize("cut", [1, 100, 256, 599])
@pytest.mark.parametrize("lift", [0.0, 300.0, -300.0])
def test_merged_lines_are_one_pass(lift, cut, kl, skip, rng):
    """Whichever of two slices has the larger shift."""
    z, y, b, w = random_rows(rng, 600)
    z[:cut] += lift
    sums = line(z, y, 0.5, b, w, skip, kl)
    merged = line(z[:cut], y[:cut], 0.5, b[:cut], w[:cut], skip, kl)
    rowstate.merge_line(merged, line(z[cut:], y[cut:], 0.5, b[cut:], w[cut:], skip, kl), kl)
    assert merged[rowstate.SHIFT] == sums[rowstate.SHIFT]
    _, sizes = plain_line(z + 0.5 * y, y, b, w, skip, sums[rowstate.SHIFT], kl)
    assert (abs(merged - sums)[1:] <= 1e-13 * sizes).all()


def residuals_exact(z, y, eta, b, skip):
    """½<c, c>, <c, f> and alpha with 50 digits."""
    with mpmath.workdps(50):
        z, y, eta, b, skip = (reference._mp_number(a) for a in (z, y, eta, b, skip))
        one = reference.group(z + eta * y, b, skip)
        c = one.f - b
        return [float((c * c).sum() / 2), float((c * one.f).sum())], one.alpha


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_residuals(shift, skip, rng):
    z, y, b = rng.standard_normal(300), rng.standard_normal(300), reference.target(rng, 300)
    wanted, alpha = residuals_exact(z, y, 0.25, b, skip)
    sums = np.full(2, np.nan)
    z, y, b = (np.concatenate([np.full(7, np.nan), a, np.full(2, np.nan)]) for a in (z, y, b))
    alpha = float(alpha * mpmath.exp(-shift))
    rowstate.residual_rows(z, y, 0.25, 7, 307, b, skip, shift, alpha, sums)  # of rows 7 to 306 only
    np.testing.assert_allclose(sums, wanted, rtol=1e-12)


@pytest.mark.parametrize("skip", SKIPS)
def test_residuals_do_not_cancel_near_a_zero_residual(skip, rng):
    """b = f up to 1e-9: <c, c> = <f, f> - 2<f, b> + <b, b> would have no digit left, c itself has seven."""
    z = rng.standard_normal(300)
    one = reference.group(z, 0 * z, skip)
    b = one.f + 1e-9 * rng.standard_normal(300) / 300
    wanted, alpha = residuals_exact(z, 0 * z, 0.0, b, skip)
    sums = np.empty(2)
    rowstate.residual_rows(z, z, 0.0, 0, 300, b, skip, 0.0, float(alpha), sums)
    assert sums[0] == pytest.approx(wanted[0], rel=1e-5, abs=0)
    expanded = (one.f @ one.f - 2 * one.f @ b + b @ b) / 2
    assert abs(expanded - wanted[0]) > 100 * abs(sums[0] - wanted[0])


@pytest.mark.parametrize(("kl", "skip"), [*((False, skip) for skip in SKIPS), (True, 0.0)])
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_line_of_groups(weighted, ridged, kl, skip, rng):
    """Short groups, and longer ones of several blocks."""
    ptr = np.concatenate([[0], np.cumsum([*rng.integers(1, 11, 80), 700, 256, 1, 257, 4])])
    n, g = ptr[-1], ptr.size - 1
    z, y, b, w = rng.standard_normal(n), rng.standard_normal(n), rng.uniform(0, 1, n), rng.exponential(size=n)
    z, eta = np.maximum(z, -0.2), 0.1
    weight = rng.exponential(size=g) if weighted else np.ones(g)
    got = line_rows(
        z, y, eta, b, w if ridged else None, skip, ptr, kl=kl, weight=weight if weighted else None
    )
    moved, each = z + eta * y, np.repeat(weight, np.diff(ptr)) * w * ridged
    loss, slope = moved @ (each * moved) / 2, moved @ (each * y)
    for k in range(g):
        rows = slice(ptr[k], ptr[k + 1])
        one = reference.group(moved[rows], b[rows], skip, kl=kl)
        assert got.alpha[k] == pytest.approx(one.alpha, rel=1e-12, abs=0)
        assert got.s[k] == pytest.approx(one.s, rel=1e-10, abs=1e-13)
        loss, slope = loss + weight[k] * one.loss, slope + weight[k] * one.grad_z @ y[rows]
    assert (got.shift == 0).all()
    np.testing.assert_allclose(got.totals, [loss, slope], rtol=1e-11)
    assert np.isnan(got.open_sums).all()


@pytest.mark.parametrize("kl", [False, True])
@pytest.mark.parametrize(("first", "last"), [(200, 345), (3, 2), (0, 500), (300, 0)])
def test_groups_cut_by_a_chunk_leave_their_sums_open(first, last, kl, rng):
    """``first`` rows are of a group that began before the chunk, ``last`` of one that ends after it."""
    skip = 0.0 if kl else 0.3
    inner = np.cumsum([0, 4, 1, 300, 9])
    n = first + inner[-1] + last
    base = 1000
    whole_ptr = base + first + inner
    ptr = np.array([*[base - 5] * (first > 0), *whole_ptr, *[base + n + 9] * (last > 0)])
    z, y, b, w = random_rows(rng, n)
    z = np.maximum(z, -0.2)
    weight = rng.exponential(size=ptr.size - 1)
    got = line_rows(z, y, 0.1, b, w, skip, ptr, base=base, kl=kl, weight=weight)
    for slot, rows, cut in [(0, slice(0, first), first), (1, slice(n - last, n), last)]:
        if not cut:
            assert np.isnan(got.open_sums[slot]).all()
            continue
        sums = got.open_sums[slot]
        wanted, sizes = plain_line(z[rows] + 0.1 * y[rows], y[rows], b[rows], w[rows], skip, sums[0], kl)
        assert (abs(sums[1:] - wanted) <= 1e-14 * sizes).all()
    inside = slice(first, n - last)
    groups = slice(int(first > 0), ptr.size - 1 - int(last > 0))
    alone = line_rows(
        z[inside], y[inside], 0.1, b[inside], w[inside], skip, inner, kl=kl, weight=weight[groups]
    )
    for one, other in zip(got[:3], alone[:3], strict=True):
        np.testing.assert_array_equal(one[groups], other)
    np.testing.assert_array_equal(got.totals, alone.totals)


@pytest.mark.parametrize("kl", [False, True])
def test_line_of_groups_shifts_each_on_its_own(kl):
    z = np.array([-1000.0, -1001.0, 0.0, 1.0, 900.0, -900.0])
    b = np.array([0.6, 0.4, 0.5, 0.5, 1.0, 0.0] if kl else [0.6, 0.4, 0.5, 0.5, 0.5, 0.5])
    got = line_rows(z, np.zeros(6), 1.0, b, None, 0.0, np.array([0, 2, 4, 6]), kl=kl)
    np.testing.assert_array_equal(got.shift, [-1000, 0, 900])
    f = special.softmax(z.reshape(3, 2), axis=1).reshape(-1)
    s = b if kl else (f - b) * f
    loss = -special.xlogy(b, f) if kl else (f - b) ** 2 / 2
    np.testing.assert_allclose(got.s, s.reshape(3, 2).sum(1), rtol=1e-13)
    np.testing.assert_allclose(got.totals, [loss.sum(), 0], rtol=1e-13)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [1, 100, 450])
def test_nonfinite_z_is_never_hidden(row, bad, rng):
    ptr = np.array([0, 3, 6, 440, 460])
    z, y, b, _ = random_rows(rng, 460)
    z[row] = bad
    for kl in (False, True):
        totals = line_rows(z, y, 0.5, b, None, 0.0, ptr, kl=kl).totals
        assert not np.isfinite(totals[0])


def curvature(z, b, w, skip, ptr, alpha, shift, s, *, base=0, kl=False, weight=None):
    """D, h, v/alpha and kappa, filled with nan before."""
    D, h, va = (np.full(z.size, np.nan) for _ in range(3))
    kappa = np.full(ptr.size - 1, np.nan)
    w, weight = NONE if w is None else w, NONE if weight is None else weight
    rowstate.curvature(z, b, w, weight, ptr, base, skip, kl, alpha, shift, s, D, h, va, kappa)
    return D, h, va, kappa


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize("shift", [0.0, -1.25])
def test_curvature(shift, ridged, skip, rng):
    """D, h and kappa_0 of MATH 3 with 50 digits, two groups and their hats."""
    z, b, w = rng.standard_normal(90), reference.target(rng, 90), rng.exponential(size=90)
    ptr = np.array([0, 60, 90])
    with mpmath.workdps(50):
        lam = mpmath.mpf(skip)
        wanted, kappas, alphas, ss = [], [], [], []
        for i, j in [(0, 60), (60, 90)]:
            zs, bs, ws = (reference._mp_number(a[i:j]) for a in (z, b, w * ridged))
            one = reference.group(zs, bs, lam)
            q = one.f - bs - one.s
            h = lam * (one.v * (1 - zs) / one.alpha**2 - q / one.alpha) + ws
            kappas.append(
                (lam**2 * ((1 - zs) ** 2).sum() / one.alpha**2 - (one.e * q).sum() / one.alpha)
                - 2 * lam * q.sum() / one.alpha + ws.sum()
            )  # fmt: skip
            wanted.append(np.stack([one.D + ws, h, one.v / one.alpha]))
            alphas.append(float(one.alpha * mpmath.exp(-shift)))
            ss.append(float(one.s))
        wanted = np.concatenate(wanted, axis=1).astype(float)
        kappas = np.array(kappas).astype(float)
    *rows, kappa = curvature(
        z, b, w if ridged else None, skip, ptr, np.array(alphas), np.full(2, shift), np.array(ss)
    )
    for got, row in zip(rows, wanted, strict=True):
        np.testing.assert_allclose(got, row, rtol=1e-12, atol=1e-14 * abs(row).max())
    np.testing.assert_allclose(kappa, kappas, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(("kl", "skip"), [(False, 1.0), (True, 0.0)])
@pytest.mark.parametrize("weighted", [False, True])
def test_curvature_is_the_hessian_in_z(weighted, kl, skip, rng):
    """D, h, v/alpha and kappa, about each group's mean, give H_z by its definition; groups short and long."""
    ptr = np.concatenate([[0], np.cumsum([1, 2, 5, 300, 3, 1, 260])])
    n, g = ptr[-1], ptr.size - 1
    z, b, w = rng.standard_normal(n), rng.uniform(0, 1, n), rng.exponential(size=n)
    z, weight = np.maximum(z, -0.3), rng.exponential(size=g)
    groups = [reference.group(z[i:j], b[i:j], skip, kl=kl) for i, j in itertools.pairwise(ptr)]
    alpha, s = np.array([one.alpha for one in groups]), np.array([one.s for one in groups])
    D, h, va, kappa = curvature(
        z, b, w, skip, ptr, alpha, np.zeros(g), s, kl=kl, weight=weight if weighted else None
    )
    for k, one in enumerate(groups):
        rows = slice(ptr[k], ptr[k + 1])
        wanted = np.diag(one.D + w[rows]) - np.outer(one.p, one.v) - np.outer(one.v, one.p)
        wanted *= weight[k] if weighted else 1.0
        centred = np.eye(one.v.size) - va[rows]  # rows less their mean, for A = I
        cross = np.outer(centred.T @ h[rows], va[rows])
        got = centred.T @ (D[rows, None] * centred) + cross + cross.T
        got += kappa[k] * np.outer(va[rows], va[rows])
        np.testing.assert_allclose(got, wanted, atol=1e-13 * (1 + abs(wanted).max()))


@pytest.mark.parametrize(("kl", "skip"), [(False, 1.0), (True, 0.0)])
def test_curvature_of_slices_adds_to_the_whole(kl, skip, rng):
    """Chunks that cut groups anywhere: the same row vectors, kappas that add."""
    ptr = np.array([0, 260, 500, 503])
    z, b, w = rng.standard_normal(503), rng.uniform(0, 1, 503), rng.exponential(size=503)
    groups = [reference.group(z[i:j], b[i:j], skip, kl=kl) for i, j in itertools.pairwise(ptr)]
    alpha, s = np.array([one.alpha for one in groups]), np.array([one.s for one in groups])
    shift, weight = np.zeros(3), np.array([0.5, 3.0, 1.0])
    D, h, va, kappa = curvature(z, b, w, skip, ptr, alpha, shift, s, kl=kl, weight=weight)
    total = np.zeros(3)
    for i, j in itertools.pairwise([0, 3, 255, 400, 502, 503]):
        first, last = np.searchsorted(ptr, i, side="right") - 1, np.searchsorted(ptr, j)
        here = slice(first, last)
        part = curvature(
            z[i:j], b[i:j], w[i:j], skip, ptr[first : last + 1], alpha[here], shift[here], s[here],
            base=i, kl=kl, weight=weight[here],
        )  # fmt: skip
        for got, row in zip(part[:3], (D, h, va), strict=True):
            np.testing.assert_allclose(got, row[i:j], rtol=1e-15, atol=1e-18)
        total[here] += part[3]
    np.testing.assert_allclose(total, kappa, rtol=1e-12)


@pytest.mark.parametrize("n", [5, 12, 1000])
@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize(("kl", "skip"), [(False, 1.0), (True, 0.0)])
@pytest.mark.parametrize("ends", [(0, 0), (4, 4), (3, 0)])
def test_where_the_arrays_lie_changes_no_bit(ends, kl, skip, ridged, n, rng):
    """Loops that write beside what they read come in two versions; sums must be the same in both.

    One group of all rows, two that are cut, and short whole ones.
    """
    z, y, b, w = random_rows(rng, n)
    before, after = ends
    ptr = (
        np.append(np.arange(0, n, before), n)
        if not after and before
        else np.array([-before, n // 2, n + after])
    )
    g = ptr.size - 1
    one = reference.group(z, b, skip, kl=kl)
    alpha, shift, s = np.full(g, one.alpha), np.zeros(g), np.full(g, one.s)
    outputs = [np.ones(size) for size in (n, n, n, g, (2, rowstate.N_LINE), g, g, g, 2)]
    seen = set()
    for arrays in reference.placements(rng, [z, y, b, w, np.full(g, 1.5), *outputs]):
        z, y, b, w, weight, D, h, va, kappa, sums, alphas, shifts, ss, totals = arrays
        wr = w if ridged else NONE
        rowstate.curvature(z, b, wr, weight, ptr, 0, skip, kl, alpha, shift, s, D, h, va, kappa)
        rowstate.line_rows(z, y, 0.5, b, wr, weight, ptr, 0, skip, kl, alphas, shifts, ss, totals, sums)
        seen.add(b"".join(a.tobytes() for a in arrays))
    assert len(seen) == 1


@pytest.mark.parametrize("skip", SKIPS)
def test_map_rows(skip, rng):
    """f = u/alpha, also written over z, and in chunks that cut groups."""
    z, ptr = rng.standard_normal(100), np.array([0, 1, 40, 100])
    u = np.exp(z) + skip * z
    alpha = np.add.reduceat(u, ptr[:-1])
    shift = np.array([0.0, 2.0, -1.0])
    hats = alpha * np.exp(-shift)
    f = np.full(100, np.nan)
    rowstate.map_rows(z, skip, ptr, 0, hats, shift, f)
    np.testing.assert_allclose(f, u / np.repeat(alpha, np.diff(ptr)), rtol=1e-14, atol=1e-16)
    part = np.full(37, np.nan)
    rowstate.map_rows(z[23:60], skip, ptr[1:], 23, hats[1:], shift[1:], part)
    np.testing.assert_array_equal(part, f[23:60])
    rowstate.map_rows(z, skip, ptr, 0, hats, shift, z)
    np.testing.assert_array_equal(z, f)


@given(
    st.lists(st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=12), min_size=1, max_size=6),
    st.sampled_from([0.0, 1e-3, 1.0, 50.0]),
)
def test_normalised_groups_sum_to_one(groups, skip):
    """Whatever finite z: f sums to 1, and where skip = 0 it is SciPy's softmax."""
    z = np.concatenate([np.array(g) for g in groups])
    ptr = np.concatenate([[0], np.cumsum([len(g) for g in groups])])
    alpha, shift, f = np.empty(len(groups)), np.empty(len(groups)), np.empty(z.size)
    rowstate.normalisers(z, skip, ptr, alpha, shift)
    assert np.isfinite(alpha).all()
    assert np.isfinite(shift).all()
    if (alpha == 0).any():
        return  # u of both signs that cancel: no f
    rowstate.map_rows(z, skip, ptr, 0, alpha, shift, f)
    for k, g in enumerate(groups):
        part = f[ptr[k] : ptr[k + 1]]
        assert abs(part.sum() - 1) <= 1e-13 * abs(part).sum()
        if skip == 0:
            with np.errstate(over="ignore"):
                np.testing.assert_allclose(part, special.softmax(g), rtol=1e-13, atol=1e-300)


@given(
    n=st.integers(1, 300),
    given_=st.booleans(),
    bad=st.sampled_from([0.0, np.nan, np.inf]),
    seed=st.integers(0, 99),
)
def test_change(n, given_, bad, seed):
    rng = np.random.default_rng(seed)
    before, y = rng.standard_normal((2, n)) * 10.0 ** rng.integers(-9, 9)
    y[rng.integers(n)] += bad
    z, out = (np.empty(0), y.copy()) if given_ else (before + y, np.full(n, np.nan))
    largest, squares, size = rowstate.change(z, before, out)
    wanted = y if given_ else z - before
    np.testing.assert_array_equal(out, wanted)
    assert size == np.abs(before).max()
    np.testing.assert_allclose(squares, np.sum(wanted * wanted), rtol=1e-12)
    np.testing.assert_array_equal(largest, np.abs(wanted).max())
