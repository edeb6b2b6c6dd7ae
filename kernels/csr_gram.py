"""Weighted Gram matrices of centred sparse rows, in O(sum of nnz_i²) beside what the means cost.

A centred row is full, so the product is expanded about the mean mu of each group (MATH 3):

    sum D c c' = sum D s^2 a a' - m mu' - mu m' + (sum D t^2) mu mu',   c = s a - t mu,   m = sum D s t a

The first sum touches the entries of H that a row's columns meet in; the rest is one symmetric pair a group.
Where a few rows hold most of a group's weight, mu is close to them and the expansion cancels: these rows
are centred and multiplied as they stand. Everything is float64.
"""

from __future__ import annotations

import numpy as np

from . import simd
from ._jit import inline, kernel, owner
from .csr import fetch_line
from .gram import HESSIAN, MOMENT, PLAIN, _multiply

#: A row with more than this share of its group's weight is centred. Without such a row mu is a mixture of
#: eight rows and more, at a distance from each; and no group has more than seven.
HEAVY = 1.0 / 8.0
_MOST_HEAVY = 7
#: Entries of H that a full row's register tiles update in the time of one update by index: 0.5 ns against
#: 16 FMA a cycle, in which packing is included.
_TILED = 16
#: Rows that are asked for ahead.
_AHEAD = 8


@inline
def _pack(row, d, weight, left, right, capacity, used, width, H, zero):
    """One full row with its weight into the panels, emptied first where they are full."""
    if used == capacity:
        _multiply(left, right, capacity, used, width, d, H)
        used = 0
    simd.pack_row(row, d, 0, zero, 1.0, 0.0, weight, left, right, capacity, used)
    return used + 1


@inline
def _add_outer(A, weight, full, left, right, capacity, used, width, H, zero):
    """H += sum of weight_i a_i a_i', upper triangle; rows that are nearly full through the panels."""
    data, indices, begins, ends = A.data, A.indices, A.begin, A.end
    most = A.d / np.sqrt(_TILED)
    for i in range(weight.size):
        w = weight[i]
        if w == 0.0:
            continue
        far = min(i + _AHEAD, weight.size - 1)
        for p in range(begins[far], ends[far], 8):
            fetch_line(data, p)
            fetch_line(indices, p)
        begin, end = np.uint64(begins[i]), np.uint64(ends[i])
        if end - begin > most:
            for p in range(begin, end):
                full[np.uint64(indices[p])] = data[p]
            used = _pack(full, A.d, w, left, right, capacity, used, width, H, zero)
            for p in range(begin, end):
                full[np.uint64(indices[p])] = 0.0
            continue
        for p in range(begin, end):
            row = H[np.uint64(indices[p])]
            v = w * data[p]
            for q in range(p, end):
                row[np.uint64(indices[q])] += v * data[q]
    return used


@owner
def _union(indices, begin, end, first, last, place, columns):
    """Columns of a few rows, ascending, and the place of each among them; their number."""
    count = 0
    for i in range(first, last):
        for p in range(begin[i], end[i]):
            j = indices[p]
            if place[j] < 0:
                place[j] = count
                columns[count] = j
                count += 1
    chosen = columns[:count]
    chosen.sort()
    for a in range(count):
        place[chosen[a]] = a
    return count


@inline
def _add_products(columns, u, lines, weight, count, line, H):
    """H += sum of weight_k lines_k lines_k', k < count, and the pair of lines 7 and 8, on some columns."""
    for a in range(u):
        row = H[columns[a]]
        pa, ma = lines[_MOST_HEAVY, a], lines[_MOST_HEAVY + 1, a]
        for b in range(a, u):
            line[b] = pa * lines[_MOST_HEAVY + 1, b] + ma * lines[_MOST_HEAVY, b]
        for k in range(count):
            w = weight[k] * lines[k, a]
            for b in range(a, u):
                line[b] += w * lines[k, b]
        for b in range(a, u):
            row[np.uint64(columns[b])] += line[b]


@kernel
def gram_rows(A, ptr, base, kept, means, va, scale, centre, D, h, kappa, how, left, right, H, k):
    """``gram.gram_rows`` for sparse rows: the same arguments, the panels float64."""
    data, indices, begin, end = A.data, A.indices, A.begin, A.end
    n, d = begin.size, A.d
    size = H.shape[1]
    capacity = right.size // size
    width = simd.GRAM_NV * (simd.VECTOR_BYTES // right.itemsize)
    every_scale = 1 if scale.size > 1 else 0
    every_centre = 1 if centre.size > 1 else 0
    zero = np.zeros(size)
    full = np.zeros(size)
    rest = np.empty(n)  # weights of the rows that are not centred
    identity = np.arange(d)
    place = np.full(d, -1)
    columns = np.empty(d, np.intp)
    lines = np.zeros((_MOST_HEAVY + 2, size))  # centred rows, then p and mu of the pair p mu' + mu p'
    weight = np.empty(_MOST_HEAVY)
    line = np.empty(d)
    p, mu = lines[_MOST_HEAVY], lines[_MOST_HEAVY + 1]
    used = 0
    for g in range(ptr.size - 1):
        first, last = max(ptr[g] - base, 0), min(ptr[g + 1] - base, n)
        at = identity
        if kept[g] >= 0:
            u = d
            mu[:d] = means[kept[g]]
        else:
            at = place
            u = _union(indices, begin, end, first, last, place, columns)
            mu[:u] = 0.0
            for i in range(first, last):
                for q in range(begin[i], end[i]):
                    mu[at[indices[q]]] += va[i] * data[q]
        p[:u] = 0.0
        total = 0.0
        for i in range(first, last):
            s = scale[i * every_scale]
            total += abs(D[i]) * s * s
        centred = False
        for a in range(u):
            centred |= mu[a] != 0.0
        along = 0.5 * kappa[g] if how == HESSIAN and ptr[g] >= base else 0.0
        moment = 0.0
        count = 0
        for i in range(first, last):
            far = min(i + _AHEAD, last - 1)  # chosen rows follow each other at any distance
            for q in range(begin[far], end[far], 8):
                fetch_line(data, q)
                fetch_line(indices, q)
            s, t = scale[i * every_scale], centre[i * every_centre]
            w = D[i] * s * s
            hi = h[i] if how != PLAIN else 0.0
            if centred and abs(w) > HEAVY * total and count < _MOST_HEAVY:
                c = lines[count]
                for a in range(u):
                    c[a] = -t * mu[a]
                for q in range(begin[i], end[i]):
                    c[at[indices[q]]] += s * data[q]
                weight[count] = D[i]
                count += 1
                rest[i] = 0.0
                if how == HESSIAN:
                    for a in range(u):
                        p[a] += hi * c[a]
                elif how == MOMENT:
                    for a in range(u):
                        k[a if kept[g] >= 0 else columns[a]] += hi * c[a]
                continue
            rest[i] = w
            if how == MOMENT:
                moment -= hi * t
                for q in range(begin[i], end[i]):
                    k[indices[q]] += hi * s * data[q]
                hi = 0.0
            along += 0.5 * D[i] * t * t - hi * t
            hi -= D[i] * t
            if centred and hi != 0.0:
                for q in range(begin[i], end[i]):
                    p[at[indices[q]]] += hi * s * data[q]
        if centred:
            for a in range(u):
                p[a] += along * mu[a]
            if moment != 0.0:
                for a in range(u):
                    k[a if kept[g] >= 0 else columns[a]] += moment * mu[a]
            if kept[g] < 0 and _TILED * u * u <= (count + 2) * d * d:
                _add_products(columns, u, lines, weight, count, line, H)
            else:
                for r in range(count):
                    for a in range(u):
                        full[a if kept[g] >= 0 else columns[a]] = lines[r, a]
                    used = _pack(full, d, weight[r], left, right, capacity, used, width, H, zero)
                size_p, size_mu = np.sqrt(np.sum(p[:u] * p[:u])), np.sqrt(np.sum(mu[:u] * mu[:u]))
                if size_p > 0.0:
                    # p mu' + mu p' = ((p + mu)(p + mu)' - (p - mu)(p - mu)') / 2, with p and mu of one size
                    ratio = np.sqrt(size_p / size_mu)
                    for sign in (1.0, -1.0):
                        for a in range(u):
                            full[a if kept[g] >= 0 else columns[a]] = p[a] / ratio + sign * (mu[a] * ratio)
                        used = _pack(full, d, 0.5 * sign, left, right, capacity, used, width, H, zero)
                for a in range(u):
                    full[a if kept[g] >= 0 else columns[a]] = 0.0
        if kept[g] < 0:
            for a in range(u):
                place[columns[a]] = -1
    used = _add_outer(A, rest, full, left, right, capacity, used, width, H, zero)
    _multiply(left, right, capacity, used, width, d, H)
