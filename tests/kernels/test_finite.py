"""kernels/finite.py against np.isfinite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastsoftres.kernels.finite import finite_rows


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_entry_anywhere(bad, dtype):
    for shape in [(1, 1), (3, 5), (17, 9), (1, 130)]:
        A = np.full(shape, np.finfo(dtype).max)  # whose sum would overflow
        A[::2] *= -1
        A = A.astype(dtype)
        assert finite_rows(A)
        for at in {0, A.size // 2, A.size - 1}:
            spoiled = A.copy()
            spoiled.flat[at] = bad
            assert not finite_rows(spoiled)


shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)


@given(hnp.arrays(st.sampled_from([np.float64, np.float32]), shapes))
def test_any_matrix(A):
    assert finite_rows(A) == np.isfinite(A).all()
