"""kernels/rowstate.py against the formulas of MATH 1 and 3 in extended precision (50-digit mpmath) and
against central differences in the step length."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from fastsoftres.kernels import rowstate

SKIPS = [0.0, 1.0, 0.3]
NO_W = np.zeros(0)
SIZES = [1, 2, 255, 256, 257, 1000]


def random_rows(rng, n):
    """z, y, b, w."""
    return rng.standard_normal(n), rng.standard_normal(n), reference.target(rng, n), rng.exponential(size=n)


def line(z, y, eta, b, w, skip):
    sums = np.full(rowstate.N_LINE, np.nan)
    rowstate.line_slice(z, y, eta, b, NO_W if w is None else w, w is not None, skip, sums)
    return sums


def plain_line(z, y, b, w, skip, shift):
    """The sums of ``line_slice`` at z, and the sums of the absolute values of their terms."""
    e, scale = np.exp(z - shift), math.exp(-shift) if skip else 0.0
    u, v = e + skip * z * scale, e + skip * scale
    terms = np.stack([u, u * u, u * b, w * z * z, y * v * u, y * v * b, y * v, w * z * y])
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


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("top", [-900.0, -70.0, 70.0, 900.0])
def test_line_sums_shift_with_the_largest_term(top, skip, rng):
    """The largest term sits in the last of three blocks, so the sums so far are rescaled."""
    n = 700
    z, y = top - rng.uniform(1, 50, n), rng.standard_normal(n)
    z[-1], y[-1] = top, 0.0
    b = reference.target(rng, n)
    sums = line(z, y, 0.5, b, None, skip)
    if skip == 0 or top > 0:
        assert sums[rowstate.SHIFT] == top
    else:
        assert sums[rowstate.SHIFT] == 0
    wanted, sizes = plain_line(z + 0.5 * y, y, b, 0 * z, skip, sums[rowstate.SHIFT])
    assert (abs(sums[1:] - wanted) <= 1e-13 * sizes).all()


@pytest.mark.parametrize("skip", SKIPS)
def test_line_sums_give_the_slope(skip, rng):
    """(sum y v u / alpha - sum y v b - s sum y v) / alpha is dL/d(eta), by a central difference of L."""
    n = 400
    z, y, b, w = random_rows(rng, n)

    def loss(eta):
        _, su, suu, sub, swz, *rest = line(z, y, eta, b, w, skip)
        s = suu / su**2 - sub / su
        slope = (rest[0] / su - rest[1] - s * rest[2]) / su + rest[3]
        return (suu / su**2 - 2 * sub / su + b @ b + swz) / 2, slope

    step = 1e-5
    difference = (loss(0.3 + step)[0] - loss(0.3 - step)[0]) / (2 * step)
    assert loss(0.3)[1] == pytest.approx(difference, rel=1e-7, abs=0)


def test_rescale_line_raises_the_shift(rng):
    z, y, b, w = rng.standard_normal((4, 50))
    sums = line(z, y, 0.0, b, abs(w), 1.0)
    moved = sums.copy()
    rowstate.rescale_line(moved, 3.0)
    s = math.exp(-3.0)
    np.testing.assert_allclose(moved, [3.0, *(sums[1:] * [s, s * s, s, 1, s * s, s, s, 1])], rtol=1e-15)


def test_rescale_line_of_nothing():
    sums = np.zeros(rowstate.N_LINE)
    sums[rowstate.SHIFT] = -np.inf
    rowstate.rescale_line(sums, -800.0)
    np.testing.assert_array_equal(sums, [-800, *[0] * 8])


def residuals_exact(z, y, eta, b, skip):
    """<c, c>, <c, f>, <f, f> and alpha with 50 digits."""
    with mpmath.workdps(50):
        z, y, eta, b, skip = (reference._mp_number(a) for a in (z, y, eta, b, skip))
        one = reference.group(z + eta * y, b, skip)
        c = one.f - b
        return [float((p * q).sum()) for p, q in ((c, c), (c, one.f), (one.f, one.f))], one.alpha


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_residuals(shift, skip, rng):
    z, y, b = rng.standard_normal(300), rng.standard_normal(300), reference.target(rng, 300)
    wanted, alpha = residuals_exact(z, y, 0.25, b, skip)
    sums = np.full(3, np.nan)
    rowstate.residual_slice(z, y, 0.25, b, skip, shift, float(alpha * mpmath.exp(-shift)), sums)
    np.testing.assert_allclose(sums, wanted, rtol=1e-12)


@pytest.mark.parametrize("skip", SKIPS)
def test_residuals_do_not_cancel_near_a_zero_residual(skip, rng):
    """b = f up to 1e-9: <c, c> = <f, f> - 2<f, b> + <b, b> would have no digit left, c itself has seven."""
    z = rng.standard_normal(300)
    one = reference.group(z, 0 * z, skip)
    b = one.f + 1e-9 * rng.standard_normal(300) / 300
    wanted, alpha = residuals_exact(z, 0 * z, 0.0, b, skip)
    sums = np.empty(3)
    rowstate.residual_slice(z, z, 0.0, b, skip, 0.0, float(alpha), sums)
    assert sums[0] == pytest.approx(wanted[0], rel=1e-5, abs=0)
    expanded = one.f @ one.f - 2 * one.f @ b + b @ b
    assert abs(expanded - wanted[0]) > 100 * abs(sums[0] - wanted[0])


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("ridged", [False, True])
def test_line_groups(ridged, skip, rng):
    ptr = np.concatenate([[0], np.cumsum([*rng.integers(1, 11, 80), 700])])
    n, g = ptr[-1], ptr.size - 1
    z, y, b, w = rng.standard_normal(n), rng.standard_normal(n), rng.uniform(0, 1, n), rng.exponential(size=n)
    z = np.maximum(z, -0.2)
    alpha, shift, s, totals = (np.full(size, np.nan) for size in (g, g, g, 2))
    eta = 0.1
    rowstate.line_groups(z, y, eta, b, w if ridged else NO_W, ridged, skip, ptr, alpha, shift, s, totals)
    moved = z + eta * y
    loss, slope = (moved @ (w * moved) / 2, moved @ (w * y)) if ridged else (0.0, 0.0)
    for k in range(g):
        rows = slice(ptr[k], ptr[k + 1])
        one = reference.group(moved[rows], b[rows], skip)
        assert alpha[k] == pytest.approx(one.alpha, rel=1e-12, abs=0)
        assert s[k] == pytest.approx(one.s, rel=1e-10, abs=1e-13)
        loss, slope = loss + one.loss, slope + one.grad_z @ y[rows]
    assert (shift == 0).all()
    np.testing.assert_allclose(totals, [loss, slope], rtol=1e-11)


def test_line_groups_shift_each_on_its_own():
    z = np.array([-1000.0, -1001.0, 0.0, 1.0, 900.0, -900.0])
    b = np.array([0.6, 0.4, 0.5, 0.5, 0.5, 0.5])
    ptr = np.array([0, 2, 4, 6])
    alpha, shift, s, totals = np.empty(3), np.empty(3), np.empty(3), np.empty(2)
    rowstate.line_groups(z, np.zeros(6), 1.0, b, NO_W, False, 0.0, ptr, alpha, shift, s, totals)
    np.testing.assert_array_equal(shift, [-1000, 0, 900])
    f = special.softmax(z.reshape(3, 2), axis=1).reshape(-1)
    np.testing.assert_allclose(s, ((f - b) * f).reshape(3, 2).sum(1), rtol=1e-13)
    np.testing.assert_allclose(totals, [((f - b) ** 2).sum() / 2, 0], rtol=1e-13)


def curvature(z, b, w, skip, ptr, alpha, shift, s):
    """D, h, v/alpha and kappa, filled with nan before."""
    D, h, va = (np.full(z.size, np.nan) for _ in range(3))
    kappa = np.full(ptr.size - 1, np.nan)
    ridged = w is not None
    rowstate.curvature(z, b, w if ridged else NO_W, ridged, skip, ptr, alpha, shift, s, D, h, va, kappa)
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


def test_curvature_of_slices_adds_to_the_whole(rng):
    """Slices of one group: the same row vectors, kappas that add."""
    z, b = rng.standard_normal(500), reference.target(rng, 500)
    one = reference.group(z, b, 1.0)
    alpha, shift, s = np.array([one.alpha]), np.zeros(1), np.array([one.s])
    D, h, va, kappa = curvature(z, b, None, 1.0, np.array([0, 500]), alpha, shift, s)
    total = 0.0
    for i, j in [(0, 3), (3, 400), (400, 500)]:
        part = curvature(z[i:j], b[i:j], None, 1.0, np.array([0, j - i]), alpha, shift, s)
        for got, row in zip(part[:3], (D, h, va), strict=True):
            np.testing.assert_allclose(got, row[i:j], rtol=1e-15, atol=1e-18)
        total += part[3][0]
    assert total == pytest.approx(kappa[0], rel=1e-12, abs=0)


@pytest.mark.parametrize("n", [5, 12, 1000])
@pytest.mark.parametrize("ridged", [False, True])
def test_where_the_arrays_lie_changes_no_bit(ridged, n, rng):
    """Loops that write beside what they read come in two versions; sums must be the same in both."""
    z, y, b, w = random_rows(rng, n)
    one = reference.group(z, b, 1.0)
    ptr, alpha, shift, s = np.array([0, n]), np.array([one.alpha]), np.zeros(1), np.array([one.s])
    outputs = [np.empty(size) for size in (n, n, n, 1, rowstate.N_LINE, 1, 1, 1, 2)]
    seen = set()
    for arrays in reference.placements(rng, [z, y, b, w, *outputs]):
        z, y, b, w, D, h, va, kappa, sums, alphas, shifts, ss, totals = arrays
        rowstate.curvature(z, b, w, ridged, 1.0, ptr, alpha, shift, s, D, h, va, kappa)
        rowstate.line_slice(z, y, 0.5, b, w, ridged, 1.0, sums)
        rowstate.line_groups(z, y, 0.5, b, w, ridged, 1.0, ptr, alphas, shifts, ss, totals)
        seen.add(b"".join(a.tobytes() for a in arrays))
    assert len(seen) == 1


@pytest.mark.parametrize("skip", SKIPS)
def test_map_groups(skip, rng):
    """f = u/alpha, also written over z."""
    z, ptr = rng.standard_normal(100), np.array([0, 1, 40, 100])
    u = np.exp(z) + skip * z
    alpha = np.add.reduceat(u, ptr[:-1])
    shift = np.array([0.0, 2.0, -1.0])
    f = np.full(100, np.nan)
    rowstate.map_groups(z, skip, ptr, alpha * np.exp(-shift), shift, f)
    np.testing.assert_allclose(f, u / np.repeat(alpha, np.diff(ptr)), rtol=1e-14, atol=1e-16)
    rowstate.map_groups(z, skip, ptr, alpha * np.exp(-shift), shift, z)
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
    rowstate.map_groups(z, skip, ptr, alpha, shift, f)
    for k, g in enumerate(groups):
        part = f[ptr[k] : ptr[k + 1]]
        assert abs(part.sum() - 1) <= 1e-13 * abs(part).sum()
        if skip == 0:
            with np.errstate(over="ignore"):
                np.testing.assert_allclose(part, special.softmax(g), rtol=1e-13, atol=1e-300)
