"""solvers/lockstep.py: many targets at once against separate solves, SciPy, and rows removed."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
import reference
import scipy.optimize
from reference import run_python
from scipy.special import logsumexp

import fastsoftres as fs
from fastsoftres.solvers.lockstep import lockstep
from fastsoftres.sources import DenseRows

pytestmark = pytest.mark.filterwarnings("ignore:b sums to")


def make(rng, n, d, m, skip, noise=0.3, spread=1.0, dtype=np.float64):
    """A, B: m targets of one A with noise."""
    A = rng.standard_normal((n, d)).astype(dtype)
    X = rng.standard_normal((d, m))
    Z = A @ (spread * X / np.linalg.norm(X, axis=0))
    B = (np.exp(Z) + skip * Z) * (1 + noise * rng.standard_normal((n, m)))
    return A, B / B.sum(0)


def check(A, B, found, tol=1e-8, kl=False, rows=None, **options):
    """Every success is a stationary point by the plain formulas; fields agree with them."""
    skip = options.get("skip", 1.0)
    for k in np.flatnonzero(found.status == 0):
        live = slice(None) if rows is None else rows[:, k]
        Ak, bk, x = A[live], B[live, k], found.x[:, k]
        w, ridge = options.get("row_ridge", np.zeros(len(A)))[live], options.get("ridge", 0.0)
        if kl:
            z = Ak @ x
            f = np.exp(z - logsumexp(z))
            terms = abs(Ak).T @ (bk.sum() * f + bk)
            grad = Ak.T @ (bk.sum() * f - bk)
        else:
            here = reference.plain(Ak, x, bk, skip, row_ridge=w, ridge=ridge)
            f, grad, terms = here.f, here.grad, here.terms
            assert found.fun[k] == pytest.approx(here.value, rel=1e-9, abs=1e-15 * bk @ bk)
        assert (abs(grad) <= 2 * tol * terms + 1e-15 * terms).all()
        assert (abs(found.jac[:, k] - grad) <= 1e-11 * terms).all()
        c = f - bk
        if not bk.any():
            assert found.fit_relative[k] == np.inf
            continue
        assert found.fit_relative[k] == pytest.approx(
            np.linalg.norm(c) / np.linalg.norm(bk), rel=1e-6, abs=1e-14
        )
        assert found.fit_largest[k] == pytest.approx(abs(c).max(), rel=1e-6, abs=1e-15)


@pytest.mark.parametrize("skip", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("m", [1, 5, 70])
def test_same_minima_as_separate_solves(m, skip, rng):
    """70 columns are two batches; rows are sampled."""
    A, B = make(rng, 60_000, 7, m, skip)
    found = lockstep(DenseRows(A), B, skip=skip)
    assert (found.status == 0).all()
    assert not found.alone.any()
    check(A, B, found, skip=skip)
    for k in {0, m - 1}:
        one = fs.solve(fs.SoftResProblem(A, B[:, k], skip=skip))
        assert found.fun[k] == pytest.approx(one.fun, rel=1e-11)
        np.testing.assert_allclose(found.x[:, k], one.x, atol=1e-6)


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_scipy_finds_nothing_lower(skip, rng):
    A, B = make(rng, 60_000, 7, 1, skip)
    found = lockstep(DenseRows(A), B, skip=skip)
    problem = fs.SoftResProblem(A, B[:, 0], skip=skip)
    scale = 1.0 / problem.value(np.zeros(7))

    def scaled(x):
        value, grad = problem.value_and_grad(x)
        return scale * value, scale * grad

    best = scipy.optimize.minimize(scaled, np.zeros(7), jac=True, method="BFGS")
    assert found.fun[0] <= best.fun / scale * (1 + 1e-9)


def test_reads_are_shared(rng):
    """Reads of A do not grow with the columns: two an iteration, and four around them."""
    A, B = make(rng, 60_000, 7, 20, 0.0)
    few, many = lockstep(DenseRows(A), B[:, :2], skip=0), lockstep(DenseRows(A), B, skip=0)
    assert many.passes_alone == 0
    assert many.passes <= 2 * many.nit.max() + 4
    assert many.passes <= few.passes + 6


def test_finished_columns_drop_out(rng, monkeypatch):
    """One hard column among easy ones: later passes carry few columns, and the answers are the same."""
    from fastsoftres.solvers import columns as module

    A, B = make(rng, 60_000, 7, 64, 0.0, noise=0.0)
    B[:, 40] = make(np.random.default_rng(5), 60_000, 7, 1, 0.0)[1][:, 0]  # of another A: unrelated
    widths = []

    class Watched(module.Step):
        def __init__(self, data, *rest):
            widths.append(data.width)
            super().__init__(data, *rest)

    monkeypatch.setattr(module, "Step", Watched)
    found = lockstep(DenseRows(A), B, skip=0)
    assert widths[0] == 64
    assert min(widths) < 64
    check(A, B, found, skip=0.0)
    alone = lockstep(DenseRows(A), B[:, [40]], skip=0)
    assert found.fun[40] == pytest.approx(alone.fun[0], rel=1e-9)
    assert (found.status[np.arange(64) != 40] == 0).all()


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_attainable_targets(skip, rng):
    A, B = make(rng, 60_000, 7, 6, skip, noise=0.0)
    found = lockstep(DenseRows(A), B, skip=skip)
    assert (found.status == 0).all()
    assert (found.fit_relative < 1e-7).all()
    check(A, B, found, skip=skip)


def test_bad_columns_among_good_ones(rng):
    """One-hot, constant, mostly zero and unrelated ones: no false success, and the good are not disturbed."""
    n, d = 60_000, 7
    A, B = make(rng, n, d, 20, 0.0)
    good = B.copy()
    B[:, 3] = 0.0
    B[17, 3] = 1.0  # one-hot: no finite minimiser, or a plateau
    B[:, 4] = 1.0 / n
    B[:, 5] = np.where(rng.random(n) < 0.999, 0.0, B[:, 5])
    B[:, 6] = rng.dirichlet(np.full(n, 0.01))
    B[:, 7] = -B[:, 7]
    B[:, 8] = 0.0
    found = lockstep(DenseRows(A), B, skip=0)
    check(A, B, found, skip=0.0)
    assert (found.status >= 0).all()
    assert np.isfinite(found.x).all()
    untouched = np.setdiff1d(np.arange(20), range(3, 9))
    assert (found.status[untouched] == 0).all()
    assert not found.alone[untouched].any()
    reference_fit = lockstep(DenseRows(A), good, skip=0)
    np.testing.assert_allclose(found.fun[untouched], reference_fit.fun[untouched], rtol=1e-12)
    for k in range(3, 9):
        one = fs.solve(fs.SoftResProblem(A, B[:, k], skip=0))
        assert found.status[k] == 0 or one.status != 0
        if found.status[k] == one.status == 0:
            assert found.fun[k] <= one.fun * (1 + 1e-6) + 1e-15 * B[:, k] @ B[:, k]


def test_peaked_targets(rng):
    """z of order 4: samples see few of the rows that hold the weight."""
    A, B = make(rng, 60_000, 7, 8, 0.0, spread=4.0, noise=0.1)
    found = lockstep(DenseRows(A), B, skip=0)
    assert (found.status == 0).all()
    check(A, B, found, skip=0.0)
    for k in range(2):
        assert found.fun[k] == pytest.approx(fs.solve(fs.SoftResProblem(A, B[:, k], skip=0)).fun, rel=1e-9)


def test_penalties_and_offset(rng):
    A, B = make(rng, 40_000, 9, 4, 1.0)
    options = {"row_ridge": 1e-9 * rng.random(40_000), "ridge": 1e-7}
    offset = 0.3 * rng.standard_normal(40_000)
    found = lockstep(DenseRows(A), B, **options)
    assert (found.status == 0).all()
    check(A, B, found, **options)
    found = lockstep(DenseRows(A), B, offset=offset, **options)
    for k in range(4):
        one = fs.solve(fs.SoftResProblem(A, B[:, k], offset=offset, **options))
        assert found.fun[k] == pytest.approx(one.fun, rel=1e-10)


@pytest.mark.parametrize("loss", ["kl", "least-squares"])
@pytest.mark.parametrize("by_length", [False, True])
def test_masks_and_lengths_are_rows_removed(by_length, loss, rng):
    n, d, m = 30_000, 15, 4
    A, B = make(rng, n, d, m, 0.0)
    B = abs(B)
    lengths = np.array([n, 20_000, 25_001, 28_000])
    live = np.arange(n)[:, None] < lengths if by_length else rng.random((n, m)) < 0.8
    B = np.where(live, B, 7.0)  # what stands in other rows is of no interest
    how = {"lengths": lengths} if by_length else {"mask": live}
    kl = loss == "kl"
    found = lockstep(DenseRows(A), B, skip=0, kl=kl, **how)
    assert (found.status == 0).all()
    check(A, B, found, kl=kl, skip=0.0, rows=live)
    for k in range(2):
        one = fs.solve(fs.SoftResProblem(A[live[:, k]], B[live[:, k], k], skip=0, loss=loss))
        assert found.fun[k] == pytest.approx(one.fun, rel=1e-10)
        np.testing.assert_allclose(found.x[:, k], one.x, atol=1e-6)


def test_float32_and_other_layouts(rng):
    A, B = make(rng, 30_000, 15, 5, 1.0, dtype=np.float32)
    wanted = lockstep(DenseRows(A), B)
    assert (wanted.status == 0).all()
    check(A.astype(float), B, wanted, tol=1e-6)
    A64 = A.astype(np.float64)
    plain, fortran = lockstep(DenseRows(A64), B), lockstep(DenseRows(np.asfortranarray(A64)), B)
    np.testing.assert_allclose(fortran.x, plain.x, atol=1e-8)
    np.testing.assert_allclose(wanted.x, plain.x, atol=1e-4)
    np.testing.assert_allclose(lockstep(DenseRows(A64), np.asfortranarray(B)).x, plain.x, atol=0)


def test_starts_that_are_given(rng):
    """Warm starts arrive in few iterations, at the same minima; a saddle is not taken for one."""
    A, B = make(rng, 60_000, 7, 5, 1.0)
    first = lockstep(DenseRows(A), B)
    again = lockstep(DenseRows(A), B, X0=first.x)
    assert (again.status == 0).all()
    np.testing.assert_allclose(again.fun, first.fun, rtol=1e-11)
    assert again.nit.max() < first.nit.max()
    # A and -A stacked with an even target: x = 0 is stationary, and for small b at the rim a saddle
    half = rng.standard_normal((20_000, 2))
    A = np.concatenate([half, -half])
    size = np.sum(half**2, axis=1)
    b = np.concatenate([np.exp(2 * half[:, 0])] * 2) * np.exp(-0 * np.concatenate([size, size]))
    B = np.stack([b / b.sum()] * 3, axis=1)
    found = lockstep(DenseRows(A), B, skip=0, X0=np.zeros((2, 3)))
    at_zero = fs.SoftResProblem(A, B[:, 0], skip=0).at(np.zeros(2))
    saddle = np.linalg.eigvalsh(at_zero.hessian().to_dense())[0] < 0
    assert saddle
    assert (found.fun[found.status == 0] < at_zero.value).all()


def test_small_problems_get_the_starts_of_solve(rng):
    """Below 4e5 entries of A a fit that is not beyond doubt is left to solve and its random starts."""
    A = rng.standard_normal((300, 5))
    B = rng.dirichlet(np.full(300, 0.1), 6).T
    found = lockstep(DenseRows(A), B)
    for k in range(6):
        one = fs.solve(fs.SoftResProblem(A, B[:, k]))
        assert found.fun[k] <= one.fun * (1 + 1e-9)


def test_constant_and_collinear_columns(rng):
    """skip = 0: an intercept stays 0; collinear columns are left to solve."""
    A, B = make(rng, 60_000, 7, 3, 0.0)
    A[:, 2] = 3.0
    found = lockstep(DenseRows(A), B, skip=0)
    assert (found.status == 0).all()
    assert not found.alone.any()
    assert (abs(found.x[2]) < 1e-10).all()
    check(A, B, found, skip=0.0)
    A[:, 2] = A[:, 0] - A[:, 1]
    found = lockstep(DenseRows(A), B, skip=0)
    assert found.alone.all()
    assert (found.status == 0).all()


def test_limits(rng):
    A, B = make(rng, 60_000, 7, 3, 1.0)
    found = lockstep(DenseRows(A), B, maxiter=2)
    assert (found.status == 1).all()
    assert (found.nit == 2).all()
    assert np.isfinite(found.fun).all()
    full = lockstep(DenseRows(A), B)
    assert (found.fun >= full.fun).all()
    found = lockstep(DenseRows(A), B, deadline=time.monotonic() - 1.0)
    assert (found.status == 7).all()
    assert np.isfinite(found.x).all()


def test_same_bits_for_any_number_of_threads(rng):
    A, B = make(rng, 30_000, 15, 20, 1.0)
    results = []
    for threads in (1, 2, 5):
        with fs.num_threads(threads):
            results.append(lockstep(DenseRows(A), B))
    for other in results[1:]:
        for name, field in results[0]._asdict().items():
            np.testing.assert_array_equal(field, getattr(other, name), err_msg=name)


def test_nothing_of_the_callers_is_modified(rng):
    A, B = make(rng, 60_000, 7, 3, 1.0)
    for array in (A, B):
        array.flags.writeable = False
    kept = A.copy(), B.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lockstep(DenseRows(A), B)
    np.testing.assert_array_equal(A, kept[0])
    np.testing.assert_array_equal(B, kept[1])


def test_memory_is_row_state_for_the_columns():
    """Beside A (146 MB) and B: Z (n, m), and what samples and factors need; nothing n x d."""
    code = """if True:
        import sys
        import numpy as np
        from fastsoftres.solvers.lockstep import lockstep
        from fastsoftres.sources import DenseRows

        def status(name):
            with open("/proc/self/status") as lines:
                return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

        rng = np.random.default_rng(0)
        small = rng.standard_normal((20_000, 64))
        lockstep(DenseRows(small), np.full((20_000, 2), 1 / 20_000), skip=0)  # compiled, threads started
        n, d, m = 300_000, 64, 4
        A = rng.standard_normal((n, d))
        B = np.empty((n, m))
        for k in range(m):
            b = np.exp(A[:, k])
            B[:, k] = b / b.sum()
        del b
        before = status("VmRSS")
        found = lockstep(DenseRows(A), B, skip=0)
        assert (found.status == 0).all()
        print((status("VmHWM") - before) / 2**20)
    """
    extra = float(run_python(code))
    Z = 300_000 * 16 * 8 / 2**20
    assert 0.5 * Z < extra <= 1.5 * Z + 32 < 0.95 * 300_000 * 64 * 8 / 2**20
