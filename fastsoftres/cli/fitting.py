"""One fit: build the problem, run the solver, keep what is shown and plotted."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ..data.errors import InputError
from ..files.source import BlockRows
from ..point import fitted
from ..problem import SoftResProblem
from ..solvers import solve
from . import files
from .inputs import Dataset
from .progress import IterationTable


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to fit."""

    ridge: float = 0.0
    loss: str = "least-squares"
    method: str = "auto"
    tol: float = 1e-8
    maxiter: int = 100
    starts: int | str = "auto"
    max_seconds: float | None = None
    checkpoint: Path | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """A model and its outcome."""

    skip: float
    problem: SoftResProblem
    result: Any  # scipy.optimize.OptimizeResult
    fitted: np.ndarray  # as the problem's b: group by group
    seconds: float
    interrupted: bool = False

    @property
    def converged(self) -> bool:
        """Did the solver find a minimum?"""
        return bool(self.result.success)

    def group_errors(self) -> np.ndarray:
        """Relative error ‖f - b‖/‖b‖ of each group; nan where b is all zeros."""
        b, off = self.problem.b, self.fitted - self.problem.b
        size, error = group_sums(self.problem, b * b), group_sums(self.problem, off * off)
        return np.sqrt(np.divide(error, size, out=np.full(size.size, np.nan), where=size > 0.0))

    def group_name(self, g: int) -> str:
        """What group g is called."""
        labels = self.problem.group_labels
        return str(g) if labels is None else str(labels[g])


def group_sums(problem: SoftResProblem, values: Any) -> np.ndarray:
    """Sums of a row vector over each group, here; the rows may lie with workers."""
    sums: Any = problem._rows.groups.sums(values)
    return sums if isinstance(sums, np.ndarray) else sums.gather()


def build(
    dataset: Dataset, skips: Sequence[float], settings: Settings
) -> tuple[list[SoftResProblem], list[str]]:
    """A problem for each skip, and the notices that the library gave, each once."""
    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("always")
        problems = [
            SoftResProblem(
                dataset.A, dataset.b, skip=skip, loss=settings.loss, ridge=settings.ridge, **dataset.options
            )
            for skip in skips
        ]
    for problem in problems:
        problem.feature_names = dataset.features
    return problems, list(dict.fromkeys(str(notice.message) for notice in notices))


def run(problem: SoftResProblem, settings: Settings) -> Fit:
    """Minimise, printing the iterations. Ctrl-C ends the run with the best point so far."""
    began = time.perf_counter()
    interrupted = False
    streamed = isinstance(problem._source, BlockRows)
    with IterationTable(settings.maxiter) as table, files.progress() if streamed else nullcontext():
        try:
            result: Any = solve(
                problem,
                method=settings.method,
                tol=settings.tol,
                maxiter=settings.maxiter,
                n_starts=settings.starts,
                max_seconds=settings.max_seconds,
                callback=table,
                checkpoint=settings.checkpoint,
            )
        except KeyboardInterrupt as stop:
            result, interrupted = getattr(stop, "result", None), True
            if result is None:
                raise
        except ValueError as error:  # LinAlgError is one: numbers too large to compute with
            raise InputError(f"the fit failed: {error}") from error
        table.finish(result)
    seconds = time.perf_counter() - began
    return Fit(problem.skip, problem, result, fitted(problem, result.x), seconds, interrupted)
