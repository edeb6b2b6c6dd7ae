"""SciPy's minimisers on NumPy's formulas: fits in which nothing of the package takes part.

``best_minimum`` is the outside truth of a fit: SciPy's trust-region Newton method from many starts on the
plain formulas of ``reference``, in columns of unit size and with the objective scaled to order one, as
SciPy's absolute tolerances need it.
"""

from __future__ import annotations

import numpy as np
import reference
from scipy.optimize import minimize


class Plain:
    """A problem written out in NumPy; ``groups``: ptr, weights, offset and kl, as for ``reference.plain``."""

    def __init__(self, A, b, skip, row_ridge=0.0, ridge=0.0, **groups):
        self.A, self.b = np.asarray(A, dtype=np.float64), np.asarray(b, dtype=np.float64)
        self.options = (float(skip), row_ridge, float(ridge))
        self.groups = groups

    @classmethod
    def of(cls, problem) -> Plain:
        """The same problem as a ``SoftResProblem`` whose rows are in order."""
        groups = {} if problem.n_groups == 1 else {"ptr": problem.group_ptr, "weights": problem.group_weights}
        if problem.offset is not None:
            groups["offset"] = problem.offset
        return cls(
            problem.A, problem.b, problem.skip, problem.row_ridge, problem.ridge,
            kl=problem.loss == "kl", **groups,
        )  # fmt: skip

    def at(self, x) -> reference.Values:
        """All values at x; not finite where the objective is undefined."""
        with np.errstate(all="ignore"):
            return reference.plain(self.A, x, self.b, *self.options, **self.groups)

    def value(self, x) -> float:
        """The objective."""
        return float(self.at(x).value)

    def alpha(self, x) -> float:
        """The normaliser."""
        z = self.A @ x
        return float(np.sum(np.exp(z) + self.options[0] * z))

    def relative_gradient(self, x) -> float:
        """The largest |grad_j| against the sizes of the terms that cancel in it."""
        values = self.at(x)
        seen = values.terms > 0
        return float(np.max(np.abs(values.grad[seen]) / values.terms[seen], initial=0.0))


def minimum(plain: Plain, start: np.ndarray) -> tuple[float, np.ndarray]:
    """SciPy's trust-exact from one start: the objective and x."""
    units = 1.0 / np.maximum(np.sqrt(np.mean(plain.A**2, axis=0)), 1e-300)
    size = 0.5 * float(plain.b @ plain.b)
    known: dict[bytes, reference.Values] = {}

    def at(y):
        key = y.tobytes()
        if key not in known:
            known.clear()
            known[key] = plain.at(y * units)
        return known[key]

    def value(y):
        value = float(at(y).value) / size
        return value if np.isfinite(value) else 1e30

    found = minimize(
        value, start / units, method="trust-exact",
        jac=lambda y: at(y).grad * units / size,
        hess=lambda y: at(y).hess * units[:, None] * units / size,
        options={"gtol": 1e-10, "maxiter": 300},
    )  # fmt: skip
    return float(found.fun) * size, found.x * units


def starting_points(plain: Plain, count: int, rng) -> list[np.ndarray]:
    """Zeros, and points at which z has standard deviations from 0.3 to 3."""
    d = plain.A.shape[1]
    points = [np.zeros(d)]
    for spread in np.geomspace(0.3, 3.0, count - 1):
        x = rng.standard_normal(d) / np.maximum(np.sqrt(np.mean(plain.A**2, axis=0)), 1e-300)
        points.append(x * (spread / max(float(np.std(plain.A @ x)), 1e-300)))
    return points


def best_minimum(plain: Plain, count: int, rng) -> tuple[float, np.ndarray]:
    """The lowest of SciPy's minima from ``count`` starts."""
    found = [minimum(plain, x) for x in starting_points(plain, count, rng)]
    return min(found, key=lambda pair: pair[0])
