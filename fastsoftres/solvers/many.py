"""``solve_many``: one call for many targets of one A, or for many problems."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import _threads, _validate
from ..opening import LOSSES
from ..problem import SoftResProblem
from . import small
from .report import result_of
from .solve import METHODS, solve
from .stopping import Status, tolerance

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult


def solve_many(
    A: Any,
    B: Any = None,
    *,
    skip: float = 1.0,
    loss: str = "least-squares",
    row_ridge: Any = 0.0,
    ridge: float = 0.0,
    mask: Any = None,
    lengths: Any = None,
    offset: Any = None,
    x0: Any = None,
    method: str = "auto",
    tol: float = 1e-8,
    maxiter: int = 100,
    n_starts: int | str = "auto",
    rng: Any = 0,
    max_seconds: float | None = None,
) -> OptimizeResult:
    """Fit many targets, or many problems, in one call.

    Parameters
    ----------
    A : (n, d) or (H, n, d) array_like, or sequence of SoftResProblem
        One matrix for all targets; or a matrix for each of H problems (the heads of a model); or problems as
        they are, of any shapes, with ``B`` and what belongs to a problem left out.
    B : (n, m) array_like, or (H, n) or (H, n, m)
        Targets: the columns of B, for each problem.
    skip, loss, row_ridge, ridge, offset
        As for ``SoftResProblem``, the same for all.
    mask : (n,) or (n, m) array_like of bool, optional
        False takes a row out, of every target or of one.
    lengths : (m,) array_like of int, optional
        Instead of a mask: row i takes part in target j where i < lengths[j] (causal prefixes).
    x0 : (d,) or (d, m) array_like, optional
        Start of all fits or of each; for H problems (H, d) or (H, d, m) as well.
    method, tol, maxiter, n_starts
        As for ``solve``.
    rng : int, optional
        Seed of the random starts, the same for every fit: each has the result that ``solve`` gives it alone.
    max_seconds : float, optional
        Time limit of the whole call; fits that it ends or keeps from beginning have status 7.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x : (d, m) for A (n, d); (H, d) or (H, d, m) for H problems; for a list of problems (k, d), or a list
        of arrays where they have different numbers of columns.
        fun, success, status, nit, fit_relative (‖f - b‖/‖b‖), gradient (relative, ``optimality.gradient``),
        identified_rank (-1: not known), passes : arrays of shape (m,), (H,), (H, m) or (k,); message : an
        array of str.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above. What is wrong with one problem is said with its number.

    Notes
    -----
    Fits of at most 4e5 entries and 100 columns are compiled as a whole and run in parallel over the fits,
    each in one thread. Many targets of one larger A move in lock-step: A is read twice an iteration for all
    of them, and ``passes`` counts those reads (unless ``method`` or ``n_starts`` asks for more than that).
    Other fits run one after the other on all threads. Results are the same to the bit for any number of
    threads.

    Examples
    --------
    >>> import numpy as np
    >>> import fastsoftres as fs
    >>> A = np.random.default_rng(0).standard_normal((200, 3))
    >>> X = np.array([[1.0, 0.2], [-0.5, 0.3], [0.2, -1.0]])
    >>> result = fs.solve_many(A, np.column_stack([fs.softres(A @ x, skip=0) for x in X.T]), skip=0)
    >>> bool(result.success.all()), bool(np.allclose(result.x, X))
    (True, True)
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    options = {
        "method": method,
        "tol": _validate.number(tol, "tol", strict=True),
        "maxiter": _validate.count(maxiter, "maxiter"),
        "n_starts": n_starts if n_starts == "auto" else _validate.count(n_starts, "n_starts", least=1),
        "rng": _validate.count(rng, "rng"),
    }
    deadline = math.inf
    if max_seconds is not None:
        deadline = time.monotonic() + _validate.number(max_seconds, "max_seconds", strict=True)
    model = {"skip": skip, "loss": loss, "row_ridge": row_ridge, "ridge": ridge, "offset": offset}
    if isinstance(A, SoftResProblem) or (
        isinstance(A, Sequence) and len(A) > 0 and isinstance(A[0], SoftResProblem)
    ):
        given = {"B": B, "mask": mask, "lengths": lengths, "offset": offset}
        problems = _problems(A, [name for name, value in given.items() if value is not None])
        columns = [problem.shape[1] for problem in problems]
        starts = _starts(x0, columns, (len(problems), columns[0]), 1)
        return _table(problems, starts, options, deadline, (len(problems),), 1)
    if B is None:
        raise TypeError("solve_many needs B, the targets, beside A; or a list of SoftResProblem")
    if hasattr(A, "tocsr"):
        raise TypeError("A is sparse: pass a list of SoftResProblem, one for each target; they share A")
    A, B = _validate.any_array(A, "A"), _validate.any_array(B, "B")
    if A.ndim not in (2, 3):
        raise ValueError(f"A must have shape (n, d) or (H, n, d), got {A.shape}")
    wanted = (2,) if A.ndim == 2 else (2, 3)
    if B.ndim not in wanted or B.shape[: A.ndim - 1] != A.shape[:-1]:
        shapes = f"({A.shape[0]}, m)" if A.ndim == 2 else f"{A.shape[:2]} or ({A.shape[0]}, {A.shape[1]}, m)"
        raise ValueError(f"B must have shape {shapes} for A of shape {A.shape}, got {B.shape}")
    n, d = A.shape[-2:]
    shape = B.shape[1:] if A.ndim == 2 else (B.shape[0], *B.shape[2:])
    if 0 in shape:
        raise ValueError(f"B must have at least one target, got shape {B.shape}")
    masks = _masks(mask, lengths, n, B.shape[-1] if A.ndim == 2 or B.ndim == 3 else 1)
    axis = 0 if A.ndim == 2 else 1  # where x has its columns
    starts = _starts(x0, [d] * math.prod(shape), (*shape[:axis], d, *shape[axis:]), axis)
    together = method == "auto" and n_starts == "auto"
    if together and A.ndim == 2 and n * d > small.ENTRIES and B.shape[1] > 1:
        live = None if mask is None else np.ascontiguousarray(np.column_stack(cast(list[np.ndarray], masks)))
        begin = None if x0 is None else np.column_stack(cast(list[np.ndarray], starts))
        return _lockstep(A, B, (live, lengths), begin, model, options, deadline)
    problems = []
    matrices = A[None] if A.ndim == 2 else A
    targets = (B[None] if A.ndim == 2 else B).reshape(matrices.shape[0], n, -1)
    for h in range(matrices.shape[0]):
        for j in range(targets.shape[2]):
            try:
                problems.append(SoftResProblem(matrices[h], targets[h, :, j], mask=masks[j], **model))
            except (TypeError, ValueError) as error:
                where = f"problem {h}, target {j}" if A.ndim == 3 else f"target {j}"
                raise type(error)(f"{where}: {error}") from error
    return _table(problems, starts, options, deadline, shape, axis)


def _problems(A: Any, given: list[str]) -> list[SoftResProblem]:
    problems = [A] if isinstance(A, SoftResProblem) else list(A)
    for i, problem in enumerate(problems):
        if not isinstance(problem, SoftResProblem):
            raise TypeError(f"A[{i}] must be a SoftResProblem like A[0], got {type(problem).__name__}")
    if given:
        raise TypeError(f"{given[0]} goes with arrays: a SoftResProblem has its own")
    return problems


def _masks(mask: Any, lengths: Any, n: int, m: int) -> list[np.ndarray | None]:
    """A mask (n,) or None for each target."""
    if mask is not None and lengths is not None:
        raise TypeError("give mask or lengths, not both")
    if lengths is not None:
        ends = _validate.any_array(lengths, "lengths")
        if ends.shape != (m,) or ends.dtype.kind not in "iu":
            raise ValueError(
                f"lengths must have an integer for each target ({m}), got {ends.dtype} {ends.shape}"
            )
        if ends.min() < 1 or ends.max() > n:
            raise ValueError(f"lengths must be from 1 to {n}, got {ends.min()} to {ends.max()}")
        return [np.arange(n) < end for end in ends]
    if mask is None:
        return [None] * m
    live = _validate.any_array(mask, "mask")
    if live.dtype != np.bool_:
        raise TypeError(f"mask must hold booleans (True: the row takes part), got dtype {live.dtype}")
    if live.shape not in ((n,), (n, m)):
        raise ValueError(f"mask must have shape ({n},) or ({n}, {m}), got {live.shape}")
    return [live] * m if live.ndim == 1 else list(live.T)


def _starts(x0: Any, columns: list[int], wanted: tuple[int, ...], axis: int) -> list[np.ndarray | None]:
    """A start or None for each fit; ``wanted`` is the shape of x, ``axis`` that of its columns."""
    if x0 is None:
        return [None] * len(columns)
    if len(set(columns)) > 1:
        raise ValueError("x0 needs problems of the same number of columns")
    d = columns[0]
    start = _validate.any_array(x0, "x0")
    if start.shape == (d,):
        return [_validate.vector(start, d, "x0", "column of A")] * len(columns)
    if start.shape != wanted:
        raise ValueError(f"x0 must have shape ({d},) or {wanted}, got {start.shape}")
    rows = np.moveaxis(start, axis, -1).reshape(-1, d)
    return [_validate.vector(row, d, "x0", "column of A") for row in rows]


def _lockstep(
    A: np.ndarray, B: np.ndarray, given: Any, x0: Any, model: Any, options: Any, deadline: float
) -> OptimizeResult:
    """Many targets of one large A, which is read once an iteration for all of them (``lockstep``)."""

    from .lockstep import lockstep
    from .report import message

    B = _validate.matrix(B, "B").astype(np.float64, copy=False)
    _validate.finite(B, "B")
    with warnings.catch_warnings():  # any target: the first only serves to check the rest
        warnings.simplefilter("ignore")
        first = SoftResProblem(A, B[:, 0], **model)
    if model["loss"] == "kl":
        for j in range(B.shape[1]):
            _validate.not_negative(B[:, j], f"target {j}: b", "row")
    mask, lengths = given
    data = first._rows
    found = lockstep(
        first._source, B, skip=first.skip, kl=data.kl, ridge=first.ridge,
        row_ridge=data.w if data.ridged else None, offset=data.offset if data.offset.size else None,
        mask=mask, lengths=lengths, X0=x0, tol=options["tol"], maxiter=options["maxiter"], deadline=deadline,
        seed=options["rng"],
    )  # fmt: skip
    status = found.status.astype(int)
    texts = [message(Status(k), g) for k, g in zip(status.tolist(), found.gradient.tolist(), strict=True)]
    fields = {
        "x": found.x, "fun": found.fun, "success": status == 0, "status": status,
        "message": np.array(texts, object), "nit": found.nit, "fit_relative": found.fit_relative,
        "gradient": found.gradient,
        "identified_rank": np.full(status.shape, -1),
        "passes": np.full(status.shape, found.passes + found.passes_alone),
    }  # fmt: skip
    return result_of(fields)


def _table(
    problems: list[SoftResProblem],
    starts: list[np.ndarray | None],
    options: dict[str, Any],
    deadline: float,
    shape: tuple[int, ...],
    axis: int,
) -> OptimizeResult:
    """Fit each problem, the small ones in parallel, and put the results side by side."""
    method = "newton" if options["method"] == "auto" else options["method"]
    results: list[Any] = [None] * len(problems)
    compiled = [i for i, p in enumerate(problems) if small.is_small(p, method, options["maxiter"])]
    chosen = set(compiled)

    def fit(i: int) -> None:
        problem = problems[i]
        if time.monotonic() > deadline:
            return
        try:
            # in a thread of the pool: nothing may wait for the pool here
            with _threads.num_threads(1), np.errstate(all="ignore"):
                results[i] = small.fit(
                    problem, starts[i], tol=tolerance(options["tol"], problem.dtype),
                    maxiter=options["maxiter"], callback=None, disp=False, n_starts=options["n_starts"],
                    rng=options["rng"], deadline=deadline,
                )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"fit {i}: {error}") from error

    _threads.run(lambda k: fit(compiled[k]), len(compiled))
    for i, problem in enumerate(problems):
        left = deadline - time.monotonic()
        if i not in chosen and left > 0.0:
            results[i] = solve(problem, starts[i], max_seconds=None if left == math.inf else left, **options)
    return _side_by_side(problems, results, shape, axis)


def _side_by_side(
    problems: list[SoftResProblem], results: list[Any], shape: tuple[int, ...], axis: int
) -> OptimizeResult:

    columns = {problem.shape[1] for problem in problems}
    never = "the time limit was reached before this fit began"

    def field(get: Any, missing: Any, dtype: Any) -> np.ndarray:
        return np.array([missing if r is None else get(r) for r in results], dtype).reshape(shape)

    rows = [np.full(p.shape[1], np.nan) if r is None else r.x for p, r in zip(problems, results, strict=True)]
    x: Any = rows
    if len(columns) == 1:
        x = np.moveaxis(np.array(rows).reshape(*shape, -1), -1, axis)
    fields = {
        "x": x,
        "fun": field(lambda r: r.fun, np.nan, float),
        "success": field(lambda r: r.success, False, bool),
        "status": field(lambda r: r.status, Status.TIME, int),
        "message": field(lambda r: r.message, never, object),
        "nit": field(lambda r: r.nit, 0, int),
        "fit_relative": field(lambda r: r.fit.relative, np.nan, float),
        "gradient": field(lambda r: r.optimality.gradient, np.nan, float),
        "identified_rank": field(lambda r: -1 if r.identified_rank is None else r.identified_rank, -1, int),
        "passes": field(lambda r: r.passes, 0, int),
    }
    return result_of(fields)
