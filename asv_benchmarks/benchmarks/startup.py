"""What a new process pays: import, first call with kernels in the cache, compilation without one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

_DATA = """
import numpy as np
import fastsoftres as fs
A, b, x = np.eye(20, 5), np.full(20, 0.05), np.zeros(5)
"""
_FIRST = "problem = fs.SoftResProblem(A, b); problem.value_and_grad(x)"
_OTHERS = """
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
            subprocess.run([sys.executable, "-c", _DATA + _FIRST], check=True)
            self.filled = True

    def timeraw_import(self):
        return "import fastsoftres"

    def timeraw_first_value_and_grad(self):
        return _FIRST, _DATA


class Compilation:
    """Kernels of evaluation, product and assembly, in a new process with nothing cached."""

    unit = "s"
    timeout = 300

    def track_cold_process(self):
        with tempfile.TemporaryDirectory() as cache:
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", _DATA + _FIRST + _OTHERS],
                env=os.environ | {"NUMBA_CACHE_DIR": cache},
                check=True,
            )
            return time.perf_counter() - start
