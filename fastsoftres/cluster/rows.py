"""The source whose rows lie in partitions, and the walk over them: a task a partition, the sums merged here.

A pass is taken apart into its class and its attributes. Those that lie with the partitions go as references
to the task of their partition; there the pass is put together again, runs over the rows as it would over
any, and leaves what it writes.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from .. import _threads, _validate
from ..passes import Normaliser, RowData
from ..sources import DenseRows
from .groups import Layout, RemoteGroups
from .vectors import Remote, patched

_RECORDS: tuple[Any, ...] = (RowData, Normaliser)


@dataclasses.dataclass(frozen=True)
class _In:
    """An attribute that goes as an argument of the task; kernels do not look at shapes again."""

    index: int
    patches: list[tuple[int, Any]]
    shape: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class _Out:
    """An attribute that the pass writes."""

    index: int
    shape: tuple[int, ...]


class _Record(NamedTuple):
    """A named tuple of such attributes."""

    kind: Any
    fields: list[Any]


class DaskRows:
    """Rows of a Dask array; ``walk`` runs passes where they lie."""

    nnz: int | None = None

    def __init__(self, layout: Layout, parts: list[Any], d: int, dtype: Any):
        self.layout, self.parts = layout, parts
        self.n, self.d = layout.n, d
        self.dtype = np.dtype(dtype)

    def walk(self, work: Any) -> Any:
        """Sums of a pass over all partitions, merged in their order; what it writes stays with them."""
        layout = self.layout
        outputs: list[Remote] = []
        calls = []
        for p in layout.partitions:
            arguments: list[Any] = []
            outputs = []
            spec = {
                name: self._spec(value, p, arguments, outputs)
                for name, value in vars(work).items()
                if name != "picked"
            }
            if hasattr(work, "picked"):  # groups, by the partition's numbers
                first = layout.firsts[p]
                spec["picked"] = {
                    g - first for g in work.picked if first <= g < first + layout.locals[p].size
                }
            A = self.parts[p] if work.reads_A else None
            calls.append((type(work), spec, layout.lengths[p], len(outputs), A, *arguments))
        refs = layout.engine.map(_run, calls, results=1 + len(outputs))
        sums, *written = refs if outputs else [refs]
        for out, parts in zip(outputs, written, strict=True):
            out.parts = parts
        total: Any = None
        for p, part in enumerate(layout.engine.gather(sums)):
            if not outputs:
                part = part[0]  # noqa: PLW2901
            if isinstance(part, tuple) and len(part) == 2 and isinstance(part[1], list):
                first = layout.firsts[p]
                part = part[0], [piece._replace(group=piece.group + first) for piece in part[1]]  # noqa: PLW2901
            total = part if total is None else work.merge(total, part)
        if isinstance(total, tuple) and len(total) == 2 and isinstance(total[1], list):
            for out in outputs:  # of groups that are open, the caller writes what becomes known
                if out.kind == "kept":
                    out.patches |= {piece.group: np.empty(out.entry) for piece in total[1]}
        return total

    def _spec(self, value: Any, p: int, arguments: list[Any], outputs: list[Remote]) -> Any:
        """What a task is told of an attribute."""
        if isinstance(value, Remote):
            if value.parts is None:
                outputs.append(value)
                return _Out(len(outputs) - 1, value.local_shape(p))
            part, patches = value.argument(p)
            arguments.append(part)
            return _In(len(arguments) - 1, patches, value.local_shape(p))
        if isinstance(value, RemoteGroups):
            arguments.append(value.parts[p])
            return _In(len(arguments) - 1, [])
        if isinstance(value, _RECORDS):
            return _Record(type(value), [self._spec(field, p, arguments, outputs) for field in value])
        return value

    def take(self, rows: np.ndarray) -> DenseRows:
        """A source of these rows only (ascending), in memory here."""
        return DenseRows(np.ascontiguousarray(self.layout.picked(self.parts, rows), dtype=self.dtype))


class _Here:
    """Rows whose entries of A nobody reads."""

    def __init__(self, n: int):
        self.n = n


def _run(kind: Any, spec: dict[str, Any], n: int, n_outputs: int, A: Any, *arguments: Any) -> tuple[Any, ...]:
    """A pass over one partition: its sums, and what it has written."""
    from ..runners import walk

    written: list[Any] = [None] * n_outputs

    def made(value: Any) -> Any:
        if isinstance(value, _In):
            given = arguments[value.index]
            if value.shape is not None and np.shape(given) != value.shape:
                raise ValueError(
                    f"a partition's part has shape {np.shape(given)}, and {value.shape} is wanted"
                )
            return patched(given, value.patches)
        if isinstance(value, _Out):
            written[value.index] = np.empty(value.shape)
            return written[value.index]
        if isinstance(value, _Record):
            return value.kind(*(made(field) for field in value.fields))
        return value

    work = object.__new__(kind)
    for name, value in spec.items():
        setattr(work, name, made(value))
    source: Any = _Here(n) if A is None else DenseRows(_validate.matrix(np.asarray(A)))
    if source.n != n:
        raise ValueError(f"a partition of A has {source.n} rows, and had {n} when the problem was made")
    with _threads.num_threads(1), np.errstate(all="ignore"):  # one task of a worker is one of its threads
        sums = walk(source, work)
    return (sums, *written)
