"""What is said before and after a fit, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..problem import SoftResProblem
from .fitting import Fit, group_sums
from .inputs import Dataset

#: Coefficients printed; --out writes all of them.
_MOST_ROWS = 40
#: Two runs whose losses agree to this have found the same minimum.
_LEVEL = 1e-6


def model(problems: Sequence[SoftResProblem]) -> list[str]:
    """The model in a formula, with the parts that are in use."""
    problem = problems[0]
    several = problem.n_groups > 1
    loss = "-Σ b log f" if problem.loss == "kl" else "½‖f - b‖²"
    weights = problem.group_weights
    penalty = problem.row_ridge
    if penalty.any():
        even = float(penalty.max()) if penalty.min() == penalty.max() else 0.0
        loss += f" + ½·{even:g} ‖z‖²" if even else " + ½ Σ w²z²"
    if several:
        weighted = bool((weights != 1.0).any())
        loss = f"({loss})" if weighted or "+" in loss else loss
        loss = f"the sum over groups of {'weight · ' if weighted else ''}{loss}"
    if problem.ridge:
        loss += f" + ½·{problem.ridge:g} ‖x‖²"
    sums = "Σu (of the row's group)" if several else "Σu"
    offset = " + offset" if problem.offset is not None else ""
    lines = [
        f"model   minimise {loss} over x",
        f"        f = u / {sums}    u = exp(z) + λz    z = Ax{offset}",
    ]
    kinds = {0.0: "softmax regression", 1.0: "softmax-ResNet regression"}
    for skip in (each.skip for each in problems):
        lines.append(f"        λ = {skip:g}" + (f", {kinds[skip]}" if skip in kinds else ""))
    return lines


def hints(problem: SoftResProblem) -> list[str]:
    """What the user may have forgotten."""
    if problem.n_groups == 1 and problem.loss != "kl" and problem.b.sum() > 1.5:
        return [
            "all rows are one group; if they are several, name their column with --group (arrays: --groups)"
        ]
    return []


def data(dataset: Dataset, problem: SoftResProblem) -> list[str]:
    """Where the data comes from, its shape and its groups."""
    n, d = problem.shape
    lines = [f"data    {dataset.source}", f"        A {n} x {d} {problem.dtype}, "]
    ptr, labels = problem.group_ptr, problem.group_labels
    sums, sizes = group_sums(problem, problem.b), np.diff(ptr)
    if problem.n_groups == 1:
        lines[-1] += f"b sums to {sums[0]:.6g}"
        return lines
    words = f"{problem.n_groups} groups"
    if labels is not None:
        words += f" ({dataset.group} {labels[0]}, ..., {labels[-1]})"
    rows = f"{sizes.min()} to {sizes.max()}" if sizes.min() < sizes.max() else f"{sizes[0]}"
    low, high = f"{sums.min():.6g}", f"{sums.max():.6g}"
    each = f"{low} in each" if low == high else f"between {low} and {high}"
    lines[-1] += f"{words} of {rows} rows, b sums to {each}"
    return lines


def outcome(fit: Fit) -> list[str]:
    """How a run ended, in words."""
    result = fit.result
    message = "interrupted; this is the best point so far" if fit.interrupted else str(result.message)
    iterations = f"{result.nit} iteration" + ("" if result.nit == 1 else "s")
    start = f"start: {result.start} (loss {result.history[0]['fun']:.6e})"
    lines = [
        message[:1].upper() + message[1:],
        f"method {result.method}, {start}, {iterations}, A read {result.passes} times, {fit.seconds:.2f} s",
    ]
    if len(result.starts) > 1:
        level = sum(run["fun"] <= result.fun + _LEVEL * abs(result.fun) for run in result.starts)
        lines.append(f"{len(result.starts)} runs from different starts, {level} of them ended at this loss")
    return lines + [f"note: {note}" for note in result.notes]


def summary(fits: Sequence[Fit], features: Sequence[str]) -> list[str]:
    """Coefficients and quality of all fits, side by side."""
    head = [f"λ = {fit.skip:g}" for fit in fits]
    shown = list(features) if len(features) <= _MOST_ROWS else list(features[:_MOST_ROWS])
    rows = [(name, [f"{fit.result.x[j]:.8g}" for fit in fits]) for j, name in enumerate(shown)]
    quality = [
        ("loss", [f"{fit.result.fun:.8g}" for fit in fits]),
        ("relative error ‖f - b‖/‖b‖", [f"{fit.result.fit['relative']:.4g}" for fit in fits]),
        ("largest error |f - b|", [f"{fit.result.fit['largest']:.4g}" for fit in fits]),
        *worst(fits),
        ("negative fitted shares", [f"{negative(fit)} of {fit.fitted.size}" for fit in fits]),
        ("converged", ["yes" if fit.converged else "no" for fit in fits]),
    ]
    left = max(len(name) for name, _ in rows + quality)
    width = max(len(cell) for cell in head + [c for _, cells in rows + quality for c in cells])

    def line(name: str, cells: list[str]) -> str:
        return f"{name:<{left}}  " + "  ".join(f"{cell:>{width}}" for cell in cells)

    rule = "-" * len(line("", head))
    more = len(features) - len(shown)
    return [
        line("coefficient", head),
        rule,
        *(line(*row) for row in rows),
        *([f"... and {more} more; --out FILE writes all of them"] if more else []),
        rule,
        *(line(*row) for row in quality),
    ]


def worst(fits: Sequence[Fit]) -> list[tuple[str, list[str]]]:
    """The group that each model fits least well, where there are several."""
    if fits[0].problem.n_groups == 1:
        return []
    cells = []
    for fit in fits:
        errors = fit.group_errors()
        g = int(np.nanargmax(errors)) if np.isfinite(errors).any() else 0
        cells.append(f"{fit.group_name(g)}: {errors[g]:.4g}")
    return [("group with the largest relative error", cells)]


def negative(fit: Fit) -> int:
    """How many fitted values are below zero; possible for skip > 0."""
    return int((fit.fitted < 0.0).sum())
