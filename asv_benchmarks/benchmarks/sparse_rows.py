"""Sparse A: value and gradient, products and assembly."""

from __future__ import annotations

import fastsoftres as fs

from .common import DTYPES, LARGE, THREADS, directions
from .problems import sparse_example

#: Rows, columns, entries a row.
SHAPES = [(100_000, 500, 20), (100_000, 20_000, 5)]
if LARGE:
    SHAPES += [(2_000_000, 500, 20)]
#: Columns up to which the Hessian is assembled here.
_ASSEMBLED = 2000


class SparseRows:
    params = (SHAPES, DTYPES, THREADS)
    param_names = ("rows x columns x entries", "dtype", "threads")

    def setup(self, shape, dtype, threads):
        if hasattr(self, "problem"):
            return
        fs.set_num_threads(threads)
        self.problem, self.x = sparse_example(*shape, dtype)
        self.point = self.problem.at(self.x)
        self.t = directions(shape[1], 1)
        self.point.hessp(self.t)

    def time_value_and_grad(self, shape, dtype, threads):
        self.problem.value_and_grad(self.x)

    def time_hessp(self, shape, dtype, threads):
        self.point.hessp(self.t)


class SparseAssembly(SparseRows):
    params = ([shape for shape in SHAPES if shape[1] <= _ASSEMBLED], DTYPES, THREADS)

    def setup(self, shape, dtype, threads):
        super().setup(shape, dtype, threads)
        self.point.hessian().to_dense()

    def time_to_dense(self, shape, dtype, threads):
        self.point.hessian().to_dense()
