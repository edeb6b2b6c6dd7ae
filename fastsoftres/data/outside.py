"""The outside good of a market: to buy none of what is on the list."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .errors import InputError

#: Shares that add up to 1 in decimals may exceed it by rounding.
_ROUNDING = 1e-9


class WithOutside(NamedTuple):
    """Markets with their outside goods."""

    A: np.ndarray  # (n + G, d), the outside good last in its market
    b: np.ndarray  # (n + G,) float64, which sums to 1 in each market
    group_ptr: np.ndarray  # (G + 1,) offsets of the markets


def add_outside_good(
    A: np.ndarray,
    b: np.ndarray,
    group_ptr: np.ndarray | None = None,
    name: Callable[[int], str] | None = None,
) -> WithOutside:
    """Append the outside good to each market: a row of zeros, whose share is what the others leave.

    Parameters
    ----------
    A : (n, d) ndarray
        Characteristics of the goods, the constant included.
    b : (n,) ndarray
        Their market shares.
    group_ptr : (G + 1,) ndarray of int, optional
        Offsets of the markets' rows; by default all rows are one market.
    name : callable, optional
        What a message calls market g.

    Returns
    -------
    WithOutside
        ``A`` in A's type, ``b`` and ``group_ptr``.

    Raises
    ------
    InputError
        If the shares of a market sum to more than 1.
    """
    ptr = np.array([0, b.size]) if group_ptr is None else group_ptr
    shares = outside_shares(b, ptr, name)
    place, wider = make_room(ptr)
    rows, column = np.zeros((wider[-1], A.shape[1]), dtype=A.dtype), np.empty(wider[-1])
    rows[place], column[place], column[wider[1:] - 1] = A, b, shares
    return WithOutside(rows, column, wider)


def outside_shares(b: np.ndarray, ptr: np.ndarray, name: Callable[[int], str] | None = None) -> np.ndarray:
    """What the goods of each market leave of 1 (G,); see ``add_outside_good``."""
    totals = np.add.reduceat(b, ptr[:-1])
    wrong = np.flatnonzero(~(totals <= 1.0 + _ROUNDING))  # nan is wrong too
    if wrong.size:
        g = int(wrong[0])
        of = "" if ptr.size == 2 and name is None else f" of {name(g) if name else f'group {g}'}"
        more = f" (and those of {wrong.size - 1} more)" if wrong.size > 1 else ""
        raise InputError(
            f"the shares{of} sum to {totals[g]:.6g}{more}, above 1, and leave nothing for the outside good"
        )
    return np.maximum(0.0, 1.0 - totals)


def make_room(ptr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the rows of markets go (n,) when each gets one more row at its end, and the new offsets."""
    markets = np.arange(ptr.size)
    return np.arange(ptr[-1]) + np.repeat(markets[:-1], np.diff(ptr)), ptr + markets
