"""How much memory a fit of rows in files may use, and the size of a block that follows from it.

Counted: the buffers of blocks, what a format keeps to decode one, the state of rows (n-vectors) and of
groups, the sums of a pass, the d x d matrices of a step, and the sample of rows that starts and
preconditioners are formed on. Not counted: the interpreter and its libraries, compiled kernels, arrays of
the caller's own, and the system's page cache.
"""

from __future__ import annotations

import re
from typing import Any

from .. import _threads
from .source import BlockRows

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
#: n-vectors alive at once in a solve: b; z at the two lowest starts and at the best point; D, h, v/alpha; A
#: t, the next z, and three temporaries of NumPy's. Measured by tests/test_budget.py.
ROW_VECTORS = 12
#: Vectors of one number a group: three normalisers of each of four points, kappa, two offsets, weights,
#: temporaries.
GROUP_VECTORS = 18
#: d x d matrices of a step beside the sums of each thread: metric, Hessian, whitening, factors, eigenvectors.
_MATRICES = 10
#: Rows of the sample that starts are formed on (``solvers.starts``), or of a preconditioner.
_SAMPLE = 20_000
#: A block of fewer bytes is not worth the work of handing it over.
_LEAST = 128 << 10


def in_bytes(limit: Any) -> int:
    """A number of bytes from 512000000, "512MB" or "0.5 GiB"."""
    if isinstance(limit, str):
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-z]*)\s*", limit)
        if match and match[2].upper() in _UNITS:
            return int(float(match[1]) * _UNITS[match[2].upper()])
        raise ValueError(
            f"memory_limit must be a number of bytes or a size like '512MB' or '4GiB', got {limit!r}"
        )
    if isinstance(limit, bool) or not hasattr(limit, "__index__"):
        raise TypeError(f"memory_limit must be a number of bytes or a size like '512MB', got {limit!r}")
    if limit <= 0:
        raise ValueError(f"memory_limit must be positive, got {limit}")
    return int(limit)


def plan(source: BlockRows, limit: Any, groups: int, buffers: int) -> None:
    """Choose the source's blocks so that a fit stays within the limit."""
    limit = in_bytes(limit)
    n, d = source.n, source.d
    threads = _threads.get_num_threads()
    sample = min(n, max(_SAMPLE, 16 * d))
    counted = {
        f"{ROW_VECTORS} numbers a row": 8 * ROW_VECTORS * n,
        "numbers a group": 8 * GROUP_VECTORS * groups if groups > 1 else 0,
        "sums and matrices": 8 * d * d * (_MATRICES + 2 * threads) + threads * (2 << 20),
        f"a sample of {sample} rows": sample * source.row_bytes,
        "what the format keeps": source.fixed,
    }
    copies = buffers * (1 + source.held) if source.shared else buffers + source.held
    size = (limit - sum(counted.values())) // copies
    unit = source.unit * source.row_bytes
    least = max(unit, min(_LEAST, n * source.row_bytes))
    if size < least:
        parts = ", ".join(f"{what} {size / 1e6:.1f} MB" for what, size in counted.items() if size)
        raise ValueError(
            f"memory_limit must be at least {(sum(counted.values()) + copies * least) / 1e6:.1f} MB for "
            f"{n} rows "
            f"and {d} columns of {source.name}, got {limit / 1e6:.1f} MB: {parts}, {copies} blocks of "
            f"{least / 1e6:.1f} MB"
        )
    source.buffers = buffers
    source.cut(min(size, max(source.usual, unit)))
