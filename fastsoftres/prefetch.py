"""The walk over rows that are read block by block: the next block is read while the last one computes."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import _threads
from .files.source import BlockRows
from .sources import Rows

#: Blocks in memory beside those that the threads compute on: one is read, others lie ready, so that neither
#: side waits.
_READY = 3


def buffers() -> int:
    """Blocks in memory at a time."""
    return _threads.get_num_threads() + _READY


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


def walk_blocks(source: BlockRows, bounds: list[tuple[int, int]], use: Callable[[int, Rows], None]) -> None:
    """Call ``use(index, rows)`` for each chunk of ``bounds``, on all threads, block after block."""
    edges = source.edges
    watch = _watch.get()
    block_of = np.searchsorted(edges, [start for start, _ in bounds], side="right") - 1
    uses = np.bincount(block_of, minlength=edges.size - 1).tolist()
    rows = int(np.diff(edges).max())
    count = min(source.buffers or buffers(), len(uses))
    slots = [np.empty((rows, source.d), source.dtype) for _ in range(count)]
    with source.reader() as fill:

        def make(index: int, slot: int) -> np.ndarray:
            return fill(int(edges[index]), int(edges[index + 1]), slots[slot])

        ahead = _threads.Ahead(make, uses, count)

        def task(index: int) -> None:
            block, (start, stop) = int(block_of[index]), bounds[index]
            try:
                base = int(edges[block])
                A = ahead.get(block)
                use(index, Rows(start, stop, A[start - base : stop - base]))
                if ahead.done(block) and watch is not None:
                    watch(stop, source.n)
            except BaseException as error:
                ahead.stop(error)
                raise

        try:
            _threads.run(task, len(bounds))
        finally:
            ahead.close()
