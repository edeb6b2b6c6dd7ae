"""``solve``: one door to every method; it chooses, runs and reports."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _validate
from ..problem import SoftResProblem
from . import starts
from .descent import State, begin, descend
from .evaluator import Evaluator
from .lbfgs import lbfgs
from .newton import NewtonStep
from .newton_cg import ConjugateGradientStep
from .report import build_result, reporter
from .stopping import Status, tolerance

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

METHODS = ("auto", "newton", "newton-cg", "lbfgs")
#: Up to this many columns the Hessian is assembled: its eigenvectors then cost less than a few products.
_ASSEMBLED_COLUMNS = 600


def solve(
    problem: SoftResProblem,
    x0: Any = None,
    *,
    method: str = "auto",
    tol: float = 1e-8,
    maxiter: int = 100,
    callback: Callable[..., Any] | None = None,
    disp: bool = False,
    max_seconds: float | None = None,
) -> OptimizeResult:
    """Minimise a problem's objective.

    Parameters
    ----------
    problem : SoftResProblem
    x0 : (d,) array_like, optional
        Starting point. By default the lower of zeros and the closed-form start (MATH 7: the map inverted
        row by row, then one weighted least squares problem; for ``skip > 0`` on both sides of alpha = 0).
    method : {"auto", "newton", "newton-cg", "lbfgs"}, optional
        ``"newton"`` assembles the exact Hessian; ``"newton-cg"`` uses one-pass products and a preconditioner
        from a row sample; ``"lbfgs"`` is SciPy's, as a first-order reference. ``"auto"`` takes ``"newton"`` up
        to 600 columns and ``"newton-cg"`` above.
    tol : float, optional
        Bound on the relative gradient, which is free of the units of columns, n, the loss and the start:
        the largest over columns of |grad| against the sum of the absolute terms that cancel in it. For a
        float32 problem it is at least 5e-6.
    maxiter : int, optional
        Most iterations.
    callback : callable, optional
        Called as ``callback(intermediate_result=result)`` after each iteration, with x, fun, nit,
        gradient, step and largest_dz. ``StopIteration`` ends the run cleanly; any other exception passes
        through with the best result so far in its attribute ``result``.
    disp : bool, optional
        Print a line for each iteration.
    max_seconds : float, optional
        Time limit, looked at between iterations.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x, fun, jac, nit, nfev, success, status, message; ``method`` and ``start`` (what was chosen);
        ``passes`` (times A was read) and ``pass_counts`` by kind; ``fit`` (relative: ‖f - b‖/‖b‖, largest:
        max |f - b|); ``optimality`` (gradient, plateau, decrement, curvature); ``identified_rank``;
        ``history`` (one record an iteration: nit, fun, gradient, step, largest_dz). Status 0 is the only
        success; 1 iteration limit, 2 plateau, 3 stalled, 4 no finite minimiser, 5 barrier, 6 callback,
        7 time limit.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    KeyboardInterrupt
        On Ctrl-C, with the best result so far in its attribute ``result``.

    Notes
    -----
    An iteration of ``"newton"`` reads A three times: assembly, the step's A t, the next gradient. The line
    search in row space reads nothing. z is recomputed from x before a result is returned.

    Examples
    --------
    >>> import numpy as np
    >>> import fastsoftres as fs
    >>> A = np.random.default_rng(0).standard_normal((200, 3))
    >>> problem = fs.SoftResProblem(A, fs.softres(A @ [1.0, -0.5, 0.2], skip=0), skip=0)
    >>> result = fs.solve(problem)
    >>> result.success, result.x.round(6).tolist()
    (True, [1.0, -0.5, 0.2])
    """
    if not isinstance(problem, SoftResProblem):
        raise TypeError(f"problem must be a SoftResProblem, got {type(problem).__name__}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    tol = tolerance(_validate.number(tol, "tol", strict=True), problem.dtype)
    maxiter = _validate.count(maxiter, "maxiter")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {type(callback).__name__}")
    deadline = math.inf
    if max_seconds is not None:
        deadline = time.monotonic() + _validate.number(max_seconds, "max_seconds", strict=True)
    if x0 is not None:
        x0 = _validate.vector(x0, problem.shape[1], "x0", "column of A")
    if method == "auto":
        method = "newton" if problem.shape[1] <= _ASSEMBLED_COLUMNS else "newton-cg"

    evaluator = Evaluator(problem)
    state: State | None = None
    start = "x0"
    try:
        if x0 is None:
            start, point = starts.choose(evaluator)
        else:
            point = evaluator.at(x0)
        state = begin(evaluator, point)
        report = reporter(callback, disp, state)
        status = _run(evaluator, method, state, tol, maxiter, report, deadline)
    except BaseException as error:
        if state is not None:  # an interrupt or a failing callback: the work so far goes with it
            error.result = build_result(evaluator, state, Status.STOPPED, method, start)  # type: ignore[attr-defined]
        raise
    return build_result(evaluator, state, status, method, start, tol)


def _run(
    evaluator: Evaluator,
    method: str,
    state: State,
    tol: float,
    maxiter: int,
    report: Callable[[State], bool],
    deadline: float,
) -> Status:
    if method == "lbfgs":
        return lbfgs(evaluator, state, tol, maxiter, report, deadline)
    stepper = NewtonStep(evaluator) if method == "newton" else ConjugateGradientStep(evaluator)
    return descend(evaluator, stepper, state, tol, maxiter, report, deadline)
