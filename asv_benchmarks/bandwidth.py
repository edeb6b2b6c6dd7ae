"""How close a pass comes to reading memory and doing nothing else."""

from __future__ import annotations

import numba
import numpy as np

from fastsoftres import _threads

from .benchmarks.common import directions
from .benchmarks.problems import example
from .settings import Settings
from .table import Row, with_range
from .timing import Spread, interleaved, ratio

#: Numbers that a thread sums before it takes more.
_CHUNK = 1 << 19


@numba.njit(nogil=True, fastmath=True)
def _sum(values):
    total = 0.0
    for i in range(values.size):  # by index: an iterator would not vectorise
        total += values[i]
    return total


def _read(A: np.ndarray) -> None:
    """Sum all of A on our threads."""
    flat = A.reshape(-1)
    _threads.run(lambda i: _sum(flat[i * _CHUNK : (i + 1) * _CHUNK]), -(-flat.size // _CHUNK))


def rows(settings: Settings) -> list[Row]:
    """Bytes a second of a plain sum, of value and gradient, and of products with one and eight vectors."""
    n, d = settings.size(1_000_000, 64)
    problem, x = example(n, d)
    point = problem.at(x)
    one, eight = directions(d, 1), directions(d, 8)
    calls = {
        "read": lambda: _read(problem.A),
        "value_and_grad": lambda: problem.value_and_grad(x),
        "hessp, 1 vector": lambda: point.hessp(one),
        "hessp, 8 vectors": lambda: point.hessp(eight),
    }
    # beside A: b is read and z written; D and h are read
    size = dict.fromkeys(calls, problem.A.nbytes + 16 * n) | {"read": problem.A.nbytes}
    times = interleaved(calls, settings.repeat)
    rate = {name: [size[name] / t / 1e9 for t in times[name]] for name in calls}
    read = with_range(Spread.of(rate["read"]), 1.0, " GB/s")
    return [
        Row(
            f"{name}, n = {n:,}, d = {d}, bytes of A and two n-vectors",
            with_range(Spread.of(rate[name]), 1.0, " GB/s"),
            "a sum over A",
            read,
            with_range(ratio(rate[name], rate["read"])),
        )
        for name in calls
        if name != "read"
    ]
