"""The map z -> f, for arrays of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _validate
from .kernels import rowstate


def softres(z: Any, *, skip: float = 1.0, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """``(exp(z) + skip*z) / sum(exp(z) + skip*z)``, the analogue of ``scipy.special.softmax``.

    Parameters
    ----------
    z : array_like
        Real, finite. float32 and float16 give float32 (computed in float64), other types float64.
    skip : float, optional
        Weight of the linear term, >= 0. ``skip=0`` is softmax.
    axis : int or tuple of int, optional
        Axes that are normalised together; by default all of them.

    Returns
    -------
    ndarray of the shape of z
        Sums to 1 along ``axis``; may be negative or above 1 for ``skip > 0``.

    Raises
    ------
    TypeError, ValueError
        If z is not real and finite, ``axis`` does not exist, or a sum is zero (possible for ``skip > 0``).

    Notes
    -----
    MATH 1. Shifted where exp would over- or underflow; elsewhere the plain formula.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> fs.softres([0.0, 0.0], skip=0)
    array([0.5, 0.5])
    >>> fs.softres([1000.0, 0.0])
    array([1., 0.])
    """
    z = _validate.array(z, "z")
    skip = _validate.number(skip, "skip")
    dtype = np.float32 if z.dtype.kind == "f" and z.dtype.itemsize <= 4 else np.float64
    if axis is None:
        axes = tuple(range(z.ndim))
    else:
        axes = np.lib.array_utils.normalize_axis_tuple(axis, z.ndim, "axis")
    kept = tuple(a for a in range(z.ndim) if a not in axes)
    moved = np.transpose(z, kept + axes)
    with np.errstate(over="ignore"):  # a long double beyond float64: inf, which is refused
        rows = np.array(moved, dtype=np.float64, order="C").reshape(-1)
    _validate.finite(rows, "z")
    if rows.size == 0:
        return np.zeros(z.shape, dtype)
    length = int(np.prod([z.shape[a] for a in axes]))
    ptr = np.arange(0, rows.size + 1, length)
    alpha, shift = np.empty(ptr.size - 1), np.empty(ptr.size - 1)
    rowstate.normalisers(rows, skip, ptr, alpha, shift)
    if not alpha.all():
        raise ValueError(
            f"sum(exp(z) + skip*z) is zero in group {int(np.argmin(alpha != 0))} of z along axis {axis}"
        )
    rowstate.map_rows(rows, skip, ptr, 0, alpha, shift, rows)
    f = rows.astype(dtype, copy=False).reshape(moved.shape)
    return np.ascontiguousarray(np.transpose(f, np.argsort(kept + axes))).reshape(z.shape)  # also ()
