"""Value and gradient: every row of A is read once (MATH 2, 4, 5).

Rows come in groups, each with a normaliser of its own. A short group lies whole in a block and is finished
while its rows are in cache: one sum over the rows. The normaliser of a long group is known only at its
end: the gradient is linear in 1/alpha and s, so three (four) sums give it without knowing either. A
group that a chunk's borders cut leaves its sums open; they merge. ``column_sums`` serves a point where z,
and so every normaliser, is known already: one weighted sum of the rows, no dot product.
"""

from __future__ import annotations

import numpy as np

from . import simd
from . import storage as rows_of
from ._jit import inline, kernel, reduction
from .dense import assign, fill, fill_rows
from .formula import (
    BLOCK,
    CANCELS,
    exp,
    group_exponentials,
    loss_of_sums,
    natural_shift,
    padded,
    scaled_skip,
    work_space,
)
from .rowgroups import (
    COLUMN,
    COLUMNS,
    LAM,
    MEAN,
    NORM,
    OTHER,
    RIDGE,
    TARGET,
    TERM,
    copied,
    spread,
    spread_skip,
)

# Sums over rows of one group, in the order of ``sums``. Those of u carry exp(-SHIFT) or its square. For the
# likelihood SUM_UU is sum(b) and SUM_UB is sum(b z), both without a shift.
SHIFT, SUM_U, SUM_UU, SUM_UB, SUM_BB, SUM_WZZ = range(6)
N_SUMS = 6
#: Unsigned, as are the row numbers it is added to.
_B = np.uint64(BLOCK)


@inline
def run_of_groups(ptr, kept, group, most):
    """First group after ``group`` that is kept, or does not fit into a block of ``most`` rows begun there."""
    stop = group + 1
    while stop < ptr.size - 1 and kept[stop] < 0 and ptr[stop + 1] - ptr[group] <= most:
        stop += 1
    return stop


@reduction
def _slice_terms(zb, rows, b, w, start, ridged, skip, kl, shift, W, sums):
    """Weights of the three (four) sums of MATH 4 for one block, and its scalars added to ``sums``.

    b and w are read from row ``start`` on; slices of them would cost more than the block (``_jit``).
    ``zb`` is overwritten with u. Sums have loops of their own (``_jit.reduction``).
    """
    at = np.uint64(start)
    lam = scaled_skip(skip, shift)
    su = suu = sub = sbb = swz = 0.0
    if ridged:
        for i in range(rows):
            W[3 * BLOCK + i] = w[at + np.uint64(i)] * zb[i]
        for i in range(rows):
            swz += w[at + np.uint64(i)] * zb[i] * zb[i]
    if kl:
        for i in range(rows):
            sub += b[at + np.uint64(i)] * zb[i]
        for i in range(rows):
            e = exp(zb[i] - shift)
            W[i] = 0.0
            W[BLOCK + i] = b[at + np.uint64(i)]
            W[2 * BLOCK + i] = e
            zb[i] = e
        for i in range(rows):
            su += zb[i]
            suu += b[at + np.uint64(i)]
    else:
        for i in range(rows):
            e = exp(zb[i] - shift)
            u = e + lam * zb[i]
            v = e + lam
            W[i] = v * u
            W[BLOCK + i] = v * b[at + np.uint64(i)]
            W[2 * BLOCK + i] = v
            zb[i] = u
        for i in range(rows):
            u = zb[i]
            su += u
            suu += u * u
            sub += u * b[at + np.uint64(i)]
            sbb += b[at + np.uint64(i)] * b[at + np.uint64(i)]
    sums[SUM_U] += su
    sums[SUM_UU] += suu
    sums[SUM_UB] += sub
    sums[SUM_BB] += sbb
    sums[SUM_WZZ] += swz


@kernel
def rescale(sums, G, kl, shift):
    """Raise the shift of a group's sums."""
    if sums[SHIFT] == -np.inf:  # empty
        sums[SHIFT] = shift
        return
    s = np.exp(sums[SHIFT] - shift)
    sums[SHIFT] = shift
    sums[SUM_U] *= s
    if not kl:
        sums[SUM_UB] *= s
        sums[SUM_UU] *= s * s
    for j in range(G.shape[1]):
        G[0, j] *= s * s
        if not kl:
            G[1, j] *= s
        G[2, j] *= s


@inline
def _add(H, G):
    """G += H; Numba's own takes long to compile."""
    for k in range(G.shape[0]):
        for j in range(G.shape[1]):
            G[k, j] += H[k, j]


@kernel
def merge_sums(sums, G, more, H, kl):
    """Add the sums of a later slice of the same group."""
    shift = max(sums[SHIFT], more[SHIFT])
    if sums[SHIFT] < shift:
        rescale(sums, G, kl, shift)
    if more[SHIFT] < shift:
        rescale(more, H, kl, shift)
    for k in range(1, N_SUMS):
        sums[k] += more[k]
    _add(H, G)


@kernel
def finish_sums(sums, G, kl, weight, G_total, mean, answer):
    """A whole group's answers from its sums.

    ``G_total`` (d,) is added to, ``mean`` (d,) written, ``answer`` receives alpha, shift, s, data loss (times
    weight), loss of the row ridge (times weight), and the size that the data loss is a difference of.
    """
    alpha = sums[SUM_U]
    s, loss, size = loss_of_sums(alpha, sums[SHIFT], sums[SUM_UU], sums[SUM_UB], sums[SUM_BB], kl)
    d = mean.size
    for j in range(d):
        mean[j] = G[2, j] / alpha
    if kl:
        for j in range(d):
            G_total[j] += weight * (s * mean[j] - G[1, j] + G[3, j])
    else:
        for j in range(d):
            G_total[j] += weight * ((G[0, j] / alpha - G[1, j] - s * G[2, j]) / alpha + G[3, j])
    answer[0] = alpha
    answer[1] = sums[SHIFT]
    answer[2] = s
    answer[3] = weight * loss
    answer[4] = weight * 0.5 * sums[SUM_WZZ]
    answer[5] = weight * size


@reduction
def exact_loss(z, first, last, b, skip, alpha, shift, out):
    """½<c, c> and <c, f> of rows of a group with a known normaliser: nothing cancels near a zero residual."""
    lam = scaled_skip(skip, shift)
    start, stop = np.uint64(first), np.uint64(last)
    scc = scf = 0.0
    for i in range(start, stop):
        f = (exp(z[i] - shift) + lam * z[i]) / alpha
        c = f - b[i]
        scc += c * c
        scf += c * f
    out[0] = 0.5 * scc
    out[1] = scf


@inline
def _fetch_ahead(A, start, rows, quarter):
    """Ask for a quarter of the second half of the block after the one of ``rows`` rows from ``start`` on."""
    half = start + rows + rows // 2
    rows_of.fetch(A, half + quarter * rows // 8, half + (quarter + 1) * rows // 8)


@reduction
def _block_weights(
    A, zb, E, ptr, group, stop, start, b, w, weight, ridged, skip, kl, shift, common, alpha, s, W, space,
    state,
):  # fmt: skip
    """Whole groups ``group:stop`` of a block: normalisers, losses, and gradient weights dL/dz into ``W``.

    The block begins with row ``start`` of b and w; ``E`` holds exp(z - shift), and ``common`` says that no
    group has a shift. ``alpha`` and ``s`` (g,) are written; ``state`` receives the losses of the data and of
    the row ridge. ``space`` (COLUMNS * COLUMN,) is work space. Sums have loops of their own.

    This takes longer than both uses of A, which together fetch the next block: so here the half that the
    second use would fetch is asked for, a quarter at a time (without it 16 ns a row at d = 32, not 14.6).
    """
    first = ptr[group]
    rows = ptr[stop] - first
    up = padded(rows)
    _fetch_ahead(A, start, rows, 0)
    copied(b, start, rows, space, TARGET)
    if common:
        for r in range(up):
            space[LAM + r] = skip
    else:
        for g in range(group, stop):
            lam = scaled_skip(skip, shift[g])
            simd.fill(space, LAM + ptr[g] - first, LAM + ptr[g + 1] - first, lam)
    _fetch_ahead(A, start, rows, 1)
    for r in range(up):
        W[r] = E[r] + space[LAM + r] * zb[r]
    for g in range(group, stop):
        here, there = ptr[g] - first, ptr[g + 1] - first
        alpha[g] = simd.segment_sum(W, here, there)
        simd.fill(space, NORM + here, NORM + there, 1.0 / alpha[g])
    if kl:
        for g in range(group, stop):
            here, there = ptr[g] - first, ptr[g + 1] - first
            simd.fill(space, LAM + here, LAM + there, np.log(alpha[g]) + shift[g])
            s[g] = simd.segment_sum(space, TARGET + here, TARGET + there)
            simd.fill(space, MEAN + here, MEAN + there, s[g])
        for r in range(up):
            space[TERM + r] = space[TARGET + r] * (space[LAM + r] - zb[r])
            W[r] = space[MEAN + r] * (E[r] * space[NORM + r]) - space[TARGET + r]
    else:
        _fetch_ahead(A, start, rows, 2)
        for r in range(up):
            f = W[r] * space[NORM + r]
            W[r] = f - space[TARGET + r]
            space[TERM + r] = f * (f - space[TARGET + r])
        for g in range(group, stop):
            here, there = ptr[g] - first, ptr[g + 1] - first
            s[g] = simd.segment_sum(space, TERM + here, TERM + there)
            simd.fill(space, MEAN + here, MEAN + there, s[g])
        _fetch_ahead(A, start, rows, 3)
        for r in range(up):
            c = W[r]
            space[TERM + r] = 0.5 * (c * c)
            W[r] = (E[r] + space[LAM + r]) * ((c - space[MEAN + r]) * space[NORM + r])
    loss = ridge = 0.0
    if weight.size:
        spread(weight, group, ptr, group, stop, first, rows, space, OTHER)
        for r in range(up):
            space[TERM + r] *= space[OTHER + r]
            W[r] *= space[OTHER + r]
    for r in range(rows):
        loss += space[TERM + r]
    if ridged:
        copied(w, start, rows, space, RIDGE)
        for r in range(up):
            space[TERM + r] = space[RIDGE + r] * zb[r]
        if weight.size:
            for r in range(up):
                space[TERM + r] *= space[OTHER + r]
        for r in range(up):
            W[r] += space[TERM + r]
        for r in range(rows):
            ridge += space[TERM + r] * zb[r]
    state[0] = loss
    state[1] = 0.5 * ridge


@kernel
def gradient_rows(
    A, x, b, w, offset, weight, ptr, base, kept, skip, kl,
    z, alpha, shift, s, totals, G, means, open_sums, open_G,
):  # fmt: skip
    """Loss and gradient over the groups of a chunk of rows.

    Parameters
    ----------
    A : (n, d) C-contiguous, float32 or float64, or ``Csr``
    x : (d,) float64
    b : (n,) float64
    w : (n,) float64 row ridge, or (0,)
    offset : (n,) float64 added to A x, or (0,)
    weight : (g,) float64 of the groups, or (0,) for ones
    ptr : (g + 1,) intp, the groups' row offsets in the whole problem; the first and the last may begin before
        and end after the chunk
    base : int
        The chunk's first row.
    kept : (g,) intp, row in ``means`` of a group that is longer than ``BLOCK`` or cut by a chunk's border, -1
        for others
    skip : float
    kl : bool
        The likelihood -sum(b log f) instead of least squares.
    z : (n,) float64, written
    alpha, shift, s : (g,) float64, written for whole groups: normaliser (times exp(-shift)), its shift and
        <c, f> (for the likelihood sum(b))
    totals : (2,) float64, written: data loss and loss of the row ridge of whole groups
    G : (d,) float64, written: gradient of whole groups
    means : (k, d) float64, rows of whole kept groups written: A'v/alpha
    open_sums : (2, N_SUMS) and open_G : (2, 4, d), written for a cut group that began before the chunk (0) or
        begins in it (1): A'(vu), A'(vb), A'v, A'(wz)
    """
    n, d = rows_of.shape(A)
    ridged = w.size > 0
    largest = rows_of.common(A)
    step = rows_of.step(A)
    zb = work_space(BLOCK + simd.ROWS)
    fill(zb, 0.0)  # loops run into its padding
    E = work_space(BLOCK)
    W = work_space(BLOCK)
    space = work_space(COLUMNS * COLUMN)
    out = rows_of.weights(A)
    state = np.empty(6)
    fill(totals, 0.0)
    fill(G, 0.0)
    own_sums = np.empty((1, N_SUMS))
    own_G = np.empty((0, 4, d))
    group, groups = 0, ptr.size - 1
    while group < groups:
        if kept[group] < 0:
            stop = run_of_groups(ptr, kept, group, step)
            start, rows = ptr[group] - base, ptr[stop] - ptr[group]
            simd.fetch(b, start + 2 * rows, start + 3 * rows)
            simd.fetch_to_write(z, start + 2 * rows, start + 3 * rows)
            rows_of.dots(A, x, start, rows, rows, zb)
            if offset.size:
                for i in range(rows):
                    zb[i] += offset[start + i]
            for i in range(rows):
                z[start + i] = zb[i]
            common = group_exponentials(zb, ptr, group, stop, skip, shift, E)
            _block_weights(
                A, zb, E, ptr, group, stop, start, b, w, weight, ridged, skip, kl, shift, common, alpha, s, W,
                space, state,
            )  # fmt: skip
            totals[0] += state[0]
            totals[1] += state[1]
            for i in range(rows):
                out[i] = W[i]
            rows_of.add_rows_1(A, start, rows, out, rows, G)
            group = stop
            continue

        first, last = max(ptr[group] - base, 0), min(ptr[group + 1] - base, n)
        cut = ptr[group] < base or ptr[group + 1] > base + n
        if cut:
            slot = 0 if ptr[group] < base else 1
            sums, part = open_sums[slot], open_G[slot]
        else:
            if own_G.shape[0] == 0:
                own_G = np.empty((1, 4, d))
            sums, part = own_sums[0], own_G[0]
        fill(sums, 0.0)
        sums[SHIFT] = -np.inf
        acc = rows_of.accumulator(A, part)
        for start in range(first, last, step):
            rows = min(step, last - start)
            simd.fetch(b, start + 2 * step, start + 3 * step)
            rows_of.dots(A, x, start, rows, step, zb)
            if offset.size:
                for i in range(rows):
                    zb[i] += offset[start + i]
            for i in range(rows):
                z[start + i] = zb[i]
            higher = natural_shift(zb, 0, rows, skip, largest)
            if higher > sums[SHIFT]:
                rows_of.collect(A, acc, part)
                rescale(sums, part, kl, higher)
            _slice_terms(zb, rows, b, w, start, ridged, skip, kl, sums[SHIFT], out, sums)
            simd.fetch_to_write(z, start + 2 * step, start + 3 * step)
            if ridged:
                rows_of.add_rows_4(A, start, rows, out, step, acc)
            else:
                rows_of.add_rows_3(A, start, rows, out, step, acc)
        rows_of.collect(A, acc, part)
        if not cut:
            importance = weight[group] if weight.size else 1.0
            finish_sums(sums, part, kl, importance, G, means[kept[group]], state)
            alpha[group] = state[0]
            shift[group] = state[1]
            s[group] = state[2]
            totals[1] += state[4]
            if state[3] < CANCELS * state[5] and not kl:
                exact_loss(z, first, last, b, skip, state[0], state[1], state)
                s[group] = state[1]
                totals[0] += importance * state[0]
            else:
                totals[0] += state[3]
        group += 1


@reduction
def _known_weights(z, E, first, last, at, b, w, ridged, skip, kl, alpha, shift, s, weight, W):
    """Weights of ``column_sums`` for rows of one group, from column ``at`` of ``W``, as ``E`` is."""
    lam = scaled_skip(skip, shift)
    start, stop, to = np.uint64(first), np.uint64(last), np.uint64(at)
    if kl:
        for i in range(start, stop):
            j = to + (i - start)
            f = E[j] / alpha
            W[j] = s * f - b[i]
            W[_B + j] = f
            W[_B + _B + j] = s * f + b[i]
    else:
        for i in range(start, stop):
            j = to + (i - start)
            f = (E[j] + lam * z[i]) / alpha
            v = (E[j] + lam) / alpha
            bi = b[i]
            W[j] = v * (f - bi - s)
            W[_B + j] = v
            W[_B + _B + j] = abs(v) * (abs(f) + abs(bi) + abs(s))
    if ridged:
        for i in range(start, stop):
            j = to + (i - start)
            W[j] += w[i] * z[i]
            W[_B + _B + j] += abs(w[i] * z[i])
    if weight != 1.0:
        for j in range(to, to + (stop - start)):
            W[j] *= weight
            W[_B + _B + j] *= weight
    for j in range(to, to + (stop - start)):
        W[_B + _B + _B + j] = abs(W[j])


@reduction
def _known_weights_of_groups(
    z, E, ptr, group, stop, start, first, rows, b, w, weight, ridged, skip, kl, alpha, shift, s, space, W
):  # fmt: skip
    """The same for a block of several groups ``group:stop``, which begins with row ``first`` of the problem
    and ``start`` of the chunk. ``E`` is work space.
    """
    up = padded(rows)
    copied(z, start, rows, space, TERM)
    copied(b, start, rows, space, TARGET)
    if ridged:
        copied(w, start, rows, space, RIDGE)
    spread(shift, group, ptr, group, stop, first, rows, space, LAM)
    spread(alpha, group, ptr, group, stop, first, rows, space, NORM)
    spread(s, group, ptr, group, stop, first, rows, space, MEAN)
    for r in range(up):
        E[r] = exp(space[TERM + r] - space[LAM + r])
    spread_skip(skip, shift, ptr, group, stop, first, rows, space, LAM)
    if kl:
        for r in range(up):
            f = E[r] / space[NORM + r]
            W[r] = space[MEAN + r] * f - space[TARGET + r]
            W[_B + r] = f
            W[_B + _B + r] = space[MEAN + r] * f + space[TARGET + r]
    else:
        for r in range(up):
            f = (E[r] + space[LAM + r] * space[TERM + r]) / space[NORM + r]
            v = (E[r] + space[LAM + r]) / space[NORM + r]
            W[r] = v * (f - space[TARGET + r] - space[MEAN + r])
            W[_B + r] = v
            W[_B + _B + r] = abs(v) * (abs(f) + abs(space[TARGET + r]) + abs(space[MEAN + r]))
    if ridged:
        for r in range(up):
            W[r] += space[RIDGE + r] * space[TERM + r]
            W[_B + _B + r] += abs(space[RIDGE + r] * space[TERM + r])
    if weight.size:
        spread(weight, group, ptr, group, stop, first, rows, space, LAM)
        for r in range(up):
            W[r] *= space[LAM + r]
            W[_B + _B + r] *= space[LAM + r]
    for r in range(up):
        W[_B + _B + _B + r] = abs(W[r])


@kernel
def column_sums(
    A, z, b, w, weight, ptr, base, kept, skip, kl, alpha, shift, s, G, means, open_means
):  # fmt: skip
    """Gradient where z is known, and the scales it is judged by (MATH 7), in one read without a dot product.

    Parameters as for ``gradient_rows``; the normalisers are given. ``G`` (4, d) receives A'dL/dz, A'v/alpha,
    abs(A)' of the terms that cancel in dL/dz, which are v(abs(f) + abs(b) + abs(s))/abs(alpha) + w abs(z),
    and abs(A)'abs(dL/dz). ``means``: rows of whole kept groups are written; ``open_means`` (2, d): of cut
    ones, to be added to those of neighbouring chunks.
    """
    n, d = rows_of.shape(A)
    ridged = w.size > 0
    step = rows_of.step(A)
    E = work_space(BLOCK)
    space = work_space(COLUMNS * COLUMN)
    W = rows_of.weights(A)
    part = np.empty((4, d))
    fill_rows(G, 0.0)
    group, groups = 0, ptr.size - 1
    while group < groups:
        stop = group + 1
        if kept[group] < 0:
            while stop < groups and kept[stop] < 0:
                stop += 1
        begin, end = max(ptr[group] - base, 0), min(ptr[stop] - base, n)
        acc = rows_of.accumulator(A, part)
        g = group
        for start in range(begin, end, step):
            rows = min(step, end - start)
            while ptr[g + 1] - base <= start:
                g += 1
            after = g + 1
            while ptr[after] - base < start + rows:
                after += 1
            if after - g == 1:
                for r in range(rows):
                    E[r] = exp(z[start + r] - shift[g])
                _known_weights(
                    z, E, start, start + rows, 0, b, w, ridged, skip, kl, alpha[g], shift[g], s[g],
                    weight[g] if weight.size else 1.0, W,
                )  # fmt: skip
                rows_of.add_rows_2_2(A, start, rows, W, step, acc)
                continue
            _known_weights_of_groups(
                z, E, ptr, g, after, start, base + start, rows, b, w, weight, ridged, skip, kl, alpha, shift,
                s, space, W,
            )  # fmt: skip
            rows_of.add_rows_2_2(A, start, rows, W, step, acc)
        rows_of.collect(A, acc, part)
        if kept[group] >= 0:
            if ptr[group] < base:
                assign(open_means[0], part[1])
            elif ptr[group + 1] > base + n:
                assign(open_means[1], part[1])
            else:
                assign(means[kept[group]], part[1])
        _add(part, G)
        group = stop
