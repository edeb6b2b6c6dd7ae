"""Inputs of all benchmarks: reproducible, and made once a process."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

import fastsoftres as fs


class Example(NamedTuple):
    """A problem and a point that is not its solution."""

    problem: fs.SoftResProblem
    x: np.ndarray  # (d,)


@functools.lru_cache(maxsize=1)
def example(
    n: int, d: int, dtype: str = "float64", *, skip: float = 1.0, scale: float = 1.0, noise: float = 0.3
) -> Example:
    """Gaussian rows with z of order ``scale`` at the truth, and a target with relative ``noise``."""
    rng = np.random.default_rng([n, d])
    A = rng.standard_normal((n, d), dtype=dtype)
    A *= np.asarray(scale / np.sqrt(d), dtype)
    truth = rng.standard_normal(d)
    b = fs.softres(np.asarray(A @ truth.astype(dtype), np.float64), skip=skip)
    b *= 1.0 + noise * rng.uniform(-1.0, 1.0, n)
    b /= b.sum()
    return Example(fs.SoftResProblem(A, b, skip=skip), 0.5 * truth)


@functools.lru_cache(maxsize=1)
def many_targets(n: int, d: int, m: int, skip: float, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """A (n, d) and B (n, m): attainable targets of one A with noise, z of order 1."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d))
    X = rng.standard_normal((d, m))
    Z = A @ (X / np.linalg.norm(X, axis=0))
    B = (np.exp(Z) + skip * Z) * (1.0 + noise * rng.standard_normal((n, m)))
    return A, B / B.sum(axis=0)
