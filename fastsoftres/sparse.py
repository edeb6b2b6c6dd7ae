"""Sparse A: the check of what a user gives, and the source that hands its rows to the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._notice import notice
from .kernels.csr import Csr, check_columns
from .kernels.formula import BLOCK
from .sources import _CHUNK_BYTES, _SERIAL_BYTES, Rows, writeable_view

#: Bytes of A in a block. Its second use reads it from the second-level cache, where the next block waits,
#: too; of 4 to 64 kB the largest was the fastest, 1.6 times as fast as the smallest.
_BLOCK_BYTES = 64 << 10
#: Work of a row beside its entries (b, z, the formula), in entries: makes chunks of empty rows end, too.
_ROW_WORK = 4
#: A chunk's sums have d entries and its matrix products d*d. They are cleared and merged, so each is
#: updated this often on average.
_UPDATES = 8


class CsrRows:
    """Rows of a sparse matrix in memory, float32 or float64; indices stay int32 or int64.

    Any choice of rows is a view: row i has the entries ``begin[i]:end[i]`` of ``data`` and ``indices``, its
    columns increasing.
    """

    def __init__(self, data: np.ndarray, indices: np.ndarray, begin: np.ndarray, end: np.ndarray, d: int):
        self.n, self.d = begin.size, d
        self.dtype = data.dtype
        self.data, self.indices, self.begin, self.end = data, indices, begin, end
        self._bytes = data.itemsize + indices.itemsize
        counts = end - begin
        self.nnz = int(counts.sum())
        mean = max(1, self.nnz // self.n)
        rows = _BLOCK_BYTES // (self._bytes * mean)
        self._block = max(8, min(BLOCK, rows - rows % 8))
        self._mean = mean
        self._bounds: dict[int, list[tuple[int, int]]] = {}

    @classmethod
    def of(cls, A: Any) -> CsrRows:
        """The rows of what ``matrix`` returned.

        Columns and offsets are copied, a third of A in float64 and int32: kernels index by them unchecked,
        and the caller's may change after they were checked. Changed values are only wrong values.
        """
        ptr = np.array(A.indptr, dtype=np.int64)
        return cls(writeable_view(A.data), A.indices.copy(), ptr[:-1], ptr[1:], A.shape[1])

    @property
    def A(self) -> Any:
        """The rows as a SciPy matrix of their own."""
        from scipy.sparse import csr_array

        copied = self.take(np.arange(self.n))
        ptr = np.append(copied.begin, copied.end[-1:])
        return csr_array((copied.data, copied.indices, ptr), shape=(self.n, self.d))

    def bounds(self, least_rows: int = 1) -> list[tuple[int, int]]:
        """Chunks of about equal work. They depend on the matrix alone, so sums repeat for any threads."""
        if least_rows not in self._bounds:
            self._bounds[least_rows] = self._chunks(least_rows)
        return self._bounds[least_rows]

    def _chunks(self, least_rows: int) -> list[tuple[int, int]]:
        total = self.nnz + _ROW_WORK * self.n
        if total * self._bytes <= _SERIAL_BYTES:
            return [(0, self.n)]
        size = max(min(_CHUNK_BYTES, total * self._bytes // 16), _SERIAL_BYTES // 4) // self._bytes
        # a dense pass that wants many rows has a d x d result; here a row updates mean**2 / 2 of its entries
        result = self.d if least_rows == 1 else 2 * self.d * self.d // self._mean
        size = max(size, _UPDATES * result)
        work = np.cumsum(self.end - self.begin) + _ROW_WORK * np.arange(1, self.n + 1)
        cuts = np.searchsorted(work, np.arange(size, total - size // 2, size)) + 1
        cuts = np.unique(np.concatenate([[0], cuts[cuts < self.n]]))
        return list(zip(cuts.tolist(), [*cuts[1:].tolist(), self.n], strict=True))

    def read(self, start: int, stop: int) -> Rows:
        """These rows, as the kernels take them."""
        A = Csr(self.data, self.indices, self.begin[start:stop], self.end[start:stop], self.d, self._block)
        return Rows(start, stop, A)

    def between(self, start: int, stop: int) -> CsrRows:
        """A source of the rows ``start:stop``; nothing is copied."""
        return CsrRows(self.data, self.indices, self.begin[start:stop], self.end[start:stop], self.d)

    def only(self, rows: np.ndarray) -> CsrRows:
        """A source of these rows only; nothing is copied."""
        return CsrRows(self.data, self.indices, self.begin[rows], self.end[rows], self.d)

    def take(self, rows: np.ndarray) -> CsrRows:
        """A source of these rows only, copied."""
        begin, counts = self.begin[rows], self.end[rows] - self.begin[rows]
        ptr = np.concatenate([[0], np.cumsum(counts)])
        at = np.repeat(begin - ptr[:-1], counts) + np.arange(ptr[-1])
        return CsrRows(self.data[at], self.indices[at], ptr[:-1], ptr[1:], self.d)

    def not_finite(self, rows: Rows) -> tuple[int, int, float]:
        """Row, column and value of the first entry that is not finite among rows that were read."""
        begin, end = self.begin[rows.start : rows.stop], self.end[rows.start : rows.stop]
        bad = np.flatnonzero(~np.isfinite(self.data))
        # the first row with one of these between its ends
        i = int(np.argmax(np.searchsorted(bad, begin) < np.searchsorted(bad, end)))
        k = int(bad[np.searchsorted(bad, begin[i])])
        return rows.start + i, int(self.indices[k]), float(self.data[k])


def is_sparse(A: Any) -> bool:
    """Is this a SciPy sparse array or matrix, or another that can become one?"""
    return hasattr(A, "tocsr")


def column(A: Any, j: int) -> np.ndarray:
    """Column j (n,) of a dense or sparse matrix, float64."""
    values = A[:, [j]].toarray()[:, 0] if is_sparse(A) else A[:, j]
    return np.asarray(values, dtype=np.float64)


def matrix(A: Any, name: str = "A") -> Any:
    """A as canonical SciPy CSR, float32 or float64: the same object where it is that already.

    Nothing of A is trusted before it is used, and nothing of it is modified: what is not in order is put in
    order in a copy.
    """
    if len(A.shape) != 2:
        raise ValueError(f"{name} must be two-dimensional (rows, columns), got shape {A.shape}")
    n, d = A.shape
    if n == 0 or d == 0:
        raise ValueError(f"{name} must have at least one row and one column, got shape {A.shape}")
    if A.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {A.dtype}")
    if getattr(A, "format", None) != "csr":
        _check_other(A, name)
        notice(f"{name} is sparse but not in CSR format ({type(A).__name__}): converted once")
        A = A.tocsr()
    ordered = _check(A.indptr, A.indices, A.data, n, d, name, "row", "column")
    kind = _native(A.dtype, np.float32, np.float64)
    width = _native(A.indices.dtype, np.int32, np.int64)
    if ordered and kind == A.dtype and width == A.indices.dtype and _plain(A):
        return A
    from scipy.sparse import csr_array

    stored = int(A.indptr[-1])
    data, indices = np.array(A.data[:stored], dtype=kind), np.array(A.indices[:stored], dtype=width)
    copied = csr_array((data, indices, np.array(A.indptr, dtype=np.int64)), shape=(n, d))
    if not ordered:
        copied.sum_duplicates()
    return copied


def _native(dtype: np.dtype, small: type, large: type) -> np.dtype:
    """The one of two types that the kernels know which holds this one."""
    return np.dtype(small if dtype.newbyteorder("=") == small else large)


def _plain(A: Any) -> bool:
    return all(part.flags.c_contiguous and part.flags.aligned for part in (A.data, A.indices))


def _check(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    n: int,
    d: int,
    name: str,
    row: str,
    column: str,
) -> bool:
    """Raise unless the offsets and indices are sound. Are the indices of each row increasing?"""
    for part, what in ((indptr, "indptr"), (indices, "indices")):
        if part.ndim != 1 or part.dtype.kind not in "iu":
            raise ValueError(
                f"{name}.{what} must be a one-dimensional integer array, got shape {part.shape}, "
                f"dtype {part.dtype}"
            )
    if data.ndim != 1:
        raise ValueError(f"{name}.data must be one-dimensional, got shape {data.shape}")
    if indptr.size != n + 1:
        raise ValueError(f"{name}.indptr must have one entry more than {row}s ({n + 1}), got {indptr.size}")
    if indptr[0] != 0:
        raise ValueError(f"{name}.indptr must begin with 0, got {indptr[0]}")
    falls = indptr[1:] < indptr[:-1]
    if falls.any():
        i = int(np.argmax(falls))
        raise ValueError(f"{name}.indptr must not decrease, got {indptr[i]} to {indptr[i + 1]} at {row} {i}")
    stored = int(indptr[-1])
    for part, what in ((indices, "indices"), (data, "data")):
        if part.size < stored:
            raise ValueError(
                f"{name}.{what} must have the {stored} entries that {name}.indptr[-1] announces, "
                f"got {part.size}"
            )
    indices = writeable_view(
        np.ascontiguousarray(indices.astype(indices.dtype.newbyteorder("="), copy=False))
    )
    ordered, bad = check_columns(indices, writeable_view(indptr.astype(np.int64, copy=False)), d)
    if bad >= 0:
        i = int(np.searchsorted(indptr, bad, side="right")) - 1
        raise ValueError(
            f"{name}.indices must lie from 0 to {d - 1}, got {column} {indices[bad]} at {row} {i}"
        )
    return bool(ordered)


def _check_other(A: Any, name: str) -> None:
    """Raise unless a matrix in another format is sound: SciPy converts without looking."""
    kind = getattr(A, "format", None)
    n, d = A.shape
    if kind == "csc":
        _check(A.indptr, A.indices, A.data, d, n, name, "column", "row")
    elif kind == "coo":
        for index, size, what in ((A.row, n, "row"), (A.col, d, "column")):
            if index.size != A.data.size:
                raise ValueError(
                    f"{name} must have a {what} for each of its {A.data.size} values, got {index.size}"
                )
            if index.size and not (index.min() >= 0 and index.max() < size):
                worst = index.min() if index.min() < 0 else index.max()
                raise ValueError(f"{name} must have {what}s from 0 to {size - 1}, got {worst}")
    elif hasattr(A, "check_format"):
        A.check_format(full_check=True)
