"""kernels/layout.py against NumPy's own copy of the same rows."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftres.kernels.layout import rows_of_columns


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_of_columns(dtype, rng):
    """Tiles, their edges and bands; nothing beside the rows asked for is touched.

    Wide rows, and rows a power of two of bytes apart, are made in other shapes.
    """
    for d in [1, 7, 8, 9, 16, 33, 40, 64, 77, 512, 1024]:
        columns = rng.standard_normal((d, 300)).astype(dtype)
        for start, rows in [(0, 300), (3, 1), (5, 130), (11, 64), (150, 150), (299, 1), (7, 0)]:
            around = np.full((rows + 4, d), np.nan, dtype)
            rows_of_columns(columns, start, around[2 : rows + 2])
            np.testing.assert_array_equal(around[2 : rows + 2], columns[:, start : start + rows].T)
            assert np.isnan(around[:2]).all()
            assert np.isnan(around[rows + 2 :]).all()
