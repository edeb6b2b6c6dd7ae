"""The passes of a fit: what each computes from a block of rows, and how its sums merge.

Every class here is one read of A, or (``reads_A = False``) none. Kernels do the work; a pass hands them
the rows' share of the row state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .kernels import dense, gradient, gram, product, rowstate
from .sources import Rows

Pair = tuple[np.ndarray, np.ndarray]


class RowData(NamedTuple):
    """What a problem knows of its rows beside A."""

    b: np.ndarray  # (n,) float64
    w: np.ndarray  # (n,) float64 row ridge, or (0,) without one
    ridged: bool
    skip: float


class Normaliser(NamedTuple):
    """alpha (times exp(-shift)), shift and s = <c, f> of one group, as arrays of length one."""

    alpha: np.ndarray
    shift: np.ndarray
    s: np.ndarray

    @classmethod
    def of(cls, alpha: float, shift: float, s: float) -> Normaliser:
        return cls(np.array([alpha]), np.array([shift]), np.array([s]))


def _offsets(rows: Rows) -> np.ndarray:
    """The rows of a block as a slice of the one group."""
    return np.array([0, rows.stop - rows.start])


class _Add:
    """Sums that merge by addition."""

    reads_A = True

    def merge(self, before: Any, after: Any) -> Any:
        before += after
        return before


class Gradient(_Add):
    """The sums of MATH 4 at x, whose z is not known; z is written."""

    def __init__(self, data: RowData, x: np.ndarray, n: int):
        self.data = data
        self.x = x
        self.z = np.empty(n)

    def block(self, rows: Rows) -> Pair:
        data = self.data
        sums = np.empty(gradient.N_SUMS)
        G = np.empty((4, self.x.size))
        gradient.gradient_slice(
            rows.A, self.x, rows.of(data.b), rows.of(data.w), data.ridged, data.skip,
            rows.of(self.z), sums, G,
        )  # fmt: skip
        return sums, G

    def merge(self, before: Pair, after: Pair) -> Pair:
        (sums, G), (more, H) = before, after
        shift = max(sums[0], more[0])
        for part, columns in ((sums, G), (more, H)):
            if part[0] < shift:
                gradient.rescale(part, columns, shift)
        sums[1:] += more[1:]
        G += H
        return sums, G


class ColumnSums(_Add):
    """Gradient and its scales where z is known: A'dL/dz, A'v/alpha and two sums of \\|A\\| (MATH 7)."""

    def __init__(self, data: RowData, z: np.ndarray, normaliser: Normaliser):
        self.data, self.z, self.normaliser = data, z, normaliser

    def block(self, rows: Rows) -> np.ndarray:
        data = self.data
        G = np.empty((4, rows.A.shape[1]))
        gradient.column_sums(
            rows.A, rows.of(self.z), rows.of(data.b), rows.of(data.w), data.ridged, data.skip,
            _offsets(rows), *self.normaliser, G,
        )  # fmt: skip
        return G


class Times(_Add):
    """A @ T[k] for each k, written to ``Y`` (k, n)."""

    def __init__(self, T: np.ndarray, n: int):
        self.T = T
        self.Y = np.empty((T.shape[0], n))

    def block(self, rows: Rows) -> int:
        product.times(rows.A, self.T, self.Y[:, rows.start : rows.stop])
        return 0


class TransposedTimes(_Add):
    """A.T @ W[k] for each k."""

    def __init__(self, W: np.ndarray):
        self.W = W

    def block(self, rows: Rows) -> np.ndarray:
        G = np.empty((self.W.shape[0], rows.A.shape[1]))
        product.transposed_times(rows.A, self.W[:, rows.start : rows.stop], G)
        return G


class HessianProduct:
    """Sums of the centred Hessian product (MATH 3) for k vectors."""

    reads_A = True

    def __init__(self, T: np.ndarray, beta: np.ndarray, D: np.ndarray, h: np.ndarray):
        self.T, self.beta, self.D, self.h = T, beta, D, h

    def block(self, rows: Rows) -> Pair:
        out = np.empty(self.T.shape)
        sums = np.empty((self.T.shape[0], 2))
        product.hessp_slice(rows.A, self.T, self.beta, rows.of(self.D), rows.of(self.h), sums, out)
        return out, sums

    def merge(self, before: Pair, after: Pair) -> Pair:
        return before[0] + after[0], before[1] + after[1]


class Gram:
    """C' diag(D) C and C' h for rows C_i = scale_i a_i - centre_i mu, upper triangle.

    Parameters
    ----------
    mu : (d,)
    D : (n,), any sign
    h : (n,) or None
    scale, centre : (n,) or None for ones (``mu`` = 0 and no centre: not centred)
    dtype : float32 or float64, of the products within a block
    """

    reads_A = True

    def __init__(
        self,
        mu: np.ndarray,
        D: np.ndarray,
        h: np.ndarray | None = None,
        scale: np.ndarray | None = None,
        centre: np.ndarray | None = None,
        dtype: Any = np.float64,
        A_dtype: Any = np.float64,
    ):
        d = mu.size
        self.dtype = dtype
        self.size = gram.padded(d, dtype)
        self.capacity = gram.packed_rows(d, dtype)
        self.least_rows = 8 * d  # a block's result has d*d entries: merging must stay small beside its making
        self.mu = np.zeros(self.size, A_dtype)
        self.mu[:d] = mu
        one = np.ones(1)
        self.D = D
        self.h = h
        self.scale = one if scale is None else scale
        self.centre = one if centre is None else centre

    def block(self, rows: Rows) -> Pair:
        H = np.zeros((self.size, self.size))
        k = np.zeros(self.size)
        left = np.zeros(self.capacity * self.size, self.dtype)
        right = np.zeros_like(left)
        D = rows.of(self.D)
        gram.gram_slice(
            rows.A, self.mu,
            self.scale if self.scale.size == 1 else rows.of(self.scale),
            self.centre if self.centre.size == 1 else rows.of(self.centre),
            D, D if self.h is None else rows.of(self.h), self.h is not None, left, right, H, k,
        )  # fmt: skip
        return H, k

    def merge(self, before: Pair, after: Pair) -> Pair:
        before[0][...] += after[0]
        before[1][...] += after[1]
        return before


def symmetric(H: np.ndarray, d: int) -> np.ndarray:
    """The (d, d) symmetric matrix of an upper triangle."""
    return dense.mirrored(H, d)


class Line:
    """Loss, normaliser and derivative sums at z + eta*y (no read of A)."""

    reads_A = False

    def __init__(self, data: RowData, z: np.ndarray, y: np.ndarray, eta: float):
        self.data, self.z, self.y, self.eta = data, z, y, eta

    def block(self, rows: Rows) -> np.ndarray:
        data = self.data
        sums = np.empty(rowstate.N_LINE)
        rowstate.line_slice(
            rows.of(self.z), rows.of(self.y), self.eta, rows.of(data.b), rows.of(data.w),
            data.ridged, data.skip, sums,
        )  # fmt: skip
        return sums

    def merge(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        shift = max(before[0], after[0])
        for sums in (before, after):
            if sums[0] < shift:
                rowstate.rescale_line(sums, shift)
        before[1:] += after[1:]
        return before


class Residual(_Add):
    """<c, c>, <c, f>, <f, f> at z + eta*y for a known normaliser (no read of A)."""

    reads_A = False

    def __init__(self, data: RowData, z: np.ndarray, y: np.ndarray, eta: float, alpha: float, shift: float):
        self.data, self.z, self.y, self.eta = data, z, y, eta
        self.alpha, self.shift = alpha, shift

    def block(self, rows: Rows) -> np.ndarray:
        sums = np.empty(3)
        rowstate.residual_slice(
            rows.of(self.z), rows.of(self.y), self.eta, rows.of(self.data.b), self.data.skip,
            self.shift, self.alpha, sums,
        )  # fmt: skip
        return sums


class CurvatureRows(_Add):
    """Row vectors D, h, v/alpha of the centred Hessian; the sums are kappa_0 (no read of A)."""

    reads_A = False

    def __init__(self, data: RowData, z: np.ndarray, normaliser: Normaliser):
        self.data, self.z, self.normaliser = data, z, normaliser
        self.D, self.h, self.va = (np.empty(z.size) for _ in range(3))

    def block(self, rows: Rows) -> np.ndarray:
        data = self.data
        kappa = np.empty(1)
        rowstate.curvature(
            rows.of(self.z), rows.of(data.b), rows.of(data.w), data.ridged, data.skip, _offsets(rows),
            *self.normaliser, rows.of(self.D), rows.of(self.h), rows.of(self.va), kappa,
        )  # fmt: skip
        return kappa


class Map(_Add):
    """f = u/alpha, written to ``f`` (no read of A)."""

    reads_A = False

    def __init__(self, z: np.ndarray, skip: float, alpha: np.ndarray, shift: np.ndarray):
        self.z, self.skip, self.alpha, self.shift = z, skip, alpha, shift
        self.f = np.empty(z.size)

    def block(self, rows: Rows) -> int:
        rowstate.map_groups(
            rows.of(self.z), self.skip, _offsets(rows), self.alpha, self.shift, rows.of(self.f)
        )
        return 0
