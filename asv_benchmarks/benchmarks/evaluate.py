"""Value and gradient: the call that a first-order method repeats."""

from __future__ import annotations

from .common import DTYPES, SHAPES, THREADS, AtPoint


class ValueAndGrad(AtPoint):
    def prepare(self):
        self.problem.value_and_grad(self.x)

    def time_value_and_grad(self, shape, dtype, threads):
        self.problem.value_and_grad(self.x)


class ValueAndGradMemory(ValueAndGrad):
    params = (SHAPES[-1:], DTYPES, THREADS[-1:])
    time_value_and_grad = None

    def peakmem_value_and_grad(self, shape, dtype, threads):
        self.problem.value_and_grad(self.x)
