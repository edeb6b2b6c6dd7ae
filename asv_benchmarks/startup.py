"""Start-up in new processes, beside the floor.

Bars: 0.15 s to import over NumPy and Numba, 0.1 s for a first call from the cache over that of a trivial
kernel, 20 s to compile the main job.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .settings import Settings
from .table import Row, verdict, with_range
from .timing import Spread

_IMPORT_BAR, _FIRST_BAR, _COMPILE_BAR = 0.15, 0.1, 20.0

_FLOOR = """
import time
start = time.perf_counter()
import numpy, numba
print(time.perf_counter() - start)
"""
_IMPORT = """
import numpy, numba
import time
start = time.perf_counter()
import fastsoftres
print(time.perf_counter() - start)
"""
_PROBLEM = """
import time
import numpy as np
import fastsoftres as fs
rng = np.random.default_rng(0)
A = rng.standard_normal((10_000, 20))
b = np.full(10_000, 1e-4)
x = np.zeros(20)
start = time.perf_counter()
problem = fs.SoftResProblem(A, b)
"""
_FIRST = """
problem.value_and_grad(x)
print(time.perf_counter() - start)
"""
_EVERY_PASS = """
point = problem.at(x)
point.hessp(x)
point.hessian().to_dense()
"""
#: In a file of its own, since numba caches only what lies in one.
_TRIVIAL = """
import numba

@numba.njit(cache=True)
def first(values):
    return values[0]
"""
_TRIVIAL_CALL = """
import time
import numpy as np
from trivial import first
values = np.ones(1)
start = time.perf_counter()
first(values)
print(time.perf_counter() - start)
"""


def rows(settings: Settings) -> list[Row]:
    """Import, first call, and the main job with nothing compiled."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "trivial.py").write_text(_TRIVIAL)
        return _rows(settings, folder)


def _rows(settings: Settings, folder: str) -> list[Row]:
    scripts = {"floor": _FLOOR, "import": _IMPORT, "first": _PROBLEM + _FIRST, "trivial": _TRIVIAL_CALL}
    for script in scripts.values():  # fills the caches
        _printed(script, folder)
    times: dict[str, list[float]] = {name: [] for name in scripts}
    for _ in range(settings.repeat):
        for name, script in scripts.items():
            times[name].append(_printed(script, folder))
    spreads = {name: Spread.of(values) for name, values in times.items()}
    job, name = _main_job(folder)
    compiled = min(_cold(job) for _ in range(1 if settings.quick else 2))
    return [
        _row(
            "import fastsoftres, after NumPy and Numba", spreads["import"], _IMPORT_BAR,
            "import numpy, numba", with_range(spreads["floor"], 1.0, " s"),
        ),
        _row(
            "first problem and value_and_grad of a process, kernels cached", spreads["first"],
            _FIRST_BAR + spreads["trivial"].median,
            "first call of a trivial cached numba function", with_range(spreads["trivial"], 1.0, " s"),
        ),
        _row(f"{name}, nothing cached, whole process", Spread(*[compiled] * 3), _COMPILE_BAR),
    ]  # fmt: skip


def _row(what: str, spread: Spread, bar: float, beside: str = "", there: str = "") -> Row:
    met = verdict(spread.median, lambda seconds: seconds <= bar, judged=True)
    return Row(what, with_range(spread, 1.0, " s"), beside, there, "", f"<= {bar:.2g} s", met)


def _printed(script: str, folder: str) -> float:
    """The number that a script prints, run in a new process whose caches lie in ``folder``."""
    return float(_run([sys.executable, "-c", script], folder).stdout)


def _main_job(folder: str) -> tuple[list[str], str]:
    """The bundled fit of the command line, or every pass once where its dependencies are missing."""
    command = [sys.executable, "-m", "fastsoftres", "fit", "--no-plot"]
    if importlib.util.find_spec("fastsoftres.__main__") is not None:
        try:
            _run(command, folder)
        except subprocess.CalledProcessError:
            pass
        else:
            return command, "`python -m fastsoftres fit --no-plot`"
    return [sys.executable, "-c", _PROBLEM + _EVERY_PASS], "value, product and assembly"


def _cold(command: list[str]) -> float:
    """Wall time of a process with an empty cache folder."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        _run(command, folder)
        return time.perf_counter() - start


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    cache = {"NUMBA_CACHE_DIR": os.path.join(folder, "kernels"), "PYTHONPATH": folder}
    return subprocess.run(
        command, cwd=folder, env=os.environ | cache, check=True, capture_output=True, text=True
    )
