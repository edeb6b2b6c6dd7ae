"""Fits small enough that Python between kernels would cost more than the kernels: one compiled call
(``smallruns``)."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..kernels import apart, smallmodel, smallruns
from ..kernels import columns as by_columns
from ..problem import SoftResProblem
from ..sources import DenseRows
from . import report
from .descent import State
from .stopping import Status

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

#: Entries of A and columns up to which a fit is compiled as a whole, in one thread.
ENTRIES = 400_000
COLUMNS = 100
#: A run's history has a row for each iteration that may come; beyond this a fit is not small.
_MAXITER = 100_000
#: Multiplications of one call: about a tenth of a second, after which Ctrl-C and the clock are looked at.
_CALL = 2e9
#: Runs that ``n_starts="auto"`` makes at most, and random points kept in hand where some have no objective.
_AUTO = 30
_SPARE = 8

#: What ``smallruns.identify`` did, as ``report.least_norm`` says it.
_NORMS = ("", report.LEAST, report.LEAST_FOR_Z)
_KINDS = ("x0", "zeros", "closed form", "closed form, alpha < 0")


def is_small(problem: SoftResProblem, method: str, maxiter: int) -> bool:
    """Is this fit done here?"""
    n, d = problem.shape
    fits = n * d <= ENTRIES and d <= COLUMNS and maxiter <= _MAXITER
    return fits and method == "newton" and isinstance(problem._source, DenseRows)


_NO_ROWS = np.empty(0, np.intp)
#: Work space of fits that are over: new memory costs page faults, a good part of a small fit's time. So many
#: are kept at most, of so many numbers.
_kept: list[np.ndarray] = []
_KEPT, _KEPT_SIZE = 16, 1 << 19


def _buffer(size: int) -> np.ndarray:
    """Work space of this size or more."""
    try:
        buffer = _kept.pop()
    except IndexError:
        return np.empty(size)
    return buffer if buffer.size >= size else np.empty(size)


class SmallFit:
    """The arrays of one fit: what the compiled code reads, keeps and writes.

    A float32 A is widened, and one that is not contiguous copied: it is small. Sums are float64 throughout.
    """

    def __init__(
        self,
        problem: SoftResProblem,
        x0: np.ndarray | None,
        tol: float,
        maxiter: int,
        n_starts: int | str,
        rng: Any,
    ):
        self.problem = problem
        n, d = problem.shape
        data = problem._rows
        groups = data.groups
        source = problem._source
        A = source.read(0, n).A
        # what a source makes of other layouts may be in memory that the next read uses again
        self.A = A if source.direct and A.dtype == np.float64 else A.astype(np.float64)
        runs = 1 if x0 is not None else (_AUTO if n_starts == "auto" else int(n_starts))
        starts = -1 if x0 is not None else (0 if n_starts == "auto" else runs)
        normals = x0[None, :] if x0 is not None else _normals(rng, runs + _SPARE, d)
        padded, length = by_columns.padded(d), by_columns.row_length(n)
        self.numbers = np.array([problem.skip, problem.ridge, problem._floor, problem._bb, tol])
        self.whole = np.array([data.kl, maxiter, starts, 0, -1, padded, length], np.intp)
        self.shapes = smallruns.layout(n, d, groups.size)
        self.buffer = _buffer(sum(map(math.prod, self.shapes)))
        self.current = self.state(smallmodel.COLS)[smallmodel.X]  # x of the run under way
        self.control = np.zeros(smallruns.N_CONTROL)
        self.table = np.zeros((runs, smallruns.N_RECORD))
        self.history = np.empty((2, maxiter + 1, smallruns.HISTORY))
        self.answer = np.zeros(smallruns.N_ANSWER)
        self.x, self.grad = np.empty(d), np.empty(d)
        # each row's group, where there are several
        of = (
            np.repeat(np.arange(groups.size), np.diff(groups.ptr))
            if groups.size > 1
            else np.empty(0, np.intp)
        )
        self.arguments = (
            apart.table(), self.A, data.b, data.w, data.offset, groups.weight, groups.ptr, of,
            self.numbers, self.whole, normals, self.buffer, self.control, self.table,
            self.history[0], self.history[1], self.answer, self.x, self.grad,
        )  # fmt: skip
        self.per_call = max(1, int(_CALL / (n * d * (d + 20.0))))

    def state(self, which: int) -> np.ndarray:
        """One of the arrays of ``smallmodel.State`` in the buffer."""
        start = sum(map(math.prod, self.shapes[:which]))
        return self.buffer[start : start + math.prod(self.shapes[which])].reshape(self.shapes[which])

    def work(self, iterations: int) -> bool:
        """Make that many iterations; False when the fit is over."""
        self.whole[smallruns.LIMIT] = iterations
        return smallruns.fit(*self.arguments) != smallruns.DONE

    def end(self, status: Status) -> None:
        """End the run under way, and the fit, with this status."""
        self.whole[smallruns.STOP] = status
        self.work(1)

    def result(self, tol: float) -> OptimizeResult:
        """The result of a fit that is over; its work space goes to the next one."""
        result = job_result(self, tol)
        if self.buffer.size <= _KEPT_SIZE and len(_kept) < _KEPT:
            _kept.append(self.buffer)
        return result

    @property
    def begun(self) -> bool:
        """Is there a point yet?"""
        return bool(self.control[smallruns.PHASE] == smallruns.RUNNING or self.control[smallruns.RUNS] > 0)


def fit(
    problem: SoftResProblem,
    x0: np.ndarray | None,
    *,
    tol: float,
    maxiter: int,
    callback: Callable[..., Any] | None,
    disp: bool,
    n_starts: int | str,
    rng: Any,
    deadline: float,
) -> OptimizeResult:
    """``solve`` for a small problem, its arguments checked."""
    job = SmallFit(problem, x0, tol, maxiter, n_starts, rng)
    try:
        if callback is not None or disp:
            _followed(job, callback, disp, deadline)
        else:
            # with a time limit the clock is looked at after each iteration
            while job.work(job.per_call if math.isinf(deadline) else 1):
                if time.monotonic() > deadline:
                    job.end(Status.TIME)
                    break
    except BaseException as error:
        if job.begun:  # an interrupt or a failing callback: the work so far goes with it
            job.end(Status.STOPPED)
            error.result = job.result(tol)  # type: ignore[attr-defined]
        raise
    if (
        job.control[smallruns.BEST] < 0.0
    ):  # the objective is undefined at x0, or nowhere defined that was tried
        with np.errstate(all="ignore"):
            problem.at(np.zeros(problem.shape[1]) if x0 is None else x0)
    return job.result(tol)


def _followed(job: SmallFit, callback: Callable[..., Any] | None, disp: bool, deadline: float) -> None:
    """The same one iteration at a time, told to the caller."""
    control, history = job.control, job.history[0]
    tell, view = None, SimpleNamespace()
    while job.work(1):
        nit = int(control[smallruns.ITERATION])
        fun, gradient, step, largest_dz = history[nit].tolist()
        fields = {"nit": nit, "fun": fun, "gradient": gradient, "step": step, "largest_dz": largest_dz}
        view.point = SimpleNamespace(x=job.current, value=fun)
        view.measures = SimpleNamespace(gradient=gradient)
        view.nit, view.largest_dz, view.history = nit, largest_dz, [fields]
        if nit == 0:
            tell = report.reporter(callback, disp, cast(State, view))
        elif tell is not None and tell(cast(State, view)):
            job.end(Status.STOPPED)
            return
        if time.monotonic() > deadline:
            job.end(Status.TIME)
            return


@functools.lru_cache(maxsize=32)
def _drawn(seed: int, count: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, d))


def _normals(rng: Any, count: int, d: int) -> np.ndarray:
    """Standard normal numbers for the random starts; a seed's are kept, since making a generator takes as
    long as a small fit."""
    if isinstance(rng, int) and count * d <= 10_000:
        return _drawn(rng, count, d)
    return np.random.default_rng(rng).standard_normal((count, d))


def job_result(job: SmallFit, tol: float) -> OptimizeResult:
    """The result of a fit that is over."""
    s, problem = smallruns, job.problem
    answer = job.answer.tolist()
    d = job.x.size
    rank, nit = int(answer[s.A_RANK]), int(answer[s.A_NIT])
    status = Status(int(answer[s.A_STATUS]))
    runs = int(job.control[s.RUNS])
    table = job.table[:runs].tolist()
    best = table[int(job.control[s.BEST])]
    counts = answer[s.A_COUNTS :]
    fields: dict[str, Any] = {
        "x": job.x,
        "feature_names": None if problem.feature_names is None else list(problem.feature_names),
        "fun": answer[s.A_VALUE],
        "jac": job.grad,
        "nit": nit,
        "nfev": int(counts[3]),
        "method": "newton",
        "start": _kind(best[s.KIND]),
        "pass_counts": {
            name: int(count)
            for name, count in zip(("value_and_grad", "product", "assembly"), counts[:3], strict=True)
            if count
        },
        "fit": {"relative": answer[s.A_RELATIVE], "largest": answer[s.A_LARGEST]},
        "optimality": {
            "gradient": answer[s.A_GRADIENT],
            "plateau": answer[s.A_PLATEAU],
            "decrement": answer[s.A_DECREMENT],
            "curvature": answer[s.A_CURVATURE],
        },
        "identified_rank": rank,
        "starts": [
            {
                "start": _kind(record[s.KIND]),
                "fun": record[s.FUN],
                "nit": int(record[s.ITERATIONS]),
                "status": int(record[s.STATUS]),
            }
            for record in table
        ],
        "history": [
            {"nit": i, "fun": row[0], "gradient": row[1], "step": row[2], "largest_dz": row[3]}
            for i, row in enumerate(job.history[1, : nit + 1].tolist())
        ],
    }
    null_space = None
    if rank < d:
        null_space = job.state(smallmodel.SQUARES)[smallmodel.FACTOR, rank:].T.copy()
    return report.result(problem, fields, status, null_space, _NORMS[int(answer[s.A_NORM])])


def _kind(kind: float) -> str:
    return _KINDS[int(kind)] if kind < len(_KINDS) else f"random {int(kind) - len(_KINDS) + 1}"
