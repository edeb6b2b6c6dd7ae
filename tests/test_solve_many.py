"""fastsoftres/solvers/many.py: against the fits made one by one, masked rows against removed rows, and the x
that made a target."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftres as fs


def targets(rng, A, m, skip, noise=0.0):
    X = rng.standard_normal((A.shape[1], m)) / np.sqrt(A.shape[1])
    B = np.column_stack([fs.softres(A @ x, skip=skip) for x in X.T])
    B = B * (1.0 + noise * rng.standard_normal(B.shape))
    return X, B / B.sum(axis=0)


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_attainable_targets_give_back_their_x(rng, skip):
    A = rng.standard_normal((120, 5))
    X, B = targets(rng, A, 7, skip)
    result = fs.solve_many(A, B, skip=skip)
    assert result.success.all()
    np.testing.assert_allclose(result.x, X, rtol=1e-6, atol=1e-8)
    assert (result.fit_relative <= 1e-8).all()
    for name in ("fun", "success", "status", "nit", "fit_relative", "gradient", "identified_rank", "passes"):
        assert result[name].shape == (7,), name
    assert all("converged" in message for message in result.message)


@pytest.mark.parametrize("options", [{}, {"ridge": 1e-3}, {"loss": "kl", "skip": 0.0}, {"row_ridge": 1e-4}])
def test_each_fit_is_what_solve_gives_it_alone(rng, options):
    A = rng.standard_normal((80, 4))
    B = rng.dirichlet(np.full(80, 0.3), 5).T
    result = fs.solve_many(A, B, **options)
    for j in range(5):
        alone = fs.solve(fs.SoftResProblem(A, B[:, j], **options))
        np.testing.assert_array_equal(result.x[:, j], alone.x)
        assert (result.fun[j], result.nit[j], result.status[j]) == (alone.fun, alone.nit, alone.status)


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_masked_rows_are_removed_rows(rng, skip):
    A = rng.standard_normal((90, 3))
    _, B = targets(rng, A, 4, skip, noise=0.2)
    mask = rng.random((90, 4)) < 0.7
    B = np.where(mask, B, 0.0)
    B /= B.sum(axis=0)
    result = fs.solve_many(A, B, skip=skip, mask=mask)
    for j in range(4):
        alone = fs.solve(fs.SoftResProblem(A[mask[:, j]], B[mask[:, j], j], skip=skip))
        np.testing.assert_allclose(result.x[:, j], alone.x, rtol=1e-7, atol=1e-9)


def test_lengths_are_prefixes(rng):
    A = rng.standard_normal((60, 3))
    lengths = np.array([60, 45, 30, 20])
    B = np.zeros((60, 4))
    for j, end in enumerate(lengths):
        B[:end, j] = rng.dirichlet(np.ones(end))
    result = fs.solve_many(A, B, skip=0.0, lengths=lengths)
    for j, end in enumerate(lengths):
        alone = fs.solve(fs.SoftResProblem(A[:end], B[:end, j], skip=0.0))
        np.testing.assert_allclose(result.x[:, j], alone.x, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("many", [False, True])
def test_heads(rng, many):
    A = rng.standard_normal((3, 50, 4))
    B = rng.dirichlet(np.ones(50), (3, 2)).swapaxes(1, 2)
    B = B if many else B[:, :, 0]
    result = fs.solve_many(A, B)
    assert result.x.shape == ((3, 4, 2) if many else (3, 4))
    assert result.fun.shape == ((3, 2) if many else (3,))
    for h in range(3):
        for j in range(2 if many else 1):
            b = B[h, :, j] if many else B[h]
            alone = fs.solve(fs.SoftResProblem(A[h], b))
            np.testing.assert_array_equal(result.x[h, :, j] if many else result.x[h], alone.x)
    again = fs.solve_many(A, B, x0=result.x)
    assert again.success.all()
    assert (again.nit <= 1).all()


def test_list_of_problems(rng):
    problems = [
        fs.SoftResProblem(rng.standard_normal((40, d)), rng.dirichlet(np.ones(40)), skip=0.0)
        for d in (3, 3, 5)
    ]
    mixed = fs.solve_many(problems)
    assert [x.shape for x in mixed.x] == [(3,), (3,), (5,)]
    same = fs.solve_many(problems[:2])
    assert same.x.shape == (2, 3)
    np.testing.assert_array_equal(same.x[1], mixed.x[1])
    np.testing.assert_array_equal(mixed.x[2], fs.solve(problems[2]).x)


def test_same_bits_for_any_number_of_threads(rng):
    A, B = rng.standard_normal((100, 6)), rng.dirichlet(np.full(100, 0.3), 12).T
    found = []
    for threads in (1, 2, 5):
        with fs.num_threads(threads):
            found.append(fs.solve_many(A, B))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].x, other.x)
        np.testing.assert_array_equal(found[0].fun, other.fun)


def test_deficient_columns_in_parallel(rng):
    """What a rank needs beyond the compiled fit runs in a thread of the pool, and may not wait for it."""
    A = rng.standard_normal((100, 4))
    A = np.hstack([A, A[:, :2]])
    result = fs.solve_many(A, rng.dirichlet(np.ones(100), 6).T)
    assert result.success.all()
    assert (result.identified_rank == 4).all()
    np.testing.assert_allclose(result.x[:2], result.x[4:], rtol=1e-8, atol=1e-12)


def test_time_limit_leaves_the_rest_unfitted(rng):
    result = fs.solve_many(rng.standard_normal((50, 3)), rng.dirichlet(np.ones(50), 4).T, max_seconds=1e-9)
    assert (result.status == 7).all()
    assert not result.success.any()


BAD = [
    ({"B": None}, TypeError, "needs B"),
    ({"B": np.ones((7, 2))}, ValueError, "B must have shape"),
    ({"B": np.ones(8)}, ValueError, "B must have shape"),
    ({"B": np.ones((8, 0))}, ValueError, "at least one target"),
    ({"A": np.ones(8)}, ValueError, "A must have shape"),
    ({"mask": np.ones(8)}, TypeError, "booleans"),
    ({"mask": np.ones(7, bool)}, ValueError, "mask must have shape"),
    ({"mask": np.ones(8, bool), "lengths": [8, 8]}, TypeError, "not both"),
    ({"lengths": [8]}, ValueError, "lengths"),
    ({"lengths": [8, 9]}, ValueError, "from 1 to 8"),
    ({"lengths": [0, 8]}, ValueError, "from 1 to 8"),
    ({"x0": np.ones(3)}, ValueError, "x0 must have shape"),
    ({"x0": np.full((2, 2), np.nan)}, ValueError, "x0 must be finite"),
    ({"method": "magic"}, ValueError, "method"),
    ({"loss": "magic"}, ValueError, "loss"),
    ({"tol": -1.0}, ValueError, "tol"),
    ({"n_starts": 0}, ValueError, "n_starts"),
    ({"skip": -1.0}, ValueError, "target 0: skip"),
    ({"A": np.full((8, 2), np.nan)}, ValueError, "target 0: A must be finite"),
]


@pytest.mark.parametrize(("changed", "error", "message"), BAD)
def test_bad_input_is_named(rng, changed, error, message):
    arguments = {"A": rng.standard_normal((8, 2)), "B": rng.dirichlet(np.ones(8), 2).T, **changed}
    with pytest.raises(error, match=message):
        fs.solve_many(**arguments)


def test_list_takes_nothing_that_a_problem_has(rng):
    problem = fs.SoftResProblem(rng.standard_normal((8, 2)), rng.dirichlet(np.ones(8)))
    with pytest.raises(TypeError, match="B goes with arrays"):
        fs.solve_many([problem], np.ones((8, 1)))
    with pytest.raises(TypeError, match=r"A\[1\]"):
        fs.solve_many([problem, 3])
