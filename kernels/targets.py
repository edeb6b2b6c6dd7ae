"""Many targets, one A: passes over blocks of rows for m columns of x at once (MATH 6).

Z = A X and A' W are matrix products, formed a tile at a time from a block of A that lies in cache, so that A is
read once for all columns; between them stands the scalar formula over the block's rows and columns. Row state
Z is (n, width): m columns, padded with zeros to whole tiles. There is no shift: the columns that are solved
together are those whose z stays within ``formula.COMMON_F64``, where the plain formula is in range.
"""

from __future__ import annotations

import numpy as np

from . import simd
from ._jit import inline, kernel
from .formula import exp

_MR = simd.GRAM_MR
_WIDTH = simd.gram_columns(np.float64)
#: Rows of a block, at most; fewer where a block of A would leave half of a second-level cache of 1 MB.
_BLOCK = 64
_BLOCK_BYTES = 256 << 10
#: Rows of a block begin so many entries apart beyond d: at multiples of 512 bytes they would share cache sets.
_GAP = 8

# Sums over rows of each column, in the order of ``sums``. For the likelihood SUM_UU is unused and SUM_UB sum(b z).
SUM_U, SUM_UU, SUM_UB, SUM_WZZ, MOST_Y, MOST_Z = range(6)
N_SUMS = 6
# What the gradient pass knows more exactly than the sums: ½<c, c>, <c, f>, largest |c|.
HALF_CC, SUM_CF, MOST_C = range(3)
N_EXACT = 3


def width(m: int) -> int:
    """Row length of row state for m columns."""
    return -(-m // _WIDTH) * _WIDTH


@inline
def _padded(d):
    return (d + _MR - 1) // _MR * _MR


@inline
def _block_rows(d):
    rows = _BLOCK_BYTES // (8 * (_padded(d) + _GAP))
    return max(16, min(_BLOCK, rows - rows % _MR))


@inline
def _load(A, start, rows, block, ld):
    """Rows of A into a block of float64, followed by zero rows up to a whole tile."""
    d = A.shape[1]
    for r in range(rows):
        for j in range(d):
            block[r * ld + j] = A[start + r, j]
    for r in range(rows, _padded(rows)):
        for j in range(d):
            block[r * ld + j] = 0.0


@inline
def _live(mask, lengths, base, start, rows, m, ld, M):
    """1 where a row takes part in a column's fit, 0 where not."""
    for r in range(rows):
        if mask.shape[0]:
            for k in range(m):
                M[r * ld + k] = 1.0 if mask[start + r, k] else 0.0
        else:
            i = base + start + r
            for k in range(m):
                M[r * ld + k] = 1.0 if i < lengths[k] else 0.0


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
    sums : (N_SUMS, width) float64, written; the largest of abs(A T) and abs(Z) among them
    """
    n, d = A.shape
    m, ldz = B.shape[1], Z.shape[1]
    masked = mask.shape[0] > 0 or lengths.size > 0
    ridged = w.size > 0
    step = _block_rows(d)
    ld = _padded(d) + _GAP
    block = np.zeros(step * ld)
    yb = np.empty(step * ldz)
    ub = np.empty(step * ldz)
    M = np.ones(step * ldz if masked else 0)
    right = T.reshape(-1)
    sums[:] = 0.0
    for start in range(0, n, step):
        rows = min(step, n - start)
        _load(A, start, rows, block, ld)
        yb[:] = 0.0
        for r in range(0, rows, _MR):
            for k in range(0, ldz, _WIDTH):
                simd.product_tile(block, r * ld, 1, ld, right, k, ldz, d, yb, r * ldz + k, ldz)
        zb = Z[start : start + rows].reshape(-1)
        if fresh:
            for i in range(rows * ldz):
                zb[i] = yb[i]
            if offset.size:
                for r in range(rows):
                    for k in range(ldz):
                        zb[r * ldz + k] += offset[start + r]
        else:
            for i in range(rows * ldz):
                zb[i] += yb[i]
        for i in range(rows * ldz):
            ub[i] = exp(zb[i])
        if skip != 0.0:
            for i in range(rows * ldz):
                ub[i] += skip * zb[i]
        if masked:
            _live(mask, lengths, base, start, rows, m, ldz, M)
            for i in range(rows * ldz):
                ub[i] = ub[i] if M[i] > 0.0 else 0.0  # a product would make nan of inf
                yb[i] = yb[i] if M[i] > 0.0 else 0.0
        for r in range(rows):
            own = slice(r * ldz, r * ldz + m)
            z, b, u, y = zb[own], B[start + r], ub[own], yb[own]
            for k in range(m):
                sums[SUM_U, k] += u[k]
            if kl:
                for k in range(m):
                    sums[SUM_UB, k] += z[k] * b[k]
            else:
                for k in range(m):
                    sums[SUM_UU, k] += u[k] * u[k]
                for k in range(m):
                    sums[SUM_UB, k] += u[k] * b[k]
            for k in range(m):
                sums[MOST_Y, k] = max(sums[MOST_Y, k], abs(y[k]))
            if masked:
                for k in range(m):
                    sums[MOST_Z, k] = max(sums[MOST_Z, k], abs(z[k]) * M[r * ldz + k])
            else:
                for k in range(m):
                    sums[MOST_Z, k] = max(sums[MOST_Z, k], abs(z[k]))
            if ridged:
                wi = w[start + r]
                if masked:
                    for k in range(m):
                        sums[SUM_WZZ, k] += M[r * ldz + k] * (wi * z[k] * z[k])
                else:
                    for k in range(m):
                        sums[SUM_WZZ, k] += wi * z[k] * z[k]


@kernel
def gradient_rows(A, Z, B, mask, lengths, base, w, skip, kl, alpha, s, with_scales, G, exact):
    """Each column's gradient where its z, alpha and s are known, and its loss from c = f - b.

    A, Z, B, mask, lengths, base, w, skip, kl: as for ``step_rows``. alpha, s : (m,); for the likelihood s is sum(b).
    ``G`` (1 or 3, padded d, width) receives A' dL/dz and, ``with_scales``, abs(A)' of the terms that cancel in
    dL/dz and abs(A)' abs(dL/dz) (MATH 7). ``exact`` (N_EXACT, width) is written.
    """
    n, d = A.shape
    m, ldz = B.shape[1], Z.shape[1]
    masked = mask.shape[0] > 0 or lengths.size > 0
    ridged = w.size > 0
    dp = _padded(d)
    step = _block_rows(d)
    ld = dp + _GAP
    block = np.zeros(step * ld)
    eb = np.empty(step * ldz)
    W = np.zeros(step * ldz)
    terms = np.zeros(step * ldz if with_scales else 0)
    M = np.ones(step * ldz if masked else 0)
    inverse = np.empty(m)
    for k in range(m):
        inverse[k] = 1.0 / alpha[k]
    G[:] = 0.0
    exact[:] = 0.0
    flat = G.reshape(-1)
    size = dp * ldz
    for start in range(0, n, step):
        rows = min(step, n - start)
        _load(A, start, rows, block, ld)
        zb = Z[start : start + rows].reshape(-1)
        for i in range(rows * ldz):
            eb[i] = exp(zb[i])
        if masked:
            _live(mask, lengths, base, start, rows, m, ldz, M)
        for r in range(rows):
            own = slice(r * ldz, r * ldz + m)
            z, b, e, out = zb[own], B[start + r], eb[own], W[own]
            if kl:
                for k in range(m):
                    e[k] = s[k] * (e[k] * inverse[k])  # s f
                if masked:
                    for k in range(m):
                        e[k] = e[k] if M[r * ldz + k] > 0.0 else 0.0
                for k in range(m):
                    out[k] = e[k] - b[k]
                for k in range(m):
                    exact[MOST_C, k] = max(exact[MOST_C, k], abs(out[k]))
                for k in range(m):
                    exact[HALF_CC, k] += 0.5 * (out[k] * out[k])
            else:
                for k in range(m):
                    out[k] = (e[k] + skip * z[k]) * inverse[k]  # f
                for k in range(m):
                    e[k] = (e[k] + skip) * inverse[k]  # v/alpha
                if masked:
                    for k in range(m):
                        out[k] = out[k] if M[r * ldz + k] > 0.0 else 0.0
                        e[k] = e[k] if M[r * ldz + k] > 0.0 else 0.0
                if with_scales:
                    sizes = terms[own]
                    for k in range(m):
                        sizes[k] = abs(e[k]) * (abs(out[k]) + abs(b[k]) + abs(s[k]))
                for k in range(m):
                    c = out[k] - b[k]
                    exact[SUM_CF, k] += c * out[k]
                for k in range(m):
                    c = out[k] - b[k]
                    exact[HALF_CC, k] += 0.5 * (c * c)
                for k in range(m):
                    exact[MOST_C, k] = max(exact[MOST_C, k], abs(out[k] - b[k]))
                for k in range(m):
                    out[k] = e[k] * (out[k] - b[k] - s[k])
            if kl and with_scales:
                sizes = terms[own]
                for k in range(m):
                    sizes[k] = e[k] + b[k]
            if ridged:
                wi = w[start + r]
                for k in range(m):
                    wz = wi * z[k]
                    if masked:
                        wz *= M[r * ldz + k]
                    out[k] += wz
                    if with_scales:
                        terms[r * ldz + k] += abs(wz)
        for j in range(0, dp, _MR):
            for k in range(0, ldz, _WIDTH):
                simd.product_tile(block, j, ld, 1, W, k, ldz, rows, flat, j * ldz + k, ldz)
        if with_scales:
            for i in range(rows * ld):
                block[i] = abs(block[i])
            for i in range(rows * ldz):
                eb[i] = abs(W[i])
            for j in range(0, dp, _MR):
                for k in range(0, ldz, _WIDTH):
                    at = j * ldz + k
                    simd.product_tile(block, j, ld, 1, terms, k, ldz, rows, flat, size + at, ldz)
                    simd.product_tile(block, j, ld, 1, eb, k, ldz, rows, flat, 2 * size + at, ldz)


@kernel
def target_sums(B, mask, lengths, base, kl, sums):
    """Sums over rows of B (n, m), (4, m): of b, of b², of rows that take part; for the likelihood of b log b."""
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
