"""Factors of A'DA for dummies by the thousand: columns that never meet are eliminated one by one.

Where no row has two of some columns F, their block of A'DA is diagonal. It goes first, and leaves on the
other columns R a Schur complement, dense and small where F is most of them: the dummies of the largest factor
are F, and what is eliminated is their mean from every other column.

    S_FF = diag      S_RR - S_RF S_FF^-1 S_FR = L L'

The pairs p mu' + mu p' that make A'DA the Hessian (``sparse_hessian``) follow by Woodbury's formula, and with
them the proof that it is definite: with U = (p, mu), Sigma = [[0, I], [I, 0]], the inertia of
[[S, U], [U', -Sigma]] can be counted from either corner (Haynsworth 1968), so for S definite and k pairs the
Hessian has k - (number of eigenvalues < 0 of Sigma + U'S^-1U) negative eigenvalues.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import passes
from ..kernels.csr import columns_apart
from ..point import Point
from ..runners import walk
from ..sparse import CsrRows
from ..sparse_hessian import crossing, pairs
from .factor import Solve, cholesky, eigen

#: Share of the diagonal added where the Hessian is not safely definite: directions that the data says
#: nothing of (the dummies of a factor add up to those of another) stay finite.
_SHIFT = 1e-7
#: Size, against the largest, below which an eigenvalue of the pairs' matrix has no sign.
_SIGN = 1e-10
#: Share of a column that elimination must leave (``factor.py`` has the same).
_PIVOT = 1e-10
#: Groups whose pairs are followed exactly: the matrix of the pairs has twice as many rows.
_MOST_PAIRS = 32


class Elimination:
    """Columns of a sparse matrix, parted into ``first``, which never meet, and ``rest``.

    Attributes
    ----------
    first, rest : (f,), (r,) intp
        Column numbers.
    """

    def __init__(self, A: Any, first: np.ndarray):
        from scipy.sparse import csr_array

        self.first, self.rest = np.flatnonzero(first), np.flatnonzero(~first)
        alone = A[:, self.first].tocsc()
        #: Rows by their column in ``first``, and the entry there.
        self.rows, self.ptr = alone.indices, alone.indptr
        self.entries = alone.data.astype(np.float64)
        self.others = csr_array(A[:, self.rest])
        self.source = CsrRows.of(self.others) if self.rest.size else None

    @classmethod
    def of(cls, source: Any, most: int) -> Elimination | None:
        """Of the rows of a source; None where they are not sparse or more than ``most`` columns are left."""
        if not isinstance(source, CsrRows):
            return None
        A = source.A
        by_column = A.tocsc()
        counts = np.diff(by_column.indptr)
        first = columns_apart(
            by_column.indptr.astype(np.int64), by_column.indices, np.argsort(counts, kind="stable"), source.n
        )
        return cls(A, first) if source.d - np.count_nonzero(first) <= most else None

    def approximate(self, point: Point) -> Approximation:
        """The Hessian's inverse at a point, or that of something definite that is near."""
        groups, ridge = point.problem._rows.groups, point.problem.ridge
        D, h, kappa = crossing(point)
        if groups.n_kept == groups.size <= _MOST_PAIRS:
            pair = pairs(point, h - D, 0.5 * (kappa + groups.sums(D)) - groups.sums(h))
            for shift in (0.0, _SHIFT):
                solve = self._with_pairs(self.factor(D, ridge, shift), *pair)
                if solve is not None:
                    return Approximation(solve, definite=shift == 0.0)
        solve = self.factor(np.abs(D), ridge)
        return Approximation(solve or np.copy, definite=False)

    def factor(self, D: np.ndarray, ridge: float, shift: float = _SHIFT) -> Solve | None:
        """S^-1 for S = A'DA + ridge I, its diagonal raised by a share; None where S is not definite."""
        from scipy.sparse import csr_array

        first, rest, f, r = self.first, self.rest, self.first.size, self.rest.size
        weighted = self.entries * D[self.rows]
        size = np.zeros(f)
        filled = np.flatnonzero(np.diff(self.ptr))
        if filled.size:
            size[filled] = np.add.reduceat(weighted * self.entries, self.ptr[filled])
        pivots = _pivots((size + ridge) * (1.0 + shift), shift)
        if pivots is None:
            return None
        size = pivots
        if not r:
            return lambda right: (right.T / size).T
        cross = csr_array((weighted, self.rows, self.ptr), shape=(f, D.size)) @ self.others
        cross.sort_indices()
        H = self._gram(self.source, D)
        diagonal = _pivots((np.diag(H) + ridge) * (1.0 + shift), shift)
        if diagonal is None:
            return None
        H[np.diag_indices(r)] = diagonal
        H += self._gram(CsrRows.of(cross), -1.0 / size)
        norms = np.sqrt(diagonal)  # pivots are judged by what columns were before anything was eliminated
        H = H / norms / norms[:, None]
        H[np.diag_indices(r)] = np.where(np.isinf(norms), 1.0, np.diag(H))
        inner = cholesky(H) if (np.diag(H) > _PIVOT).all() else None
        if inner is None:
            return None
        across = csr_array(cross.T)

        def solve(right: np.ndarray) -> np.ndarray:
            out = np.empty(right.shape)
            scaled = (right[first].T / size).T
            t = right[rest] - across @ scaled
            t = (inner((t.T / norms).T).T / norms).T
            out[rest] = t
            out[first] = scaled - ((cross @ t).T / size).T
            return out

        return solve

    def _gram(self, source: Any, weight: np.ndarray) -> np.ndarray:
        r = self.rest.size
        return passes.symmetric(walk(source, passes.Gram.uncentred(weight, r))[0], r)

    @staticmethod
    def _with_pairs(solve: Solve | None, left: np.ndarray, right: np.ndarray) -> Solve | None:
        """(S + left right' + right left')^-1, or None where that is not safely definite."""
        if solve is None:
            return None
        k = left.shape[1]
        balance = np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=0)
        ratio = np.sqrt(np.divide(balance[1], balance[0], out=np.ones(k), where=balance[0] > 0.0))
        ratio[ratio == 0.0] = 1.0
        U = np.hstack([left * ratio, right / ratio])
        V = solve(U)
        swap = np.roll(np.eye(2 * k), k, axis=0)
        K = swap + U.T @ V
        K = 0.5 * (K + K.T)
        values, vectors = eigen(K)
        least = _SIGN * np.abs(values).max()
        if np.count_nonzero(values < -least) != k or np.count_nonzero(values > least) != k:
            return None
        W = V @ vectors

        def corrected(r: np.ndarray) -> np.ndarray:
            return solve(r) - W @ ((W.T @ r).T / values).T

        return corrected


def _pivots(diagonal: np.ndarray, shift: float) -> np.ndarray | None:
    """The diagonal, if it is positive; with a shift, a column without any curvature stays where it is."""
    if shift:
        diagonal[diagonal == 0.0] = np.inf
    return diagonal if (diagonal > 0.0).all() else None


class Approximation(NamedTuple):
    """A positive definite matrix near the Hessian."""

    solve: Solve  # its inverse
    definite: bool  # is it the Hessian, to rounding, which is then definite?
