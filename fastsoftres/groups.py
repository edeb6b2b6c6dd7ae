"""How the rows fall into groups, each with a normaliser of its own, and which groups a chunk holds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .kernels.formula import BLOCK
from .memory import Spare

_NONE = np.empty(0)


class Span(NamedTuple):
    """The groups of a chunk of rows, as the kernels take them."""

    first: int  # group of the chunk's first row
    last: int  # one past the group of its last row
    ptr: np.ndarray  # their offsets, in the whole problem
    base: int  # the chunk's first row
    kept: np.ndarray
    weight: np.ndarray
    head: bool  # did the first group begin before the chunk?
    tail: bool  # does the last group end after it?

    def of(self, array: np.ndarray) -> np.ndarray:
        """The same groups of a (G, ...) array."""
        return array[self.first : self.last]

    @property
    def cut(self) -> tuple[tuple[int, int], ...]:
        """Slot and number of the groups whose sums a chunk leaves open."""
        if self.head:
            both = self.tail and self.last - self.first > 1
            return ((0, self.first), (1, self.last - 1)) if both else ((0, self.first),)
        return ((1, self.last - 1),) if self.tail else ()


class Groups:
    """Offsets and weights of the groups of consecutive rows.

    Parameters
    ----------
    ptr : (G + 1,) intp
        Row offsets, increasing, from 0 to n.
    weight : (G,) float64 or (0,)
        Of each group's loss; none means ones.
    borders : (k,) intp, optional
        Rows at which chunks of a source must begin (a file's blocks); a group across one is kept.

    Attributes
    ----------
    kept : (G,) intp
        Number among the kept groups, whose means a point stores: those longer than a block of the kernels, or
        cut by ``borders``. -1 for the others, whose means are formed in the block where they are needed.
    n_kept : int
    """

    def __init__(self, ptr: np.ndarray, weight: np.ndarray = _NONE, borders: Any = ()):
        self.ptr = ptr
        self.weight = weight
        self.size = ptr.size - 1
        self._spare = Spare()
        if self.size == 1:  # the usual case, in a few microseconds less
            alone = bool(ptr[1] > BLOCK) or any(0 < border < ptr[1] for border in borders)
            self.kept, self.n_kept = np.array([0 if alone else -1]), int(alone)
            return
        long = np.diff(ptr) > BLOCK
        for border in borders:
            g = int(np.searchsorted(ptr, border, side="right")) - 1
            if g < self.size and ptr[g] < border:
                long[g] = True
        self.kept = np.where(long, np.cumsum(long) - 1, -1)
        self.n_kept = int(np.count_nonzero(long))

    @classmethod
    def one(cls, n: int, borders: Any = (), *, kept: bool = False) -> Groups:
        """All rows in one group; ``kept``: its mean is given, however few rows there are."""
        groups = cls(np.array([0, n]), borders=borders)
        if kept and groups.n_kept == 0:
            groups.kept, groups.n_kept = np.zeros(1, np.intp), 1
        return groups

    def row_vector(self, *shape: int) -> np.ndarray:
        """Room for a number a row, (*shape, n): where the rows are."""
        n = int(self.ptr[-1])
        return self._spare.vector(n).reshape(*shape, n) if shape in ((), (1,)) else np.empty((*shape, n))

    def vector(self) -> np.ndarray:
        """Room for a number a group."""
        return np.empty(self.size)

    def mean_rows(self, d: int) -> np.ndarray:
        """Room for a mean of each kept group."""
        return np.empty((self.n_kept, d))

    def full(self, value: float) -> np.ndarray:
        """A number for each row."""
        return np.full(int(self.ptr[-1]), value)

    def span(self, start: int, stop: int) -> Span:
        """The groups of rows ``start:stop``."""
        ptr = self.ptr
        if self.size == 1:
            first, last = 0, 1
        else:
            first = int(np.searchsorted(ptr, start, side="right")) - 1
            last = int(np.searchsorted(ptr, stop, side="left"))
        weight = self.weight[first:last] if self.weight.size else self.weight
        head, tail = bool(ptr[first] < start), bool(ptr[last] > stop)
        return Span(first, last, ptr[first : last + 1], start, self.kept[first:last], weight, head, tail)

    def aligned(self, bounds: list[tuple[int, int]], longest: int | None = None) -> list[tuple[int, int]]:
        """Chunks moved so that they cut kept groups only, or (``longest``) only groups of more rows than
        that."""
        if self.size == 1 and self.n_kept:
            return bounds
        cuts = np.array([start for start, _ in bounds])
        at = np.searchsorted(self.ptr, cuts, side="right") - 1
        loose = self.kept[at] < 0 if longest is None else np.diff(self.ptr)[at] <= longest
        cuts = np.unique(np.where(loose, self.ptr[at], cuts))
        return list(zip(cuts.tolist(), [*cuts[1:].tolist(), bounds[-1][1]], strict=True))

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Number of each row's group."""
        if self.size == 1:
            return np.zeros(rows.size, np.intp)
        return np.searchsorted(self.ptr, rows, side="right") - 1

    def rows_of(self, values: np.ndarray) -> np.ndarray:
        """A (G,) array repeated for each row (n,)."""
        return np.repeat(values, np.diff(self.ptr))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums of an (n,) array over each group (G,)."""
        return np.add.reduceat(values, self.ptr[:-1])
