"""More than 2**31 elements: row numbers times columns do not wrap. No memory is needed: A is almost all zero,
and pages that nobody has written to share one; or a single row, repeated."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftres as fs
from fastsoftres import passes
from fastsoftres.groups import Groups
from fastsoftres.sources import Rows

pytestmark = pytest.mark.slow

N, D = (1 << 31) // 1024 + 1000, 1024


def dloss(z, b):
    """dL/dz for one group, skip 1, by the plain formula."""
    v = np.exp(z) + 1.0
    u = v - 1.0 + z
    alpha = u.sum()
    f = u / alpha
    c = f - b
    return 0.5 * c @ c, v * (c - c @ f) / alpha


@pytest.mark.parametrize("dtype", [np.float32])
def test_one_kernel_call_reaches_the_last_rows(dtype, rng):
    A = np.zeros((N, D), dtype)
    A[-5:] = rng.integers(-2, 3, (5, D))
    x = rng.integers(-1, 2, D) / 16.0
    b = rng.uniform(size=N)
    b /= b.sum()
    data = passes.RowData(b, np.empty(0), np.empty(0), Groups.one(N, kept=True), 1.0, False)
    work = passes.Gradient(data, x, N)
    (totals, grad), _ = work.block(Rows(0, N, A))
    z = np.zeros(N)
    z[-5:] = A[-5:].astype(np.float64) @ x
    value, weights = dloss(z, b)
    np.testing.assert_array_equal(work.z, z)
    np.testing.assert_allclose(totals[0], value, rtol=1e-12)
    np.testing.assert_allclose(grad, A[-5:].T.astype(np.float64) @ weights[-5:], rtol=1e-5, atol=1e-18)


def test_a_broadcast_row(rng):
    row = rng.standard_normal(D).astype(np.float32) / 32
    b = rng.uniform(size=N)
    b /= b.sum()
    x = rng.standard_normal(D)
    value, grad = fs.SoftResProblem(np.broadcast_to(row, (N, D)), b).value_and_grad(x)
    wanted, weights = dloss(np.full(N, row.astype(np.float64) @ x), b)
    scale = np.abs(weights).sum() * np.abs(row)
    np.testing.assert_allclose(value, wanted, rtol=1e-10)
    assert (np.abs(grad - row * weights.sum()) <= 1e-5 * scale).all()
