"""Is every entry of a block of rows finite?"""

from __future__ import annotations

from . import storage as rows_of
from ._jit import kernel, reduction


@reduction
def _zero_times(flat):
    """0 where all is finite, else nan: a sum that vectorises and that no order of summation changes."""
    total = flat.dtype.type(0)
    for i in range(flat.size):
        total += flat[i] * flat.dtype.type(0)
    return total


@kernel
def finite_rows(A):
    """Whether the stored entries of A (n, d) have no nan or inf."""
    return _zero_times(rows_of.entries(A)) == 0.0
