"""fastsoftres/solvers/secondorder.py: definiteness proven by probes, against eigenvalues from LAPACK."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftres.solvers.factor import cholesky, triangle
from fastsoftres.solvers.secondorder import SHARE, proven_definite


def proven(H, P, rng):
    """With the products counted."""
    norms = np.sqrt(np.diag(P))
    scaled = P / norms[:, None] / norms
    solve, calls = cholesky(scaled), []

    def hessp(T):
        calls.append(T.shape)
        return H @ T

    answer = proven_definite(hessp, triangle(scaled), norms, lambda r: solve(r / norms) / norms, rng)
    assert len(calls) <= 4
    assert all(shape == (norms.size, 4) for shape in calls)
    return answer, len(calls)


def pair(rng, d, values):
    """P of any scale and correlation, and H with these eigenvalues against it."""
    root = rng.standard_normal((d, d)) * np.exp(rng.standard_normal(d))[:, None]
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return root @ (Q * values) @ Q.T @ root.T, root @ root.T


@pytest.mark.parametrize("d", [1, 5, 64, 130])
def test_matrix_close_to_its_approximation_is_proven_in_two_products(rng, d):
    H, P = pair(rng, d, rng.uniform(0.95, 1.05, d))
    answer, products = proven(H, P, rng)
    assert answer
    assert products <= 2


@pytest.mark.parametrize("lowest", [-1.0, -0.01, 0.0, SHARE])
@pytest.mark.parametrize("d", [2, 40])
def test_indefinite_matrix_is_never_called_definite(rng, d, lowest):
    """The eigenvector is one of d and P says nothing of it; 300 trials of a chance of 1e-5."""
    for _ in range(300):
        values = rng.uniform(0.97, 1.03, d)
        values[0] = lowest
        H, P = pair(rng, d, values)
        assert not proven(H, P, rng)[0]


def test_poor_approximation_proves_nothing(rng):
    H, P = pair(rng, 20, rng.uniform(0.2, 3.0, 20))
    assert not proven(H, P, rng)[0]


def test_products_that_are_not_finite_prove_nothing(rng):
    H, P = pair(rng, 4, np.ones(4))
    assert not proven(np.full_like(H, np.nan), P, rng)[0]
