"""Run one solver on one problem: where it ends, how long it takes, and whether that is a solution."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import numpy as np

import fastsoftres as fs

from .best import Best, allowance
from .judge import judge
from .peers import SOLVERS, Prepared

#: A call shorter than this is timed again.
_FAST = 0.05
_REPEAT = 3


class Outcome(NamedTuple):
    """One fit."""

    problem: str
    solver: str
    fun: float
    seconds: float
    solved: bool
    false_success: str  # why the claimed success is none; empty where it is one or was not claimed


def run(name: str, problem: fs.SoftResProblem, solver: str, best: Best) -> Outcome:
    """Solve, time, judge."""
    prepared = SOLVERS[solver](problem)
    answer, seconds = _timed(prepared)
    try:
        fun = problem.value(answer.x)
    except ValueError:
        fun = np.inf
    solved = fun <= best.fun + allowance(problem, best.fun)
    why = ""
    if answer.success:
        verdict = judge(problem, answer.x) if np.isfinite(fun) else None
        why = "not finite" if verdict is None else verdict.why
    return Outcome(name, solver, fun, seconds, solved, why)


def warm_up(problem: fs.SoftResProblem, solvers: list[str]) -> None:
    """Import and compile: by the first problem, and what ours needs of the package for any other."""
    fs.warmup()
    for solver in solvers:
        SOLVERS[solver](problem)()


def _timed(prepared: Prepared):
    """The answer, and the median time of three calls; of one where that takes long."""
    times = []
    for _ in range(_REPEAT):
        start = time.perf_counter()
        answer = prepared()
        times.append(time.perf_counter() - start)
        if times[0] > _FAST:
            break
    return answer, statistics.median(times)
