"""kernels/columns.py and kernels/rowterms.py against NumPy and the formulas of MATH 2, 3 as written."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftres.kernels import columns, rowstate, rowterms

SHAPES = [(1, 1), (3, 2), (8, 8), (30, 5), (257, 9), (512, 4), (600, 33), (1100, 16)]


def turned(A):
    n, d = A.shape
    by_columns = np.full((columns.padded(d), columns.row_length(n)), np.nan)
    columns.turned(A, by_columns)
    return by_columns


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_columns_products_and_sums(n, d, rng):
    A = rng.standard_normal((n, d))
    F = turned(A)
    wanted = np.zeros(F.shape)
    wanted[:d, :n] = A.T
    assert (wanted == F).all()
    x, z, out, four = rng.standard_normal(d), np.empty(n), np.empty(d), np.empty((4, d))
    P, Q, R = rng.standard_normal((3, n))
    columns.times(F, x, z)
    columns.dots(F, P, out)
    columns.sums(F, P, Q, np.abs(R), four)
    size = np.abs(A)
    assert z == pytest.approx(A @ x, rel=1e-13, abs=1e-13 * d)
    assert out == pytest.approx(A.T @ P, rel=1e-12, abs=1e-14 * n)
    absolute = [size.T @ np.abs(R), size.T @ np.abs(P)]
    assert four == pytest.approx(np.array([A.T @ P, A.T @ Q, *absolute]), rel=1e-12, abs=1e-14 * n)


@pytest.mark.parametrize("groups", [1, 2, 40])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_gram_is_exact_in_small_integers(n, d, groups, rng):
    groups = min(groups, n)
    A, D, h = rng.integers(-3, 4, (n, d)) * 1.0, rng.integers(-3, 4, n) * 1.0, rng.integers(-3, 4, n) * 1.0
    of = np.sort(rng.integers(0, groups, n))
    F, size = turned(A), columns.padded(d)
    means = np.zeros((groups, size))
    means[:, :d] = rng.integers(-3, 4, (groups, d))
    weights = np.zeros(F.shape[1])
    weights[:n] = D
    C = A - means[of if groups > 1 else np.zeros(n, int), :d]
    packed = np.full(size * (columns.ROWS + 1) if groups > 1 else 0, np.nan)
    for given in (h, h[:0]):
        H, k = np.full((size, size), np.nan), np.full(d, np.nan)
        columns.gram(F, of if groups > 1 else of[:0], means, weights, given, packed, H, k)
        assert (np.triu(H[:d, :d]) == np.triu(C.T @ (D[:, None] * C))).all()
        assert (k == C.T @ h).all() if given.size else np.isnan(k).all()


@pytest.mark.parametrize("kl", [False, True])
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("skip", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("ptr", [[0, 5], [0, 700], [0, 1, 4, 300, 700]])
@pytest.mark.parametrize("far", [0.0, 400.0])
def test_row_terms_are_their_formulas(far, ptr, skip, plain, kl, rng):
    if kl and skip:
        pytest.skip("no logarithm")
    ptr = np.array(ptr)
    n, groups = ptr[-1], ptr.size - 1
    of = np.repeat(np.arange(groups), np.diff(ptr))
    z, b = rng.standard_normal(n) + far, rng.dirichlet(np.ones(n))
    w, weight = (np.empty(0), np.empty(0)) if plain else (rng.random(n), rng.random(groups) + 0.5)
    alpha, shift, s = np.empty((3, groups))
    rowstate.line_rows(
        z, z, 0.0, b, w, weight, ptr, 0, skip, kl, alpha, shift, s, np.empty(2),
        np.empty((2, rowstate.N_LINE)),
    )  # fmt: skip
    f, va, grad, size, D, h, terms = np.empty((7, n))
    kappa = np.empty(groups)
    rowterms.row_terms(
        z, b, w, weight, ptr, of, skip, kl, alpha, shift, s, f, va, grad, size, D, h, terms, kappa
    )  # fmt: skip
    a, m, sr = alpha[of], shift[of], s[of]
    lam, e = skip * np.exp(-m), np.exp(z - m)
    u, v = e + lam * z, e + lam
    ridge, each = (w, weight[of]) if w.size else (np.zeros(n), np.ones(n))
    if kl:
        wanted = [e / a, e / a, sr * e / a - b, sr * e / a + b, sr * e / a, np.zeros(n), np.zeros(n)]
    else:
        q = u / a - b - sr
        absolute = np.abs(v / a) * (np.abs(u / a) + np.abs(b) + np.abs(sr))
        wanted = [
            u / a, v / a, v * q / a, absolute, e * q / a + v * v / a**2, lam * (v * (1 - z) / a**2 - q / a),
            lam**2 * (1 - z) ** 2 / a**2 + lam * (z - 2) * q / a,
        ]  # fmt: skip
    wanted[2] = each * (wanted[2] + ridge * z)
    wanted[3] = each * (wanted[3] + ridge * np.abs(z))
    wanted[4:] = [each * (part + ridge) for part in wanted[4:]]
    largest = [np.abs(part).max() for part in wanted]
    for got, part, most in zip([f, va, grad, size, D, h, terms], wanted, largest, strict=True):
        assert got == pytest.approx(part, rel=1e-11, abs=1e-13 * most)
    assert kappa == pytest.approx(np.add.reduceat(wanted[6], ptr[:-1]), rel=1e-10, abs=1e-13 * n * largest[6])
