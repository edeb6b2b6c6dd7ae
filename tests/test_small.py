"""fastsoftres/solvers/small.py: the compiled fit against the loop that serves problems of any size, and
SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from outside import Plain, best_minimum

import fastsoftres as fs
from fastsoftres.solvers import small


def in_python(monkeypatch, problem, *args, **options):
    """The same fit by the loop for problems of any size."""
    with monkeypatch.context() as patched:
        patched.setattr(small, "ENTRIES", 0)
        return fs.solve(problem, *args, **options)


def problems(rng):
    """Every feature of a problem, by name."""
    A = rng.standard_normal((120, 5))
    b = rng.dirichlet(np.full(120, 0.4))
    mask = rng.random(120) < 0.8
    masked = np.where(mask, b, 0.0)
    ptr = np.array([0, 30, 31, 80, 120])
    shares = np.concatenate([rng.dirichlet(np.ones(size)) for size in np.diff(ptr)])
    long = rng.standard_normal((700, 4))
    groups = {"group_ptr": ptr, "group_weights": [1.0, 2.0, 0.5, 3.0]}
    yield "plain", fs.SoftResProblem(A, b)
    yield "softmax", fs.SoftResProblem(A, b, skip=0.0)
    yield "attainable", fs.SoftResProblem(A, fs.softres(A @ np.full(5, 0.4)))
    yield "offset", fs.SoftResProblem(A, b, offset=rng.standard_normal(120))
    yield "mask", fs.SoftResProblem(A, masked / masked.sum(), mask=mask, skip=0.0)
    yield "ridge", fs.SoftResProblem(A, b, ridge=1e-3)
    yield "row ridge", fs.SoftResProblem(A, b, row_ridge=rng.random(120) * 1e-3)
    yield "groups", fs.SoftResProblem(A, shares, **groups)
    yield (
        "groups, softmax, ridges",
        fs.SoftResProblem(A, shares, skip=0.0, ridge=1e-4, row_ridge=1e-4, **groups),
    )
    yield "likelihood", fs.SoftResProblem(A, shares, skip=0.0, loss="kl", **groups)
    yield "long group", fs.SoftResProblem(long, rng.dirichlet(np.ones(700)), skip=0.5)
    yield "Fortran order", fs.SoftResProblem(np.asfortranarray(A), b)
    yield "repeated columns", fs.SoftResProblem(np.hstack([A, A[:, :2]]), b)
    yield "constant", fs.SoftResProblem(np.hstack([A, np.ones((120, 1))]), b, skip=0.0)
    yield "units", fs.SoftResProblem(A * 10.0 ** np.arange(-4, 6, 2), b)
    yield (
        "more columns than rows",
        fs.SoftResProblem(rng.standard_normal((12, 20)), rng.dirichlet(np.ones(12)), ridge=1e-3),
    )


def test_compiled_loop_is_the_loop(rng, monkeypatch):
    """From the same start: status, rank, minimum and x agree."""
    for name, problem in problems(rng):
        x0 = np.zeros(problem.shape[1])
        one, other = fs.solve(problem, x0), in_python(monkeypatch, problem, x0)
        assert (one.status, one.success) == (other.status, other.success), name
        assert one.identified_rank == other.identified_rank, name
        assert one.fun == pytest.approx(other.fun, rel=1e-9, abs=1e-18), name
        np.testing.assert_allclose(one.x, other.x, rtol=1e-4, atol=1e-6 * np.abs(other.x).max(), err_msg=name)
        assert set(one) == set(other), name
        assert one.fit.relative == pytest.approx(other.fit.relative, rel=1e-6, abs=1e-9), name
        if one.optimality.curvature > 1e-9:
            assert one.optimality.curvature == pytest.approx(other.optimality.curvature, rel=1e-3), name
        assert one.null_space.shape == other.null_space.shape, name


def test_float32_is_widened(rng, monkeypatch):
    A = rng.standard_normal((200, 4)).astype(np.float32)
    problem = fs.SoftResProblem(A, rng.dirichlet(np.ones(200)))
    one, other = fs.solve(problem, np.zeros(4)), in_python(monkeypatch, problem, np.zeros(4))
    assert one.success
    assert other.success
    np.testing.assert_allclose(one.x, other.x, rtol=1e-3, atol=1e-4)
    assert one.fun == pytest.approx(fs.SoftResProblem(A.astype(float), problem.b).value(one.x), rel=1e-5)


@pytest.mark.parametrize("skip", [0.0, 1.0])
@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_no_worse_than_scipys_best_of_many_starts(rng, skip, spread):
    for _ in range(3):
        A = rng.standard_normal((60, 4))
        x = rng.standard_normal(4)
        b = fs.softres(A @ (x * spread / np.std(A @ x)), skip=skip) * (1.0 + 0.3 * rng.standard_normal(60))
        problem = fs.SoftResProblem(A, b / b.sum(), skip=skip)
        result = fs.solve(problem)
        assert result.success, result.message
        lowest, _ = best_minimum(Plain.of(problem), 20, rng)
        assert result.fun <= lowest * (1.0 + 1e-6) + 1e-12 * 0.5 * float(problem.b @ problem.b)


def test_following_a_fit_changes_nothing(rng):
    """One iteration a call, with a callback, or all in one: the same bits and the same history."""
    for name, problem in itertools.islice(problems(rng), 3):
        seen = []
        followed = fs.solve(problem, callback=lambda intermediate_result: seen.append(intermediate_result))  # noqa: B023, PLW0108
        alone = fs.solve(problem)
        np.testing.assert_array_equal(followed.x, alone.x, err_msg=name)
        assert followed.history == alone.history, name
        assert followed.starts == alone.starts, name
        assert followed.pass_counts == alone.pass_counts, name
        made = [run["nit"] for run in alone.starts if run["status"] == 0]
        assert len(seen) >= sum(made), name


def test_runs_that_are_left_are_listed_and_never_chosen(rng):
    problem = fs.SoftResProblem(rng.standard_normal((60, 3)), rng.dirichlet(np.full(60, 0.2)), skip=0.0)
    result = fs.solve(problem)
    left = [run for run in result.starts if run["status"] == 8]
    assert left
    assert result.success
    assert result.fun <= min(run["fun"] for run in result.starts) * (1.0 + 1e-6)


@pytest.mark.parametrize("x", [0.0, 700.0, -700.0, 1e6])
@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_extreme_starts_end_in_a_word(rng, skip, x):
    A = rng.standard_normal((50, 2))
    problem = fs.SoftResProblem(A, rng.dirichlet(np.ones(50)), skip=skip)
    result = fs.solve(problem, np.array([x, 0.0]))
    assert np.isfinite(result.fun)
    assert np.isfinite(result.x).all()
    assert result.success == (result.status == 0)
    if result.success:
        assert Plain.of(problem).relative_gradient(result.x) <= 1e-7


def test_size_decides(rng):
    problem = fs.SoftResProblem(rng.standard_normal((40, 3)), np.full(40, 1 / 40))
    assert small.is_small(problem, "newton", 100)
    assert not small.is_small(problem, "newton-cg", 100)
    assert not small.is_small(problem, "newton", 10**6)
    wide = fs.SoftResProblem(rng.standard_normal((20, small.COLUMNS + 1)), np.full(20, 1 / 20))
    assert not small.is_small(wide, "newton", 100)
