"""The assembled Hessian: the call that Newton's method repeats."""

from __future__ import annotations

from .common import DTYPES, SHAPES, THREADS, AtPoint


class Assembly(AtPoint):
    def prepare(self):
        self.hessian = self.point.hessian()
        self.hessian.to_dense()

    def time_to_dense(self, shape, dtype, threads):
        self.hessian.to_dense()


class AssemblyMemory(Assembly):
    params = (SHAPES[-1:], DTYPES, THREADS[-1:])
    time_to_dense = None

    def peakmem_to_dense(self, shape, dtype, threads):
        self.hessian.to_dense()


class MixedAssembly(Assembly):
    """float64 rows multiplied in float32."""

    params = (SHAPES, ["float64"], THREADS[-1:])
    time_to_dense = None

    def prepare(self):
        self.hessian = self.point.hessian()
        self.hessian.to_dense(assembly_dtype="float32")

    def time_to_dense_float32(self, shape, dtype, threads):
        self.hessian.to_dense(assembly_dtype="float32")
