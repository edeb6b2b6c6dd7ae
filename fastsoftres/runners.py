"""Who walks over the rows: the one loop behind every pass.

A pass has ``block(rows) -> sums`` and ``merge(sums, sums) -> sums``. Merging happens in the order of the
rows, whichever thread finishes first, so a result repeats to the last bit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from . import _threads
from .files.source import BlockRows
from .prefetch import walk_blocks
from .sources import Rows, Source

Sums = TypeVar("Sums")


class Pass(Protocol[Sums]):
    """What is computed from a block of rows."""

    reads_A: bool

    def block(self, rows: Rows) -> Sums:
        """Sums over these rows; row state is written where it belongs."""

    def merge(self, before: Sums, after: Sums) -> Sums:
        """Sums over two neighbouring runs of rows."""


class Partitioned(Protocol):
    """A source whose rows lie elsewhere: passes go there."""

    def walk(self, work: Any) -> Any:
        """Run a pass over all rows, where they are."""


#: Rows of a pass over row state alone that are worth a thread (a few ns a row).
_STATE_ROWS = 1 << 16
#: Rows of a few vectors that fit into the second-level cache together.
_CACHED_ROWS = 1 << 14


def walk(source: Source, work: Pass[Sums]) -> Sums:
    """Run a pass over all rows of a source."""
    elsewhere = getattr(source, "walk", None)  # ``Partitioned``: asking by isinstance takes microseconds
    if elsewhere is not None:
        return elsewhere(work)
    groups = getattr(work, "groups", None)
    if work.reads_A:
        bounds = source.bounds(getattr(work, "least_rows", 1))
        if groups is not None:
            bounds = groups.aligned(bounds)
    elif source.n <= _STATE_ROWS:
        bounds = [(0, source.n)]
    else:
        bounds = [(i, min(i + _STATE_ROWS, source.n)) for i in range(0, source.n, _STATE_ROWS)]
        if groups is not None:
            bounds = groups.aligned(bounds, _STATE_ROWS)
    if work.reads_A and isinstance(source, BlockRows):
        merger = _OrderedMerge(work)
        walk_blocks(source, bounds, lambda index, rows: merger.add(index, work.block(rows)))
        return merger.total

    def block(start: int, stop: int) -> Sums:
        return work.block(source.read(start, stop) if work.reads_A else Rows(start, stop, None))

    if len(bounds) == 1:
        return block(*bounds[0])
    merger = _OrderedMerge(work)
    _threads.run(lambda index: merger.add(index, block(*bounds[index])), len(bounds))
    return merger.total


def in_blocks(n: int, work: Callable[[slice], Any]) -> list[Any]:
    """``work`` of each block of row state that stays in cache, on the pool's threads; its answers in order.

    For what is said in NumPy: overflow is judged by its result, as around every solver. ``work`` must not use
    the pool itself, it would wait for its own thread.
    """
    answers: list[Any] = [None] * -(-n // _CACHED_ROWS)

    def one(index: int) -> None:
        with np.errstate(all="ignore"):  # of this thread
            answers[index] = work(slice(index * _CACHED_ROWS, min((index + 1) * _CACHED_ROWS, n)))

    _threads.run(one, len(answers))
    return answers


class _OrderedMerge:
    """Merges sums by position as they arrive, keeping only those whose turn has not come."""

    def __init__(self, work: Pass[Any]):
        self.work = work
        self.total: Any = None
        self.turn = 0
        self.waiting: dict[int, Any] = {}
        self.lock = threading.Lock()

    def add(self, index: int, sums: Any) -> None:
        with self.lock:
            self.waiting[index] = sums
            while self.turn in self.waiting:
                sums = self.waiting.pop(self.turn)
                self.total = sums if self.turn == 0 else self.work.merge(self.total, sums)
                self.turn += 1
