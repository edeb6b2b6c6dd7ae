"""The Hessian at a point: a linear operator that is never larger than A unless it is assembled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from . import _validate, passes
from .point import Point, representable
from .runners import walk

if TYPE_CHECKING:
    from .sparse_hessian import SparseHessian


class SoftResHessian(LinearOperator):
    """``A' H_z A + ridge I`` with ``H_z`` a diagonal plus a symmetric pair of rank-one terms (MATH 3).

    Made by ``SoftResProblem.hessian`` or ``Point.hessian``. A product reads A once, assembly reads it once.

    Attributes
    ----------
    shape : (d, d)
    dtype : float64

    Examples
    --------
    >>> import numpy as np
    >>> import fastsoftres as fs
    >>> A = np.random.default_rng(0).standard_normal((50, 3))
    >>> H = fs.SoftResProblem(A, np.full(50, 0.02), skip=0).hessian(np.zeros(3))
    >>> bool(np.allclose(H @ np.ones(3), H.to_dense() @ np.ones(3)))
    True
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
        """The pair as ``((+1, r), (-1, s))``, each (n,): H_z = diag(row_diag) + r r' - s s'.

        Rows of different groups do not meet in H_z.
        """
        point = self.point
        data, v = point.problem._rows, point.curvature.va
        groups = data.groups
        weight = groups.weight if groups.weight.size else np.ones(groups.size)
        s, f = point.normaliser.s, point.f
        if data.kl:  # B (diag f - f f')
            return (1, np.zeros_like(f)), (-1, f * np.sqrt(groups.rows_of(weight * s)))
        rest = f - point.problem.b - groups.rows_of(s + 0.5 * groups.sums(f * f)) + f
        p = groups.rows_of(weight) * v * rest  # p*alpha, for v/alpha
        size_p, size_v = np.sqrt(groups.sums(p * p)), np.sqrt(groups.sums(v * v))
        balance = np.ones(groups.size)
        np.divide(size_v, size_p, out=balance, where=(size_p > 0.0) & (size_v > 0.0))
        balance = groups.rows_of(np.sqrt(balance))
        p, v = p * (balance * np.sqrt(0.5)), v * (np.sqrt(0.5) / balance)
        return (1, p - v), (-1, p + v)

    def _matvec(self, t: Any) -> np.ndarray:
        return self._product(_validate.array(t, "t").reshape(-1))

    def _matmat(self, t: Any) -> np.ndarray:
        return self._product(t)

    def _product(self, t: Any) -> np.ndarray:
        with np.errstate(all="ignore"):  # overflow is told by an error, not by a warning
            product = self.point.hessp(t)
        return representable(product, "the Hessian's product with t")

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
        n d² operations, O(n + d²) memory. Assembled about mu = A'v/alpha of each group, which loses nothing
        where f is peaked (MATH 3, 5).
        """
        dtype = _assembly_dtype(assembly_dtype, self.point)
        with np.errstate(all="ignore"):  # overflow is told by an error, not by a warning
            H = self.point.assembled(dtype)
        return representable(H, "the Hessian")

    def to_sparse(self) -> SparseHessian:
        """The Hessian of a sparse A as a sparse matrix and a few pairs of rank one, without d x d numbers.

        Returns
        -------
        SparseHessian
            ``sparse`` (d, d) ``scipy.sparse.csr_array``, ``left`` and ``right`` (d, r): the Hessian is
            ``sparse + left @ right.T + right @ left.T``. The sparse matrix has an entry where two columns
            meet in a row, or in a group of at most 256 rows; longer groups have a pair each, and another
            for each row that holds more than an eighth of its group's curvature.

        Raises
        ------
        TypeError
            If A is not a SciPy sparse matrix in memory.

        Notes
        -----
        O(sum of nnz_i²) operations by SciPy's product, one thread. For factors by another library, and
        for a look at which columns meet; ``solve`` needs none of it.
        """
        from .sparse import CsrRows
        from .sparse_hessian import sparse_hessian

        source = self.point.problem._source
        if not isinstance(source, CsrRows):
            raise TypeError("to_sparse is for a sparse A in memory: use to_dense, or products (hessp)")
        with np.errstate(all="ignore"):  # overflow is told by an error, not by a warning
            H = sparse_hessian(self.point, source.A)
        for part in (H.sparse.data, H.left, H.right):
            representable(part, "the Hessian")
        return H

    def gauss_newton(self, *, assembly_dtype: Any = np.float64) -> np.ndarray:
        """The positive semidefinite part (d, d): J'J, the penalties included; one read of A.

        It is the Hessian where f = b. Formed as the Gram matrix of (v_i a_i - u_i mu)/alpha (MATH 3).
        """
        point, data = self.point, self.point.problem._rows
        dtype = _assembly_dtype(assembly_dtype, point)
        groups = data.groups
        rows = point.curvature
        if data.kl:
            weight = point.normaliser.s * (groups.weight if groups.weight.size else 1.0)
            H = point.gram(dtype, D=groups.rows_of(weight) * rows.va)
        else:
            weight = groups.rows_of(groups.weight) if groups.weight.size else np.ones(point.z.size)
            H = point.gram(dtype, D=weight, scale=rows.va, centre=point.f)
        if data.ridged:
            weight = groups.rows_of(groups.weight) if groups.weight.size else 1.0
            work = passes.Gram.uncentred(data.w * weight, point.x.size, dtype=dtype)
            H += passes.symmetric(walk(point.problem._source, work)[0], point.x.size)
        H[np.diag_indices_from(H)] += point.problem.ridge
        return H


def _assembly_dtype(dtype: Any, point: Point) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype not in (np.float64, np.float32):
        raise ValueError(f"assembly_dtype must be float64 or float32, got {dtype}")
    return np.dtype(np.float32) if point.problem.dtype == np.float32 else dtype
