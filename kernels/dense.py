"""Small dense algebra of a Newton step: d x d, no BLAS, so that small fits wake no second thread pool."""

from __future__ import annotations

import numpy as np

from . import simd
from ._jit import inline, kernel, reduction


@reduction
def _dot(L, i, j, count):
    total = 0.0
    for k in range(count):
        total += L[i, k] * L[j, k]
    return total


@kernel
def mirrored(upper, d):
    """The (d, d) symmetric matrix of an upper triangle (which may lie in a larger array)."""
    H = np.empty((d, d))
    for i in range(d):
        for j in range(i, d):
            H[i, j] = upper[i, j]
            H[j, i] = upper[i, j]
    return H


@kernel
def factor(H, floor, L):
    """Cholesky factor of H, lower, into L. False where it is not safely positive definite.

    A pivot must keep more than ``floor`` of its diagonal entry: what is below is rounding.
    """
    d = H.shape[0]
    for i in range(d):
        for j in range(i):
            L[i, j] = (H[i, j] - _dot(L, i, j, j)) / L[j, j]
        diagonal = H[i, i]
        pivot = diagonal - _dot(L, i, i, i)
        if not pivot > floor * diagonal or not diagonal > 0.0:
            return False
        L[i, i] = np.sqrt(pivot)
    return True


@kernel
def solve_factored(L, right):
    """(L L')^-1 right."""
    d = L.shape[0]
    x = np.empty(d)
    assign(x, right)
    for i in range(d):
        for j in range(i):
            x[i] -= L[i, j] * x[j]
        x[i] /= L[i, i]
    for i in range(d - 1, -1, -1):
        x[i] /= L[i, i]
        for j in range(i):
            x[j] -= L[i, j] * x[i]
    return x


@inline
def _next(i, d):
    """The row after i, or i again at the end; whether there is one."""
    return (i + 1, 1.0) if i + 1 < d else (i, 0.0)


@inline
def _tridiagonal(A, V, diagonal, off, v, w):
    """Householder reduction of symmetric A (overwritten) to a tridiagonal matrix; rows of V are Q'.

    With a V of no rows nothing is kept of Q. v, w (d,) are work space.
    """
    d = A.shape[0]
    F, Q = A.reshape(-1), V.reshape(-1)
    fill(v, 0.0)
    for k in range(d - 2):
        first, count = k + 1, d - k - 1
        v[k] = 0.0
        for i in range(first, d):
            v[i] = A[k, i]
        norm = np.sqrt(_inner(v, v, d))
        off[k] = A[k, k + 1]
        if norm == 0.0:
            continue
        alpha = -norm if v[k + 1] > 0.0 else norm
        off[k] = alpha
        v[k + 1] -= alpha
        beta = 1.0 / (norm * (norm + abs(A[k, k + 1])))
        fill(w, 0.0)
        for i in range(first, d, 2):
            n, there = _next(i, d)
            simd.add_two(w, first, F, i * d + first, v[i], F, n * d + first, there * v[n], count)
        half = 0.5 * beta * beta * _inner(v, w, d)
        for i in range(first, d):
            w[i] = beta * w[i] - half * v[i]
        for i in range(first, d):
            simd.add_two(F, i * d + first, w, first, -v[i], v, first, -w[i], count)
        if V.shape[0] == 0:
            continue
        fill(w, 0.0)
        for i in range(first, d, 2):
            n, there = _next(i, d)
            simd.add_two(w, 0, Q, i * d, v[i], Q, n * d, there * v[n], d)
        for i in range(first, d):
            simd.add_two(Q, i * d, w, 0, -beta * v[i], w, 0, 0.0, d)
    for i in range(d):
        diagonal[i] = A[i, i]
    if d > 1:
        off[d - 2] = A[d - 2, d - 1]


@kernel
def eigh(H):
    """Eigenvalues, ascending, and eigenvectors in columns of a symmetric matrix.

    Householder reduction and the implicit QL iteration with Wilkinson's shift. Rotations act on rows of Q',
    which lie together in memory. For matrices of a hundred columns or so.
    """
    d = H.shape[0]
    V = np.empty((d, d))
    vectors = np.empty((d, d))
    values = np.empty(d)
    eigen(H, V, values)
    for i in range(d):
        for k in range(d):
            vectors[i, k] = V[k, i]
    return values, vectors


@kernel
def eigen(H, V, diagonal):
    """The same into ``diagonal`` (d,) and the rows of V (d, d), or without vectors if V has no rows."""
    d = H.shape[0]
    off = np.empty(d)
    size = 0.0
    for i in range(d):
        off[i] = 0.0
        for j in range(d):
            if V.shape[0]:
                V[i, j] = 1.0 if i == j else 0.0
            size = max(size, abs(H[i, j]))
    # entries of size 1 have squares in range: a hypot for each rotation takes longer than all the rest
    size = size if 0.0 < size < np.inf else 1.0
    scaled = np.empty((d, d))
    for i in range(d):
        for j in range(d):
            scaled[i, j] = H[i, j] / size
    _tridiagonal(scaled, V, diagonal, off, np.empty(d), np.empty(d))
    for low in range(d):
        for _ in range(60):
            m = low
            while m < d - 1:
                scale = abs(diagonal[m]) + abs(diagonal[m + 1])
                if abs(off[m]) <= 1.1e-16 * scale:
                    break
                m += 1
            if m == low:
                break
            g = (diagonal[low + 1] - diagonal[low]) / (2.0 * off[low])
            r = np.sqrt(g * g + 1.0)
            g = diagonal[m] - diagonal[low] + off[low] / (g + (r if g >= 0.0 else -r))
            s = c = 1.0
            p = 0.0
            done = True
            for i in range(m - 1, low - 1, -1):
                f, b = s * off[i], c * off[i]
                r = np.sqrt(f * f + g * g)
                off[i + 1] = r
                if r == 0.0:
                    diagonal[i + 1] -= p
                    off[m] = 0.0
                    done = False
                    break
                s, c = f / r, g / r
                g = diagonal[i + 1] - p
                r = (diagonal[i] - g) * s + 2.0 * c * b
                p = s * r
                diagonal[i + 1] = g + p
                g = c * r - b
                for k in range(V.shape[1]):
                    f = V[i + 1, k]
                    V[i + 1, k] = s * V[i, k] + c * f
                    V[i, k] = c * V[i, k] - s * f
            if done:
                diagonal[low] -= p
                off[low] = g
                off[m] = 0.0
    for i in range(d):
        least = i
        for k in range(i + 1, d):
            if diagonal[k] < diagonal[least]:
                least = k
        diagonal[i], diagonal[least] = diagonal[least], diagonal[i]
        diagonal[i] *= size
        if V.shape[0] and least != i:
            for j in range(d):
                V[i, j], V[least, j] = V[least, j], V[i, j]


#: What ``factor_semidefinite`` found.
DEFINITE, SINGULAR, INDEFINITE = range(3)


@inline
def factor_semidefinite(H, floor, L):
    """Cholesky factor of a positive semidefinite H, lower, into L, a column without a safe pivot left out.

    A pivot of at most ``floor`` of its diagonal entry in size is rounding: its row and column of L are zero,
    and ``solve_semidefinite`` keeps that variable at zero. A pivot further below makes H indefinite.
    """
    d = H.shape[0]
    F = L.reshape(-1)
    answer = DEFINITE
    for i in range(d):
        for j in range(i, d):
            L[i, j] = H[i, j]
    for k in range(d):  # L' by rows, in the upper triangle; rows below feel two rows at a time
        if k % 2:
            simd.add_two(F, k * d + k, F, (k - 1) * d + k, -L[k - 1, k], F, k * d + k, 0.0, d - k)
        diagonal, pivot, scale = H[k, k], L[k, k], 0.0
        if pivot > floor * diagonal and diagonal > 0.0:
            scale = 1.0 / np.sqrt(pivot)
        elif pivot >= -floor * abs(diagonal):
            answer = SINGULAR
        else:  # nan too
            return INDEFINITE
        for j in range(k, d):
            L[k, j] *= scale
        if k % 2:
            for i in range(k + 1, d):
                p, q = (k - 1) * d + i, k * d + i
                simd.add_two(F, i * d + i, F, p, -L[k - 1, i], F, q, -L[k, i], d - i)
    for i in range(d):
        for j in range(i):
            L[i, j] = L[j, i]
    return answer


@inline
def solve_semidefinite(L, right, x):
    """x with H x = right for the variables that ``factor_semidefinite`` kept, 0 for the others."""
    d = L.shape[0]
    for i in range(d):
        x[i] = right[i]
    for i in range(d):
        if L[i, i] > 0.0:
            x[i] = (x[i] - _inner(L[i], x, i)) / L[i, i]
        else:
            x[i] = 0.0
    for i in range(d - 1, -1, -1):
        if L[i, i] > 0.0:
            x[i] /= L[i, i]
            for j in range(i):
                x[j] -= L[i, j] * x[i]


@reduction
def _inner(a, b, count):
    total = 0.0
    for k in range(count):
        total += a[k] * b[k]
    return total


@inline
def assign(to, source):
    """to[:] = source[:to.size or source.size], the shorter: Numba's own assignment of arrays takes long to
    compile, since it can raise an error that prints their shapes."""
    for i in range(min(to.size, source.size)):
        to[i] = source[i]


@inline
def fill(to, value):
    """to[:] = value, for the same reason."""
    for i in range(to.size):
        to[i] = value


@inline
def fill_rows(to, value):
    """The same in two dimensions."""
    for i in range(to.shape[0]):
        for j in range(to.shape[1]):
            to[i, j] = value


@inline
def total(x):
    """Sum of the entries, in order."""
    sum_x = 0.0
    for i in range(x.size):
        sum_x += x[i]
    return sum_x


@inline
def total_size(x, start, stop):
    """Sum of the absolute values of some entries, in order."""
    size = 0.0
    for i in range(start, stop):
        size += abs(x[i])
    return size


@inline
def dot(a, b):
    """<a, b>."""
    return _inner(a, b, a.size)


@inline
def times_vector(H, x, out):
    """out = H x."""
    for i in range(H.shape[0]):
        out[i] = _inner(H[i], x, x.size)


@inline
def transposed_vector(H, x, out):
    """out = H' x."""
    fill(out, 0.0)
    for i in range(H.shape[0]):
        for j in range(out.size):
            out[j] += H[i, j] * x[i]


@kernel
def congruent(H, T, half, out):
    """out = T' H T for H (d, d) and T (d, r); ``half`` (d, r) is work space."""
    d, r = T.shape
    fill_rows(half, 0.0)
    fill_rows(out, 0.0)
    for i in range(d):
        for k in range(d):
            for j in range(r):
                half[i, j] += H[i, k] * T[k, j]
    for k in range(d):
        for i in range(r):
            for j in range(r):
                out[i, j] += T[k, i] * half[k, j]


@kernel
def orthonormal_basis(Q, rank):
    """Make the rows of Q (d, d) an orthonormal basis; its first ``rank`` rows span what they did before.

    Gram and Schmidt's way, twice each. The other rows begin as the unit vectors that are furthest from those
    before them.
    """
    d = Q.shape[0]
    F = Q.reshape(-1)
    left = np.empty(d)  # squared distance of each unit vector from the rows so far
    fill(left, 1.0)
    for k in range(d):
        if k >= rank:
            most = 0
            for j in range(d):
                Q[k, j] = 0.0
                most = j if left[j] > left[most] else most
            Q[k, most] = 1.0
        largest = 0.0
        for j in range(d):
            largest = max(largest, abs(Q[k, j]))
        for j in range(d):
            Q[k, j] /= largest
        for _ in range(2):
            for i in range(0, k, 2):
                n, there = _next(i, k)
                simd.add_two(
                    F, k * d, F, i * d, -_dot(Q, i, k, d), F, n * d, -there * _dot(Q, n, k, d), d
                )  # fmt: skip
        size = np.sqrt(_dot(Q, k, k, d))
        for j in range(d):
            Q[k, j] /= size
            left[j] -= Q[k, j] * Q[k, j]


@inline
def inverse_transposed(L, T):
    """T = L'^-1 for a lower triangular L without zeros on its diagonal."""
    d = L.shape[0]
    fill_rows(T, 0.0)
    for i in range(d):  # row i of the inverse of L, written as column i of T
        T[i, i] = 1.0 / L[i, i]
        for k in range(i):
            for j in range(k + 1):
                T[j, i] -= L[i, k] * T[j, k]
        for j in range(i):
            T[j, i] /= L[i, i]
