"""``python -m asv_benchmarks.targets``: many targets of one A in lock-step beside separate solves.

Bar: 64 targets at n = 100,000, d = 64 at least 6 times as fast as 64 calls of ``solve``. A round solves the
first targets one by one, and the time of one is multiplied; targets are alike (30 % noise, z of order 1).
"""

from __future__ import annotations

import sys

import numpy as np

import fastsoftres as fs
from fastsoftres.solvers.lockstep import lockstep
from fastsoftres.sources import DenseRows

from .benchmarks.problems import many_targets
from .settings import Settings
from .table import Row, milliseconds, verdict, with_range
from .timing import Spread, interleaved

_BAR = 6.0
#: Separate solves that are timed in each round.
_SEPARATE = 4
#: Rounds, at most: one takes about a second.
_ROUNDS = 5


def rows(settings: Settings) -> list[Row]:
    """One row for each skip."""
    n, d = settings.size(100_000, 64)
    return [_row(settings, n, d, 64, skip) for skip in (0.0, 1.0)]


def _row(settings: Settings, n: int, d: int, m: int, skip: float) -> Row:
    A, B = many_targets(n, d, m, skip)
    source = DenseRows(A)
    problems = [fs.SoftResProblem(A, B[:, k], skip=skip) for k in range(_SEPARATE)]
    together = lockstep(source, B, skip=skip)
    separate = [fs.solve(problem) for problem in problems]
    if not (together.status == 0).all():
        raise RuntimeError(f"lockstep: status {together.status}")
    np.testing.assert_allclose(together.fun[:_SEPARATE], [one.fun for one in separate], rtol=1e-9)
    calls = {
        "together": lambda: lockstep(source, B, skip=skip),
        "separate": lambda: [fs.solve(problem) for problem in problems],
    }
    times = interleaved(calls, min(settings.repeat, _ROUNDS))
    all_of_them = [t * m / _SEPARATE for t in times["separate"]]
    spread = Spread.of(a / b for a, b in zip(all_of_them, times["together"], strict=True))
    reads = sum(one.passes for one in separate) / _SEPARATE
    return Row(
        f"{m} targets, n = {n:,}, d = {d}, skip = {skip:g}: {together.passes} reads for all, "
        f"{together.nit.max()} iterations, {together.alone.sum()} finished alone",
        milliseconds(times["together"]),
        f"{m} x solve, {reads:.0f} reads each ({_SEPARATE} timed)",
        milliseconds(all_of_them),
        with_range(spread),
        f">= {_BAR:g}",
        verdict(spread.median, lambda value: value >= _BAR, settings.judged),
    )


if __name__ == "__main__":
    from .peers import main

    main(["--only", "targets", *sys.argv[1:]])
