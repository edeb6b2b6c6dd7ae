"""Value and gradient beside JAX, PyTorch and NumPy: bar, twice as fast as the fastest of them."""

from __future__ import annotations

import numpy as np

from .benchmarks.problems import example
from .objective import PEERS, Call
from .settings import Settings
from .table import Row, milliseconds, verdict, with_range
from .timing import interleaved, ratio

_BAR = 2.0


def rows(settings: Settings) -> list[Row]:
    """One row for each peer that is installed."""
    n, d = settings.size(1_000_000, 64)
    problem, x = example(n, d)
    ours: Call = lambda: problem.value_and_grad(x)  # noqa: E731
    peers, missing = {}, []
    for name, calls in PEERS.items():
        try:
            peers |= dict(calls(problem.A, problem.b, x))
        except ImportError:
            missing.append(name)
    for name, call in peers.items():
        _same(name, ours(), call())
    times = interleaved({"": ours} | peers, settings.repeat)
    what = f"value_and_grad, n = {n:,}, d = {d}"
    table = []
    for name in peers:
        spread = ratio(times[name], times[""])
        met = verdict(spread.median, lambda r: r >= _BAR, settings.judged)
        table.append(
            Row(
                what,
                milliseconds(times[""]),
                name,
                milliseconds(times[name]),
                with_range(spread),
                ">= 2",
                met,
            )
        )
    return table + [Row(what, milliseconds(times[""]), f"{name}: not installed") for name in missing]


def _same(name: str, ours, theirs) -> None:
    """The peer computes the same, or the comparison means nothing."""
    value, grad = float(theirs[0]), np.asarray(theirs[1])
    assert abs(value - ours[0]) <= 1e-9 * ours[0], f"{name}: value {value}, here {ours[0]}"
    error = np.linalg.norm(grad - ours[1]) / np.linalg.norm(ours[1])
    assert error <= 1e-9, f"{name}: gradients differ by {error:.1e}"
