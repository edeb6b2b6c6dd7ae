"""How a block of rows is read, for each way of storing them.

A kernel that uses these functions and nothing else of A is one source for all storages: which function is
meant is settled by the type of A when the kernel is compiled, so a storage costs nothing until it is used.
"""

from __future__ import annotations

import numba
import numpy as np
from numba.core import types
from numba.extending import overload

from . import csr, simd
from ._jit import INLINE_OPTIONS, OWNER_OPTIONS
from .csr import Csr
from .formula import BLOCK, COMMON_F32, COMMON_F64, block_rows


def by_storage(dense, sparse, options=INLINE_OPTIONS):
    """One function out of two, which take A first.

    Called from Python it chooses when it is called. Compiled kernels may call it where both are plain Python
    functions.
    """

    def chosen(A, *rest):
        return (sparse if isinstance(A, Csr) else dense)(A, *rest)

    def typed(A, *rest):
        return sparse if isinstance(A, types.BaseNamedTuple) else dense

    if not numba.config.DISABLE_JIT:
        overload(chosen, strict=False, jit_options=options)(typed)
    chosen.__doc__ = dense.__doc__
    return chosen


# ----------------------------------------------------------------------------------------------
# dense, C-contiguous


def _shape(A):
    """Rows and columns."""
    return A.shape


def _step(A):
    """Rows of a block that stays in the first-level cache between its two uses, at most ``BLOCK``."""
    return block_rows(A.shape[1] * A.itemsize)


def _common(A):
    """Largest exponent that needs no shift, in the precision in which a block's sums are kept."""
    return COMMON_F64 if A.itemsize == 8 else COMMON_F32


def _weights(A):
    """Room for the weights of four sums over a block, ``BLOCK`` apart."""
    return np.empty(4 * BLOCK, A.dtype)


def _dots(A, x, start, rows, ahead, zb):
    """zb[:rows] = A[start:start+rows] @ x; zb has room for 7 more. ``ahead``: rows to the next block."""
    d = A.shape[1]
    for r in range(0, rows, simd.ROWS):
        # rows done are half as far ahead in what is fetched: add_rows fetches the other half
        simd.row_dots(A, d, x, start + r, start + rows - 1, ahead * d - r * d // 2, zb, r)


def _dots_of_two(A, T, k, start, rows, ahead, Y):
    """Y[:, :rows] = T[k:k+2] @ A[start:start+rows].T; Y (2, ...) has room for 7 more."""
    d = A.shape[1]
    for r in range(0, rows, simd.ROWS):
        fetched = ahead * d - r * d // 2
        simd.row_dots_2(A, d, T, k, start + r, start + rows - 1, fetched, Y, Y.shape[1], r)


def _fetch(A, start, stop):
    """Ask for rows ``start:stop``, some of which may lie past the end, to be in cache."""
    simd.fetch(A, start * A.shape[1], stop * A.shape[1])


def _accumulator(A, G):
    """Where a kernel adds up sums of rows for G (k, d), k = 1 or a multiple of 4; zeroed."""
    for k in range(G.shape[0]):
        for j in range(G.shape[1]):
            G[k, j] = 0.0
    return G


def _collect(A, acc, G):
    """G = what was added up since ``accumulator``."""


def _add_rows_1(A, start, rows, W, ahead, acc):
    """acc[0] += W[:rows] @ A[start:start+rows]."""
    simd.add_rows_1(A, A.shape[1], start, rows, W, BLOCK, 0, ahead * A.shape[1], acc)


def _add_rows_3(A, start, rows, W, ahead, acc):
    """The same for three weights a row, ``BLOCK`` apart."""
    simd.add_rows_3(A, A.shape[1], start, rows, W, BLOCK, 0, ahead * A.shape[1], acc)


def _add_rows_4(A, start, rows, W, ahead, acc):
    """The same for four weights a row."""
    simd.add_rows_4(A, A.shape[1], start, rows, W, BLOCK, 0, ahead * A.shape[1], acc)


def _add_rows_2_2(A, start, rows, W, ahead, acc):
    """The same for four weights a row, the last two of sums of abs(A)."""
    simd.add_rows_2_2(A, A.shape[1], start, rows, W, BLOCK, 0, ahead * A.shape[1], acc)


def _add_row(A, i, w, acc, g, k):
    """acc[g, k] += w A[i]."""
    for j in range(A.shape[1]):
        acc[g, k, j] += w * A[i, j]


def _add_squares(A, rows, w, acc):
    """acc += w[:rows] @ A[:rows]**2."""
    for i in range(rows):
        for j in range(A.shape[1]):
            acc[j] += w[i] * (np.float64(A[i, j]) * np.float64(A[i, j]))


def _entries(A):
    """All numbers stored, flat."""
    return A.reshape(-1)


def _part(A, start, stop):
    """Some of the rows; not for kernels."""
    return A[start:stop]


def _filled(A, start, stop):
    """Some of the rows, dense and float64, to be changed; not for kernels."""
    return A[start:stop].astype(np.float64)


def _assembly_type(A, dtype):
    """Type of the panels in which rows are multiplied; not for kernels."""
    return dtype


part = by_storage(_part, csr.part)
filled = by_storage(_filled, csr.filled)
assembly_type = by_storage(_assembly_type, csr.assembly_type)
shape = by_storage(_shape, csr.shape)
step = by_storage(_step, csr.step)
common = by_storage(_common, csr.common)
weights = by_storage(_weights, csr.weights, OWNER_OPTIONS)
dots = by_storage(_dots, csr.dots)
dots_of_two = by_storage(_dots_of_two, csr.dots_of_two)
fetch = by_storage(_fetch, csr.fetch)
accumulator = by_storage(_accumulator, csr.accumulator, OWNER_OPTIONS)
collect = by_storage(_collect, csr.collect)
add_rows_1 = by_storage(_add_rows_1, csr.add_rows_1)
add_rows_3 = by_storage(_add_rows_3, csr.add_rows_3)
add_rows_4 = by_storage(_add_rows_4, csr.add_rows_4)
add_rows_2_2 = by_storage(_add_rows_2_2, csr.add_rows_2_2)
add_row = by_storage(_add_row, csr.add_row)
add_squares = by_storage(_add_squares, csr.add_squares)
entries = by_storage(_entries, csr.entries, OWNER_OPTIONS)
