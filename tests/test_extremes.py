"""Numbers at the ends of their range: a finite answer, or an error or a status that says why; never a nan
in x, and no warning from inside (warnings are errors here). Values are compared with closed forms where there
are any; accuracy elsewhere is the subject of other files."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import fastsoftres as fs

SKIPS = (0.0, 1e-300, 1.0, 1e10)
METHODS = ("newton", "newton-cg", "lbfgs")


def answered(call):
    """The result, all of it finite, or the words of a ValueError."""
    try:
        out = call()
    except ValueError as error:  # LinAlgError is one
        assert len(str(error)) > 10
        return str(error)
    for number in np.atleast_1d(np.asarray(out, float)).ravel():
        assert np.isfinite(number)
    return out


def everything(problem, x):
    """Every evaluation at x."""
    answered(lambda: problem.value(x))
    answered(lambda: problem.grad(x))
    answered(lambda: problem.hessp(x, np.ones(x.size)))
    answered(lambda: problem.hessian(x).to_dense())
    answered(lambda: problem.predict(x))


def fits(problem, x0=None):
    """Every method: x finite, and a success or a message."""
    for method in METHODS:
        try:
            result = fs.solve(problem, x0, method=method, maxiter=30)
        except ValueError as error:
            assert len(str(error)) > 10
            continue
        assert np.isfinite(result.x).all()
        assert np.isfinite(result.fun)
        assert np.isfinite(result.jac).all()
        assert result.success or result.message


EXTREMES = [
    -1e308,
    -1e200,
    -1e20,
    -800.0,
    -1.0,
    -1e-308,
    -5e-324,
    0.0,
    5e-324,
    1e-308,
    1.0,
    709.0,
    800.0,
    1e20,
    1e200,
    1e308,
]


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("first", EXTREMES)
def test_z_anywhere(first, skip):
    """Two and three rows with z at any of the numbers, subnormal ones included; f sums to 1."""
    for second in EXTREMES[::3]:
        f = answered(lambda z=[first, second]: fs.softres(z, skip=skip))
        if not isinstance(f, str):
            assert f.sum() == pytest.approx(1.0, abs=1e-12 * max(1.0, np.abs(f).max()))
        A = np.array([[first], [second], [0.0]])
        problem = fs.SoftResProblem(A, [0.5, 0.25, 0.25], skip=skip)
        for x in (np.array([1.0]), np.array([-0.5])):
            everything(problem, x)


@pytest.mark.parametrize("skip", SKIPS)
def test_fits_at_any_scale_of_z(skip):
    for first in EXTREMES[::2]:
        problem = fs.SoftResProblem([[first], [1.0], [0.0]], [0.5, 0.25, 0.25], skip=skip)
        fits(problem)
        fits(problem, np.ones(1))


@pytest.mark.parametrize("exponent", [-300, -150, -100, -20, 20, 100, 150, 300])
@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_scale_of_the_matrix_is_a_unit(exponent, skip, rng):
    """x takes the inverse scale, and the fit is the same."""
    A, b = rng.standard_normal((60, 3)), reference.target(rng, 60)
    known = fs.solve(fs.SoftResProblem(A, b, skip=skip))
    assert known.success
    scaled = fs.SoftResProblem(np.ldexp(A, int(exponent * np.log2(10))), b, skip=skip)
    try:
        found = fs.solve(scaled)
    except ValueError as error:
        assert abs(exponent) > 150, error
        return
    assert np.isfinite(found.x).all()
    if abs(exponent) <= 150:
        assert found.success, found.message
        assert found.fun == pytest.approx(known.fun, rel=1e-9)
        np.testing.assert_allclose(np.ldexp(found.x, int(exponent * np.log2(10))), known.x, rtol=1e-6)
    else:
        assert found.success or found.message


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("skip", [0.0, 0.5])
class TestShapesOfData:
    def test_one_row_dominates_all(self, rng, skip, dtype):
        A, b = rng.standard_normal((50, 3)).astype(dtype), reference.target(rng, 50)
        A[7] = 1e6
        problem = fs.SoftResProblem(A, b, skip=skip)
        everything(problem, np.ones(3))
        assert problem.predict(np.ones(3))[7] == pytest.approx(1.0)
        fits(problem)
        b = np.zeros(50)
        b[7] = 1.0
        fits(fs.SoftResProblem(A, b, skip=skip))

    def test_all_rows_equal(self, rng, skip, dtype):
        """f is 1/n whatever x: the value is known."""
        A, b = np.tile(rng.standard_normal(3), (50, 1)).astype(dtype), reference.target(rng, 50)
        problem = fs.SoftResProblem(A, b, skip=skip)
        value = 0.5 * np.sum((1 / 50 - b) ** 2)
        x = np.array([0.3, -0.2, 0.1])
        assert problem.value(x) == pytest.approx(value, rel=1e-12)
        assert np.abs(problem.grad(x)).max() < (1e-17 if dtype == "f8" else 1e-8)
        everything(problem, x)
        fits(problem)
        assert fs.solve(problem).fun == pytest.approx(value, rel=1e-9)

    def test_duplicated_and_zero_columns(self, rng, skip, dtype):
        """The fit is that of the columns that tell something, and it says how many they are."""
        A, b = rng.standard_normal((80, 2)).astype(dtype), reference.target(rng, 80)
        wide = np.column_stack([A, A[:, 0], np.zeros(80, dtype)]).astype(dtype)
        known, problem = fs.solve(fs.SoftResProblem(A, b, skip=skip)), fs.SoftResProblem(wide, b, skip=skip)
        found = fs.solve(problem)
        assert found.success, found.message
        assert found.identified_rank == 2
        assert found.fun == pytest.approx(known.fun, rel=1e-7)
        fits(problem)
        fits(problem, np.ones(4))

    def test_all_zeros(self, rng, skip, dtype):
        problem = fs.SoftResProblem(np.zeros((20, 2), dtype), np.full(20, 0.05), skip=skip)
        everything(problem, np.ones(2))
        fits(problem)
        fits(problem, np.ones(2))


def test_alpha_at_zero():
    """exp(z) + z = 0 at z = -W(1): a ValueError that names it, from every entry; beside it large numbers."""
    z0 = -0.5671432904097838  # -W(1)
    problem = fs.SoftResProblem([[z0]], [1.0], skip=1.0)
    everything(problem, np.ones(1))
    two = fs.SoftResProblem([[z0], [z0]], [0.25, 0.75], skip=1.0)
    everything(two, np.ones(1))
    fits(two)
    exactly = fs.SoftResProblem([[-1024.0], [0.0]], [0.5, 0.5], skip=2.0**-10)
    for call in (exactly.value, exactly.grad, exactly.hessian, exactly.predict):
        with pytest.raises(ValueError, match=r"alpha = sum.* is 0\.0"):  # exp(-1024) is 0
            call([1.0])
    fits(exactly)
    with pytest.raises(ValueError, match="is zero"):
        fs.softres([-1024.0, 0.0], skip=2.0**-10)


@settings(max_examples=15)
@given(st.integers(-12, 12), st.sampled_from([-1.0, 1.0]))
def test_alpha_crosses_zero(exponent, side):
    """At any distance from the barrier: finite, or said to be undefined; a fit stays on its side."""
    A = np.array([[-2.0], [0.0], [0.5]])
    from scipy.optimize import brentq

    skip = 4.0
    root = brentq(lambda x: np.exp(-2 * x) + 1 + np.exp(x / 2) - 1.5 * skip * x, 0.1, 2.0, xtol=1e-16)
    x = np.array([root + side * 10.0**exponent if exponent < 0 else root + side * exponent / 12])
    problem = fs.SoftResProblem(A, [0.2, 0.3, 0.5], skip=skip)
    everything(problem, x)
    fits(problem, x)


def test_float32_at_its_limits(rng):
    big, tiny = np.finfo("f4").max, np.float32(1e-45)
    for scale in (big, -big, tiny, np.finfo("f4").tiny):
        A = np.array([[scale, 1], [1, scale], [0, 1], [1, 0]], "f4")
        problem = fs.SoftResProblem(A, [0.1, 0.2, 0.3, 0.4], skip=0.5)
        for x in ([1.0, 1.0], [1e-38, -1e-38], [1e300, 1e300]):
            everything(problem, np.array(x))
        fits(problem)


def test_penalties_at_their_limits(rng):
    A, b = rng.standard_normal((30, 2)), reference.target(rng, 30)
    for options in (
        {"ridge": 1e308},
        {"ridge": 5e-324},
        {"row_ridge": 1e308},
        {"row_ridge": 5e-324},
        {"skip": 1e308},
    ):
        problem = fs.SoftResProblem(A, b, **options)
        everything(problem, np.ones(2))
        everything(problem, np.full(2, 1e200))
        fits(problem)


@pytest.mark.filterwarnings("ignore:b sums")
@pytest.mark.parametrize("size", [1e308, 1e160, 1e-160, 5e-324])
def test_targets_of_any_size(rng, size):
    A, b = rng.standard_normal((30, 2)), np.full(30, size)
    if size > 1e153:
        with pytest.raises(ValueError, match="b must have a finite sum of squares, got entries up to"):
            fs.SoftResProblem(A, b, skip=0.5)
        return
    problem = fs.SoftResProblem(A, b, skip=0.5)
    everything(problem, np.ones(2))
    fits(problem)


@pytest.mark.slow
def test_more_entries_than_32_bits_count():
    """2^31 + 2^20 entries behind a view, of a matrix whose entries are all 1: f = 1/n, grad = 0."""
    n, d = (1 << 21) + 1024, 1024
    assert n * d > 2**31
    A = np.broadcast_to(np.float32(1.0), (n, d))
    problem = fs.SoftResProblem(A, np.full(n, 1 / n), skip=0.5, ridge=2.0)
    x = np.full(d, 1 / d)
    value, grad = problem.value_and_grad(x)
    assert value == pytest.approx(1.0 / d, rel=1e-9)
    np.testing.assert_allclose(grad, 2.0 * x, rtol=1e-6)


@pytest.mark.slow
def test_more_rows_than_32_bits_count_bytes_of():
    """2^28 + 1 rows: row vectors of more than 2^31 bytes; the value at a constant matrix is known."""
    n = (1 << 28) + 1
    problem = fs.SoftResProblem(
        np.broadcast_to(np.float32(1.0), (n, 8)), np.broadcast_to(1.0 / n, (n,)), skip=0.0, ridge=1.0
    )
    assert n * 8 > 2**31
    assert problem.value(np.ones(8)) == pytest.approx(4.0, rel=1e-9)
