"""Many Python threads at once: the serial results to the last bit, one allowance of threads for all of them,
and the caller's BLAS settings as they were."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
import threadpoolctl

import fastsoftres as fs
from fastsoftres import _threads
from fastsoftres.sources import DenseRows

CALLERS = 8


@pytest.fixture(autouse=True)
def restore():
    """The process-wide number of threads as it was."""
    before = _threads._allowed
    yield
    _threads._allowed = before


@pytest.fixture(scope="module")
def jobs():
    """Calls of all kinds on problems of all sizes; each returns arrays."""
    rng = np.random.default_rng(7)
    jobs = []
    for n, d, dtype, options in [
        (40, 3, "f8", {}),
        (300, 5, "f4", {"skip": 0.0, "loss": "kl"}),
        (30_000, 8, "f8", {"ridge": 1e-3}),
        (60_000, 6, "f4", {"skip": 0.5}),
        (24_000, 8, "f8", {"group_ptr": np.arange(0, 24_001, 60), "skip": 0.0}),
    ]:
        A = rng.standard_normal((n, d)).astype(dtype)
        ptr = options.get("group_ptr", [0, n])
        b = np.concatenate([reference.target(rng, k) for k in np.diff(ptr)])
        problem, x = fs.SoftResProblem(A, b, **options), rng.standard_normal(d) / 4
        jobs += [
            lambda p=problem, x=x: [p.value_and_grad(x)[1], p.value(x)],
            lambda p=problem, x=x: [p.hessp(x, x)],
            lambda p=problem, x=x: [p.hessian(x).to_dense()],
            lambda p=problem, x=x: [fs.solve(p, x, maxiter=4).x],
            lambda p=problem, x=x: [p.predict(x)],
        ]
    z = rng.standard_normal((30, 20))
    jobs.append(lambda: [fs.softres(z, axis=1)])
    return jobs


def run_all(jobs, calls):
    """``calls`` calls in each of the threads, in an order of its own; the first difference is raised."""
    with fs.num_threads(1):
        serial = [job() for job in jobs]
    fs.set_num_threads(2)
    start = threading.Barrier(CALLERS, timeout=60)

    def work(caller):
        order = np.random.default_rng(caller).integers(0, len(jobs), calls)
        start.wait()
        for k in order:
            for got, wanted in zip(jobs[k](), serial[k], strict=True):
                np.testing.assert_array_equal(got, wanted, err_msg=f"job {k}")
        return len(order)

    with ThreadPoolExecutor(CALLERS) as callers:
        assert list(callers.map(work, range(CALLERS))) == [calls] * CALLERS


def test_mixed_calls_give_the_serial_results(jobs):
    run_all(jobs, 15)


@pytest.mark.slow
def test_mixed_calls_give_the_serial_results_500_times(jobs):
    run_all(jobs, 500)


def test_many_fits_share_the_allowance(rng, monkeypatch):
    """Chunks are computed by the pool's threads alone, of which there are as many as allowed."""
    problem = fs.SoftResProblem(rng.standard_normal((60_000, 10)), reference.target(rng, 60_000), skip=0.5)
    assert len(problem._source.bounds()) > 4
    names, reading = set(), DenseRows.read

    def counted(self, start, stop):
        names.add(threading.current_thread().name)
        return reading(self, start, stop)

    monkeypatch.setattr(DenseRows, "read", counted)
    before = {t.name for t in threading.enumerate() if t.name.startswith("fastsoftres-")}
    fs.set_num_threads(2)
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(lambda k: fs.solve(problem, np.full(10, 0.1 * k), maxiter=3), range(CALLERS)))
    after = {t.name for t in threading.enumerate() if t.name.startswith("fastsoftres-")}
    assert len(after) == max(2, len(before))  # eight callers, and not a thread more
    assert names <= after


def blas():
    """What the BLAS libraries of this process are set to."""
    return sorted(
        (lib["filepath"], lib["num_threads"])
        for lib in threadpoolctl.threadpool_info()
        if lib["user_api"] == "blas"
    )


@pytest.mark.parametrize("limit", [None, 1, 3])
def test_blas_settings_of_the_caller_are_kept(jobs, limit):
    """After calls, after errors, and while eight threads are at it."""
    if not blas():
        pytest.skip("no BLAS that threadpoolctl knows")

    def fail(intermediate_result):
        raise RuntimeError("callback")

    rng = np.random.default_rng(0)
    problem = fs.SoftResProblem(rng.standard_normal((300, 4)), reference.target(rng, 300), skip=0.5)
    with threadpoolctl.threadpool_limits(limit, "blas"):
        before = blas()
        for job in jobs:
            job()
        for raised in (RuntimeError, ValueError):
            with pytest.raises(raised):
                fs.solve(problem, np.full(4, np.nan) if raised is ValueError else None, callback=fail)
        assert blas() == before
        during = []

        def work(k):
            with contextlib.suppress(RuntimeError):
                fs.solve(problem, np.full(4, 0.1 * k), callback=fail if k % 2 else None)
            during.append(blas())

        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(work, range(2 * CALLERS)))
        assert during == [before] * (2 * CALLERS)
        assert blas() == before
