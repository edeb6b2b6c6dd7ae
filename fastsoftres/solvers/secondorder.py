"""Is the Hessian positive definite? A proof by random probes, from a few exact products.

Let P = L L' be any positive definite approximation of H, and E = I - L^-1 H L^-T. If H had an eigenvalue
of at most ``share`` against P, with unit eigenvector w, then ||E^k v|| >= (1 - share)^k |w'v| for every v.
For v standard normal w'v is so too: the chance that all of several such ||E^k v|| are small is that of a
chi-square variable being small. It depends on our random vectors alone, not on how P came about: P decides
only how many products are needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

#: What H is shown to keep of P, in every direction.
SHARE = 0.1
#: Probability of calling a Hessian definite that is not.
_CHANCE = 1e-5
#: Vectors probed in one product: a read of A serves four at twice the time of one.
_PROBES = 4
#: Products after which the question is left to an assembled Hessian.
_MOST = 4

Map = Callable[[np.ndarray], np.ndarray]


def proven_definite(
    hessp: Map, L: np.ndarray, norms: np.ndarray, solve: Map, rng: np.random.Generator
) -> bool:
    """Is H >= SHARE * P, with P = diag(norms) L L' diag(norms)? False says nothing.

    Parameters
    ----------
    hessp : callable
        (d, k) -> H times it; called at most four times.
    L : (d, d) lower triangular
    norms : (d,)
    solve : callable
        P^-1 times a vector (d,).
    """

    def inverse(W: np.ndarray) -> np.ndarray:
        return np.column_stack([solve(column) for column in W.T])

    # u = P^-1/2 v in place of v, so that powers of I - P^-1 H need no root of P
    U = inverse(norms[:, None] * (L @ rng.standard_normal((norms.size, _PROBES))))
    for k in range(1, _MOST + 1):
        U = U - inverse(hessp(U))
        root = L.T @ (norms[:, None] * U)
        size = float(np.sum(root * root))
        if not math.isfinite(size):
            return False
        half = 0.5 * size / (1.0 - SHARE) ** (2 * k)
        # chi-square of 4 degrees of freedom: P(<= 2 half) = 1 - exp(-half) (1 + half), at most half²/2
        if 0.5 * half * half <= _CHANCE:
            return True
    return False
