"""Every row vector of a point whose z and normalisers are known, in one sweep with one exponential a row:
the weights of the gradient and of its scales, and the Hessian's D, h and v/alpha (MATH 2, 3).

``gradient.column_sums`` and ``rowstate.curvature`` give the same for rows that come in chunks.
"""

from __future__ import annotations

import numpy as np

from ._jit import inline, kernel, reduction
from .formula import BLOCK, exp, scaled_skip

# A block's columns lie in one array at constant distances, so that LLVM tells them apart and vectorises.
_INV, _LAM, _SHIFT, _MEAN, _WEIGHT, _E, _F, _V, _GRAD, _SIZE, _D, _H, _KAPPA = (k * BLOCK for k in range(13))
_COLUMNS = 13


@inline
def _spread(values, of, first, rows, space, at):
    """Each row's group's value, one group or many."""
    if values.size == 1:
        value = values[0]
        for r in range(BLOCK):
            space[at + r] = value
    else:
        for r in range(rows):
            space[at + r] = values[of[first + r]]


@inline
def _squares(space, z, b, start, rows, skip):
    """Least squares. kappa is the sum of ``rowstate.curvature``, in the form that does not cancel."""
    o = np.uint64(start)
    for r in range(np.uint64(rows)):
        e, zr, br = exp(z[o + r] - space[_SHIFT + r]), z[o + r], b[o + r]
        inv, lam, s = space[_INV + r], space[_LAM + r], space[_MEAN + r]
        f, v = (e + lam * zr) * inv, (e + lam) * inv
        c = f - br - s
        q, l1, one = c * inv, lam * inv, 1.0 - zr
        space[_F + r] = f
        space[_V + r] = v
        space[_GRAD + r] = v * c
        space[_SIZE + r] = abs(v) * (abs(f) + abs(br) + abs(s))
        space[_D + r] = e * q + v * v
        space[_H + r] = l1 * (v * one) - lam * q
        space[_KAPPA + r] = (l1 * one) * (l1 * one) + (lam * q) * (zr - 2.0)


@inline
def _likelihood(space, z, b, start, rows):
    o = np.uint64(start)
    for r in range(np.uint64(rows)):
        f = exp(z[o + r] - space[_SHIFT + r]) * space[_INV + r]
        sf, br = space[_MEAN + r] * f, b[o + r]
        space[_F + r] = f
        space[_V + r] = f
        space[_GRAD + r] = sf - br
        space[_SIZE + r] = sf + br
        space[_D + r] = sf
        space[_H + r] = 0.0
        space[_KAPPA + r] = 0.0


@inline
def _copied(space, at, rows, out, start):
    o = np.uint64(start)
    for r in range(np.uint64(rows)):
        out[o + r] = space[np.uint64(at) + r]


@reduction
def _sum(values, first, last):
    total = 0.0
    for i in range(np.uint64(first), np.uint64(last)):
        total += values[i]
    return total


@kernel
def row_terms(z, b, w, weight, ptr, of, skip, kl, alpha, shift, s, f, va, grad, size, D, h, terms, kappa):
    """Row vectors at z for known normalisers.

    Parameters
    ----------
    z, b : (n,); w : (n,) row ridge, or (0,); weight : (G,) of the groups, or (0,)
    ptr : (G + 1,); of : (n,) intp, each row's group, not looked at where there is one
    alpha, shift, s : (G,)
    f, va : (n,), written: u/alpha and v/alpha
    grad, size : (n,), written: dL/dz, and the sum of the absolute terms that cancel in it
    D, h : (n,) or longer, written
    terms : (n,), work space; kappa : (G,), written: kappa_0
    """
    n, groups = z.size, alpha.size
    space = np.empty(_COLUMNS * BLOCK)
    inverse, lam = np.empty(groups), np.empty(groups)
    for g in range(groups):
        inverse[g] = 1.0 / alpha[g]
        lam[g] = scaled_skip(skip, shift[g])
    for start in range(0, n, BLOCK):
        rows = min(BLOCK, n - start)
        _spread(inverse, of, start, rows, space, _INV)
        _spread(lam, of, start, rows, space, _LAM)
        _spread(shift, of, start, rows, space, _SHIFT)
        _spread(s, of, start, rows, space, _MEAN)
        if kl:
            _likelihood(space, z, b, start, rows)
        else:
            _squares(space, z, b, start, rows, skip)
        if w.size:
            for r in range(rows):
                ridge = w[start + r]
                space[_GRAD + r] += ridge * z[start + r]
                space[_SIZE + r] += abs(ridge * z[start + r])
                space[_D + r] += ridge
                space[_H + r] += ridge
                space[_KAPPA + r] += ridge
        if weight.size:
            _spread(weight, of, start, rows, space, _WEIGHT)
            for at in (_GRAD, _SIZE, _D, _H, _KAPPA):
                for r in range(rows):
                    space[at + r] *= space[_WEIGHT + r]
        _copied(space, _F, rows, f, start)
        _copied(space, _V, rows, va, start)
        _copied(space, _GRAD, rows, grad, start)
        _copied(space, _SIZE, rows, size, start)
        _copied(space, _D, rows, D, start)
        _copied(space, _H, rows, h, start)
        _copied(space, _KAPPA, rows, terms, start)
    for g in range(groups):
        kappa[g] = _sum(terms, ptr[g], ptr[g + 1])
