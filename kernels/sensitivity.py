"""What each row weighs in the parts of the Hessian, and its leverage there (docs/sampling.md)."""

from __future__ import annotations

import numpy as np

from ._jit import kernel, reduction


@reduction
def _square(Y, k, start, rows, r, mean, out):
    """out[i] += (Y[k, i] - r_i mean)² for ``rows`` rows from ``start`` on."""
    at, row = np.uint64(start), np.uint64(k)
    for i in range(rows):
        j = at + np.uint64(i)
        y = Y[row, j] - r[i] * mean
        out[j] += y * y


@kernel
def squared_norms(Y, means, va, z, per, ptr, base, gauss_newton, centred, plain):
    """Squared norms of the rows, transformed to k numbers each, about the means of their groups.

    Parameters
    ----------
    Y : (k, n) float64
    means : (g, k) float64
    va, z : (n,) float64, v/alpha and z
    per : (g,) float64, skip/alpha
    ptr, base : as for ``gradient.gradient_rows``
    gauss_newton : (n,) float64, written: about u/v times the mean; about the mean where ``centred`` is (0,)
    centred : (n,) float64 or (0,), written: about the mean
    plain : (n,) float64 or (0,), written: about 0
    """
    many, n = Y.shape
    r, one, zero = np.empty(256), np.ones(256), np.zeros(256)
    for g in range(ptr.size - 1):
        for start in range(max(ptr[g] - base, 0), min(ptr[g + 1] - base, n), 256):
            rows = min(256, min(ptr[g + 1] - base, n) - start)
            for i in range(start, start + rows):
                gauss_newton[i] = 0.0
                v = va[i] if va[i] != 0.0 else 1.0
                r[i - start] = (va[i] - (1.0 - z[i]) * per[g]) / v if centred.size else 1.0
            for k in range(many):
                _square(Y, k, start, rows, r, means[g, k], gauss_newton)
            if centred.size:
                for i in range(start, start + rows):
                    centred[i] = 0.0
                for k in range(many):
                    _square(Y, k, start, rows, one, means[g, k], centred)
            if plain.size:
                for i in range(start, start + rows):
                    plain[i] = 0.0
                for k in range(many):
                    _square(Y, k, start, rows, zero, 0.0, plain)


@reduction
def _weigh(D, va, w, start, stop, weight, kl, gauss_newton, centred, plain, out):
    """The scores of some rows of one group."""
    ridged, alone, apart = w.size > 0, gauss_newton.size == 0, centred.size > 0
    first, last = np.uint64(start), np.uint64(stop)
    for i in range(first, last):
        ridge = weight * w[i] if ridged else 0.0
        smooth = D[i] - ridge
        part = smooth if kl else va[i] * va[i] * weight
        rest = abs(smooth - part)
        if alone:
            out[i] = part + rest + ridge
        else:
            score = part * gauss_newton[i] + rest * (centred[i] if apart else gauss_newton[i])
            if ridged:
                score += ridge * plain[i]
            out[i] = min(score, 1.0)  # a direction that the last sample missed has no scale


@reduction
def _total(v):
    """The sum, in any order (``dense.total`` keeps the rows' and does not vectorise)."""
    total = 0.0
    for i in range(v.size):
        total += v[i]
    return total


@kernel
def scores(D, va, w, weight, ptr, base, kl, gauss_newton, centred, plain, out):
    """Weights of the rows' parts of the Hessian times their squared norms, at most 1 each; returns the sum.

    Parameters
    ----------
    D, va : (n,) float64, from ``rowstate.curvature``
    w : (n,) float64 row ridge, or (0,)
    weight : (g,) float64 or (0,)
    ptr, base : as for ``gradient.gradient_rows``
    kl : bool
    gauss_newton, centred, plain : (n,) or (0,), from ``squared_norms``. No norms: all are 1, without a bound.
    out : (n,) float64, written
    """
    n = D.size
    for g in range(ptr.size - 1):
        own = weight[g] if weight.size else 1.0
        start, stop = max(ptr[g] - base, 0), min(ptr[g + 1] - base, n)
        _weigh(D, va, w, start, stop, own, kl, gauss_newton, centred, plain, out)
    return _total(out)


@reduction
def _squares(z, per):
    """sum (1 - z)² per²."""
    squares = 0.0
    for i in range(z.size):
        part = (1.0 - z[i]) * per
        squares += part * part
    return squares


@kernel
def rest(z, va, h, w, per, weight, out):
    """out = h - weight (va (1 - z) per + w), h less what the Gauss-Newton rows have of it.

    ``w`` (n,) or (0,). Returns sum (1 - z)² per² + w and the sum of ``out``.
    """
    for i in range(z.size):
        out[i] = h[i] - weight * (va[i] * ((1.0 - z[i]) * per))
    for i in range(w.size):
        out[i] -= weight * w[i]
    return _squares(z, per) + _total(w), _total(out)


@kernel
def locate(chance, start, stop, before, targets, found):
    """Rows of ``start:stop`` in which the sum of ``chance``, begun at ``before``, passes ascending targets.

    One that it does not pass, by rounding, is given to the last row that has a chance.
    """
    row = at = start
    total = 0.0
    for k in range(targets.size):
        while at < stop and total <= targets[k] - before:
            if chance[at] > 0.0:
                row = at
            total += chance[at]
            at += 1
        found[k] = row
