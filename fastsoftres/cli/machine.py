"""Results for programs: one JSON object on stdout."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..statistics.table import InferenceTable
from .fitting import Fit
from .inputs import Dataset
from .writing import NUMBERS


def text(value: Any) -> str:
    """JSON; what is not finite becomes null, for JSON has no word for it."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fits(dataset: Dataset, results: Sequence[Fit]) -> dict[str, Any]:
    """What was fitted, and how each fit ended."""
    problem = results[0].problem
    n, d = problem.shape
    return {
        "source": dataset.source,
        "rows": n,
        "columns": d,
        "groups": problem.n_groups,
        "fits": [_fit(dataset, one) for one in results],
    }


def _fit(dataset: Dataset, fit: Fit) -> dict[str, Any]:
    result = fit.result
    return {
        "skip": fit.skip,
        "loss": fit.problem.loss,
        "method": result.method,
        "converged": fit.converged,
        "interrupted": fit.interrupted,
        "message": str(result.message),
        "notes": list(result.notes),
        "fun": result.fun,
        "nit": result.nit,
        "passes": result.passes,
        "seconds": fit.seconds,
        "relative_error": result.fit["relative"],
        "largest_error": result.fit["largest"],
        "coefficients": dict(zip(dataset.features, result.x, strict=True)),
    }


def table(skip: float, inferred: InferenceTable) -> dict[str, Any]:
    """Coefficients with standard errors."""
    return {
        "skip": skip,
        "cov": inferred.kind,
        "clusters": inferred.n_clusters,
        "df": inferred.df,
        "level": inferred.level,
        "notes": inferred.notes,
        "coefficients": {
            name: {key: getattr(inferred, key)[j] for key in NUMBERS} for j, name in enumerate(inferred.names)
        },
    }
