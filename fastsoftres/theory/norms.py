"""Norms of the rows and of the matrix: all that the bounds need to know of A."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from .. import passes
from ..kernels import storage
from ..point import Point
from ..runners import walk
from ..sources import Rows

#: Columns up to which the spectral norm is computed from an assembled Gram matrix; the Frobenius norm bounds
#: it above.
_ASSEMBLED = 2000
#: Entries of rows that are filled in at once: 2 MB.
_FILLED = 1 << 18
UNIT = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True, eq=False)
class Norms:
    """Of A, or (``centred``) of its rows about their groups' means at a point."""

    rows: np.ndarray  # (n,)
    spectral: float
    raw: np.ndarray  # (n,), of the rows as they are
    means: np.ndarray  # (G,), of the groups' means A'v/alpha at the point; 0 where rows are taken about them


class _RowNorms:
    """Norms of the rows, written to ``raw``, and about their groups' means, to ``norms``."""

    reads_A = True

    def __init__(self, point: Point, centred: bool):
        self.groups, self.centred = point.problem._rows.groups, centred
        self.va, self.means = point.curvature.va, point.means
        self.raw = np.empty(point.z.size)
        self.norms = np.empty(point.z.size) if centred else self.raw
        self.sizes = np.zeros(self.groups.size)

    def block(self, rows: Rows) -> int:
        span = self.groups.span(rows.start, rows.stop)
        for g, kept in enumerate(span.kept.tolist()):
            start = max(int(span.ptr[g]) - span.base, 0)
            stop = min(int(span.ptr[g + 1]), rows.stop) - span.base
            # a group whose mean is known a piece at a time: its rows may be sparse and are filled in here
            step = max(1, _FILLED // self.means.shape[1]) if kept >= 0 else stop - start
            for first in range(start, stop, step):
                last = min(first + step, stop)
                here = slice(rows.start + first, rows.start + last)
                part = storage.filled(rows.A, first, last)
                self.raw[here] = np.sqrt(np.einsum("ij,ij->i", part, part))
                mean = self.means[kept] if kept >= 0 else self.va[here] @ part
                self.sizes[span.first + g] = np.sqrt(mean @ mean)
                if self.centred:
                    part -= mean
                    self.norms[here] = np.sqrt(np.einsum("ij,ij->i", part, part))
        return 0

    def merge(self, before: int, after: int) -> int:
        return 0


def norms(point: Point, *, centred: bool) -> Norms:
    """Upper bounds of the norms, rounding included: two reads of A (one of them an assembly)."""
    work = _RowNorms(point, centred)
    walk(point.problem._source, work)
    d = point.x.size
    rounding = 1.0 + (d + 8) * UNIT
    rows, raw = work.norms * rounding, work.raw * rounding
    frobenius = math.sqrt(float(rows @ rows)) * outward(rows.size)
    means = np.zeros_like(work.sizes) if centred else work.sizes * rounding
    if d > _ASSEMBLED:
        return Norms(rows, frobenius, raw, means)
    one = np.ones(rows.size)
    if centred:
        H = point.gram(np.float64, D=one)
    else:
        H = passes.symmetric(walk(point.problem._source, passes.Gram.uncentred(one, d))[0], d)
    largest = float(np.linalg.eigvalsh(H)[-1]) + (rows.size + 8 * d) * UNIT * frobenius**2
    return Norms(rows, min(frobenius, math.sqrt(max(largest, 0.0)) * (1.0 + 4 * UNIT)), raw, means)


def outward(n: int) -> float:
    """The factor by which a computed sum of n terms, none negative, may fall short of the true one."""
    return 1.0 + 4.0 * (n + 64) * UNIT
