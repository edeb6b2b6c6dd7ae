"""From a collection of Dask to the parts of a problem: checks and sums where the rows lie, before any fit."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from .. import _validate
from .._notice import notice
from ..arrange import Arrangement, arrange
from ..groups import Groups
from ..kernels.finite import finite_rows
from ..opening import Given, Opened, checked_weights, not_one
from ..passes import RowData
from .engine import Engine, engine
from .groups import Layout, RemoteGroups
from .rows import DaskRows
from .vectors import Remote


def opened(given: Given) -> Opened:
    """Check everything, one task a partition, and leave it where it is."""
    if given.b is None:
        raise TypeError("b is missing: (n,) numbers, here or in a collection of Dask")
    if given.memory_limit is not None:
        raise TypeError("memory_limit is for A in files; a worker of Dask has its own")
    A = _matrix(given.A)
    n, d = int(A.shape[0]), int(A.shape[1])
    arranged = arrange(n, given.group_ptr, _here(given.groups), _here(given.mask), movable=False)
    filled = [rows > 0 for rows in A.chunks[0]]
    cut = Cut(n, [int(rows) for rows in A.chunks[0] if rows], arranged.order)
    run = engine()
    parts = run.place_rows(cut.blocks(list(itertools.compress(A.to_delayed().ravel().tolist(), filled))))
    vectors = {
        name: _vector(run, value, cut, name)
        for name, value in (("b", given.b), ("row_ridge", given.row_ridge), ("offset", given.offset))
    }
    calls = [
        (part, {name: v and v[p] for name, v in vectors.items()}, cut.numbers[p], cut.given[p], d, given.kl)
        for p, part in enumerate(parts)
    ]
    calls = [(part, *v.values(), *rest) for part, v, *rest in calls]
    for problem in run.gather(run.map(_check, calls)):
        if problem is not None:
            raise ValueError(problem)
    local = Groups(arranged.ptr, checked_weights(given.group_weights, arranged.ptr.size - 1))
    layout = Layout(run, cut.lengths, local)
    remote: Any = RemoteGroups(layout, local)
    b, w, o = (np.empty(0) if v is None else Remote(layout, "row", v) for v in vectors.values())
    rows = RowData(b, w, o, remote, given.skip, given.kl)  # type: ignore[arg-type]  # arrays to what follows
    dtype = np.float32 if A.dtype.newbyteorder("=") == np.float32 else np.float64
    there = _Arrangement(n, arranged.ptr, arranged.order, labels=arranged.labels)
    there.cut = cut
    return Opened(given.A, DaskRows(layout, parts, d, dtype), rows, there, _scale(rows, there))


class Cut:
    """How a mask (``order``: the rows that take part, None for all) cuts the partitions of n rows.

    Attributes
    ----------
    given : list of (int, int)
        Number of a partition that has rows that take part, and of its first row.
    numbers : list of arrays or slices
        Which of its rows those are.
    lengths : list of int
        How many.
    """

    def __init__(self, n: int, lengths: list[int], order: np.ndarray | None):
        self.n, self.masked = n, order is not None
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
        self.given, self.numbers, self.lengths = [], [], []
        ends = self.starts if order is None else np.searchsorted(order, self.starts).tolist()
        for p, start in enumerate(self.starts[:-1]):
            if ends[p] < ends[p + 1]:
                self.given.append((p, start))
                self.lengths.append(ends[p + 1] - ends[p])
                self.numbers.append(None if order is None else order[ends[p] : ends[p + 1]] - start)

    def blocks(self, delayed: list[Any]) -> list[Any]:
        """Delayed partitions with the rows that take part."""
        from dask.delayed import delayed as later

        blocks = [delayed[p] for p, _ in self.given]
        if not self.masked:
            return blocks
        take = later(_taken_rows, pure=True, traverse=False)
        return [take(block, rows) for block, rows in zip(blocks, self.numbers, strict=True)]

    def vectors(self, v: np.ndarray) -> list[np.ndarray]:
        """The same of an array (n,) that lies here."""
        parts = [v[self.starts[p] : self.starts[p + 1]] for p, _ in self.given]
        if not self.masked:
            return [part.copy() for part in parts]
        return [part[rows] for part, rows in zip(parts, self.numbers, strict=True)]


class _Arrangement(Arrangement):
    """The arrangement of rows in partitions: what has a number a row stays there."""

    cut: Cut

    def given(self, values: Any) -> Any:
        """Values of the rows that take part, for each given row; 0 for others."""
        if not self.cut.masked:
            return values
        starts, held = self.cut.starts, {p: k for k, (p, _) in enumerate(self.cut.given)}
        calls = []
        for p in range(len(starts) - 1):
            k = held.get(p)
            known = (None, None) if k is None else (values.parts[k], self.cut.numbers[k])
            calls.append((*known, starts[p + 1] - starts[p]))
        layout = values.layout
        whole = Layout(layout.engine, np.diff(starts).tolist(), Groups.one(self.n))
        return Remote(whole, "row", layout.engine.map(_spread, calls))


def _taken_rows(block: Any, rows: np.ndarray) -> np.ndarray:
    return np.asarray(block)[rows]


def _spread(values: Any, rows: Any, n: int) -> np.ndarray:
    out = np.zeros(n)
    if rows is not None:
        out[rows] = values
    return out


def _matrix(A: Any) -> Any:
    """A two-dimensional array whose partitions have known lengths and all columns."""
    import dask.array as da

    if hasattr(A, "to_dask_array"):  # a dataframe
        A = A.to_dask_array(lengths=True)
    if not isinstance(A, da.Array):
        raise TypeError(f"A must be a dask.array or a dask.dataframe, got {type(A).__name__}")
    if A.ndim != 2:
        raise ValueError(f"A must be two-dimensional (rows, columns), got {A.ndim} dimensions")
    if np.dtype(A.dtype).kind not in "fiub":
        raise TypeError(f"A must hold real numbers, got dtype {A.dtype}")
    for p, rows in enumerate(A.chunks[0]):
        if math.isnan(rows):
            raise ValueError(
                f"partition {p} of A has an unknown number of rows: call A.compute_chunk_sizes() first, or "
                f"make A by "
                "to_dask_array(lengths=True)"
            )
    if any(math.isnan(columns) for columns in A.chunks[1]):
        raise ValueError("A has an unknown number of columns: call A.compute_chunk_sizes() first")
    if A.shape[0] == 0 or A.shape[1] == 0:
        raise ValueError(f"A must have at least one row and one column, got shape {A.shape}")
    return A.rechunk({1: -1}) if len(A.chunks[1]) > 1 else A


def _vector(run: Engine, v: Any, cut: Cut, name: str) -> Any:
    """References to the parts of (n,) numbers; None for none."""
    from . import is_collection

    if v is None:
        return None
    if is_collection(v):
        if hasattr(v, "to_dask_array"):
            v = v.to_dask_array(lengths=True)
        for p, rows in enumerate(v.chunks[0]):
            if math.isnan(rows):
                raise ValueError(
                    f"partition {p} of {name} has an unknown number of rows: call "
                    f"{name}.compute_chunk_sizes() first"
                )
        if v.ndim != 1 or v.shape[0] != cut.n:
            raise ValueError(f"{name} must have one entry for each row of A ({cut.n}), got shape {v.shape}")
        v = v.rechunk((tuple(np.diff(cut.starts).tolist()),)).astype(np.float64)
        return run.place(cut.blocks(v.to_delayed().ravel().tolist()))
    if np.ndim(v) == 0:
        value = _validate.number(v, name)
        return run.map(np.full, [(rows, value) for rows in cut.lengths]) if value else None
    return run.send(cut.vectors(_validate.vector(v, cut.n, name, "row of A")))


def _here(values: Any) -> Any:
    """Labels or flags of all rows, here."""
    from . import is_collection

    if values is None or not is_collection(values):
        return values
    return np.asarray(values.compute())


def _check(
    A: Any,
    b: np.ndarray,
    w: np.ndarray | None,
    offset: np.ndarray | None,
    numbers: np.ndarray | None,
    place: tuple[int, int],
    d: int,
    kl: bool,
) -> str | None:
    """What is wrong with a partition, in words."""
    A = np.asarray(A)
    p, start = place

    def where(i: int) -> str:
        row = i if numbers is None else int(numbers[i])
        return f"row {start + row}{{}} (row {row} of partition {p})"

    if A.shape != (b.size, d):
        return f"partition {p} of A has shape {A.shape}, and its collection says {(b.size, d)}"
    native = np.ascontiguousarray(
        A, A.dtype.newbyteorder("=") if A.dtype.kind == "f" and A.itemsize > 2 else np.float64
    )
    if not finite_rows(native):
        i, j = np.argwhere(~np.isfinite(native))[0].tolist()
        return f"A must be finite, got {native[i, j]} at {where(i).format(f', column {j}')}"
    for name, v in (("b", b), ("row_ridge", w), ("offset", offset)):
        if v is not None and not np.isfinite(v).all():
            i = int(np.argmin(np.isfinite(v)))
            return f"{name} must be finite, got {v[i]} at {where(i).format('')}"
    for name, v in (("b", b if kl else None), ("row_ridge", w)):
        if v is not None and (v < 0).any():
            i = int(np.argmin(v))
            why = " for loss='kl'" if name == "b" else ""
            return f"{name} must be >= 0{why}, got {v[i]} at {where(i).format('')}"
    return None


def _entropies(b: np.ndarray) -> np.ndarray:
    return -b * np.log(b, out=np.zeros_like(b), where=b > 0.0)


def _scale(rows: RowData, arranged: Any) -> tuple[float, float]:
    """As ``opening.scale`` has them."""
    b: Any = rows.b
    groups: Any = rows.groups
    weight = groups.weight if groups.weight.size else 1.0
    sums = groups.sums(b)
    if rows.kl:
        entropy = groups.sums(b._apply(_entropies, (b,)))
        whole = sums._apply(_entropies, (sums,))
        return 2.0 * float((weight * sums).sum()), float((weight * (entropy - whole)).sum())
    warning = not_one(arranged, np.absolute(sums - 1.0), sums, b.size)
    if warning:
        notice(warning)
    return float((weight * groups.sums(b * b)).sum()), 0.0
