"""Sums and copies over the groups of one block of rows.

Groups of a few rows are many: a loop over each costs a mispredicted branch and no vector is ever full. So
what belongs to a row is computed for all rows of a block, and what belongs to a group is summed over its rows
(``simd.segment_sum``) and copied back to them (``simd.fill``) sixteen rows at a time, whatever its size.
"""

from __future__ import annotations

import numpy as np

from . import simd
from ._jit import inline
from .formula import BLOCK, padded, scaled_skip

#: Rows of a column of a block's work space, with room for what ``simd.fill`` writes past its end.
COLUMN = BLOCK + simd.RUN
#: Where the columns begin. They lie in one array at constant distances, so that LLVM can tell them apart and
#: vectorises loops that write several.
LAM, NORM, MEAN, TERM, OTHER, TARGET, RIDGE = (k * COLUMN for k in range(7))
COLUMNS = 7


@inline
def copied(values, start, rows, space, at):
    """space[at + r] = values[start + r], the padding zero."""
    for r in range(rows, padded(rows)):
        space[at + r] = 0.0
    here = np.uint64(start)
    for r in range(rows):
        space[at + r] = values[here + np.uint64(r)]


@inline
def spread(values, own, ptr, group, stop, first, rows, space, at):
    """space[at + r] = values[own + g - group] for each row r of group g of a block of ``rows`` rows.

    Row ``first`` of the problem is the block's first; of ``group`` and ``stop - 1`` it may hold a part. The
    padding is filled as the last row, and up to ``simd.RUN`` more entries are overwritten.
    """
    last = stop - 1
    start = 0
    for g in range(group, last):
        end = ptr[g + 1] - first
        simd.fill(space, at + start, at + end, values[own + g - group])
        start = end
    simd.fill(space, at + start, at + padded(rows), values[own + last - group])


@inline
def spread_skip(skip, shift, ptr, group, stop, first, rows, space, at):
    """The same of skip * exp(-shift[g])."""
    last = stop - 1
    start = 0
    for g in range(group, last):
        end = ptr[g + 1] - first
        simd.fill(space, at + start, at + end, scaled_skip(skip, shift[g]))
        start = end
    simd.fill(space, at + start, at + padded(rows), scaled_skip(skip, shift[last]))
