"""kernels/sensitivity.py against NumPy, group by group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastsoftres.kernels import sensitivity

NONE = np.empty(0)


def chunk(data, rng):
    """A chunk of rows: its numbers, and how its groups, the outer ones cut, lie around it."""
    n = data.draw(st.integers(1, 700))
    base = data.draw(st.integers(0, 9))
    inner = np.sort(
        rng.choice(np.arange(base + 1, base + n), data.draw(st.integers(0, min(5, n - 1))), False)
    )
    ptr = np.concatenate([[base - data.draw(st.integers(0, base))], inner, [base + n + rng.integers(0, 3)]])
    of = np.searchsorted(ptr, base + np.arange(n), side="right") - 1
    return n, base, ptr, of


@given(data=st.data(), apart=st.booleans(), ridged=st.booleans(), seed=st.integers(0, 999))
def test_squared_norms(data, apart, ridged, seed):
    rng = np.random.default_rng(seed)
    n, base, ptr, of = chunk(data, rng)
    k = data.draw(st.integers(1, 5))
    Y = rng.standard_normal((k, n)) * 10.0 ** rng.integers(-8, 9)
    means, per = rng.standard_normal((ptr.size - 1, k)), rng.standard_normal(ptr.size - 1)
    va, z = rng.standard_normal(n), rng.standard_normal(n)
    va[rng.random(n) < 0.1] = 0.0
    gauss_newton, centred = np.full(n, np.nan), np.full(n if apart else 0, np.nan)
    plain = np.full(n if ridged else 0, np.nan)
    sensitivity.squared_norms(Y, means, va, z, per, ptr, base, gauss_newton, centred, plain)
    mean = means[of].T
    r = (va - (1.0 - z) * per[of]) / np.where(va != 0.0, va, 1.0) if apart else 1.0
    np.testing.assert_allclose(gauss_newton, np.sum((Y - r * mean) ** 2, axis=0), rtol=1e-10, atol=1e-12)
    if apart:
        np.testing.assert_allclose(centred, np.sum((Y - mean) ** 2, axis=0), rtol=1e-10, atol=1e-12)
    if ridged:
        np.testing.assert_allclose(plain, np.sum(Y * Y, axis=0), rtol=1e-12)


@given(
    data=st.data(), kl=st.booleans(), apart=st.booleans(), ridged=st.booleans(), weighted=st.booleans(),
    normed=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_scores(data, kl, apart, ridged, weighted, normed, seed):
    rng = np.random.default_rng(seed)
    n, base, ptr, of = chunk(data, rng)
    D, va, w = rng.standard_normal(n), rng.standard_normal(n), rng.random(n if ridged else 0)
    weight = rng.random(ptr.size - 1) + 0.5 if weighted else NONE
    gauss_newton, centred, plain = rng.random((3, n)) * 2.0
    norms = (gauss_newton, centred if apart else NONE, plain if ridged else NONE) if normed else (NONE,) * 3
    out = np.full(n, np.nan)
    total = sensitivity.scores(D, va, w, weight, ptr, base, kl, *norms, out)
    own = weight[of] if weighted else np.ones(n)
    ridge = own * w if ridged else np.zeros(n)
    part = D - ridge if kl else va * va * own
    rest = np.abs(D - ridge - part)
    if normed:
        wanted = part * gauss_newton + rest * (centred if apart else gauss_newton) + ridge * plain
        wanted = np.minimum(wanted, 1.0)
    else:
        wanted = part + rest + ridge
    np.testing.assert_allclose(out, wanted, rtol=1e-10, atol=1e-12)
    assert total == pytest.approx(out.sum(), abs=1e-10)


@given(n=st.integers(1, 300), ridged=st.booleans(), seed=st.integers(0, 999))
def test_rest(n, ridged, seed):
    rng = np.random.default_rng(seed)
    z, va, h, w = rng.standard_normal((4, n))
    w = w if ridged else NONE
    per, weight = rng.standard_normal(2)
    out = np.full(n, np.nan)
    squares, total = sensitivity.rest(z, va, h, w, per, weight, out)
    part = (1.0 - z) * per
    extra = w if ridged else 0.0
    np.testing.assert_allclose(out, h - weight * (va * part + extra), rtol=1e-10, atol=1e-12)
    assert squares == pytest.approx(np.sum(part * part) + np.sum(extra), abs=1e-10)
    assert total == pytest.approx(out.sum(), abs=1e-10)


@given(n=st.integers(1, 300), many=st.integers(0, 50), seed=st.integers(0, 999))
def test_locate(n, many, seed):
    """Integers, so that sums are exact; and a target that rounding puts past the end."""
    rng = np.random.default_rng(seed)
    chance = rng.integers(0, 4, n) * 1.0
    chance[rng.integers(n)] += 1.0
    start, stop = 0, n
    targets = np.sort(rng.integers(0, int(chance.sum()), many)) + 10.0
    found = np.full(many, -1)
    sensitivity.locate(chance, start, stop, 10.0, targets, found)
    np.testing.assert_array_equal(found, np.searchsorted(np.cumsum(chance), targets - 10.0, side="right"))
    last = np.full(1, -1)
    sensitivity.locate(chance, start, stop, 10.0, np.array([10.0 + chance.sum()]), last)
    assert last[0] == np.flatnonzero(chance)[-1]
