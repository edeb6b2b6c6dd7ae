"""The same input gives the same bits: over a hundred runs, wherever the arrays lie, and for any number of
threads."""

from __future__ import annotations

import numpy as np
import pytest
import reference

import fastsoftres as fs


def bits(A, b, method, **options):
    """A fit, and what is evaluated where it ends."""
    problem = fs.SoftResProblem(A, b, **options)
    result = fs.solve(problem, np.full(A.shape[1], 0.1), method=method, maxiter=6)
    H = problem.hessian(result.x).to_dense()
    return result.x.tobytes() + np.float64(result.fun).tobytes() + result.jac.tobytes() + H.tobytes()


@pytest.mark.parametrize("method", ["newton", "newton-cg", "lbfgs"])
def test_a_hundred_runs(rng, method):
    """Each on a copy at another address, with 1, 2, 3 or 7 threads."""
    A, b = rng.standard_normal((5_000, 7)), reference.target(rng, 5_000)
    assert len(fs.SoftResProblem(A, b)._source.bounds()) == 1
    wanted = bits(A, b, method, skip=0.5)
    for k, (a, c) in enumerate(reference.placements(rng, [A, b], count=99)):
        with fs.num_threads((1, 2, 3, 7)[k % 4]):
            assert bits(a, c, method, skip=0.5) == wanted, k


def test_a_hundred_runs_of_many_chunks(rng):
    """Large enough for threads to share it."""
    A, b = rng.standard_normal((40_000, 6)), reference.target(rng, 40_000)
    assert len(fs.SoftResProblem(A, b)._source.bounds()) > 4
    fits, evaluations = set(), set()
    for k in range(100):
        with fs.num_threads((1, 2, 3, 7)[k % 4]):
            point = fs.SoftResProblem(A, b, skip=0.5).at(np.full(6, 0.1))
            evaluations.add(point.grad.tobytes() + point.z.tobytes() + point.hessp(np.ones(6)).tobytes())
            if k % 20 < 4:
                fits.add(bits(A, b, "newton", skip=0.5))
    assert len(evaluations) == len(fits) == 1
