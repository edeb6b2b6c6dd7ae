"""What a run tells: lines and callbacks on the way, the result at the end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..point import OutOfDomainError, Point
from ..problem import SoftResProblem
from .descent import State
from .evaluator import Evaluator
from .newton import NewtonStep
from .newton_cg import SampledStep
from .stopping import Status, measure

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

_MESSAGES = {
    Status.CONVERGED: "converged: relative gradient {gradient:.1e} <= tol, no negative curvature",
    Status.MAXITER: "the iteration limit was reached at relative gradient {gradient:.1e}",
    Status.PLATEAU: "stopped on a plateau: the gradient vanishes because f is saturated, not because f fits",
    Status.STALLED: "stopped: no step lowers the objective any more (relative gradient {gradient:.1e})",
    Status.UNBOUNDED: "no finite minimiser: the objective keeps falling while x grows without bound",
    Status.BARRIER: "stopped at the barrier alpha = 0, where the objective is undefined",
    Status.STOPPED: "stopped by the caller at relative gradient {gradient:.1e}",
    Status.LEFT: "left for a minimum that is already known",
    Status.TIME: "the time limit was reached at relative gradient {gradient:.1e}",
}


#: What ``least_norm`` did, as it is said after the rank.
LEAST, LEAST_FOR_Z = ", x has the least norm", ", x has the least norm for its z"


def message(status: Status, gradient: float) -> str:
    """What a status means, with the relative gradient."""
    return _MESSAGES[status].format(gradient=gradient)


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
            try:
                fields = {"x": state.point.x.copy(), **state.history[-1]}
                callback(intermediate_result=result_of(fields))
            except StopIteration:
                return True
        return False

    return report


def _print(state: State) -> None:
    print(
        f"{state.nit:5d} {state.point.value:14.6e} {state.measures.gradient:14.2e} {state.largest_dz:11.2e}"
    )


class Run(NamedTuple):
    """A descent from one start."""

    start: str
    state: State
    status: Status
    stepper: NewtonStep | SampledStep | None


def build_result(evaluator: Evaluator, run: Run, runs: list[Run], method: str, tol: float) -> OptimizeResult:
    """The result of a run, its z recomputed from x (steps in row space let it drift)."""
    problem = evaluator.problem
    state, status, step = run.state, run.status, run.state.last
    point = evaluator.at(state.point.x) if state.drifted else state.point
    directions: np.ndarray | None = None
    curvature = None if step is None else step.curvature
    shortest = ""
    if isinstance(run.stepper, NewtonStep) and step is not None:
        directions, curvature = run.stepper.curved_directions(), run.stepper.lowest_curvature()
        if status == Status.CONVERGED and directions.shape[1] < problem.shape[1]:
            point, shortest = least_norm(evaluator, point, directions, run.stepper.seen_directions())
    proven = isinstance(run.stepper, SampledStep) and step is not None and run.stepper.proven
    measures = measure(point, state.scales)
    if status == Status.CONVERGED and measures.gradient > 10.0 * tol:
        status = Status.STALLED
    error = point.f - problem.b
    norm_b = _norm(problem.b)
    fields = {
        "x": point.x.copy(),
        "feature_names": None if problem.feature_names is None else list(problem.feature_names),
        "fun": point.value,
        "jac": point.grad.copy(),
        "nit": state.nit,
        "nfev": evaluator.evaluations,
        "method": method,
        "start": run.start,
        "pass_counts": dict(evaluator.counts),
        "fit": {
            "relative": _norm(error) / norm_b if norm_b > 0.0 else float("inf"),
            "largest": float(np.abs(error).max()),
        },
        "optimality": {
            "gradient": measures.gradient,
            "plateau": measures.plateau,
            "decrement": None if step is None else step.decrement,
            "curvature": curvature,
        },
        "identified_rank": _rank(directions, problem.shape[1] if proven else None),
        "starts": [
            {
                "start": other.start,
                "fun": other.state.point.value,
                "nit": other.state.nit,
                "status": int(other.status),
            }
            for other in runs
        ],
        "history": state.history,
    }
    return result(problem, fields, status, None if directions is None else _complement(directions), shortest)


def result(
    problem: SoftResProblem,
    fields: dict[str, Any],
    status: Status,
    null_space: np.ndarray | None,
    shortest: str,
) -> OptimizeResult:
    """The fields with what follows from them: status and message, notes, null space.

    ``null_space`` (d, d - rank): what is not identified of x; None where all of it is, or where nothing is
    known of it. ``shortest``: what ``least_norm`` says.
    """
    d, rank = problem.shape[1], fields["identified_rank"]
    text = message(status, fields["optimality"]["gradient"])
    notes = []
    if null_space is not None and rank < d:
        notes.append(_unidentified(problem, null_space))
        if status == Status.CONVERGED:
            text += f"; {rank} of {d} directions of x are identified{shortest}"
    if null_space is None and rank is not None:
        null_space = np.zeros((d, 0))
    fields["success"], fields["status"], fields["message"] = status == Status.CONVERGED, int(status), text
    fields["passes"] = sum(fields["pass_counts"].values())
    fields["fit"], fields["optimality"] = result_of(fields["fit"]), result_of(fields["optimality"])
    fields["null_space"], fields["notes"] = null_space, notes
    return result_of(fields)


def _rank(directions: np.ndarray | None, known: int | None) -> int | None:
    return known if directions is None else int(directions.shape[1])


def _norm(values: Any) -> float:
    """Euclidean norm of a row vector, wherever it lies."""
    return float(np.sqrt((values * values).sum()))


@functools.cache
def _result_class() -> type[OptimizeResult]:
    from scipy.optimize import OptimizeResult  # slow to import

    return OptimizeResult


def result_of(fields: dict[str, Any]) -> OptimizeResult:
    """A result with these fields."""
    result = _result_class()()
    result.update(fields)
    return result


def least_norm(
    evaluator: Evaluator, point: Point, identified: np.ndarray, seen: np.ndarray
) -> tuple[Point, str]:
    """The point of least norm among those that fit equally, and what it is.

    Where curvature vanishes on a curve or on saturated rows, moving straight along such directions does
    change the fit; then only what A does not see of x is left out.
    """
    for directions, what in (
        (identified, LEAST),
        (seen, LEAST_FOR_Z),
    ):
        try:
            shorter = evaluator.at(directions @ (directions.T @ point.x))
        except OutOfDomainError:
            continue
        change = abs(shorter.value - point.value)
        if change <= 1e-12 * point.value + 1e-18 * point.problem._bb:
            return shorter, what
    return point, ""


def _complement(directions: np.ndarray) -> np.ndarray:
    """Orthonormal basis of what ``directions`` (d, r) leave out."""
    d, r = directions.shape
    return np.linalg.qr(np.hstack([directions, np.eye(d)]))[0][:, r:d] if r < d else np.zeros((d, 0))


def _unidentified(problem: SoftResProblem, null_space: np.ndarray) -> str:
    """Which columns take part in directions that the data says nothing of."""
    share = np.sqrt(np.sum(null_space**2, axis=1))
    names = problem.feature_names or range(share.size)
    columns = ", ".join(str(names[j]) for j in np.flatnonzero(share > 1e-6)[:10])
    why = "a shift of a whole group's z leaves f unchanged; " if problem.skip == 0.0 else ""
    return f"not identified by the data: combinations of columns {columns} ({why}null_space has them all)"
