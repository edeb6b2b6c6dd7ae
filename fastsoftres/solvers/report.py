"""What a run tells: lines and callbacks on the way, the result at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .descent import State
from .evaluator import Evaluator
from .stopping import Status, measure

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

_MESSAGES = {
    Status.CONVERGED: "converged: relative gradient {gradient:.1e} <= tol, no negative curvature",
    Status.MAXITER: "the iteration limit was reached at relative gradient {gradient:.1e}",
    Status.PLATEAU: "stopped on a plateau: the gradient vanishes because f is saturated, not because it fits b",
    Status.STALLED: "stopped: no step lowers the objective any more (relative gradient {gradient:.1e})",
    Status.UNBOUNDED: "no finite minimiser: the objective keeps falling while x grows without bound",
    Status.BARRIER: "stopped at the barrier alpha = 0, where the objective is undefined",
    Status.STOPPED: "stopped by the caller at relative gradient {gradient:.1e}",
    Status.TIME: "the time limit was reached at relative gradient {gradient:.1e}",
}


def reporter(callback: Callable[..., Any] | None, disp: bool, state: State) -> Callable[[State], bool]:
    """A function that is told of each iteration and returns True to stop."""
    if disp:
        print(f"{'nit':>5} {'objective':>14} {'rel. gradient':>14} {'largest dz':>11}")
        _print(state)
    if callback is None and not disp:
        return lambda state: False

    def report(state: State) -> bool:
        if disp:
            _print(state)
        if callback is not None:
            from scipy.optimize import OptimizeResult

            try:
                callback(intermediate_result=OptimizeResult(x=state.point.x.copy(), **state.history[-1]))
            except StopIteration:
                return True
        return False

    return report


def _print(state: State) -> None:
    print(
        f"{state.nit:5d} {state.point.value:14.6e} {state.measures.gradient:14.2e} {state.largest_dz:11.2e}"
    )


def build_result(
    evaluator: Evaluator, state: State, status: Status, method: str, start: str, tol: float = 1e-8
) -> OptimizeResult:
    """The result at a state's point, its z recomputed from x (steps in row space let it drift)."""
    from scipy.optimize import OptimizeResult

    problem = evaluator.problem
    point = evaluator.at(state.point.x)
    measures = measure(point, state.scales)
    if status == Status.CONVERGED and measures.gradient > 10.0 * tol:
        status = Status.STALLED
    step = state.last
    error = point.f - problem.b
    norm_b = float(np.sqrt(problem._bb))
    message = _MESSAGES[status].format(gradient=measures.gradient)
    rank = problem.shape[1] if step is None else step.rank
    if status == Status.CONVERGED and rank < problem.shape[1]:
        message += f"; {rank} of {problem.shape[1]} directions are identified, x has the least norm"
    return OptimizeResult(
        x=point.x.copy(),
        fun=point.value,
        jac=point.grad.copy(),
        nit=state.nit,
        nfev=evaluator.evaluations,
        success=status == Status.CONVERGED,
        status=int(status),
        message=message,
        method=method,
        start=start,
        passes=evaluator.passes,
        pass_counts=dict(evaluator.counts),
        fit=OptimizeResult(
            relative=float(np.linalg.norm(error)) / norm_b if norm_b > 0.0 else float("inf"),
            largest=float(np.abs(error).max()),
        ),
        optimality=OptimizeResult(
            gradient=measures.gradient,
            plateau=measures.plateau,
            decrement=None if step is None else step.decrement,
            curvature=None if step is None else step.curvature,
        ),
        identified_rank=rank,
        history=state.history,
    )
