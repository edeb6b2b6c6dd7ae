"""Which column of a table plays which role."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrange import Arrangement
from .parquet import ParquetRows, Table


def read_columns(
    path: Any,
    target: Any,
    features: Sequence[str] | None,
    group: str | None,
    group_weight: str | None,
    offset: str | None,
) -> tuple[ParquetRows, Any, dict[str, Any]]:
    """The source of A, the target, and the arguments of a problem that other columns make."""
    table = Table(path)
    taken = {group, group_weight, offset} | ({target} if isinstance(target, str) else set())
    if features is None:
        features = [name for name in table.numeric() if name not in taken]
        if not features:
            raise ValueError(
                f"features: {table.name} has no column of numbers left; it has {', '.join(table.names)}"
            )
    features = list(features)
    for i, name in enumerate(features):
        if name in taken or name in features[:i]:
            raise ValueError(f"features: column {name!r} is there twice, or has another role")
    A = ParquetRows(table, features)
    roles: dict[str, Any] = {}
    if group_weight is not None and group is None:
        raise ValueError("group_weight needs group: the column of the groups that it weighs")
    b = table.vector(target, "target") if isinstance(target, str) else target
    if offset is not None:
        roles["offset"] = table.vector(offset, "offset")
    if group is not None:
        ptr, labels = _groups(table, group)
        roles["groups"] = Arrangement(table.n, ptr, labels=labels)
        if group_weight is not None:
            roles["group_weights"] = _of_groups(table, group_weight, ptr, labels)
    return A, b, roles


def _groups(table: Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and labels of runs of equal labels; a label that comes again is an error."""
    if name not in table.names:
        raise ValueError(f"group: {table.name} has no column {name!r}; it has {', '.join(table.names)}")
    starts: list[int] = []
    labels: list[Any] = []
    seen: set[Any] = set()
    last: Any = None
    for at, batch in table.batches([name], 1 << 16, lambda start, stop: True):
        column = batch.column(0)
        if column.null_count:
            i = int(np.argmin(column.is_valid().to_numpy(zero_copy_only=False)))
            raise ValueError(f"group: column {name!r} has no value at row {at + i}{table.where(at + i)}")
        values = column.to_numpy(zero_copy_only=False)
        changes = np.flatnonzero(values[1:] != values[:-1]) + 1
        for i in [0, *changes.tolist()]:
            label = values[i].item() if isinstance(values[i], np.generic) else values[i]
            if labels and i == 0 and label == last:
                continue
            if label in seen:
                raise ValueError(
                    f"group: rows of a group must be consecutive in the files, but {label!r} of column "
                    f"{name!r} comes "
                    f"again at row {at + i}{table.where(at + i)}: sort the table by {name!r}"
                )
            seen.add(label)
            starts.append(at + i)
            labels.append(label)
            last = label
    return np.array([*starts, table.n], dtype=np.intp), np.array(labels)


def _of_groups(table: Table, name: str, ptr: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A column that is constant in each group, one value a group."""
    values = table.vector(name, "group_weight")
    out = values[ptr[:-1]]
    wrong = np.flatnonzero(values != np.repeat(out, np.diff(ptr)))
    if wrong.size:
        row = int(wrong[0])
        g = int(np.searchsorted(ptr, row, side="right")) - 1
        raise ValueError(
            f"group_weight: column {name!r} must have one value in each group, but group "
            f"{labels[g].item()!r} has {out[g]} and, "
            f"at row {row}, {values[row]}"
        )
    return out
