"""Times of several calls taken in turn, so that a slow moment of the machine hits them all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

#: Seconds of rest after calls whose threads spin when they are done, OpenBLAS's for 2**26 cycles: they would
#: take cores from the next call.
_REST = 0.1


class Spread(NamedTuple):
    """Median, smallest and largest of several measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        values = sorted(values)
        return cls(statistics.median(values), values[0], values[-1])


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of a call that follows one of its own kind, as in a solver's loop.

    The call before it is not timed: it wakes this call's own threads and the cores from their rest.
    """
    call()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interleaved(
    calls: dict[str, Callable[[], Any]], repeat: int, quiet: Collection[str] = ()
) -> dict[str, list[float]]:
    """Wall times of each call, one a round; two rounds before the first one that counts.

    Calls that are ``quiet`` leave no thread of theirs spinning, so the next one follows without a rest.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    before = None
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(-2, repeat):
            for name, call in calls.items():
                if before not in quiet:
                    time.sleep(_REST)
                taken, before = seconds(call), name
                if turn >= 0:
                    times[name].append(taken)
    finally:
        if collecting:
            gc.enable()
    return times


def ratio(above: list[float], below: list[float]) -> Spread:
    """Spread of the ratios, round by round."""
    return Spread.of(a / b for a, b in zip(above, below, strict=True))
