"""The machine a comparison runs on: how many threads everyone gets, and what to print about it.

Imports nothing numerical: thread pools read the environment when their library is loaded.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_PACKAGES = ("numpy", "scipy", "numba", "jax", "torch", "tabmat")


def cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(count: int) -> None:
    """Give every library of this process, and of those it starts, the same number of threads.

    Libraries that ask how many cores there are (JAX) see a process bound to as many.
    """
    for name in _VARIABLES:
        os.environ[name] = str(count)
    if count < cores() and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def busy() -> str:
    """A warning if others are using the machine, else an empty string."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return f"load {load:.1f} at the start: others were running, do not trust these numbers" * (load > 0.5)


def others() -> float:
    """Core seconds that other processes have taken so far, where the system tells (Linux), else 0."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    total = (sum(map(int, fields)) - int(fields[3]) - int(fields[4])) / os.sysconf("SC_CLK_TCK")
    return total - sum(os.times()[:4])


def describe(threads: int) -> str:
    """One line: processor, threads, versions."""
    versions = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{_processor()}, {threads} thread{'s' * (threads > 1)}; {', '.join(versions)}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
