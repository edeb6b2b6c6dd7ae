"""Is there room for a d x d matrix?"""

from __future__ import annotations

import os


def physical_memory() -> int | None:
    """Bytes of memory of this machine, None where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def affordable(d: int) -> None:
    """Raise MemoryError if this machine has no room for a d x d matrix and what is merged into it."""
    memory, needed = physical_memory(), 2 * 8 * d * d
    if memory is not None and needed > memory:
        raise MemoryError(
            f"a {d} x {d} matrix and its parts take {needed / 1e9:.3g} GB, more than the "
            f"{memory / 1e9:.3g} GB of this machine: use products (hessp, or the Hessian as a linear "
            "operator), and "
            "method='newton-cg' or 'lbfgs' to solve"
        )
