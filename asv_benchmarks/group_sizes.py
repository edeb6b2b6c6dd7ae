"""Groups of 1 to 10 rows beside one group, per row: bar, no more than 1.5 times as slow."""

from __future__ import annotations

import dataclasses

from .benchmarks.groups import grouped
from .settings import Settings
from .table import Row, verdict, with_range
from .timing import Spread, interleaved, ratio

_BAR, _COLUMNS = 1.5, 32


def rows(settings: Settings) -> list[Row]:
    """A row for each call: a million rows in groups, and a million groups."""
    n, d = settings.size(1_000_000, _COLUMNS)
    one = grouped(n, d, 0)
    cases = {f"{n:,} rows": grouped(n, d, 10), f"{n:,} groups": grouped(11 * n // 2, d, 10)}
    table = []
    for call in _calls(*one):
        for name, case in cases.items():
            times = interleaved({"one": _calls(*one)[call], name: _calls(*case)[call]}, settings.repeat)
            each = {k: [t / p.shape[0] for t in times[k]] for k, (p, _) in (("one", one), (name, case))}
            spread = ratio(each[name], each["one"])
            met = verdict(spread.median, lambda r: r <= _BAR, settings.judged)
            here, there = (with_range(Spread.of(each[k]), 1e9, " ns a row") for k in (name, "one"))
            what = f"{call}, {name} in groups of 1 to 10, d = {d}"
            table.append(Row(what, here, "one group", there, with_range(spread), f"<= {_BAR}", met))
    return table


def _calls(problem, x):
    point = problem.at(x)
    point.hessp(x)
    return {
        "value_and_grad": lambda: problem.value_and_grad(x),
        "hessp": lambda: point.hessp(x),
        "to_dense": point.assembled,
        "row vectors of the Hessian": lambda: dataclasses.replace(point).curvature,
    }
