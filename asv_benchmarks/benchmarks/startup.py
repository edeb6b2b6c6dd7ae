"""What a new process pays: import, first call with kernels in the cache, compilation without one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

_MAKE = """
import numpy as np
import fastsoftres as fs
problem = fs.SoftResProblem(np.eye(20, 5), np.full(20, 0.05))
x = np.zeros(5)
"""
_ALL_CALLS = """
point = problem.at(x)
point.hessp(x)
point.hessian().to_dense()
"""


class Startup:
    """Each sample is a new process."""

    number = 1
    repeat = (2, 5, 10.0)

    def setup(self):
        """Fill the caches."""
        if not hasattr(self, "filled"):
            subprocess.run([sys.executable, "-c", _MAKE + "problem.value_and_grad(x)"], check=True)
            self.filled = True

    def timeraw_import(self):
        return "import fastsoftres"

    def timeraw_first_value_and_grad(self):
        return "problem.value_and_grad(x)", _MAKE


class Compilation:
    """Kernels of evaluation, product and assembly, in a new process with nothing cached."""

    unit = "s"
    timeout = 300

    def track_cold_process(self):
        with tempfile.TemporaryDirectory() as cache:
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", _MAKE + _ALL_CALLS],
                env=os.environ | {"NUMBA_CACHE_DIR": cache},
                check=True,
            )
            return time.perf_counter() - start
