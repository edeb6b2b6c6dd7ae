"""``solve``: one door to every method; it chooses, runs and reports."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _validate
from ..point import representable
from ..problem import SoftResProblem
from . import small
from .approximate import EPSILON
from .checkpoint import Checkpoint
from .evaluator import Evaluator
from .newton_cg import pays, preconditioning_rows
from .runs import Job, from_many
from .sampler import SAMPLINGS, Sampling, rows_for
from .starts import Start
from .stopping import tolerance
from .wide import FACTORED_COLUMNS

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

METHODS = ("auto", "newton", "newton-cg", "approx-newton", "lbfgs")


def solve(
    problem: SoftResProblem,
    x0: Any = None,
    *,
    method: str = "auto",
    tol: float = 1e-8,
    maxiter: int = 100,
    callback: Callable[..., Any] | None = None,
    disp: bool = False,
    n_starts: int | str = "auto",
    rng: Any = 0,
    max_seconds: float | None = None,
    epsilon: float | None = None,
    sample_size: int | None = None,
    sampling: str | None = None,
    checkpoint: Any = None,
    checkpoint_seconds: float = 30.0,
) -> OptimizeResult:
    """Minimise a problem's objective.

    Parameters
    ----------
    problem : SoftResProblem
    x0 : (d,) array_like, optional
        Starting point. By default the lower of zeros and the closed-form start (MATH 7: the map inverted
        row by row, then one weighted least squares problem; for ``skip > 0`` on both sides of alpha = 0).
    method : {"auto", "newton", "newton-cg", "approx-newton", "lbfgs"}, optional
        ``"newton"`` assembles the exact Hessian (above 4000 columns of a sparse A not even that, where all
        but 4000 can be eliminated, as dummies can); ``"newton-cg"`` uses one-pass products and a
        preconditioner from a row sample; ``"approx-newton"`` the Hessian of a row sample; ``"lbfgs"`` is
        SciPy's, a first-order reference. ``"auto"`` takes ``"newton-cg"`` above 2000 columns, and where A
        has at least 1e6 entries and 3840 rows for each column; else ``"newton"``.
    tol : float, optional
        Bound on the relative gradient, which is free of the units of columns, n, the loss and the start:
        the largest over columns of abs(grad) against the sum of the absolute terms that cancel in it. For a
        float32 problem it is at least 1e-6.
    maxiter : int, optional
        Most iterations.
    callback : callable, optional
        Called as ``callback(intermediate_result=result)`` after each iteration, with x, fun, nit,
        gradient, step and largest_dz. ``StopIteration`` ends the run cleanly; any other exception passes
        through with the best result so far in its attribute ``result``.
    disp : bool, optional
        Print a line for each iteration.
    n_starts : int or "auto", optional
        Runs to make when no ``x0`` is given: the closed-form starts and zeros first, then random points; the
        best is returned and all are listed in ``starts``. ``"auto"`` makes one where that is
        beyond doubt (b is reproduced, the closed form was close, or rows are many and skip is 0) or A has
        more than 4e5 entries; else it goes on until the lowest value has been met four times (eight with
        more than 100 columns, sparse A or another method than ``"newton"``), at most 30.
    rng : int or numpy.random.Generator, optional
        Source of the random starts and samples (SPEC 7). The default makes calls repeat to the bit.
    max_seconds : float, optional
        Time limit, looked at between iterations.
    epsilon : float, optional
        For ``"approx-newton"``, in (0, 1): spectral error of the sampled Gauss-Newton matrix relative to
        itself, and with it what a step leaves of the gradient near a solution. It sets the size of the
        sample; 0.3 unless told.
    sample_size : int, optional
        Rows to draw instead, at least d, for ``"approx-newton"`` or ``"newton-cg"``. The sample is doubled
        where a step leaves more of the gradient than ``epsilon``.
    sampling : {"leverage", "magnitude", "uniform"}, optional
        Rows are drawn in proportion to their leverage (a read of A or two at first, and when z has moved
        by 1), to their weight in the curvature whatever their entries, or alike. ``"leverage"`` unless
        told for ``"approx-newton"``, ``"magnitude"`` for ``"newton-cg"``. See docs/sampling.md.
    checkpoint : path, optional
        File in which the state is saved after an iteration. Where it exists the solve goes on from it, and
        ends with the same result to the bit as if it had never been stopped, by ``kill -9`` or otherwise. It
        is replaced as a whole, never written in part, and holds 8 bytes a row. With it one run is made
        (``n_starts=1``), by ``"newton"`` or ``"newton-cg"``. For a collection of Dask it holds x and what
        else has d entries, no rows: the solve goes on from x, to the same minimum but not to the same bits.
    checkpoint_seconds : float, optional
        It is not written more often.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x, fun, jac, nit, nfev, success, status, message; ``feature_names`` (the problem's, or None);
        ``method`` and ``start`` (what was chosen); ``passes`` (times A was read) and ``pass_counts`` by
        kind; ``fit`` (relative: ‖f - b‖/‖b‖, largest: that of abs(f - b)); ``optimality`` (gradient, plateau,
        decrement, curvature); ``identified_rank``;
        ``null_space`` (d, d - identified_rank), directions of x that the data says nothing of (newton only);
        ``starts`` (one record a run: start, fun, nit, status); ``notes``, a list of remarks;
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
    if n_starts != "auto":
        n_starts = _validate.count(n_starts, "n_starts", least=1)
    if x0 is not None:
        x0 = _validate.vector(x0, problem.shape[1], "x0", "column of A")
    if not isinstance(rng, int) or rng < 0:  # the normal numbers of a seed are kept, see small.py
        rng = _validate.generator(rng)
    if method == "auto":
        method = "newton-cg" if pays(*problem.shape) else "newton"

    compiled = checkpoint is None and small.is_small(problem, method, maxiter)
    # making a generator takes a good part of a small fit's time, which draws its own
    draws: Any = None if compiled else _validate.generator(rng)
    rows = sampled(problem, method, epsilon, sample_size, sampling, draws)

    if compiled:
        result = small.fit(
            problem, x0, tol=tol, maxiter=maxiter, callback=callback, disp=disp, n_starts=n_starts, rng=rng,
            deadline=deadline,
        )  # fmt: skip
        representable(result.jac, "the gradient")
        return result
    job = Job(Evaluator(problem), method, tol, maxiter, callback, disp, deadline, rows, epsilon or EPSILON)
    if checkpoint is not None:
        if method not in ("newton", "newton-cg"):
            raise ValueError(
                f"checkpoint needs method 'newton' or 'newton-cg': the state of {method!r} is not saved"
            )
        if n_starts not in ("auto", 1):
            raise ValueError(f"checkpoint is of one run, got n_starts={n_starts}")
        n_starts = 1
        seconds = _validate.number(checkpoint_seconds, "checkpoint_seconds")
        job.checkpoint = Checkpoint(checkpoint, seconds, job.evaluator, method, x0)
    try:
        with np.errstate(all="ignore"):  # what over- or underflows is judged by its result
            if job.checkpoint is not None and job.checkpoint.saved is not None:
                job.resume(job.checkpoint.saved)
            elif x0 is not None:
                job.run(Start("x0", job.evaluator.place(x0)))
            else:
                from_many(job, n_starts, draws)
    except BaseException as error:
        if (
            job.runs or job.state is not None
        ):  # an interrupt or a failing callback: the work so far goes with it
            error.result = _result(job)  # type: ignore[attr-defined]
        raise
    result = _result(job)
    representable(result.jac, "the gradient")
    return result


def _result(job: Job) -> OptimizeResult:
    with np.errstate(all="ignore"):
        return job.result()


def sampled(
    problem: SoftResProblem,
    method: str,
    epsilon: Any,
    sample_size: Any,
    sampling: Any,
    rng: np.random.Generator,
) -> Sampling | None:
    """The sampling options, validated; None where the method takes none."""
    n, d = problem.shape
    given = {"epsilon": epsilon, "sample_size": sample_size, "sampling": sampling}
    for name in (name for name, value in given.items() if value is not None):
        allowed = ("approx-newton",) if name == "epsilon" else ("approx-newton", "newton-cg")
        if method not in allowed:
            raise ValueError(f"{name} needs method={' or '.join(map(repr, allowed))}, got method={method!r}")
    if epsilon is not None:
        epsilon = _validate.number(epsilon, "epsilon", strict=True)
        if epsilon >= 1.0:
            raise ValueError(f"epsilon must be below 1, got {epsilon:g}")
    if sample_size is not None:
        sample_size = _validate.count(sample_size, "sample_size", least=1)
        if sample_size < d:
            raise ValueError(f"sample_size must be at least the number of columns, {d}, got {sample_size}")
    if sampling is not None and sampling not in SAMPLINGS:
        raise ValueError(f"sampling must be one of {', '.join(SAMPLINGS)}, got {sampling!r}")
    if method == "approx-newton" and d > FACTORED_COLUMNS:
        raise ValueError(
            f"method='approx-newton' factors a d x d matrix, for at most {FACTORED_COLUMNS} columns, "
            f"got {d}: use 'newton-cg'"
        )
    if method == "newton-cg":
        return Sampling(sampling or "magnitude", sample_size or preconditioning_rows(n, d), rng)
    if method == "approx-newton":
        return Sampling(sampling or "leverage", sample_size or rows_for(epsilon or EPSILON, d), rng)
    return None


def solve_path(
    problem: SoftResProblem,
    *,
    ridge: Any = None,
    row_ridge: Any = None,
    x0: Any = None,
    **options: Any,
) -> list[OptimizeResult]:
    """Minimise over a sequence of penalties, each fit starting from the one before.

    Parameters
    ----------
    problem : SoftResProblem
        Its data and its other penalty are kept.
    ridge, row_ridge : sequence of float
        Exactly one of them: the penalties, in the order in which they are solved.
    x0 : (d,) array_like, optional
        Start of the first fit.
    **options
        As for ``solve``.

    Returns
    -------
    list of scipy.optimize.OptimizeResult
        One for each penalty, in order.

    Raises
    ------
    TypeError, ValueError
        If not exactly one sequence is given, or an option is wrong.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> problem = fs.SoftResProblem([[1.0], [0.0]], [0.7, 0.3], skip=0)
    >>> [round(float(r.x[0]), 3) for r in fs.solve_path(problem, ridge=[1.0, 0.1, 0.0])]
    [0.089, 0.439, 0.847]
    """
    if not isinstance(problem, SoftResProblem):
        raise TypeError(f"problem must be a SoftResProblem, got {type(problem).__name__}")
    if (ridge is None) == (row_ridge is None):
        raise TypeError("solve_path needs exactly one of ridge and row_ridge, a sequence of penalties")
    name, values = ("ridge", ridge) if row_ridge is None else ("row_ridge", row_ridge)
    if _validate.any_array(values, name).ndim != 1 or len(values) == 0:
        raise ValueError(f"{name} must be a non-empty sequence of numbers, got {values!r}")
    penalised = [problem.with_penalty(**{name: value}) for value in values]
    results = []
    for part in penalised:
        results.append(solve(part, x0, **options))
        x0 = results[-1].x
    return results
