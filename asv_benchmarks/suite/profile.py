"""Performance profiles (Dolan and Moré 2002): the share of problems solved within tau times the fastest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .measure import Outcome

TAUS = (1.0, 1.5, 2.0, 4.0, 10.0)


def ratios(outcomes: list[Outcome], solvers: Sequence[str]) -> dict[str, np.ndarray]:
    """Time over the fastest that solved the same problem, one number a problem; inf where not solved."""
    names = list(dict.fromkeys(o.problem for o in outcomes))
    rows = {name: i for i, name in enumerate(names)}
    times = np.full((len(names), len(solvers)), np.inf)
    for o in outcomes:
        if o.solved and o.solver in solvers:
            times[rows[o.problem], solvers.index(o.solver)] = o.seconds
    fastest = times.min(axis=1, keepdims=True)
    result = np.divide(times, fastest, out=np.full_like(times, np.inf), where=np.isfinite(times))
    return {solver: result[:, j] for j, solver in enumerate(solvers)}


def shares(ratio: np.ndarray, taus: Sequence[float] = TAUS) -> list[float]:
    """The profile at each tau."""
    return [float(np.mean(ratio <= tau)) for tau in taus]


def draw(ratio: dict[str, np.ndarray], path: str) -> None:
    """The profile as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from fastsoftres import plot

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    plot.profile(ratio, ax=axes)
    figure.savefig(path, dpi=150)
    plt.close(figure)
