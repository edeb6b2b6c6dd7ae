"""Arrays whose parts lie with the partitions. What solvers need of NumPy works on them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .groups import Layout

#: Elementwise functions of NumPy that are applied to the parts.
_UFUNCS = {
    np.add, np.subtract, np.multiply, np.true_divide, np.negative, np.absolute, np.sqrt, np.sign, np.isfinite,
    np.less_equal, np.less, np.greater, np.greater_equal, np.equal, np.not_equal, np.bitwise_and,
    np.bitwise_or,
    np.invert, np.logical_and, np.logical_or, np.maximum, np.minimum,
}  # fmt: skip


class Remote:
    """One number (or row) for each row, group, or kept group of a problem, a part in each partition.

    Values of groups that a partition's border cuts are known here: ``patches``, by the group's number. They
    go with the tasks that need them.

    Parameters
    ----------
    layout : Layout
    kind : "row", "group" or "kept"
    parts : list of references or None
        None: it will be written by a pass.
    entry : tuple of int
        Shape of an entry (of a row vector: dimensions before the rows).
    """

    #: NumPy must not convert it: that would bring all of it here.
    __array_priority__ = 1000

    def __init__(
        self, layout: Layout, kind: str, parts: list[Any] | None = None, entry: tuple[int, ...] = ()
    ):
        self.layout, self.kind, self.parts, self.entry = layout, kind, parts, entry
        self.patches: dict[int, Any] = {}

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("this array lies with the partitions of A; gather() brings it here")

    @property
    def size(self) -> int:
        """Entries in all partitions."""
        return self.layout.n if self.kind == "row" else self.layout.size

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the whole array."""
        return (*self.entry, self.size) if self.kind == "row" else (self.size, *self.entry)

    def gather(self) -> np.ndarray:
        """All of a row or group vector, in memory here."""
        parts = self.layout.engine.gather(self.parts or [])
        if self.kind == "row":
            return np.concatenate(parts)
        out = np.empty(self.shape)
        for first, part in zip(self.layout.firsts, parts, strict=True):
            out[first : first + len(part)] = part
        for g, value in self.patches.items():
            out[g] = value
        return out

    def known(self) -> np.ndarray | None:
        """A number a group, if all of them are known here."""
        if self.kind != "group" or len(self.patches) < self.layout.size:
            return None
        return np.array([self.patches[g] for g in range(self.layout.size)])

    def copy(self) -> Remote:
        """The same: parts are never written to."""
        return self

    def argument(self, p: int) -> tuple[Any, list[tuple[int, Any]]]:
        """The part of a partition, and what replaces some of its entries."""
        assert self.parts is not None
        return self.parts[p], self.layout.local_patches(p, self.kind, self.patches)

    def local_shape(self, p: int) -> tuple[int, ...]:
        """Shape of a part."""
        count = self.layout.count(p, self.kind)
        return (*self.entry, count) if self.kind == "row" else (count, *self.entry)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options or ufunc not in _UFUNCS:
            return NotImplemented
        return self._apply(ufunc, inputs)

    def _apply(self, function: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
        layout = self.layout
        if self.kind == "group":
            known = [each.known() if isinstance(each, Remote) else each for each in inputs]
            if all(each is not None for each in known):
                with np.errstate(all="ignore"):
                    return function(*known)

        def argument(each: Any, p: int) -> tuple[Any, Any]:
            if isinstance(each, Remote):
                return each.argument(p)
            if self.kind == "group" and isinstance(each, np.ndarray) and each.ndim:
                first = layout.firsts[p]
                return each[first : first + layout.locals[p].size], None
            return each, None

        calls = [(function, *_flat([argument(each, p) for each in inputs])) for p in layout.partitions]
        return Remote(layout, self.kind, layout.engine.map(_elementwise, calls), self.entry)

    def __getitem__(self, key: Any) -> Any:
        if self.kind == "row":
            if isinstance(key, np.ndarray):
                return self.layout.pick(self, key)
            out = self._apply(operator.getitem, (self, key))
            # what a pass forms like this one must have its shape: of one of several vectors, or as one of one
            out.entry = np.empty((*self.entry, 0))[key].shape[:-1]
            return out
        g = int(key)
        return self.patches[g] if g in self.patches else self.layout.fetch(self, g)

    def __setitem__(self, g: int, value: Any) -> None:
        self.patches[int(g)] = value

    def _reduced(self, function: Callable[[np.ndarray], Any], once: bool = False) -> list[Any]:
        """``function`` of each part; ``once``: a group counts where it begins."""
        calls = []
        for p in self.layout.partitions:
            part, patches = self.argument(p)
            if once and self.kind == "group" and self.layout.locals[p].ptr[0] < 0:
                patches = [*patches, (0, 0)]
            calls.append((function, part, patches))
        return self.layout.engine.gather(self.layout.engine.map(_elementwise, calls))

    def sum(self, **_: Any) -> Any:
        """Sum of all entries, in the order of the partitions."""
        return sum(self._reduced(np.sum, once=True))

    def mean(self, **_: Any) -> Any:
        """Mean of all entries."""
        return self.sum() / self.size

    def max(self, **_: Any) -> Any:
        """Largest entry; nan if there is one."""
        return np.max(self._reduced(np.max))

    def min(self, **_: Any) -> Any:
        """Smallest entry; nan if there is one."""
        return np.min(self._reduced(np.min))

    def any(self, **_: Any) -> bool:
        """Is any entry true?"""
        return bool(np.any(self._reduced(np.any)))

    def all(self, **_: Any) -> bool:
        """Are all entries true?"""
        return bool(np.all(self._reduced(np.all)))

    def argmax(self, **_: Any) -> int:
        """Number of the first largest entry."""
        best = self._reduced(_largest)
        p = max(self.layout.partitions, key=lambda p: (best[p][0], -p))
        return int(self.layout.first(p, self.kind) + best[p][1])

    def empty(self) -> Remote:
        """Room for another like it."""
        return Remote(self.layout, self.kind, entry=self.entry)

    def one_group(self) -> Any:
        """These rows as one group whose mean is given."""
        return self.layout.one_group()

    def drawn(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows drawn in proportion to this row vector, ascending, and its entries there."""
        layout = self.layout
        ends = np.cumsum(self._reduced(np.sum))
        marks = np.sort(uniform) * ends[-1]
        of = np.minimum(np.searchsorted(ends, marks), len(ends) - 1)
        calls, drawing = [], np.unique(of).tolist()
        for p in drawing:
            part, patches = self.argument(p)
            calls.append((_drawn, part, patches, marks[of == p] - (ends[p - 1] if p else 0.0), None))
        found = layout.engine.gather(layout.engine.map(_elementwise, calls))
        rows = [layout.starts[p] + rows for p, (rows, _) in zip(drawing, found, strict=True)]
        return np.concatenate(rows), np.concatenate([values for _, values in found])

    def __add__(self, other: Any) -> Any:
        return np.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return np.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return np.subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return np.subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return np.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return np.multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return np.true_divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return np.true_divide(other, self)

    def __neg__(self) -> Any:
        return np.negative(self)

    def __abs__(self) -> Any:
        return np.absolute(self)

    def __and__(self, other: Any) -> Any:
        return np.bitwise_and(self, other)

    def __invert__(self) -> Any:
        return np.invert(self)

    def __le__(self, other: Any) -> Any:
        return np.less_equal(self, other)

    def __lt__(self, other: Any) -> Any:
        return np.less(self, other)

    def __gt__(self, other: Any) -> Any:
        return np.greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return np.greater_equal(self, other)

    def __eq__(self, other: Any) -> Any:
        return np.equal(self, other)

    def __ne__(self, other: Any) -> Any:
        return np.not_equal(self, other)

    __hash__ = None  # type: ignore[assignment]  # as of an array


def _flat(pairs: list[tuple[Any, Any]]) -> list[Any]:
    return [item for pair in pairs for item in pair]


def patched(array: Any, patches: Any) -> Any:
    """The array, with some entries replaced in a copy."""
    if not patches:
        return array
    array = array.copy()
    for i, value in patches:
        array[i] = value
    return array


def _elementwise(function: Callable[..., Any], *pairs: Any) -> Any:
    """``function`` of arrays, each followed by its patches."""
    with np.errstate(all="ignore"):
        return function(*(patched(pairs[i], pairs[i + 1]) for i in range(0, len(pairs), 2)))


def _drawn(weights: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.minimum(np.searchsorted(np.cumsum(weights), marks), weights.size - 1)
    return rows, weights[rows]


def _largest(array: np.ndarray) -> tuple[Any, int]:
    i = int(np.argmax(array))
    return array[i], i
