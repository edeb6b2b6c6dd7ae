"""``python -m asv_benchmarks.suite.heldout``: does the rule that ends the starts hold where it was not tuned?

Attention-like problems with seeds of their own: peaked targets, exact, rounded to float16, cut to their 32
largest entries, with 30 % noise. The best known minimum is the lowest of ``solve`` and of 50 starts.
"""

from __future__ import annotations

import argparse
import itertools
import zlib

import numpy as np

from .. import machine
from . import markdown

#: Rows and target of each kind of problem.
_KINDS = [
    ("clustered", "exact"), ("clustered", "half_precision"), ("clustered", "cut"), ("clustered", "noisy"),
    ("gaussian", "cut"), ("heavy_tailed", "cut"), ("correlated", "noisy"),
]  # fmt: skip
_SPREADS, _SKIPS = (1.5, 3.0, 5.0), (0.0, 0.5, 1.0)
_N, _D, _STARTS = 512, 32, 50


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m asv_benchmarks.suite.heldout", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="problems of each kind, spread and skip")
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args(arguments)
    machine.limit_threads(1)
    rows = []
    for kind in _KINDS:
        found = [
            _solved(*kind, spread, skip, seed)
            for spread, skip in itertools.product(_SPREADS, _SKIPS)
            for seed in range(options.first_seed, options.first_seed + options.seeds)
        ]
        rows.append((", ".join(kind), np.array(found)))
    rows.append(("all", np.concatenate([each for _, each in rows])))
    table = [
        [name, len(each), *(int(each[:, k].sum()) for k in range(3)), f"{each[:, 3].mean():.1f}"]
        for name, each in rows
    ]
    print(f"{machine.describe(1)}\n")
    print(
        markdown.table(
            ["rows, target", "problems", "solved", "by the first run", "successes", "mean runs"], table
        )
    )


def _solved(rows: str, target: str, spread: float, skip: float, seed: int) -> tuple[bool, bool, bool, int]:
    """Solved? By the first run? A success? And the runs made."""
    import fastsoftres as fs

    from .problems import ROWS, TARGETS

    rng = np.random.default_rng(zlib.crc32(f"held{rows}{target}{spread}{skip}{seed}".encode()))
    A, x = ROWS[rows](rng, _N, _D), rng.standard_normal(_D)
    z = A @ x
    b = TARGETS[target](rng, fs.softres(A @ (x * (spread / z.std())), skip=0.0))
    problem = fs.SoftResProblem(A, b, skip=skip)
    result = fs.solve(problem)
    best = min(result.fun, fs.solve(problem, n_starts=_STARTS, rng=7).fun)
    limit = best + 1e-6 * best + 1e-12 * 0.5 * float(b @ b)
    runs = result.starts
    return result.fun <= limit, runs[0]["fun"] <= limit, result.success, len(runs)


if __name__ == "__main__":
    main()
