"""The tables of docs/theory.md: how loose the Lipschitz constants and the row ridge's threshold are.

python scripts/theory_tables.py
"""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np

import fastsoftres as fs

_PAIRS = 2000


def problem(skip: float, spread: float, n: int = 60, d: int = 3) -> tuple[fs.SoftResProblem, np.ndarray]:
    """Gaussian rows, a target with 30 % noise, and the truth behind it."""
    rng = np.random.default_rng(7)
    A = rng.standard_normal((n, d))
    x = rng.standard_normal(d) * (spread / math.sqrt(d))
    b = fs.softres(A @ x, skip=skip) * (1.0 + 0.3 * rng.standard_normal(n))
    return fs.SoftResProblem(A, b, skip=skip), x


def largest_ratios(of: fs.SoftResProblem, x: np.ndarray, radius: float) -> dict[str, float]:
    """Over pairs of points of the ball: of f, of the gradient, of the Hessian."""
    rng = np.random.default_rng(1)
    largest = dict.fromkeys(("f", "grad", "hess"), 0.0)
    for _ in range(_PAIRS):
        steps = rng.standard_normal((2, x.size))
        steps *= radius / np.linalg.norm(steps, axis=1)[:, None]
        y, w = x + steps[0] * rng.random() ** 0.3, x + steps[1] * rng.random() ** 0.3
        gap = float(np.linalg.norm(y - w))
        at = [of.at(y), of.at(w)]
        pairs = {
            "f": at[0].f - at[1].f,
            "grad": at[0].grad - at[1].grad,
            "hess": at[0].hessian().to_dense() - at[1].hessian().to_dense(),
        }
        for name, change in pairs.items():
            largest[name] = max(largest[name], float(np.linalg.norm(change, 2)) / gap)
    return largest


def main() -> None:
    """Print both tables as Markdown."""
    warnings.simplefilter("ignore")  # targets with noise do not sum to 1
    print("Bound over the largest ratio found in", _PAIRS, "pairs:\n")
    print("| skip | z of order | radius | f, local | gradient | Hessian | f, overall | gradient | Hessian |")
    print("|---|---|---|---|---|---|---|---|---|")
    for skip, spread, radius in itertools.product((0.0, 1.0), (0.5, 2.0), (0.01, 0.1, 0.5)):
        of, x = problem(skip, spread)
        bounds, found = of.lipschitz(x, radius), largest_ratios(of, x, radius)
        cells = [
            f"{getattr(kind, name) / found[name]:.2g}"
            for kind in (bounds.local, bounds.overall)
            for name in ("f", "grad", "hess")
        ]
        print(f"| {skip:g} | {spread:g} | {radius:g} | " + " | ".join(cells) + " |")
    print("\nRow ridge that makes the ball convex:\n")
    print("| skip | z of order | radius | local | in n, R, beta | needed at the centre |")
    print("|---|---|---|---|---|---|")
    for skip, spread, radius in itertools.product((0.0, 1.0), (0.5, 2.0), (0.01, 0.1)):
        of, x = problem(skip, spread)
        far = x + 1.0
        threshold = fs.strong_convexity_row_ridge(of.A, of.b, 0.0, radius, x=far, skip=skip)
        H, M = of.hessian(far).to_dense(), of.A.T @ of.A
        L = np.linalg.inv(np.linalg.cholesky(M))
        needed = max(-float(np.linalg.eigvalsh(L @ H @ L.T)[0]), 0.0)
        numbers = f"{threshold.local:.2g} | {threshold.overall:.2g} | {needed:.2g}"
        print(f"| {skip:g} | {spread:g} | {radius:g} | {numbers} |")


if __name__ == "__main__":
    main()
