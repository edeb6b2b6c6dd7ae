"""``python -m asv_benchmarks.dummies``: fits with dummy columns by the thousand.

Two factors and two covariates. Steps by elimination (``solvers/eliminate.py``) beside conjugate gradients
scaled by the diagonal, which is what is left where too many columns meet. One process, in turn.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from typing import Any
from unittest import mock

import numpy as np
from scipy import sparse

from . import machine
from .approximate import timed
from .timing import Spread


def problem(n: int, levels: list[int], skip: float) -> Any:
    """Rows with one level of each factor, 30 % noise, a small ridge for what factors have in common."""
    import fastsoftres as fs

    rng = np.random.default_rng(n)
    first = np.cumsum([0, *levels])
    columns = [rng.integers(a, b, n) for a, b in itertools.pairwise(first)]
    d = int(first[-1]) + 2
    indices = np.stack([*columns, np.full(n, d - 2), np.full(n, d - 1)], axis=1)
    data = np.concatenate([np.ones((n, len(levels))), rng.standard_normal((n, 2))], axis=1)
    ptr = np.arange(0, data.size + 1, data.shape[1])
    A = sparse.csr_array((data.reshape(-1), indices.reshape(-1), ptr), shape=(n, d))
    z = A @ (rng.standard_normal(d) / 2)
    b = np.abs(np.exp(z) * (1.0 + 0.3 * rng.standard_normal(n)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fs.SoftResProblem(A, b / b.sum(), skip=skip, ridge=1e-6 / n)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m asv_benchmarks.dummies", description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--levels", type=int, nargs="+", default=[19_000, 998])
    parser.add_argument("--skip", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)
    warning = machine.busy()
    import fastsoftres as fs
    from fastsoftres.solvers.evaluator import Evaluator

    print(f"{machine.describe(machine.cores())}; n = {options.rows}, levels {options.levels}")
    if warning:
        print(f"WARNING: {warning}.")
    print("\n| skip | steps | time | iterations | reads of A | products | relative gradient | rank proven |")
    print("|---|---|---:|---:|---:|---:|---:|---|")
    for skip in options.skip:
        fitted = problem(options.rows, options.levels, skip)
        answers: dict[str, Any] = {}
        fs.solve(fitted, method="newton-cg", n_starts=1, maxiter=1)  # compiled before the clock starts

        def eliminated(fitted: Any = fitted, answers: dict[str, Any] = answers) -> None:
            answers["elimination"] = fs.solve(fitted, method="newton-cg", n_starts=1)

        def diagonal(fitted: Any = fitted, answers: dict[str, Any] = answers) -> None:
            with mock.patch.object(Evaluator, "elimination", return_value=None):
                answers["diagonal"] = fs.solve(fitted, method="newton-cg", n_starts=1)

        calls = {"elimination": eliminated, "diagonal": diagonal}
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(options.repeat):
            for name, call in calls.items():
                times[name].append(timed(call)[0])
        for name, r in answers.items():
            spread = Spread.of(times[name])
            print(
                f"| {skip:g} | {name} | {spread.median:.2f} s ({spread.low:.2f}-{spread.high:.2f}) | {r.nit} "
                f"| {r.passes} | {r.pass_counts.get('hessp', 0)} | {r.optimality.gradient:.1e} "
                f"| {r.identified_rank or 'no'} |"
            )


if __name__ == "__main__":
    main()
