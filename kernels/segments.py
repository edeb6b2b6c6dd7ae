"""Weighted sums of the rows of each group: scores of independent units."""

from __future__ import annotations

from . import storage as rows_of
from ._jit import kernel


@kernel
def segment_sums(A, W, ptr, base, out):
    """Weighted sums of a chunk's rows, group by group.

    Parameters
    ----------
    A : (n, d) C-contiguous, or ``Csr``
    W : (k, n) float64
    ptr : (g + 1,) intp, row offsets of the groups in the whole problem; the first and the last may reach
    beyond the chunk base : int
        The chunk's first row.
    out : (g, k, d) float64, written
    """
    n, _ = rows_of.shape(A)
    out[:] = 0.0
    for g in range(ptr.size - 1):
        for i in range(max(ptr[g] - base, 0), min(ptr[g + 1] - base, n)):
            for k in range(W.shape[0]):
                rows_of.add_row(A, i, W[k, i], out, g, k)


@kernel
def add_outer_products(S, M):
    """M += S' S, for S (g, d) and M (d, d) float64."""
    d = S.shape[1]
    for g in range(S.shape[0]):
        for i in range(d):
            s = S[g, i]
            for j in range(d):
                M[i, j] += s * S[g, j]
