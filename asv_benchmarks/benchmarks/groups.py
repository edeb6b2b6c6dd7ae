"""Many small groups, and one: the same rows, each pass."""

from __future__ import annotations

import dataclasses

import numpy as np

import fastsoftres as fs

from .common import LARGE

ROWS, COLUMNS = (1_000_000 if LARGE else 100_000), 32


def grouped(n: int, d: int, longest: int, skip: float = 1.0) -> tuple[fs.SoftResProblem, np.ndarray]:
    """A problem in groups of 1 to ``longest`` rows (0: one group), and a point."""
    rng = np.random.default_rng([n, d, longest])
    A, b = rng.standard_normal((n, d)) / np.sqrt(d), rng.uniform(0.1, 1.0, n)
    ptr = np.array([0, n])
    if longest:
        ends = np.cumsum(rng.integers(1, longest + 1, n))
        ptr = np.concatenate([[0], ends[ends < n], [n]])
    b /= np.repeat(np.add.reduceat(b, ptr[:-1]), np.diff(ptr))
    return fs.SoftResProblem(A, b, skip=skip, group_ptr=ptr), 0.5 * rng.standard_normal(d)


class Groups:
    params = ([0, 10, 300], [0.0, 1.0])
    param_names = ("longest group (0: one)", "skip")

    def setup(self, longest, skip):
        if hasattr(self, "problem"):  # asv comes here again between timed calls
            return
        self.problem, self.x = grouped(ROWS, COLUMNS, longest, skip)
        self.point = self.problem.at(self.x)
        self.point.hessp(self.x)
        self.point.assembled()

    def time_value_and_grad(self, longest, skip):
        self.problem.value_and_grad(self.x)

    def time_hessp(self, longest, skip):
        self.point.hessp(self.x)

    def time_to_dense(self, longest, skip):
        self.point.assembled()

    def time_row_vectors(self, longest, skip):
        dataclasses.replace(self.point).curvature  # noqa: B018
