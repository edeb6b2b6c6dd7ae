"""Room: for a d x d matrix, and for vectors of n numbers that come and go with each evaluation."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

#: Bytes from which the system hands out new memory page by page, and takes it back when it is freed.
_MAPPED = 1 << 17
#: Spare vectors kept for each problem: z, and the D, h, v/alpha of a Hessian.
_MOST_SPARE = 4


def physical_memory() -> int | None:
    """Bytes of memory of this machine, None where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def affordable(d: int) -> None:
    """Raise MemoryError if this machine has no room for a d x d matrix and what is merged into it."""
    memory, needed = physical_memory(), 2 * 8 * d * d
    if memory is not None and needed > memory:
        raise MemoryError(
            f"a {d} x {d} matrix and its parts take {needed / 1e9:.3g} GB, more than the "
            f"{memory / 1e9:.3g} GB of this machine: use products (hessp, or the Hessian as a linear "
            "operator), and "
            "method='newton-cg' or 'lbfgs' to solve"
        )


class Spare:
    """Vectors of one length, whose memory is used again once no array over it is left.

    New memory costs page faults: for z alone up to as much time as value and gradient at d = 64.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

    def vector(self, n: int) -> np.ndarray:
        """np.empty(n); always the same n."""
        if 8 * n < _MAPPED:
            return np.empty(n)
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(n)
        return np.asarray(_Lent(memory, self._free))

    def __reduce__(self) -> tuple[Any, ...]:
        return Spare, ()


class _Lent:
    """Owns a vector's memory while arrays over it live, and then puts it back."""

    def __init__(self, memory: np.ndarray, free: list[np.ndarray]):
        self.memory, self.free = memory, free
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        if len(self.free) < _MOST_SPARE:
            self.free.append(self.memory)
