"""One column's fit on a weighted sample of rows: a start, and the Cholesky factor of its Hessian there.

The objective is that of the problem with every sum over rows replaced by its estimate from the sample, row i
counting omega_i times. At a few thousand rows it determines x up to the sampling error, and its Hessian
approximates that of all rows: a preconditioner. As in ``targets`` there is no shift.
"""

from __future__ import annotations

import numpy as np

from . import dense, gram, product, simd
from ._jit import inline, kernel, owner, reduction
from .formula import COMMON_F64, exp, largest

#: Pivots below this share of their diagonal entry are rounding (``solvers/factor.py`` has the same).
_PIVOT = 1e-10
#: A column of A whose centred square is below this share of its square is constant, up to rounding.
_STILL, _STILL_F32 = 1e-20, 1e-12
#: No z_i moves further than this in one step.
_CAP = 5.0
#: The sample is fitted where a Newton step promises less than this share of the objective: the sampling error
#: is larger. At a perfect fit, of ½ sum(omega b²).
_FITTED = 1e-2
_EXACT = 1e-14
_MAX_HALVINGS = 30

# Entries of ``state`` and ``out``.
ALPHA, S, LOSS = range(3)


@reduction
def _objective(z, b, omega, w, skip, kl, u, state):
    """alpha, s and the objective of the rows; u is work space."""
    ridged = w.size > 0
    alpha = s = loss = ridge = 0.0
    for i in range(z.size):
        u[i] = exp(z[i]) + skip * z[i]
    for i in range(z.size):
        alpha += omega[i] * u[i]
    if kl:
        for i in range(z.size):
            s += omega[i] * b[i]
        for i in range(z.size):
            loss -= omega[i] * (b[i] * z[i])
        loss += s * np.log(alpha)
    else:
        for i in range(z.size):
            f = u[i] / alpha
            c = f - b[i]
            s += omega[i] * (c * f)
            loss += omega[i] * (c * c)
        loss *= 0.5
    if ridged:
        for i in range(z.size):
            ridge += omega[i] * (w[i] * z[i] * z[i])
    state[ALPHA] = alpha
    state[S] = s
    state[LOSS] = loss + 0.5 * ridge


@reduction
def _row_vectors(z, b, omega, w, skip, kl, alpha, s, f, va, wa, W, D, h, terms):
    """MATH 2, 3 with row weights: f and v/alpha; weighted v/alpha, dL/dz, D and h. Returns kappa_0."""
    ridged = w.size > 0
    kappa = 0.0
    if kl:
        for i in range(z.size):
            f[i] = exp(z[i]) / alpha
            va[i] = f[i]
            W[i] = omega[i] * (s * f[i] - b[i])
            D[i] = omega[i] * (s * f[i])
            h[i] = 0.0
            terms[i] = 0.0
    else:
        for i in range(z.size):
            e = exp(z[i])
            fi = (e + skip * z[i]) / alpha
            v = (e + skip) / alpha
            q = fi - b[i] - s
            f[i] = fi
            va[i] = v
            W[i] = omega[i] * (v * q)
        for i in range(z.size):
            e = exp(z[i])
            q = (f[i] - b[i] - s) / alpha
            l1 = skip / alpha
            one = 1.0 - z[i]
            D[i] = omega[i] * (e * q + va[i] * va[i])
            h[i] = omega[i] * (l1 * (va[i] * one) - skip * q)
            terms[i] = omega[i] * ((l1 * one) * (l1 * one) + (skip * q) * (z[i] - 2.0))
    if ridged:
        for i in range(z.size):
            wi = omega[i] * w[i]
            W[i] += wi * z[i]
            D[i] += wi
            h[i] += wi
            terms[i] += wi
    for i in range(z.size):
        kappa += terms[i]
    for i in range(z.size):
        wa[i] = omega[i] * va[i]
    return kappa


@inline
def _times(A, x, offset, z):
    """z = A x + offset."""
    product.times(A, x.reshape(1, x.size), z.reshape(1, z.size))
    if offset.size:
        for i in range(z.size):
            z[i] += offset[i]


@inline
def _sizes(b, omega, kl):
    """sum(omega b²), and the least value of the objective: the entropy of b for the likelihood."""
    bb = total = floor = 0.0
    for i in range(b.size):
        bb += omega[i] * (b[i] * b[i])
        total += omega[i] * b[i]
    if kl:
        for i in range(b.size):
            if b[i] > 0.0:
                floor -= omega[i] * b[i] * np.log(b[i] / total)
        bb = 2.0 * total
    return bb, floor


@inline
def _in_range(z):
    return largest(z, 0, z.size) <= COMMON_F64  # false for nan


@owner
def _gram(A, mean, scale, centre, D, h, kappa, how, left, right, H, k):
    """``gram.gram_rows`` for one group whose mean is given; H is symmetric afterwards."""
    n, d = A.shape
    H[:] = 0.0
    k[:] = 0.0
    ptr, kept = np.array([0, n]), np.zeros(1, np.intp)
    gram.gram_rows(A, ptr, 0, kept, mean.reshape(1, d), D, scale, centre, D, h, kappa, how, left, right, H, k)
    for i in range(d):
        for j in range(i):
            H[i, j] = H[j, i]


@owner
def _factor_pinned(H, ridge, scale, least, P):
    """Cholesky factor of H + ridge, in which columns without curvature of their own do not move."""
    d = H.shape[0]
    for j in range(d):
        if not H[j, j] > least * scale[j]:
            for i in range(d):
                H[i, j] = 0.0
                H[j, i] = 0.0
            H[j, j] = 1.0 if ridge == 0.0 else 0.0
        H[j, j] += ridge
    return dense.factor(H, _PIVOT, P)


@owner
def _closed_form(A, b, omega, offset, kl, ridge, scale, least, work, left, right, H, k, P, x):
    """skip = 0: log b = A x - k in least squares with weights b², or b for the likelihood (MATH 7)."""
    n, d = A.shape
    weight, target, one = work[0, :n], work[1, :n], np.ones(1)
    total = 0.0
    for i in range(n):
        weight[i] = 0.0
        target[i] = 0.0
        if b[i] > 0.0 and omega[i] > 0.0:
            weight[i] = omega[i] * (b[i] if kl else b[i] * b[i])
            target[i] = np.log(b[i]) - (offset[i] if offset.size else 0.0)
        total += weight[i]
    if not total > 0.0:
        return False
    middle = 0.0
    for i in range(n):
        weight[i] /= total
        middle += weight[i] * target[i]
    for i in range(n):
        target[i] = weight[i] * (target[i] - middle)
    mean = np.empty((1, d))
    product.transposed_times(A, weight.reshape(1, n), mean)
    _gram(A, mean[0], one, one, weight, target, one, gram.MOMENT, left, right, H, k)
    for j in range(d):  # a constant column is left to the free constant
        if not H[j, j] * total > least * scale[j]:
            k[j] = 0.0
            H[j, j] = 0.0
    if not _factor_pinned(H[:d, :d].copy(), ridge / total, scale, 0.0, P):
        return False
    x[:] = dense.solve_factored(P, k[:d].copy())
    return True


@kernel
def fit(A, b, omega, w, offset, skip, kl, ridge, moved, few, steps, left, right, x, P, out):
    """Fit the sample; x and the factor of the Hessian there.

    Parameters
    ----------
    A : (n, d) C-contiguous, float32 or float64: the sampled rows
    b, omega : (n,) float64
    w, offset : (n,) float64, or (0,)
    skip, kl, ridge : as everywhere
    moved : bool
        Begin at x as given; else at the lower of zeros and (skip = 0) the closed form.
    few : int
        The first ``few`` rows, a sample of their own with weights raised by n / few, are fitted first.
    steps : int
        Most Newton steps. 0: only the factor at x.
    left, right : work space of ``gram.gram_rows``, zeros
    x : (d,) float64, updated
    P : (d, d) float64, written: lower Cholesky factor of the Hessian, ridge included
    out : (3,) float64, written: objective at the start and at the end of what is fitted first, and at the end

    Returns
    -------
    bool
        Is P the factor of a positive definite Hessian, close to a minimum of the sample?
    """
    n, d = A.shape
    tile = simd.GRAM_NV * (simd.VECTOR_BYTES // right.itemsize)
    padded = (d + tile - 1) // tile * tile
    H, k = np.zeros((padded, padded)), np.zeros(padded)
    scale = np.zeros(d)
    least = _STILL if A.itemsize == 8 else _STILL_F32
    work = np.empty((10, n))
    one, zero = np.ones(1), np.zeros(1)
    state, trial = np.empty(3), np.empty(3)
    mean, g = np.empty((1, d)), np.empty((1, d))
    kappa = np.empty(1)
    good = False
    first_level = few < n and steps > 0
    for level in range(2):
        if level == 0 and not first_level:
            continue
        rows = few if level == 0 else n
        share = n / rows
        Ar, br = A[:rows], b[:rows]
        wr = w[:rows] if w.size else w
        offr = offset[:rows] if offset.size else offset
        z, y, f, va, wa, W, D, h, terms, om = (
            work[0, :rows], work[1, :rows], work[2, :rows], work[3, :rows], work[4, :rows],
            work[5, :rows], work[6, :rows], work[7, :rows], work[8, :rows], work[9, :rows],
        )  # fmt: skip
        for i in range(rows):
            om[i] = omega[i] * share
        bb, floor = _sizes(br, om, kl)
        if level == 0 or not first_level:
            for i in range(rows):  # what a column's curvature is measured against: its size where b is
                weight = om[i] * abs(br[i]) if kl else om[i] * br[i] * br[i]
                for j in range(d):
                    scale[j] += weight * Ar[i, j] * Ar[i, j]
            if not moved and steps > 0:
                x[:] = 0.0
                _times(Ar, x, offr, z)
                lowest = np.inf
                if _in_range(z):
                    _objective(z, br, om, wr, skip, kl, f, state)
                    lowest = state[LOSS]
                if skip == 0.0:
                    other = np.empty(d)
                    if _closed_form(
                        Ar, br, om, offr, kl, ridge, scale, least, work, left, right, H, k, P, other
                    ):
                        _times(Ar, other, offr, z)
                        if _in_range(z):
                            _objective(z, br, om, wr, skip, kl, f, state)
                            if state[LOSS] + 0.5 * ridge * np.sum(other * other) < lowest:
                                x[:] = other
        _times(Ar, x, offr, z)
        if not _in_range(z):
            return False
        _objective(z, br, om, wr, skip, kl, f, state)
        state[LOSS] += 0.5 * ridge * np.sum(x * x)
        if level == 0 or not first_level:
            out[0] = state[LOSS]
        sign = 1.0 if state[ALPHA] > 0.0 else -1.0
        good = False
        for turn in range(steps + 1):
            kappa[0] = _row_vectors(
                z, br, om, wr, skip, kl, state[ALPHA], state[S], f, va, wa, W, D, h, terms
            )
            product.transposed_times(Ar, wa.reshape(1, rows), mean)
            product.transposed_times(Ar, W.reshape(1, rows), g)
            for j in range(d):
                g[0, j] += ridge * x[j]
            crossed = skip != 0.0 or wr.size > 0
            how = gram.HESSIAN if crossed else gram.PLAIN
            _gram(Ar, mean[0], one, one, D, h, kappa, how, left, right, H, k)
            good = _factor_pinned(H[:d, :d].copy(), ridge, scale, least, P)
            if not good:
                if steps == 0:
                    return False
                # the part that is positive semidefinite, and exact where c = 0 (MATH 3)
                _gram(Ar, mean[0], va, f, om, h, kappa, gram.PLAIN, left, right, H, k)
                size = 0.0
                for j in range(d):
                    size = max(size, H[j, j])
                for j in range(d):
                    H[j, j] = H[j, j] * (1.0 + 1e-6) + 1e-10 * size
                if wr.size:
                    for i in range(rows):
                        D[i] = om[i] * wr[i]
                    extra, k2 = np.zeros_like(H), np.zeros_like(k)
                    _gram(Ar, np.zeros(d), one, zero, D, h, kappa, gram.PLAIN, left, right, extra, k2)
                    H += extra
                if not _factor_pinned(H[:d, :d].copy(), ridge, scale, least, P):
                    return False
            if turn == steps:
                good = good and steps == 0
                break
            t = dense.solve_factored(P, g[0])
            decrement = 0.5 * np.sum(t * g[0])
            for j in range(d):
                t[j] = -t[j]
            slope = -2.0 * decrement
            fitted = decrement <= _FITTED * (state[LOSS] - floor) or decrement <= _EXACT * 0.5 * bb
            _times(Ar, t, offr[:0], y)
            most = largest(y, 0, rows)
            if not most < np.inf:
                return False
            eta = min(1.0, _CAP / most) if most > 0.0 else 1.0
            found = False
            for _ in range(_MAX_HALVINGS):
                for i in range(rows):
                    terms[i] = z[i] + eta * y[i]
                if _in_range(terms):
                    _objective(terms, br, om, wr, skip, kl, f, trial)
                    norm = 0.0
                    for j in range(d):
                        norm += (x[j] + eta * t[j]) ** 2
                    trial[LOSS] += 0.5 * ridge * norm
                    if trial[ALPHA] * sign > 0.0 and trial[LOSS] <= state[LOSS] + 1e-4 * eta * slope:
                        found = True
                        break
                eta *= 0.5
            if found:
                for j in range(d):
                    x[j] += eta * t[j]
                for i in range(rows):
                    z[i] += eta * y[i]
                state[:] = trial
            if (fitted and good) or not found:
                good = good and fitted
                break
            good = False
        if level == 0 or not first_level:
            out[1] = state[LOSS]
        out[2] = state[LOSS]
    return good


@kernel
def solve_columns(P, R, T):
    """T[k] = (P[k] P[k]')^-1 R[k] for each column k. P (m, d, d) lower factors; R, T (m, d)."""
    for k in range(R.shape[0]):
        T[k] = dense.solve_factored(P[k], R[k])
