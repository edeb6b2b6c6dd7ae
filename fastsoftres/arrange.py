"""The order in which a problem walks over the rows it was given: group by group, masked rows left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._notice import notice
from ._validate import any_array
from .files.source import BlockRows
from .sources import DenseRows, Source
from .sparse import CsrRows, column, is_sparse


class Arrangement:
    """Which of the given rows take part, in what order, and how they fall into groups.

    Parameters
    ----------
    n : int
        Rows given.
    ptr : (G + 1,) intp
        Offsets of the groups among the rows that take part.
    order : (m,) intp or None
        Their numbers among the given rows; None for all of them as they are.
    sorted : bool
        Does ``order`` change the order (and not only leave rows out)?
    labels : (G,) ndarray or None
    """

    def __init__(
        self,
        n: int,
        ptr: np.ndarray,
        order: np.ndarray | None = None,
        sorted: bool = False,
        labels: np.ndarray | None = None,
    ):
        self.n, self.ptr, self.order, self.sorted, self.labels = n, ptr, order, sorted, labels

    def taken(self, values: np.ndarray) -> np.ndarray:
        """An (n,) array of given rows for the rows that take part; an empty one stays empty."""
        return values if self.order is None or values.size == 0 else values[self.order]

    def column(self, A: Any, j: int) -> np.ndarray:
        """Column j of the problem's A for the rows that take part, float64."""
        return self.taken(column(A, j))

    def given(self, values: np.ndarray) -> np.ndarray:
        """Values of the rows that take part, for each given row; 0 for others."""
        if self.order is None:
            return values.copy()
        out = np.zeros(self.n)
        out[self.order] = values
        return out

    def row(self, i: int) -> int:
        """The number that a row which takes part was given under."""
        return i if self.order is None else int(self.order[i])

    def name(self, g: int) -> str:
        """How a message calls a group."""
        if self.labels is None:
            return str(g)
        label = self.labels[g]
        return repr(label.item()) if isinstance(label, (np.number, np.bool_, np.str_)) else str(label)

    def source(self, A: Any) -> Source:
        """The rows that take part: A itself, a run of it, a copy in the groups' order, or picked when
        read."""
        order = self.order
        source: Any = A
        if not isinstance(A, BlockRows):
            source = CsrRows.of(A) if is_sparse(A) else DenseRows(A)
        if order is None:
            return source
        if self.sorted:
            return source.take(order)
        if order[-1] - order[0] + 1 == order.size:
            return source.between(order[0], order[-1] + 1)
        return source.only(order)


def arrange(n: int, group_ptr: Any, groups: Any, mask: Any, *, movable: bool = True) -> Arrangement:
    """Check the groups and the mask of n rows, and put the rows in order; in files they are not
    ``movable``."""
    if isinstance(groups, Arrangement):  # of a table: its rows were put in order as they were read
        return groups
    order: np.ndarray | None = None
    labels: np.ndarray | None = None
    moved = False
    if group_ptr is not None and groups is not None:
        raise TypeError("give group_ptr or groups, not both")
    if groups is not None:
        ptr, labels, order = _from_labels(groups, n)
        moved = order is not None
        if moved and not movable:
            label = np.asarray(groups)[np.argmax(np.diff(order) < 0)] if order is not None else None
            raise ValueError(
                "rows of a group must be consecutive where A is in files or blocks: sort them by group, "
                f"e.g. those of group {label!r} are apart"
            )
        if moved:
            notice("rows of a group are not consecutive in groups: A is copied once, in the groups' order")
    else:
        ptr = np.array([0, n]) if group_ptr is None else _offsets(group_ptr, n)
    if mask is not None:
        live = _mask(mask, n)
        if not live.all():
            kept = live if order is None else live[order]
            counts = np.add.reduceat(kept.astype(np.intp), ptr[:-1])
            arranged = Arrangement(n, ptr, labels=labels)
            if not counts.all():
                g = int(np.argmin(counts))
                what = f"group {arranged.name(g)}" if ptr.size > 2 else "every row"
                raise ValueError(f"mask leaves out {what}: a group needs at least one row")
            order = np.flatnonzero(kept) if order is None else order[kept]
            ptr = np.concatenate([[0], np.cumsum(counts)])
    return Arrangement(n, ptr, order, moved, labels)


def _offsets(group_ptr: Any, n: int) -> np.ndarray:
    ptr = any_array(group_ptr, "group_ptr")
    if ptr.ndim != 1 or ptr.size < 2:
        raise ValueError(f"group_ptr must be one-dimensional with at least 2 entries, got shape {ptr.shape}")
    if ptr.dtype.kind not in "iu":
        raise TypeError(f"group_ptr must hold integers, got dtype {ptr.dtype}")
    ptr = ptr.astype(np.intp)
    if ptr[0] != 0 or ptr[-1] != n:
        raise ValueError(f"group_ptr must run from 0 to the number of rows ({n}), got {ptr[0]} to {ptr[-1]}")
    sizes = np.diff(ptr)
    if (sizes <= 0).any():
        g = int(np.argmax(sizes <= 0))
        what = "is empty" if sizes[g] == 0 else "ends before it begins"
        raise ValueError(f"group_ptr must increase, but group {g} {what}: {ptr[g]} to {ptr[g + 1]}")
    return ptr


def _from_labels(groups: Any, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Offsets, labels in the order of first appearance, and the order of rows that makes groups
    consecutive."""
    given = any_array(groups, "groups")
    if given.ndim != 1 or given.size != n:
        raise ValueError(f"groups must have one label for each row of A ({n}), got shape {given.shape}")
    if given.dtype.kind == "O":
        missing = np.array([label is None or label != label for label in given])  # noqa: PLR0124
        if missing.any():
            i = int(np.argmax(missing))
            raise ValueError(f"groups must not have missing labels, got {given[i]} at row {i}")
        given = given.astype(str) if all(isinstance(label, str) for label in given) else given
    elif given.dtype.kind == "f" and not np.isfinite(given).all():
        i = int(np.argmin(np.isfinite(given)))
        raise ValueError(f"groups must not have missing labels, got {given[i]} at row {i}")
    try:
        values, first, code = np.unique(given, return_index=True, return_inverse=True)
    except TypeError as error:
        raise TypeError(f"groups must hold labels of one kind that can be compared: {error}") from error
    rank = np.empty(values.size, np.intp)
    appearance = np.argsort(first)
    rank[appearance] = np.arange(values.size)
    code = rank[code.reshape(-1)]
    ptr = np.concatenate([[0], np.cumsum(np.bincount(code, minlength=values.size))])
    order = None if (np.diff(code) >= 0).all() else np.argsort(code, kind="stable")
    return ptr, values[appearance], order


def _mask(mask: Any, n: int) -> np.ndarray:
    live = any_array(mask, "mask")
    if live.dtype != np.bool_:
        raise TypeError(f"mask must hold booleans (True: the row takes part), got dtype {live.dtype}")
    if live.shape != (n,):
        raise ValueError(f"mask must have one entry for each row of A ({n}), got shape {live.shape}")
    return live
