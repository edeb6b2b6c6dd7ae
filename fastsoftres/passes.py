"""The passes of a fit: what each computes from a block of rows, and how its sums merge.

Every class here is one read of A, or (``reads_A = False``) none. Kernels do the work; a pass hands them
the rows' share of the row state. Whole groups are finished by the kernels; the sums of a group that a chunk's
borders cut stay open and meet those of the next chunk here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .groups import Groups, Span
from .kernels import csr_gram, dense, gradient, gram, product, rowstate, storage
from .memory import affordable
from .sources import Rows

Pair = tuple[np.ndarray, np.ndarray]


class RowData(NamedTuple):
    """What a problem knows of its rows beside A."""

    b: np.ndarray  # (n,) float64
    w: np.ndarray  # (n,) float64 row ridge, or (0,) without one
    offset: np.ndarray  # (n,) float64 added to A x, or (0,)
    groups: Groups
    skip: float
    kl: bool  # the likelihood instead of least squares

    @property
    def ridged(self) -> bool:
        """Is there a row ridge?"""
        return self.w.size > 0


class Normaliser(NamedTuple):
    """alpha (times exp(-shift)), shift and s = <c, f> (the likelihood: sum(b)) of each group, (G,) each."""

    alpha: np.ndarray
    shift: np.ndarray
    s: np.ndarray

    @classmethod
    def empty(cls, groups: Groups) -> Normaliser:
        return cls(groups.vector(), groups.vector(), groups.vector())

    def of(self, span: Span) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the groups of a chunk."""
        return span.of(self.alpha), span.of(self.shift), span.of(self.s)


def _like(vector: Any, groups: Groups) -> Any:
    """Room for another row vector, where this one lies."""
    return groups.row_vector() if isinstance(vector, np.ndarray) else vector.empty()


class Open(NamedTuple):
    """Sums over a slice of a group."""

    group: int
    sums: np.ndarray
    G: np.ndarray


class Added:
    """Sums that merge by addition."""

    reads_A = True

    def merge(self, before: Any, after: Any) -> Any:
        before += after
        return before


class _Joined:
    """A sum over whole groups, and the open sums of groups that chunks have cut."""

    def merge(self, before: tuple[Any, list[Open]], after: tuple[Any, list[Open]]) -> tuple[Any, list[Open]]:
        total, pieces = before
        for part, more in zip(total, after[0], strict=True):
            np.add(part, more, out=part)
        for piece in after[1]:
            if pieces and pieces[-1].group == piece.group:
                self.join(pieces[-1], piece)
            else:
                pieces.append(piece)
        return before

    def join(self, piece: Open, later: Open) -> None:
        """Add a later slice of the same group."""
        raise NotImplementedError


class Gradient(_Joined):
    """Loss and gradient at x, whose z is not known (MATH 4, 5); z, normalisers and kept means are written."""

    reads_A = True

    def __init__(self, data: RowData, x: np.ndarray, n: int, z: Any = None):
        self.data, self.groups = data, data.groups
        self.x = x
        self.z = np.empty(n) if z is None else z
        self.normaliser = Normaliser.empty(data.groups)
        self.means = data.groups.mean_rows(x.size)

    def block(self, rows: Rows) -> tuple[Pair, list[Open]]:
        data = self.data
        span = data.groups.span(rows.start, rows.stop)
        d = self.x.size
        cut = span.cut
        totals, G = np.empty(2), np.empty(d)
        open_sums = np.empty((2, gradient.N_SUMS))
        open_G = np.empty((2 if cut else 0, 4, d))
        gradient.gradient_rows(
            rows.A, self.x, rows.of(data.b), rows.of(data.w), rows.of(data.offset), span.weight,
            span.ptr, span.base, span.kept, data.skip, data.kl,
            rows.of(self.z), *self.normaliser.of(span), totals, G, self.means, open_sums, open_G,
        )  # fmt: skip
        return (totals, G), [Open(group, open_sums[slot], open_G[slot]) for slot, group in cut]

    def join(self, piece: Open, later: Open) -> None:
        gradient.merge_sums(piece.sums, piece.G, later.sums, later.G, self.data.kl)


class ColumnSums(_Joined):
    """Gradient and its scales where z is known: A'dL/dz, A'v/alpha and two sums of \\|A\\| (MATH 7).

    The means of kept groups are written.
    """

    reads_A = True

    def __init__(self, data: RowData, z: np.ndarray, normaliser: Normaliser, d: int):
        self.data, self.groups = data, data.groups
        self.z, self.normaliser = z, normaliser
        self.means = data.groups.mean_rows(d)

    def block(self, rows: Rows) -> tuple[tuple[np.ndarray], list[Open]]:
        data = self.data
        span = data.groups.span(rows.start, rows.stop)
        d = self.means.shape[1]
        G, cut = np.empty((4, d)), span.cut
        open_means = np.empty((2, d))
        gradient.column_sums(
            rows.A, rows.of(self.z), rows.of(data.b), rows.of(data.w), span.weight,
            span.ptr, span.base, span.kept, data.skip, data.kl,
            *self.normaliser.of(span), G, self.means, open_means,
        )  # fmt: skip
        return (G,), [Open(group, open_means[slot], open_means[slot]) for slot, group in cut]

    def join(self, piece: Open, later: Open) -> None:
        piece.sums[...] += later.sums


class GroupMeans(_Joined):
    """Means sum va_i a_i of the kept groups, for row weights ``va``."""

    reads_A = True

    def __init__(self, groups: Groups, va: np.ndarray, d: int):
        self.groups, self.va = groups, va
        self.means = groups.mean_rows(d)

    def block(self, rows: Rows) -> tuple[tuple[()], list[Open]]:
        span = self.groups.span(rows.start, rows.stop)
        va = rows.of(self.va)
        pieces = []
        for g in np.flatnonzero(span.kept >= 0).tolist():
            start, stop = max(int(span.ptr[g]) - span.base, 0), int(span.ptr[g + 1]) - span.base
            mean = np.empty((1, self.means.shape[1]))
            product.transposed_times(storage.part(rows.A, start, stop), va[None, start:stop], mean)
            pieces.append(Open(span.first + g, mean[0], mean[0]))
        return (), pieces

    def join(self, piece: Open, later: Open) -> None:
        piece.sums[...] += later.sums


class Times(Added):
    """A @ T[k] for each k, written to ``Y`` (k, n)."""

    def __init__(self, T: np.ndarray, n: int, Y: Any = None):
        self.T = T
        self.Y = np.empty((T.shape[0], n)) if Y is None else Y

    def block(self, rows: Rows) -> int:
        product.times(rows.A, self.T, self.Y[:, rows.start : rows.stop])
        return 0


class TransposedTimes(Added):
    """A.T @ W[k] for each k."""

    def __init__(self, W: np.ndarray):
        self.W = W

    def block(self, rows: Rows) -> np.ndarray:
        G = np.empty((self.W.shape[0], rows.A.shape[1]))
        product.transposed_times(rows.A, self.W[:, rows.start : rows.stop], G)
        return G


class Squares(Added):
    """Weighted sums of squares of each column (1, d)."""

    def __init__(self, w: np.ndarray):
        self.w = w

    def block(self, rows: Rows) -> np.ndarray:
        sums = np.empty((1, rows.A.shape[1]))
        product.squares(rows.A, rows.of(self.w), sums)
        return sums


class HessianProduct(Added):
    """Products of k vectors with the Hessian's part in A, centred (MATH 3)."""

    def __init__(
        self,
        groups: Groups,
        T: np.ndarray,
        means: np.ndarray,
        D: np.ndarray,
        h: np.ndarray,
        va: np.ndarray,
        kappa: np.ndarray,
    ):
        self.groups = groups
        self.T, self.means, self.D, self.h, self.va, self.kappa = T, means, D, h, va, kappa

    def block(self, rows: Rows) -> np.ndarray:
        span = self.groups.span(rows.start, rows.stop)
        out = np.empty(self.T.shape)
        product.hessp_rows(
            rows.A, self.T, span.ptr, span.base, span.kept, self.means,
            rows.of(self.D), rows.of(self.h), rows.of(self.va), span.of(self.kappa), out,
        )  # fmt: skip
        return out


#: The assembly is the one pass that goes about sparse rows in another way.
_gram_rows: Any = storage.by_storage(gram.gram_rows, csr_gram.gram_rows)  # type: ignore[no-untyped-call]


class Gram:
    """C' diag(D) C for rows C_i = scale_i a_i - centre_i mu_g, upper triangle, and sums of C' h.

    Parameters
    ----------
    groups : Groups
    means : (n_kept, d), of the kept groups
    D : (n,), any sign
    va : (n,) or None, weights of the means of the other groups; None if all are kept
    how : ``gram.PLAIN``, ``gram.HESSIAN`` (adds the cross terms of h and kappa) or
        ``gram.MOMENT`` (sums C' h)
    h : (n,), kappa : (G,), or None
    scale, centre : (n,) or None for ones
    dtype : float32 or float64, of the products within a block; sparse rows are multiplied in float64
    """

    reads_A = True

    def __init__(
        self,
        groups: Groups,
        means: np.ndarray,
        D: np.ndarray,
        va: np.ndarray | None = None,
        how: int = gram.PLAIN,
        h: np.ndarray | None = None,
        kappa: np.ndarray | None = None,
        scale: np.ndarray | None = None,
        centre: np.ndarray | None = None,
        dtype: Any = np.float64,
    ):
        d = means.shape[1]
        affordable(d)
        self.groups, self.means, self.D, self.va, self.how = groups, means, D, va, how
        self.h, self.kappa = h, kappa
        self.dtype = dtype
        self.size = gram.padded(d, dtype)
        self.capacity = gram.packed_rows(d, dtype)
        self.least_rows = 8 * d  # a block's result has d*d entries: merging must stay small beside its making
        one = np.ones(1)
        self.scale = one if scale is None else scale
        self.centre = one if centre is None else centre

    @classmethod
    def uncentred(cls, D: Any, d: int, **options: Any) -> Gram:
        """A' diag(D) A for row weights D (n,)."""
        groups = Groups.one(D.size, kept=True) if isinstance(D, np.ndarray) else D.one_group()
        return cls(groups, np.zeros((1, d)), D, **options)

    def block(self, rows: Rows) -> Pair:
        span = self.groups.span(rows.start, rows.stop)
        H = np.zeros((self.size, self.size))
        k = np.zeros(self.size)
        left = np.zeros(self.capacity * self.size, storage.assembly_type(rows.A, self.dtype))
        right = np.zeros_like(left)
        D = rows.of(self.D)
        _gram_rows(
            rows.A, span.ptr, span.base, span.kept, self.means,
            D if self.va is None else rows.of(self.va),
            self.scale if self.scale.size == 1 else rows.of(self.scale),
            self.centre if self.centre.size == 1 else rows.of(self.centre),
            D, D if self.h is None else rows.of(self.h),
            D if self.kappa is None else span.of(self.kappa), self.how, left, right, H, k,
        )  # fmt: skip
        return H, k

    def merge(self, before: Pair, after: Pair) -> Pair:
        before[0][...] += after[0]
        before[1][...] += after[1]
        return before


def symmetric(H: np.ndarray, d: int) -> np.ndarray:
    """The (d, d) symmetric matrix of an upper triangle."""
    return dense.mirrored(H, d)


class Line(_Joined):
    """Loss and derivative along y at z + eta*y (no read of A); the normalisers there are written."""

    reads_A = False

    def __init__(self, data: RowData, z: np.ndarray, y: np.ndarray, eta: float):
        self.data, self.groups, self.z, self.y, self.eta = data, data.groups, z, y, eta
        self.normaliser = Normaliser.empty(data.groups)

    def block(self, rows: Rows) -> tuple[tuple[np.ndarray], list[Open]]:
        data = self.data
        span = data.groups.span(rows.start, rows.stop)
        totals, sums = np.empty(2), np.empty((2, rowstate.N_LINE))
        rowstate.line_rows(
            rows.of(self.z), rows.of(self.y), self.eta, rows.of(data.b), rows.of(data.w), span.weight,
            span.ptr, span.base, data.skip, data.kl, *self.normaliser.of(span), totals, sums,
        )  # fmt: skip
        return (totals,), [Open(group, sums[slot], sums[slot]) for slot, group in span.cut]

    def join(self, piece: Open, later: Open) -> None:
        rowstate.merge_line(piece.sums, later.sums, self.data.kl)


class Residual(_Joined):
    """½<c, c> and <c, f> at z + eta*y of some groups with known normalisers (no read of A)."""

    reads_A = False

    def __init__(
        self,
        data: RowData,
        z: np.ndarray,
        y: np.ndarray,
        eta: float,
        normaliser: Normaliser,
        picked: list[int],
    ):
        self.data, self.groups, self.z, self.y, self.eta = data, data.groups, z, y, eta
        self.normaliser, self.picked = normaliser, set(picked)

    def block(self, rows: Rows) -> tuple[tuple[()], list[Open]]:
        span = self.data.groups.span(rows.start, rows.stop)
        pieces = []
        for g in sorted(self.picked.intersection(range(span.first, span.last))):
            start, stop = span.ptr[g - span.first], span.ptr[g - span.first + 1]
            sums = np.empty(2)
            rowstate.residual_rows(
                self.z, self.y, self.eta, max(int(start), rows.start), min(int(stop), rows.stop),
                self.data.b, self.data.skip, self.normaliser.shift[g], self.normaliser.alpha[g], sums,
            )  # fmt: skip
            pieces.append(Open(g, sums, sums))
        return (), pieces

    def join(self, piece: Open, later: Open) -> None:
        piece.sums[...] += later.sums


class CurvatureRows(_Joined):
    """Row vectors D, h, v/alpha of the centred Hessian, and kappa_0 of each group (no read of A)."""

    reads_A = False

    def __init__(self, data: RowData, z: np.ndarray, normaliser: Normaliser):
        self.data, self.groups = data, data.groups
        self.z, self.normaliser = z, normaliser
        self.D, self.h, self.va = (_like(z, data.groups) for _ in range(3))
        self.kappa = data.groups.vector()

    def block(self, rows: Rows) -> tuple[tuple[()], list[Open]]:
        data = self.data
        span = data.groups.span(rows.start, rows.stop)
        kappa = np.empty(span.last - span.first)
        rowstate.curvature(
            rows.of(self.z), rows.of(data.b), rows.of(data.w), span.weight, span.ptr, span.base,
            data.skip, data.kl, *self.normaliser.of(span),
            rows.of(self.D), rows.of(self.h), rows.of(self.va), kappa,
        )  # fmt: skip
        first, last = span.first + span.head, span.last - span.tail
        if first < last:
            self.kappa[first:last] = kappa[span.head : kappa.size - span.tail]
        ends = [(group, kappa[group - span.first :][:1]) for _, group in span.cut]
        return (), [Open(group, part, part) for group, part in ends]

    def join(self, piece: Open, later: Open) -> None:
        piece.sums[...] += later.sums


class Map(Added):
    """f = u/alpha, written to ``f`` (no read of A)."""

    reads_A = False

    def __init__(self, groups: Groups, z: np.ndarray, skip: float, normaliser: Normaliser):
        self.groups, self.z, self.skip, self.normaliser = groups, z, skip, normaliser
        self.f = _like(z, groups)

    def block(self, rows: Rows) -> int:
        span = self.groups.span(rows.start, rows.stop)
        alpha, shift, _ = self.normaliser.of(span)
        rowstate.map_rows(rows.of(self.z), self.skip, span.ptr, span.base, alpha, shift, rows.of(self.f))
        return 0
