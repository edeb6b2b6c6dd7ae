"""Mixed work in one process for a while: memory, threads and open files stay where they were.

FASTSOFTRES_SOAK_SECONDS=600 python -m pytest -m slow tests/test_soak.py      10 minutes instead of 30 s
"""

from __future__ import annotations

import os
import sys

import pytest
from reference import run_python

SECONDS = float(os.environ.get("FASTSOFTRES_SOAK_SECONDS", "30"))

SOAK = """if True:
    import os, sys, threading, time
    from concurrent.futures import ThreadPoolExecutor
    import numpy as np
    import fastsoftres as fs

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

    def files():
        return len(os.listdir("/proc/self/fd"))

    rng = np.random.default_rng(0)
    fs.set_num_threads(2)

    def fail(intermediate_result):
        raise RuntimeError

    def work(k):
        n, d = int(rng.integers(20, 6000)), int(rng.integers(1, 12))
        A = rng.standard_normal((n, d)).astype("f4" if k % 3 == 0 else "f8")
        ptr = np.unique(np.append(rng.integers(1, n, 5), [0, n])) if k % 2 else np.array([0, n])
        b = np.concatenate([rng.dirichlet(np.ones(m)) for m in np.diff(ptr)])
        problem = fs.SoftResProblem(A, b, skip=(k % 4) / 2, group_ptr=ptr, ridge=1e-3)
        x = np.full(d, 0.1)
        problem.hessp(x, x), problem.hessian(x).to_dense(), problem.predict(x)
        method = ("newton", "newton-cg", "lbfgs")[k % 3]
        fs.solve(problem, x if k % 2 else None, method=method, maxiter=5, n_starts=1)
        try:
            fs.solve(problem, x, callback=fail)
        except RuntimeError:
            pass
        try:
            fs.SoftResProblem(A * np.nan, b)
        except ValueError:
            pass

    seconds, count, marks = float(sys.argv[1]), 0, []
    big = fs.SoftResProblem(rng.standard_normal((40_000, 8)), np.full(40_000, 1 / 40_000))
    start = time.monotonic()
    with ThreadPoolExecutor(3) as callers:
        while True:
            list(callers.map(work, range(count, count + 12)))
            big.grad(np.zeros(8))
            count += 12
            now = time.monotonic() - start
            marks.append((now, resident(), threading.active_count(), files()))
            if now > seconds:
                break
    late = np.array([m for m in marks if m[0] > seconds / 3])
    slope = np.polyfit(late[:, 0], late[:, 1], 1)[0] if len(late) > 2 else 0.0
    threads, files = sorted(set(late[:, 2])), sorted(set(late[:, 3]))
    print(count, slope * 60, np.ptp(late[:, 1]), *threads, "|", *files)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_grows():
    """Resident memory within 16 MiB after the first third; one number of threads and of open files."""
    output = run_python(SOAK, str(SECONDS), timeout=2 * SECONDS + 300)
    numbers, files = (part.split() for part in output.split("|"))
    count, slope, spread = int(numbers[0]), float(numbers[1]), float(numbers[2])
    print(f"{count} rounds in {SECONDS:g} s: {slope:.2f} MiB a minute, within {spread:.1f} MiB")
    assert count > 0
    assert spread < 16.0
    assert slope * SECONDS / 60 < 8.0  # the line through it rises by less than half of that
    assert len(numbers[3:]) == 1  # threads
    assert len(files) == 1
