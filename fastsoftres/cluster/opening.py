"""From a collection of Dask to the parts of a problem: checks and sums where the rows lie, before any fit."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from .. import _validate
from .._notice import notice
from ..arrange import arrange
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
    if given.mask is not None:
        raise TypeError("mask is not taken where A is a collection of Dask: leave rows out first")
    if given.memory_limit is not None:
        raise TypeError("memory_limit is for A in files; a worker of Dask has its own")
    A = _matrix(given.A)
    lengths = [int(rows) for rows in A.chunks[0] if rows]
    n, d = int(sum(lengths)), int(A.shape[1])
    run = engine()
    blocks = [block for block, rows in zip(A.to_delayed().ravel().tolist(), A.chunks[0], strict=True) if rows]
    parts = run.place(blocks)
    b_parts = _vector(run, given.b, lengths, n, "b")
    w_parts = _vector(run, given.row_ridge, lengths, n, "row_ridge")
    o_parts = _vector(run, given.offset, lengths, n, "offset")
    starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    told = run.gather(
        run.map(
            _check,
            [
                (part, b_parts[p], w_parts and w_parts[p], o_parts and o_parts[p],
                 p, starts[p], lengths[p], d, given.kl)
                for p, part in enumerate(parts)
            ],
        )
    )  # fmt: skip
    for problem in told:
        if problem is not None:
            raise ValueError(problem)
    arranged = arrange(n, given.group_ptr, _labels(given.groups), None, movable=False)
    local = Groups(arranged.ptr, checked_weights(given.group_weights, arranged.ptr.size - 1))
    layout = Layout(run, lengths, local)
    remote: Any = RemoteGroups(layout, local)
    none = np.empty(0)
    rows = RowData(
        Remote(layout, "row", b_parts),  # type: ignore[arg-type]  # an array to all that follows
        none if w_parts is None else Remote(layout, "row", w_parts),  # type: ignore[arg-type]
        none if o_parts is None else Remote(layout, "row", o_parts),  # type: ignore[arg-type]
        remote,
        given.skip,
        given.kl,
    )
    dtype = np.float32 if A.dtype.newbyteorder("=") == np.float32 else np.float64
    return Opened(given.A, DaskRows(layout, parts, d, dtype), rows, arranged, _scale(rows, arranged))


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


def _vector(run: Engine, v: Any, lengths: list[int], n: int, name: str) -> Any:
    """References to the parts of (n,) numbers; None for none."""
    from . import is_collection

    if v is None:
        return None
    starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    if is_collection(v):
        if hasattr(v, "to_dask_array"):
            v = v.to_dask_array(lengths=True)
        for p, rows in enumerate(v.chunks[0]):
            if math.isnan(rows):
                raise ValueError(
                    f"partition {p} of {name} has an unknown number of rows: call "
                    f"{name}.compute_chunk_sizes() first"
                )
        if v.ndim != 1 or v.shape[0] != n:
            raise ValueError(f"{name} must have one entry for each row of A ({n}), got shape {v.shape}")
        v = v.rechunk((tuple(lengths),)).astype(np.float64)
        return run.place(v.to_delayed().ravel().tolist())
    if np.ndim(v) == 0:
        value = _validate.number(v, name)
        return run.map(np.full, [(rows, value) for rows in lengths]) if value else None
    v = _validate.vector(v, n, name, "row of A")
    return run.send([v[i:j].copy() for i, j in itertools.pairwise(starts)])


def _labels(groups: Any) -> Any:
    """Labels of all rows, here."""
    from . import is_collection

    if groups is None or not is_collection(groups):
        return groups
    return np.asarray(groups.compute())


def _check(
    A: Any,
    b: np.ndarray,
    w: np.ndarray | None,
    offset: np.ndarray | None,
    p: int,
    start: int,
    rows: int,
    d: int,
    kl: bool,
) -> str | None:
    """What is wrong with a partition, in words."""
    A = np.asarray(A)
    if A.shape != (rows, d):
        return f"partition {p} of A has shape {A.shape}, and its collection says {(rows, d)}"
    native = np.ascontiguousarray(
        A, A.dtype.newbyteorder("=") if A.dtype.kind == "f" and A.itemsize > 2 else np.float64
    )
    if not finite_rows(native):
        i, j = np.argwhere(~np.isfinite(native))[0].tolist()
        return (
            f"A must be finite, got {native[i, j]} at row {start + i}, column {j} (row {i} of partition {p})"
        )
    for name, v in (("b", b), ("row_ridge", w), ("offset", offset)):
        if v is not None and not np.isfinite(v).all():
            i = int(np.argmin(np.isfinite(v)))
            return f"{name} must be finite, got {v[i]} at row {start + i} (row {i} of partition {p})"
    for name, v in (("b", b if kl else None), ("row_ridge", w)):
        if v is not None and (v < 0).any():
            i = int(np.argmin(v))
            why = " for loss='kl'" if name == "b" else ""
            return f"{name} must be >= 0{why}, got {v[i]} at row {start + i} (row {i} of partition {p})"
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
