"""The columns of a table into the arrays of a problem: rows group by group, outside goods added."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from .arrange import Arrangement, arrange
from .data.outside import make_room, outside_shares

#: Bytes of A that are filled column by column at a time: a cache line is completed while it is in cache.
_FILL_BYTES = 1 << 20
#: What the column of ones is called.
CONSTANT = "constant"


@dataclasses.dataclass(frozen=True)
class Parts:
    """Which columns of a table play which part; see ``SoftResProblem.from_frame``."""

    features: tuple[str, ...]
    target: str | None = None
    group: str | None = None
    group_weight: str | None = None
    offset: str | None = None
    mask: str | None = None
    outside: bool = False
    constant: bool = False

    def __post_init__(self) -> None:
        for i, name in enumerate(self.features):
            if name in self.features[:i]:
                raise ValueError(f"features has {name!r} twice")
        if self.target in self.features:
            raise ValueError(f"features must not hold the target, {self.target!r}")
        if self.constant and CONSTANT in self.features:
            raise ValueError(f"features has a column {CONSTANT!r}: rename it, or leave out constant=True")

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns of A."""
        return [CONSTANT, *self.features] if self.constant else list(self.features)

    def without_target(self) -> Parts:
        """What is needed to predict."""
        return dataclasses.replace(self, target=None, group_weight=None)


class Table(Protocol):
    """Columns in memory, by name. What is missing in a column of numbers is nan."""

    n: int

    def numbers(self, name: str) -> np.ndarray:
        """A column of real numbers, in the type that it has."""

    def labels(self, name: str) -> np.ndarray:
        """A column of anything that has an order, without missing values."""

    def flags(self, name: str) -> np.ndarray:
        """A column of booleans, without missing values."""


class Arranged(NamedTuple):
    """The arrays of a problem, their rows in order."""

    A: np.ndarray
    b: np.ndarray
    group_weights: np.ndarray | None
    offset: np.ndarray | None
    rows: Arrangement  # the groups of these arrays' rows: what a problem is built with
    given: Arrangement  # the same, told in rows of the table: what the problem keeps


class Placed(Arrangement):
    """Rows put in order as a table of n rows was read; an outside good has the number n."""

    def taken(self, values: np.ndarray) -> np.ndarray:
        """Values of the table's rows for the rows that take part; 0 for outside goods."""
        return np.append(values, values.dtype.type(0))[self.order] if values.size else values

    def column(self, A: Any, j: int) -> np.ndarray:
        """Column j of A, whose rows are in order."""
        return np.array(A[:, j], dtype=np.float64)

    def given(self, values: np.ndarray) -> np.ndarray:
        """Values of the rows that take part, for each row of the table; 0 where the mask takes it out."""
        out = np.zeros(self.n + 1)
        out[self.order] = values
        return out[:-1]


class InOrder(Arrangement):
    """The same rows for arrays that hold them in this order; messages number them as in the table."""

    def __init__(self, placed: Placed):
        super().__init__(int(placed.ptr[-1]), placed.ptr, labels=placed.labels)
        self._placed = placed

    def row(self, i: int) -> int:
        """The row's number in the table."""
        return self._placed.row(i)


def arrange_table(table: Table, parts: Parts) -> Arranged:
    """Read the columns once, each row to where its group is.

    Rows that the mask takes out are left out, whatever they hold.

    Parameters
    ----------
    table : Table
    parts : Parts
        Without a target b is any one that sums to 1 in each group.

    Returns
    -------
    Arranged

    Raises
    ------
    ValueError, TypeError
        If a column is missing, of another kind or not finite, a weight changes within its group, or shares
        leave nothing for an outside good. The message names the column, and the row or the group.
    """
    labels = None if parts.group is None else table.labels(parts.group)
    mask = None if parts.mask is None else table.flags(parts.mask)
    with (
        warnings.catch_warnings()
    ):  # that A is copied where rows of a group are apart: here they are read once
        warnings.filterwarnings("ignore", "rows of a group are not consecutive")
        rows = arrange(table.n, None, labels, mask)
    order = np.arange(table.n) if rows.order is None else rows.order
    ptr = rows.ptr
    place, wider = make_room(ptr) if parts.outside else (np.arange(order.size), ptr)

    def numbers(name: str) -> np.ndarray:
        values = table.numbers(name)
        _finite(values if rows.order is None else values[order], name, order)
        return values

    def column(values: np.ndarray) -> np.ndarray:
        out = np.zeros(wider[-1])
        out[place] = values[order]
        return out

    def group(g: int) -> str:
        return "the table" if parts.group is None else f"{parts.group} {rows.name(g)}"

    A = _matrix([numbers(name) for name in parts.features], order, place, wider[-1], parts.constant)
    if parts.target is None:
        b = np.repeat(1.0 / np.diff(wider), np.diff(wider))
    else:
        target = numbers(parts.target).astype(np.float64)
        b = column(target)
        if parts.outside:
            b[wider[1:] - 1] = outside_shares(target[order], ptr, group if parts.group else None)
    offset = None if parts.offset is None else column(numbers(parts.offset))
    weights = None
    if parts.group_weight is not None:
        weights = _constant(numbers(parts.group_weight)[order], ptr, parts.group_weight, group)
    places = np.full(wider[-1], table.n)
    places[place] = order
    given = Placed(table.n, wider, places, labels=rows.labels)
    return Arranged(A, b, weights, offset, InOrder(given), given)


def _matrix(
    columns: Sequence[np.ndarray], order: np.ndarray, place: np.ndarray, n: int, constant: bool
) -> np.ndarray:
    """(n, d): the columns' rows ``order`` at ``place``, zeros elsewhere; float32 if all of them are."""
    small = all(values.dtype == np.float32 for values in columns)
    d = len(columns) + constant
    A = np.zeros((n, d), dtype=np.float32 if small else np.float64)
    if constant:
        A[place, 0] = 1.0
    step = max(1, _FILL_BYTES // (d * A.itemsize))
    for start in range(0, order.size, step):
        rows, to = order[start : start + step], place[start : start + step]
        for j, values in enumerate(columns, constant):
            A[to, j] = values[rows]
    return A


def _finite(values: np.ndarray, name: str, order: np.ndarray) -> None:
    if values.dtype.kind == "f" and not (fine := np.isfinite(values)).all():
        i = int(order[~fine].min())
        bad = values[np.argmax(order == i)]
        what = "has a missing value (null or nan)" if np.isnan(bad) else f"must be finite, got {bad}"
        raise ValueError(f"column {name!r} {what} at row {i}")


def _constant(values: np.ndarray, ptr: np.ndarray, name: str, group: Any) -> np.ndarray:
    """The value that a column has in each group (G,)."""
    first = values[ptr[:-1]]
    wrong = np.flatnonzero(values != np.repeat(first, np.diff(ptr)))
    if wrong.size:
        g = int(np.searchsorted(ptr, wrong[0], side="right")) - 1
        raise ValueError(
            f"group_weight must be the same in all rows of a group, but column {name!r} has {first[g]:g} and "
            f"{values[wrong[0]]:g} in {group(g)}"
        )
    return first.astype(np.float64)
