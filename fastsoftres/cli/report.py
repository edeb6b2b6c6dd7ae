"""What is said before and after a fit, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .fitting import Fit
from .inputs import Dataset

#: Coefficients printed; --out writes all of them.
_MOST_ROWS = 40
#: Two runs whose losses agree to this have found the same minimum.
_LEVEL = 1e-6


def model(skips: Sequence[float], ridge: float, row_ridge: float | np.ndarray) -> list[str]:
    """The model in a formula, with the penalties that are in use."""
    loss = "½‖f - b‖²"
    if np.ndim(row_ridge):
        loss += " + ½ Σ w²z²"
    elif row_ridge:
        loss += f" + ½·{float(row_ridge):g} ‖z‖²"
    if ridge:
        loss += f" + ½·{ridge:g} ‖x‖²"
    kinds = {0.0: "softmax regression", 1.0: "softmax-ResNet regression"}
    lines = [f"model   minimise {loss} over x", "        f = u / Σu    u = exp(z) + λz    z = Ax"]
    for skip in skips:
        lines.append(f"        λ = {skip:g}" + (f", {kinds[skip]}" if skip in kinds else ""))
    return lines


def data(dataset: Dataset) -> list[str]:
    """Where the data comes from, and its shape."""
    n, d = dataset.A.shape
    total = float(dataset.b.sum())
    return [
        f"data    {dataset.source}",
        f"        A {n} x {d} {dataset.A.dtype}, b sums to {total:.6g}",
    ]


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


def negative(fit: Fit) -> int:
    """How many fitted values are below zero; possible for skip > 0."""
    return int(np.count_nonzero(fit.fitted < 0.0))
