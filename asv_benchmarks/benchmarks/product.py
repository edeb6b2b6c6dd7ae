"""Hessian-vector products at an evaluated point: one read of A for any number of vectors."""

from __future__ import annotations

from .common import DTYPES, SHAPES, THREADS, AtPoint, directions


class HessianProduct(AtPoint):
    params = (SHAPES, DTYPES, THREADS[-1:], [1, 8])
    param_names = (*AtPoint.param_names, "vectors")

    def prepare(self, vectors):
        self.t = directions(self.problem.shape[1], vectors)
        self.point.hessp(self.t)

    def time_hessp(self, shape, dtype, threads, vectors):
        self.point.hessp(self.t)
