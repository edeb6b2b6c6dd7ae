"""Factorisations of d x d matrices: our own where they are small, LAPACK's above."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..kernels import dense

#: Up to this many columns our own factorisations are used: LAPACK's threads wait in a loop after each one,
#: and passes over A took 1.2 to 1.5 times as long for 20 ms. Cholesky at 800 takes 14 ms, LAPACK's 4.
_FACTORED, _EIGEN = 800, 100
#: A Cholesky pivot below this share of its diagonal entry is not safely positive.
_PIVOT = 1e-10

Solve = Callable[[np.ndarray], np.ndarray]


def cholesky(H: np.ndarray, pivot: float = _PIVOT) -> Solve | None:
    """H^-1 as a function of the right side, or None where H is not safely positive definite."""
    L = triangle(H, pivot)
    return None if L is None else inverse(L)


def inverse(L: np.ndarray) -> Solve:
    """(L L')^-1 as a function, for the lower triangular L of ``triangle``."""
    if L.shape[0] <= _FACTORED:

        def solve(right: np.ndarray) -> np.ndarray:
            if right.ndim == 1:
                return np.asarray(dense.solve_factored(L, right))
            return np.column_stack([solve(column) for column in np.ascontiguousarray(right.T)])

        return solve
    from scipy.linalg import cho_solve

    return lambda right: cho_solve((L, True), right, check_finite=False)


def triangle(H: np.ndarray, pivot: float = _PIVOT) -> np.ndarray | None:
    """The lower triangular L with L L' = H, or None where H is not safely positive definite."""
    if H.shape[0] <= _FACTORED:
        L = np.zeros_like(H)
        return L if dense.factor(H, pivot, L) else None
    try:
        L = np.linalg.cholesky(H)
    except np.linalg.LinAlgError:
        return None
    return L if (np.diag(L) ** 2 > pivot * np.diag(H)).all() else None


def eigen(H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors in columns of a symmetric matrix."""
    return dense.eigh(H) if H.shape[0] <= _EIGEN else np.linalg.eigh(H)


def pseudo_inverse(H: np.ndarray, rank: float) -> Solve:
    """H^+ as a function, for positive semidefinite H of unit diagonal; ``rank`` cuts small eigenvalues."""
    solve = cholesky(H)
    if solve is not None:
        return solve
    values, vectors = eigen(H)
    kept = values > rank * max(values[-1], 0.0)
    V = vectors[:, kept]
    return lambda right: V @ ((V.T @ right) / values[kept])
