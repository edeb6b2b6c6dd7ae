"""The picture of a fit: target against fit, and loss against iterations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .fitting import Fit
from .inputs import Dataset
from .writing import replacing

#: Okabe and Ito's colours, which all eyes tell apart, and a marker for each.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "^", "s", "D", "v", "P")
#: More points than this are drawn small.
_FEW = 500
#: More points than this are a blot: a sample is drawn.
_MOST_POINTS = 5000
#: Targets that span more than this are drawn on logarithmic axes.
_WIDE = 30.0
#: Losses that fall by more than this factor are drawn on a logarithmic axis.
_DEEP = 5.0


def save(fits: Sequence[Fit], dataset: Dataset, path: Path) -> None:
    """Draw the fits and write the picture.

    Parameters
    ----------
    fits : sequence of Fit
    dataset : Dataset
    path : Path
        ``.png``, ``.pdf`` or ``.svg``.
    """
    figure = draw(fits, dataset.source)
    with replacing(path) as draft:
        figure.savefig(draft, format=path.suffix.lower().lstrip("."), dpi=150)


def draw(fits: Sequence[Fit], title: str) -> Figure:
    """The figure, drawn without a display."""
    figure = Figure(figsize=(10.5, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    figure.suptitle(title, fontsize=10, color="0.3", parse_math=False)  # a file name may hold a $
    _targets(left, fits)
    _losses(right, fits)
    for axes in (left, right):
        axes.grid(True, color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _targets(axes: Axes, fits: Sequence[Fit]) -> None:
    rows = _sample(fits[0].problem.b.size)
    b = fits[0].problem.b[rows]
    fitted = [fit.fitted[rows] for fit in fits]
    low, high = float(b.min()), float(b.max())
    values = np.concatenate([b, *fitted])
    top = float(values.max())
    if low > 0.0 and high > _WIDE * low:
        axes.set(xscale="log", yscale="log")
        floor = max(float(values[values > 0.0].min()) / 2.0, 1e-2 * low)
        axes.set(xlim=(low / 2.0, high * 2.0), ylim=(floor, top * 2.0))
    else:
        margin = 0.05 * (float(np.ptp(values)) or 1.0)
        floor = float(values.min()) - margin
        axes.set(ylim=(floor, top + margin))
    axes.axline((low, low), (high, high) if high > low else None, slope=None if high > low else 1.0,
                color="0.6", linewidth=1.0, zorder=1)  # fmt: skip
    size, alpha = (4.5, 0.65) if b.size <= _FEW else (2.0, 0.4)
    for i, (fit, y) in enumerate(zip(fits, fitted, strict=True)):
        colour, marker = _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]
        below = y < floor
        axes.plot(
            b[~below], y[~below], marker, markersize=size, alpha=alpha, color=colour, markeredgewidth=0.0,
            label=f"λ = {fit.skip:g}, relative error {fit.result.fit['relative']:.2g}",
        )  # fmt: skip
        if below.any():  # no place on a logarithmic axis: hollow, on its edge
            kind = "below 0" if bool((y[below] < 0.0).all()) else "off the scale"
            axes.plot(
                b[below], np.full(int(below.sum()), floor), marker, markersize=6.0, clip_on=False,
                markerfacecolor="none", markeredgecolor=colour,
                label=f"λ = {fit.skip:g}, {int(below.sum())} fitted {kind}",
            )  # fmt: skip
    title = "Target against fit"
    if rows.size < fits[0].problem.b.size:
        title += f" ({rows.size} of {fits[0].problem.b.size} rows)"
    axes.set(xlabel="target b", ylabel="fit f")
    axes.set_title(title, fontsize=11)
    legend = axes.legend(fontsize=8, loc="upper left", framealpha=0.85, edgecolor="none")
    for handle in legend.legend_handles:
        if isinstance(handle, Line2D):
            handle.set(markersize=5.0, alpha=1.0)


def _losses(axes: Axes, fits: Sequence[Fit]) -> None:
    low, high = math.inf, 0.0
    for i, fit in enumerate(fits):
        losses = np.array([row["fun"] for row in fit.result.history])
        steps = [row["nit"] for row in fit.result.history]
        low, high = min(low, float(losses.min())), max(high, float(losses.max()))
        axes.plot(
            steps, losses, marker=_MARKERS[i % len(_MARKERS)] if len(steps) <= 60 else "", markersize=4.5,
            linewidth=1.5, color=_COLOURS[i % len(_COLOURS)], label=f"λ = {fit.skip:g}",
        )  # fmt: skip
    if low > 0.0 and high > _DEEP * low:
        axes.set(yscale="log")
    axes.set(xlabel="iteration", ylabel="loss")
    axes.set_title("Loss against iterations", fontsize=11)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, frameon=False, loc="upper right")


def _sample(n: int) -> np.ndarray:
    if n <= _MOST_POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, _MOST_POINTS, replace=False))
