"""Rows that do not lie in memory: they are read a block at a time, in buffers that a budget allows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..sources import DenseRows, Rows

#: Bytes of a block where the budget allows it, and of what one thread computes at a time. Blocks stay in
#: cache from the reader to the kernel: passes over a file in the page cache were fastest at 2 MB and lost a
#: fifth at 8 and 16.
BLOCK_BYTES = 2 << 20
#: Rows of a block for each column: the d x d sums of a block must stay small beside their making.
_ROWS_PER_COLUMN = 2

#: ``fill(start, stop, out)`` reads rows ``start:stop`` into the beginning of ``out`` and returns them.
Fill = Callable[[int, int, np.ndarray], np.ndarray]


class BlockRows:
    """A source whose blocks of rows are read in order, again for each pass.

    A subclass has ``reader``.

    Attributes
    ----------
    n, d : int
    dtype : float32 or float64
        What the rows are read as.
    edges : (k + 1,) intp
        Row numbers at which blocks begin, and n.
    name : str
        How messages call it.
    target : (n,) float64 or None
        A target that came with the rows.
    finite : bool
        Are all entries known to be finite?
    unit : int
        Rows that a format reads together at least.
    shared : bool
        May every thread have a reader of its own, each for any blocks in increasing order?
    buffers : int or None
        Blocks in memory at a time; None for as many as the threads ask for.
    held : int
        Blocks that a reader keeps beside the one it fills: raw or decoded ones.
    fixed : int
        Bytes that it keeps whatever the size of a block.
    """

    nnz: int | None = None
    held = 0
    fixed = 0
    unit = 1
    shared = False

    def __init__(self, n: int, d: int, dtype: Any, name: str):
        if n == 0 or d == 0:
            raise ValueError(f"A must have at least one row and one column, got shape {(n, d)} in {name}")
        self.n, self.d, self.name = n, d, name
        self.dtype = np.dtype(np.float32 if np.dtype(dtype).newbyteorder("=") == np.float32 else np.float64)
        self.target: np.ndarray | None = None
        self.finite = False
        self.buffers: int | None = None
        self.cut(self.usual)

    @property
    def A(self) -> Any:
        """What stands for the matrix."""
        return self

    def only(self, rows: np.ndarray) -> BlockRows:
        """A source of these rows only (ascending), picked as their blocks are read."""
        return PickedBlocks(self, rows)

    def between(self, start: int, stop: int) -> BlockRows:
        """A source of the rows ``start:stop``."""
        return self.only(np.arange(start, stop))

    def read(self, start: int, stop: int) -> Rows:
        """Rows of one block, read now."""
        with self.reader() as fill:
            return Rows(start, stop, fill(start, stop, np.empty((stop - start, self.d), self.dtype)))

    def not_finite(self, rows: Rows) -> tuple[int, int, float]:
        """Row, column and value of the first entry that is not finite among rows that were read."""
        i, j = divmod(int(np.argmin(np.isfinite(rows.A).reshape(-1))), self.d)
        return rows.start + i, j, float(rows.A[i, j])

    def reader(self) -> contextlib.AbstractContextManager[Fill]:
        """What reads row ranges in increasing order; several may be open at once."""
        raise NotImplementedError

    def where(self, row: int) -> str:
        """What a message adds to a row's number: the block of a file that it lies in."""
        return f" of {self.name}"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.n, self.d

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in memory."""
        return self.d * self.dtype.itemsize

    @property
    def usual(self) -> int:
        """Bytes of a block where memory is no matter."""
        return max(BLOCK_BYTES, _ROWS_PER_COLUMN * self.d * self.row_bytes)

    @property
    def borders(self) -> np.ndarray:
        """Rows at which a block begins and another ends: a group across one is cut there."""
        return self.edges[1:-1]

    def cut(self, size: int) -> None:
        """Choose blocks of at most ``size`` bytes, or of one unit."""
        rows = max(size // self.row_bytes // self.unit, 1) * self.unit
        self.edges = np.append(np.arange(0, self.n, rows), self.n)

    def bounds(self, least_rows: int = 1) -> list[tuple[int, int]]:
        """Chunks of the rows, each within a block. They depend on the blocks alone, not on the threads."""
        chunks = []
        for start, stop in zip(self.edges[:-1].tolist(), self.edges[1:].tolist(), strict=True):
            shares = max(1, (stop - start) * self.row_bytes // BLOCK_BYTES)
            rows = max(-(-(stop - start) // shares), least_rows)
            chunks += [(i, min(i + rows, stop)) for i in range(start, stop, rows)]
        return chunks

    def take(self, rows: np.ndarray) -> DenseRows:
        """A source of these rows only (ascending), in memory; blocks without any are not read."""
        out = np.empty((rows.size, self.d), self.dtype)
        at = np.searchsorted(rows, self.edges)
        buffer = np.empty((int(np.diff(self.edges).max()), self.d), self.dtype)
        with self.reader() as fill:
            for i in np.flatnonzero(np.diff(at)).tolist():
                start, stop = int(self.edges[i]), int(self.edges[i + 1])
                picked = slice(int(at[i]), int(at[i + 1]))
                out[picked] = fill(start, stop, buffer)[rows[picked] - start]
        return DenseRows(out)


class PickedBlocks(BlockRows):
    """Some rows (ascending) of a source, for which whole blocks of it are read."""

    def __init__(self, source: BlockRows, picked: np.ndarray):
        self.source, self.picked = source, picked
        self.held, self.fixed, self.shared = source.held + 1, source.fixed, source.shared
        super().__init__(picked.size, source.d, source.dtype, source.name)
        self.finite = source.finite

    def cut(self, size: int) -> None:
        """Blocks of the source, without those that have no row here."""
        self.source.cut(size)
        edges = np.searchsorted(self.picked, self.source.edges)
        self.blocks = np.flatnonzero(np.diff(edges))
        self.edges = np.append(edges[self.blocks], self.n)

    @contextlib.contextmanager
    def reader(self) -> Iterator[Fill]:
        """Reads a block and moves the picked rows together."""
        edges, blocks = self.source.edges, self.blocks
        whole = np.empty((int(np.diff(edges).max()), self.d), self.dtype)
        with self.source.reader() as fill_whole:

            def fill(start: int, stop: int, out: np.ndarray) -> np.ndarray:
                block = int(blocks[np.searchsorted(self.edges, start, side="right") - 1])
                first, last = int(edges[block]), int(edges[block + 1])
                A = fill_whole(first, last, whole)
                return np.take(A, self.picked[start:stop] - first, axis=0, out=out[: stop - start])

            yield fill

    def take(self, rows: np.ndarray) -> DenseRows:
        """A source of these rows only, in memory."""
        return self.source.take(self.picked[rows])

    def where(self, row: int) -> str:
        """As the source says it; ``row`` is a number of its own."""
        return self.source.where(row)
