"""What the machine can do at most: bytes read a second, and multiply-adds a second, on our threads."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

from fastsoftres import _threads, get_num_threads
from fastsoftres.kernels import simd

#: Bytes that a thread reads before it takes more.
_CHUNK = 4 << 20
#: How far ahead the reader with prefetch asks: 4 kB, the fastest of 0.5 to 32 kB tried.
_AHEAD = 4096


@numba.njit(nogil=True, fastmath=True)
def _sum(values):
    total = values.dtype.type(0)
    for i in range(values.size):  # by index: an iterator would not vectorise
        total += values[i]
    return total


@numba.njit(nogil=True, fastmath=True)
def _sum_ahead(values, ahead):
    """The same, every page asked for before it is needed."""
    total = values.dtype.type(0)
    for start in range(0, values.size, ahead):
        simd.fetch(values, start + ahead, start + 2 * ahead)
        for i in range(start, min(start + ahead, values.size)):
            total += values[i]
    return total


@numba.njit(nogil=True, fastmath=True)
def _sum_rows(values):
    """Eight streams side by side, as in a product of eight rows with a vector."""
    part = values.size // 8
    total = values.dtype.type(0)
    for i in range(part):
        total += (
            values[i] + values[part + i] + values[2 * part + i] + values[3 * part + i]
            + values[4 * part + i] + values[5 * part + i] + values[6 * part + i] + values[7 * part + i]
        )  # fmt: skip
    return total


def read_calls(A: np.ndarray) -> dict[str, Callable[[], None]]:
    """Ways to read all of A once; the fastest is the bandwidth of the machine."""
    flat = A.reshape(-1, order="A")
    size = _CHUNK // flat.itemsize
    pieces = [flat[i : i + size] for i in range(0, flat.size, size)]

    def over(read: Callable[[np.ndarray], object]) -> Callable[[], None]:
        return lambda: _threads.run(lambda i: read(pieces[i]), len(pieces))

    return {
        "read: one sum": over(_sum),
        "read: one sum, prefetched": over(lambda v: _sum_ahead(v, _AHEAD // v.itemsize)),
        "read: eight sums side by side": over(_sum_rows),
        "read: NumPy's sum": over(np.sum),
    }


@numba.njit(nogil=True)
def _tiles(left, right, rows, H, ldh, times):
    for _ in range(times):
        simd.gram_tile(left, 0, right, 0, rows, H, 0, ldh)


class MultiplyAdd:
    """Multiply-adds on numbers that stay in the first-level cache."""

    ROWS, TIMES = 128, 20_000

    def __init__(self, dtype: np.dtype):
        self.width = simd.gram_columns(dtype)
        self.left = np.full(self.ROWS * simd.GRAM_MR, 1e-3, dtype)
        self.right = np.full(self.ROWS * self.width, 1e-3, dtype)

    def __call__(self) -> None:
        """One share for each thread."""

        def task(_: int) -> None:
            H = np.zeros(simd.GRAM_MR * self.width)
            _tiles(self.left, self.right, self.ROWS, H, self.width, self.TIMES)

        _threads.run(task, get_num_threads())

    @property
    def flops(self) -> float:
        """Operations of a call; a multiply-add counts two."""
        return 2.0 * self.ROWS * self.TIMES * simd.GRAM_MR * self.width * get_num_threads()
