"""``python -m asv_benchmarks.approximate``: approximate Newton beside exact Newton and conjugate gradients.

One problem (z of order 1, neighbouring columns correlated by 0.9, 30 % noise), all from the closed-form
start, to a relative gradient of 1e-10. Then the cost of an iteration, in values-and-gradients, and how it
grows with n.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from . import machine
from .large import Case, reads
from .timing import Spread

TOL = 1e-10
#: Bars: times as fast as exact Newton, values-and-gradients an iteration, exponent of n.
FASTER, ITERATION, EXPONENT = 3.0, 4.0, 1.1


def problem_of(case: Case) -> Any:
    """The problem; A is not kept elsewhere."""
    import fastsoftres as fs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fs.SoftResProblem(*case.data(), skip=case.skip)


def sparse_problem_of(n: int, d: int, skip: float, per_row: int = 20) -> Any:
    """A problem with ``per_row`` normal numbers in each row of A (CSR), z of order 1 and 30 % noise."""
    import scipy.sparse

    import fastsoftres as fs

    rng = np.random.default_rng(0)
    width = d // per_row  # one column from each of equal shares: sorted and distinct as they come
    columns = rng.integers(0, width, (n, per_row), dtype=np.int32)
    columns += np.arange(0, per_row * width, width, dtype=np.int32)
    indptr = np.arange(0, (n + 1) * per_row, per_row)
    A = scipy.sparse.csr_array((rng.standard_normal(n * per_row), columns.ravel(), indptr), shape=(n, d))
    x = rng.standard_normal(d)
    f = fs.softres(A @ (x / np.std(A[:1000] @ x)), skip=skip)
    b = f + 0.3 * np.abs(f) * rng.standard_normal(n)
    b = np.abs(b) if skip == 0.0 else b
    return fs.SoftResProblem(A, b / b.sum(), skip=skip)


def closed_form(problem: Any) -> np.ndarray:
    """Everyone's start."""
    from fastsoftres.solvers import starts
    from fastsoftres.solvers.evaluator import Evaluator

    return starts.closed_form(Evaluator(problem))[0].point.x


def plain_cg(problem: Any, x: np.ndarray) -> tuple[float, int, str]:
    """The package's conjugate gradients without a preconditioner."""
    from fastsoftres.solvers.descent import begin, descend
    from fastsoftres.solvers.evaluator import Evaluator
    from fastsoftres.solvers.newton_cg import ConjugateGradientStep

    evaluator = Evaluator(problem)
    stepper = ConjugateGradientStep(evaluator, TOL, preconditioned=False)
    state = begin(evaluator, evaluator.place(x))
    descend(evaluator, stepper, state, TOL, 100, lambda state: state.measures.gradient <= TOL, np.inf)
    return state.measures.gradient, state.nit, f"{evaluator.passes} reads"


def solved(problem: Any, x: np.ndarray, **options: Any) -> tuple[float, int, str]:
    """``fs.solve`` from x."""
    import fastsoftres as fs

    r = fs.solve(problem, x, tol=TOL, **options)
    return r.optimality.gradient, r.nit, f"{reads(r)} reads, status {r.status}, loss {r.fun:.12e}"


def in_float64(problem: Any, x: np.ndarray) -> tuple[float, int, str]:
    """``fs.solve`` by exact Newton with Hessians of float64 products only: what the bar is measured by."""
    from fastsoftres.solvers import newton

    before, newton._SINGLE_COLUMNS = newton._SINGLE_COLUMNS, problem.shape[1] + 1
    try:
        return solved(problem, x, method="newton")
    finally:
        newton._SINGLE_COLUMNS = before


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and answer."""
    began = time.perf_counter()
    answer = call()
    return time.perf_counter() - began, answer


def race(problem: Any, repeat: int) -> None:
    """Time to the tolerance."""
    x = closed_form(problem)
    calls: dict[str, Callable[[], tuple[float, int, str]]] = {
        "approx-newton": lambda: solved(problem, x, method="approx-newton"),
        "approx-newton, magnitude": lambda: solved(problem, x, method="approx-newton", sampling="magnitude"),
        "approx-newton, uniform": lambda: solved(problem, x, method="approx-newton", sampling="uniform"),
        "newton, float64": lambda: in_float64(problem, x),
        "newton": lambda: solved(problem, x, method="newton"),
        "newton-cg": lambda: solved(problem, x, method="newton-cg"),
        "newton-cg, no preconditioner": lambda: plain_cg(problem, x),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    answers = {}
    for turn in range(-1 if repeat > 1 else 0, repeat):
        for name, call in calls.items():
            seconds, answers[name] = timed(call)
            if turn >= 0:
                times[name].append(seconds)
    print("\n| method | time | over approx-newton | iterations | gradient | |\n|---|---|---|---|---|---|")
    for name, (gradient, nit, remark) in answers.items():
        spread = Spread.of(times[name])
        ratio = Spread.of(a / b for a, b in zip(times[name], times["approx-newton"], strict=True))
        print(
            f"| {name} | {spread.median:.2f} s ({spread.low:.2f}-{spread.high:.2f}) "
            f"| {ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) | {nit} | {gradient:.1e} | {remark} |"
        )


def iteration(problem: Any) -> tuple[float, float, float, float]:
    """Seconds of a value and gradient; mean, largest after the first, and first of an approximate iteration.

    An iteration is the time between two callbacks. The first holds the leverages, and the evaluation of the
    start before it, two values-and-gradients, which is taken off.
    """
    import fastsoftres as fs

    x = closed_form(problem)
    problem.at(x)
    value_and_grad = min(timed(lambda: problem.at(x))[0] for _ in range(5))
    means, most, firsts = [], [], []
    for _ in range(3):
        stamps = [time.perf_counter()]
        fs.solve(
            problem, x, method="approx-newton", tol=TOL, maxiter=12,
            callback=lambda intermediate_result, stamps=stamps: stamps.append(time.perf_counter()),
        )  # fmt: skip
        gaps = np.diff(stamps)
        gaps[0] -= 2.0 * value_and_grad
        means.append(gaps.mean())
        most.append(gaps[1:].max())
        firsts.append(gaps[0])
    return value_and_grad, *(float(np.median(times)) for times in (means, most, firsts))


def growth(sizes: list[int], d: int, skip: float) -> None:
    """Iterations for growing n."""
    print(
        f"\n| n (d = {d}) | value and gradient | iteration, mean | first | largest of the others "
        "| mean over value and gradient |"
    )
    print("|---|---|---|---|---|---|")
    taken = []
    for n in sizes:
        one, mean, most, first = iteration(problem_of(Case(n, d, 1.0, skip, 0.9)))
        taken.append(mean)
        print(
            f"| {n} | {1e3 * one:.1f} ms | {1e3 * mean:.1f} ms | {1e3 * first:.1f} ms | {1e3 * most:.1f} ms "
            f"| {mean / one:.2f} |",
            flush=True,
        )
    if len(sizes) > 1:
        exponent = np.polyfit(np.log(sizes), np.log(taken), 1)[0]
        print(f"\ntime of an iteration ~ n^{exponent:.2f} (bar {EXPONENT})")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m asv_benchmarks.approximate", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=128)
    parser.add_argument("--skip", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--only", choices=("race", "growth"))
    parser.add_argument("--sparse", action="store_true", help="A in CSR, 20 numbers a row; no growth with n")
    parser.add_argument("--threads", type=int, default=machine.cores())
    options = parser.parse_args(arguments)
    warning = machine.busy()
    machine.limit_threads(options.threads)
    import fastsoftres as fs

    fs.set_num_threads(options.threads)
    print(
        f"{machine.describe(options.threads)}; n = {options.rows}, d = {options.columns}, "
        f"skip = {options.skip:g}"
    )
    if warning:
        print(f"WARNING: {warning}.")
    for skip in (0.0, 1.0):  # compiled before the clock starts
        small = problem_of(Case(20_000, 4, 1.0, skip, 0.0))
        for method in ("newton", "newton-cg", "approx-newton"):
            fs.solve(small, method=method)
    if options.only != "growth":
        if options.sparse:
            problem = sparse_problem_of(options.rows, options.columns, options.skip)
        else:
            problem = problem_of(Case(options.rows, options.columns, 1.0, options.skip, 0.9))
        race(problem, options.repeat)
        one, mean, most, first = iteration(problem)
        print(
            f"\nvalue and gradient {1e3 * one:.0f} ms; an approximate iteration {mean / one:.2f} times "
            f"that on average; the first, which measures leverages, {first / one:.2f}, the dearest of the "
            f"others {most / one:.2f} (bar {ITERATION})"
        )
        del problem
    if options.only != "race" and not options.sparse:
        growth([100_000, 300_000, 1_000_000, 4_000_000], 16, options.skip)


if __name__ == "__main__":
    main()
