"""kernels/targets.py and kernels/sample.py against NumPy: products exactly, in small integers, the map
by its formulas."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from fastsoftres.kernels import gram, sample, simd, targets
from fastsoftres.kernels._jit import kernel

DTYPES = [np.float64, np.float32]
NO_MASK, NO_LENGTHS, NONE = np.empty((0, 0), bool), np.empty(0, np.intp), np.empty(0)


def tile_rows(d):
    """d padded to whole tiles."""
    return -(-d // simd.GRAM_MR) * simd.GRAM_MR


def wide(T):
    """T (d, m) as the kernels take it."""
    out = np.zeros((tile_rows(T.shape[0]), targets.width(T.shape[1])))
    out[: T.shape[0], : T.shape[1]] = T
    return out


def padded(values, fill):
    """(m,) to (width,)."""
    out = np.full(targets.width(values.size), fill)
    out[: values.size] = values
    return out


def step(A, X, B, Z=None, offset=NONE, mask=NO_MASK, lengths=NO_LENGTHS, base=0, w=NONE, skip=1.0, kl=False):
    """Z and the sums of ``step_rows``; without Z afresh."""
    fresh = Z is None
    Z = np.full((A.shape[0], targets.width(B.shape[1])), np.nan) if fresh else Z.copy()
    sums = np.full((targets.N_SUMS, Z.shape[1]), np.nan)
    targets.step_rows(A, wide(X), fresh, offset, B, mask, lengths, base, w, skip, kl, Z, sums)
    return Z, sums[:, : B.shape[1]]


def gradients(
    A, Z, B, alpha, s, scales=2, mask=NO_MASK, lengths=NO_LENGTHS, base=0, w=NONE, skip=1.0, kl=False
):
    """G (1 + scales, d, m) and what is exact."""
    G = np.full((1 + scales, tile_rows(A.shape[1]), Z.shape[1]), np.nan)
    exact = np.full((targets.N_EXACT, Z.shape[1]), np.nan)
    alpha, s = padded(alpha, 1.0), padded(s, 0.0)
    targets.gradient_rows(A, Z, B, mask, lengths, base, w, skip, kl, alpha, s, True, G, exact)
    return G[:, : A.shape[1], : B.shape[1]], exact[:, : B.shape[1]]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_product_tile_adds_a_product(count, transposed, rng):
    width = simd.gram_columns(np.float64)
    left = rng.integers(-3, 4, 2000) * 1.0
    right, out = rng.integers(-3, 4, 70 * (width + 3)) * 1.0, rng.integers(-3, 4, 12 * (width + 5)) * 1.0
    along, across = (1, 71) if transposed else (71 % 23, 1)
    wanted = out.copy()
    arguments = (left, 3, along, across, right, 2, width + 3, count)
    simd.REFERENCES["product_tile"](*arguments, wanted, 4, width + 5, left.ctypes.data)
    call_tile(arguments, out, width + 5)
    np.testing.assert_array_equal(out, wanted)


def call_tile(arguments, out, ldo):
    """``simd.product_tile`` through a compiled function."""
    _tile(*arguments, out, 4, ldo, arguments[0].ctypes.data)


@kernel
def _tile(left, lo, along, across, right, ro, ldr, count, out, oo, ldo, ahead):
    simd.product_tile(left, lo, along, across, right, ro, ldr, count, out, oo, ldo, ahead)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n", "d", "m"), [(1, 1, 1), (7, 3, 2), (64, 8, 16), (65, 9, 17), (200, 33, 5), (130, 64, 40)]
)
def test_step_is_the_product_and_its_sums(n, d, m, dtype, rng):
    """Z exactly, in integers; sums of u, u² and u b, the largest move, the ridge's sum."""
    A = rng.integers(-2, 3, (n, d)).astype(dtype)
    X, T = rng.integers(-1, 2, (d, m)) / 64.0, rng.integers(-1, 2, (d, m)) / 64.0
    B, w, offset = rng.random((n, m)), rng.random(n), rng.integers(-2, 3, n) / 8.0
    for skip in (0.0, 1.0, 0.3):
        Z, _ = step(A, X, B, offset=offset, skip=skip, w=w)
        np.testing.assert_array_equal(Z[:, :m], A @ X + offset[:, None])
        Z, sums = step(A, T, B, Z=Z, skip=skip, w=w)
        z = A @ (X + T) + offset[:, None]
        np.testing.assert_array_equal(Z[:, :m], z)
        u = np.exp(z) + skip * z
        wanted = [u.sum(0), (u * u).sum(0), (u * B).sum(0), (w[:, None] * z * z).sum(0), abs(A @ T).max(0)]
        np.testing.assert_allclose(sums, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "d", "m"), [(1, 1, 1), (7, 3, 2), (64, 8, 16), (65, 9, 17), (200, 33, 5)])
def test_gradients_are_those_of_the_definition(n, d, m, dtype, rng):
    A = rng.standard_normal((n, d)).astype(dtype)
    X, B, w = 0.5 * rng.standard_normal((d, m)), rng.random((n, m)), rng.random(n)
    for skip in (0.0, 1.0):
        Z, sums = step(A, X, B, skip=skip, w=w)
        alpha = sums[0]
        s = sums[1] / alpha**2 - sums[2] / alpha
        G, exact = gradients(A, Z, B, alpha, s, skip=skip, w=w)
        for k in range(m):
            wanted = reference.plain(A, X[:, k], B[:, k], skip, row_ridge=w)
            size = wanted.terms
            assert (abs(G[0, :, k] - wanted.grad) <= 1e-13 * size).all()
            np.testing.assert_allclose(G[1, :, k], size, rtol=1e-11)
            np.testing.assert_allclose(G[2, :, k], wanted.rows, rtol=1e-9, atol=1e-13 * size.max())
            c = wanted.f - B[:, k]
            np.testing.assert_allclose(exact[:, k], [0.5 * c @ c, abs(c).max()], rtol=1e-11)
        fewer, _ = gradients(A, Z, B, alpha, s, scales=0, skip=skip, w=w)
        np.testing.assert_array_equal(fewer[0], G[0])


def test_likelihood(rng):
    """grad = A'(s f - b), the divergence from sums of b z (MATH, loss = kl)."""
    n, d, m = 90, 5, 3
    A, X, B = rng.standard_normal((n, d)), 0.5 * rng.standard_normal((d, m)), rng.random((n, m))
    Z, sums = step(A, X, B, skip=0.0, kl=True)
    z = A @ X
    f = np.exp(z) / np.exp(z).sum(0)
    np.testing.assert_allclose(sums[targets.SUM_UB], (B * z).sum(0), rtol=1e-12)
    total = B.sum(0)
    G, _ = gradients(A, Z, B, sums[0], total, skip=0.0, kl=True)
    np.testing.assert_allclose(G[0], A.T @ (total * f - B), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(G[1], abs(A).T @ (total * f + B), rtol=1e-11)


@given(st.data())
def test_rows_that_take_no_part_are_as_if_removed(data):
    """Masks and lengths, whatever stands in the rows (even where exp overflows): sums and gradients."""
    n, m, base = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 20)), data.draw(st.integers(0, 9))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    by_length = data.draw(st.booleans())
    d = 3
    A, X = rng.standard_normal((n, d)), 0.3 * rng.standard_normal((d, m))
    if by_length:
        lengths = rng.integers(base + 1, base + n + 1, m)
        live = base + np.arange(n)[:, None] < lengths
        how = {"lengths": lengths, "base": base}
    else:
        live = rng.random((n, m)) < 0.6
        live[0] = True
        how = {"mask": live}
    A[~live.any(axis=1)] = 1e6  # rows of no column
    B, w = np.where(live, rng.random((n, m)), 0.0), rng.random(n)
    Z, sums = step(A, X, B, w=w, **how)
    alpha = sums[0]
    s = sums[1] / alpha**2 - sums[2] / alpha
    G, exact = gradients(A, Z, B, alpha, s, w=w, **how)
    for k in range(m):
        rows = live[:, k]
        one = A[rows], X[:, [k]], np.ascontiguousarray(B[rows][:, [k]])
        Zk, wanted = step(*one, w=w[rows])
        np.testing.assert_allclose(sums[:, k], wanted[:, 0], rtol=1e-12)
        Gk, exact_k = gradients(one[0], Zk, one[2], alpha[[k]], s[[k]], w=w[rows])
        np.testing.assert_allclose(G[:, :, k], Gk[:, :, 0], rtol=1e-10, atol=1e-12 * abs(Gk[1]).max())
        np.testing.assert_allclose(exact[:, k], exact_k[:, 0], rtol=1e-10)


@pytest.mark.parametrize("value", [800.0, -800.0, np.inf, np.nan])
def test_a_column_out_of_range_does_not_touch_the_others(value, rng):
    n, d, m = 70, 4, 18
    A, X, B = rng.standard_normal((n, d)), 0.3 * rng.standard_normal((d, m)), rng.random((n, m))
    X[:, 5] = value
    Z, sums = step(A, X, B)
    others = np.arange(m) != 5
    _, wanted = step(A, X[:, others], np.ascontiguousarray(B[:, others]))
    np.testing.assert_array_equal(sums[:, others], wanted)
    G, _ = gradients(A, Z, B, np.ones(m), np.zeros(m))
    assert np.isfinite(G[:, :, others]).all()


def test_sums_of_targets(rng):
    B, mask = rng.random((40, 3)), rng.random((40, 3)) < 0.5
    B[~mask] = 0.0
    sums = np.empty((4, 3))
    targets.target_sums(B, mask, NO_LENGTHS, 0, True, sums)
    logs = np.where(B > 0, B * np.log(np.where(B > 0, B, 1.0)), 0.0)
    np.testing.assert_allclose(sums, [B.sum(0), (B * B).sum(0), mask.sum(0), logs.sum(0)], rtol=1e-13)


def test_draw_takes_rows_as_often_as_their_chance_says(rng):
    """Systematic sampling: counts are expected counts, rounded up or down; chunks continue each other."""
    n, m, slots = 500, 4, 60
    B = rng.exponential(size=(n, m)) ** 2
    even = 0.25
    uniform = np.full(m, slots * even / n)
    by_square = slots * (1 - even) / (B * B).sum(0)
    chance = uniform + by_square * B * B
    phase = rng.random(m)
    picked = np.full((m, slots), -1)
    for start, stop in ((0, 123), (123, 124), (124, n)):
        before = chance[:start].sum(0)
        targets.draw(B[start:stop], NO_MASK, NO_LENGTHS, start, before, uniform, by_square, phase, picked)
    assert (picked >= 0).all()
    for k in range(m):
        counts = np.bincount(picked[k], minlength=n)
        assert (abs(counts - chance[:, k]) < 1 + 1e-9).all()
        assert (np.diff(picked[k]) >= 0).all()


def test_take_columns(rng):
    Z, B, columns = rng.random((9, 16)), rng.random((9, 7)), np.array([6, 2])
    Z_out, B_out = np.full((9, 16), np.nan), np.full((9, 2), np.nan)
    targets.take_columns(Z, B, columns, Z_out, B_out)
    np.testing.assert_array_equal(B_out, B[:, columns])
    np.testing.assert_array_equal(Z_out, np.hstack([Z[:, columns], np.zeros((9, 14))]))


# ----------------------------------------------------------------------------------------------
# sample.fit


def fit_sample(
    A, b, omega=None, w=NONE, offset=NONE, skip=1.0, kl=False, ridge=0.0, x=None, few=None, steps=40
):
    """x, factor, objectives and verdict."""
    n, d = A.shape
    omega = np.ones(n) if omega is None else omega
    size = gram.padded(d, A.dtype) * gram.packed_rows(d, A.dtype)
    moved = x is not None
    x = np.zeros(d) if x is None else x.copy()
    P, out = np.zeros((d, d)), np.full(3, np.nan)
    good = sample.fit(
        A, b, omega, w, offset, skip, kl, ridge, moved, few or n, steps, np.zeros(size, A.dtype),
        np.zeros(size, A.dtype), x, P, out,
    )  # fmt: skip
    return x, P, out, good


def noisy(rng, n, d, skip, noise=0.3, spread=1.0):
    A, x = rng.standard_normal((n, d)), rng.standard_normal(d)
    z = A @ (x * spread / np.linalg.norm(x))
    b = (np.exp(z) + skip * z) * (1 + noise * rng.standard_normal(n))
    return A, b / b.sum()


@pytest.mark.parametrize("few", [None, 200])
@pytest.mark.parametrize("skip", [0.0, 1.0, 0.3])
def test_sample_fit_is_near_a_minimum_with_its_hessian_factored(skip, few, rng):
    """All rows as the sample: Newton's decrement there is small, P P' is the Hessian one step before."""
    A, b = noisy(rng, 800, 6, skip)
    w = np.full(800, 1e-8)
    x, _, out, good = fit_sample(A, b, w=w, skip=skip, ridge=1e-9, few=few)
    assert good
    here = reference.plain(A, x, b, skip, row_ridge=w, ridge=1e-9)
    assert out[2] == pytest.approx(here.value, rel=1e-10)
    assert out[0] >= out[1]
    assert here.grad @ np.linalg.solve(here.hess, here.grad) <= 1e-3 * here.value
    again = fit_sample(A, b, w=w, skip=skip, ridge=1e-9, x=x, steps=0)
    assert again[3]
    np.testing.assert_allclose(again[1] @ again[1].T, here.hess, rtol=1e-9, atol=1e-10 * abs(here.hess).max())
    np.testing.assert_array_equal(again[0], x)


def test_row_weights_count_rows(rng):
    """A row of weight 2 is the row twice."""
    A, b = noisy(rng, 300, 4, 1.0)
    omega = rng.integers(1, 3, 300) * 1.0
    twice = np.repeat(np.arange(300), omega.astype(int))
    x, P, _, good = fit_sample(A, b, omega=omega)
    y, Q, _, _ = fit_sample(np.ascontiguousarray(A[twice]), b[twice])
    assert good
    np.testing.assert_allclose(x, y, rtol=1e-8)
    np.testing.assert_allclose(P, Q, rtol=1e-7, atol=1e-9 * abs(P).max())


def test_likelihood_sample(rng):
    """The stationary point of the multinomial logit: A'(f - b) = 0."""
    A, b = noisy(rng, 500, 5, 0.0)
    b = abs(b) / abs(b).sum()
    x, P, _, good = fit_sample(A, b, skip=0.0, kl=True)
    assert good
    f = np.exp(A @ x) / np.exp(A @ x).sum()
    C = A - f @ A
    H = C.T @ (f[:, None] * C)
    g = A.T @ (f - b)
    assert g @ np.linalg.solve(H, g) < 1e-4
    np.testing.assert_allclose(P @ P.T, H, rtol=0.3, atol=0.1)


def test_a_constant_column_does_not_move_and_collinear_ones_are_refused(rng):
    A, b = noisy(rng, 400, 4, 0.0)
    A[:, 2] = 1.0
    x, _, _, good = fit_sample(A, b, skip=0.0)
    assert good
    assert abs(x[2]) < 1e-12
    A[:, 2] = A[:, 0] + A[:, 1]
    assert not fit_sample(A, b, skip=0.0)[3]


def test_out_of_range_is_refused(rng):
    A, b = noisy(rng, 100, 3, 1.0)
    assert not fit_sample(1e4 * A, b, x=np.ones(3), steps=0)[3]


def test_solve_columns(rng):
    M = rng.standard_normal((3, 5, 5))
    H = M @ M.transpose(0, 2, 1) + np.eye(5)
    R, T = rng.standard_normal((3, 5)), np.empty((3, 5))
    sample.solve_columns(np.linalg.cholesky(H), R, T)
    np.testing.assert_allclose(T, np.linalg.solve(H, R[..., None])[..., 0], rtol=1e-10)
