"""``python -m asv_benchmarks.suite.multistart``: which starts lead to the best minimum, and when to stop.

From one set of runs (``fs.solve(problem, n_starts=48)`` on every problem up to 4e5 entries): the share of
starts of each kind that reach the best known minimum; when the first run alone can be believed; what
other limits on the number of runs would have cost and missed. These support the constants of
``fastsoftres/solvers/runs.py``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from typing import NamedTuple

from .. import machine
from .__main__ import add_selection, select

RUNS = 48
_KINDS = (
    "closed form", "closed form, alpha < 0", "zeros",
    "random 0.5", "random 1", "random 2", "random 4",
)  # fmt: skip
_LIMITS = (1, 6, 12, 24, 48)
_HITS = (2, 3, 4, 6, 10)


class Runs(NamedTuple):
    """All runs on one problem, in the order in which ``solve`` makes them."""

    group: str
    kinds: list[str]
    solved: list[bool]  # reached the best known minimum
    values: list[float]
    level: float  # differences below this are none
    misfit: float  # of the first run
    rise: float  # objective of its start over that of its end
    converged: bool
    skip: float
    search: int  # reads of A to find the starts
    passes: int  # reads of A in all for one run from the best of them


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m asv_benchmarks.suite.multistart", description=__doc__)
    options = add_selection(parser).parse_args(arguments)
    machine.limit_threads(options.threads)
    import fastsoftres as fs

    fs.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=UserWarning)
    runs = _collect([p for p in select(options) if p.A.size <= 400_000])
    print(f"Share of runs that reach the best known minimum ({len(runs)} problems):\n")
    print(_by_kind(runs))
    print("\nWhat finding the closed form costs, and what it brings:\n")
    print(_costs(runs))
    print("\nThe first run, by what it shows of itself:\n")
    print(_first_runs(runs))
    print(f"\nProblems solved of {len(runs)} (mean runs each) if every problem got the same rule:\n")
    print(_rules(runs))
    print("\nThe same on the problems whose first run is not believed:\n")
    print(_rules([r for r in runs if not _believed(r)]))


def _collect(selected) -> list[Runs]:
    import numpy as np

    import fastsoftres as fs

    from . import best

    known = best.load()
    collected = []
    for i, suite_problem in enumerate(selected):
        print(f"\r{i + 1}/{len(selected)} {suite_problem.name:<60}", end="", file=sys.stderr, flush=True)
        problem = suite_problem.build()
        lowest = best.of(known, suite_problem.name, problem).fun
        level = best.allowance(problem, lowest)
        first = fs.solve(problem, n_starts=1)
        records = fs.solve(problem, n_starts=RUNS).starts
        values = [record["fun"] for record in records]
        rise = first.history[0]["fun"] / max(first.fun, 1e-300)
        collected.append(
            Runs(
                suite_problem.name.split("-")[1]
                if suite_problem.x_true is not None
                else _family(suite_problem),
                [_kind(record["start"]) for record in records],
                [value <= lowest + level for value in values],
                values,
                level,
                float(np.square(first.fit.relative)),
                rise,
                bool(first.success),
                suite_problem.skip,
                _reads_of_search(problem),
                first.passes,
            )
        )
    print(file=sys.stderr)
    return collected


def _family(suite_problem) -> str:
    return suite_problem.name.split("-", maxsplit=1)[0]


def _kind(start: str) -> str:
    """The name of a start; random ones by the standard deviation of their z."""
    if not start.startswith("random"):
        return start
    return f"random {(0.5, 1, 2, 4)[(int(start.split()[1]) - 1) % 4]:g}"


def _by_kind(runs: list[Runs]) -> str:
    from .markdown import table

    rows = []
    for group in [*dict.fromkeys(r.group for r in runs), "all"]:
        own = [r for r in runs if group in ("all", r.group)]
        cells = []
        for kind in _KINDS:
            hits = [s for r in own for k, s in zip(r.kinds, r.solved, strict=True) if k == kind]
            cells.append(f"{100 * sum(hits) / len(hits):.0f} %" if hits else "")
        first = sum(r.solved[0] for r in own)
        rows.append((group, len(own), *cells, f"{first}/{len(own)}"))
    return table(("targets", "problems", *_KINDS, "first run"), rows)


def _reads_of_search(problem) -> int:
    from fastsoftres.solvers import starts
    from fastsoftres.solvers.evaluator import Evaluator

    evaluator = Evaluator(problem)
    starts.choose(evaluator)
    return evaluator.passes


def _costs(runs: list[Runs]) -> str:
    from .markdown import table

    rows = []
    for name, own in (
        ("skip = 0", [r for r in runs if r.skip == 0.0]),
        ("skip > 0", [r for r in runs if r.skip > 0.0]),
    ):
        reached = [{k for k, s in zip(r.kinds, r.solved, strict=True) if s} for r in own]
        rows.append(
            (
                name,
                len(own),
                f"{sum(r.search for r in own) / max(len(own), 1):.0f}",
                f"{sum(r.passes for r in own) / max(len(own), 1):.0f}",
                sum(r.solved[0] for r in own),
                sum("zeros" in kinds for kinds in reached),
                sum("closed form, alpha < 0" in kinds and "zeros" not in kinds for kinds in reached),
            )
        )
    head = (
        "", "problems", "mean reads to find the starts", "and with the first run", "solved by the first run",
        "solved from zeros", "solved from alpha < 0 and not from zeros",
    )  # fmt: skip
    return table(head, rows)


def _first_runs(runs: list[Runs]) -> str:
    from .markdown import table

    head = (
        "share of ‖b‖² unexplained",
        "start at most twice the end: problems", "wrong minima",
        "start higher: problems", "wrong minima",
    )  # fmt: skip
    edges = (0.0, 1e-5, 1e-3, 0.03, 0.3, 0.65, float("inf"))
    rows = []
    for low, high in itertools.pairwise(edges):
        cells = []
        for near in (True, False):
            own = [r for r in runs if low <= r.misfit < high and (r.rise <= 2.0) == near]
            cells += [len(own), sum(not r.solved[0] for r in own)]
        rows.append((f"{low:g} to {high:g}", *cells))
    return table(head, rows)


def _rules(runs: list[Runs]) -> str:
    """Rows: most runs; columns: how often the lowest must be met to stop before."""
    from .markdown import table

    rows = []
    for most in _LIMITS:
        cells = []
        for enough in _HITS:
            outcomes = [_stop(r, most, enough) for r in runs]
            solved, made = sum(s for s, _ in outcomes), sum(m for _, m in outcomes) / max(len(runs), 1)
            cells.append(f"{solved} ({made:.1f})")
        rows.append((most, *cells))
    return table(("most runs", *(f"{enough} hits" for enough in _HITS)), rows)


def _stop(runs: Runs, most: int, enough: int) -> tuple[bool, int]:
    """Solved, and the runs made, when runs end after ``enough`` hits of the lowest or ``most`` in all."""
    for made in range(1, most + 1):
        lowest = min(runs.values[:made])
        if sum(value <= lowest + runs.level for value in runs.values[:made]) >= enough:
            break
    return any(runs.solved[:made]), made


def _believed(runs: Runs) -> bool:
    """The package's rule."""
    from fastsoftres.solvers.runs import CLOSE_START, NOISY, REPRODUCED

    close = runs.rise <= CLOSE_START
    return runs.converged and (runs.misfit <= REPRODUCED or (runs.misfit <= NOISY and close))


if __name__ == "__main__":
    main()
