"""Standard errors of a share model's coefficients (docs/inference.md)."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _validate
from ..point import Point
from ..problem import SoftResProblem
from .bootstrap import Replicates, wild_bootstrap
from .scores import Clusters, clusters_of, meat, row_scores
from .table import InferenceTable

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

KINDS = ("cluster", "bootstrap", "model")
#: Below this many clusters the t distribution of CR1 rejects too often, and the bootstrap is the default.
_FEW_CLUSTERS = 40
#: Curvature below this share of the largest, columns scaled to unit size, is none.
_SINGULAR = 1e-12


def inference(
    problem: SoftResProblem,
    result: OptimizeResult | Any,
    cov: str | None = None,
    *,
    clusters: Any = None,
    level: float = 0.95,
    n_boot: int = 999,
    rng: Any = 0,
) -> InferenceTable:
    """Standard errors, tests and intervals for the coefficients of a fit.

    Parameters
    ----------
    problem : SoftResProblem
    result : OptimizeResult or (d,) array_like
        What ``solve`` returned, or its x.
    cov : {"cluster", "bootstrap", "model"}, optional
        "cluster": sandwich with the CR1 factor C/(C - 1) and t(C - 1). "bootstrap": wild cluster bootstrap-t.
        "model": the model is right: the inverse Hessian for the likelihood (``group_weights`` are counts of
        choices); for least squares, errors of one variance in all rows. By default "cluster" from 40 clusters
        on, else "bootstrap".
    clusters : (G,) or (n,) array_like, optional
        Which groups may depend on each other: a label for each group, or for each row. By default groups are
        independent.
    level : float, optional
        Of the intervals.
    n_boot : int, optional
        Replicates of the bootstrap.
    rng : int or numpy.random.Generator, optional
        Of the bootstrap (SPEC 7); by default calls repeat.

    Returns
    -------
    InferenceTable

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above; if there is one group, or no more clusters than coefficients; if x is
        no stationary point; if the Hessian is singular (the message names the columns).

    Notes
    -----
    Rows inside one normaliser are not independent: their scores sum to zero over a single group at the
    optimum. So the unit is the group or coarser, and the meat is the sum over clusters of the outer products
    of their scores ``sum_i (f_i - b_i) df_i/dx``. ``group_weights`` multiply scores and Hessian. ``ridge``
    and ``row_ridge`` are in the Hessian and not in the scores: intervals are about the penalised fit's own
    limit, not about its bias. Two reads of A, one of them an assembly; the bootstrap reads it about ten
    times for each batch of replicates.

    Examples
    --------
    >>> import numpy as np
    >>> import fastsoftres as fs
    >>> rng = np.random.default_rng(0)
    >>> A, ptr = rng.standard_normal((400, 2)), np.arange(0, 401, 8)
    >>> b = np.concatenate([fs.softres(A[i : i + 8] @ [1.0, -0.5], skip=0) for i in ptr[:-1]])
    >>> b = b + 0.02 * rng.standard_normal(400)
    >>> b = b - (np.add.reduceat(b, ptr[:-1]) - 1).repeat(8) / 8
    >>> problem = fs.SoftResProblem(A, b, skip=0, group_ptr=ptr)
    >>> table = fs.inference(problem, fs.solve(problem))
    >>> bool(table.lower[0] < 1.0 < table.upper[0]), table.kind
    (True, 'cluster')
    """
    if not isinstance(problem, SoftResProblem):
        raise TypeError(f"problem must be a SoftResProblem, got {type(problem).__name__}")
    if cov is not None and cov not in KINDS:
        raise ValueError(f"cov must be one of {', '.join(KINDS)}, got {cov!r}")
    level = _validate.number(level, "level", strict=True)
    if level >= 1.0:
        raise ValueError(f"level must be below 1, got {level}")
    n_boot = _validate.count(n_boot, "n_boot", least=99)
    rng = _validate.generator(rng)
    point = problem.at(getattr(result, "x", result))
    units = clusters_of(point, clusters)
    d = point.x.size
    if cov is None:
        cov = "cluster" if units.count >= _FEW_CLUSTERS else "bootstrap"
    if cov != "model":
        _check_units(problem, units, d)
    names = _names(problem)
    inverse = _inverse_hessian(point, names)
    notes = _notes(problem)
    if cov == "model":
        V, df = _model(point, inverse)
        return _table(point, names, V, level, cov, units.count, df, notes)
    data = problem._rows
    score = row_scores(data, point.f, point.curvature.va, data.b)
    factor = units.count / (units.count - 1.0)
    V = factor * inverse @ meat(point, score, units) @ inverse
    table = _table(point, names, V, level, "cluster", units.count, units.count - 1.0, notes)
    if cov == "cluster":
        return table
    replicates = wild_bootstrap(point, units, inverse, factor, n_boot, rng)
    return _bootstrapped(table, replicates, n_boot)


def _check_units(problem: SoftResProblem, units: Clusters, d: int) -> None:
    if problem.n_groups == 1:
        raise ValueError(
            "standard errors need several groups: at the optimum the score of a single group is zero, and "
            "rows inside one normaliser are not independent. Give group_ptr or groups, or use cov='model' if "
            "the model is right"
        )
    if units.count <= d:
        raise ValueError(
            f"clusters must be more than the coefficients: got {units.count} clusters for {d} coefficients"
        )


def _names(problem: SoftResProblem) -> list[str]:
    names = getattr(problem, "feature_names", None)
    return [str(name) for name in names] if names is not None else [f"x{j}" for j in range(problem.shape[1])]


def _inverse_hessian(point: Point, names: list[str]) -> np.ndarray:
    H = point.assembled()
    norms = np.sqrt(np.abs(np.diag(H)))
    norms[norms == 0.0] = 1.0
    values, vectors = np.linalg.eigh(H / norms[:, None] / norms)
    size = float(np.abs(values).max(initial=0.0))
    flat = np.abs(values) <= _SINGULAR * max(size, 1e-300)
    if flat.any():
        share = np.sqrt(np.sum(vectors[:, flat] ** 2, axis=1))
        columns = ", ".join(names[j] for j in np.flatnonzero(share > 1e-6)[:10])
        raise ValueError(
            f"the Hessian is singular: the data says nothing of {int(flat.sum())} combination(s) of "
            f"{columns}; drop columns or add ridge"
        )
    if values[0] < 0.0:
        raise ValueError(
            f"x is not a minimum: the Hessian has a negative eigenvalue (relative "
            f"{values[0] / size:.1e}); pass the result of solve"
        )
    scores = vectors.T @ (point.grad / norms)
    decrement = 0.5 * float(np.sum(scores**2 / values))
    if decrement > 1e-6 * (point.value - point.problem._floor) + 1e-12 * point.problem._bb:
        raise ValueError(
            f"x is not a stationary point: a Newton step would lower the objective by {decrement:.1e} of "
            f"{point.value:.1e}; pass the result of solve"
        )
    return (vectors / values) @ vectors.T / norms[:, None] / norms


def _model(point: Point, inverse: np.ndarray) -> tuple[np.ndarray, float]:
    """If the model is right: the likelihood's information, or errors of one variance."""
    problem = point.problem
    data = problem._rows
    if data.kl:
        return inverse, math.inf
    n, d = problem.shape
    df = float(n - problem.n_groups - d)  # the residuals of a group sum to a constant
    if df <= 0.0:
        raise ValueError(f"cov='model' needs more rows than groups and coefficients, got {n} rows")
    groups = data.groups
    c = point.f - data.b
    variance = float(c @ c) / df
    weight = groups.rows_of(groups.weight**2) if groups.weight.size else np.ones(n)
    rows = point.curvature
    J = point.gram(np.float64, D=weight, scale=rows.va, centre=point.f)
    return variance * inverse @ J @ inverse, df


def _notes(problem: SoftResProblem) -> list[str]:
    data, notes = problem._rows, []
    if problem.ridge or data.ridged:
        notes.append("penalised fit: intervals are about its own limit and do not include the penalty's bias")
    if data.groups.weight.size:
        notes.append("group_weights multiply scores and curvature; for cov='model' they count choices")
    return notes


def _table(
    point: Point,
    names: list[str],
    V: np.ndarray,
    level: float,
    kind: str,
    count: int,
    df: float,
    notes: list[str],
) -> InferenceTable:
    from scipy.special import ndtr, ndtri, stdtr, stdtrit

    x = point.x.copy()
    error = np.sqrt(np.maximum(np.diag(V), 0.0))
    with np.errstate(all="ignore"):
        statistic = x / error
    p: np.ndarray
    tail = 0.5 * (1.0 - level)
    if math.isinf(df):
        p, quantile = 2.0 * ndtr(-np.abs(statistic)), -float(ndtri(tail))
    else:
        p, quantile = 2.0 * stdtr(df, -np.abs(statistic)), -float(stdtrit(df, tail))
    lower, upper = x - quantile * error, x + quantile * error
    return InferenceTable(names, x, error, statistic, p, lower, upper, V, level, kind, count, df, notes)


def _bootstrapped(table: InferenceTable, replicates: Replicates, asked: int) -> InferenceTable:
    """Symmetric intervals from the replicates' studentised deviations."""
    t, failed = replicates.t, replicates.failed
    size = np.abs(t)
    quantile = np.quantile(size, table.level, axis=0, method="higher")
    p = (1.0 + np.sum(size >= np.abs(table.statistic), axis=0)) / (1.0 + t.shape[0])
    notes = list(table.notes)
    if replicates.linear:
        notes.append("refits of the replicates left the fit's neighbourhood: replicates are linearised")
    if failed:
        notes.append(f"{failed} of {asked} replicates did not converge and are left out")
    return dataclasses.replace(
        table,
        p=p,
        lower=table.coefficient - quantile * table.std_error,
        upper=table.coefficient + quantile * table.std_error,
        kind="bootstrap",
        df=math.nan,
        notes=notes,
    )
