"""The pictures of docs/theory.md: approximate Newton beside exact Newton and gradient descent.

python scripts/theory_pictures.py [iterations | size | cost ...]

Writes docs/pictures/theory_*.svg and prints the numbers behind them. ``size`` and ``cost`` are timings: run
them on a machine that does nothing else.
"""

from __future__ import annotations

import pathlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
import numpy as np

import fastsoftres as fs

_FOLDER = pathlib.Path(__file__).parent.parent / "docs" / "pictures"
_SIZE = (6.0, 3.6)
#: The same bytes for the same numbers.
mpl.rcParams.update({"svg.hashsalt": "fastsoftres", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})

Track = list[tuple[float, np.ndarray]]  # seconds since the start, x


def problem(n: int, d: int, skip: float = 1.0) -> fs.SoftResProblem:
    """z of order 1, neighbouring columns correlated by 0.9, 30 % noise."""
    rng = np.random.default_rng(0)
    apart = np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    mix = np.linalg.cholesky(0.9**apart).T
    A = np.empty((n, d))
    for start in range(0, n, 100_000):
        rows = A[start : start + 100_000]
        rows[...] = rng.standard_normal(rows.shape) @ mix
    x = rng.standard_normal(d)
    x /= np.std(A[:1000] @ x)
    b = fs.softres(A @ x, skip=skip) * (1.0 + 0.3 * rng.standard_normal(n))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fs.SoftResProblem(A, b / b.sum(), skip=skip)


def solved(of: fs.SoftResProblem, x0: np.ndarray, **options: Any) -> Track:
    """Every iterate of a solve, with the time at which it was known."""
    track: Track = []

    def note(intermediate_result: Any) -> None:
        track.append((time.perf_counter() - began, intermediate_result.x.copy()))

    began = time.perf_counter()
    track.append((0.0, x0))
    fs.solve(of, x0, tol=1e-12, callback=note, **options)
    return track


def descent(of: fs.SoftResProblem, x0: np.ndarray, curvature: float, steps: int) -> Track:
    """Gradient descent with the best fixed step that the curvature at the minimum allows."""
    x, track = x0, [(0.0, x0)]
    began = time.perf_counter()
    for _ in range(steps):
        x = x - of.grad(x) / curvature
        track.append((time.perf_counter() - began, x))
    return track


def errors(track: Track, best: np.ndarray) -> np.ndarray:
    """Relative errors of x."""
    return np.array([np.linalg.norm(x - best) for _, x in track]) / np.linalg.norm(best)


def picture(name: str, draw: Callable[[Any], None], xlabel: str, ylabel: str) -> None:
    """One set of axes, saved."""
    fig, ax = plt.subplots(figsize=_SIZE, layout="constrained")
    draw(ax)
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log")
    ax.legend(fontsize=8)
    _FOLDER.mkdir(exist_ok=True)
    fig.savefig(_FOLDER / f"theory_{name}.svg", metadata={"Date": None})
    plt.close(fig)


def minimum(of: fs.SoftResProblem) -> np.ndarray:
    """The minimiser, to rounding."""
    return fs.solve(of, method="newton", tol=1e-13).x


def iterations() -> None:
    """Error of x against iterations, n = 2e5, d = 20, all from the minimum plus 0.05 in every coordinate."""
    of = problem(200_000, 20)
    best = minimum(of)
    x0 = best + 0.05
    curvature = np.linalg.eigvalsh(of.hessian(best).to_dense())[-1]
    lines = {"exact": errors(solved(of, x0, method="newton"), best)}
    for epsilon in (0.1, 0.3, 0.6, 0.9):
        track = solved(of, x0, method="approx-newton", epsilon=epsilon)
        lines[f"approximate, epsilon = {epsilon:g}"] = errors(track, best)
    lines["gradient descent"] = errors(descent(of, x0, curvature, 60), best)

    def draw(ax: Any) -> None:
        for name, line in lines.items():
            ax.plot(np.maximum(line, 1e-15), marker=".", label=name)
        ax.set_xlim(-0.5, 30)

    picture("iterations", draw, "iteration", "relative error of x")
    print("\n| method | " + " | ".join(map(str, range(9))) + " |\n|---|" + "---:|" * 9)
    for name, line in lines.items():
        cells = [f"{value:.0e}" for value in line[:9]] + [""] * (9 - len(line[:9]))
        print(f"| {name} | " + " | ".join(cells) + " |")


def size() -> None:
    """Seconds an iteration against n, d = 64."""
    sizes = [100_000, 200_000, 500_000, 1_000_000]
    lines: dict[str, list[float]] = {
        "exact iteration": [],
        "approximate iteration": [],
        "value and gradient": [],
    }
    for n in sizes:
        of = problem(n, 64)
        x0 = minimum(of) + 0.02
        runs: dict[str, list[float]] = {"newton": [], "approx-newton": [], "value": []}
        for turn in range(3):
            for method in ("newton", "approx-newton"):
                track = solved(of, x0, method=method, maxiter=8)
                if turn:
                    runs[method].append(track[-1][0] / (len(track) - 1))
            began = time.perf_counter()
            of.at(x0)
            runs["value"].append(time.perf_counter() - began)
        for name, times in zip(lines, runs.values(), strict=True):
            lines[name].append(float(np.median(times)))

    def draw(ax: Any) -> None:
        for name, line in lines.items():
            ax.plot(sizes, line, marker="o", label=name)
        ax.set_xscale("log")

    picture("size", draw, "rows n, d = 64", "seconds")
    print("\n| n | " + " | ".join(lines) + " |\n|---:|" + "---:|" * len(lines))
    for i, n in enumerate(sizes):
        print(f"| {n} | " + " | ".join(f"{1e3 * line[i]:.1f} ms" for line in lines.values()) + " |")
    for name, line in lines.items():
        print(f"{name} ~ n^{np.polyfit(np.log(sizes), np.log(line), 1)[0]:.2f}")


def cost() -> None:
    """Error of x against seconds, n = 5e5, d = 128: sampled against exact."""
    of = problem(500_000, 128)
    best = minimum(of)
    x0 = best + 0.02
    ways: dict[str, dict[str, Any]] = {
        "exact": {"method": "newton"},
        "approximate, by leverage": {"method": "approx-newton"},
        "approximate, by magnitude": {"method": "approx-newton", "sampling": "magnitude"},
        "approximate, uniform": {"method": "approx-newton", "sampling": "uniform"},
        "newton-cg, sampled preconditioner": {"method": "newton-cg"},
    }
    tracks = {}
    for _ in range(2):  # the first is to warm up
        for name, options in ways.items():
            tracks[name] = solved(of, x0, **options)

    def draw(ax: Any) -> None:
        for name, track in tracks.items():
            seconds = [when for when, _ in track]
            ax.plot(seconds, np.maximum(errors(track, best), 1e-15), marker=".", label=name)
        ax.set_xlim(left=0.0)

    picture("cost", draw, "seconds", "relative error of x")
    print("\n| method | iterations to 1e-9 | seconds |\n|---|---:|---:|")
    for name, track in tracks.items():
        at = int(np.argmax(errors(track, best) <= 1e-9))
        print(f"| {name} | {at} | {track[at][0]:.2f} |")


if __name__ == "__main__":
    parts = {"iterations": iterations, "size": size, "cost": cost}
    for chosen in sys.argv[1:] or parts:
        parts[chosen]()
