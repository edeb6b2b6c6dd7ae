"""How fast this machine reads memory and multiplies, and how close the passes come to it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import SoftResProblem, get_num_threads, softres
from ..opening import check_finite

#: Rows, and columns as the README's table has them: 256 MB of float64, beyond any cache.
_N, _D = 500_000, 64
#: Rounds, of which the median counts; about half a minute in all on two cores.
_ROUNDS = 7
#: Rest before a call: threads of the call before spin for a while when they are done.
_REST = 0.05
#: Rows and columns of the square matrices whose product by BLAS stands for the peak.
_SQUARE = 1536


def measure(n: int = _N, d: int = _D, rounds: int = _ROUNDS, square: int = _SQUARE) -> dict[str, Any]:
    """Times of a read of A, of value and gradient, of a product and of the Hessian, taken in turn.

    Parameters
    ----------
    n, d : int, optional
        Size of A, in float64.
    rounds : int, optional
    square : int, optional
        Size of the matrices that BLAS multiplies.

    Returns
    -------
    dict
        ``n``, ``d``, ``threads``, ``bytes`` of A, and ``passes``: for each its median ``seconds``, the
        bytes of A over them (``gb_per_s``) with the share of a plain read's (``of_read``), or the
        operations (``gflop_per_s``) with the share of BLAS's matrix product (``of_matmul``).
    """
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d))
    x = rng.standard_normal(d) / np.sqrt(d)
    problem = SoftResProblem(A, softres(A @ (0.9 * x), skip=1))
    point, t = problem.at(x), rng.standard_normal(d)
    square_matrix = rng.standard_normal((square, square))
    calls: dict[str, Callable[[], Any]] = {
        "read": lambda: check_finite(
            problem._source, problem._arrangement
        ),  # every entry of A is looked at, on our threads, and nothing kept
        "value_and_grad": lambda: problem.value_and_grad(x),
        "hessp": lambda: point.hessp(t),
        "to_dense": lambda: problem.hessian(x).to_dense(),
        "matmul": lambda: square_matrix @ square_matrix,
    }
    seconds = _in_turn(calls, rounds)
    passes: dict[str, dict[str, float]] = {name: {"seconds": value} for name, value in seconds.items()}
    for name in ("read", "value_and_grad", "hessp"):
        passes[name]["gb_per_s"] = A.nbytes / seconds[name] / 1e9
        passes[name]["of_read"] = seconds["read"] / seconds[name]
    peak = 2.0 * square**3 / seconds["matmul"]
    for name, work in (("to_dense", float(n) * d * d), ("matmul", 2.0 * square**3)):
        passes[name]["gflop_per_s"] = work / seconds[name] / 1e9
        passes[name]["of_matmul"] = work / seconds[name] / peak
    return {"n": n, "d": d, "threads": get_num_threads(), "bytes": A.nbytes, "passes": passes}


def _in_turn(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median time of each call. An untimed one goes before each: it compiles, and wakes the threads."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(_REST)
            call()
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def lines(told: dict[str, Any]) -> list[str]:
    """The same as text."""
    head = f"A {told['n']:,} x {told['d']} float64 ({told['bytes'] / 1e6:.0f} MB), {told['threads']} threads"
    rows = [head]
    for name, one in told["passes"].items():
        if "gb_per_s" in one:
            rate, share = f"{one['gb_per_s']:8.1f} GB/s", f"{one['of_read']:5.2f} of a plain read"
        else:
            rate, share = f"{one['gflop_per_s']:8.1f} GFLOP/s", f"{one['of_matmul']:5.2f} of BLAS's product"
        rows.append(f"{name:<15} {1e3 * one['seconds']:8.2f} ms {rate:<16} {share}")
    return rows
