"""The Hessian of sparse rows without d x d numbers: a sparse matrix and a few pairs of rank one.

MATH 3 centres the rows about their group's mean mu. Centred rows are full, so the sum is expanded:

    C'DC + k mu' + mu k' + kappa mu mu' = A'DA + p mu' + mu p',
    p = A'(h - D) + ((kappa + sum D)/2 - sum h) mu

Rows that hold most of their group's weight lie close to mu, and there the expansion cancels: as in
``kernels/csr_gram.py`` they are centred and stand for themselves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import passes
from .kernels.csr_gram import HEAVY
from .point import Point
from .runners import walk


class SparseHessian(NamedTuple):
    """``sparse + left @ right.T + right @ left.T``, which is the Hessian.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> import fastsoftres as fs
    >>> problem = fs.SoftResProblem(sparse.eye_array(300, format="csr"), np.full(300, 1 / 300), skip=0)
    >>> H = problem.hessian(np.zeros(300)).to_sparse()
    >>> H.sparse.nnz, H.left.shape
    (300, (300, 1))
    """

    sparse: Any  # scipy.sparse.csr_array (d, d), symmetric
    left: np.ndarray  # (d, r) float64
    right: np.ndarray  # (d, r) float64

    def to_dense(self) -> np.ndarray:
        """The (d, d) matrix."""
        pair = self.left @ self.right.T
        return np.asarray(self.sparse.toarray() + pair + pair.T)


def sparse_hessian(point: Point, A: Any) -> SparseHessian:
    """The Hessian at a point whose rows are A, a SciPy CSR array."""
    from scipy.sparse import csr_array, diags_array, eye_array

    groups, D, h, kappa = point.problem._rows.groups, *crossing(point)
    size = np.abs(D)
    heavy = size > HEAVY * groups.rows_of(groups.sums(size))
    light, light_h = np.where(heavy, 0.0, D), np.where(heavy, 0.0, h)
    along = 0.5 * (kappa + groups.sums(light)) - groups.sums(light_h)
    S = A.T @ (diags_array(light) @ A) + point.problem.ridge * eye_array(A.shape[1])
    left, right = pairs(point, light_h - light, along)
    of = groups.of(np.arange(A.shape[0]))
    kept = groups.kept >= 0

    rows = np.flatnonzero(heavy & kept[of])
    if rows.size:
        owner = groups.kept[of[rows]]
        C = A[rows].toarray() - point.means[owner]
        np.add.at(left.T, owner, h[rows, None] * C)
        left, right = np.hstack([left, (0.5 * D[rows, None] * C).T]), np.hstack([right, C.T])

    short = np.flatnonzero(~kept)
    if short.size:  # their pairs meet in few columns
        number = np.cumsum(~kept) - 1
        rows = np.flatnonzero(~kept[of])
        ptr = np.concatenate([[0], np.cumsum(np.diff(groups.ptr)[short])])

        def sums(w: np.ndarray) -> Any:
            """sum w_i a_i of each short group."""
            return csr_array((w[rows], rows, ptr), shape=(short.size, A.shape[0])) @ A

        mu = sums(point.curvature.va)
        p = sums(light_h - light) + diags_array(along[short]) @ mu
        rows = np.flatnonzero(heavy & ~kept[of])
        if rows.size:
            owner = number[of[rows]]
            C = A[rows] - mu[owner]
            S = S + C.T @ (diags_array(D[rows]) @ C)
            p = p + csr_array((h[rows], (owner, np.arange(rows.size))), shape=(short.size, rows.size)) @ C
        cross = mu.T @ p
        S = S + cross + cross.T
    return SparseHessian(csr_array(0.5 * (S + S.T)), left, right)  # rounding may differ across the diagonal


def crossing(point: Point) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """D, h (n,) and kappa (G,) of MATH 3: the last two are 0 where nothing crosses the mean."""
    curvature, data = point.curvature, point.problem._rows
    if point.problem.skip or data.ridged:
        return curvature.D, curvature.h, curvature.kappa
    return curvature.D, np.zeros_like(curvature.D), np.zeros(data.groups.size)


def pairs(point: Point, w: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p = sum w_i a_i + along mu and mu of the kept groups, (d, k) each: one read of A, if there are any."""
    groups = point.problem._rows.groups
    p = np.zeros_like(point.means)
    if groups.n_kept:
        work = passes.GroupMeans(groups, w, point.x.size)
        for group, total, _ in walk(point.problem._source, work)[1]:
            p[groups.kept[group]] = total
        p += along[groups.kept >= 0][:, None] * point.means
    return np.ascontiguousarray(p.T), np.ascontiguousarray(point.means.T)
