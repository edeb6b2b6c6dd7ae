"""The outside good of a market: to buy none of what is on the list."""

from __future__ import annotations

import numpy as np

from .errors import InputError

#: Shares that add up to 1 in decimals may exceed it by rounding.
_ROUNDING = 1e-9


def add_outside_good(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Append the outside good: a row of zeros, whose share is what the others leave.

    Parameters
    ----------
    A : (n, d) ndarray
        Characteristics of the goods, the constant included.
    b : (n,) ndarray
        Their market shares.

    Returns
    -------
    (n + 1, d) ndarray, (n + 1,) ndarray
        In A's type, and float64; b sums to 1.

    Raises
    ------
    InputError
        If the shares sum to more than 1.
    """
    total = float(b.sum())
    if not total <= 1.0 + _ROUNDING:
        raise InputError(f"the shares sum to {total:.6g}, above 1, and leave nothing for the outside good")
    rows = np.vstack([A, np.zeros((1, A.shape[1]), dtype=A.dtype)])
    return rows, np.append(b, max(0.0, 1.0 - total))
