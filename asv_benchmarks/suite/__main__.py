"""``python -m asv_benchmarks.suite``: whole fits on the problem suite, ours beside other solvers.

All start from x = 0 but ours (``fs.solve(problem)``, which chooses) and the closed form. A problem is solved
where L - L* <= 1e-6 L* + 1e-12 * ½‖b‖², L* the best known minimum (``best.json``, remade by ``--best``).
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import warnings

from .. import machine

#: Every so many problems in a quick run.
_QUICK = 8


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    options = parser().parse_args(arguments)
    machine.limit_threads(options.threads)  # before anything numerical is imported
    import fastsoftres as fs

    from .peers import SOLVERS

    fs.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=UserWarning)  # about targets that do not sum to 1
    selected = select(options)
    if options.best:
        renew(selected)
        return
    solvers = _chosen(list(SOLVERS), options.solvers)
    outcomes = compare(selected, solvers)
    from . import report

    print(f"{machine.describe(options.threads)}\n")
    report.print_all(outcomes, solvers)
    if options.plot:
        from . import profile

        profile.draw(report.ratios(outcomes, solvers), options.plot)


def parser() -> argparse.ArgumentParser:
    """Options that every command on the suite shares, and the comparison's."""
    parser = argparse.ArgumentParser(prog="python -m asv_benchmarks.suite", description=__doc__)
    parser.add_argument("--best", action="store_true", help="search the best minima anew and write best.json")
    parser.add_argument("--solvers", help="comma-separated patterns of solvers, e.g. 'fastsoftres,scipy*'")
    parser.add_argument("--plot", metavar="PATH", help="draw the performance profile as PNG")
    return add_selection(parser)


def add_selection(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Options that say which problems, and with how many threads."""
    parser.add_argument("--quick", action="store_true", help=f"every {_QUICK}th problem")
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="problems whose name matches, e.g. 'digits*'"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads for everyone (default 1)")
    return parser


def select(options: argparse.Namespace):
    """The problems asked for."""
    from .problems import problems

    selected = [p for p in problems() if fnmatch.fnmatch(p.name, options.only)]
    selected = selected[:: _QUICK if options.quick else 1]
    if not selected:
        raise SystemExit(f"no problem matches {options.only!r}")
    return selected


def compare(selected, solvers: list[str]):
    """Every solver on every problem."""
    from . import best, measure

    known = best.load()
    measure.warm_up(selected[0].build(), solvers)
    outcomes = []
    for i, suite_problem in enumerate(selected):
        print(f"\r{i + 1}/{len(selected)} {suite_problem.name:<60}", end="", file=sys.stderr, flush=True)
        problem = suite_problem.build()
        lowest = best.of(known, suite_problem.name, problem)
        for solver in solvers:
            outcomes.append(measure.run(suite_problem.name, problem, solver, lowest))
    print(file=sys.stderr)
    return outcomes


def renew(selected) -> None:
    """Search the best minima and keep them."""
    from . import best

    known = best.load() if best.PATH.exists() else {}
    for i, suite_problem in enumerate(selected):
        found = best.search(suite_problem, known.get(suite_problem.name))
        known[suite_problem.name] = found
        print(f"{i + 1}/{len(selected)} {suite_problem.name} {found}", flush=True)
        best.save(known)


def _chosen(names: list[str], patterns: str | None) -> list[str]:
    if not patterns:
        return names
    wanted = [p.strip() for p in patterns.split(",")]
    chosen = [name for name in names if any(fnmatch.fnmatch(name, p) for p in wanted)]
    if not chosen:
        raise SystemExit(f"no solver matches {patterns!r}; there are {', '.join(names)}")
    return chosen


if __name__ == "__main__":
    main()
