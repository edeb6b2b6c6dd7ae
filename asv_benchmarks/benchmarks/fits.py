"""Whole fits: time, reads of A, iterations."""

from __future__ import annotations

import fastsoftres as fs
from fastsoftres.data import load_automobiles

from .common import LARGE
from .problems import example

#: Random fits: rows, columns, other arguments of ``example``. ``peaked``: few rows hold most of f.
RANDOM = {
    "small softres": (1_000, 10, {"skip": 1.0}),
    "softmax": (20_000, 32, {"skip": 0.0}),
    "softres": (20_000, 32, {"skip": 1.0}),
    "softres, peaked": (20_000, 32, {"skip": 1.0, "scale": 3.0}),
    "softres, float32": (20_000, 32, {"skip": 1.0, "dtype": "float32"}),
}
if LARGE:
    RANDOM |= {
        "large softmax": (500_000, 64, {"skip": 0.0}),
        "large softres": (500_000, 64, {"skip": 1.0}),
    }
AUTOMOBILES = {"automobiles, softmax": 0.0, "automobiles, softres": 1.0}
METHODS = ["newton", "newton-cg"] + ["lbfgs"] * LARGE


def problem(name: str) -> fs.SoftResProblem:
    """A problem by its name."""
    if name in AUTOMOBILES:
        A, b, _ = load_automobiles(1990)
        return fs.SoftResProblem(A, b, skip=AUTOMOBILES[name], ridge=1e-6)
    n, d, how = RANDOM[name]
    return example(n, d, **how).problem


class Solve:
    params = ([*AUTOMOBILES, *RANDOM], METHODS)
    param_names = ("problem", "method")

    def setup(self, name, method):
        if hasattr(self, "problem"):  # asv comes here again between timed calls
            return
        self.problem = problem(name)
        fs.solve(self.problem, method=method)

    def time_solve(self, name, method):
        fs.solve(self.problem, method=method)


class Counts:
    """What a fit costs on any machine."""

    params = Solve.params
    param_names = Solve.param_names
    timeout = 600

    def setup_cache(self):
        """Every fit once: reads of A and iterations."""
        names, methods = self.params
        counts = {}
        for name in names:
            for method in methods:
                result = fs.solve(problem(name), method=method)
                counts[name, method] = result.passes, result.nit
        return counts

    def track_passes(self, counts, name, method):
        return counts[name, method][0]

    def track_iterations(self, counts, name, method):
        return counts[name, method][1]


Counts.track_passes.unit = "reads of A"
Counts.track_iterations.unit = "iterations"
