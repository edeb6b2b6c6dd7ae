"""Compressed sparse rows: what ``storage`` asks of them.

Sums over rows are added up in float64 and interleaved, the four sums of a column side by side: an entry of
a row touches one cache line instead of four, with one vector operation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ._jit import kernel
from .formula import BLOCK, COMMON_F64
from .simd import _data, _Emit, _loop


class Csr(NamedTuple):
    """Rows of a sparse matrix: row i has ``data[k]`` in column ``indices[k]`` for begin[i] <= k < end[i].

    Columns of a row increase. Begin and end apart let any choice of rows be a view.
    """

    data: Any  # float32 or float64
    indices: Any  # int32 or int64
    begin: Any  # (n,) int64
    end: Any  # (n,) int64
    d: int
    rows: int  # of a block that stays in cache: a multiple of 8, at most BLOCK

    @property
    def shape(self):
        """Rows and columns; kernels ask ``storage.shape``."""
        return self.begin.size, self.d


def _make_scatter(absolute):
    """One row times four weights, added to interleaved sums; ``absolute``: the last two of abs(row)."""

    @intrinsic
    def _scatter(typingctx, data, indices, begin, end, w0, w1, w2, w3, acc):
        f64 = types.float64
        sig = types.void(data, indices, types.intp, types.intp, f64, f64, f64, f64, acc)

        def codegen(context, builder, signature, args):
            e = _Emit(builder, f64)
            four = ir.VectorType(e.elem, 4)
            lanes = ir.VectorType(ir.IntType(64), 4)
            keep = ir.Constant(lanes, [-1, -1, (1 << 63) - 1, (1 << 63) - 1])  # without the sign
            stored = ir.DoubleType() if data.dtype == f64 else ir.FloatType()
            index = ir.IntType(indices.dtype.bitwidth)
            values = _data(context, builder, data, args[0])
            columns = _data(context, builder, indices, args[1])
            accp = _data(context, builder, acc, args[8])
            weights = ir.Constant(four, ir.Undefined)
            for lane in range(4):
                weights = builder.insert_element(weights, args[4 + lane], ir.Constant(ir.IntType(32), lane))
            with _loop(builder, args[2], args[3], e.const(1)) as (k, _):
                value = builder.load(e.at(values, k, stored), typ=stored)
                value = value if data.dtype == f64 else builder.fpext(value, e.elem)
                value = e.splat(value, four)
                if absolute:
                    bits = builder.and_(builder.bitcast(value, lanes), keep)
                    value = builder.bitcast(bits, four)
                column = builder.load(e.at(columns, k, index), typ=index)
                column = builder.zext(column, ir.IntType(64)) if index.width < 64 else column
                at = e.at(accp, builder.shl(column, e.const(2)))
                old = builder.load(at, align=8, typ=four)
                builder.store(e.fma(value, weights, old), at, align=8)
            return context.get_dummy_value()

        return sig, codegen

    def reference(data, indices, begin, end, w0, w1, w2, w3, acc):
        """acc[4*j:4*j+4] += (w0, w1, w2, w3) * a for the entries a, in column j, of one row."""
        row = data[begin:end].astype(np.float64)
        size = np.abs(row) if absolute else row
        sums = acc.reshape(-1, 4)
        np.add.at(sums, indices[begin:end], np.stack([w0 * row, w1 * row, w2 * size, w3 * size], axis=1))

    return _scatter, reference


@intrinsic
def _fetch(typingctx, array, index):
    def codegen(context, builder, signature, args):
        e = _Emit(builder, types.float64)
        e.prefetch(e.at(_data(context, builder, array, args[0]), args[1], ir.IntType(array.dtype.bitwidth)))
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


def _fetch_reference(array, index):
    """Ask for the cache line of an element, which may lie past the end."""


_scatter_4, _scatter_4_reference = _make_scatter(False)
_scatter_2_2, _scatter_2_2_reference = _make_scatter(True)

#: Plain NumPy versions, by name: the specification of each primitive.
REFERENCES = {
    "scatter_4": _scatter_4_reference,
    "scatter_2_2": _scatter_2_2_reference,
    "fetch_line": _fetch_reference,
}

if numba.config.DISABLE_JIT:
    globals().update(REFERENCES)
else:
    scatter_4, scatter_2_2, fetch_line = _scatter_4, _scatter_2_2, _fetch


def part(A, start, stop):
    return A._replace(begin=A.begin[start:stop], end=A.end[start:stop])


def filled(A, start, stop):
    rows = np.zeros((stop - start, A.d))
    for row, begin, end in zip(rows, A.begin[start:stop], A.end[start:stop], strict=True):
        row[A.indices[begin:end]] = A.data[begin:end]
    return rows


def assembly_type(A, dtype):
    return np.float64  # the expansion about the mean cancels


def shape(A):
    return A.begin.size, A.d


def step(A):
    return A.rows


def common(A):
    return COMMON_F64


def weights(A):
    return np.empty(4 * BLOCK)


def dots(A, x, start, rows, ahead, zb):
    # outside of loops: taking a field counts it as a reference
    data, indices, begin, end = A.data, A.indices, A.begin, A.end
    four, one = np.uint64(4), np.uint64(1)
    for r in range(rows):
        k, stop = np.uint64(begin[start + r]), np.uint64(end[start + r])
        z0 = z1 = z2 = z3 = 0.0  # four chains hide the latency of an addition
        while k + four <= stop:
            z0 += data[k] * x[np.uint64(indices[k])]
            z1 += data[k + one] * x[np.uint64(indices[k + one])]
            z2 += data[k + one + one] * x[np.uint64(indices[k + one + one])]
            z3 += data[k + four - one] * x[np.uint64(indices[k + four - one])]
            k += four
        while k < stop:
            z0 += data[k] * x[np.uint64(indices[k])]
            k += one
        zb[r] = (z0 + z1) + (z2 + z3)


def dots_of_two(A, T, k, start, rows, ahead, Y):
    data, indices, begin, end = A.data, A.indices, A.begin, A.end
    first, second, one = np.uint64(k), np.uint64(k + 1), np.uint64(1)
    for r in range(rows):
        j, stop = np.uint64(begin[start + r]), np.uint64(end[start + r])
        y0 = y1 = z0 = z1 = 0.0  # four chains, as in ``dots``
        while j + one < stop:
            column, after = np.uint64(indices[j]), np.uint64(indices[j + one])
            y0 += data[j] * T[first, column]
            y1 += data[j] * T[second, column]
            z0 += data[j + one] * T[first, after]
            z1 += data[j + one] * T[second, after]
            j += one + one
        if j < stop:
            column = np.uint64(indices[j])
            y0 += data[j] * T[first, column]
            y1 += data[j] * T[second, column]
        Y[0, r] = y0 + z0
        Y[1, r] = y1 + z1


def fetch(A, start, stop):
    """Nothing: the second use of a block asks for the next one."""


def accumulator(A, G):
    G[:] = 0.0
    return G if G.shape[0] == 1 else np.zeros_like(G)


def collect(A, acc, G):
    many, d = G.shape
    if many > 1:
        for first in range(0, many, 4):
            flat = acc[first : first + 4].reshape(-1)
            for c in range(4):
                for j in range(d):
                    G[first + c, j] += flat[4 * j + c]
        acc[:] = 0.0


# While sums are added up, memory has nothing to do: the next block is asked for, two lines of float64 to
# one of int32. A call for this, inlined or not, cost a quarter more time: the arrays are counted as
# references.


def add_rows_1(A, start, rows, W, ahead, acc):
    data, indices, begin, end = A.data, A.indices, A.begin, A.end
    flat = acc.reshape(-1)
    ahead = end[start + rows - 1] - begin[start]
    for r in range(rows):
        w = W[r]
        for k in range(np.uint64(begin[start + r]), np.uint64(end[start + r])):
            flat[np.uint64(indices[k])] += w * data[k]
        for k in range(begin[start + r] + ahead, end[start + r] + ahead, 16):
            fetch_line(data, k)
            fetch_line(data, k + 8)
            fetch_line(indices, k)


def add_rows_3(A, start, rows, W, ahead, acc):
    data, indices, begin, end = A.data, A.indices, A.begin, A.end
    ahead = end[start + rows - 1] - begin[start]
    for r in range(rows):
        i = start + r
        scatter_4(data, indices, begin[i], end[i], W[r], W[BLOCK + r], W[2 * BLOCK + r], 0.0, acc)
        for k in range(begin[i] + ahead, end[i] + ahead, 16):
            fetch_line(data, k)
            fetch_line(data, k + 8)
            fetch_line(indices, k)


def add_rows_4(A, start, rows, W, ahead, acc):
    data, indices, begin, end = A.data, A.indices, A.begin, A.end
    ahead = end[start + rows - 1] - begin[start]
    for r in range(rows):
        i = start + r
        w0, w1, w2, w3 = W[r], W[BLOCK + r], W[2 * BLOCK + r], W[3 * BLOCK + r]
        scatter_4(data, indices, begin[i], end[i], w0, w1, w2, w3, acc)
        for k in range(begin[i] + ahead, end[i] + ahead, 16):
            fetch_line(data, k)
            fetch_line(data, k + 8)
            fetch_line(indices, k)


def add_rows_2_2(A, start, rows, W, ahead, acc):
    data, indices, begin, end = A.data, A.indices, A.begin, A.end
    ahead = end[start + rows - 1] - begin[start]
    for r in range(rows):
        i = start + r
        w0, w1, w2, w3 = W[r], W[BLOCK + r], W[2 * BLOCK + r], W[3 * BLOCK + r]
        scatter_2_2(data, indices, begin[i], end[i], w0, w1, w2, w3, acc)
        for k in range(begin[i] + ahead, end[i] + ahead, 16):
            fetch_line(data, k)
            fetch_line(data, k + 8)
            fetch_line(indices, k)


def add_row(A, i, w, acc, g, k):
    data, indices = A.data, A.indices
    for p in range(np.uint64(A.begin[i]), np.uint64(A.end[i])):
        acc[g, k, np.uint64(indices[p])] += w * data[p]


def add_squares(A, rows, w, acc):
    data, indices, begin, end = A.data, A.indices, A.begin, A.end
    for i in range(rows):
        for k in range(np.uint64(begin[i]), np.uint64(end[i])):
            a = np.float64(data[k])
            acc[np.uint64(indices[k])] += w[i] * (a * a)


def entries(A):
    # any choice of rows may be meant, and what lies between them is no concern of theirs
    data, begin, end = A.data, A.begin, A.end
    flat = np.empty(np.sum(end - begin), data.dtype)
    at = 0
    for i in range(begin.size):
        for k in range(begin[i], end[i]):
            flat[at] = data[k]
            at += 1
    return flat


@kernel
def check_columns(indices, ptr, d):
    """Do columns increase in each row, and where is the first index outside 0..d-1 (-1: nowhere)? Reads
    only what ``ptr`` spans, which must be sound.
    """
    ordered = True
    for i in range(ptr.size - 1):
        before = -1
        for k in range(ptr[i], ptr[i + 1]):
            j = np.int64(indices[k])
            if j < 0 or j >= d:
                return ordered, k
            ordered &= j > before
            before = j
    return ordered, -1


@kernel
def columns_apart(ptr, rows, order, n):
    """Columns of which no row has two, taken greedily in this order; (d,) bool.

    ``ptr`` (d + 1,) int64 and ``rows``: each column's rows, of n in all. O(nnz).
    """
    chosen = np.zeros(order.size, np.bool_)
    taken = np.zeros(n, np.bool_)
    for j in order:
        free = True
        for k in range(ptr[j], ptr[j + 1]):
            free &= not taken[rows[k]]
        if free:
            chosen[j] = True
            for k in range(ptr[j], ptr[j + 1]):
                taken[rows[k]] = True
    return chosen
