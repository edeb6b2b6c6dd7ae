"""Elasticities and diversion: what a change of one row's feature does to the shares of its group."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .. import _validate, sparse
from ..problem import SoftResProblem

#: Rows of a group up to which a dense matrix is made.
_LARGEST = 5000


@dataclasses.dataclass(frozen=True, eq=False)
class Elasticities:
    """Own and cross elasticities of all rows, in O(n): rows that take part, in the order of the groups.

    Attributes
    ----------
    own : (n,) float64
        Per cent change of row i's share for one per cent more of its own feature.
    cross : (n,) float64
        Per cent change of any *other* row's share in the same group for one per cent more of row j's
        feature: the same for all of them.
    own_derivative, cross_derivative : (n,) float64
        Of f_i with respect to its own feature; and of log f_i of any other row with respect to row j's.
    f : (n,) float64
    group_ptr : (G + 1,) intp

    Examples
    --------
    >>> import fastsoftres as fs
    >>> A, b = [[1.0], [2.0], [4.0]], [0.2, 0.3, 0.5]
    >>> problem = fs.SoftResProblem(A, b, skip=0)
    >>> E = fs.elasticities(problem, [0.1], 0)
    >>> E.matrix(0).round(3)
    array([[ 0.071, -0.064, -0.156],
           [-0.029,  0.136, -0.156],
           [-0.029, -0.064,  0.244]])
    >>> E.diversion(0).round(3)
    array([[0.   , 0.45 , 0.55 ],
           [0.426, 0.   , 0.574],
           [0.475, 0.525, 0.   ]])
    """

    own: np.ndarray
    cross: np.ndarray
    own_derivative: np.ndarray
    cross_derivative: np.ndarray
    f: np.ndarray
    group_ptr: np.ndarray

    def _rows(self, group: Any) -> slice:
        g = _validate.count(group, "group")
        if g >= self.group_ptr.size - 1:
            raise ValueError(f"group must be below {self.group_ptr.size - 1}, got {g}")
        rows = slice(int(self.group_ptr[g]), int(self.group_ptr[g + 1]))
        size = rows.stop - rows.start
        if size > _LARGEST:
            raise ValueError(
                f"group {g} has {size} rows; a matrix is made up to {_LARGEST}. own and cross hold all "
                "of its entries"
            )
        return rows

    def matrix(self, group: int) -> np.ndarray:
        """Elasticities (m, m) within one group: entry i, j is that of row i's share to row j's feature."""
        rows = self._rows(group)
        E = np.tile(self.cross[rows], (rows.stop - rows.start, 1))
        np.fill_diagonal(E, self.own[rows])
        return E

    def diversion(self, group: int) -> np.ndarray:
        """Diversion ratios (m, m) within one group: of what row i loses, the share that goes to row j.

        Rows sum to 1 with a diagonal of 0; f_j/(1 - f_i) for ``skip=0``.
        """
        f = self.f[self._rows(group)]
        rest = 1.0 - f
        with np.errstate(divide="ignore", invalid="ignore"):
            D = f[None, :] / rest[:, None]
        D[rest == 0.0] = 0.0
        np.fill_diagonal(D, 0.0)
        return D

    def average_own_derivative(self, weights: Any = None) -> float:
        """Mean over rows of ``own_derivative``, or a weighted one; ``weights`` (n,), e.g. f or market
        sizes."""
        if weights is None:
            return float(self.own_derivative.mean())
        w = _validate.vector(weights, self.f.size, "weights", "row")
        total = float(w.sum())
        if total == 0.0:
            raise ValueError("weights must not sum to zero")
        return float(w @ self.own_derivative) / total


def elasticities(
    problem: SoftResProblem, x: Any, feature: Any, *, dA: Any = None, values: Any = None
) -> Elasticities:
    """Elasticities of the fitted shares to one feature, own and cross, by group.

    Parameters
    ----------
    problem : SoftResProblem
    x : (d,) array_like or OptimizeResult
        Coefficients.
    feature : int or str
        Column of A, or its name where the problem has ``feature_names``.
    dA : (n, d) array_like, optional
        Derivatives of each row's features with respect to the variable that changes, where it enters through
        more than its own column: for a column of log prices, ``1/price`` there; with interactions, their
        other factor as well. By default 1 in ``feature`` and 0 elsewhere. Rows as given to the problem.
    values : (n,) array_like, optional
        Values of the variable that changes, by default A's column; with log prices, the prices.

    Returns
    -------
    Elasticities

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or a fitted share is zero, whose elasticity is undefined.

    Notes
    -----
    MATH 1: with z' = dA x, df_i = f_i' = (v_i/alpha) z_i' - f_i sum_j (v_j/alpha) z_j', so row j changes all
    others' shares in the same proportion, -(v_j/alpha) z_j'. One read of A; O(n), never m x m over groups.
    Prices that respond to demand make x itself biased: see the documentation on endogenous prices.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> problem = fs.SoftResProblem([[2.0], [1.0], [0.0]], [0.2, 0.3, 0.5], skip=0)
    >>> E = fs.elasticities(problem, [-1.0], 0)
    >>> E.matrix(0).round(3).tolist()
    [[-1.82, 0.245, 0.0], [0.18, -0.755, 0.0], [0.18, 0.245, -0.0]]
    """
    if not isinstance(problem, SoftResProblem):
        raise TypeError(f"problem must be a SoftResProblem, got {type(problem).__name__}")
    point = problem.at(getattr(x, "x", x))
    column = _column(problem, feature)
    arranged = problem._arrangement
    if dA is None:
        rate = np.full(point.z.size, point.x[column])
    else:
        dA = _validate.matrix(dA, "dA")
        if dA.shape != (arranged.n, problem.shape[1]):
            raise ValueError(f"dA must have the shape of A, {(arranged.n, problem.shape[1])}, got {dA.shape}")
        _validate.finite(dA.data if sparse.is_sparse(dA) else dA, "dA")
        with np.errstate(all="ignore"):  # what is not finite is refused in the next line
            slopes = dA @ point.x
        _validate.finite(slopes, "dA @ x")
        rate = arranged.taken(slopes)
    if values is None:
        p = arranged.column(problem.A, column)
    else:
        p = arranged.taken(_validate.vector(values, arranged.n, "values", "row of A"))
    f, va = point.f, point.curvature.va
    if (f == 0.0).any():
        i = arranged.row(int(np.argmin(np.abs(f))))
        raise ValueError(f"the fitted share of row {i} is zero: its elasticity is undefined")
    own_derivative = va * rate * (1.0 - f)
    cross_derivative = -va * rate
    return Elasticities(
        own_derivative * p / f,
        cross_derivative * p,
        own_derivative,
        cross_derivative,
        f.copy(),
        problem.group_ptr,
    )


def _column(problem: SoftResProblem, feature: Any) -> int:
    names = getattr(problem, "feature_names", None)
    if isinstance(feature, str):
        if names is None:
            raise ValueError(
                f"feature {feature!r} is a name, but the problem has none: pass the column's number"
            )
        if feature not in names:
            raise ValueError(f"feature must be one of {', '.join(names)}, got {feature!r}")
        return list(names).index(feature)
    column = _validate.count(feature, "feature")
    if column >= problem.shape[1]:
        raise ValueError(f"feature must be below {problem.shape[1]}, got {column}")
    return column
