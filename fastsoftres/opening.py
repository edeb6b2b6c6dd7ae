"""From the arguments of a problem to its parts: every check, before anything is computed.

``cluster.opening`` does the same where the rows lie in the partitions of a Dask collection.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from . import _validate
from ._notice import notice
from .arrange import Arrangement, arrange
from .files import open_rows
from .files.budget import plan
from .files.source import BlockRows
from .groups import Groups
from .kernels.finite import finite_rows
from .passes import RowData
from .prefetch import buffers
from .runners import walk
from .sources import Rows, Source

LOSSES = ("least-squares", "kl")
#: Squares of smaller numbers, and sums of any number of them, are in the range of float64.
_NO_OVERFLOW = 1e100


class Given(NamedTuple):
    """The arguments of a problem: of rows and groups as they came, of the model checked."""

    A: Any
    b: Any
    row_ridge: Any
    group_ptr: Any
    groups: Any
    group_weights: Any
    offset: Any
    mask: Any
    memory_limit: Any
    skip: float
    kl: bool


class Opened(NamedTuple):
    """The parts of a problem."""

    A: Any  # as ``SoftResProblem.A`` shows it
    source: Any
    rows: RowData
    arrangement: Arrangement
    scale: tuple[float, float]  # twice the loss that says nothing, and the least loss


def checked_model(skip: Any, ridge: Any, loss: Any) -> tuple[float, float, str]:
    """The parameters of the model."""
    skip, ridge = _validate.number(skip, "skip"), _validate.number(ridge, "ridge")
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    if loss == "kl" and skip > 0.0:
        raise ValueError(
            f"loss='kl' needs skip=0, got skip={skip:g}: with a linear term f can be negative and has no "
            "logarithm"
        )
    return skip, ridge, loss


def checked_row_ridge(row_ridge: Any, n: int) -> np.ndarray:
    """(n,) if there is any, else (0,)."""
    given = _validate.any_array(row_ridge, "row_ridge")
    if given.ndim == 0:
        value = _validate.number(given[()], "row_ridge")
        return np.full(n, value) if value else np.empty(0)
    w = _validate.vector(row_ridge, n, "row_ridge", "row of A")
    _validate.not_negative(w, "row_ridge", "row")
    return w.copy() if w.any() else np.empty(0)


def checked_weights(group_weights: Any, groups: int) -> np.ndarray:
    """(G,) if there are any, else (0,)."""
    if group_weights is None:
        return np.empty(0)
    weight = _validate.vector(group_weights, groups, "group_weights", "group")
    _validate.not_negative(weight, "group_weights", "group")
    return weight.copy()


def open_data(given: Given) -> Opened:
    """Rows in memory, in files, or in blocks."""
    blocks = open_rows(given.A)
    A = given.A if blocks is not None else _validate.matrix(given.A)
    n = blocks.n if blocks is not None else A.shape[0]
    b = blocks.target if given.b is None and blocks is not None else given.b
    if b is None:
        raise TypeError("b is missing: only blocks (A_block, b_block) bring a target of their own")
    b = _validate.vector(b, n, "b", "row of A")
    w = checked_row_ridge(given.row_ridge, n)
    o = np.empty(0) if given.offset is None else _validate.vector(given.offset, n, "offset", "row of A")
    arranged = arrange(n, given.group_ptr, given.groups, given.mask, movable=blocks is None)
    source: Any = arranged.source(A if blocks is None else blocks)
    if given.memory_limit is not None:
        if not isinstance(source, BlockRows):
            raise TypeError("memory_limit is for A in files or blocks, and this A is an array in memory")
        plan(source, given.memory_limit, arranged.ptr.size - 1, buffers(source))
    weight = checked_weights(given.group_weights, arranged.ptr.size - 1)
    if not getattr(source, "finite", False):
        check_finite(source, arranged)
    # copies: the caller's may change later, or be read-only
    rows = RowData(
        arranged.taken(b).copy(), arranged.taken(w).copy(), arranged.taken(o).copy(),
        groups_of(source, arranged.ptr, weight), given.skip, given.kl,
    )  # fmt: skip
    bb, floor, warning = scale(rows, arranged)
    if warning:
        notice(warning)
    return Opened(A, source, rows, arranged, (bb, floor))


def groups_of(source: Any, ptr: np.ndarray, weight: np.ndarray) -> Groups:
    """The groups; a single one may be cut by chunks however few rows it has, others by a file's blocks."""
    borders = getattr(source, "borders", ())
    if ptr.size == 2:
        borders = [start for start, _ in source.bounds()]
    return Groups(ptr, weight, borders)


def scale(rows: RowData, arranged: Arrangement) -> tuple[float, float, str]:
    """What losses are measured by: twice the loss that says nothing, the least loss; and a notice, or ""."""
    b, groups = rows.b, rows.groups
    plain = groups.size == 1 and not groups.weight.size and not rows.kl
    if plain and b.min() > -_NO_OVERFLOW and b.max() < _NO_OVERFLOW:  # the usual case
        total = b.sum(keepdims=True)
        return float(b.dot(b)), 0.0, not_one(arranged, np.abs(total - 1.0), total, b.size)
    weight = groups.weight if groups.weight.size else 1.0
    floor = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # told by the error below, not by a warning
        sums = groups.sums(b)
        if rows.kl:
            if (b < 0.0).any():
                i = int(np.argmin(b))
                raise ValueError(f"b must be >= 0 for loss='kl', got {b[i]} at row {arranged.row(i)}")
            share = np.divide(b, groups.rows_of(sums), out=np.zeros_like(b), where=b > 0.0)
            entropy = -b * np.log(share, out=np.zeros_like(b), where=share > 0.0)
            floor = float(np.sum(weight * groups.sums(entropy)))
            bb = 2.0 * float(np.sum(weight * sums))
        elif groups.size > 1 or groups.weight.size:
            bb = float(np.sum(weight * groups.sums(b * b)))
        else:
            bb = float(b @ b)
    if not math.isfinite(bb + floor):
        raise ValueError(
            f"b must have a finite sum of squares, got entries up to {np.abs(b).max():g} (group weights up "
            f"to {np.max(weight):g}); scale them"
        )
    if rows.kl:
        return bb, floor, ""
    return bb, floor, not_one(arranged, np.abs(sums - 1.0), sums, b.size)


def not_one(arranged: Arrangement, off: Any, sums: Any, n: int) -> str:
    """A notice of groups whose targets, ``off`` by so much, do not sum to 1."""
    wrong = off > 1e-6 + 1e-15 * n
    count = int(wrong.sum())
    if not count:
        return ""
    g = int(wrong.argmax())
    name = f"b of group {arranged.name(g)}" if arranged.ptr.size > 2 else "b"
    more = f" (and {count - 1} more groups)" if count > 1 else ""
    return f"{name} sums to {sums[g]:.6g}{more}; the fitted values always sum to 1. Fitted as it stands"


def check_finite(source: Source, arranged: Arrangement) -> None:
    """Raise at a row of A that is not finite, in one read."""
    walk(source, _FiniteRows(source, arranged))


class _FiniteRows:
    """One sum a chunk tells, and only a bad chunk is looked at closely."""

    reads_A = True

    def __init__(self, source: Source, arrangement: Arrangement):
        self.source, self.arrangement = source, arrangement

    def block(self, rows: Rows) -> int:
        """Nothing to keep."""
        if not finite_rows(rows.A):
            i, j, value = self.source.not_finite(rows)
            row = self.arrangement.row(i)
            where = getattr(self.source, "where", lambda row: "")(row)
            raise ValueError(f"A must be finite, got {value} at row {row}, column {j}{where}")
        return 0

    def merge(self, before: int, after: int) -> int:
        """Nothing to merge."""
        return 0
