"""The formulas of MATH, written out plainly and slowly, for any type of number.

``exact`` evaluates them to 50 digits with mpmath, ``plain`` in float64: the textbook two-pass formulas,
uncentred, to which the package's accuracy is compared. ``loss_jax`` is the objective alone, for automatic
differentiation: nothing of the derivatives below enters it. Groups are given by ``ptr`` (row offsets).
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import NamedTuple

import mpmath
import numpy as np

_mp_exp = np.frompyfunc(mpmath.exp, 1, 1)
_mp_log = np.frompyfunc(mpmath.log, 1, 1)
_mp_number = np.frompyfunc(lambda value: mpmath.mpf(float(value)), 1, 1)


class Group(NamedTuple):
    """One group of rows: what MATH 1-3 name, in the type of z."""

    e: np.ndarray
    u: np.ndarray
    v: np.ndarray
    alpha: object
    f: np.ndarray
    s: object
    loss: object
    grad_z: np.ndarray  # loss part
    size_z: np.ndarray  # of the terms that cancel in grad_z
    D: np.ndarray  # loss part
    p: np.ndarray
    r: np.ndarray  # u / v


def group(z, b, skip, shift=0, kl=False) -> Group:
    """MATH 1-3 in the space of rows; ``kl``: of -sum(b log f) instead, whose s is sum(b)."""
    exp = _mp_exp if z.dtype == object else np.exp
    log = _mp_log if z.dtype == object else np.log
    scale = exp(np.array([-shift], dtype=z.dtype))[0] if shift else 1
    e = exp(z - shift)
    u = e + skip * z * scale
    v = e + skip * scale
    alpha = u.sum()
    f = u / alpha
    if kl:
        s = b.sum()
        log_f = z - shift - log(np.array([alpha], dtype=z.dtype))[0]
        return Group(
            e=e, u=u, v=v, alpha=alpha, f=f, s=s,
            loss=-(b * log_f).sum(), grad_z=s * f - b, size_z=s * f + b,
            D=s * f, p=s * f / alpha / 2, r=u / v,
        )  # fmt: skip
    c = f - b
    s = (c * f).sum()
    q = c - s
    ff = (f * f).sum()
    return Group(
        e=e, u=u, v=v, alpha=alpha, f=f, s=s,
        loss=(c * c).sum() / 2,
        grad_z=v * q / alpha,
        size_z=abs(v) * (abs(f) + abs(b) + abs(s)) / abs(alpha),
        D=e * q / alpha + v * v / alpha**2,
        p=(v * (q + f) - ff / 2 * v) / alpha**2,
        r=u / v,
    )  # fmt: skip


class Values(NamedTuple):
    """The objective and its derivatives."""

    value: object
    grad: np.ndarray
    hess: np.ndarray
    gauss_newton: np.ndarray
    f: np.ndarray
    z: np.ndarray
    terms: np.ndarray  # |A|'(v(|f| + |b| + |s|)/|alpha| + w|z|) + ridge|x|: the measure m1 of MATH 7
    rows: np.ndarray  # |A|'|dL/dz| + ridge|x|: m2


def evaluate(
    A, x, b, skip, row_ridge=0, ridge=0, ptr=None, shift=0, weights=None, offset=0, kl=False
) -> Values:
    """Value, gradient and Hessian in the type of the arguments; ``shift`` for every group."""
    z = A @ x + offset
    bounds = [0, z.size] if ptr is None else list(ptr)
    weights = [1] * (len(bounds) - 1) if weights is None else list(weights)
    w = row_ridge + 0 * z
    for weight, (first, last) in zip(weights, itertools.pairwise(bounds), strict=True):
        w[first:last] *= weight
    identity = np.eye(x.size, dtype=A.dtype)
    value = (w * z * z).sum() / 2 + ridge * (x * x).sum() / 2
    diagonal, grad_z, size_z = w.copy(), w * z, abs(w * z)
    f = 0 * z
    hess = ridge * identity
    gauss_newton = A.T @ (w[:, None] * A) + ridge * identity
    for weight, (first, last) in zip(weights, itertools.pairwise(bounds), strict=True):
        rows = slice(first, last)
        g = group(z[rows], b[rows], skip, shift, kl)
        value = value + weight * g.loss
        grad_z[rows] += weight * g.grad_z
        size_z[rows] += weight * g.size_z
        diagonal[rows] += weight * g.D
        f[rows] = g.f
        P, V = A[rows].T @ g.p, A[rows].T @ g.v
        hess = hess - weight * (np.outer(P, V) + np.outer(V, P))
        if kl:  # the likelihood's is all of its Hessian
            C = A[rows] - np.outer(1 + 0 * g.f, V / g.alpha)
            gauss_newton = gauss_newton + weight * (C.T @ (g.D[:, None] * C))
        else:
            J = (g.v[:, None] * A[rows] - np.outer(g.u, V / g.alpha)) / g.alpha
            gauss_newton = gauss_newton + weight * (J.T @ J)
    hess = hess + A.T @ (diagonal[:, None] * A)
    size_x = ridge * abs(x)
    return Values(
        value, A.T @ grad_z + ridge * x, hess, gauss_newton, f, z,
        abs(A).T @ size_z + size_x, abs(A).T @ abs(grad_z) + size_x,
    )  # fmt: skip


def plain(A, x, b, skip, row_ridge=0.0, ridge=0.0, ptr=None, weights=None, offset=0.0, kl=False) -> Values:
    """The textbook formulas in float64."""
    A, x, b, row_ridge = (np.asarray(a, dtype=np.float64) for a in (A, x, b, row_ridge))
    return evaluate(A, x, b, float(skip), row_ridge, float(ridge), ptr, weights=weights, offset=offset, kl=kl)


def exact(A, x, b, skip, row_ridge=0.0, ridge=0.0, ptr=None, weights=None, offset=0.0, kl=False) -> Values:
    """The same with 50 digits, rounded to float64 at the end."""
    with mpmath.workdps(50):
        A, x, b, row_ridge, skip, ridge, offset = (
            _mp_number(a) for a in (A, x, b, row_ridge, skip, ridge, offset)
        )
        weights = None if weights is None else _mp_number(weights)
        values = evaluate(A, x, b, skip, row_ridge, ridge, ptr, weights=weights, offset=offset, kl=kl)
        return Values(*(_rounded(v) for v in values))


def exact_exp(x) -> np.ndarray:
    """exp(x) with 50 digits, as mpmath numbers."""
    with mpmath.workdps(50):
        return _mp_exp(_mp_number(x))


def _rounded(value):
    return value.astype(np.float64) if isinstance(value, np.ndarray) else float(value)


def loss_jax(A, b, skip, row_ridge=0.0, ridge=0.0, ptr=None, weights=None, offset=0.0, kl=False):
    """The objective as a function of x that jax can differentiate."""
    import jax
    import jax.numpy as jnp

    A, b, row_ridge = jnp.asarray(A, dtype=float), jnp.asarray(b), jnp.asarray(row_ridge)
    ptr = np.array([0, b.size]) if ptr is None else np.asarray(ptr)
    of, count = np.repeat(np.arange(ptr.size - 1), np.diff(ptr)), ptr.size - 1
    weight = jnp.ones(count) if weights is None else jnp.asarray(weights)

    def loss(x):
        z = A @ x + offset
        u = jnp.exp(z) + skip * z
        f = u / jax.ops.segment_sum(u, of, count)[of]
        each = -b * jnp.log(f) if kl else (f - b) ** 2 / 2
        return jnp.sum(weight[of] * (each + row_ridge * z * z / 2)) + ridge * (x @ x) / 2

    return loss


def ragged(rng, groups, longest=10) -> np.ndarray:
    """Offsets of groups of 1 to ``longest`` rows."""
    return np.concatenate([[0], np.cumsum(rng.integers(1, longest + 1, groups))])


def kept(ptr, longest, cuts=()) -> np.ndarray:
    """Number of each group among those that are longer than ``longest`` or cut, -1 of others."""
    found, count = [], 0
    for first, last in itertools.pairwise(ptr):
        keep = last - first > longest or any(first < cut < last for cut in cuts)
        found.append(count if keep else -1)
        count += keep
    return np.array(found, dtype=np.intp)


def target(rng, n, dtype=np.float64) -> np.ndarray:
    """A positive target that sums to 1."""
    b = rng.exponential(size=n) + 0.1
    return (b / b.sum()).astype(dtype)


def placements(rng, arrays, count=30):
    """Copies of float64 arrays in one buffer: far apart, then close together in ``count`` orders."""
    size = sum(a.size for a in arrays)
    close = [(k % 4, rng.permutation(len(arrays))) for k in range(count)]
    for gap, order in [(1000, range(len(arrays))), *close]:
        buffer, at, copies = np.full(size + gap * len(arrays), np.nan), 0, {}
        for k in order:
            copies[k] = buffer[at : at + arrays[k].size].reshape(arrays[k].shape)
            copies[k][...] = arrays[k]
            at += arrays[k].size + gap
        yield [copies[k] for k in range(len(arrays))]


def relative(got, wanted) -> float:
    """‖got - wanted‖ / ‖wanted‖."""
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def run_python(code, *arguments, timeout=300, **environment) -> str:
    """Output of a fresh interpreter that runs ``code`` (or, without it, these arguments); it must succeed."""
    command = [sys.executable, *(["-c", code] if code else []), *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
