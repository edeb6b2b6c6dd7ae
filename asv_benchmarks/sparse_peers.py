"""Sparse A (2e6 rows, 500 columns, 20 entries a row): bars, value and gradient twice as fast as the fastest
of SciPy and JAX's sparse formats, the weighted Gram matrix as fast as tabmat's.

SciPy's products alone, without the formula around them, stand beside ours as well, without a bar.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from fastsoftres import SoftResProblem, passes
from fastsoftres.runners import walk

from .benchmarks.problems import sparse_example
from .gradient_peers import _same as _same_gradient
from .objective import Call, numpy_calls
from .settings import Settings
from .table import Row, milliseconds, verdict, with_range
from .timing import interleaved, ratio

_ENTRIES = 20
_GRADIENT_BAR, _GRAM_BAR = 2.0, 1.0
_PRODUCTS = "SciPy, A @ x and A.T @ r alone"


def rows(settings: Settings) -> list[Row]:
    """Gradients, then Gram matrices."""
    n, d = settings.size(2_000_000, 500)
    problem, x = sparse_example(n, d, _ENTRIES)
    what = f"n = {n:,}, d = {d}, {_ENTRIES} entries a row"
    return [*_gradients(settings, problem, x, what), *_grams(settings, problem, what)]


def _gradients(settings: Settings, problem: SoftResProblem, x: np.ndarray, what: str) -> list[Row]:
    A, b = problem.A, problem.b
    ours: Call = lambda: problem.value_and_grad(x)  # noqa: E731
    peers: dict[str, Any] = {"SciPy": next(numpy_calls(_LeftMultiplied(A), b, x))[1]}
    missing = []
    try:
        peers |= dict(_jax_calls(A, b, x))
    except ImportError:
        missing.append("JAX")
    for name, call in peers.items():
        _same_gradient(name, ours(), call())
    r = np.cos(np.arange(b.size))
    transposed = A.T
    peers[_PRODUCTS] = lambda: (A @ x, transposed @ r)
    times = interleaved({"": ours} | peers, settings.repeat)
    here = milliseconds(times[""])
    table = []
    for name in peers:
        spread = ratio(times[name], times[""])
        barred = name != _PRODUCTS
        met = verdict(spread.median, lambda q: q >= _GRADIENT_BAR, settings.judged) if barred else ""
        bar = f">= {_GRADIENT_BAR:g}" if barred else ""
        there = milliseconds(times[name])
        table.append(Row(f"value_and_grad, {what}", here, name, there, with_range(spread), bar, met))
    return table + [Row(f"value_and_grad, {what}", here, f"{name}: not installed") for name in missing]


class _LeftMultiplied:
    """A for ``numpy_calls``: c @ A through the transposed matrix, which SciPy takes the faster way."""

    def __init__(self, A: Any):
        self.A, self.transposed = A, A.T

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        return self.A @ x

    def __rmatmul__(self, c: np.ndarray) -> np.ndarray:
        return self.transposed @ c

    __array_ufunc__ = None  # c @ A comes here, not to NumPy


def _jax_calls(A: Any, b: np.ndarray, x: np.ndarray) -> Iterator[tuple[str, Call]]:
    """Automatic differentiation through both of JAX's formats, compiled."""
    import jax
    import jax.numpy as jnp
    from jax.experimental import sparse as jax_sparse

    jax.config.update("jax_enable_x64", True)

    def loss(x, A, b):
        z = A @ x
        u = jnp.exp(z) + z
        c = u / u.sum() - b
        return 0.5 * (c @ c)

    for name, kind in (("BCOO", jax_sparse.BCOO), ("BCSR", jax_sparse.BCSR)):
        compiled = jax.jit(jax.value_and_grad(loss))
        arguments = jax.device_put((x, kind.from_scipy_sparse(A), b), jax.devices("cpu")[0])

        def call(compiled=compiled, arguments=arguments):
            return jax.block_until_ready(compiled(*arguments))

        yield f"JAX {jax.__version__}, {name}", call


def _grams(settings: Settings, problem: SoftResProblem, what: str) -> list[Row]:
    A, (n, d) = problem.A, problem.shape
    D = np.random.default_rng(n).standard_normal(n)
    point = problem.at(np.zeros(d))
    calls = {
        "Gram pass": lambda: walk(problem._source, passes.Gram.uncentred(D, d))[0],
        "to_dense": lambda: point.hessian().to_dense(),
    }
    here = dict(calls)
    try:
        import tabmat
    except ImportError:
        return [Row(f"{name}, {what}", "", "tabmat: not installed") for name in calls]
    theirs = tabmat.SparseMatrix(sparse.csc_array(A))
    wanted = theirs.sandwich(D)
    error = np.abs(np.triu(calls["Gram pass"]()[:d, :d]) - np.triu(wanted)).max() / np.abs(wanted).max()
    assert error <= 1e-11, f"weighted Gram matrices differ by {error:.1e}"
    beside = f"tabmat {tabmat.__version__}, SparseMatrix.sandwich"
    times = interleaved(here | {beside: lambda: theirs.sandwich(D)}, min(settings.repeat, 3))
    table = []
    for name in calls:
        spread = ratio(times[beside], times[name])
        met = verdict(spread.median, lambda q: q >= _GRAM_BAR, settings.judged)
        there = milliseconds(times[beside])
        mine = milliseconds(times[name])
        table.append(
            Row(f"{name}, {what}", mine, beside, there, with_range(spread), f">= {_GRAM_BAR:g}", met)
        )
    return table
