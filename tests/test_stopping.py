"""fastsoftres/solvers/stopping.py, evaluator.py: the measures against the formulas of ``reference``, and the
counts against the reads that were made."""

from __future__ import annotations

import numpy as np
import pytest
from outside import Plain

import fastsoftres as fs
from fastsoftres.solvers.evaluator import Evaluator
from fastsoftres.solvers.stopping import Measures, Status, measure, tolerance


@pytest.mark.parametrize("options", [{}, {"ridge": 1e-2}, {"row_ridge": 1e-2}])
@pytest.mark.parametrize("skip", [0.0, 0.5, 1.0])
def test_measures_are_their_definitions(rng, skip, options):
    A = rng.standard_normal((60, 4)) * [1.0, 10.0, 0.1, 1.0]
    problem = fs.SoftResProblem(A, rng.dirichlet(np.ones(60)), skip=skip, **options)
    evaluator = Evaluator(problem)
    for _ in range(5):
        x = rng.standard_normal(4) / [1.0, 10.0, 0.1, 1.0]
        values = Plain.of(problem).at(x)
        point = evaluator.at(x)
        scales = evaluator.scales(point)
        np.testing.assert_allclose(scales.terms, values.terms, rtol=1e-10)
        np.testing.assert_allclose(scales.rows, values.rows, rtol=1e-8)
        got = measure(point, scales)
        relative = np.abs(values.grad) / values.terms
        assert got.gradient == pytest.approx(relative.max(), rel=1e-8)
        wanted = np.linalg.norm(relative) / np.linalg.norm(values.rows / values.terms)
        assert got.plateau == pytest.approx(wanted, rel=1e-7)
        assert 0.0 < got.gradient <= 1.0
        assert 0.0 < got.plateau <= 1.0 + 1e-12
        b = problem.b
        assert got.misfit == pytest.approx(np.sum((values.f - b) ** 2) / (b @ b), rel=1e-8)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_measures_are_free_of_units(rng, factor):
    """Of columns, all together and one by one, and of the number of rows."""
    A = rng.standard_normal((60, 3))
    b = rng.dirichlet(np.ones(60))
    x = rng.standard_normal(3)
    units = np.array([factor, 1.0, 1.0 / factor])

    def measures(A, b, x):
        evaluator = Evaluator(fs.SoftResProblem(A, b, skip=0))
        point = evaluator.at(x)
        return measure(point, evaluator.scales(point))

    wanted = measures(A, b, x)
    np.testing.assert_allclose(measures(A * units, b, x / units), wanted, rtol=1e-9)
    np.testing.assert_allclose(measures(np.repeat(A, 7, axis=0), np.repeat(b, 7) / 7, x), wanted, rtol=1e-9)


@pytest.mark.parametrize("entries", [0, None], ids=["loop", "compiled"])
@pytest.mark.parametrize("method", ["newton", "newton-cg", "lbfgs"])
@pytest.mark.parametrize("ridge", [1e-9, 1e-2])
def test_a_ridge_takes_what_a_column_of_zeros_was_given(rng, monkeypatch, entries, method, ridge):
    """The fit without that column, and a success, from a start that is far from zero there."""
    if entries is not None:
        monkeypatch.setattr("fastsoftres.solvers.small.ENTRIES", entries)
    A, b = rng.standard_normal((60, 4)), rng.dirichlet(np.ones(60))
    A[:, 2] = 0.0
    x0 = np.array([0.1, -0.1, 3.0, 0.2])
    result = fs.solve(fs.SoftResProblem(A, b, skip=0, ridge=ridge), x0, method=method, maxiter=300)
    without = fs.SoftResProblem(A[:, [0, 1, 3]], b, skip=0, ridge=ridge)
    wanted = fs.solve(without, x0[[0, 1, 3]], method=method)
    assert wanted.success
    assert result.success, result.message
    assert ridge * result.x[2] ** 2 <= 1e-16 * (b @ b)
    np.testing.assert_allclose(result.x[[0, 1, 3]], wanted.x, atol=1e-6)


def test_a_column_of_zeros_hides_no_plateau(rng):
    """On a one-hot f with a ridge beside it."""
    A = np.column_stack([rng.standard_normal((40, 3)), np.zeros(40)])
    problem = fs.SoftResProblem(A, rng.dirichlet(np.ones(40)), skip=0, ridge=1e-30)
    evaluator = Evaluator(problem)
    point = evaluator.at(np.append(rng.standard_normal(3) * 60.0, 1.0))
    assert measure(point, evaluator.scales(point)).plateau > 0.5


def test_plateau_is_told_from_a_solution(rng):
    """On a one-hot f the gradient falls as at a solution, but rows do not cancel in it."""
    A = rng.standard_normal((40, 3))
    problem = fs.SoftResProblem(A, rng.dirichlet(np.ones(40)), skip=0)
    evaluator = Evaluator(problem)
    row = A[int(np.argmax(np.linalg.norm(A, axis=1)))]
    saturated = evaluator.at(row * (30.0 / np.linalg.norm(row)))
    got = measure(saturated, evaluator.scales(saturated))
    assert got.gradient < 1e-8
    assert got.plateau > 0.1
    assert not got.first_order(1e-8)
    solved = evaluator.at(fs.solve(problem).x)
    got = measure(solved, evaluator.scales(solved))
    assert got.gradient < 1e-8
    assert got.plateau < 1e-4
    assert got.first_order(1e-8)


def test_exact_solution_is_first_order_by_its_misfit(rng):
    """Where f = b nothing cancels: the rows' own contributions are rounding."""
    A = rng.standard_normal((40, 3))
    x = rng.standard_normal(3)
    evaluator = Evaluator(fs.SoftResProblem(A, fs.softres(A @ x, skip=0), skip=0))
    point = evaluator.at(x)
    got = measure(point, evaluator.scales(point))
    assert got.misfit < 1e-20
    assert got.first_order(1e-8)
    assert not Measures(1e-9, 0.5, 0.5).first_order(1e-8)
    assert not Measures(1e-7, 0.0, 0.0).first_order(1e-8)


def test_tolerance_is_what_the_storage_can_meet():
    assert tolerance(1e-12, np.dtype(np.float64)) == 1e-12
    assert tolerance(1e-12, np.dtype(np.float32)) == 1e-6
    assert tolerance(1e-3, np.dtype(np.float32)) == 1e-3


def test_only_status_zero_is_a_success():
    assert Status.CONVERGED == 0
    assert len({int(status) for status in Status}) == len(Status)


def test_evaluator_counts_each_kind_of_read(rng):
    problem = fs.SoftResProblem(rng.standard_normal((30, 3)), np.full(30, 1 / 30))
    evaluator = Evaluator(problem)
    point = evaluator.at(np.ones(3))
    t = np.ones(3)
    y = evaluator.times(t)
    np.testing.assert_allclose(y, problem.A @ t, rtol=1e-13)
    line = evaluator.along(point, t, y, 0.5)
    assert evaluator.counts == {"value_and_grad": 1, "product": 1}
    moved, _ = evaluator.gradient(point.x + 0.5 * t, point.z + 0.5 * y, line)
    assert moved.value == pytest.approx(problem.value(np.full(3, 1.5)), rel=1e-12)
    np.testing.assert_allclose(moved.grad, problem.grad(np.full(3, 1.5)), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(evaluator.transposed(y), problem.A.T @ y, rtol=1e-12)
    np.testing.assert_allclose(evaluator.metric(), problem.A.T @ problem.A / 30, rtol=1e-12)
    evaluator.metric()  # kept
    np.testing.assert_allclose(evaluator.hessp(point, t), evaluator.hessian(point) @ t, rtol=1e-10)
    assert evaluator.counts == {"value_and_grad": 2, "product": 2, "assembly": 2, "hessp": 1}
    assert evaluator.passes == 7
    assert evaluator.evaluations == 2
