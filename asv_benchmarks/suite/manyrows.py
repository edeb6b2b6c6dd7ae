"""``python -m asv_benchmarks.suite.manyrows``: is a first run that converged the best where rows are many?

Problems of 28 rows for each column and more, with columns of both signs and one of a single sign. The first
of 30 starts is wrong where another one ends lower.
"""

from __future__ import annotations

import argparse
import itertools
import warnings

import numpy as np

from .. import machine
from . import markdown

_RATIOS, _COLUMNS = (28, 40, 100, 300), (3, 10, 30)
#: Targets: an attainable one with relative noise (none of it negative), or one that A says nothing of.
_TARGETS = ("exact", "noise 0.3", "noise 1", "unrelated")
#: What x puts on the column of a single sign; 0: no such column.
_PUSHES = (0.0, 1.0, 3.0, 8.0)
_STARTS = 30


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m asv_benchmarks.suite.manyrows", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="problems of each kind")
    options = parser.parse_args(arguments)
    machine.limit_threads(1)
    warnings.filterwarnings("ignore", category=UserWarning)  # about targets that do not sum to 1
    rows = []
    for skip in (0.0, 0.5, 1.0):
        kinds = itertools.product(_RATIOS, _COLUMNS, _TARGETS, _PUSHES, range(options.seeds))
        found = [_first_is_wrong(skip, *kind) for kind in kinds]
        judged = [wrong for wrong in found if wrong is not None]
        rows.append([f"skip = {skip:g}", len(judged), sum(judged)])
    print(f"{machine.describe(1)}\n")
    print(markdown.table(["model", "first runs that converged", "wrong"], rows))


def _first_is_wrong(skip: float, ratio: int, d: int, target: str, push: float, seed: int) -> bool | None:
    """None where the first run has not converged."""
    import fastsoftres as fs

    rng = np.random.default_rng([round(10 * skip), ratio, d, _TARGETS.index(target), int(push), seed])
    A = rng.standard_normal((ratio * d, d))
    x = 1.5 * rng.standard_normal(d) / np.sqrt(d)
    if push:
        A[:, 0], x[0] = -1.0 - np.abs(A[:, 0]), push
    b = rng.exponential(size=ratio * d) if target == "unrelated" else fs.softres(A @ x, skip=skip)
    if target.startswith("noise"):
        b = np.abs(b * (1.0 + float(target.split()[1]) * rng.standard_normal(b.size)))
    b = b / b.sum()
    result = fs.solve(fs.SoftResProblem(A, b, skip=skip), n_starts=_STARTS)
    first = result.starts[0]
    if first["status"] != 0:
        return None
    return bool(first["fun"] > result.fun + 1e-6 * result.fun + 1e-12 * 0.5 * float(b @ b))


if __name__ == "__main__":
    main()
