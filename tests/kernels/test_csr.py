"""kernels/csr.py and kernels/storage.py: each primitive against its plain reference and NumPy's products of
the
filled matrix, in small integers, where sums are exact in any order."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from scipy import sparse

from fastsoftres.kernels import csr, finite, gradient, product, storage
from fastsoftres.kernels._jit import kernel
from fastsoftres.kernels.formula import BLOCK

DTYPES = [np.float64, np.float32]
#: Of the numbers and of the indices: not all four, each of which is compiled.
STORED = [(np.float64, np.int32), (np.float32, np.int32), (np.float64, np.int64)]


def integers(rng, n, d, dtype=np.float64, index=np.int32, density=0.3, block=16):
    """A Csr of small integers, and the same filled; some rows and columns are empty, some zeros explicit."""
    full = rng.integers(-3, 4, (n, d)) * (rng.random((n, d)) < density)
    full[rng.random(n) < 0.2] = 0
    full[:, rng.random(d) < 0.2] = 0
    stored = (full != 0) | (rng.random((n, d)) < 0.05)
    rows, columns = np.nonzero(stored)
    ptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    A = csr.Csr(full[stored].astype(dtype), columns.astype(index), ptr[:-1], ptr[1:], d, block)
    return A, full.astype(np.float64)


@pytest.mark.parametrize(("dtype", "index"), STORED)
@pytest.mark.parametrize("name", ["scatter_4", "scatter_2_2"])
def test_scatter_is_its_reference(name, dtype, index, rng):
    scatter, reference = getattr(csr, name), csr.REFERENCES[name]

    @numba.njit
    def call(data, indices, begin, end, w, acc):
        scatter(data, indices, begin, end, w[0], w[1], w[2], w[3], acc)

    for size in range(12):
        data, indices = rng.integers(-3, 4, 40).astype(dtype), rng.permutation(60)[:40].astype(index)
        w, acc = rng.integers(-3, 4, 4) * 1.0, rng.integers(-3, 4, (4, 60)) * 1.0
        wanted = acc.copy()
        (call.py_func if numba.config.DISABLE_JIT else call)(data, indices, 5, 5 + size, w, acc)
        reference(data, indices, 5, 5 + size, *w, wanted)
        np.testing.assert_array_equal(acc, wanted)


@pytest.mark.parametrize(("dtype", "index"), STORED)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (40, 1), (100, 13), (513, 70)])
def test_products(shape, dtype, index, rng):
    n, d = shape
    for density in (0.0, 0.1, 0.6, 1.0):
        A, full = integers(rng, n, d, dtype, index, density)
        for k in (1, 4, 8):
            T, W = rng.integers(-3, 4, (k, d)) * 1.0, rng.integers(-3, 4, (k, n)) * 1.0
            Y, G = np.full((k, n), np.nan), np.full((k, d), np.nan)
            product.times(A, T, Y)
            product.transposed_times(A, W, G)
            np.testing.assert_array_equal(Y, T @ full.T)
            np.testing.assert_array_equal(G, W @ full)
            if k > 1:
                Y[:], g = np.nan, np.full((1, d), np.nan)
                product.times_and_sum(A, T, W[0], Y, g)
                np.testing.assert_array_equal(Y, T @ full.T)
                np.testing.assert_array_equal(g[0], W[0] @ full)
        squares = np.full((1, d), np.nan)
        product.squares(A, W[0], squares)
        np.testing.assert_array_equal(squares[0], W[0] @ full**2)
        dense = np.full((1, d), np.nan)
        product.squares(full, W[0], dense)
        np.testing.assert_array_equal(squares, dense)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_choice_of_rows_is_a_view(dtype, rng):
    """Rows twice, backwards, left out; a part of them."""
    A, full = integers(rng, 60, 9, dtype)
    picked = rng.integers(0, 60, 100)
    chosen = A._replace(begin=A.begin[picked], end=A.end[picked])
    T, Y = rng.integers(-3, 4, (1, 9)) * 1.0, np.empty((1, 100))
    product.times(chosen, T, Y)
    np.testing.assert_array_equal(Y, T @ full[picked].T)
    np.testing.assert_array_equal(storage.filled(chosen, 3, 50), full[picked][3:50])
    np.testing.assert_array_equal(storage.filled(storage.part(chosen, 3, 50), 0, 47), full[picked][3:50])


def test_sums_survive_a_raised_shift(rng):
    """Interleaved sums are collected before they are rescaled: blocks in whose rows z climbs, one group."""
    n, d = 200, 5
    A, full = integers(rng, n, d, density=1.0, block=8)
    full += np.arange(n)[:, None] * (full != 0)
    A = A._replace(data=full[full != 0].copy(), **_pattern(full))
    x, b = np.linspace(1.0, 2.0, d), np.full(n, 1 / n)
    answers = []
    for rows in (A, full):
        ptr, one, none = np.array([0, n]), np.empty(1), np.empty(0)
        z, totals, G, means = np.empty(n), np.empty(2), np.empty(d), np.empty((1, d))
        alpha, shift, s = np.empty(1), np.empty(1), np.empty(1)
        gradient.gradient_rows(
            rows, x, b, none, none, none, ptr, 0, np.array([0]), 1.0, False,
            z, alpha, shift, s, totals, G, means, np.empty((2, 6)), np.empty((0, 4, d)),
        )  # fmt: skip
        assert shift[0] > 100
        answers.append((*totals, *alpha, *shift, *s, *G, *means[0]))
        del one
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-11, atol=1e-14)


def _pattern(full):
    rows, columns = np.nonzero(full)
    ptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=full.shape[0]))])
    return {"indices": columns.astype(np.int32), "begin": ptr[:-1], "end": ptr[1:]}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_finite(bad, rng):
    """Only entries of the rows that are asked about count."""
    A, _ = integers(rng, 50, 6)
    assert finite.finite_rows(A)
    where = int(np.argmax(A.end - A.begin))
    A.data[A.begin[where]] = bad
    assert not finite.finite_rows(A)
    others = np.arange(50) != where
    assert finite.finite_rows(A._replace(begin=A.begin[others], end=A.end[others]))


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_columns_are_checked(index, rng):
    def check(indices, ptr, d):
        return csr.check_columns(np.array(indices, dtype=index), np.array(ptr), d)

    assert check([0, 2, 1], [0, 2, 3], 3) == (True, -1)
    assert check([], [0, 0], 1) == (True, -1)
    assert check([2, 0], [0, 2], 3) == (False, -1)
    assert check([1, 1], [0, 2], 3) == (False, -1)
    assert check([0, 3], [0, 2], 3)[1] == 1
    assert check([0, 1, -1], [0, 2, 3], 3)[1] == 2
    assert check([0, 1, -5], [0, 2, 2], 3) == (True, -1)  # nothing past the last offset is read
    A = sparse.random_array((40, 30), density=0.2, format="csr", rng=rng)
    assert check(A.indices, A.indptr, 30) == (True, -1)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_the_choice_is_made_by_the_type(rng):
    """One source, two specialisations, none of them compiled for the other."""

    @kernel
    def columns(A):
        return storage.shape(A)[1] + storage.step(A) * 0

    A, full = integers(rng, 3, 5)
    assert columns(full) == 5
    assert len(columns.signatures) == 1
    assert columns(A) == 5
    assert len(columns.signatures) == 2


def test_a_block_fits_its_arrays():
    assert integers(np.random.default_rng(0), 3, 2)[0].rows <= BLOCK
