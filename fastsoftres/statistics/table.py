"""The table of an inference: numbers with names, and how they are shown."""

from __future__ import annotations

import dataclasses
import html
from typing import Any

import numpy as np

_HEADINGS = ("coefficient", "std. error", "statistic", "p", "lower", "upper")


@dataclasses.dataclass(frozen=True, eq=False)
class InferenceTable:
    """Coefficients with standard errors, tests against zero and intervals.

    Attributes
    ----------
    names : list of str
    coefficient, std_error, statistic, p, lower, upper : (d,) float64
    cov : (d, d) float64
        Covariance of the coefficients.
    level : float
        Of the intervals.
    kind : str
        "cluster", "bootstrap" or "model".
    n_clusters : int
        Independent units.
    df : float
        Degrees of freedom of the t distribution; inf for the normal; nan for the bootstrap.
    notes : list of str
        What to know when reading it.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> from fastsoftres.data import load_automobiles
    >>> cars = load_automobiles(None)
    >>> problem = fs.SoftResProblem(cars.A, cars.b, skip=0, loss="kl", group_ptr=cars.group_ptr)
    >>> table = fs.inference(problem, fs.solve(problem), cov="cluster")
    >>> table.kind, table.n_clusters
    ('cluster', 20)
    >>> table.coefficient.shape == table.std_error.shape == (len(table.names),)
    True
    """

    names: list[str]
    coefficient: np.ndarray
    std_error: np.ndarray
    statistic: np.ndarray
    p: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    cov: np.ndarray
    level: float
    kind: str
    n_clusters: int
    df: float
    notes: list[str]

    def _columns(self) -> list[np.ndarray]:
        return [self.coefficient, self.std_error, self.statistic, self.p, self.lower, self.upper]

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row for each coefficient."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install pandas") from error
        columns = dict(
            zip(
                ("coefficient", "std_error", "statistic", "p", "lower", "upper"), self._columns(), strict=True
            )
        )
        return pd.DataFrame(columns, index=self.names)

    def _caption(self) -> str:
        how = {
            "cluster": f"clustered (CR1), {self.n_clusters} clusters, t({self.df:g})",
            "bootstrap": f"wild cluster bootstrap-t, {self.n_clusters} clusters",
            "model": "model-based",
        }[self.kind]
        return f"{how}; {100 * self.level:g} % intervals"

    def __str__(self) -> str:
        width = max(len(name) for name in [*self.names, "term"])
        lines = [f"{'term':<{width}}" + "".join(f"{h:>13}" for h in _HEADINGS)]
        lines += [
            f"{name:<{width}}" + "".join(f"{value:13.5g}" for value in row)
            for name, row in zip(self.names, zip(*self._columns(), strict=True), strict=True)
        ]
        lines.append(self._caption())
        return "\n".join(lines + [f"note: {note}" for note in self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{h}</th>" for h in ("term", *_HEADINGS))
        body = "".join(
            f"<tr><th>{html.escape(name)}</th>" + "".join(f"<td>{value:.5g}</td>" for value in row) + "</tr>"
            for name, row in zip(self.names, zip(*self._columns(), strict=True), strict=True)
        )
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        caption = html.escape(self._caption())
        return f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table>{notes}"
