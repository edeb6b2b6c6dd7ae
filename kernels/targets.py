"""Many targets, one A: passes over blocks of rows for m columns of x at once (MATH 6).

Z = A X and A' W are matrix products, formed a tile at a time from a block of A that lies in cache, so that A
is read once for all columns; between them stands the scalar formula over the block's rows and columns. Row
state Z is (n, width): m columns, padded with zeros to whole tiles. There is no shift: columns that are solved
together have u below exp(``formula.COMMON_F64``), where the plain formula is in range.
"""

from __future__ import annotations

import numpy as np

from . import simd
from ._jit import kernel, owner
from .formula import exp

_MR = simd.GRAM_MR
_WIDTH = simd.gram_columns(np.float64)
#: Rows of a block, at most; fewer where a block of A would leave half of a second-level cache of 1 MB.
_BLOCK = 64
_BLOCK_BYTES = 256 << 10
#: Rows of a block lie so many entries further apart than d: at multiples of 512 bytes they share cache sets.
_GAP = 8

# Sums over rows of each column, in the order of ``sums``; the last is the largest abs(A T). For the
# likelihood SUM_UB is sum(b z).
SUM_U, SUM_UU, SUM_UB, SUM_WZZ, MOST_Y = range(5)
N_SUMS = 5
# What the gradient pass knows more exactly than the sums: ½<c, c> and the largest |c|.
HALF_CC, MOST_C = range(2)
N_EXACT = 2


def width(m: int) -> int:
    """Row length of row state for m columns."""
    return -(-m // _WIDTH) * _WIDTH


@owner
def _padded(d):
    return (d + _MR - 1) // _MR * _MR


@owner
def _block_rows(d):
    rows = _BLOCK_BYTES // (8 * (_padded(d) + _GAP))
    return max(16, min(_BLOCK, rows - rows % _MR))


@owner
def _line_ahead(tile, count, A, B, Z, start, rows, block):
    """Address from which a tile prefetches ``count`` lines of the next rows: of A, then of B, then of Z.

    Spread over the tiles, since the arithmetic between the blocks' reads would leave the memory idle.
    """
    end = min(start + rows, A.shape[0])
    at = tile * count * simd.LINE
    size = A.shape[1] * A.itemsize
    if at < rows * size:
        return A.ctypes.data + end * size + at
    at -= rows * size
    size = B.shape[1] * 8
    if at < rows * size:
        return B.ctypes.data + end * size + at
    at -= rows * size
    size = Z.shape[1] * 8
    if at < rows * size:
        return Z.ctypes.data + end * size + at
    return block.ctypes.data


@owner
def _row(values, r, ld):
    """Row r of a flat block: a view, since indices from 0 on let loops vectorise (``_jit.reduction``)."""
    return values[r * ld : (r + 1) * ld]


@owner
def _load(A, start, rows, block, ld):
    """Rows of A into a block of float64, followed by zero rows up to a whole tile."""
    d = A.shape[1]
    for r in range(rows):
        given, row = A[start + r], _row(block, r, ld)
        for j in range(d):
            row[j] = given[j]
    block[rows * ld : _padded(rows) * ld] = 0.0


@owner
def _load_targets(B, start, rows, bb, ldz):
    """Rows of B into a block of row length ldz, followed by zero rows up to a whole tile."""
    m = B.shape[1]
    for r in range(rows):
        given, row = B[start + r], _row(bb, r, ldz)
        for k in range(m):
            row[k] = given[k]
    bb[rows * ldz : _padded(rows) * ldz] = 0.0


@owner
def _live(mask, lengths, base, start, rows, m, ld, M):
    """1 where a row takes part in a column's fit, 0 where not."""
    for r in range(rows):
        row = _row(M, r, ld)
        if mask.shape[0]:
            given = mask[start + r]
            for k in range(m):
                row[k] = 1.0 if given[k] else 0.0
        else:
            i = base + start + r
            for k in range(m):
                row[k] = 1.0 if i < lengths[k] else 0.0


@owner
def _add_sums(ub, bb, rows, ldz, su, suu, sub):
    """Sums over rows of u, u² and u b, four rows at a time."""
    for r in range(0, rows, 4):
        u0, u1, u2, u3 = _row(ub, r, ldz), _row(ub, r + 1, ldz), _row(ub, r + 2, ldz), _row(ub, r + 3, ldz)
        b0, b1, b2, b3 = _row(bb, r, ldz), _row(bb, r + 1, ldz), _row(bb, r + 2, ldz), _row(bb, r + 3, ldz)
        for k in range(ldz):
            su[k] += (u0[k] + u1[k]) + (u2[k] + u3[k])
        for k in range(ldz):
            suu[k] += (u0[k] * u0[k] + u1[k] * u1[k]) + (u2[k] * u2[k] + u3[k] * u3[k])
        for k in range(ldz):
            sub[k] += (u0[k] * b0[k] + u1[k] * b1[k]) + (u2[k] * b2[k] + u3[k] * b3[k])


@owner
def _add_products(first, second, rows, ldz, total):
    """Sums over rows of first times second, four rows at a time."""
    for r in range(0, rows, 4):
        p0, p1 = _row(first, r, ldz), _row(first, r + 1, ldz)
        p2, p3 = _row(first, r + 2, ldz), _row(first, r + 3, ldz)
        q0, q1 = _row(second, r, ldz), _row(second, r + 1, ldz)
        q2, q3 = _row(second, r + 2, ldz), _row(second, r + 3, ldz)
        for k in range(ldz):
            total[k] += (p0[k] * q0[k] + p1[k] * q1[k]) + (p2[k] * q2[k] + p3[k] * q3[k])


@owner
def _add_largest(yb, rows, ldz, most):
    """Largest abs(y) of each column, four rows at a time; nan is passed over."""
    for r in range(0, rows, 4):
        y0, y1, y2, y3 = _row(yb, r, ldz), _row(yb, r + 1, ldz), _row(yb, r + 2, ldz), _row(yb, r + 3, ldz)
        for k in range(ldz):
            one = abs(y0[k]) if abs(y0[k]) > abs(y1[k]) else abs(y1[k])
            two = abs(y2[k]) if abs(y2[k]) > abs(y3[k]) else abs(y3[k])
            one = one if one > two else two
            most[k] = one if one > most[k] else most[k]


@owner
def _exponentials(zb, yb, count, skip, ub):
    """z += y and u = exp(z) + skip z."""
    for i in range(count):
        z = zb[i] + yb[i]
        zb[i] = z
        ub[i] = exp(z) + skip * z


@owner
def _exp_block(zb, count, eb):
    for i in range(count):
        eb[i] = exp(zb[i])


@owner
def _dead(values, M, count):
    """0 where a row takes no part: a product with M would make nan of inf."""
    for i in range(count):
        values[i] = values[i] if M[i] > 0.0 else 0.0


@kernel
def step_rows(A, T, fresh, offset, B, mask, lengths, base, w, skip, kl, Z, sums):
    """Z += A T, and the sums that give each column's objective there.

    Parameters
    ----------
    A : (n, d) C-contiguous, float32 or float64
    T : (padded d, width) float64, zero where padded
    fresh : bool
        Z = A T + offset instead.
    offset : (n,) float64, or (0,)
    B : (n, m) float64, C-contiguous
    mask : (n, m) bool, or (0, 0)
    lengths : (m,) intp, or (0,): row i takes part in column k if ``base + i < lengths[k]``
    base : int
        Number of the chunk's first row.
    w : (n,) float64 row ridge, or (0,)
    skip : float
    kl : bool
    Z : (n, width) float64, updated
    sums : (N_SUMS, width) float64, written
    """
    n, d = A.shape
    m, ldz = B.shape[1], Z.shape[1]
    masked = mask.shape[0] > 0 or lengths.size > 0
    ridged = w.size > 0
    step = _block_rows(d)
    ld = _padded(d) + _GAP
    block = np.zeros(step * ld)
    yb, ub, bb = np.empty(step * ldz), np.empty(step * ldz), np.zeros(step * ldz)
    M = np.ones(step * ldz if masked else 0)
    wz = np.zeros(step * ldz if ridged else 0)
    sums[:] = 0.0
    su, suu, sub, sbz, most = np.zeros(ldz), np.zeros(ldz), np.zeros(ldz), np.zeros(ldz), np.zeros(ldz)
    right = T.reshape(-1)
    for start in range(0, n, step):
        rows = min(step, n - start)
        whole, count = _padded(rows), rows * ldz
        _load(A, start, rows, block, ld)
        _load_targets(B, start, rows, bb, ldz)
        for i in range(whole * ldz):
            yb[i] = 0.0
        tile = 0
        for r in range(0, rows, _MR):
            for k in range(0, ldz, _WIDTH):
                ahead = _line_ahead(tile, d, A, B, Z, start, step, block)
                simd.product_tile(block, r * ld, 1, ld, right, k, ldz, d, yb, r * ldz + k, ldz, ahead)
                tile += 1
        zb = Z[start : start + rows].reshape(-1)
        if fresh:
            for r in range(rows):
                _row(zb, r, ldz)[:] = offset[start + r] if offset.size else 0.0
        _exponentials(zb, yb, count, skip, ub)
        ub[count : whole * ldz] = 0.0
        if masked:
            _live(mask, lengths, base, start, rows, m, ldz, M)
            _dead(ub, M, count)
            _dead(yb, M, count)
        _add_sums(ub, bb, whole, ldz, su, suu, sub)
        _add_largest(yb, whole, ldz, most)
        if ridged or kl:
            for i in range(count):
                ub[i] = zb[i]
            if masked:
                _dead(ub, M, count)
            if kl:
                _add_products(ub, bb, whole, ldz, sbz)
            if ridged:
                _ridge_weights(w, start, ub, rows, ldz, wz)
                wz[count : whole * ldz] = 0.0
                _add_products(wz, ub, whole, ldz, sums[SUM_WZZ])
    for k in range(ldz):
        sums[SUM_U, k] = su[k]
        sums[SUM_UU, k] = suu[k]
        sums[SUM_UB, k] = sbz[k] if kl else sub[k]
        sums[MOST_Y, k] = most[k]


@owner
def _weights(zb, bb, eb, rows, ldz, skip, kl, inverse, s, W, cb):
    """dL/dz and c = f - b of a block; eb holds exp(z)."""
    for r in range(rows):
        z, b, e = _row(zb, r, ldz), _row(bb, r, ldz), _row(eb, r, ldz)
        out, c = _row(W, r, ldz), _row(cb, r, ldz)
        if kl:
            for k in range(ldz):
                out[k] = s[k] * (e[k] * inverse[k]) - b[k]
            for k in range(ldz):
                c[k] = e[k] * inverse[k] - b[k]
        else:
            for k in range(ldz):
                c[k] = (e[k] + skip * z[k]) * inverse[k] - b[k]
            for k in range(ldz):
                out[k] = ((e[k] + skip) * inverse[k]) * (c[k] - s[k])


@owner
def _sizes(zb, bb, eb, rows, ldz, skip, kl, inverse, s, terms):
    """Sizes of the terms that cancel in dL/dz."""
    for r in range(rows):
        z, b, e, out = _row(zb, r, ldz), _row(bb, r, ldz), _row(eb, r, ldz), _row(terms, r, ldz)
        if kl:
            for k in range(ldz):
                out[k] = s[k] * (e[k] * inverse[k]) + b[k]
        else:
            for k in range(ldz):
                f = (e[k] + skip * z[k]) * inverse[k]
                v = (e[k] + skip) * inverse[k]
                out[k] = abs(v) * (abs(f) + abs(b[k]) + abs(s[k]))


@owner
def _ridge_weights(w, start, zb, rows, ldz, wz):
    """w z of a block."""
    for r in range(rows):
        z, out, here = _row(zb, r, ldz), _row(wz, r, ldz), w[start + r]
        for k in range(ldz):
            out[k] = here * z[k]


@kernel
def gradient_rows(A, Z, B, mask, lengths, base, w, skip, kl, alpha, s, exactly, G, exact):
    """Each column's gradient where its z, alpha and s are known.

    A, Z, B, mask, lengths, base, w, skip, kl: as for ``step_rows``. alpha, s : (width,); for the likelihood s
    is sum(b). ``G`` (1, 2 or 3, padded d, width) receives A' dL/dz, abs(A)' of the terms that cancel in it,
    and abs(A)' abs(dL/dz) (MATH 7). ``exact`` (N_EXACT, width) is written; zeros unless ``exactly``.
    """
    n, d = A.shape
    m, ldz = B.shape[1], Z.shape[1]
    masked = mask.shape[0] > 0 or lengths.size > 0
    ridged = w.size > 0
    with_scales = G.shape[0] > 1
    dp = _padded(d)
    step = _block_rows(d)
    ld = dp + _GAP
    block = np.zeros(step * ld)
    eb, bb, W, cb = np.empty(step * ldz), np.zeros(step * ldz), np.zeros(step * ldz), np.zeros(step * ldz)
    terms = np.zeros(step * ldz if with_scales else 0)
    M = np.ones(step * ldz if masked else 0)
    half, most = np.zeros(ldz), np.zeros(ldz)
    inverse = 1.0 / alpha
    G[:] = 0.0
    flat = G.reshape(-1)
    size, own = dp * ldz, block.ctypes.data
    for start in range(0, n, step):
        rows = min(step, n - start)
        whole, count = _padded(rows), rows * ldz
        _load(A, start, rows, block, ld)
        _load_targets(B, start, rows, bb, ldz)
        zb = Z[start : start + rows].reshape(-1)
        _exp_block(zb, count, eb)
        _weights(zb, bb, eb, rows, ldz, skip, kl, inverse, s, W, cb)
        if with_scales:
            _sizes(zb, bb, eb, rows, ldz, skip, kl, inverse, s, terms)
        if ridged:
            _ridge_weights(w, start, zb, rows, ldz, eb)
            for i in range(count):
                W[i] += eb[i]
            if with_scales:
                for i in range(count):
                    terms[i] += abs(eb[i])
        if masked:
            _live(mask, lengths, base, start, rows, m, ldz, M)
            _dead(W, M, count)
            _dead(cb, M, count)
            if with_scales:
                _dead(terms, M, count)
        if exactly:
            cb[count : whole * ldz] = 0.0
            _add_products(cb, cb, whole, ldz, half)
            _add_largest(cb, whole, ldz, most)
        tile = 0
        for j in range(0, dp, _MR):
            for k in range(0, ldz, _WIDTH):
                ahead = _line_ahead(tile, rows, A, B, Z, start, step, block)
                simd.product_tile(block, j, ld, 1, W, k, ldz, rows, flat, j * ldz + k, ldz, ahead)
                tile += 1
        if with_scales:
            for i in range(rows * ld):
                block[i] = abs(block[i])
            for which in range(1, G.shape[0]):
                if which == 2:
                    for i in range(count):
                        terms[i] = abs(W[i])
                for j in range(0, dp, _MR):
                    for k in range(0, ldz, _WIDTH):
                        at = which * size + j * ldz + k
                        simd.product_tile(block, j, ld, 1, terms, k, ldz, rows, flat, at, ldz, own)
    for k in range(ldz):
        exact[HALF_CC, k] = 0.5 * half[k]
        exact[MOST_C, k] = most[k]


@kernel
def target_sums(B, mask, lengths, base, kl, sums):
    """Sums over rows, (4, m): of b, of b², of ones where rows take part; for the likelihood of b log b."""
    n, m = B.shape
    masked = mask.shape[0] > 0 or lengths.size > 0
    one = np.ones(m)
    sums[:] = 0.0
    for i in range(n):
        if masked:
            _live(mask, lengths, base, i, 1, m, m, one)
        b = B[i]
        for k in range(m):
            sums[0, k] += b[k]
        for k in range(m):
            sums[1, k] += b[k] * b[k]
        for k in range(m):
            sums[2, k] += one[k]
        if kl:
            for k in range(m):
                if b[k] > 0.0:
                    sums[3, k] += b[k] * np.log(b[k])


@kernel
def draw(B, mask, lengths, base, before, uniform, by_square, phase, picked):
    """Systematic sample of rows for each column: slot j receives the row where the running sum of chances
    passes j + phase.

    Parameters
    ----------
    B, mask, lengths, base : as for ``step_rows``
    before : (m,) running sums of chances at the chunk's first row, updated
    uniform, by_square : (m,) float64
        A row that takes part has the chance uniform + by_square * b² of each of its slots.
    phase : (m,) float64 in (0, 1]
    picked : (m, slots) intp, written
    """
    n, m = B.shape
    masked = mask.shape[0] > 0 or lengths.size > 0
    one = np.ones(m)
    slots = picked.shape[1]
    upcoming = np.empty(m)
    for k in range(m):
        upcoming[k] = np.ceil(before[k] - phase[k]) + phase[k]
        if upcoming[k] <= before[k]:
            upcoming[k] += 1.0
    for i in range(n):
        if masked:
            _live(mask, lengths, base, i, 1, m, m, one)
        b = B[i]
        for k in range(m):
            before[k] += one[k] * (uniform[k] + by_square[k] * (b[k] * b[k]))
        for k in range(m):
            while upcoming[k] <= before[k]:
                slot = int(upcoming[k] - phase[k] + 0.5)
                if 0 <= slot < slots:
                    picked[k, slot] = base + i
                upcoming[k] += 1.0


@kernel
def take_columns(Z, B, columns, Z_out, B_out):
    """Some columns of row state and targets; columns of ``Z_out`` beyond them become 0."""
    for i in range(Z.shape[0]):
        for k in range(columns.size):
            B_out[i, k] = B[i, columns[k]]
        for k in range(columns.size):
            Z_out[i, k] = Z[i, columns[k]]
        for k in range(columns.size, Z_out.shape[1]):
            Z_out[i, k] = 0.0
