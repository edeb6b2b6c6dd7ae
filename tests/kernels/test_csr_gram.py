"""kernels/csr_gram.py against kernels/gram.py on the same rows filled in, and against NumPy in small
integers.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_csr import STORED, integers
from test_gram import upper, work_space

from fastsoftres.kernels import csr_gram, gram

ONE = np.ones(1)


def run(
    A,
    d,
    ptr,
    D,
    *,
    base=0,
    kept,
    means=None,
    va=None,
    how=gram.PLAIN,
    h=None,
    kappa=None,
    scale=ONE,
    centre=ONE,
):
    left, right, H, k = work_space(d, np.float64)
    means = np.zeros((1, d)) if means is None else means
    va, h, kappa = (np.zeros(max(D.size, ptr.size)) if a is None else a for a in (va, h, kappa))
    rows = csr_gram.gram_rows if isinstance(A, tuple) else gram.gram_rows
    rows(A, ptr, base, kept, means, va, scale, centre, D, h, kappa, how, left, right, H, k)
    assert (k[d:] == 0).all()
    return upper(H, d), k[:d]


@pytest.mark.parametrize(("dtype", "index"), STORED)
@pytest.mark.parametrize(("n", "d"), [(1, 1), (300, 3), (400, 33), (150, 90)])
@pytest.mark.parametrize("density", [0.05, 0.9])
def test_uncentred_exactly(n, d, density, dtype, index, rng):
    """Rows with few entries by index, nearly full ones through the tiles."""
    A, full = integers(rng, n, d, dtype, index, density)
    D = rng.integers(-3, 4, n) * 1.0
    H, _ = run(A, d, np.array([0, n]), D, kept=np.array([0]))
    np.testing.assert_array_equal(H, full.T @ (D[:, None] * full))


@pytest.mark.parametrize("how", [gram.PLAIN, gram.HESSIAN, gram.MOMENT])
@pytest.mark.parametrize("heavy", [0.0, 1e3])
@pytest.mark.parametrize(("d", "density"), [(6, 0.5), (40, 0.1), (200, 0.02)])
def test_as_dense_rows(d, density, heavy, how, rng):
    """Groups of one row and of many, kept ones and others, the first and the last cut by the chunk's ends;
    single weights so large that their rows are centred; one scale and centre, or (without h) each row its
    own.
    """
    sizes = [300, 1, 2, 9, 40, 3, 120, 260]
    ptr = np.concatenate([[0], np.cumsum(sizes)])
    base, n = 20, ptr[-1] - 20 - 35
    kept = np.array([0, -1, -1, -1, -1, -1, 1, 2])
    A, full = integers(rng, n, d, density=density)
    means = rng.standard_normal((3, d))
    va, D, h = rng.standard_normal(n), rng.standard_normal(n), rng.standard_normal(n)
    D[rng.integers(0, n, 12)] += heavy
    kappa = rng.standard_normal(len(sizes))
    each = rng.standard_normal(n)
    varied = itertools.product((ONE, each), (ONE, each[::-1].copy())) if how == gram.PLAIN else [(ONE, ONE)]
    for scale, centre in varied:
        options = {
            "base": base, "kept": kept, "means": means, "va": va, "how": how, "h": h, "kappa": kappa,
            "scale": scale, "centre": centre,
        }  # fmt: skip
        H, k = run(A, d, ptr, D, **options)
        wanted_H, wanted_k = run(full, d, ptr, D, **options)
        np.testing.assert_allclose(H, wanted_H, rtol=0, atol=1e-11 * np.abs(wanted_H).max())
        np.testing.assert_allclose(k, wanted_k, rtol=0, atol=1e-11 * max(np.abs(wanted_k).max(), 1e-300))


def test_heavy_rows_keep_their_digits(rng):
    """All but 1e-9 of the weight on two rows close to the mean: what is left is exact to rounding.

    The truth in extended precision, from the rows as they are.
    """
    n, d = 50, 8
    A, full = integers(rng, n, d, density=0.6)
    scale = rng.standard_normal(d)
    A.data[:] *= scale[A.indices]
    full *= scale
    D = rng.random(n) * 1e-11
    first, second = np.argsort((full != 0).sum(axis=1))[-2:]
    D[first], D[second] = 1.0, 0.4
    for ptr, kept in (([0, n], 0), ([0, n], -1)):
        weight = D / D.sum()
        full_l, D_l = full.astype(np.longdouble), D.astype(np.longdouble)
        mu = weight @ full
        # the mean as the kernel has it: given, or formed in float64
        C = full_l - mu.astype(np.longdouble)
        true = (C.T @ (D_l[:, None] * C)).astype(np.float64)
        H, _ = run(A, d, np.array(ptr), D, kept=np.array([kept]), means=mu[None], va=weight)
        assert np.linalg.norm(H - true) <= 1e-14 * np.linalg.norm(true)
    D[first], D[second] = 0.7, 0.0
    mu = (D / D.sum()) @ full
    C = full_l - mu.astype(np.longdouble)
    true = (C.T @ (D.astype(np.longdouble)[:, None] * C)).astype(np.float64)
    H, _ = run(A, d, np.array([0, n]), D, kept=np.array([0]), means=mu[None])
    assert np.linalg.norm(H - true) <= 1e-12 * np.linalg.norm(true)
    plain = full.T @ (D[:, None] * full)
    m = D @ full
    expanded = plain - np.outer(m, mu) - np.outer(mu, m) + D.sum() * np.outer(mu, mu)
    assert np.linalg.norm(expanded - true) > 1e-9 * np.linalg.norm(true)
