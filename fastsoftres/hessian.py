"""The Hessian at a point: a linear operator that is never larger than A unless it is assembled."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from . import passes
from .point import Point
from .runners import walk


class SoftResHessian(LinearOperator):
    """``A' H_z A + ridge I`` with ``H_z`` a diagonal plus a symmetric pair of rank-one terms (MATH 3).

    Made by ``SoftResProblem.hessian`` or ``Point.hessian``. A product reads A once, assembly reads it once.

    Attributes
    ----------
    shape : (d, d)
    dtype : float64
    """

    def __init__(self, point: Point):
        d = point.problem.shape[1]
        super().__init__(np.dtype(np.float64), (d, d))  # type: ignore[call-arg]  # scipy-stubs lacks it
        self.point = point

    @property
    def row_diag(self) -> np.ndarray:
        """Diagonal D (n,) of H_z = diag(D) - p v' - v p'."""
        return self.point.curvature.D.copy()

    @property
    def rank_one(self) -> tuple[tuple[int, np.ndarray], tuple[int, np.ndarray]]:
        """The pair as ``((+1, r), (-1, s))``: H_z = diag(row_diag) + r r' - s s', each (n,)."""
        f, v = self.point.f, self.point.curvature.va
        s = float(self.point.normaliser.s[0])
        p = v * (f - self.point.problem.b - s + f - 0.5 * float(f @ f))  # p*alpha, for v/alpha
        size_p, size_v = float(np.linalg.norm(p)), float(np.linalg.norm(v))
        balance = np.sqrt(size_v / size_p) if size_p > 0 and size_v > 0 else 1.0
        p, v = p * (balance * np.sqrt(0.5)), v * (np.sqrt(0.5) / balance)
        return (1, p - v), (-1, p + v)

    def _matvec(self, t: Any) -> np.ndarray:
        return self.point.hessp(np.asarray(t).reshape(-1))

    def _matmat(self, t: Any) -> np.ndarray:
        return self.point.hessp(t)

    def _adjoint(self) -> SoftResHessian:
        return self

    def to_dense(self, *, assembly_dtype: Any = np.float64) -> np.ndarray:
        """The (d, d) matrix, in one read of A.

        Parameters
        ----------
        assembly_dtype : float64 or float32, optional
            Precision of the products within a block of rows; sums across blocks and the rank-one terms
            are float64 either way. float32 keeps about 6 digits and is faster; a float32 A
            is always multiplied in float32.

        Notes
        -----
        n d² operations, O(n + d²) memory. Assembled about mu = A'v/alpha, which loses nothing where f is
        peaked (MATH 3).
        """
        point, curvature = self.point, self.point.curvature
        h = curvature.h if point.problem.skip or point.problem._rows.ridged else None
        H, k = self._gram(_assembly_dtype(assembly_dtype, point), curvature.D, h=h)
        mu = point.mean
        cross = np.outer(k, mu)
        H += cross + cross.T + curvature.kappa * np.outer(mu, mu) if h is not None else 0.0
        H[np.diag_indices_from(H)] += point.problem.ridge
        return H

    def gauss_newton(self, *, assembly_dtype: Any = np.float64) -> np.ndarray:
        """The positive semidefinite part (d, d): J'J, the penalties included; one read of A.

        It is the Hessian where f = b. Formed as the Gram matrix of (v_i a_i - u_i mu)/alpha (MATH 3).
        """
        point = self.point
        dtype = _assembly_dtype(assembly_dtype, point)
        H, _ = self._gram(dtype, np.ones(self.point.z.size), scale=point.curvature.va, centre=point.f)
        if point.problem._rows.ridged:
            w, z = point.problem._rows.w, np.zeros(point.mean.size)
            work = passes.Gram(z, w, dtype=dtype, A_dtype=point.problem.dtype)
            H += passes.symmetric(walk(point.problem._source, work)[0], z.size)
        H[np.diag_indices_from(H)] += point.problem.ridge
        return H

    def _gram(self, dtype: np.dtype, D: np.ndarray, **rows: Any) -> passes.Pair:
        problem = self.point.problem
        work = passes.Gram(self.point.mean, D, dtype=dtype, A_dtype=problem.dtype, **rows)
        H, k = walk(problem._source, work)
        if dtype == np.float32 and not np.isfinite(H).all():  # squares leave its range at 1e19
            return self._gram(np.dtype(np.float64), D, **rows)
        d = self.shape[0]
        return passes.symmetric(H, d), k[:d]


def _assembly_dtype(dtype: Any, point: Point) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype not in (np.float64, np.float32):
        raise ValueError(f"assembly_dtype must be float64 or float32, got {dtype}")
    return np.dtype(np.float32) if point.problem.dtype == np.float32 else dtype
