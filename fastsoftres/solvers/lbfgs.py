"""SciPy's L-BFGS-B on a well-scaled objective: the first-order reference."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..point import OutOfDomainError, Point
from .descent import State
from .evaluator import Evaluator
from .stopping import Status, measure

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult


def lbfgs(
    evaluator: Evaluator,
    state: State,
    tol: float,
    maxiter: int,
    report: Callable[[State], bool],
    deadline: float,
) -> Status:
    """Minimise from a state with SciPy's L-BFGS-B; the stopping measures stay ours.

    Variables are scaled by the sizes of the gradient's terms, the objective by the start's, so that
    SciPy's line search and memory see numbers of order one.
    """
    from scipy.optimize import minimize

    columns = np.where(state.scales.terms > 0.0, state.scales.terms, np.inf)
    columns = 1.0 / (columns / columns[np.isfinite(columns)].max(initial=1e-300))
    columns[~np.isfinite(columns)] = 0.0
    size = max(state.point.value, 1e-300)
    latest: list[Point] = [state.point]
    verdict: list[Status] = []
    # measuring costs a read, so it waits until the gradient's fall since the last one promises success
    promise = [state.measures.gradient, float(np.abs(state.point.grad * columns).max())]

    def objective(y: np.ndarray) -> tuple[float, np.ndarray]:
        try:
            point = evaluator.at(y * columns)
        except OutOfDomainError:
            return 1e300, np.zeros_like(y)
        latest.append(point)
        del latest[:-2]
        return point.value / size, point.grad * columns / size

    def after(intermediate_result: OptimizeResult) -> None:  # the name by which SciPy knows this signature
        x = intermediate_result.x * columns
        point = next((p for p in reversed(latest) if np.array_equal(p.x, x)), None) or evaluator.whole(x)
        if point is None:  # SciPy has accepted an x that is not finite
            verdict.append(Status.STALLED)
            raise StopIteration
        state.step = float(np.linalg.norm(point.x - state.point.x))
        state.largest_dz = float(np.abs(point.z - state.point.z).max())
        state.point = point
        state.nit += 1
        gradient = float(np.abs(point.grad * columns).max())
        guess = promise[0] * gradient / promise[1] if promise[1] > 0.0 else 0.0
        if guess <= tol:
            state.scales = evaluator.scales(point)
            state.measures = measure(point, state.scales)
            promise[:] = [state.measures.gradient, gradient]
        else:
            state.measures = state.measures._replace(gradient=guess)
        state.record()
        if report(state):
            verdict.append(Status.STOPPED)
        elif guess <= tol and state.measures.first_order(tol):
            verdict.append(Status.CONVERGED)
        elif time.monotonic() > deadline:
            verdict.append(Status.TIME)
        if verdict:
            raise StopIteration

    if state.measures.first_order(tol):
        return Status.CONVERGED
    if maxiter == 0:  # SciPy looks at its limit after an iteration
        return Status.MAXITER
    start = np.divide(state.point.x, columns, out=np.zeros_like(columns), where=columns > 0.0)
    minimize(
        objective, start, jac=True, method="L-BFGS-B", callback=after,
        options={"maxiter": maxiter, "maxfun": 20 * maxiter, "ftol": 0.0, "gtol": 0.0, "maxcor": 20},
    )  # fmt: skip
    state.scales = evaluator.scales(state.point)
    state.measures = measure(state.point, state.scales)
    if verdict:
        return verdict[0]
    if state.measures.first_order(tol):
        return Status.CONVERGED
    return Status.MAXITER if state.nit >= maxiter else Status.STALLED
