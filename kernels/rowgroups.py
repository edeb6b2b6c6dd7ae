"""Sums and copies over the groups of one block of rows.

Groups of a few rows are many: a loop over each costs a mispredicted branch and no vector is ever full. So
what belongs to a row is computed for all rows of a block, and what belongs to a group is summed by row
(``segment_sums``) and copied back to the rows (``spread``), without a branch that depends on sizes.
"""

from __future__ import annotations

import numpy as np

from ._jit import inline, reduction
from .formula import BLOCK, padded

#: Where the columns of a block's work space begin. They lie in one array at constant distances, so that LLVM
#: can tell them apart and vectorises loops that write several.
LAM, NORM, MEAN, TERM, OTHER, TARGET, RIDGE = (k * BLOCK for k in range(7))
COLUMNS = 7
#: Rows a group from which a loop of its own vectorises better than sums by row.
_LONG = 24


@inline
def rows_of_groups(ptr, group, stop, first, rows, of):
    """of[r] = number, from ``group``, of the group of row ``first + r`` of a block within ``group:stop``.

    Padding belongs to the first.
    """
    for r in range(padded(rows)):
        of[r] = 0
    if stop - group == 1:
        return
    for g in range(group + 1, stop):
        of[ptr[g] - first] = 1
    total = 0
    for r in range(rows):
        total += of[r]
        of[r] = total


@inline
def copied(values, rows, space, at):
    """space[at + r] = values[r], the padding zero."""
    for r in range(rows, padded(rows)):
        space[at + r] = 0.0
    for r in range(rows):
        space[at + r] = values[r]


@inline
def spread(values, of, rows, space, at):
    """space[at + r] = values[of[r]], the padding too."""
    if of[rows - 1] == 0:
        value = values[0]
        for r in range(padded(rows)):
            space[at + r] = value
    else:
        for r in range(padded(rows)):
            space[at + r] = values[of[r]]


@reduction
def _sum(values, start, stop):
    total = 0.0
    for r in range(np.uint64(start), np.uint64(stop)):
        total += values[r]
    return total


@inline
def segment_sums(values, of, ptr, group, stop, first, rows, out):
    """out[g - group] = sum of ``values`` over the rows of g in the block."""
    count = stop - group
    if count * _LONG <= rows:
        for j in range(count):
            start, end = ptr[group + j] - first, ptr[group + j + 1] - first
            out[j] = _sum(values, max(start, 0), min(end, rows))
        return
    for j in range(count):
        out[j] = 0.0
    for r in range(rows):
        out[of[r]] += values[r]
