"""The walk over rows that are read block by block.

Where any thread may read any block, each reads the next one for itself and computes on it while it is in its
cache. Else a thread of its own reads blocks in order, and the others compute on those before.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import _threads
from .files.source import BlockRows
from .sources import Rows, work_space

#: Blocks in memory beside those that the threads compute on: one is read, others lie ready, so that neither
#: side waits.
_READY = 3


def buffers(source: BlockRows) -> int:
    """Blocks in memory at a time."""
    return _threads.get_num_threads() + (0 if source.shared else _READY)


Use = Callable[[int, Rows], None]
#: Called as ``watch(rows, of)`` when rows of a walk have been read and computed.
Watch = Callable[[int, int], Any]
_watch: contextvars.ContextVar[Watch | None] = contextvars.ContextVar("fastsoftres_watch", default=None)


@contextlib.contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Tell ``watch`` of every block inside a ``with`` block, in this thread.

    It is called as ``watch(rows, of)``, ``rows`` out of ``of`` rows of one read of A, by one thread at a
    time but not always the same one.
    """
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def walk_blocks(source: BlockRows, bounds: list[tuple[int, int]], use: Use) -> None:
    """Call ``use(index, rows)`` for each chunk of ``bounds``, on all threads, block after block."""
    block_of = np.searchsorted(source.edges, [start for start, _ in bounds], side="right") - 1
    rows = int(np.diff(source.edges).max())
    told = _Told(source.n)
    if source.shared:
        _each_reads(source, bounds, block_of, rows, use, told)
    else:
        _one_reads(source, bounds, block_of, rows, use, told)


class _Told:
    """Tells who watches how many rows are done."""

    def __init__(self, of: int):
        self.watch, self.rows, self.of, self.lock = _watch.get(), 0, of, threading.Lock()

    def done(self, rows: int) -> None:
        if self.watch is not None:
            with self.lock:
                self.rows += rows
                self.watch(self.rows, self.of)


def _each_reads(
    source: BlockRows, bounds: list[tuple[int, int]], block_of: np.ndarray, rows: int, use: Use, told: _Told
) -> None:
    """Every thread reads a block and computes on it: what it has read is still in its cache."""
    edges = source.edges.tolist()
    first = np.searchsorted(block_of, np.arange(len(edges))).tolist()
    readers: dict[int, Any] = {}
    with contextlib.ExitStack() as opened:

        def task(block: int) -> None:
            me = threading.get_ident()
            if me not in readers:
                readers[me] = opened.enter_context(source.reader())
            base, end = edges[block], edges[block + 1]
            A = readers[me](base, end, work_space(rows, source.d, source.dtype))
            for index in range(first[block], first[block + 1]):
                start, stop = bounds[index]
                use(index, Rows(start, stop, A[start - base : stop - base]))
            told.done(end - base)

        with _threads.num_threads(min(_threads.get_num_threads(), source.buffers or len(edges))):
            _threads.run(task, len(edges) - 1)


def _one_reads(
    source: BlockRows, bounds: list[tuple[int, int]], block_of: np.ndarray, rows: int, use: Use, told: _Told
) -> None:
    """A thread of its own reads ahead of those that compute."""
    edges = source.edges.tolist()
    uses = np.bincount(block_of, minlength=len(edges) - 1).tolist()
    count = min(source.buffers or buffers(source), len(uses))
    slots = [np.empty((rows, source.d), source.dtype) for _ in range(count)]
    with source.reader() as fill:

        def make(block: int, slot: int) -> np.ndarray:
            return fill(edges[block], edges[block + 1], slots[slot])

        ahead = _threads.Ahead(make, uses, count)

        def task(index: int) -> None:
            block, (start, stop) = int(block_of[index]), bounds[index]
            try:
                base = edges[block]
                A = ahead.get(block)
                use(index, Rows(start, stop, A[start - base : stop - base]))
                if ahead.done(block):
                    told.done(edges[block + 1] - base)
            except BaseException as error:
                ahead.stop(error)
                raise

        try:
            _threads.run(task, len(bounds))
        finally:
            ahead.close()
