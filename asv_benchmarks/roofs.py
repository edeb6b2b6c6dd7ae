"""The measurements of ``asv_benchmarks.roofline``: each part yields tables, and points of the picture."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastsoftres as fs
from fastsoftres import passes
from fastsoftres.runners import walk

from .benchmarks.common import directions
from .benchmarks.problems import example
from .objective import PEERS, PRODUCTS
from .readers import MultiplyAdd, read_calls
from .table import verdict, with_range
from .timing import Spread, interleaved, ratio

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
Times = dict[str, list[float]]

COLUMNS = (8, 32, 64, 256, 1024)
GRAM_COLUMNS = (16, 24, 48, 64, 96, 192, 256, 1024)
#: Bars for geometric means over d: fraction of the limit, its least value, ratios to the fastest peer.
_FRACTION, _LEAST, _GRADIENT, _PRODUCT, _PRODUCT_WIDE = 0.80, 0.65, 2.5, 2.5, 1.6
#: d from which a product's peers are compared on their own: they read A twice and do little else.
_WIDE = 256


@dataclasses.dataclass
class Run:
    """What the command line asked for, and what the picture shows."""

    size: int  # bytes of A
    repeat: int
    dtypes: list[str]
    threads: int
    columns: list[int] | None
    judged: bool
    points: list[tuple[str, float, float, float, float]] = dataclasses.field(default_factory=list)
    started: float = dataclasses.field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def shapes(self, columns: tuple[int, ...]):
        """dtype, rows, columns; A has the same bytes in all."""
        for dtype, d in itertools.product(self.dtypes, self.columns or columns):
            yield dtype, self.rows(d, dtype), d

    def rows(self, d: int, dtype: str) -> int:
        return self.size // (d * np.dtype(dtype).itemsize)

    def judge(self, value: float, bar: float, *, most: bool = False) -> str:
        return verdict(value, (lambda v: v <= bar) if most else (lambda v: v >= bar), self.judged)


def gradient(run: Run) -> list[Table]:
    """value_and_grad beside the reader and the peers."""
    return _streams(run, "value_and_grad", PEERS, 3)


def product(run: Run) -> list[Table]:
    """hessp with one vector beside the reader and the peers, and with eight."""
    return _streams(run, "hessp", PRODUCTS, 2)


def _streams(run: Run, what: str, peers: dict[str, Any], vectors: int) -> list[Table]:
    """A pass that should take one read of A: ``vectors`` n-vectors are read (written: twice) beside it."""
    rows, fractions, ratios, eights = [], {}, {}, []
    for dtype, n, d in run.shapes(COLUMNS):
        problem, x = example(n, d, dtype)
        t = directions(d, 1)
        cast = [v.astype(dtype) for v in (problem.b, x, t)]
        calls: dict[str, Callable[[], Any]] = dict(read_calls(problem.A))
        readers = list(calls)
        if what == "hessp":
            point, eight = problem.at(x), directions(d, 8)
            calls |= {what: lambda: point.hessp(t), "eight": lambda: point.hessp(eight)}  # noqa: B023
            others = _available(peers, problem.A, *cast)
        else:
            calls[what] = lambda: problem.value_and_grad(x)  # noqa: B023
            others = _available(peers, problem.A, *cast[:2])
        ours = calls[what]()
        for name, call in others.items():
            _same(name, ours, call(), dtype)
        times = interleaved(calls | others, run.repeat, quiet=calls)
        size = problem.A.nbytes + 8 * vectors * n
        read = min(readers, key=lambda name: statistics.median(times[name]))
        part = Spread.of(
            a / problem.A.nbytes * size / b for a, b in zip(times[read], times[what], strict=True)
        )
        best = min(others, key=lambda name: statistics.median(times[name]), default="")
        faster = ratio(times[best], times[what]) if best else Spread(math.nan, math.nan, math.nan)
        fractions.setdefault(dtype, []).append(part.median)
        ratios.setdefault((dtype, d >= _WIDE and what == "hessp"), []).append(faster.median)
        extra = ""
        if "eight" in times:
            grown = ratio(times["eight"], times[what])
            eights.append((dtype, d, grown))
            extra = with_range(grown)
        run.points.append((f"{what} {dtype} {d}", _flops(what) * n * d, size, statistics.median(times[what]),
                           problem.A.nbytes / statistics.median(times[read])))  # fmt: skip
        rows.append(
            (dtype, str(d), with_range(Spread.of(times[what]), 1e9 / n, " ns"),
             f"{size / statistics.median(times[what]) / 1e9:.1f} GB/s",
             f"{problem.A.nbytes / statistics.median(times[read]) / 1e9:.1f} GB/s, {read[6:]}",
             with_range(part), best, with_range(faster), extra)
        )  # fmt: skip
        example.cache_clear()
        gc.collect()
    head = (
        "dtype",
        "d",
        "a row",
        "rate",
        "fastest reader",
        "of the limit",
        "fastest peer",
        "ratio",
        "8 vectors / 1",
    )
    bars = []
    for dtype, values in fractions.items():
        mean = statistics.geometric_mean(values)
        bars.append(
            (
                f"{what} {dtype}, of the limit, mean over d",
                f"{mean:.2f}",
                f">= {_FRACTION}",
                run.judge(mean, _FRACTION),
            )
        )
        bars.append(
            (
                f"{what} {dtype}, of the limit, least",
                f"{min(values):.2f}",
                f">= {_LEAST}",
                run.judge(min(values), _LEAST),
            )
        )
    for (dtype, wide), values in ratios.items():
        bar = _GRADIENT if what == "value_and_grad" else _PRODUCT_WIDE if wide else _PRODUCT
        mean = statistics.geometric_mean(values)
        where = "" if what == "value_and_grad" else f", d >= {_WIDE}" if wide else f", d < {_WIDE}"
        bars.append(
            (
                f"{what} {dtype}{where}, times the fastest peer",
                f"{mean:.2f}",
                f">= {bar}",
                run.judge(mean, bar),
            )
        )
    for dtype, d, grown in eights:
        bars.append(
            (
                f"{what} {dtype}, d = {d}, 8 vectors over 1",
                with_range(grown),
                "<= 2",
                run.judge(grown.median, 2.0, most=True),
            )
        )
    return [
        (f"{what}, memory is the limit", head, rows),
        (f"{what}, bars", ("what", "measured", "bar", "met"), bars),
    ]


def _flops(what: str) -> int:
    """Operations an element of A: a multiply-add (2) in the dot product and in each sum."""
    return {"value_and_grad": 8, "hessp": 4}[what]


def _available(peers: dict[str, Any], *arguments: Any) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {}
    for calls in peers.values():
        try:
            found |= dict(calls(*arguments))
        except ImportError:
            continue
    return found


def _same(name: str, ours: Any, theirs: Any, dtype: str) -> None:
    """The peer computes the same, or the comparison means nothing."""
    ours = np.asarray(ours[-1] if isinstance(ours, tuple) else ours)
    error = np.linalg.norm(np.asarray(theirs[-1]) - ours) / np.linalg.norm(ours)
    # float32 peers keep whole sums in float32: ours is the exact one
    assert error <= (1e-8 if dtype == "float64" else 0.05), f"{name}: differs by {error:.1e}"


#: Times dsyrk's rate that the assembly must reach, by columns.
_SYRK = {16: 2.0, 24: 2.0, 48: 2.0, 96: 2.0, 64: 1.0, 192: 0.95, 256: 0.95, 1024: 0.95}
_TABMAT = 1.5


def assembly(run: Run) -> list[Table]:
    """The weighted Gram pass and the whole Hessian beside BLAS's symmetric product and tabmat."""
    from scipy.linalg.blas import dsyrk, ssyrk

    rows = []
    for dtype, most, d in run.shapes(GRAM_COLUMNS):
        n = min(most, int(8e9 // d**2))  # the slowest of them needs a third of a second
        problem, x = example(n, d, dtype)
        A, hessian, D = problem.A, problem.hessian(x), np.random.default_rng(n).standard_normal(n)
        syrk = dsyrk if dtype == "float64" else ssyrk
        calls: dict[str, Callable[[], Any]] = {
            "multiply-add": (peak := MultiplyAdd(np.dtype(dtype))),
            "Gram pass": lambda: walk(problem._source, passes.Gram.uncentred(D, d, dtype=np.dtype(dtype))),  # noqa: B023
            "to_dense": hessian.to_dense,
            "syrk": lambda: syrk(1.0, A.T),  # noqa: B023
        }
        if dtype == "float64":
            calls["to_dense float32"] = lambda: hessian.to_dense(assembly_dtype=np.float32)  # noqa: B023
        tabmats = _tabmat(A, D.astype(dtype))
        wanted = A.T @ (D[:, None].astype(dtype) * A)
        for name, call in tabmats.items():
            assert np.allclose(call(), wanted, atol=1e-3 * np.abs(wanted).max()), name
        got = np.triu(calls["Gram pass"]()[0][:d, :d])
        assert np.abs(got - np.triu(wanted)).max() <= 1e-3 * np.abs(wanted).max()
        times = interleaved(calls | tabmats, run.repeat)
        tab = min(tabmats, key=lambda name: statistics.median(times[name]), default="")
        flops = float(n) * d * d
        top = peak.flops / statistics.median(times["multiply-add"])
        for name in ("Gram pass", "to_dense", "to_dense float32"):
            if name not in times:
                continue
            rate = Spread.of(flops / t / 1e9 for t in times[name])
            over = ratio(times["syrk"], times[name])
            beside = ratio(times[tab], times[name]) if tab else Spread(math.nan, math.nan, math.nan)
            judged = name == "Gram pass"
            rows.append(
                (dtype, str(d), name, with_range(rate, 1.0, " GFLOP/s"), f"{rate.median * 1e9 / top:.2f}",
                 with_range(over), f">= {_SYRK.get(d, 1.0)}" if judged else "",
                 run.judge(over.median, _SYRK.get(d, 1.0)) if judged else "",
                 with_range(beside), f">= {_TABMAT}" if judged else "",
                 run.judge(beside.median, _TABMAT) if judged else "")
            )  # fmt: skip
        example.cache_clear()
    head = (
        "dtype",
        "d",
        "call",
        "rate (n d² counted)",
        "of multiply-adds",
        "syrk / here",
        "bar",
        "met",
        "tabmat / here",
        "bar",
        "met",
    )
    return [("Assembly, arithmetic is the limit", head, rows)]


def _tabmat(A: np.ndarray, D: np.ndarray) -> dict[str, Callable[[], Any]]:
    try:
        import tabmat
    except ImportError:
        return {}
    by_rows, by_columns = tabmat.DenseMatrix(A), tabmat.DenseMatrix(np.asfortranarray(A))
    return {"tabmat C": lambda: by_rows.sandwich(D), "tabmat F": lambda: by_columns.sandwich(D)}


def odd(run: Run) -> list[Table]:
    """Time a row for d that no vector divides, over that for the next multiple of eight."""
    rows = []
    for dtype, d in itertools.product(run.dtypes, run.columns or (7, 33, 101)):
        whole = -(-d // 8) * 8
        n = run.rows(whole, dtype)
        calls = {}
        for columns in (d, whole):
            problem, x = example.__wrapped__(n, columns, dtype)
            point, t = problem.at(x), directions(columns, 1)
            calls[f"value_and_grad {columns}"] = lambda p=problem, x=x: p.value_and_grad(x)
            calls[f"hessp {columns}"] = lambda p=point, t=t: p.hessp(t)
        times = interleaved(calls, run.repeat, quiet=calls)
        for what in ("value_and_grad", "hessp"):
            grown = ratio(times[f"{what} {d}"], times[f"{what} {whole}"])
            rows.append(
                (
                    dtype,
                    what,
                    f"{d} over {whole}",
                    with_range(grown),
                    "<= 1.25",
                    run.judge(grown.median, 1.25, most=True),
                )
            )
    return [("Odd numbers of columns", ("dtype", "call", "d", "time ratio", "bar", "met"), rows)]


def layout(run: Run) -> list[Table]:
    """Fortran order over C order, for columns whose bytes are a power of two and for others."""
    rows = []
    for (dtype, most, d), share in itertools.product(run.shapes((8, 64, 256)), (0.96, 1.0)):
        n = int(share * most)
        problem, x = example(n, d, dtype)
        other = fs.SoftResProblem(np.asfortranarray(problem.A), problem.b)
        calls = {}
        for name, p in (("C", problem), ("F", other)):
            point, t = p.at(x), directions(d, 1)
            calls[f"value_and_grad {name}"] = lambda p=p: p.value_and_grad(x)  # noqa: B023
            calls[f"hessp {name}"] = lambda p=point, t=t: p.hessp(t)
        times = interleaved(calls, run.repeat, quiet=calls)
        for what in ("value_and_grad", "hessp"):
            grown = ratio(times[f"{what} F"], times[f"{what} C"])
            rows.append(
                (dtype, what, str(d), str(n), with_range(grown), "<= 1.5",
                 run.judge(grown.median, 1.5, most=True))
            )  # fmt: skip
        example.cache_clear()
    return [("Fortran order over C order", ("dtype", "call", "d", "n", "time ratio", "bar", "met"), rows)]


def groups(run: Run) -> list[Table]:
    """Rows in groups over all rows in one."""
    rows = []
    for dtype, n, d in run.shapes((8, 64)):
        problem, x = example(n, d, dtype)
        calls = {"1": lambda: problem.value_and_grad(x)}  # noqa: B023
        for size in (5, 50, 5000):
            b = np.full(n, 1.0 / size)
            ptr = np.append(np.arange(0, n, size), n)
            b[ptr[-2] :] = 1.0 / (n - ptr[-2])
            grouped = fs.SoftResProblem(problem.A, b, group_ptr=ptr)
            calls[str(size)] = lambda p=grouped: p.value_and_grad(x)  # noqa: B023
        times = interleaved(calls, run.repeat, quiet=calls)
        rows += [
            (dtype, str(d), f"{name} rows", with_range(ratio(times[name], times["1"])))
            for name in list(calls)[1:]
        ]
        example.cache_clear()
    return [("value_and_grad with groups over one group", ("dtype", "d", "groups of", "time ratio"), rows)]


def threads(run: Run) -> list[Table]:
    """All threads over one."""
    rows = []
    for dtype, n, d in run.shapes((64,)):
        problem, x = example(n, d, dtype)
        point, hessian, t = problem.at(x), problem.hessian(x), directions(d, 1)
        reader = read_calls(problem.A)["read: one sum, prefetched"]
        calls = {"read": reader, "value_and_grad": lambda: problem.value_and_grad(x),  # noqa: B023
                 "hessp": lambda: point.hessp(t),  # noqa: B023
                 "to_dense": hessian.to_dense, "multiply-add": MultiplyAdd(np.dtype(dtype))}  # fmt: skip

        def with_threads(call: Callable[[], Any], count: int) -> Callable[[], Any]:
            def limited() -> None:
                with fs.num_threads(count):
                    call()

            return limited

        both = {(name, k): with_threads(call, k) for name, call in calls.items() for k in (1, run.threads)}
        times = interleaved({f"{name} {k}": call for (name, k), call in both.items()}, run.repeat)
        bars = {"value_and_grad": 1.5, "to_dense": 1.8}
        for name in calls:
            gain = ratio(times[f"{name} 1"], times[f"{name} {run.threads}"])
            if name == "multiply-add":  # as much work for each thread
                gain = Spread(*(run.threads * v for v in gain))
            bar = bars.get(name)
            rows.append(
                (
                    dtype,
                    name,
                    with_range(gain),
                    f">= {bar}" if bar else "",
                    run.judge(gain.median, bar) if bar else "",
                )
            )
        example.cache_clear()
    return [
        (
            f"One thread's time over that of {run.threads}, d = 64",
            ("dtype", "call", "ratio", "bar", "met"),
            rows,
        )
    ]


def rows(run: Run) -> list[Table]:
    """Time a row as n grows; float32, d = 64, up to 1e9 elements."""
    table = []
    d = 64
    sizes = [10**6, 10**7, 10**8, 10**9] if run.judged else [10**6, 10**7]
    calls, held = {}, []
    for elements in sizes:
        n = elements // d
        A = np.ones((n, d), np.float32)
        problem = fs.SoftResProblem(A, np.full(n, 1.0 / n))
        held.append(problem)
        calls[f"{elements:.0e}"] = lambda p=problem: p.value_and_grad(np.full(d, 1e-3))
    times = interleaved(calls, run.repeat, quiet=calls)
    for elements in sizes:
        n = elements // d
        table.append(
            (f"{elements:.0e}", f"{n:,}", with_range(Spread.of(times[f"{elements:.0e}"]), 1e9 / n, " ns"))
        )
    return [("value_and_grad as n grows, float32, d = 64", ("elements of A", "rows", "a row"), table)]


def draw(run: Run, path: Path) -> None:
    """Rates over operations a byte, below the roof of this machine."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    peak = MultiplyAdd(np.dtype("float64"))
    peak()
    start = time.perf_counter()
    peak()
    top = peak.flops / (time.perf_counter() - start)
    band = statistics.median(point[4] for point in run.points)
    at = np.geomspace(0.2, 100, 200)
    axes.loglog(at, np.minimum(at * band, top) / 1e9, "k-", lw=1)
    for name, flops, size, seconds, _ in run.points:
        what, dtype, d = name.split()
        marker = "o" if what == "value_and_grad" else "s"
        axes.plot(
            flops / size, flops / seconds / 1e9, marker, color="C0" if dtype == "float64" else "C1", ms=5
        )
        axes.annotate(
            d, (flops / size, flops / seconds / 1e9), fontsize=7, xytext=(3, -8), textcoords="offset points"
        )
    axes.set_xlabel("operations a byte")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(
        f"value_and_grad (dots), hessp (squares); float64 blue, float32 orange; {run.threads} threads",
        fontsize=9,
    )
    figure.savefig(path, dpi=150)
