"""Rows from columns: a matrix in Fortran order, a cache-sized piece at a time."""

from __future__ import annotations

from . import simd
from ._jit import kernel

#: Rows that are made together: with many columns they lie far apart, and more would not share a cache.
_BAND = 64
#: How many columns, in squares, what is fetched lies ahead of what is read.
_TILES = 2


@kernel
def rows_of_columns(columns, start, out):
    """out (rows, d) = columns[:, start:start+rows].T for C-contiguous ``columns`` (d, n) of the same type.

    Squares are transposed in registers, while those of later columns are fetched.
    """
    d, n = columns.shape
    rows = out.shape[0]
    width = simd.SQUARE
    square_rows, square_columns = rows - rows % width, d - d % width
    for band in range(0, square_rows, _BAND):
        stop = min(band + _BAND, square_rows)
        for j in range(0, square_columns, width):
            later = j + _TILES * width
            ahead = (later % square_columns - j) * n + later // square_columns * _BAND
            for i in range(band, stop, width):
                simd.transpose_tile(columns, j * n + start + i, n, ahead, out, i * d + j, d)
        for k in range(square_columns, d):
            for i in range(band, stop):
                out[i, k] = columns[k, start + i]
    for k in range(d):
        for i in range(square_rows, rows):
            out[i, k] = columns[k, start + i]
