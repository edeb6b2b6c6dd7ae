"""The problem object: data, parameters and the public evaluations. It owns the mathematics of one fit."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _validate, passes
from .kernels.finite import finite_rows
from .point import Point, evaluate
from .sources import DenseRows, Rows

if TYPE_CHECKING:
    from .hessian import SoftResHessian


class SoftResProblem:
    """Least squares on a normalised model: ``½‖f(Ax) - b‖² + ½ Σ row_ridge_i z_i² + ½ ridge ‖x‖²``.

    With z = A x, ``u = exp(z) + skip*z`` and ``f = u / sum(u)``. ``skip=1`` is the softmax-ResNet
    regression of Song, Wang & Yin (arXiv:2309.13482; their objective is twice the first term), ``skip=0``
    is softmax regression.

    Parameters
    ----------
    A : (n, d) array_like
        float64 or float32; other real types are converted. C-order is fastest. Other layouts are copied
        piece by piece in each pass, which is slower, and never as a whole.
    b : (n,) array_like
        Target. Any sum is accepted, with a notice where it is not 1, since f sums to 1.
    skip : float, optional
        Weight of the linear term, >= 0.
    row_ridge : float or (n,) array_like, optional
        Penalty on z_i², >= 0. It is w² of the papers and not an observation weight.
    ridge : float, optional
        Penalty on ‖x‖², >= 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these shapes, not real, not finite, or negative where it must not be.

    Notes
    -----
    float32 A: z = A x is formed in float64, and so are values. The weighted sums of rows in gradients and
    products are kept in float32 within a block of rows and in float64 across blocks: about 7 digits of the
    terms that cancel. Everything else is float64. A is never copied or modified; do not modify it
    while the problem is in use.

    Examples
    --------
    >>> import numpy as np
    >>> import fastsoftres as fs
    >>> problem = fs.SoftResProblem([[1.0], [0.0]], [0.7, 0.3], skip=0)
    >>> round(problem.value([0.0]), 12)
    0.04
    """

    def __init__(
        self, A: Any, b: Any, *, skip: float = 1.0, row_ridge: Any = 0.0, ridge: float = 0.0
    ) -> None:
        self._A = _validate.matrix(A)
        self.shape: tuple[int, int] = (int(self._A.shape[0]), int(self._A.shape[1]))
        n = self.shape[0]
        b = _validate.vector(b, n, "b", "row of A").copy()  # the caller's may change later, or be read-only
        self.skip = _validate.number(skip, "skip")
        self.ridge = _validate.number(ridge, "ridge")
        w = _row_ridge(row_ridge, n)
        self._source = DenseRows(self._A)
        self._check_rows()
        total = float(b.sum())
        if abs(total - 1.0) > 1e-6 + 1e-15 * n:
            warnings.warn(
                f"b sums to {total:.6g}; the fitted values always sum to 1. Fitted as it stands",
                UserWarning,
                stacklevel=2,
            )
        self._rows = passes.RowData(b, w, w.size > 0, self.skip)
        self._bb = float(b @ b)

    def _check_rows(self) -> None:
        """A finite? One sum a chunk tells, and only a bad chunk is looked at closely."""
        from .runners import walk

        walk(self._source, _FiniteRows())

    @property
    def A(self) -> np.ndarray:
        """The matrix (n, d), as given."""
        return self._A

    @property
    def b(self) -> np.ndarray:
        """The target (n,), float64."""
        return self._rows.b

    @property
    def row_ridge(self) -> np.ndarray:
        """Penalty of each row (n,)."""
        return self._rows.w if self._rows.ridged else np.zeros(self.shape[0])

    @property
    def dtype(self) -> np.dtype:
        """Type in which A is read: float64 or float32."""
        return self._source.dtype

    def __repr__(self) -> str:
        n, d = self.shape
        return f"SoftResProblem(n={n}, d={d}, dtype={self.dtype}, skip={self.skip:g}, ridge={self.ridge:g})"

    def rows(self, picked: np.ndarray) -> SoftResProblem:
        """The same problem on some of the rows (copied), their targets as they are.

        Parameters
        ----------
        picked : (m,) integer array
            Row numbers, repetition allowed.
        """
        part = copy.copy(self)
        part._source = self._source.take(picked)
        part._A = part._source.A
        part.shape = part._A.shape
        w = self._rows.w[picked] if self._rows.ridged else self._rows.w
        part._rows = self._rows._replace(b=self._rows.b[picked], w=w)
        part._bb = float(part.b @ part.b)
        return part

    def with_penalty(self, *, ridge: float | None = None, row_ridge: Any = None) -> SoftResProblem:
        """The same data under other penalties; nothing is copied.

        Parameters
        ----------
        ridge, row_ridge : optional
            As for the constructor; what is not given is kept.
        """
        other = copy.copy(self)
        if ridge is not None:
            other.ridge = _validate.number(ridge, "ridge")
        if row_ridge is not None:
            w = _row_ridge(row_ridge, self.shape[0])
            other._rows = self._rows._replace(w=w, ridged=w.size > 0)
        return other

    def at(self, x: Any) -> Point:
        """Evaluate at x, in one read of A.

        Parameters
        ----------
        x : (d,) array_like

        Returns
        -------
        Point
            ``value``, ``grad``, ``z``, ``hessp(t)`` (one more read), ``hessian()``.

        Raises
        ------
        ValueError
            If x has a wrong shape or is not finite, or the objective is undefined there (alpha = 0,
            or A x overflows).

        Notes
        -----
        MATH 4: the gradient is linear in 1/alpha and s, so three sums over the rows give it without
        knowing either. The result is the same to the last bit for any number of threads.
        """
        x = _validate.vector(x, self.shape[1], "x", "column of A").copy()
        return evaluate(self, x)

    def value(self, x: Any) -> float:
        """The objective at x: one read of A. See ``at``."""
        return self.at(x).value

    def grad(self, x: Any) -> np.ndarray:
        """The gradient (d,) at x: one read of A. See ``at``."""
        return self.at(x).grad.copy()

    def value_and_grad(self, x: Any) -> tuple[float, np.ndarray]:
        """The objective and its gradient (d,) at x, together from one read of A. See ``at``."""
        point = self.at(x)
        return point.value, point.grad.copy()

    def hessp(self, x: Any, t: Any) -> np.ndarray:
        """The Hessian at x times t, (d,) or (d, k): two reads of A; ``at(x).hessp`` needs one a call."""
        return self.at(x).hessp(t)

    def hessian(self, x: Any) -> SoftResHessian:
        """The Hessian at x as a linear operator (d, d): one read of A now, one for a product or assembly."""
        return self.at(x).hessian()

    def predict(self, x: Any, A: Any = None) -> np.ndarray:
        """Fitted values f at x: one read of A.

        Parameters
        ----------
        x : (d,) array_like
        A : (m, d) array_like, optional
            Other rows, normalised among themselves; by default the problem's own.

        Returns
        -------
        (n,) or (m,) float64
        """
        if A is None:
            return self.at(x).f.copy()
        A = _validate.matrix(A)
        if A.shape[1] != self.shape[1]:
            raise ValueError(f"A must have {self.shape[1]} columns like the problem's, got shape {A.shape}")
        b = np.zeros(A.shape[0])
        b[0] = 1.0  # any target: only f is asked for
        return SoftResProblem(A, b, skip=self.skip).at(x).f.copy()


class _FiniteRows:
    """Raises at the first row of A that is not finite."""

    reads_A = True

    def block(self, rows: Rows) -> int:
        if not finite_rows(rows.A):
            bad = int(np.argmin(np.isfinite(rows.A).reshape(-1)))
            i, j = divmod(bad, rows.A.shape[1])
            raise ValueError(f"A must be finite, got {rows.A[i, j]} at row {rows.start + i}, column {j}")
        return 0

    def merge(self, before: int, after: int) -> int:
        return 0


def _row_ridge(row_ridge: Any, n: int) -> np.ndarray:
    """(n,) if there is any, else (0,)."""
    if np.ndim(row_ridge) == 0:
        value = _validate.number(row_ridge, "row_ridge")
        return np.full(n, value) if value else np.empty(0)
    w = _validate.vector(row_ridge, n, "row_ridge", "row of A")
    if (w < 0).any():
        i = int(np.argmin(w))
        raise ValueError(f"row_ridge must be >= 0, got {w[i]} at row {i}")
    return w.copy() if w.any() else np.empty(0)
