"""Steps of Newton's method from a d x d model, in a ball of row space."""

from __future__ import annotations

import numpy as np

from . import dense
from ._jit import kernel, lean

#: A Cholesky pivot below this share of its diagonal entry is not safely positive.
PIVOT = 1e-10
#: A variable left out of a singular model must leave no more of its gradient than this share.
_UNSOLVED = 1e-3

# What a step's model says: root mean square of A t; t'Ht; Newton decrement ½ g'|H|^-1 g where g is more than
# rounding; smallest eigenvalue over the largest in size (nan: only known to be > 0); directions with
# curvature; what is left of the rows' curvature after it cancels; whether fewer directions have curvature
# than the model can identify.
LENGTH, BEND, DECREMENT_, CURVATURE, RANK, STRENGTH, SATURATED = range(7)
N_STEP = 7


@kernel
def ball_step(values, g, radius):
    """Minimiser of g'tau + ½ tau'diag(values)tau over ‖tau‖ <= radius. Ascending values; zeros stay put."""
    tau = np.empty(g.size)
    dense.fill(tau, 0.0)
    first, last = -1, -1
    scale = norm_g = 0.0
    for i in range(g.size):
        if values[i] != 0.0:
            first = i if first < 0 else first
            last = i
            scale = max(scale, abs(values[i]))
            norm_g += g[i] * g[i]
    norm_g = np.sqrt(norm_g)
    if first < 0 or (norm_g == 0.0 and values[first] > 0.0):
        return tau
    lowest = values[first]
    if lowest > 0.0:
        length = 0.0
        for i in range(first, last + 1):
            if values[i] != 0.0:
                tau[i] = -g[i] / values[i]
                length += tau[i] * tau[i]
        if np.sqrt(length) <= radius:
            return tau
    bottom = 0.0
    for i in range(first, last + 1):
        if values[i] != 0.0 and values[i] - lowest <= 1e-10 * scale:
            bottom += g[i] * g[i]
    if lowest <= 0.0 and np.sqrt(bottom) <= 1e-12 * (norm_g + scale * radius) + 1e-300:
        # hard case: the gradient is blind to the most negative directions; follow one to the ball's edge
        room = radius * radius
        for i in range(first, last + 1):
            tau[i] = 0.0
            gap = values[i] - lowest
            if values[i] != 0.0 and gap > 1e-10 * scale:
                tau[i] = -g[i] / gap
                room -= tau[i] * tau[i]
        if room > 0.0:
            tau[first] += np.sqrt(room) if g[first] <= 0.0 else -np.sqrt(room)
            return tau
    # secular equation 1/‖tau(sigma)‖ = 1/radius, convex and monotone in sigma: Newton, safeguarded
    low = max(0.0, -lowest)
    high = low + norm_g / radius
    sigma = max(low + 1e-12 * scale, low + abs(g[first]) / radius)
    for _ in range(60):
        norm = slope = 0.0
        for i in range(first, last + 1):
            if values[i] != 0.0:
                part = g[i] / (values[i] + sigma)
                norm += part * part
                slope += part * part / (values[i] + sigma)
        norm = np.sqrt(norm)
        if abs(norm - radius) <= 1e-3 * radius:
            break
        if norm > radius:
            low = sigma
        else:
            high = sigma
        slope /= norm
        sigma += (norm - radius) / radius * norm / slope
        if not low < sigma < high:
            sigma = 0.5 * (low + high)
    for i in range(g.size):
        tau[i] = -g[i] / (values[i] + sigma) if values[i] != 0.0 else 0.0
    return tau


@lean
def cholesky_step(H, M, g, terms, radius, L, shifted, t, Mt, step):
    """The step for a positive semidefinite model H: what ``dense.factor_semidefinite`` says of H.

    t (d,) and ``step`` are written; t is within ‖t‖_M <= 1.01 radius. ``INDEFINITE`` where H is not, or where
    the variables that a singular H leaves out have gradients of their own, measured by the ``terms`` that
    cancel in g. L, shifted (d, d) and Mt (d,) are work space.
    """
    d = g.size
    kind = dense.factor_semidefinite(H, PIVOT, L)
    if kind == dense.INDEFINITE:
        return kind
    dense.solve_semidefinite(L, g, t)
    decrement = 0.0
    rank = 0
    for i in range(d):
        decrement += 0.5 * g[i] * t[i]
        t[i] = -t[i]
        rank += L[i, i] > 0.0
    if kind == dense.SINGULAR:
        dense.times_vector(H, t, Mt)
        for i in range(d):
            if L[i, i] == 0.0 and not abs(Mt[i] + g[i]) <= _UNSOLVED * abs(g[i]) + 1e-10 * terms[i]:
                return dense.INDEFINITE
    dense.times_vector(M, t, Mt)
    length = np.sqrt(max(dense.dot(t, Mt), 0.0))
    sigma = 0.0
    for _ in range(20):  # Newton's method on 1/length = 1/radius: monotone from sigma = 0
        if not length > 1.01 * radius:
            break
        # the old factors give the slope; ``step`` is free to hold nothing yet, t is made anew
        dense.solve_semidefinite(L, Mt, t)
        slope = dense.dot(Mt, t)
        sigma += length * length / slope * (length - radius) / radius
        for i in range(d):
            for j in range(d):
                shifted[i, j] = H[i, j] + sigma * M[i, j]
        if dense.factor_semidefinite(shifted, PIVOT, L) == dense.INDEFINITE:
            return dense.INDEFINITE
        dense.solve_semidefinite(L, g, t)
        for i in range(d):
            t[i] = -t[i]
        dense.times_vector(M, t, Mt)
        length = np.sqrt(max(dense.dot(t, Mt), 0.0))
    if not np.isfinite(length):
        return dense.INDEFINITE
    step[LENGTH] = length
    step[BEND] = -dense.dot(g, t) - sigma * length * length
    step[DECREMENT_] = decrement
    step[CURVATURE] = np.nan
    step[RANK] = rank
    step[STRENGTH] = np.nan
    step[SATURATED] = 0.0
    return kind
