"""Pictures: ``pip install fastsoftres[plot]``. Every function draws on ``ax``, or on new axes, and returns
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .point import OutOfDomainError
from .problem import SoftResProblem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .statistics.table import InferenceTable

__all__ = ["coefficients", "convergence", "fit", "landscape", "profile", "roofline"]

#: Points of a scatter plot: more only darken it.
_MOST_POINTS = 20_000
#: Of a landscape: an exact fit, 1e-30 at its bottom, would press all else into one colour.
_DECADES = 4.0


def fit(problem: SoftResProblem, x: Any, *, ax: Axes | None = None) -> Axes:
    """Fitted values against the target.

    Parameters
    ----------
    problem : SoftResProblem
    x : (d,) array_like or OptimizeResult
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import fastsoftres as fs
    >>> from fastsoftres import plot
    >>> problem = fs.SoftResProblem([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]], [0.3, 0.2, 0.5], skip=0)
    >>> result = fs.solve(problem)
    >>> ax = plot.fit(problem, result)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('target b', 'fitted f')
    """
    ax = _axes(ax)
    f, b = problem.at(getattr(x, "x", x)).f, problem.b
    rows = np.arange(b.size)
    if b.size > _MOST_POINTS:
        rows = np.random.default_rng(0).choice(rows, _MOST_POINTS, replace=False)
    low, high = min(b[rows].min(), f[rows].min()), max(b[rows].max(), f[rows].max())
    ax.plot([low, high], [low, high], color="0.7", lw=1, zorder=0)
    ax.scatter(b[rows], f[rows], s=9, alpha=0.6, edgecolors="none")
    relative = float(np.linalg.norm(f - b)) / max(float(np.linalg.norm(b)), 1e-300)
    ax.set(xlabel="target b", ylabel="fitted f", title=f"λ = {problem.skip:g}: ‖f − b‖/‖b‖ = {relative:.2g}")
    return ax


def convergence(results: Mapping[str, Any] | Sequence[Any], *, ax: Axes | None = None) -> Axes:
    """Relative gradient against iterations, one line for each run.

    Parameters
    ----------
    results : mapping of names to OptimizeResult, or a sequence of them
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import fastsoftres as fs
    >>> from fastsoftres import plot
    >>> problem = fs.SoftResProblem([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]], [0.3, 0.2, 0.5], skip=0)
    >>> result = fs.solve(problem)
    >>> ax = plot.convergence({"newton": result, "lbfgs": fs.solve(problem, method="lbfgs")})
    >>> [line.get_label() for line in ax.lines]
    ['newton', 'lbfgs']
    """
    ax = _axes(ax)
    named = results if isinstance(results, Mapping) else {f"{r.method}, {r.start}": r for r in results}
    if not named:
        raise ValueError("results must hold at least one result")
    for name, result in named.items():
        steps = [record["nit"] for record in result.history]
        gradient = np.maximum([record["gradient"] for record in result.history], 1e-17)
        ax.plot(steps, gradient, marker="o", ms=3, label=name)
    ax.set(xlabel="iteration", ylabel="relative gradient", yscale="log")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return ax


def coefficients(table: InferenceTable, *, ax: Axes | None = None) -> Axes:
    """Coefficients with their intervals.

    Parameters
    ----------
    table : InferenceTable
        What ``fastsoftres.inference`` returned.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import fastsoftres as fs
    >>> from fastsoftres import plot
    >>> from fastsoftres.data import load_automobiles
    >>> cars = load_automobiles(None)
    >>> problem = fs.SoftResProblem(cars.A, cars.b, skip=0, loss="kl", group_ptr=cars.group_ptr)
    >>> problem.feature_names = cars.features
    >>> ax = plot.coefficients(fs.inference(problem, fs.solve(problem), cov="cluster"))
    >>> [label.get_text() for label in ax.get_yticklabels()][:3]
    ['constant', 'prices', 'hpwt']
    """
    ax = _axes(ax)
    place = np.arange(len(table.names))[::-1]
    ax.axvline(0.0, color="0.7", lw=1, zorder=0)
    ax.hlines(place, table.lower, table.upper, lw=2, alpha=0.6)
    ax.plot(table.coefficient, place, "o", ms=5)
    ax.set_yticks(place, table.names)
    ax.set(xlabel=f"coefficient, {100 * table.level:g} % interval")
    return ax


def landscape(
    problem: SoftResProblem,
    x: Any,
    *,
    directions: Any = None,
    radius: float = 3.0,
    grid: int = 81,
    minima: Any = (),
    ax: Axes | None = None,
) -> Axes:
    """The objective on a plane through x: colours for its logarithm, the barrier alpha = 0, plateaus and
    minima.

    Parameters
    ----------
    problem : SoftResProblem
    x : (d,) array_like or OptimizeResult
        Where the plane's coordinates are 0.
    directions : (2, d) array_like, optional
        What they count. By default two directions of x, orthogonal in A'A, that move z by 1 in root mean
        square.
    radius : float, optional
        Largest coordinate.
    grid : int, optional
        Points in each coordinate; each is one read of A.
    minima : sequence of (d,) array_like or OptimizeResult, optional
        Points to mark, by their projection on the plane.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Notes
    -----
    A plateau is hatched where the largest \\|f_i\\| is within 1e-3 of 1: there f is one-hot and the
    gradient vanishes. In one dimension of x (d = 1) the second coordinate is empty and an error says so.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> from fastsoftres import plot
    >>> problem = fs.SoftResProblem([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]], [0.3, 0.2, 0.5], skip=0)
    >>> result = fs.solve(problem)
    >>> ax = plot.landscape(problem, result, radius=2.0, grid=21)
    >>> ax.get_title()
    'λ = 0'
    """
    ax = _axes(ax)
    centre = np.array(getattr(x, "x", x), dtype=np.float64)
    if centre.shape != (problem.shape[1],):
        raise ValueError(f"x must have shape ({problem.shape[1]},), got {centre.shape}")
    if problem.shape[1] < 2:
        raise ValueError("landscape needs at least two columns of A")
    plane = _plane(problem) if directions is None else np.array(directions, dtype=np.float64)
    if plane.shape != (2, centre.size):
        raise ValueError(f"directions must have shape (2, {centre.size}), got {plane.shape}")
    ticks = np.linspace(-radius, radius, grid)
    loss, sign, top = (np.full((grid, grid), np.nan) for _ in range(3))
    for i, s in enumerate(ticks):
        for j, t in enumerate(ticks):
            try:
                point = problem.at(centre + t * plane[0] + s * plane[1])
            except OutOfDomainError:
                continue
            loss[i, j] = point.value
            sign[i, j] = np.sign(point.normaliser.alpha).min()
            top[i, j] = np.abs(point.f).max()
    size = 0.5 * problem._bb
    height = np.log10(np.maximum(loss / size, 1e-16))
    high = min(np.nanmax(height), 2.0)
    low = max(np.nanmin(height), high - _DECADES)
    levels = np.linspace(low, high, 30) if high > low else 5
    filled = ax.contourf(ticks, ticks, np.minimum(height, 2.0), levels=levels, cmap="viridis", extend="both")
    ax.figure.colorbar(filled, ax=ax, label="log10 of L over ½‖b‖²")
    if (sign < 0).any() and (sign > 0).any():
        ax.contour(ticks, ticks, np.nan_to_num(sign), levels=[0.0], colors="red", linewidths=1.5)
        ax.plot([], [], color="red", label="barrier alpha = 0")
    saturated = np.abs(top - 1.0) < 1e-3
    if problem.skip == 0.0 and saturated.any():
        ax.contourf(ticks, ticks, saturated, levels=[0.5, 1.5], colors="none", hatches=["//"])
        ax.plot([], [], color="0.3", ls=":", label="plateau (hatched)")
    for k, marked in enumerate([centre, *(np.asarray(getattr(m, "x", m)) for m in minima)]):
        at = np.linalg.lstsq(plane.T, marked - centre, rcond=None)[0]
        ax.plot(*at, "w*" if k == 0 else "w^", ms=11 if k == 0 else 7, mec="k")
    ax.set(xlabel="first direction", ylabel="second direction", title=f"λ = {problem.skip:g}")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(fontsize=8, loc="upper right")
    return ax


def profile(ratios: Mapping[str, Any], *, ax: Axes | None = None) -> Axes:
    """A performance profile (Dolan and Moré 2002).

    Parameters
    ----------
    ratios : mapping of solver names to (problems,) array_like
        Time over the fastest solver's on the same problem; inf where not solved.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from fastsoftres import plot
    >>> ax = plot.profile({"one": [1.0, 1.0, 3.0], "other": [2.0, 1.5, 1.0]})
    >>> [line.get_label() for line in ax.lines]
    ['one', 'other']
    """
    ax = _axes(ax)
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in ratios.items()}
    if not arrays:
        raise ValueError("ratios must hold at least one solver")
    finite = [values[np.isfinite(values)].max(initial=1.0) for values in arrays.values()]
    taus = np.geomspace(1.0, min(1000.0, max(finite)) * 1.05, 400)
    for place, name in enumerate(sorted(arrays, key=lambda n: -np.mean(arrays[n] <= 4.0))):
        share = [float(np.mean(arrays[name] <= tau)) for tau in taus]
        ax.step(taus, share, where="post", label=name, ls=("-", "--", ":")[place // 4 % 3], lw=1.6)
    ax.set(xscale="log", ylim=(0, 1.02), xlim=(1, taus[-1]))
    ax.set(xlabel="time / fastest", ylabel="share of problems solved")
    ax.legend(fontsize=8, loc="lower right")
    ax.grid(alpha=0.3)
    return ax


def roofline(
    kernels: Mapping[str, tuple[float, float]],
    *,
    bandwidth: float,
    peak: float,
    ax: Axes | None = None,
) -> Axes:
    """Kernels under the roof of a machine.

    Parameters
    ----------
    kernels : mapping of names to (intensity, rate)
        Operations a byte, and operations a second.
    bandwidth, peak : float
        Bytes and operations a second of the machine.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from fastsoftres import plot
    >>> ax = plot.roofline({"value_and_grad": (0.5, 18e9)}, bandwidth=40e9, peak=150e9)
    >>> ax.get_ylabel()
    'GFLOP/s'
    """
    ax = _axes(ax)
    if not kernels:
        raise ValueError("kernels must hold at least one kernel")
    x = np.array([point[0] for point in kernels.values()])
    span = np.geomspace(min(x.min() / 2, peak / bandwidth / 4), max(x.max() * 2, peak / bandwidth * 4), 200)
    ax.plot(span, np.minimum(peak, bandwidth * span) / 1e9, color="0.3", lw=1.5)
    for name, (intensity, rate) in kernels.items():
        ax.plot(intensity, rate / 1e9, "o", ms=5)
        ax.annotate(name, (intensity, rate / 1e9), textcoords="offset points", xytext=(5, -3), fontsize=7)
    ax.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GFLOP/s")
    ax.grid(alpha=0.3, which="both")
    return ax


def _axes(ax: Axes | None) -> Axes:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("fastsoftres.plot needs matplotlib: pip install fastsoftres[plot]") from error
    return plt.subplots(layout="constrained")[1] if ax is None else ax


def _plane(problem: SoftResProblem) -> np.ndarray:
    """The two directions of x that A'A stretches most, in units of root mean square z."""
    from . import passes
    from .runners import walk

    n, d = problem.shape
    work = passes.Gram.uncentred(np.full(n, 1.0 / n), d)
    values, vectors = np.linalg.eigh(passes.symmetric(walk(problem._source, work)[0], d))
    scale = np.sqrt(np.maximum(values[-2:], 1e-300))
    return (vectors[:, -2:] / scale).T[::-1].copy()
