"""Rows from columns: a matrix in Fortran order, a cache-sized piece at a time."""

from __future__ import annotations

from . import simd
from ._jit import inline, kernel

#: How many columns, in squares, what is fetched lies ahead of what is read.
_TILES = 2
#: Columns from which two float32 squares side by side pay: they fill a cache line of each row at once.
_PAIRED = 64
#: Rows this many bytes apart, or a multiple of it, share a few lines of the first-level cache.
_CROWDED = 2048


@inline
def _shape(d, itemsize):
    """Rows that are made together, of the columns' bytes as many as the cache holds; squares side by side."""
    stride = d * itemsize
    crowded = stride % (2 * _CROWDED) == 0
    if itemsize == 8:
        return 64, 2 if crowded else 1
    if d < _PAIRED:
        return 64, 1
    return 32 if crowded else 64 if stride % _CROWDED == 0 else 128, 2


@kernel
def rows_of_columns(columns, start, out):
    """out (rows, d) = columns[:, start:start+rows].T for C-contiguous ``columns`` (d, n) of the same type.

    Squares are transposed in registers, while those of later columns are fetched.
    """
    d, n = columns.shape
    rows = out.shape[0]
    width = simd.SQUARE
    square_rows, square_columns = rows - rows % width, d - d % width
    high, beside = _shape(d, out.itemsize)
    for band in range(0, square_rows, high):
        stop = min(band + high, square_rows)
        for left in range(0, square_columns, beside * width):
            right = min(left + beside * width, square_columns)
            for i in range(band, stop, width):
                for j in range(left, right, width):
                    later = j + _TILES * width
                    ahead = (later % square_columns - j) * n + later // square_columns * high
                    simd.transpose_tile(columns, j * n + start + i, n, ahead, out, i * d + j, d)
        for k in range(square_columns, d):
            for i in range(band, stop):
                out[i, k] = columns[k, start + i]
    for k in range(d):
        for i in range(square_rows, rows):
            out[i, k] = columns[k, start + i]
