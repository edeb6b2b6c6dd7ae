"""Passes over row state alone: z, b and what follows from them. A is not read.

A line search lives here: z moves to z + eta*y with y = A t known, so a trial step costs O(n) (MATH 4).
So does the curvature in z (MATH 3), which the Hessian kernels take as plain row vectors.
"""

from __future__ import annotations

import numpy as np

from . import simd
from ._jit import kernel, reduction
from .dense import dot, fill
from .formula import (
    BLOCK,
    CANCELS,
    COMMON_F64,
    exp,
    group_exponentials,
    largest,
    loss_of_sums,
    natural_shift,
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

# Sums over rows of one group along a line, in the order of ``sums``; as in ``gradient``, then with y = A t.
SHIFT, SUM_U, SUM_UU, SUM_UB, SUM_BB, SUM_WZZ, SUM_YVU, SUM_YVB, SUM_YV, SUM_WZY = range(10)
N_LINE = 10


@reduction
def _line_terms(zb, yb, rows, b, w, start, ridged, skip, kl, shift, sums):
    lam = scaled_skip(skip, shift)
    at = np.uint64(start)  # signed row numbers would not vectorise
    su = suu = sub = sbb = syvu = syvb = syv = swz = swy = 0.0
    if kl:
        for i in range(rows):
            e = exp(zb[i] - shift)
            bi = b[at + np.uint64(i)]
            su += e
            suu += bi
            sub += bi * zb[i]
            syvb += bi * yb[i]
            syv += e * yb[i]
    else:
        for i in range(rows):
            e = exp(zb[i] - shift)
            u = e + lam * zb[i]
            yv = (e + lam) * yb[i]
            bi = b[at + np.uint64(i)]
            su += u
            suu += u * u
            sub += u * bi
            sbb += bi * bi
            syvu += yv * u
            syvb += yv * bi
            syv += yv
    if ridged:
        for i in range(rows):
            wz = w[at + np.uint64(i)] * zb[i]
            swz += wz * zb[i]
            swy += wz * yb[i]
    sums[SUM_U] += su
    sums[SUM_UU] += suu
    sums[SUM_UB] += sub
    sums[SUM_BB] += sbb
    sums[SUM_WZZ] += swz
    sums[SUM_YVU] += syvu
    sums[SUM_YVB] += syvb
    sums[SUM_YV] += syv
    sums[SUM_WZY] += swy


@kernel
def rescale_line(sums, kl, shift):
    """Raise the shift of a group's sums."""
    if sums[SHIFT] != -np.inf:
        s = np.exp(sums[SHIFT] - shift)
        sums[SUM_U] *= s
        sums[SUM_YV] *= s
        if not kl:
            sums[SUM_UB] *= s
            sums[SUM_YVB] *= s
            sums[SUM_UU] *= s * s
            sums[SUM_YVU] *= s * s
    sums[SHIFT] = shift


@kernel
def merge_line(sums, more, kl):
    """Add the sums of a later slice of the same group."""
    shift = max(sums[SHIFT], more[SHIFT])
    if sums[SHIFT] < shift:
        rescale_line(sums, kl, shift)
    if more[SHIFT] < shift:
        rescale_line(more, kl, shift)
    for k in range(1, N_LINE):
        sums[k] += more[k]


@kernel
def finish_line(sums, kl, weight, answer):
    """``answer`` receives a whole group's alpha, shift, s, loss (row ridge included), derivative along y, the
    size that the data loss is a difference of, and the data loss, the last four times weight.
    """
    alpha = sums[SUM_U]
    s, loss, size = loss_of_sums(alpha, sums[SHIFT], sums[SUM_UU], sums[SUM_UB], sums[SUM_BB], kl)
    if kl:
        slope = s * (sums[SUM_YV] / alpha) - sums[SUM_YVB]
    else:
        slope = (sums[SUM_YVU] / alpha - sums[SUM_YVB] - s * sums[SUM_YV]) / alpha
    answer[0] = alpha
    answer[1] = sums[SHIFT]
    answer[2] = s
    answer[3] = weight * (loss + 0.5 * sums[SUM_WZZ])
    answer[4] = weight * (slope + sums[SUM_WZY])
    answer[5] = weight * size
    answer[6] = weight * loss


@reduction
def _line_groups(
    zb, y, E, ptr, group, stop, start, b, w, weight, ridged, skip, kl, shift, alpha, s, space, out
):  # fmt: skip
    """Whole groups ``group:stop`` of a block: normalisers, written to alpha and s (g,); ``out`` receives the
    loss, the row ridge's included, and the derivative along y. The block begins with row ``start`` of y, b
    and w; E holds exp(z - shift). Sums have loops of their own.
    """
    first = ptr[group]
    rows = ptr[stop] - first
    copied(b, start, rows, space, TARGET)
    copied(y, start, rows, space, RIDGE)
    spread_skip(skip, shift, ptr, group, stop, first, rows, space, LAM)
    for r in range(rows):
        space[TERM + r] = E[r] + space[LAM + r] * zb[r]
    for g in range(group, stop):
        here, there = ptr[g] - first, ptr[g + 1] - first
        alpha[g] = simd.segment_sum(space, TERM + here, TERM + there)
        simd.fill(space, NORM + here, NORM + there, 1.0 / alpha[g])
    if kl:
        for g in range(group, stop):
            here, there = ptr[g] - first, ptr[g + 1] - first
            simd.fill(space, LAM + here, LAM + there, np.log(alpha[g]) + shift[g])
            s[g] = simd.segment_sum(space, TARGET + here, TARGET + there)
            simd.fill(space, MEAN + here, MEAN + there, s[g])
        for r in range(rows):
            space[TERM + r] = space[TARGET + r] * (space[LAM + r] - zb[r])
            slope = space[MEAN + r] * (E[r] * space[NORM + r]) - space[TARGET + r]
            space[OTHER + r] = slope * space[RIDGE + r]
    else:
        for r in range(rows):
            f = space[TERM + r] * space[NORM + r]
            space[OTHER + r] = f - space[TARGET + r]
            space[TERM + r] = f * (f - space[TARGET + r])
        for g in range(group, stop):
            here, there = ptr[g] - first, ptr[g + 1] - first
            s[g] = simd.segment_sum(space, TERM + here, TERM + there)
            simd.fill(space, MEAN + here, MEAN + there, s[g])
        for r in range(rows):
            c = space[OTHER + r]
            slope = (E[r] + space[LAM + r]) * ((c - space[MEAN + r]) * space[NORM + r])
            space[TERM + r] = 0.5 * (c * c)
            space[OTHER + r] = slope * space[RIDGE + r]
    if ridged:
        copied(w, start, rows, space, TARGET)
        for r in range(rows):
            wz = space[TARGET + r] * zb[r]
            space[TERM + r] += 0.5 * (wz * zb[r])
            space[OTHER + r] += wz * space[RIDGE + r]
    if weight.size:
        spread(weight, group, ptr, group, stop, first, rows, space, NORM)
        for r in range(rows):
            space[TERM + r] *= space[NORM + r]
            space[OTHER + r] *= space[NORM + r]
    loss = along = 0.0
    for r in range(rows):
        loss += space[TERM + r]
        along += space[OTHER + r]
    out[0] = loss
    out[1] = along


@kernel
def line_rows(
    z, y, eta, b, w, weight, ptr, base, skip, kl, alpha, shift, s, totals, open_sums
):  # fmt: skip
    """Loss and derivative along y at z + eta*y over the groups of a chunk of row state.

    z, y, b, w, weight, ptr, base, kl: as for ``gradient.gradient_rows``. alpha, shift, s : (g,), written for
    whole groups. totals (2,): loss with the row ridge, derivative. open_sums (2, N_LINE): of a group that
    began before the chunk (0), or begins in it and ends after it (1).
    """
    n = z.size
    ridged = w.size > 0
    zb = work_space(BLOCK)
    E = work_space(BLOCK)
    space = work_space(COLUMNS * COLUMN)
    out = np.empty(7)
    own = np.empty((1, N_LINE))
    fill(totals, 0.0)
    group, groups = 0, ptr.size - 1
    while group < groups:
        start = max(ptr[group] - base, 0)
        cut = ptr[group] < base or ptr[group + 1] > base + n
        if not cut and ptr[group + 1] - ptr[group] <= BLOCK:
            stop = group + 1
            while stop < groups and ptr[stop + 1] - ptr[group] <= BLOCK and ptr[stop + 1] <= base + n:
                stop += 1
            rows = ptr[stop] - ptr[group]
            for i in range(rows):
                zb[i] = z[start + i] + eta * y[start + i]
            group_exponentials(zb, ptr, group, stop, skip, shift, E)
            _line_groups(
                zb, y, E, ptr, group, stop, start, b, w, weight, ridged, skip, kl, shift, alpha, s, space, out
            )  # fmt: skip
            totals[0] += out[0]
            totals[1] += out[1]
            group = stop
            continue

        end = min(ptr[group + 1] - base, n)
        sums = own[0]
        if cut:
            sums = open_sums[0 if ptr[group] < base else 1]
        fill(sums, 0.0)
        sums[SHIFT] = -np.inf
        for first in range(start, end, BLOCK):
            rows = min(BLOCK, end - first)
            for i in range(rows):
                zb[i] = z[first + i] + eta * y[first + i]
            higher = natural_shift(zb, 0, rows, skip, COMMON_F64)
            if higher > sums[SHIFT]:
                rescale_line(sums, kl, higher)
            _line_terms(zb, y[first : first + rows], rows, b, w, first, ridged, skip, kl, sums[SHIFT], sums)
        if not cut:
            importance = weight[group] if weight.size else 1.0
            finish_line(sums, kl, importance, out)
            alpha[group] = out[0]
            shift[group] = out[1]
            s[group] = out[2]
            totals[0] += out[3]
            totals[1] += out[4]
            if not kl and out[6] < CANCELS * out[5]:
                loss = out[6]
                residual_rows(z, y, eta, start, end, b, skip, shift[group], alpha[group], out)
                s[group] = out[1]
                totals[0] += importance * out[0] - loss
        group += 1


@kernel
def residual_rows(z, y, eta, start, end, b, skip, shift, alpha, sums):
    """½<c, c> and <c, f> at z + eta*y for rows of a group with a known normaliser: nothing cancels near a
    zero residual.
    """
    _residual_terms(z[start:end], y[start:end], eta, b[start:end], skip, shift, alpha, sums)


@reduction
def _residual_terms(z, y, eta, b, skip, shift, alpha, sums):
    lam = scaled_skip(skip, shift)
    scc = scf = 0.0
    for i in range(z.size):
        zi = z[i] + eta * y[i]
        f = (exp(zi - shift) + lam * zi) / alpha
        c = f - b[i]
        scc += c * c
        scf += c * f
    sums[0] = 0.5 * scc
    sums[1] = scf


@reduction
def _curvature_terms(z, E, first, last, at, b, w, ridged, skip, kl, alpha, shift, s, weight, D, h, va, terms):
    """Row vectors of rows of one group, and the sum of their kappa; E and ``terms`` begin at ``at``.

    kappa is sum of lam/alpha (lam (1 - z)^2/alpha + (z - 2) q) (MATH 3). The form with sum(e q)/alpha, which
    sum(f q) = 0 takes out, cancels where f is peaked: all but 7 digits went with it.

    The sum has a loop of its own (``_jit.reduction``).
    """
    start, stop, to = np.uint64(first), np.uint64(last), np.uint64(at)
    lam = scaled_skip(skip, shift)
    kappa = 0.0
    if kl:
        for i in range(start, stop):
            f = E[to + (i - start)] / alpha
            D[i] = s * f
            h[i] = 0.0
            va[i] = f
    else:
        for i in range(start, stop):
            zi = z[i]
            e = E[to + (i - start)]
            q = ((e + lam * zi) / alpha - b[i] - s) / alpha
            l1 = lam / alpha
            v = (e + lam) / alpha
            eq = e * q
            one = 1.0 - zi
            D[i] = eq + v * v
            h[i] = l1 * (v * one) - lam * q
            va[i] = v
            terms[to + (i - start)] = (l1 * one) * (l1 * one) + (lam * q) * (zi - 2.0)
        for j in range(to, to + (stop - start)):
            kappa += terms[j]
    if ridged:
        for i in range(start, stop):
            D[i] += w[i]
            h[i] += w[i]
        for i in range(start, stop):
            kappa += w[i]
    if weight != 1.0:
        for i in range(start, stop):
            D[i] *= weight
            h[i] *= weight
        kappa *= weight
    return kappa


@reduction
def _curvature_of_groups(
    z, E, ptr, group, stop, start, first, rows, b, w, weight, ridged, skip, kl, alpha, shift, s, D, h, va,
    kappa, space,
):  # fmt: skip
    """The same for a block of several groups ``group:stop``, which begins with row ``first`` of the problem
    and ``start`` of the chunk; to kappa (g,) their rows' parts are added. E is work space.
    """
    at = np.uint64(start)
    copied(z, start, rows, space, TERM)
    copied(b, start, rows, space, RIDGE)
    spread(shift, group, ptr, group, stop, first, rows, space, LAM)
    spread(alpha, group, ptr, group, stop, first, rows, space, NORM)
    spread(s, group, ptr, group, stop, first, rows, space, MEAN)
    for r in range(rows):
        E[r] = exp(space[TERM + r] - space[LAM + r])
    spread_skip(skip, shift, ptr, group, stop, first, rows, space, LAM)
    if kl:
        for r in range(rows):
            f = E[r] / space[NORM + r]
            space[OTHER + r] = space[MEAN + r] * f
            space[TARGET + r] = 0.0
            space[RIDGE + r] = f
            space[TERM + r] = 0.0
    else:
        for r in range(rows):
            zr, e, lam, alpha_r = space[TERM + r], E[r], space[LAM + r], space[NORM + r]
            q = ((e + lam * zr) / alpha_r - space[RIDGE + r] - space[MEAN + r]) / alpha_r
            l1 = lam / alpha_r
            v = (e + lam) / alpha_r
            one = 1.0 - zr
            space[OTHER + r] = e * q + v * v
            space[TARGET + r] = l1 * (v * one) - lam * q
            space[RIDGE + r] = v
            space[TERM + r] = (l1 * one) * (l1 * one) + (lam * q) * (zr - 2.0)
    if ridged:
        for r in range(rows):
            space[OTHER + r] += w[at + np.uint64(r)]
            space[TARGET + r] += w[at + np.uint64(r)]
            space[TERM + r] += w[at + np.uint64(r)]
    if weight.size:
        spread(weight, group, ptr, group, stop, first, rows, space, NORM)
        for r in range(rows):
            space[OTHER + r] *= space[NORM + r]
            space[TARGET + r] *= space[NORM + r]
            space[TERM + r] *= space[NORM + r]
    for r in range(rows):
        D[at + np.uint64(r)] = space[OTHER + r]
    for r in range(rows):
        h[at + np.uint64(r)] = space[TARGET + r]
    for r in range(rows):
        va[at + np.uint64(r)] = space[RIDGE + r]
    begin = 0
    for g in range(group, stop):
        end = min(ptr[g + 1] - first, rows)
        kappa[g] += simd.segment_sum(space, TERM + begin, TERM + end)
        begin = end


@kernel
def curvature(z, b, w, weight, ptr, base, skip, kl, alpha, shift, s, D, h, va, kappa):
    """Row vectors of the centred Hessian (MATH 3) over the groups of a chunk of row state.

    D, h, va : (n,) float64, written: its diagonal, h and v/alpha. kappa : (g,) float64, written: kappa_0 of
    each group's rows in the chunk; those of a cut group add up. Others as for ``gradient.gradient_rows``, the
    normalisers given.
    """
    n = z.size
    ridged = w.size > 0
    E = work_space(BLOCK)
    space = work_space(COLUMNS * COLUMN)
    terms = work_space(BLOCK)
    fill(kappa, 0.0)
    g = 0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        rows = stop - start
        while ptr[g + 1] - base <= start:
            g += 1
        after = g + 1
        while ptr[after] - base < stop:
            after += 1
        if after - g == 1:
            for r in range(rows):
                E[r] = exp(z[start + r] - shift[g])
            kappa[g] += _curvature_terms(
                z, E, start, stop, 0, b, w, ridged, skip, kl, alpha[g], shift[g], s[g],
                weight[g] if weight.size else 1.0, D, h, va, terms,
            )  # fmt: skip
            continue
        _curvature_of_groups(
            z, E, ptr, g, after, start, base + start, rows, b, w, weight, ridged, skip, kl, alpha, shift, s,
            D, h, va, kappa, space,
        )  # fmt: skip


@kernel
def map_rows(z, skip, ptr, base, alpha, shift, f):
    """f = u / alpha for known normalisers; z and f may be the same array."""
    for g in range(ptr.size - 1):
        lam = scaled_skip(skip, shift[g])
        for i in range(max(ptr[g] - base, 0), min(ptr[g + 1] - base, z.size)):
            f[i] = (exp(z[i] - shift[g]) + lam * z[i]) / alpha[g]


@reduction
def _sum_u(z, first, last, skip, shift):
    lam = scaled_skip(skip, shift)
    total = 0.0
    for i in range(first, last):
        total += exp(z[i] - shift) + lam * z[i]
    return total


@kernel
def normalisers(z, skip, ptr, alpha, shift):
    """alpha (times exp(-shift)) and shift of each group of z."""
    for g in range(ptr.size - 1):
        shift[g] = natural_shift(z, ptr[g], ptr[g + 1], skip, COMMON_F64)
        alpha[g] = _sum_u(z, ptr[g], ptr[g + 1], skip, shift[g])


@kernel
def change(z, before, y):
    """y = z - before; returns the largest abs(y_i), nan if one is no number, sum(y²), and largest
    abs(before_i). z (0,): y is given.
    """
    if z.size:
        for i in range(y.size):
            y[i] = z[i] - before[i]
    return largest(y, 0, y.size), dot(y, y), largest(before, 0, before.size)
