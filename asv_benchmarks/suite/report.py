"""The comparison's tables."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable

import numpy as np

from . import profile
from .markdown import table
from .measure import Outcome
from .peers import CLOSED_FORM, ONE_START, OURS


def ratios(outcomes: list[Outcome], solvers: list[str]) -> dict[str, np.ndarray]:
    """The profile's ratios; one start of ours competes with the others and not with ourselves."""
    compared = [solver for solver in solvers if solver != ONE_START]
    found = profile.ratios(outcomes, compared)
    if ONE_START in solvers:
        others = [solver for solver in compared if solver != OURS]
        found[ONE_START] = profile.ratios(outcomes, [ONE_START, *others])[ONE_START]
    return found


def print_all(outcomes: list[Outcome], solvers: list[str]) -> None:
    """Counts and profile, then what ours did not solve and every false success of it."""
    compared = [solver for solver in solvers if solver != ONE_START]
    ratio = ratios(outcomes, solvers)
    problems = len({o.problem for o in outcomes})
    print(f"{problems} problems. Columns at tau: share solved within tau times the fastest that solved it.\n")
    print(table(("solver", "solved", "false successes", *(f"tau = {t:g}" for t in profile.TAUS)),
                (_row(solver, outcomes, ratio[solver]) for solver in solvers)))  # fmt: skip
    if OURS not in solvers or len(solvers) == 1:
        return
    print(f"\n{OURS} is the fastest / within 1.5 times the fastest that solved it:\n")
    fields = {
        "all": compared,
        "without the closed form alone": [s for s in compared if s != CLOSED_FORM],
        "scipy only": [s for s in solvers if s == OURS or s.startswith("scipy")],
    }
    fields = {field: chosen for field, chosen in fields.items() if len(chosen) > 1}
    shares = ((field, *_percent(profile.shares(profile.ratios(outcomes, chosen)[OURS], (1.0, 1.5))))
              for field, chosen in fields.items())  # fmt: skip
    print(table(("compared with", "fastest", "within 1.5x"), shares))
    _print_compilation()
    ours = [o for o in outcomes if o.solver == OURS]
    for title, names in (
        ("not solved", [o.problem for o in ours if not o.solved]),
        ("false successes", [f"{o.problem} ({o.false_success})" for o in ours if o.false_success]),
    ):
        print(f"\n{OURS}, {title}: {', '.join(names) or 'none'}")


def _row(solver: str, outcomes: list[Outcome], ratio) -> list[object]:
    own = [o for o in outcomes if o.solver == solver]
    false = sum(bool(o.false_success) for o in own)
    counts = [f"{sum(o.solved for o in own)}", "claims none" if solver == CLOSED_FORM else f"{false}"]
    return [solver, *counts, *_percent(profile.shares(ratio))]


def _percent(shares: Iterable[float]) -> list[str]:
    return [f"{100 * share:.0f} %" for share in shares]


def _print_compilation() -> None:
    """What JAX's times leave out."""
    jax_peers = sys.modules.get(f"{__package__}.jax_peers")
    if jax_peers is not None:
        first = list(jax_peers.first_calls.values())
        print(
            f"\noptimistix compiles once for each shape of A: {statistics.median(first):.2g} s "
            f"(median of {len(first)}, first fit included), in none of the times above."
        )
