"""Newton iterations on one worker of Dask and on more, the same rows: time, and the bytes that travel.

python -m asv_benchmarks.scaling          # --rows, --columns, --workers, --quick
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import time
from typing import Any

import numpy as np

import fastsoftres as fs

from . import machine


def block(start: int, rows: int, d: int) -> np.ndarray:
    """Rows of A, made where they will lie."""
    return np.random.default_rng(start).standard_normal((rows, d))


def problem(n: int, d: int, partitions: int) -> fs.SoftResProblem:
    """Random rows in as many partitions; b made on the workers too."""
    import dask
    import dask.array as da

    rows = n // partitions
    parts = [
        da.from_delayed(dask.delayed(block)(i * rows, rows, d), (rows, d), np.float64)
        for i in range(partitions)
    ]
    A = da.concatenate(parts).persist()
    z = A @ (np.random.default_rng(0).standard_normal(d) / d**0.5) + da.sin(da.arange(n, chunks=rows))
    b = da.exp(z)
    return fs.SoftResProblem(A, (b / b.sum()).persist(), skip=0.0)


def measure(workers: int, n: int, d: int, partitions: int, iterations: int) -> tuple[float, float, float]:
    """Seconds of an iteration (median), and bytes that workers send and that tasks carry in one."""
    from dask.distributed import Client, LocalCluster

    from fastsoftres.cluster import engine

    carried = [0]
    plain = engine.Workers.map

    def counted(self: Any, function: Any, arguments: Any, results: int = 1) -> Any:
        if counting[0]:
            carried[0] += sum(
                len(pickle.dumps(v)) for each in arguments for v in each if not hasattr(v, "key")
            )
        return plain(self, function, arguments, results)

    counting = [False]
    engine.Workers.map = counted  # type: ignore[method-assign]
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):

        def sent() -> int:
            return sum(client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total).values())

        fit = problem(n, d, partitions)
        fs.solve(fit, np.zeros(d), method="newton", maxiter=1)  # kernels loaded
        times: list[float] = []
        fs.solve(
            fit, np.zeros(d), method="newton", maxiter=iterations,
            callback=lambda intermediate_result: times.append(time.perf_counter()),
        )  # fmt: skip
        counting[0] = True
        marks: list[tuple[int, int]] = []
        fs.solve(
            fit, np.zeros(d), method="newton", maxiter=3,
            callback=lambda intermediate_result: marks.append((sent(), carried[0])),
        )  # fmt: skip
    engine.Workers.map = plain  # type: ignore[method-assign]
    steps = np.diff(np.array(marks), axis=0)
    return statistics.median(np.diff(times)), float(steps[:, 0].mean()), float(steps[:, 1].mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_600_000)
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    n = 40_000 if options.quick else options.rows
    print(machine.describe(1), machine.busy())
    print(
        "| workers | rows | columns | seconds an iteration | speed-up | kB sent by workers "
        "| kB carried by tasks |"
    )
    print(
        "|--------:|-----:|--------:|---------------------:|---------:|-------------------:|--------------------:|"
    )
    first = None
    for workers in options.workers:
        seconds, sent, carried = measure(workers, n, options.columns, options.partitions, options.iterations)
        first = first or seconds
        print(
            f"| {workers} | {n:,} | {options.columns} | {seconds:.3f} | {first / seconds:.2f} "
            f"| {sent / 1e3:.0f} | "
            f"{carried / 1e3:.0f} |", flush=True
        )  # fmt: skip


if __name__ == "__main__":
    main()
