"""Passes over row state alone: z, b and what follows from them. A is not read.

A line search lives here: z moves to z + eta*y with y = A t known, so a trial step costs O(n) (MATH 4).
So does the curvature in z (MATH 3), which the Hessian kernels take as plain row vectors.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel, reduction
from .formula import (
    BLOCK,
    CANCELS,
    COMMON_F64,
    exp,
    group_exponentials,
    loss_of_sums,
    natural_shift,
    scaled_skip,
)

# Sums over rows of one group along a line, in the order of ``sums``; as in ``gradient``, then those with y = A t.
SHIFT, SUM_U, SUM_UU, SUM_UB, SUM_BB, SUM_WZZ, SUM_YVU, SUM_YVB, SUM_YV, SUM_WZY = range(10)
N_LINE = 10


@reduction
def _line_terms(zb, yb, rows, b, w, start, ridged, skip, kl, shift, sums):
    lam = scaled_skip(skip, shift)
    su = suu = sub = sbb = syvu = syvb = syv = swz = swy = 0.0
    if kl:
        for i in range(rows):
            e = exp(zb[i] - shift)
            bi = b[start + i]
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
            bi = b[start + i]
            su += u
            suu += u * u
            sub += u * bi
            sbb += bi * bi
            syvu += yv * u
            syvb += yv * bi
            syv += yv
    if ridged:
        for i in range(rows):
            wz = w[start + i] * zb[i]
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
    """``answer`` receives a whole group's alpha, shift, s, loss (times weight, row ridge included), derivative along
    y (times weight), and the size that the data loss is a difference of.
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
def _line_group(zb, yb, E, first, last, b, w, ridged, skip, kl, shift, out):
    """alpha, s, loss and derivative along y of one whole group of a block; E holds exp(z - shift)."""
    lam = scaled_skip(skip, shift)
    start, stop = np.uint64(first), np.uint64(last)
    alpha = s = loss = along = av = 0.0
    for i in range(start, stop):
        alpha += E[i] + lam * zb[i]
    if kl:
        log_alpha = np.log(alpha) + shift
        for i in range(start, stop):
            s += b[i]
            loss += b[i] * (log_alpha - zb[i])
            av += E[i] * yb[i]
            along += b[i] * yb[i]
        along = s * (av / alpha) - along
    else:
        for i in range(start, stop):
            f = (E[i] + lam * zb[i]) / alpha
            c = f - b[i]
            yv = yb[i] * (E[i] + lam)
            s += c * f
            loss += c * c
            along += c * yv
            av += yv
        loss *= 0.5
        along = (along - s * av) / alpha
    if ridged:
        for i in range(start, stop):
            loss += 0.5 * w[i] * zb[i] * zb[i]
            along += w[i] * zb[i] * yb[i]
    out[0] = alpha
    out[1] = s
    out[2] = loss
    out[3] = along


@kernel
def line_rows(
    z, y, eta, b, w, weight, ptr, base, skip, kl, alpha, shift, s, totals, open_sums
):  # fmt: skip
    """Loss and derivative along y at z + eta*y over the groups of a chunk of row state.

    z, y, b, w, weight, ptr, base, kl: as for ``gradient.gradient_rows``. alpha, shift, s : (g,), written for whole
    groups. totals (2,): loss with the row ridge, derivative. open_sums (2, N_LINE): of a group that began before
    the chunk (0), or begins in it and ends after it (1).
    """
    n = z.size
    ridged = w.size > 0
    zb = np.empty(BLOCK)
    E = np.empty(BLOCK)
    out = np.empty(7)
    own = np.empty((1, N_LINE))
    totals[:] = 0.0
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
            end = start + rows
            yb, bb = y[start:end], b[start:end]
            wb = w[start:end] if ridged else w
            for g in range(group, stop):
                first, last = ptr[g] - ptr[group], ptr[g + 1] - ptr[group]
                _line_group(zb, yb, E, first, last, bb, wb, ridged, skip, kl, shift[g], out)
                alpha[g] = out[0]
                s[g] = out[1]
                importance = weight[g] if weight.size else 1.0
                totals[0] += importance * out[2]
                totals[1] += importance * out[3]
            group = stop
            continue

        end = min(ptr[group + 1] - base, n)
        sums = own[0]
        if cut:
            sums = open_sums[0 if ptr[group] < base else 1]
        sums[:] = 0.0
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
    """½<c, c> and <c, f> at z + eta*y for rows of a group whose normaliser is known: nothing cancels near a zero
    residual.
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


@kernel
def curvature(z, b, w, weight, ptr, base, skip, kl, alpha, shift, s, D, h, va, kappa):
    """Row vectors of the centred Hessian (MATH 3) over the groups of a chunk of row state.

    D, h, va : (n,) float64, written: its diagonal, h and v/alpha. kappa : (g,) float64, written: kappa_0 of each
    group's rows in the chunk; those of a cut group add up. Others as for ``gradient.gradient_rows``, the
    normalisers given.
    """
    n = z.size
    ridged = w.size > 0
    E = np.empty(BLOCK)
    terms = np.empty(BLOCK)
    kappa[:] = 0.0
    group = 0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        here, i = group, start
        while i < stop:
            while ptr[here + 1] - base <= i:
                here += 1
            last = min(ptr[here + 1] - base, stop)
            for r in range(i, last):
                E[r - start] = z[r] - shift[here]
            i = last
        for r in range(stop - start):
            E[r] = exp(E[r])
        i = start
        while i < stop:
            while ptr[group + 1] - base <= i:
                group += 1
            last = min(ptr[group + 1] - base, stop)
            kappa[group] += _curvature_terms(
                z, E, i, last, i - start, b, w, ridged, skip, kl, alpha[group], shift[group], s[group],
                weight[group] if weight.size else 1.0, D, h, va, terms,
            )  # fmt: skip
            i = last


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
