"""fastsoftres/point.py: a point against 50 digits (mpmath), a line against jax along it, and the point of a
known z against the point that is computed from x."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import reference
from reference import relative, target
from test_problem import case

import fastsoftres as fs
from fastsoftres import point as points

SKIPS = [0.0, 1.0, 0.3]
DTYPES = [np.float64, np.float32]


@pytest.fixture(params=["flat", "penalties", "peaked"])
def data(request, rng):
    return case(request.param, rng)


def problem_of(data, skip):
    A, x, b, row_ridge, ridge = data
    return fs.SoftResProblem(A, b, skip=skip, row_ridge=row_ridge, ridge=ridge), x


@pytest.mark.parametrize("skip", SKIPS)
def test_what_a_point_knows(skip, data):
    problem, x = problem_of(data, skip)
    A, _, b, row_ridge, ridge = data
    true = reference.exact(A, x, b, skip, row_ridge, ridge)
    point = problem.at(x)
    np.testing.assert_array_equal(point.x, x)
    np.testing.assert_allclose(point.z, true.z, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(point.f, true.f, rtol=1e-12, atol=1e-15)
    one = reference.group(point.z, b, skip)
    (alpha,), (shift,), (s,) = point.normaliser
    assert alpha * np.exp(shift) == pytest.approx(one.alpha, rel=1e-13, abs=0)
    assert s == pytest.approx(one.s, rel=1e-11, abs=0)


def test_points_are_immutable(rng):
    A, x, b, _, _ = case("flat", rng)
    point = fs.SoftResProblem(A, b).at(x)
    for array in (point.x, point.z, point.grad, point.f):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.value = 0.0
    assert not fs.SoftResProblem(np.tile(A, (10, 1)), np.tile(b, 10) / 10).at(x).means.flags.writeable


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("n", [300, 60_000])
def test_means_of_long_groups_are_kept(n, skip, rng):
    """A'v/alpha of a group longer than a block: from x, and where z is known; of short groups, nothing."""
    A, x, b = rng.standard_normal((n, 5)), rng.standard_normal(5) / 2, target(rng, n)
    problem = fs.SoftResProblem(A, b, skip=skip)
    point = problem.at(x)
    one = reference.group(point.z, b, skip)
    wanted, size = A.T @ one.v / one.alpha, abs(A).T @ abs(one.v / one.alpha)
    line = points.along(problem, x, 0 * x, point.z, 0 * point.z, 0.0)
    known, _ = points.at_known_z(problem, x.copy(), point.z.copy(), line)
    for means in (point.means, known.means):
        assert means.shape == (1, 5)
        assert (abs(means[0] - wanted) <= 1e-13 * size).all()
    short = fs.SoftResProblem(
        A[:300], b[:300] / b[:300].reshape(3, 100).sum(1).repeat(100), group_ptr=[0, 100, 200, 300]
    )
    assert short.at(x).means.shape == (0, 5)


def test_points_keep_their_own_x(rng):
    A, x, b, _, _ = case("flat", rng)
    point = fs.SoftResProblem(A, b).at(x)
    before = x.copy()
    x[:] = 0
    np.testing.assert_array_equal(point.x, before)
    assert x.flags.writeable


def test_row_vectors_are_formed_once(rng):
    A, x, b, _, _ = case("flat", rng)
    point = fs.SoftResProblem(A, b).at(x)
    assert point.curvature is point.curvature
    assert point.f is point.f


class TestLine:
    @pytest.mark.parametrize("skip", SKIPS)
    @pytest.mark.parametrize("eta", [0.0, 0.1, 1.0, -0.7])
    def test_value_and_slope(self, eta, skip, data, rng):
        import jax

        problem, x = problem_of(data, skip)
        A, _, b, row_ridge, ridge = data
        point, t = problem.at(x), rng.standard_normal(x.size) / 10
        line = points.along(problem, point.x, t, point.z, points.products(problem, t), eta)
        loss = reference.loss_jax(A, b, skip, row_ridge, ridge)
        value, slope = jax.value_and_grad(lambda step: loss(x + step * t))(eta)
        true = reference.exact(A, x + eta * t, b, skip, row_ridge, ridge)
        assert line.value == pytest.approx(float(value), rel=1e-12, abs=0)
        assert line.slope == pytest.approx(float(slope), abs=1e-12 * float(true.terms @ abs(t)))
        there = problem.at(x + eta * t)
        (alpha,), (shift,), (s,) = there.normaliser
        (line_alpha,), (line_shift,), (line_s,) = line.normaliser
        assert line_alpha * np.exp(line_shift) == pytest.approx(alpha * np.exp(shift), rel=1e-12, abs=0)
        assert line_s == pytest.approx(s, rel=1e-10, abs=0)

    @pytest.mark.parametrize("skip", SKIPS)
    def test_many_chunks(self, skip, rng):
        """Row state in several pieces; the value keeps its digits near a zero residual."""
        n = 150_000
        A, x = rng.standard_normal((n, 3)), rng.standard_normal(3) / 2
        z = A @ x
        u = np.exp(z) + skip * z
        problem = fs.SoftResProblem(A, u / u.sum(), skip=skip)
        t = rng.standard_normal(3)
        moved = problem.at(x + t)
        for eta in (-1.0, -1 + 1e-5, 0.3):
            line = points.along(problem, moved.x, t, moved.z, points.products(problem, t), eta)
            there = problem.at(x + (1 + eta) * t)
            if eta == -1:
                assert line.value <= 1e-28 * problem._bb
            else:
                assert line.value == pytest.approx(there.value, rel=1e-8, abs=0)
                assert line.slope == pytest.approx(there.grad @ t, rel=1e-4 if eta < 0 else 1e-9, abs=0)

    def test_undefined_is_none(self):
        """At the barrier alpha = 0 and where z is not finite; the points beside it are not."""
        problem = fs.SoftResProblem([[-1024.0], [0.0]], [0.5, 0.5], skip=2.0**-10)
        start = problem.at([0.0])
        t = np.ones(1)
        y = points.products(problem, t)
        assert points.along(problem, start.x, t, start.z, y, 1.0) is None
        assert points.along(problem, start.x, t, start.z, y, 1e306) is None
        assert points.along(problem, start.x, t, start.z, y, 0.999).value > 1
        assert points.along(problem, start.x, t, start.z, y, 1.001).value > 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("name", ["flat", "penalties", "peaked"])
def test_point_of_a_known_z(name, skip, dtype, rng):
    """After a line search: one read without a dot product gives the same point, and the scales of MATH 7."""
    A, x, b, row_ridge, ridge = case(name, rng, dtype)
    problem = fs.SoftResProblem(A, b, skip=skip, row_ridge=row_ridge, ridge=ridge)
    start, t = problem.at(x), rng.standard_normal(x.size) / 10
    y = points.products(problem, t)
    line = points.along(problem, start.x, t, start.z, y, 0.5)
    point, scales = points.at_known_z(problem, x + 0.5 * t, start.z + 0.5 * y, line)
    true = reference.exact(A, x + 0.5 * t, b, skip, row_ridge, ridge)
    accuracy = 1e-11 if dtype == np.float64 else 1e-5
    assert point.value == pytest.approx(true.value, rel=1e-11, abs=0)
    assert np.linalg.norm(point.grad - true.grad) <= accuracy * np.linalg.norm(true.terms)
    assert relative(scales.terms, true.terms) <= accuracy
    assert np.linalg.norm(scales.rows - true.rows) <= accuracy * np.linalg.norm(true.terms)
    there = problem.at(x + 0.5 * t)
    np.testing.assert_allclose(point.f, there.f, rtol=1e-10, atol=1e-14)
    assert relative(point.hessp(t), there.hessp(t)) <= 1e3 * accuracy


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [10, 50_000])
def test_products(n, dtype, rng):
    A = rng.standard_normal((n, 5)).astype(dtype)
    problem = fs.SoftResProblem(A, target(rng, n))
    for t in (rng.standard_normal(5), np.zeros(5), 1e300 * rng.standard_normal(5), 1e-300 * np.ones(5)):
        wanted = A.astype(np.float64) @ t
        size = abs(A.astype(np.float64)) @ abs(t)
        assert (abs(points.products(problem, t) - wanted) <= 1e-15 * size).all()


@pytest.mark.parametrize("skip", SKIPS)
def test_loss_is_recomputed_only_where_it_cancels(skip, rng, monkeypatch):
    """Far from a solution the sums of chunks are the loss; near one a pass over row state adds to it."""
    calls = []
    residual = points.passes.Residual

    class Counted(residual):
        def __init__(self, *arguments):
            calls.append(1)
            super().__init__(*arguments)

    monkeypatch.setattr(points.passes, "Residual", Counted)
    A, x = rng.standard_normal((60_000, 4)), rng.standard_normal(4)
    b = fs.softres(A @ x, skip=skip)
    problem = fs.SoftResProblem(A, b, skip=skip)
    problem.at(-x)
    assert len(calls) == 0
    assert problem.at(x).value <= 1e-28 * problem._bb
    assert len(calls) == 1
