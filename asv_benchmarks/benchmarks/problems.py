"""Inputs of all benchmarks: reproducible, and made once a process."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy import sparse

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
def sparse_example(n: int, d: int, entries: int, dtype: str = "float64") -> Example:
    """Rows with ``entries`` Gaussian numbers in random columns (CSR, int32), z of order 1, noise of 30 %."""
    rng = np.random.default_rng([n, d, entries])
    # a draw without repetition for each row would take longer than what is measured: 20,000 patterns are
    # shared
    patterns = np.argsort(rng.random((min(n, 20_000), d)), axis=1)[:, :entries].astype(np.int32)
    patterns.sort(axis=1)
    indices = patterns[rng.integers(0, patterns.shape[0], n)].reshape(-1)
    data = rng.standard_normal(n * entries, dtype=dtype)
    data *= np.asarray(1.0 / np.sqrt(entries), dtype)
    A = sparse.csr_array((data, indices, np.arange(0, n * entries + 1, entries)), shape=(n, d))
    truth = rng.standard_normal(d)
    b = fs.softres(A @ truth, skip=1.0)
    b *= 1.0 + 0.3 * rng.uniform(-1.0, 1.0, n)
    b /= b.sum()
    return Example(fs.SoftResProblem(A, b), 0.5 * truth)


@functools.lru_cache(maxsize=1)
def many_targets(n: int, d: int, m: int, skip: float, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """A (n, d) and B (n, m): attainable targets of one A with noise, z of order 1."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d))
    X = rng.standard_normal((d, m))
    Z = A @ (X / np.linalg.norm(X, axis=0))
    B = (np.exp(Z) + skip * Z) * (1.0 + noise * rng.standard_normal((n, m)))
    return A, B / B.sum(axis=0)
