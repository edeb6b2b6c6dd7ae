"""How partitions and groups lie to each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..groups import Groups
from .engine import Engine
from .vectors import Remote, patched


def local_groups(groups: Groups, start: int, stop: int) -> tuple[int, Groups]:
    """The number of the first group of rows ``start:stop``, and the groups from ``start``; cut ones kept."""
    span = groups.span(start, stop)
    local = Groups(span.ptr - start, span.weight)
    if span.head or span.tail:
        kept = local.kept >= 0
        kept[0] |= span.head
        kept[-1] |= span.tail
        local.kept, local.n_kept = np.where(kept, np.cumsum(kept) - 1, -1), int(np.count_nonzero(kept))
    return span.first, local


class Layout:
    """Partitions of consecutive rows, and the groups in each."""

    def __init__(self, engine: Engine, lengths: list[int], groups: Groups):
        self.engine, self.lengths = engine, lengths
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
        self.n, self.size = int(self.starts[-1]), groups.size
        self.partitions = range(len(lengths))
        self.firsts, self.locals = [], []
        for p in self.partitions:
            first, local = local_groups(groups, int(self.starts[p]), int(self.starts[p + 1]))
            self.firsts.append(first)
            self.locals.append(local)

    def one_group(self) -> RemoteGroups:
        """The same partitions, all rows in one group whose mean is given."""
        groups = Groups.one(self.n, kept=True)
        layout = Layout(self.engine, self.lengths, groups)
        for local in layout.locals:
            local.kept, local.n_kept = np.zeros(1, np.intp), 1
        return RemoteGroups(layout, groups)

    def count(self, p: int, kind: str) -> int:
        """Entries of a partition's part."""
        if kind == "row":
            return self.lengths[p]
        return self.locals[p].size if kind == "group" else self.locals[p].n_kept

    def first(self, p: int, kind: str) -> int:
        """Number of the first entry of a part."""
        return int(self.starts[p]) if kind == "row" else self.firsts[p]

    def local_patches(self, p: int, kind: str, patches: dict[int, Any]) -> list[tuple[int, Any]]:
        """Entry of the part, and its value."""
        first, local = self.firsts[p], self.locals[p]
        out = []
        for g, value in patches.items():
            if first <= g < first + local.size:
                i = g - first
                out.append((int(local.kept[i]) if kind == "kept" else i, value))
        return out

    def pick(self, vector: Remote, rows: np.ndarray) -> np.ndarray:
        """Entries of a row vector at these rows (ascending), here."""
        return self.picked(vector.parts or [], rows)

    def picked(self, parts: list[Any], rows: np.ndarray) -> np.ndarray:
        """The same of any references with one entry a row."""
        at = np.searchsorted(rows, self.starts)
        calls = [
            (parts[p], rows[at[p] : at[p + 1]] - self.starts[p]) for p in self.partitions if at[p + 1] > at[p]
        ]
        return np.concatenate(self.engine.gather(self.engine.map(_taken, calls)))

    def fetch(self, vector: Remote, g: int) -> Any:
        """One group's entry that lies in a partition."""
        p = int(np.searchsorted(self.firsts, g, side="right")) - 1
        i = g - self.firsts[p]
        entry = int(self.locals[p].kept[i]) if vector.kind == "kept" else i
        assert vector.parts is not None
        return self.engine.gather(self.engine.map(_entry, [(vector.parts[p], entry)]))[0]


def _taken(part: Any, rows: np.ndarray) -> np.ndarray:
    return np.asarray(part)[rows]


def _entry(part: Any, i: int) -> Any:
    return part[i]


class _Itself:
    """Kept groups are called by their own numbers here; a partition's pass by those of its own."""

    def __getitem__(self, g: Any) -> Any:
        return g


class RemoteGroups:
    """``Groups`` of rows in partitions: what a problem and its solvers ask of them."""

    kept = _Itself()

    def __init__(self, layout: Layout, groups: Groups):
        self.layout = layout
        self.ptr, self.weight, self.size = groups.ptr, groups.weight, groups.size
        self.n_kept = sum(local.n_kept for local in layout.locals)
        self.parts = layout.engine.send(layout.locals)

    def row_vector(self, *shape: int) -> Remote:
        """A row vector that a pass will write."""
        return Remote(self.layout, "row", entry=shape)

    def vector(self) -> Remote:
        """A number a group that a pass will write."""
        return Remote(self.layout, "group")

    def mean_rows(self, d: int) -> Remote:
        """A row a kept group that a pass will write."""
        return Remote(self.layout, "kept", entry=(d,))

    def full(self, value: float) -> Remote:
        """A number for each row."""
        layout = self.layout
        return Remote(layout, "row", layout.engine.map(np.full, [(n, value) for n in layout.lengths]))

    def rows_of(self, values: Any) -> Any:
        """A number a group repeated for each row."""
        layout = self.layout
        calls: list[tuple[Any, ...]]
        if isinstance(values, Remote):
            calls = [
                (*values.argument(p), layout.locals[p].ptr, layout.lengths[p]) for p in layout.partitions
            ]
        else:
            calls = [
                (values[first : first + local.size], None, local.ptr, n)
                for first, local, n in zip(layout.firsts, layout.locals, layout.lengths, strict=True)
            ]
        return Remote(layout, "row", layout.engine.map(_repeated, calls))

    def sums(self, values: Remote) -> Remote:
        """Sums of a row vector over each group."""
        layout = self.layout
        assert values.parts is not None
        calls = [(part, local.ptr) for part, local in zip(values.parts, layout.locals, strict=True)]
        parts, ends = layout.engine.map(_summed, calls, results=2)
        out = Remote(layout, "group", parts)
        for p, (head, tail) in enumerate(layout.engine.gather(ends)):
            local, first = layout.locals[p], layout.firsts[p]
            if local.ptr[0] < 0 or local.ptr[1] > layout.lengths[p]:
                out.patches[first] = out.patches.get(first, 0.0) + head
            if local.size > 1 and local.ptr[-1] > layout.lengths[p]:
                last = first + local.size - 1
                out.patches[last] = out.patches.get(last, 0.0) + tail
        return out


def _repeated(values: np.ndarray, patches: Any, ptr: np.ndarray, n: int) -> np.ndarray:
    return np.repeat(patched(values, patches), np.diff(np.clip(ptr, 0, n)))


def _summed(values: np.ndarray, ptr: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    sums = np.add.reduceat(values, np.clip(ptr[:-1], 0, values.size))
    return sums, (float(sums[0]), float(sums[-1]))
