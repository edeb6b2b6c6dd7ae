"""Blocks cut from pieces that come in sizes of their own: batches of a table, blocks of a sequence."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..kernels.finite import finite_rows
from ..sources import DenseRows, as_kernels_read, writeable_view
from .source import BlockRows, Fill

#: A piece: the number of its first row, its length, and its rows as ``PieceRows.copy`` takes them.
Piece = tuple[int, int, Any]


class PieceRows(BlockRows):
    """A source that has ``pieces``; its blocks are filled from them."""

    def pieces(self, wanted: Callable[[int, int], bool]) -> Iterator[Piece]:
        """Pieces in order; those of rows ``start:stop`` not ``wanted(start, stop)`` may be left out."""
        raise NotImplementedError

    def copy(self, rows: Any, start: int, stop: int, out: np.ndarray) -> None:
        """Write rows ``start:stop`` of a piece to ``out``."""
        out[...] = rows[start:stop]

    @contextlib.contextmanager
    def reader(self) -> Iterator[Fill]:
        """Cuts pieces as they come."""
        pieces = self.pieces(lambda start, stop: True)
        first, length, rows = 0, 0, None

        def fill(start: int, stop: int, out: np.ndarray) -> np.ndarray:
            nonlocal first, length, rows
            at = start
            while at < stop:
                while first + length <= at:
                    rows = None
                    first, length, rows = next(pieces, (self.n + 1, 0, None))
                    if first > at:
                        raise ValueError(f"{self.name} has become shorter: rows from {at} on are missing")
                end = min(stop, first + length)
                self.copy(rows, at - first, end - first, out[at - start : end - start])
                at = end
            return out[: stop - start]

        yield fill

    def take(self, rows: np.ndarray) -> DenseRows:
        """A source of these rows only (ascending), in memory; pieces without any may not be read."""
        out = np.empty((rows.size, self.d), self.dtype)

        def wanted(start: int, stop: int) -> bool:
            first, last = np.searchsorted(rows, (start, stop))
            return bool(last > first)

        done, whole = 0, np.empty((0, self.d), self.dtype)
        for start, length, piece in self.pieces(wanted):
            last = int(np.searchsorted(rows, start + length))
            if last > done:
                if whole.shape[0] < length:
                    whole = np.empty((length, self.d), self.dtype)
                self.copy(piece, 0, length, whole[:length])
                out[done:last] = whole[rows[done:last] - start]
                done = last
        return DenseRows(out)


class SequenceRows(PieceRows):
    """Blocks of a sequence, or of what a function returns: A_block, or (A_block, b_block).

    All blocks are read once to learn their sizes, the targets, and whether they are finite.
    """

    def __init__(self, blocks: Any):
        self.blocks = blocks
        sizes, targets, paired = [], [], None
        finite, width, dtype = True, None, np.dtype(np.float32)
        for i, block in enumerate(self._all()):
            A, b = _parts(block, i)
            if width is None:
                width, paired = A.shape[1], b is not None
            if A.shape[1] != width:
                raise ValueError(f"block {i} of A has {A.shape[1]} columns, and block 0 has {width}")
            if (b is not None) != paired:
                raise ValueError(
                    f"block {i} comes {'with' if b is not None else 'without'} a target, unlike block 0"
                )
            if b is not None:
                targets.append(_target(b, A.shape[0], i))
            sizes.append(A.shape[0])
            dtype = np.promote_types(dtype, A.dtype)
            A = np.ascontiguousarray(
                A, None if A.dtype.kind == "f" and A.dtype.itemsize in (4, 8) else np.float64
            )
            finite = finite and finite_rows(A.astype(A.dtype.newbyteorder("="), copy=False))
        if width is None:
            raise ValueError("A is a sequence without a block")
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
        # arrays that lie in memory, and will still be there when another block is asked for
        self.shared = isinstance(blocks, (list, tuple)) and all(
            isinstance(block[0] if isinstance(block, tuple) else block, np.ndarray) for block in blocks
        )
        super().__init__(int(self.starts[-1]), width, dtype, "the sequence of blocks")
        self.finite = finite
        if paired:
            self.target = np.concatenate(targets)
        self.fixed = max(sizes) * self.row_bytes

    def cut(self, size: int) -> None:
        """Blocks that end where those in memory do, which are then read where they lie."""
        super().cut(size)
        rows = int(np.diff(self.edges).max())
        if self.shared and np.diff(self.starts).min() >= rows // 2:
            cuts = [np.arange(i, j, rows) for i, j in itertools.pairwise(self.starts.tolist())]
            self.edges = np.append(np.concatenate(cuts), self.n)

    @contextlib.contextmanager
    def reader(self) -> Iterator[Fill]:
        """Of blocks in memory what lies in one of them is not copied."""
        if not self.shared:
            with super().reader() as cut:
                yield cut
            return

        def fill(start: int, stop: int, out: np.ndarray) -> np.ndarray:
            i = int(np.searchsorted(self.starts, start, side="right")) - 1
            at = start
            while at < stop:
                first, last = self.starts[i], self.starts[i + 1]
                end = min(stop, int(last))
                A = self._same(self.blocks[i], i)[at - first : end - first]
                if (at, end) == (start, stop) and as_kernels_read(A, self.dtype):
                    return writeable_view(A)
                out[at - start : end - start] = A
                at, i = end, i + 1
            return out[: stop - start]

        yield fill

    def _all(self) -> Iterator[Any]:
        """A fresh iterator over the blocks."""
        if callable(self.blocks):
            return iter(self.blocks())
        return (self.blocks[i] for i in range(len(self.blocks)))

    def pieces(self, wanted: Callable[[int, int], bool]) -> Iterator[Piece]:
        """The blocks; of a sequence only the wanted ones are asked for."""
        starts = self.starts.tolist()
        if callable(self.blocks):
            for i, block in enumerate(self._all()):
                if i + 1 >= len(starts):
                    raise ValueError(f"A has become longer: it had {len(starts) - 1} blocks when first read")
                yield starts[i], starts[i + 1] - starts[i], self._same(block, i)
            return
        for i in range(len(starts) - 1):
            if wanted(starts[i], starts[i + 1]):
                yield starts[i], starts[i + 1] - starts[i], self._same(self.blocks[i], i)

    def _same(self, block: Any, i: int) -> np.ndarray:
        """The block's rows, if they have the shape that they had at first."""
        A, _ = _parts(block, i)
        shape = (int(self.starts[i + 1] - self.starts[i]), self.d)
        if A.shape != shape:
            raise ValueError(
                f"block {i} of A has changed: shape {A.shape}, and {shape} when it was first read"
            )
        return A

    def where(self, row: int) -> str:
        """The block that a row lies in, and its number there."""
        i = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f" (row {row - self.starts[i]} of block {i})"


def is_sequence(A: Any) -> bool:
    """Is A a sequence or a factory of blocks, and not an array, or rows of one?"""
    if callable(A):
        return True
    if hasattr(A, "tocsr"):  # a sparse array has a length that raises
        return False
    if hasattr(A, "__array__") or not (hasattr(A, "__len__") and hasattr(A, "__getitem__")):
        return False
    if isinstance(A, (str, bytes, dict)) or len(A) == 0:
        return False
    try:
        first = A[0]
    except (KeyError, IndexError, TypeError):
        return False
    if isinstance(first, tuple) and len(first) == 2:
        first = first[0]
    return getattr(first, "ndim", None) == 2


def _parts(block: Any, i: int) -> tuple[np.ndarray, Any]:
    """A_block and b_block or None."""
    A, b = block if isinstance(block, tuple) and len(block) == 2 else (block, None)
    A = np.asarray(A)
    if A.ndim != 2:
        raise ValueError(f"block {i} of A must be two-dimensional (rows, columns), got shape {A.shape}")
    if A.dtype.kind not in "fiub":
        raise TypeError(f"block {i} of A must hold real numbers, got dtype {A.dtype}")
    return A, b


def _target(b: Any, rows: int, i: int) -> np.ndarray:
    b = np.asarray(b)
    if b.shape != (rows,):
        raise ValueError(
            f"the target of block {i} must have one entry for each of its {rows} rows, got shape {b.shape}"
        )
    if b.dtype.kind not in "fiub":
        raise TypeError(f"the target of block {i} must hold real numbers, got dtype {b.dtype}")
    b = b.astype(np.float64)
    if not np.isfinite(b).all():
        row = int(np.argmin(np.isfinite(b)))
        raise ValueError(f"b must be finite, got {b[row]} at row {row} of block {i}")
    return b
