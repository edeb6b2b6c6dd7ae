"""``python -m asv_benchmarks.suite.globalisation``: ways to keep Newton's method from going astray.

Each variant makes one run from x = 0, one from the closed form and one from a far point (random x, z of
standard deviation 4) on every problem. Counted are problems
solved (the best known minimum reached), runs that ended at some minimum, iterations and reads of A.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import warnings

from .. import machine
from .__main__ import add_selection, select

STARTS = ("zeros", "the closed form", "a far point")


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m asv_benchmarks.suite.globalisation", description=__doc__)
    parser.add_argument("--variants", default="*", metavar="PATTERN", help="these only, e.g. '[aeh] *'")
    options = add_selection(parser).parse_args(arguments)
    machine.limit_threads(options.threads)
    import fastsoftres as fs

    fs.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=UserWarning)
    fits = _fits(select(options), options.variants)
    for start, by_variant in fits.items():
        print(f"\nFrom {start}, {len(next(iter(by_variant.values())))} problems:\n")
        print(_table(by_variant))


def _far(A):
    """A random x, always the same, with z of standard deviation 4."""
    import numpy as np

    x = np.random.default_rng(0).standard_normal(A.shape[1])
    return x * (4.0 / (A @ x).std())


def _fits(selected, pattern: str):
    """Fits by start, variant and problem, with whether each reached the best known minimum."""
    import numpy as np

    from fastsoftres.solvers import starts
    from fastsoftres.solvers.evaluator import Evaluator

    from . import best
    from .variants import VARIANTS, fit

    variants = {name: v for name, v in VARIANTS.items() if fnmatch.fnmatch(name, pattern)}
    if not variants:
        raise SystemExit(f"no variant matches {pattern!r}; there are {', '.join(VARIANTS)}")
    known = best.load()
    fits: dict = {start: {name: {} for name in variants} for start in STARTS}
    for i, suite_problem in enumerate(selected):
        print(f"\r{i + 1}/{len(selected)} {suite_problem.name:<60}", end="", file=sys.stderr, flush=True)
        problem = suite_problem.build()
        lowest = best.of(known, suite_problem.name, problem).fun
        level = lowest + best.allowance(problem, lowest)
        closed = [s.point.x for s in starts.choose(Evaluator(problem)) if s.name != "zeros"][:1]
        far = [_far(suite_problem.A.astype(float))]
        for start, points in zip(STARTS, ([np.zeros(problem.shape[1])], closed, far), strict=True):
            for x in points:
                for name, variant in variants.items():
                    done = fit(problem, x, variant)
                    if done is not None:
                        fits[start][name][suite_problem.name] = (done, done.fun <= level)
    print(file=sys.stderr)
    return fits


def _table(by_variant) -> str:
    """A row a variant. Costs are compared on the problems that all variants solved."""
    import numpy as np

    from .markdown import table

    common = set.intersection(*({p for p, (_, s) in fits.items() if s} for fits in by_variant.values()))
    head = (
        "variant", "solved", "at a minimum", f"iterations on the {len(common)} all solved",
        "reads on these", "iterations: median", "90 %", "most",
    )  # fmt: skip
    rows = []
    for name, fits in by_variant.items():
        every = np.array([f.iterations for f, _ in fits.values()])
        rows.append(
            (
                name,
                sum(solved for _, solved in fits.values()),
                sum(f.status == 0 for f, _ in fits.values()),
                sum(fits[p][0].iterations for p in common),
                sum(fits[p][0].reads for p in common),
                f"{np.median(every):.0f}",
                f"{np.quantile(every, 0.9):.0f}",
                every.max(),
            )
        )
    return table(head, rows)


if __name__ == "__main__":
    main()
