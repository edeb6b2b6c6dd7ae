"""What is drawn into one pair of axes: target against fit, errors, losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .fitting import Fit

#: Okabe and Ito's colours, which all eyes tell apart, and a marker for each.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "^", "s", "D", "v", "P")
#: More points than this are drawn small.
_FEW = 500
#: More points than this are a blot: a sample is drawn.
_MOST_POINTS = 5000
#: Targets that span more than this are drawn on logarithmic axes.
_WIDE = 30.0
#: Fits below this share of the lowest target are off the scale: small ones would press all others together.
_DEPTH = 0.1
#: Losses that fall by more than this factor are drawn on a logarithmic axis.
_DEEP = 5.0


class Frame(NamedTuple):
    """The axes that all panels of target against fit share."""

    low: float  # of the targets
    high: float
    log: bool
    bottom: float  # of the fits: what is below is drawn hollow on the edge
    top: float


def frame(b: np.ndarray, fitted: Sequence[np.ndarray]) -> Frame:
    """Axes that suit targets and fits."""
    low, high = float(b.min()), float(b.max())
    values = np.concatenate([b, *fitted])
    top = float(values.max())
    if low > 0.0 and high > _WIDE * low:
        bottom = max(float(values[values > 0.0].min()) / 2.0, _DEPTH * low)
        return Frame(low, high, True, bottom, top * 2.0)
    margin = 0.05 * (float(np.ptp(values)) or 1.0)
    return Frame(low, high, False, float(values.min()) - margin, top + margin)


def targets(axes: Axes, fits: Sequence[Fit], rows: np.ndarray, within: Frame) -> None:
    """Target against fit of these rows, a cloud of points for each fit."""
    b = fits[0].problem.b[rows]
    if within.log:
        axes.set(xscale="log", yscale="log", xlim=(within.low / 2.0, within.high * 2.0))
    axes.set(ylim=(within.bottom, within.top))
    low, high = within.low, within.high
    axes.axline((low, low), (high, high) if high > low else None, slope=None if high > low else 1.0,
                color="0.6", linewidth=1.0, zorder=1)  # fmt: skip
    size, alpha = (4.5, 0.65) if b.size <= _FEW else (2.0, 0.4)
    for i, fit in enumerate(fits):
        y, colour, marker = fit.fitted[rows], _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]
        below = y < within.bottom
        axes.plot(
            b[~below], y[~below], marker, markersize=size, alpha=alpha, color=colour, markeredgewidth=0.0
        )
        if below.any():  # no place on a logarithmic axis: hollow, on its edge
            axes.plot(
                b[below], np.full(int(below.sum()), within.bottom), marker, markersize=6.0, clip_on=False,
                markerfacecolor="none", markeredgecolor=colour,
            )  # fmt: skip


def legend(fits: Sequence[Fit], rows: np.ndarray, within: Frame) -> list[Line2D]:
    """What the points of ``targets`` are, for all of its rows."""
    handles = []
    for i, fit in enumerate(fits):
        colour, marker = _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]
        below = fit.fitted[rows][fit.fitted[rows] < within.bottom]
        look: dict[str, Any] = {"marker": marker, "color": colour, "linestyle": "", "markersize": 5.0}
        error = f"relative error {fit.result.fit['relative']:.2g}"
        handles.append(Line2D([], [], label=f"λ = {fit.skip:g}, {error}", **look))
        if below.size:
            kind = "below 0" if bool((below < 0.0).all()) else "off the scale"
            label = f"λ = {fit.skip:g}, {below.size} fitted {kind}"
            handles.append(Line2D([], [], label=label, markerfacecolor="none", **look))
    return handles


def by_group(
    axes: Axes, fits: Sequence[Fit], values: Sequence[np.ndarray], observed: np.ndarray | None = None
) -> None:
    """A number of each group for each fit, over the groups' labels; and what was observed, if it was."""
    at = positions(fits[0])
    if observed is not None:
        axes.plot(at, observed, color="0.2", linewidth=1.5, label="observed")
    for i, (fit, numbers) in enumerate(zip(fits, values, strict=True)):
        axes.plot(
            at, numbers, marker=_MARKERS[i % len(_MARKERS)], markersize=4.5, linewidth=1.0,
            color=_COLOURS[i % len(_COLOURS)], label=f"λ = {fit.skip:g}",
        )  # fmt: skip
    if at.dtype.kind == "i":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.tick_params(axis="x", labelrotation=90, labelsize=7)
    axes.legend(fontsize=8, framealpha=0.85, edgecolor="none")


def ranked(axes: Axes, fits: Sequence[Fit], values: Sequence[np.ndarray]) -> None:
    """A number of each of many groups, from the least to the largest."""
    for i, (fit, numbers) in enumerate(zip(fits, values, strict=True)):
        axes.plot(
            np.sort(numbers), linewidth=1.5, color=_COLOURS[i % len(_COLOURS)], label=f"λ = {fit.skip:g}"
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, framealpha=0.85, edgecolor="none")


def positions(fit: Fit) -> np.ndarray:
    """Where the groups are on an axis: at the numbers that name them, or in a row under their names."""
    names = [fit.group_name(g) for g in range(fit.problem.n_groups)]
    try:
        return np.array([int(name) for name in names])
    except ValueError:
        return np.array(names)


def losses(axes: Axes, fits: Sequence[Fit]) -> None:
    """Loss against iterations."""
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
    axes.legend(fontsize=8, framealpha=0.85, edgecolor="none")


def sample(n: int) -> np.ndarray:
    """Numbers of the rows that are drawn."""
    if n <= _MOST_POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, _MOST_POINTS, replace=False))
