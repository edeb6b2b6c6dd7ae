"""What the benchmark classes share: parameters, the problem, and compilation before the clock starts.

Sizes are modest so that a quick run of everything takes a minute or two; FASTSOFTRES_BENCH=large adds
those that do not fit into any cache.
"""

from __future__ import annotations

import os

import numpy as np

import fastsoftres as fs

from .problems import example

LARGE = os.environ.get("FASTSOFTRES_BENCH") == "large"

SHAPES = [(1_000, 10), (100_000, 64), (20_000, 256)]
if LARGE:
    SHAPES += [(1_000_000, 64), (500_000, 256)]
DTYPES = ["float64", "float32"]
THREADS = sorted({1, fs.get_num_threads()})


class AtPoint:
    """Calls at one point of a random problem."""

    params = (SHAPES, DTYPES, THREADS)
    param_names = ("rows x columns", "dtype", "threads")

    def setup_cache(self):
        """Compile in a process of its own: neither the time nor the memory of LLVM is ours to report."""
        for dtype in DTYPES:
            problem, x = example(100, 4, dtype)
            point = problem.at(x)
            for vectors in (1, 8):
                point.hessp(directions(4, vectors))
            for assembly_dtype in DTYPES:
                point.hessian().to_dense(assembly_dtype=assembly_dtype)

    def setup(self, shape, dtype, threads, *rest):
        if hasattr(self, "problem"):  # asv comes here again between timed calls
            return
        fs.set_num_threads(threads)
        self.problem, self.x = example(*shape, dtype)
        self.point = self.problem.at(self.x)
        self.prepare(*rest)

    def prepare(self, *rest):
        """Make what the call needs, and call it once: kernels are loaded when they are first used."""
        raise NotImplementedError


def directions(d: int, k: int) -> np.ndarray:
    """k vectors to multiply by: (d,) if k is 1, else (d, k)."""
    t = np.random.default_rng(k).standard_normal((d, k))
    return t[:, 0].copy() if k == 1 else t
