"""The picture of a fit: target against fit, group by group where there are several, and losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from . import axes as draw_axes
from .fitting import Fit
from .inputs import Dataset
from .writing import replacing

#: More groups than this get no panels of their own: they would be too small to read.
_MOST_PANELS = 24
#: Panels in a row.
_ACROSS = 5
_LEGEND: dict[str, Any] = {"fontsize": 8, "framealpha": 0.85, "edgecolor": "none"}


def save(fits: Sequence[Fit], dataset: Dataset, path: Path) -> None:
    """Draw the fits and write the picture.

    Parameters
    ----------
    fits : sequence of Fit
    dataset : Dataset
    path : Path
        ``.png``, ``.pdf`` or ``.svg``.
    """
    figure = draw(fits, dataset)
    with replacing(path) as draft:
        figure.savefig(draft, format=path.suffix.lower().lstrip("."), dpi=150)


def draw(fits: Sequence[Fit], dataset: Dataset) -> Figure:
    """The figure, drawn without a display."""
    groups = fits[0].problem.n_groups
    figure = _panels(fits, dataset) if 1 < groups <= _MOST_PANELS else _pooled(fits, dataset)
    FigureCanvasAgg(figure)
    for axes in figure.axes:
        axes.grid(True, color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    title = dataset.source + (f"; {groups} groups" if groups > 1 else "")
    figure.suptitle(title, fontsize=10, color="0.3", parse_math=False)  # a file name may hold a $
    return figure


def _pooled(fits: Sequence[Fit], dataset: Dataset) -> Figure:
    """All rows in one cloud of points; the errors of many groups from the least to the largest."""
    several = fits[0].problem.n_groups > 1
    figure = Figure(figsize=(15.0 if several else 10.5, 4.8), layout="constrained")
    left, *middle, right = figure.subplots(1, 3 if several else 2)
    n = fits[0].problem.b.size
    rows = draw_axes.sample(n)
    within = _frame(fits, rows)
    draw_axes.targets(left, fits, rows, within)
    left.legend(handles=draw_axes.legend(fits, rows, within), loc="upper left", **_LEGEND)
    left.set(xlabel="target b", ylabel="fit f")
    _title(left, "Target against fit" + (f" ({rows.size} of {n} rows)" if rows.size < n else ""))
    for axes in middle:
        draw_axes.ranked(axes, fits, [fit.group_errors() for fit in fits])
        axes.set(xlabel="groups, in the order of their errors", ylabel="relative error")
        _title(axes, "Error of each group")
    draw_axes.losses(right, fits)
    return figure


def _panels(fits: Sequence[Fit], dataset: Dataset) -> Figure:
    """A panel of target against fit for each group; under them errors, outside goods and losses."""
    problem = fits[0].problem
    ptr, groups = problem.group_ptr, problem.n_groups
    across = min(groups, _ACROSS)
    down = math.ceil(groups / across)
    figure = Figure(figsize=(12.0, 2.1 * down + 3.4), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.1 * down, 3.2])
    upper, lower = parts
    # the outside good, larger than all others together, would squeeze them into a corner
    ends = ptr[1:] - 1 if dataset.outside else ptr[1:]
    inside = np.concatenate([np.arange(start, end) for start, end in zip(ptr[:-1], ends, strict=True)])
    within = _frame(fits, inside)
    panels = upper.subplots(down, across, sharex=True, sharey=True, squeeze=False).reshape(-1)
    for g, axes in enumerate(panels):
        if g >= groups:
            axes.remove()
            continue
        draw_axes.targets(axes, fits, np.arange(ptr[g], ends[g]), within)
        axes.set_title(fits[0].group_name(g), fontsize=9, parse_math=False)
        axes.tick_params(labelsize=7)
    handles = draw_axes.legend(fits, inside, within)
    upper.legend(handles=handles, loc="outside upper center", ncols=len(handles), **_LEGEND)
    upper.supxlabel("target b", fontsize=9)
    upper.supylabel("fit f", fontsize=9)
    left, *middle, right = lower.subplots(1, 3 if dataset.outside else 2)
    draw_axes.by_group(left, fits, [fit.group_errors() for fit in fits])
    left.set(xlabel=dataset.group, ylabel="‖f - b‖ / ‖b‖")
    _title(left, "Relative error of each group")
    for axes in middle:
        draw_axes.by_group(axes, fits, [fit.fitted[ends] for fit in fits], problem.b[ends])
        axes.set(xlabel=dataset.group, ylabel="share")
        _title(axes, "The outside good")
    draw_axes.losses(right, fits)
    return figure


def _frame(fits: Sequence[Fit], rows: np.ndarray) -> draw_axes.Frame:
    return draw_axes.frame(fits[0].problem.b[rows], [fit.fitted[rows] for fit in fits])


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=11)
