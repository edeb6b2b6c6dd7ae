"""What is installed and how it runs; compiling ahead of time."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

logger = logging.getLogger("fastsoftres")

#: Beside the core: what extras and comparisons use.
_PACKAGES = (
    "numba", "llvmlite", "numpy", "scipy", "click", "tqdm", "matplotlib", "narwhals", "pandas", "polars",
    "pyarrow", "zarr", "dask", "distributed", "scikit-learn",
)  # fmt: skip


def information() -> dict[str, Any]:
    """Versions, threads, vector width, BLAS and cache folder, as numbers and strings."""
    from . import __version__
    from ._threads import get_num_threads
    from .kernels import formula, simd

    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    from .kernels import gradient

    cache = getattr(getattr(gradient.gradient_rows, "_cache", None), "_cache_path", None)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "fastsoftres": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "threads": get_num_threads(),
        "vector_bits": 8 * simd.VECTOR_BYTES,
        "block_bytes": formula.BLOCK_BYTES,
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "cache": None if cache is None else str(cache),
    }


def show_versions() -> None:
    """Print what a bug report needs: versions, threads, BLAS, the folder of compiled kernels.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> fs.show_versions()  # doctest: +ELLIPSIS
    fastsoftres ...
    """
    told = information()
    packages = told.pop("packages")
    for name, value in told.items():
        print(f"{name:<12} {value}")
    for name, version in packages.items():
        print(f"{name:<12} {version or '-'}")


def warmup(*, dtypes: Any = ("float64", "float32"), progress: Callable[[str], Any] | None = None) -> float:
    """Compile and cache the kernels that fits need, so that later calls and other processes find them.

    Parameters
    ----------
    dtypes : sequence of "float64" and "float32", optional
        Storage types of A to compile for.
    progress : callable, optional
        Called with a line of text before each part, e.g. ``print``.

    Returns
    -------
    float
        Seconds that it took; a fraction of one when all was cached.

    Raises
    ------
    ValueError
        If a type is neither.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> fs.warmup(dtypes=["float64"]) >= 0.0
    True
    """
    chosen = [np.dtype(dtype) for dtype in dtypes]
    for dtype in chosen:
        if dtype not in (np.float64, np.float32):
            raise ValueError(f"dtypes must be float64 or float32, got {dtype}")
    start = time.perf_counter()
    for what, call in _parts(chosen):
        if progress is not None:
            progress(what)
        logger.info("warm-up: %s", what)
        call()
    return time.perf_counter() - start


def _parts(dtypes: list[np.dtype]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Small jobs that reach every kernel."""
    from . import SoftResProblem, softres, solve

    rng = np.random.default_rng(0)
    A = rng.standard_normal((600, 5))
    f = softres(A[:300] @ np.full(5, 0.2), skip=0)
    for dtype in dtypes:
        B = A.astype(dtype)

        def fit(B: np.ndarray = B, **options: Any) -> None:
            problem = SoftResProblem(B, np.concatenate([f, f]), group_ptr=[0, 300, 600], **options)
            for method in ("newton", "newton-cg"):
                solve(problem, np.zeros(5), method=method, maxiter=2)
            problem.at(np.zeros(5)).hessp(np.eye(5))

        def choose(B: np.ndarray = B) -> None:
            for skip in (1.0, 0.0):
                problem = SoftResProblem(B[:300], f, skip=skip)
                solve(problem)
                solve(problem, method="newton-cg")
                problem.hessian(np.zeros(5)).to_dense()

        yield f"fits, {dtype}", fit
        yield f"penalties, {dtype}", functools.partial(fit, row_ridge=1e-3)
        yield f"choice of start, {dtype}", choose
