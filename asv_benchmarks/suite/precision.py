"""``python -m asv_benchmarks.suite.precision``: Newton's method with float32 products in the assembly.

Each problem is run from x = 0 and from the closed form by the loop for problems of any size, whatever its
number of columns: once with float64 products alone, once with float32 products where the Hessian is safely
definite and the point is not the last.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings

from .. import machine
from .__main__ import add_selection, select

_TOL, _MAXITER = 1e-8, 200


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m asv_benchmarks.suite.precision", description=__doc__)
    options = add_selection(parser).parse_args(arguments)
    machine.limit_threads(options.threads)
    import numpy as np

    import fastsoftres as fs
    from fastsoftres.solvers import newton, starts
    from fastsoftres.solvers.evaluator import Evaluator
    from fastsoftres.solvers.runs import Job

    from . import best
    from .markdown import table

    fs.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=UserWarning)
    known = best.load()

    def run(problem, start, single):
        newton._SINGLE_COLUMNS = 1 if single else math.inf
        evaluator = Evaluator(problem)
        quick = []
        whole = evaluator.hessian
        evaluator.hessian = lambda point, dtype=np.float64: (
            quick.append(dtype is np.float32) or whole(point, dtype)
        )
        job = Job(evaluator, "newton", _TOL, _MAXITER, None, False, math.inf)
        with np.errstate(all="ignore"):
            run = job.run(starts.Start("given", evaluator.place(start)))
        return run, quick

    fits: dict = {}
    for i, suite_problem in enumerate(select(options)):
        print(f"\r{i + 1} {suite_problem.name:<60}", end="", file=sys.stderr, flush=True)
        problem = suite_problem.build()
        lowest = best.of(known, suite_problem.name, problem).fun
        level = lowest + best.allowance(problem, lowest)
        closed = [s.point.x for s in starts.choose(Evaluator(problem)) if s.name != "zeros"][:1]
        for name, points in (("zeros", [np.zeros(problem.shape[1])]), ("the closed form", closed)):
            for x in points:
                for single in (False, True):
                    done, quick = run(problem, x, single)
                    fits.setdefault((name, single), []).append(
                        (
                            done.state.point.value <= level,
                            done.status == 0,
                            done.state.nit,
                            len(quick),
                            sum(quick),
                        )
                    )
    rows = []
    for (name, single), found in fits.items():
        solved, ended, iterations, assemblies, quick = np.array(found, dtype=int).sum(axis=0)
        rows.append(
            (
                name,
                "float32" if single else "float64",
                len(found),
                solved,
                ended,
                iterations,
                assemblies,
                quick,
            )
        )
    print(file=sys.stderr)
    head = (
        "start", "products", "problems", "solved", "at a minimum", "iterations", "assemblies", "in float32"
    )  # fmt: skip
    print(table(head, rows))
    longer = sum(
        b[2] > a[2]
        for name in ("zeros", "the closed form")
        for a, b in zip(fits[name, False], fits[name, True], strict=True)
    )
    shorter = sum(
        b[2] < a[2]
        for name in ("zeros", "the closed form")
        for a, b in zip(fits[name, False], fits[name, True], strict=True)
    )
    print(f"\nRuns that take more iterations in float32: {longer}; fewer: {shorter}.")


if __name__ == "__main__":
    main()
