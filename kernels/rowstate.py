"""Passes over row state alone: z, b and what follows from them. A is not read.

A line search lives here: z moves to z + eta*y with y = A t known, so a trial step costs O(n) (MATH 4).
So does the curvature in z (MATH 3), which the Hessian kernels take as plain row vectors.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel, reduction
from .formula import BLOCK, COMMON_F64, exp, natural_shift, scaled_skip
from .gradient import longest_group

# Scalars of a slice along a line, in the order of ``sums``.
SHIFT, SUM_U, SUM_UU, SUM_UB, SUM_WZZ, SUM_YVU, SUM_YVB, SUM_YV, SUM_WZY = range(9)
N_LINE = 9


@reduction
def _line_terms(zb, yb, rows, b, w, start, ridged, skip, shift, sums):
    lam = scaled_skip(skip, shift)
    su = suu = sub = syvu = syvb = syv = swz = swy = 0.0
    for i in range(rows):
        e = exp(zb[i] - shift)
        u = e + lam * zb[i]
        yv = (e + lam) * yb[i]
        bi = b[start + i]
        su += u
        suu += u * u
        sub += u * bi
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
    sums[SUM_WZZ] += swz
    sums[SUM_YVU] += syvu
    sums[SUM_YVB] += syvb
    sums[SUM_YV] += syv
    sums[SUM_WZY] += swy


@kernel
def line_slice(z, y, eta, b, w, ridged, skip, sums):
    """Sums over rows of one group at z + eta*y: the loss, the normaliser and the derivative along y.

    z, y, b : (n,) float64; w : (n,) if ``ridged``; sums : (N_LINE,) float64, written.
    """
    n = z.size
    zb = np.empty(BLOCK)
    sums[:] = 0.0
    sums[SHIFT] = -np.inf
    for start in range(0, n, BLOCK):
        rows = min(BLOCK, n - start)
        for i in range(rows):
            zb[i] = z[start + i] + eta * y[start + i]
        shift = natural_shift(zb, 0, rows, skip, COMMON_F64)
        if shift > sums[SHIFT]:
            rescale_line(sums, shift)
        _line_terms(zb, y[start : start + rows], rows, b, w, start, ridged, skip, sums[SHIFT], sums)


@kernel
def rescale_line(sums, shift):
    """Raise the shift of a slice's sums."""
    if sums[SHIFT] != -np.inf:
        s = np.exp(sums[SHIFT] - shift)
        sums[SUM_U] *= s
        sums[SUM_UB] *= s
        sums[SUM_YVB] *= s
        sums[SUM_YV] *= s
        sums[SUM_UU] *= s * s
        sums[SUM_YVU] *= s * s
    sums[SHIFT] = shift


@kernel
def residual_slice(z, y, eta, b, skip, shift, alpha, sums):
    """<c, c>, <c, f>, <f, f> at z + eta*y for a known normaliser: no cancellation near a zero residual."""
    _residual_terms(z, y, eta, b, skip, shift, alpha, sums)


@reduction
def _residual_terms(z, y, eta, b, skip, shift, alpha, sums):
    lam = scaled_skip(skip, shift)
    scc = scf = sff = 0.0
    for i in range(z.size):
        zi = z[i] + eta * y[i]
        f = (exp(zi - shift) + lam * zi) / alpha
        c = f - b[i]
        scc += c * c
        scf += c * f
        sff += f * f
    sums[0] = scc
    sums[1] = scf
    sums[2] = sff


@reduction
def _line_group(z, y, eta, first, last, b, w, ridged, skip, shift, u, out):
    """alpha, s, loss and derivative along y of one whole group."""
    lam = scaled_skip(skip, shift)
    start, stop = np.uint64(first), np.uint64(last)
    for i in range(start, stop):
        u[i - start] = exp(z[i] + eta * y[i] - shift)
    alpha = 0.0
    for i in range(start, stop):
        alpha += u[i - start] + lam * (z[i] + eta * y[i])
    s = loss = along = av = 0.0
    for i in range(start, stop):
        e = u[i - start]
        f = (e + lam * (z[i] + eta * y[i])) / alpha
        c = f - b[i]
        yv = y[i] * (e + lam)
        s += c * f
        loss += c * c
        along += c * yv
        av += yv
    loss *= 0.5
    along = (along - s * av) / alpha
    if ridged:
        for i in range(start, stop):
            zi = z[i] + eta * y[i]
            loss += 0.5 * w[i] * zi * zi
            along += w[i] * zi * y[i]
    out[0] = alpha
    out[1] = s
    out[2] = loss
    out[3] = along


@kernel
def line_groups(z, y, eta, b, w, ridged, skip, ptr, alpha, shift, s, totals):
    """Loss and derivative along y at z + eta*y, summed over whole groups; their normalisers are written.

    ``totals`` (2,): loss with the row ridge, derivative. ``ptr`` starts at 0; alpha, shift, s: (g,).
    """
    longest = longest_group(ptr)
    u = np.empty(longest)
    zb = np.empty(longest)
    out = np.empty(4)
    totals[:] = 0.0
    for g in range(ptr.size - 1):
        first, last = ptr[g], ptr[g + 1]
        for i in range(first, last):
            zb[i - first] = z[i] + eta * y[i]
        shift[g] = natural_shift(zb, 0, last - first, skip, COMMON_F64)
        _line_group(z, y, eta, first, last, b, w, ridged, skip, shift[g], u, out)
        alpha[g] = out[0]
        s[g] = out[1]
        totals[0] += out[2]
        totals[1] += out[3]


@reduction
def _curvature_terms(z, first, last, b, w, ridged, skip, alpha, shift, s, D, h, va, terms):
    """Row vectors of at most ``BLOCK`` rows, and the sum of their kappa.

    kappa is sum of lam/alpha (lam (1 - z)^2/alpha + (z - 2) q) (MATH 3). The form with sum(e q)/alpha, which
    sum(f q) = 0 takes out, cancels where f is peaked: all but 7 digits went with it.

    The sum has a loop of its own (``_jit.reduction``).
    """
    start, stop = np.uint64(first), np.uint64(last)
    lam = scaled_skip(skip, shift)
    for i in range(start, stop):
        zi = z[i]
        e = exp(zi - shift)
        q = ((e + lam * zi) / alpha - b[i] - s) / alpha
        l1 = lam / alpha
        v = (e + lam) / alpha
        eq = e * q
        one = 1.0 - zi
        D[i] = eq + v * v
        h[i] = l1 * (v * one) - lam * q
        va[i] = v
        terms[i - start] = (l1 * one) * (l1 * one) + (lam * q) * (zi - 2.0)
    kappa = 0.0
    for i in range(stop - start):
        kappa += terms[i]
    if ridged:
        for i in range(start, stop):
            D[i] += w[i]
            h[i] += w[i]
        for i in range(start, stop):
            kappa += w[i]
    return kappa


@kernel
def curvature(z, b, w, ridged, skip, ptr, alpha, shift, s, D, h, va, kappa):
    """Row vectors of the centred Hessian (MATH 3): diagonal D, h, v/alpha, and kappa_0 of each group.

    All row arrays (n,) float64; ``ptr`` (g + 1,) from 0, the first and last group may be slices of longer
    ones, whose kappas add; alpha, shift, s, kappa : (g,).
    """
    terms = np.empty(BLOCK)
    for g in range(ptr.size - 1):
        kappa[g] = 0.0
        for first in range(ptr[g], ptr[g + 1], BLOCK):
            last = min(first + BLOCK, ptr[g + 1])
            kappa[g] += _curvature_terms(
                z, first, last, b, w, ridged, skip, alpha[g], shift[g], s[g], D, h, va, terms
            )


@kernel
def map_groups(z, skip, ptr, alpha, shift, f):
    """f = u / alpha for known normalisers; z and f may be the same array."""
    for g in range(ptr.size - 1):
        lam = scaled_skip(skip, shift[g])
        for i in range(ptr[g], ptr[g + 1]):
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
