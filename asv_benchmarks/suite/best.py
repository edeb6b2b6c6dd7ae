"""The best known minimum of each problem, kept in ``best.json``.

Candidates are all solvers' answers and our own runs from many starts, on both sides of alpha = 0. Each is
polished by ``fs.solve`` and counts only as a finite minimum: converged, and confirmed by the judge.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastsoftres as fs

from .judge import judge
from .peers import SOLVERS
from .problems import SuiteProblem

PATH = Path(__file__).with_name("best.json")
STARTS = 50
#: Entries of A above which a tenth of the starts must do.
_LARGE = 400_000


class Best(NamedTuple):
    """A minimum and where it was found."""

    fun: float
    at_zero: float  # objective at x = 0: tells whether the problem is still the same
    source: str
    hits: int  # runs of ours from random starts that ended there
    runs: int  # how many there were


def load() -> dict[str, Best]:
    """All that is known."""
    return {name: Best(**record) for name, record in json.loads(PATH.read_text()).items()}


def save(known: dict[str, Best]) -> None:
    """Write the file, one problem a line."""
    lines = [f"{json.dumps(name)}: {json.dumps(best._asdict())}" for name, best in sorted(known.items())]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def of(known: dict[str, Best], name: str, problem: fs.SoftResProblem) -> Best:
    """What is known of a problem, if it still is the same problem."""
    best = known.get(name)
    if best is None or not same(best.at_zero, problem.value(np.zeros(problem.shape[1]))):
        raise SystemExit(
            f"\n{name} is new or has changed: run python -m asv_benchmarks.suite --best --only {name}"
        )
    return best


def allowance(problem: fs.SoftResProblem, lowest: float) -> float:
    """How far above the lowest value a solved problem may end."""
    return 1e-6 * lowest + 1e-12 * 0.5 * float(problem.b @ problem.b)


def search(suite_problem: SuiteProblem, before: Best | None) -> Best:
    """The best minimum over all candidates and what was known before."""
    problem = suite_problem.build()
    at_zero = problem.value(np.zeros(problem.shape[1]))
    if before is not None and not same(before.at_zero, at_zero):
        before = None
    values, best = [], before
    dust = 1e-16 * 0.5 * float(problem.b @ problem.b)  # of attainable problems' minima only rounding is left
    for source, x in _candidates(problem):
        try:
            result = fs.solve(problem, x, maxiter=300)
        except ValueError:  # undefined at this start
            continue
        if source.startswith("random"):
            values.append(result.fun if result.success else np.inf)
        if not result.success or (best is not None and result.fun >= (1.0 - 1e-9) * best.fun - dust):
            continue
        if judge(problem, result.x).minimum:
            best = Best(result.fun, at_zero, source, 0, 0)
    if best is None:
        raise RuntimeError(f"no finite minimum of {suite_problem.name} was found")
    level = best.fun + allowance(problem, best.fun)
    return best._replace(hits=int(np.sum(np.array(values) <= level)), runs=len(values))


def same(a: float, b: float) -> bool:
    """The same objective at zero, up to rounding."""
    return abs(a - b) <= 1e-6 * abs(a)


def _candidates(problem: fs.SoftResProblem) -> Iterator[tuple[str, np.ndarray]]:
    for name, prepare in SOLVERS.items():
        yield name, prepare(problem)().x
    rng = np.random.default_rng(20240)
    count = STARTS if problem.A.size <= _LARGE else STARTS // 10
    centres = [np.zeros(problem.shape[1])]
    if problem.skip:
        beyond = _beyond_the_barrier(problem)
        if beyond is not None:
            centres.append(beyond)
    norms = np.sqrt(np.mean(np.square(problem.A, dtype=float), axis=0))
    norms[norms == 0.0] = np.inf
    for turn in range(count):
        spread = (0.3, 0.5, 1.0, 2.0, 4.0)[turn % 5]
        noise = rng.standard_normal(norms.size) / norms * (spread / np.sqrt(norms.size))
        side = (turn // 5) % len(centres)
        yield f"random{', alpha < 0' * side}", centres[side] + noise


def _beyond_the_barrier(problem: fs.SoftResProblem) -> np.ndarray | None:
    """A point well inside {alpha < 0}, if there is one: Newton's method on the convex function alpha(x)."""
    A = problem.A.astype(float)
    x = np.zeros(A.shape[1])
    for _ in range(50):
        z = A @ x
        e = np.exp(np.minimum(z, 50.0))
        alpha = float(np.sum(e + problem.skip * z))
        if alpha < -0.5 * problem.shape[0]:
            break
        step = np.linalg.lstsq(A * np.sqrt(e)[:, None], -(e + problem.skip) / np.sqrt(e), rcond=1e-10)[0]
        largest = float(np.abs(A @ step).max())
        if largest < 1e-8:
            break
        x = x + step * min(1.0, 1.0 / largest)
    return x if alpha < 0.0 else None
