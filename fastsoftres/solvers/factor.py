"""Factorisations of d x d matrices: our own where they are small, LAPACK's above."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..kernels import dense

#: Up to this many columns our own factorisations take no longer than LAPACK's, whose threads they spare.
_SMALL = 100
#: A Cholesky pivot below this share of its diagonal entry is not safely positive.
_PIVOT = 1e-10

Solve = Callable[[np.ndarray], np.ndarray]


def cholesky(H: np.ndarray, pivot: float = _PIVOT) -> Solve | None:
    """H^-1 as a function of the right side, or None where H is not safely positive definite."""
    if H.shape[0] <= _SMALL:
        L = np.zeros_like(H)
        if not dense.factor(H, pivot, L):
            return None
        return lambda right: dense.solve_factored(L, right)
    from scipy.linalg import cho_solve

    try:
        L = np.linalg.cholesky(H)
    except np.linalg.LinAlgError:
        return None
    if not (np.diag(L) ** 2 > pivot * np.diag(H)).all():
        return None
    return lambda right: cho_solve((L, True), right, check_finite=False)


def triangle(H: np.ndarray) -> np.ndarray | None:
    """The lower triangular L with L L' = H, or None where H is not safely positive definite."""
    if H.shape[0] <= _SMALL:
        L = np.zeros_like(H)
        return L if dense.factor(H, _PIVOT, L) else None
    try:
        L = np.linalg.cholesky(H)
    except np.linalg.LinAlgError:
        return None
    return L if (np.diag(L) ** 2 > _PIVOT * np.diag(H)).all() else None


def eigen(H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors in columns of a symmetric matrix."""
    return dense.eigh(H) if H.shape[0] <= _SMALL else np.linalg.eigh(H)


def pseudo_inverse(H: np.ndarray, rank: float) -> Solve:
    """H^+ as a function, for positive semidefinite H of unit diagonal; ``rank`` cuts small eigenvalues."""
    solve = cholesky(H)
    if solve is not None:
        return solve
    values, vectors = eigen(H)
    kept = values > rank * max(values[-1], 0.0)
    V = vectors[:, kept]
    return lambda right: V @ ((V.T @ right) / values[kept])
