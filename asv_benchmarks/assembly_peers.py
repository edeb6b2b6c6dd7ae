"""Assembly of A' D A, D of both signs: bars, 1.3 times as fast as tabmat and 0.95 of the rate of bare dsyrk.

Two calls of ours: the whole Hessian at a point, row vectors and rank-one terms included, and the weighted
Gram pass alone. dsyrk computes the unweighted A'A, which is less than any of the others.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.linalg.blas import dsyrk

from fastsoftres import passes
from fastsoftres.runners import walk

from .benchmarks.problems import example
from .settings import Settings
from .table import Row, milliseconds, verdict, with_range
from .timing import interleaved, ratio

_SHAPES = ((500_000, 64), (100_000, 256))
_WHOLE, _GRAM = "to_dense", "Gram pass"
_TABMAT_BAR, _DSYRK_BAR = 1.3, 0.95


def rows(settings: Settings) -> list[Row]:
    """Two rows for each peer and shape."""
    return [row for shape in _SHAPES for row in _rows(settings, *settings.size(*shape))]


def _rows(settings: Settings, n: int, d: int) -> list[Row]:
    problem, x = example(n, d)
    A = problem.A
    point = problem.at(x)
    D = np.random.default_rng(n).standard_normal(n)
    source = problem._source

    def gram():
        return walk(source, passes.Gram.uncentred(D, d))[0]

    def whole():
        # a new point, whose row vectors are not there yet
        return dataclasses.replace(point).hessian().to_dense()

    ours = {_WHOLE: whole, _GRAM: gram}
    sandwiches = _tabmat(A, D)
    _same(np.triu(gram()[:d, :d]), np.triu(A.T @ (D[:, None] * A)))
    for call in sandwiches.values():
        _same(call(), A.T @ (D[:, None] * A))
    peers = sandwiches | {"dsyrk": lambda: dsyrk(1.0, A.T)}
    times = interleaved(ours | peers, settings.repeat)
    best = min(sandwiches, key=lambda name: np.median(times[name]), default=None)
    flops = n * d * d / 1e9
    table = []
    for mine in ours:
        here = _rated(times[mine], flops)
        what = f"{mine}, n = {n:,}, d = {d}"
        for name, bar in ((best, _TABMAT_BAR), ("dsyrk", _DSYRK_BAR)):
            if name is None:
                table.append(Row(what, here, "tabmat: not installed"))
                continue
            spread = ratio(times[name], times[mine])
            met = verdict(spread.median, lambda r, bar=bar: r >= bar, settings.judged)
            there = _rated(times[name], flops)
            table.append(Row(what, here, name, there, with_range(spread), f">= {bar}", met))
    return table


def _rated(times: list[float], flops: float) -> str:
    """Times, and the rate of their median in GFLOP/s (n d² counted)."""
    return f"{milliseconds(times)}, {flops / np.median(times):.0f} GFLOP/s"


def _tabmat(A: np.ndarray, D: np.ndarray) -> dict:
    """tabmat's product for both memory orders; the faster one is reported."""
    try:
        import tabmat
    except ImportError:
        return {}
    by_rows, by_columns = tabmat.DenseMatrix(A), tabmat.DenseMatrix(np.asfortranarray(A))
    name = f"tabmat {tabmat.__version__}"
    return {
        f"{name}, C order": lambda: by_rows.sandwich(D),
        f"{name}, Fortran order": lambda: by_columns.sandwich(D),
    }


def _same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Both compute the same, or the comparison means nothing."""
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    assert error <= 1e-11, f"weighted Gram matrices differ by {error:.1e}"
