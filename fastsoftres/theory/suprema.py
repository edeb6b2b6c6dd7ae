"""From bounds of rows to bounds of derivatives along a unit step (docs/theory.md, 4).

With y = A t, ‖t‖ = 1, and a1 = sum v y/alpha, a2 = sum e y²/alpha, the loss of a group has along t

    second derivative   ‖f'‖² + sum (e q/alpha) y² - 2 a1 sum (q v/alpha) y
    third derivative    3 <f', f''> + sum (e q/alpha) y³ - 3 a1 sum (e q/alpha) y² + (6 a1² - 3 a2) sum (q
    v/alpha) y

and every sum over rows is bounded through ‖a_i‖ or through ‖y‖ <= ‖A‖, whichever is smaller.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from .norms import outward

Reduce = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Suprema:
    """Bounds for each group (G,): of the Jacobian of f, and of the loss's second and third derivative."""

    f: np.ndarray
    second: np.ndarray
    third: np.ndarray


class Sums:
    """Suprema over unit steps t of sums over a group's rows of c_i y_i^k, for c >= 0."""

    def __init__(self, rows: np.ndarray, spectral: float, total: Reduce, largest: Reduce):
        self.a, self.spectral, self.total, self.largest = rows, spectral, total, largest
        self.outward = outward(rows.size)

    def linear(self, c: np.ndarray) -> np.ndarray:
        """sum c_i |y_i|."""
        return np.minimum(self.total(c * self.a), np.sqrt(self.total(c * c)) * self.spectral) * self.outward

    def squares(self, c: np.ndarray) -> np.ndarray:
        """sum c_i y_i²."""
        return np.minimum(self.total(c * self.a**2), self.largest(c) * self.spectral**2) * self.outward

    def cubes(self, c: np.ndarray) -> np.ndarray:
        """sum c_i |y_i|³."""
        return (
            np.minimum(self.total(c * self.a**3), self.largest(c * self.a) * self.spectral**2) * self.outward
        )

    def norm(self, c: np.ndarray) -> np.ndarray:
        """Root of sum (c_i y_i)²."""
        return np.sqrt(self.squares(c * c))

    def norm_of_squares(self, c: np.ndarray) -> np.ndarray:
        """Root of sum (c_i y_i²)²."""
        return (
            np.minimum(np.sqrt(self.total((c * self.a**2) ** 2)), self.largest(c * self.a) * self.spectral)
            * self.outward
        )


def least_squares(
    sums: Sums, a1: np.ndarray, f: np.ndarray, va: np.ndarray, ea: np.ndarray, q: np.ndarray
) -> Suprema:
    """Of ½‖f - b‖², from bounds of a1, and of rows' |f|, |v/alpha|, e/|alpha| and |q|."""
    size = np.sqrt(sums.total(f * f)) * sums.outward
    a2 = sums.squares(ea)
    across = sums.norm(va)
    jacobian = across + size * a1
    bend = sums.norm_of_squares(ea) + 2.0 * across * a1 + size * (a2 + 2.0 * a1 * a1)
    eq, qv = ea * q, q * va
    q1, q2 = sums.linear(qv), sums.squares(eq)
    second = jacobian**2 + q2 + 2.0 * a1 * q1
    third = 3.0 * jacobian * bend + sums.cubes(eq) + 3.0 * a1 * q2 + (6.0 * a1 * a1 + 3.0 * a2) * q1
    return Suprema(jacobian, second, third)


def likelihood(sums: Sums, a1: np.ndarray, f: np.ndarray, total_b: np.ndarray) -> Suprema:
    """Of -sum b log f: sum(b) times the variance and the third central moment of y under f."""
    size = np.sqrt(sums.total(f * f)) * sums.outward
    a2, a3 = sums.squares(f), sums.cubes(f)
    return Suprema(sums.norm(f) + size * a1, total_b * a2, total_b * (a3 + 3.0 * a1 * a2 + 2.0 * a1**3))


def finite_or_inf(value: float) -> float:
    """A bound; what cannot be computed bounds nothing."""
    return value if math.isfinite(value) else math.inf
