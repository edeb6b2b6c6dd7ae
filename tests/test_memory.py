"""Peak memory, as the operating system counts it (resident set), in processes of their own: O(n) beside A.

Nothing of A's size may be formed, whatever its layout (passes.py, sources.py)."""

from __future__ import annotations

import sys

import pytest
from reference import run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MEASURE = """if True:
    import sys
    import numpy as np
    import fastsoftres as fs

    def status(name):
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    n, d, order, dtype = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], np.dtype(sys.argv[4])
    small = fs.SoftResProblem(np.ones((300_000, 4), dtype, order=order), np.full(300_000, 1 / 300_000))
    point = small.at(np.zeros(4))
    point.hessp(np.ones(4)), point.hessian().to_dense()  # compiled, threads started
    A = np.empty((n, d), dtype, order=order)
    for start in range(0, n, 1 << 16):
        A[start : start + (1 << 16)] = 1.0 / (1 + np.arange(start, min(start + (1 << 16), n)))[:, None]
    problem = fs.SoftResProblem(A, np.full(n, 1 / n))
    point = None
    x = np.full(d, 0.1)
    before = status("VmRSS")
    {call}
    print((status("VmHWM") - before) / 2**20)
"""


def extra_mebibytes(call, n, d, order="C", dtype="f8"):
    code = MEASURE.replace("{call}", call)
    return float(run_python(code, str(n), str(d), order, dtype))


def test_value_and_gradient_need_two_row_vectors():
    """A has 1 GB; z is one vector, what is allowed two and 64 MiB."""
    n, d = 2_000_000, 64
    extra = extra_mebibytes("problem.value_and_grad(x)", n, d)
    vector = n * 8 / 2**20
    assert 0.5 * vector < extra <= 2 * vector + 64  # the lower bound: that something was measured


@pytest.mark.parametrize(("order", "dtype"), [("F", "f8"), ("C", ">f8"), ("F", "f4")])
def test_other_layouts_are_not_copied_as_a_whole(order, dtype):
    n, d = 300_000, 64
    extra = extra_mebibytes("problem.value_and_grad(x)", n, d, order, dtype)
    assert extra <= 2 * n * 8 / 2**20 + 64 < 0.98 * n * d * 4 / 2**20


def test_hessian_needs_row_vectors_and_its_own_size():
    """D, h, v/alpha beside z; one result for each thread at work or waiting for its turn."""
    n, d = 1_000_000, 64
    extra = extra_mebibytes("h = problem.hessian(x); h.to_dense(); h.matmat(np.ones((d, 4)))", n, d)
    assert extra <= 6 * n * 8 / 2**20 + 64 < n * d * 8 / 2**20


def test_making_a_problem_copies_nothing_but_the_target():
    n, d = 1_000_000, 64
    extra = extra_mebibytes("other = fs.SoftResProblem(A, problem.b)", n, d)
    assert extra <= 2 * n * 8 / 2**20 + 32


@pytest.mark.parametrize(
    ("call", "order"),
    [
        ("problem.hessp(x, np.ones((d, 8)))", "C"),
        ("h = problem.hessian(x); h.to_dense(); h.gauss_newton(); problem.predict(x)", "F"),
    ],
)
def test_float32_is_never_upcast_as_a_whole(call, order):
    """In float64 A would have 307 MB; the row vectors of a Hessian are four, f and its copies three more."""
    n, d = 600_000, 64
    extra = extra_mebibytes(call, n, d, order, "f4")
    assert extra <= 8 * n * 8 / 2**20 + 64 < 0.5 * n * d * 8 / 2**20
