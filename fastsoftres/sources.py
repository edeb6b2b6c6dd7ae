"""Where the rows lie. A source hands out blocks of consecutive rows; it knows nothing of the model."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple, Protocol

import numpy as np

from .kernels.layout import rows_of_columns

#: Bytes of A in one unit of parallel work. Long enough (0.3 ms) to hide what Python costs around a kernel,
#: short enough that an interrupt is answered at once and threads end together.
_CHUNK_BYTES = 8 << 20
#: Rows that must be copied to become contiguous pass through the cache that cores share: smaller pieces cost
#: more in Python around the kernels than they save.
_COPY_BYTES = 2 << 20
#: Below this many bytes, handing work to other threads (30-100 us) costs more than it saves.
_SERIAL_BYTES = 1 << 20


class Rows(NamedTuple):
    """Rows ``start:stop`` of a source."""

    start: int
    stop: int
    A: Any  # C-contiguous ndarray (stop - start, d), or kernels' Csr; None in a pass over row state alone

    def of(self, array: np.ndarray) -> np.ndarray:
        """The same rows of an (n, ...) array; an empty one stays empty."""
        return array[self.start : self.stop] if array.size else array


class Source(Protocol):
    """What a problem asks of its rows."""

    n: int
    d: int
    dtype: np.dtype
    nnz: int | None  # numbers stored by a sparse matrix

    @property
    def A(self) -> Any:
        """The rows as a matrix."""

    def bounds(self, least_rows: int = 1) -> list[tuple[int, int]]:
        """Chunks of the rows, one unit of parallel work each."""

    def read(self, start: int, stop: int) -> Rows:
        """The rows of a chunk."""

    def take(self, rows: np.ndarray) -> Source:
        """A source of these rows only, copied."""

    def not_finite(self, rows: Rows) -> tuple[int, int, float]:
        """Row, column and value of the first entry that is not finite among rows that were read."""


class DenseRows:
    """A matrix in memory, float32 or float64, in any layout.

    C-contiguous native matrices are read where they lie. Others (Fortran order, strides, byte-swapped,
    unaligned), and ``picked`` rows of any, are copied a cache-sized piece at a time as a pass walks over
    them: slower, but no n x d copy.
    """

    nnz: int | None = None

    def __init__(self, A: np.ndarray, picked: np.ndarray | None = None):
        self.n, self.d = A.shape if picked is None else (picked.size, A.shape[1])
        self.dtype = np.dtype(np.float32 if A.dtype.newbyteorder("=") == np.float32 else np.float64)
        self.direct = as_kernels_read(A, self.dtype) and picked is None
        by_columns = A.flags.f_contiguous and A.flags.aligned and A.dtype == self.dtype and picked is None
        #: The transpose of a Fortran-ordered matrix, which a kernel of ours turns into rows; else None.
        self.columns = None if self.direct or not by_columns else writeable_view(A.T)
        # Kernels only read A, but numba would compile them again for a read-only array.
        self.A = writeable_view(A) if self.direct else A
        self.picked = picked

    def bounds(self, least_rows: int = 1) -> list[tuple[int, int]]:
        """Chunks of the rows. They depend on the matrix alone, so sums repeat for any number of threads."""
        row_bytes = self.d * self.dtype.itemsize
        if self.n * row_bytes <= _SERIAL_BYTES:
            return [(0, self.n)]
        size = _CHUNK_BYTES if self.direct else _COPY_BYTES
        # at least 16 pieces of a middling matrix, so that a few threads share it evenly
        size = max(min(size, self.n * row_bytes // 16), _SERIAL_BYTES // 4)
        rows = max(least_rows, size // row_bytes, 8)
        return [(i, min(i + rows, self.n)) for i in range(0, self.n, rows)]

    def read(self, start: int, stop: int) -> Rows:
        """These rows, contiguous."""
        if self.direct:
            A = self.A if stop - start == self.n else self.A[start:stop]
        elif self.columns is not None:
            A = work_space(stop - start, self.d, self.dtype)
            rows_of_columns(self.columns, start, A)
        elif self.picked is not None:
            A = self._gathered(self.picked[start:stop])
        else:
            A = np.array(self.A[start:stop], dtype=self.dtype, order="C")
        return Rows(start, stop, A)

    def _gathered(self, rows: np.ndarray) -> np.ndarray:
        if not as_kernels_read(self.A, self.dtype):
            return np.ascontiguousarray(self.A[rows], dtype=self.dtype)
        out = work_space(rows.size, self.d, self.dtype)
        # rows in range: "raise" would copy twice
        return np.take(self.A, rows, axis=0, out=out, mode="clip")

    def between(self, start: int, stop: int) -> DenseRows:
        """A source of the rows ``start:stop``; nothing is copied."""
        return DenseRows(self.A[start:stop])

    def only(self, rows: np.ndarray) -> DenseRows:
        """A source of these rows only, copied a piece at a time as they are read."""
        return DenseRows(self.A, rows)

    def not_finite(self, rows: Rows) -> tuple[int, int, float]:
        """Row, column and value of the first entry that is not finite among rows that were read."""
        i, j = divmod(int(np.argmin(np.isfinite(rows.A).reshape(-1))), self.d)
        return rows.start + i, j, float(rows.A[i, j])

    def take(self, rows: np.ndarray) -> DenseRows:
        """A source of these rows only, copied."""
        rows = rows if self.picked is None else self.picked[rows]
        return DenseRows(np.ascontiguousarray(self.A[rows], dtype=self.dtype))


_kept = threading.local()
#: Bytes of a cache line: a vector stored across two of them costs twice.
_LINE = 64


def work_space(rows: int, d: int, dtype: np.dtype) -> np.ndarray:
    """(rows, d), the same memory at each call of a thread: new memory costs page faults."""
    size = rows * d * dtype.itemsize
    if getattr(_kept, "memory", None) is None or _kept.memory.size < size:
        memory = np.empty(size + _LINE, np.uint8)
        _kept.memory = memory[-memory.ctypes.data % _LINE :]
    kept: np.ndarray = _kept.memory[:size]
    return kept.view(dtype).reshape(rows, d)


def as_kernels_read(A: np.ndarray, dtype: np.dtype) -> bool:
    """Can the kernels take it where it lies?"""
    return bool(A.flags.c_contiguous and A.flags.aligned and A.dtype == dtype)


def writeable_view(A: np.ndarray) -> np.ndarray:
    """The same memory, not marked read-only."""
    if A.flags.writeable:
        return A
    interface = dict(A.__array_interface__)
    interface["data"] = (interface["data"][0], False)
    return np.asarray(_Shared(interface, A))


class _Shared:
    """Carries an array interface, and the array that owns its memory."""

    def __init__(self, interface: dict[str, Any], owner: np.ndarray):
        self.__array_interface__ = interface
        self.owner = owner
