"""fastsoftres/sources.py against NumPy's own slicing, flags and memory sharing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastsoftres import sources
from fastsoftres.sources import DenseRows


def unaligned(A):
    """A C-contiguous copy that begins at an odd address."""
    memory = np.zeros(A.nbytes + 1, np.uint8)
    copy = np.ndarray(A.shape, A.dtype, memory, 1)
    copy[...] = A
    return copy


LAYOUTS = {
    "C": (np.ascontiguousarray, True),
    "row slice": (lambda A: np.concatenate([A, A])[: A.shape[0]], True),
    "Fortran": (np.asfortranarray, False),
    "every other row": (lambda A: np.repeat(A, 2, axis=0)[::2], False),
    "every other column": (lambda A: np.repeat(A, 2, axis=1)[:, ::2], False),
    "both reversed": (lambda A: A[::-1, ::-1].copy()[::-1, ::-1], False),
    "byte-swapped": (lambda A: A.astype(A.dtype.newbyteorder()), False),
    "unaligned": (unaligned, False),
    "one row repeated": (lambda A: np.broadcast_to(A[:1], A.shape), False),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_are_contiguous_native_rows(layout, dtype, rng):
    make, direct = LAYOUTS[layout]
    A = make(rng.standard_normal((40, 3)).astype(dtype))
    before = A.copy()
    source = DenseRows(A)
    assert source.direct == direct
    assert source.dtype == dtype
    for start, stop in [(0, 40), (0, 7), (13, 40), (39, 40)]:
        rows = source.read(start, stop)
        assert (rows.start, rows.stop) == (start, stop)
        assert rows.A.flags.c_contiguous
        assert rows.A.flags.aligned
        assert rows.A.dtype == np.dtype(dtype)
        assert np.shares_memory(rows.A, A) == direct
        np.testing.assert_array_equal(rows.A, before[start:stop])


def test_read_only_matrices_are_read_where_they_lie(rng):
    """Numba would compile each kernel once more for a read-only array."""
    A = rng.standard_normal((40, 3))
    A.flags.writeable = False
    rows = DenseRows(A).read(3, 9)
    assert rows.A.flags.writeable
    assert np.shares_memory(rows.A, A)
    np.testing.assert_array_equal(rows.A, A[3:9])
    assert not A.flags.writeable


def test_read_only_matrix_is_kept_alive(rng):
    A = rng.standard_normal((1000, 3))
    wanted = A.copy()
    A.flags.writeable = False
    source = DenseRows(A)
    del A
    np.testing.assert_array_equal(source.read(0, 1000).A, wanted)


def strided(n, d, dtype, direct):
    """A matrix of this shape that takes no memory to speak of, contiguous in name only if ``direct``."""
    source = DenseRows(np.zeros((1, 1), dtype))
    source.n, source.d, source.direct = n, d, direct
    return source


@given(
    st.integers(1, 10**7),
    st.integers(1, 5000),
    st.sampled_from([np.float64, np.float32]),
    st.booleans(),
    st.integers(1, 50_000),
)
def test_bounds_cut_all_rows_in_order(n, d, dtype, direct, least_rows):
    n = max(1, min(n, 10**9 // d))
    bounds = strided(n, d, dtype, direct).bounds(least_rows)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == n
    for (start, stop), (following, _) in itertools.pairwise(bounds):
        assert start < stop == following
    lengths = [stop - start for start, stop in bounds]
    if len(bounds) == 1:
        return
    assert len(set(lengths[:-1])) == 1
    assert lengths[0] >= max(least_rows, 8)
    limit = sources._CHUNK_BYTES if direct else sources._COPY_BYTES
    assert lengths[0] <= max(least_rows, 8) or lengths[0] * d * np.dtype(dtype).itemsize <= limit


def test_small_matrices_are_one_piece():
    assert strided(1 << 17, 1, np.float64, True).bounds() == [(0, 1 << 17)]
    assert len(strided((1 << 17) + 1, 1, np.float64, True).bounds()) > 1


def test_row_state_of_a_block(rng):
    v = rng.standard_normal(10)
    np.testing.assert_array_equal(sources.Rows(2, 5, None).of(v), v[2:5])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_take(layout, rng):
    A = LAYOUTS[layout][0](rng.standard_normal((30, 4)))
    picked = np.array([7, 7, 0, 29])
    part = DenseRows(A).take(picked)
    assert part.direct
    assert not np.shares_memory(part.A, A)
    np.testing.assert_array_equal(part.read(0, 4).A, A[picked])
