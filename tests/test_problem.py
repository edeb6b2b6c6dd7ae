"""fastsoftres/problem.py against automatic differentiation (jax, float64), the formulas of MATH with 50
digits (mpmath), central differences, and SciPy's trust-krylov as a user of its derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import relative, run_python, target
from scipy import optimize, special
from test_sources import LAYOUTS

import fastsoftres as fs
from fastsoftres.point import OutOfDomainError

SKIPS = [0.0, 1.0, 0.3]
DTYPES = [np.float64, np.float32]
#: Of the size of the terms that cancel in the gradient (MATH 7, m1).
GRADIENT = {np.float64: 1e-12, np.float32: 1e-5}


def case(name, rng, dtype=np.float64):
    """Data, a point and penalties: A, x, b, row_ridge, ridge."""
    shapes = {"one entry": (1, 1), "one row": (1, 4), "one column": (9, 1), "more columns": (8, 20)}
    n, d = shapes.get(name, (60, 6))
    A, x = rng.standard_normal((n, d)), rng.standard_normal(d) / math.sqrt(d)
    b, row_ridge, ridge = target(rng, n), 0.0, 0.0
    if name == "peaked":  # z of order 8: a few rows hold all of f
        x *= 8
    elif name == "below":  # alpha < 0 for skip > 0
        A[:, 0] = 1.0
        x[0] = -4.0
    elif name == "penalties":
        row_ridge, ridge = rng.exponential(size=n) / n, 0.02
    elif name == "scaled":  # columns of very different size
        A *= 10.0 ** np.arange(-3, 3)
        x /= 10.0 ** np.arange(-3, 3)
    elif name == "signed target":
        b = rng.standard_normal(n)
        b += (1 - b.sum()) / n
    return A.astype(dtype), x, b, row_ridge, ridge


CASES = [
    "flat", "peaked", "below", "penalties", "scaled", "signed target", "one entry", "one row", "one column",
    "more columns",
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name, skip, dtype, rng):
    A, x, b, row_ridge, ridge = case(name, rng, dtype)
    true = reference.exact(A, x, b, skip, row_ridge, ridge)
    value, grad = fs.SoftResProblem(A, b, skip=skip, row_ridge=row_ridge, ridge=ridge).value_and_grad(x)
    assert type(value) is float
    assert grad.dtype == np.float64
    # f and alpha inherit the rounding of z where u of both signs cancel in alpha
    u = np.exp(true.z) + skip * true.z
    condition = abs(u).sum() / abs(u.sum())
    assert value == pytest.approx(true.value, rel=1e-13 * condition, abs=1e-15)
    assert np.linalg.norm(grad - true.grad) <= GRADIENT[dtype] * condition * np.linalg.norm(true.terms)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skip", SKIPS)
def test_gradient_by_automatic_differentiation(skip, dtype, rng):
    """Many chunks of rows, merged; jax knows the objective only."""
    import jax

    n, d = 60_000, 7
    A, x, b = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal(d) / 3, target(rng, n)
    row_ridge = rng.exponential(size=n) / n
    problem = fs.SoftResProblem(A, b, skip=skip, row_ridge=row_ridge, ridge=0.1)
    assert len(problem._source.bounds()) > 5
    value, grad = jax.value_and_grad(reference.loss_jax(A, b, skip, row_ridge, 0.1))(x)
    terms = reference.plain(A, x, b, skip, row_ridge, 0.1).terms
    got_value, got = problem.value_and_grad(x)
    assert got_value == pytest.approx(float(value), rel=1e-12, abs=0)
    assert np.linalg.norm(got - np.asarray(grad)) <= GRADIENT[dtype] * np.linalg.norm(terms)


@pytest.mark.parametrize("skip", SKIPS)
def test_gradient_by_central_differences(skip, rng):
    A, x, b, row_ridge, ridge = case("penalties", rng)
    problem = fs.SoftResProblem(A, b, skip=skip, row_ridge=row_ridge, ridge=ridge)
    step = 1e-5
    difference = [
        (problem.value(x + step * e) - problem.value(x - step * e)) / (2 * step) for e in np.eye(x.size)
    ]
    np.testing.assert_allclose(problem.grad(x), difference, rtol=1e-6, atol=1e-9)


class TestExtremes:
    """Where the plain formula over- or underflows."""

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("offset", [-1000.0, -100.0, 100.0, 1000.0])
    def test_softmax_far_from_zero(self, offset, dtype, rng):
        """skip = 0: a constant added to z changes nothing."""
        A, x, b, _, _ = case("flat", rng, dtype)
        far = np.column_stack([A, np.full(60, dtype(offset))])
        value, grad = fs.SoftResProblem(far, b, skip=0).value_and_grad(np.append(x, 1.0))
        wanted, near = fs.SoftResProblem(A, b, skip=0).value_and_grad(x)
        assert value == pytest.approx(wanted, rel=1e-11, abs=0)
        size = np.linalg.norm(near)
        np.testing.assert_allclose(grad[:-1], near, atol=(1e-11 if dtype == np.float64 else 1e-5) * size)
        assert abs(grad[-1]) <= (1e-12 if dtype == np.float64 else 1e-5) * abs(offset)

    @pytest.mark.parametrize("skip", [1.0, 0.3])
    def test_linear_term_far_below(self, skip, rng):
        """z near -1000: f is z/sum(z)."""
        A = np.column_stack([rng.standard_normal((40, 3)), np.full(40, -1000.0)])
        b, x = target(rng, 40), np.array([0.5, -1.0, 2.0, 1.0])
        z = A @ x
        np.testing.assert_allclose(fs.SoftResProblem(A, b, skip=skip).predict(x), z / z.sum(), rtol=1e-13)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("skip", SKIPS)
    @pytest.mark.parametrize("scale", [30.0, 1000.0, 1e30])
    def test_one_hot_plateau(self, scale, skip, dtype, rng):
        """One row holds all of f: the value is that of a one-hot f, the gradient is far below its terms."""
        A, x, b, _, _ = case("flat", rng, dtype)
        A[17] = 9 * abs(A).max() * np.sign(x)
        x = x * scale
        one_hot = np.zeros(60)
        one_hot[17] = 1.0
        point = fs.SoftResProblem(A, b, skip=skip).at(x)
        np.testing.assert_allclose(point.f, one_hot, atol=1e-9)
        assert point.value == pytest.approx(((one_hot - b) ** 2).sum() / 2, rel=1e-9, abs=0)
        assert np.isfinite(point.grad).all()
        size = np.linalg.norm(abs(A.astype(float))[17])
        assert np.linalg.norm(point.grad) <= (1e-9 if dtype == np.float64 else 1e-5) * size
        assert np.isfinite(point.hessp(x / scale)).all()
        assert np.isfinite(point.hessian().to_dense()).all()

    @pytest.mark.parametrize("skip", SKIPS)
    def test_largest_numbers(self, skip):
        """z = 1e308 and -1e308 in one problem."""
        problem = fs.SoftResProblem([[1e308], [-1e308], [0.0]], [0.2, 0.3, 0.5], skip=skip)
        np.testing.assert_array_equal(problem.predict([1.0]), [1, 0, 0])
        assert problem.value([1.0]) == pytest.approx((0.8**2 + 0.3**2 + 0.5**2) / 2, rel=1e-15, abs=0)

    @given(st.floats(-700, 700), st.floats(0, 50), st.sampled_from([0.0, 1e-3, 1.0]), st.integers(0, 99))
    @settings(max_examples=40)
    def test_any_range_of_z(self, offset, spread, skip, seed):
        """Value and gradient against 50 digits wherever z lies."""
        rng = np.random.default_rng(seed)
        A = np.column_stack([spread * rng.standard_normal(12), np.full(12, offset)])
        x, b = np.ones(2), target(rng, 12)
        true = reference.exact(A, x, b, skip)
        u = abs(np.exp(true.z - true.z.max())) if skip == 0 else None
        if skip:
            exact_u = [reference.mpmath.exp(t) + skip * reference.mpmath.mpf(t) for t in true.z]
            total, size = sum(exact_u), sum(abs(t) for t in exact_u)
            condition = float(size / abs(total))
        else:
            condition = 1.0
            assert u.max() == 1
        if condition > 1e3:
            return  # on the barrier alpha = 0 nothing is accurate
        condition *= 1 + abs(true.z).max()  # rounding of z is relative to z, f moves with z itself
        value, grad = fs.SoftResProblem(A, b, skip=skip).value_and_grad(x)
        assert value == pytest.approx(true.value, rel=1e-13 * condition**2, abs=1e-14)
        assert np.linalg.norm(grad - true.grad) <= 1e-13 * condition**2 * np.linalg.norm(true.terms) + 1e-300


class TestNearZeroResidual:
    """At distance 1e-6 from an exact solution, with 50 digits; the textbook two-pass formula beside it."""

    @pytest.mark.parametrize("skip", SKIPS)
    def test_gradient(self, skip, rng):
        ours, theirs = [], []
        for _ in range(5):
            A, solution = rng.standard_normal((200, 7)), rng.standard_normal(7) / 2
            b = reference.exact(A, solution, np.zeros(200), skip).f
            x = solution + 1e-6 * rng.standard_normal(7)
            true = reference.exact(A, x, b, skip).grad
            ours.append(relative(fs.SoftResProblem(A, b, skip=skip).grad(x), true))
            theirs.append(relative(reference.plain(A, x, b, skip).grad, true))
        assert max(ours) <= 10 * max(theirs)
        assert max(ours) < 1e-6

    @pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-8])
    @pytest.mark.parametrize("skip", SKIPS)
    def test_value(self, skip, distance, rng):
        """Expanded, f² - 2fb + b² has an absolute error of 1e-17: of a value of 1e-18 no digit is left."""
        A, solution = rng.standard_normal((200, 7)), rng.standard_normal(7) / 2
        b = reference.exact(A, solution, np.zeros(200), skip).f
        x = solution + distance * rng.standard_normal(7)
        true = reference.exact(A, x, b, skip)
        value = fs.SoftResProblem(A, b, skip=skip).value(x)
        assert value == pytest.approx(true.value, rel=1e-14 / distance, abs=0)
        assert value < 1e-2 * (b @ b)

    @pytest.mark.parametrize("skip", SKIPS)
    def test_at_the_solution(self, skip, rng):
        A, solution = rng.standard_normal((200, 7)), rng.standard_normal(7) / 2
        b = reference.exact(A, solution, np.zeros(200), skip).f
        point = fs.SoftResProblem(A, b, skip=skip).at(solution)
        assert 0 <= point.value <= 1e-31
        terms = reference.plain(A, solution, b, skip).terms
        assert np.linalg.norm(point.grad) <= 1e-14 * np.linalg.norm(terms)


class TestLayouts:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("n", [50, 60_000])
    def test_all_give_the_result_of_c_order(self, layout, n, dtype, rng):
        """To the last bit, in one chunk and in many; A is untouched."""
        if layout == "one row repeated":
            plain = np.repeat(rng.standard_normal((1, 6)).astype(dtype), n, axis=0)
        else:
            plain = rng.standard_normal((n, 6)).astype(dtype)
        A = LAYOUTS[layout][0](plain)
        np.testing.assert_array_equal(A, plain)
        flags = str(A.flags)
        b, x, t = target(rng, n), rng.standard_normal(6) / 2, rng.standard_normal(6)
        results = []
        for matrix in (plain.copy(), A):
            point = fs.SoftResProblem(matrix, b, ridge=0.1).at(x)
            results.append((point.value, point.grad, point.hessp(t), point.hessian().to_dense()))
        for got, wanted in zip(results[1], results[0], strict=True):
            np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(A, plain)
        assert str(A.flags) == flags

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_read_only(self, dtype, rng):
        A, b, x = rng.standard_normal((50, 6)).astype(dtype), target(rng, 50), rng.standard_normal(6)
        wanted = fs.SoftResProblem(A, b).at(x)
        for array in (A, b, x):
            array.flags.writeable = False
        problem = fs.SoftResProblem(A, b)
        got = problem.at(x)
        assert got.value == wanted.value
        np.testing.assert_array_equal(got.grad, wanted.grad)
        np.testing.assert_array_equal(got.hessian().to_dense(), wanted.hessian().to_dense())
        assert problem.A is A
        assert not A.flags.writeable

    @pytest.mark.parametrize(
        "make", [np.ndarray.tolist, lambda A: A.astype(np.int8), lambda A: A.astype(np.float16)]
    )
    def test_other_real_types(self, make, rng):
        A, b, x = rng.integers(-3, 4, (20, 3)) * 1.0, target(rng, 20), rng.standard_normal(3)
        problem = fs.SoftResProblem(make(A), b)
        assert problem.dtype == np.float64
        np.testing.assert_array_equal(problem.grad(x), fs.SoftResProblem(A, b).grad(x))

    def test_memory_map(self, tmp_path, rng):
        A, b, x = rng.standard_normal((50, 6)), target(rng, 50), rng.standard_normal(6)
        np.save(tmp_path / "A.npy", A)
        mapped = np.load(tmp_path / "A.npy", mmap_mode="r")
        np.testing.assert_array_equal(fs.SoftResProblem(mapped, b).grad(x), fs.SoftResProblem(A, b).grad(x))

    def test_data_frame(self, rng):
        pandas = pytest.importorskip("pandas")
        A, b, x = rng.standard_normal((50, 6)), target(rng, 50), rng.standard_normal(6)
        problem = fs.SoftResProblem(pandas.DataFrame(A), pandas.Series(b))
        np.testing.assert_array_equal(problem.grad(x), fs.SoftResProblem(A, b).grad(x))


class TestRepeats:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_same_bits_for_any_number_of_threads(self, dtype, rng):
        n, d = 50_000, 11
        problem = fs.SoftResProblem(
            rng.standard_normal((n, d)).astype(dtype), target(rng, n), row_ridge=1e-6, ridge=1e-3
        )
        assert len(problem._source.bounds()) > 5
        x, T = rng.standard_normal(d) / 3, rng.standard_normal((d, 3))

        def everything():
            point = problem.at(x)
            hessian = point.hessian()
            return [
                np.array(point.value), point.grad, point.z, point.means, point.f,
                point.hessp(x), point.hessp(T), hessian.to_dense(), hessian.gauss_newton(),
                hessian.to_dense(assembly_dtype=np.float32),
            ]  # fmt: skip

        with fs.num_threads(1):
            wanted = everything()
        for threads in (1, 2, 3, 2, 3):
            with fs.num_threads(threads):
                for got, one in zip(everything(), wanted, strict=True):
                    np.testing.assert_array_equal(got, one)

    @pytest.mark.parametrize("n", [5, 12, 40, 3000])
    def test_same_bits_over_repeated_runs(self, n, rng):
        """Wherever the allocator puts the work space."""
        problem = fs.SoftResProblem(rng.standard_normal((n, 3)), target(rng, n))
        x, seen, keep = rng.standard_normal(3), set(), []
        for size in rng.integers(1, 40 * n, 60):
            keep.append(np.empty(size))  # moves the next allocation
            point = problem.at(x)
            results = [np.array(point.value), point.grad, point.hessp(x), point.hessian().to_dense()]
            seen.add(b"".join(array.tobytes() for array in results))
        assert len(seen) == 1

    def test_without_compiler(self, rng, tmp_path):
        """Plain references of the primitives, the kernels as Python code: the same results to rounding."""
        results = {}
        code = """if True:
            import sys
            import numpy as np
            import fastsoftres as fs
            data, results = np.load(sys.argv[1]), {}
            for dtype in ("float64", "float32"):
                for skip in (0.0, 1.0):
                    problem = fs.SoftResProblem(
                        data["A"].astype(dtype), data["b"], skip=skip, row_ridge=data["w"], ridge=0.1
                    )
                    point = problem.at(data["x"])
                    results[f"{dtype} {skip} value"] = point.value
                    results[f"{dtype} {skip} grad"] = point.grad
                    results[f"{dtype} {skip} hessp"] = problem.hessp(data["x"], data["T"])
                    results[f"{dtype} {skip} dense"] = point.hessian().to_dense()
                    results[f"{dtype} {skip} gauss_newton"] = point.hessian().gauss_newton()
                    results[f"{dtype} {skip} f"] = fs.softres(point.z, skip=skip)
            far = fs.SoftResProblem(1000 * data["A"], data["b"], skip=0.0).at(data["x"])
            results["float64 far grad"] = far.grad
            np.savez(sys.argv[2], **results)
        """
        A, x, T = rng.standard_normal((70, 9)), rng.standard_normal(9) / 3, rng.standard_normal((9, 5))
        b = target(rng, 70)
        far = reference.exact(1000 * A, x, b, 0.0)
        np.savez(tmp_path / "data.npz", A=A, x=x, T=T, b=b, w=rng.exponential(size=70))
        for disabled in ("0", "1"):
            name = str(tmp_path / f"{disabled}.npz")
            settings = {"NUMBA_DISABLE_JIT": disabled, "PYTHONWARNINGS": "error"}
            run_python(code, str(tmp_path / "data.npz"), name, **settings)
            results[disabled] = np.load(name)
        assert len(results["1"].files) == 25
        for name in results["1"].files:
            tolerance = 1e-12 if name.startswith("float64") else 1e-5
            got, wanted = results["1"][name], results["0"][name]
            # far from zero f is one-hot to the last bit, and all of the gradient is rounding of its terms
            size = far.terms.max() if "far" in name else abs(wanted).max()
            np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * size, err_msg=name)


class TestAsScipyWantsIt:
    @pytest.mark.parametrize("skip", [0.0, 1.0])
    def test_trust_krylov(self, skip, rng):
        A, solution = rng.standard_normal((40, 4)), rng.standard_normal(4) / 2
        b = fs.softres(A @ solution, skip=skip) * (1 + 0.1 * rng.standard_normal(40))
        problem = fs.SoftResProblem(A, b / b.sum(), skip=skip)
        result = optimize.minimize(
            problem.value_and_grad, np.zeros(4), jac=True, hessp=problem.hessp, method="trust-krylov",
            options={"gtol": 1e-8},
        )  # fmt: skip
        assert result.success
        values = reference.exact(A, result.x, b / b.sum(), skip)
        assert np.linalg.norm(values.grad) <= 1e-8
        assert np.linalg.norm(values.grad) <= 1e-6 * np.linalg.norm(values.terms)
        assert np.linalg.eigvalsh(values.hess).min() > 0
        assert result.fun < problem.value(np.zeros(4))

    @pytest.mark.parametrize("skip", [0.0, 1.0])
    def test_derivatives_by_scipys_own_check(self, skip, rng):
        A, x, b, row_ridge, ridge = case("penalties", rng)
        problem = fs.SoftResProblem(A, b, skip=skip, row_ridge=row_ridge, ridge=ridge)
        assert optimize.check_grad(problem.value, problem.grad, x) <= 1e-6 * np.linalg.norm(problem.grad(x))
        numeric = optimize.approx_fprime(x, problem.grad)
        np.testing.assert_allclose(problem.hessian(x).to_dense(), numeric, atol=1e-6 * abs(numeric).max())


class TestPieces:
    """The small evaluations are those of ``at``."""

    def test_shortcuts(self, rng):
        A, x, b, row_ridge, ridge = case("penalties", rng)
        problem = fs.SoftResProblem(A, b, row_ridge=row_ridge, ridge=ridge)
        point, t = problem.at(x), rng.standard_normal(6)
        assert problem.value(x) == problem.value_and_grad(x)[0] == point.value
        np.testing.assert_array_equal(problem.grad(x), point.grad)
        np.testing.assert_array_equal(problem.value_and_grad(x)[1], point.grad)
        np.testing.assert_array_equal(problem.hessp(x, t), point.hessp(t))
        np.testing.assert_array_equal(problem.hessian(x).to_dense(), point.hessian().to_dense())

    def test_gradient_is_the_callers_to_change(self, rng):
        A, x, b, _, _ = case("flat", rng)
        problem = fs.SoftResProblem(A, b)
        for mine in (problem.grad(x), problem.value_and_grad(x)[1]):
            mine[:] = 0
        assert problem.grad(x).any()

    @pytest.mark.parametrize("skip", SKIPS)
    def test_predict(self, skip, rng):
        A, x, b, _, _ = case("flat", rng)
        problem = fs.SoftResProblem(A, b, skip=skip)
        u = np.exp(A @ x) + skip * (A @ x)
        np.testing.assert_allclose(problem.predict(x), u / u.sum(), rtol=1e-13)
        if skip == 0:
            np.testing.assert_allclose(problem.predict(x), special.softmax(A @ x), rtol=1e-13)
        other = rng.standard_normal((7, 6))
        u = np.exp(other @ x) + skip * (other @ x)
        np.testing.assert_allclose(problem.predict(x, other), u / u.sum(), rtol=1e-12)
        problem.predict(x)[:] = 0  # a copy

    def test_predict_wants_the_same_columns(self, rng):
        A, x, b, _, _ = case("flat", rng)
        with pytest.raises(ValueError, match=r"A must have 6 columns like the problem's, got shape \(3, 5\)"):
            fs.SoftResProblem(A, b).predict(x, np.ones((3, 5)))

    def test_attributes(self, rng):
        A, _, b, row_ridge, _ = case("penalties", rng, np.float32)
        problem = fs.SoftResProblem(A, b, skip=0.5, row_ridge=row_ridge, ridge=2)
        assert problem.A is A
        assert (problem.shape, problem.skip, problem.ridge, problem.dtype) == ((60, 6), 0.5, 2.0, np.float32)
        np.testing.assert_array_equal(problem.b, b)
        np.testing.assert_array_equal(problem.row_ridge, row_ridge)
        np.testing.assert_array_equal(fs.SoftResProblem(A, b).row_ridge, np.zeros(60))
        assert repr(problem) == "SoftResProblem(n=60, d=6, dtype=float32, skip=0.5, ridge=2)"

    def test_later_changes_of_the_target_do_not_matter(self, rng):
        """Only A is used where it lies."""
        A, x, b, row_ridge, _ = case("penalties", rng)
        problem = fs.SoftResProblem(A, b, row_ridge=row_ridge)
        before = problem.value_and_grad(x)
        b[:] = 0
        row_ridge[:] = 7
        after = problem.value_and_grad(x)
        assert after[0] == before[0]
        np.testing.assert_array_equal(after[1], before[1])

    def test_scalar_row_ridge_is_one_for_every_row(self, rng):
        A, x, b, _, _ = case("flat", rng)
        one, each = (fs.SoftResProblem(A, b, row_ridge=w) for w in (0.25, np.full(60, 0.25)))
        assert one.value(x) == each.value(x)
        np.testing.assert_array_equal(one.grad(x), each.grad(x))
        z = A @ x
        without = fs.SoftResProblem(A, b).value(x)
        assert one.value(x) - without == pytest.approx(0.25 * (z @ z) / 2, rel=1e-12, abs=0)

    def test_zero_row_ridge_is_none(self, rng):
        A, x, b, _, _ = case("flat", rng)
        for zero in (0.0, np.zeros(60)):
            problem = fs.SoftResProblem(A, b, row_ridge=zero)
            assert not problem._rows.ridged
            assert problem.value(x) == fs.SoftResProblem(A, b).value(x)

    def test_rows(self, rng):
        """A part of the rows, as if made from them."""
        A, x, b, row_ridge, ridge = case("penalties", rng)
        problem = fs.SoftResProblem(A, b, skip=0.3, row_ridge=row_ridge, ridge=ridge)
        picked = np.array([5, 5, 0, 59, 12])
        part = problem.rows(picked)
        with pytest.warns(UserWarning, match="b sums to"):
            wanted = fs.SoftResProblem(
                A[picked], b[picked], skip=0.3, row_ridge=row_ridge[picked], ridge=ridge
            )
        assert part.shape == (5, 6)
        assert part.value(x) == wanted.value(x)
        np.testing.assert_array_equal(part.grad(x), wanted.grad(x))
        assert problem.shape == (60, 6)

    def test_with_penalty(self, rng):
        A, x, b, row_ridge, _ = case("penalties", rng)
        problem = fs.SoftResProblem(A, b, row_ridge=row_ridge, ridge=0.1)
        for changes, row, all_of_x in [
            ({"ridge": 2.0}, row_ridge, 2.0),
            ({"row_ridge": 0.5}, 0.5, 0.1),
            ({"row_ridge": 0.0, "ridge": 0.0}, 0.0, 0.0),
        ]:
            other = problem.with_penalty(**changes)
            wanted = fs.SoftResProblem(A, b, row_ridge=row, ridge=all_of_x)
            assert other.A is A
            assert other.value(x) == wanted.value(x)
            np.testing.assert_array_equal(other.grad(x), wanted.grad(x))
        assert problem.ridge == 0.1
        with pytest.raises(ValueError, match="ridge must be"):
            problem.with_penalty(ridge=-1.0)


class TestErrors:
    A, b = np.ones((3, 2)), np.full(3, 1 / 3)

    @pytest.mark.parametrize(
        ("arguments", "options", "error", "message"),
        [
            ((np.ones(3), b), {}, ValueError, r"A must be two-dimensional .* got shape \(3,\)"),
            ((np.ones((3, 0)), b), {}, ValueError, r"A must have .* one column, got shape \(3, 0\)"),
            ((A + 1j, b), {}, TypeError, "A must hold real numbers, got dtype complex128"),
            ((A, b[:2]), {}, ValueError, r"b must have one entry for each row of A \(3\), got 2"),
            ((A, b[:, None]), {}, ValueError, r"b must be one-dimensional, got shape \(3, 1\) .*ravel"),
            ((A, [1, np.nan, 0]), {}, ValueError, r"b must be finite, got nan at \[1\]"),
            ((A, ["a", "b", "c"]), {}, TypeError, "b must hold real numbers, got dtype <U1"),
            ((A, b), {"skip": -1}, ValueError, r"skip must be finite and >= 0, got -1\.0"),
            ((A, b), {"skip": np.inf}, ValueError, "skip must be finite and >= 0, got inf"),
            ((A, b), {"skip": "1"}, TypeError, "skip must be a real number, got str: '1'"),
            ((A, b), {"ridge": -0.5}, ValueError, r"ridge must be finite and >= 0, got -0\.5"),
            ((A, b), {"ridge": [1.0]}, TypeError, r"ridge must be a real number, got list"),
            ((A, b), {"row_ridge": -2.0}, ValueError, r"row_ridge must be finite and >= 0, got -2\.0"),
            ((A, b), {"row_ridge": [0, -2, 0]}, ValueError, r"row_ridge must be >= 0, got -2\.0 at row 1"),
            ((A, b), {"row_ridge": [0, 1]}, ValueError, r"row_ridge must .* for each row of A \(3\), got 2"),
            ((A, b), {"row_ridge": None}, TypeError, "row_ridge must be a real number, got NoneType"),
        ],
    )
    def test_arguments(self, arguments, options, error, message):
        with pytest.raises(error, match=message):
            fs.SoftResProblem(*arguments, **options)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize(("n", "at"), [(3, (2, 1)), (200_000, (77_777, 0)), (200_000, (199_999, 1))])
    def test_entries_of_the_matrix(self, n, at, bad, order, dtype):
        A = np.ones((n, 2), dtype, order=order)
        A[at] = bad
        with pytest.raises(ValueError, match=rf"A must be finite, got {bad} at row {at[0]}, column {at[1]}"):
            fs.SoftResProblem(A, np.full(n, 1 / n))

    def test_large_entries_are_finite(self):
        fs.SoftResProblem(np.full((3, 2), np.finfo(float).max), self.b)

    def test_sum_of_the_target_is_noticed(self):
        with pytest.warns(UserWarning, match="b sums to 1.2; the fitted values always sum to 1"):
            fs.SoftResProblem(self.A, [0.4, 0.4, 0.4])
        fs.SoftResProblem(self.A, self.b.astype(np.float32))  # rounding is none (warnings are errors here)

    @pytest.mark.parametrize(
        ("x", "error", "message"),
        [
            ([1.0], ValueError, r"x must have one entry for each column of A \(2\), got 1"),
            (np.ones((2, 1)), ValueError, r"x must be one-dimensional, got shape \(2, 1\)"),
            ([np.nan, 0], ValueError, r"x must be finite, got nan at \[0\]"),
            ([1j, 0], TypeError, "x must hold real numbers, got dtype complex128"),
            (None, TypeError, "x must hold real numbers, got dtype object"),
        ],
    )
    def test_point(self, x, error, message):
        problem = fs.SoftResProblem(self.A, self.b)
        for name in ("at", "value", "grad", "value_and_grad", "hessian", "predict"):
            call = getattr(problem, name)
            with pytest.raises(error, match=message):
                call(x)
        with pytest.raises(error, match=message):
            problem.hessp(x, np.ones(2))

    @pytest.mark.parametrize("skip", SKIPS)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_products_that_overflow(self, skip, dtype):
        A = np.array([[1e30], [0.0]], dtype)
        for x in (1e300, -1e300):
            with pytest.raises(OutOfDomainError, match=r"undefined at x.* z = A @ x must be finite"):
                fs.SoftResProblem(A, [0.5, 0.5], skip=skip).at([x])

    def test_normaliser_zero(self):
        """u = exp(-1024) - 1024 skip = -1 and u = exp(0) = 1, both exact."""
        problem = fs.SoftResProblem([[-1024.0], [0.0]], [0.5, 0.5], skip=2.0**-10)
        with pytest.raises(OutOfDomainError, match=r"undefined at x: the normaliser alpha .* is 0\.0"):
            problem.at([1.0])
        assert issubclass(OutOfDomainError, ValueError)

    def test_penalty_that_overflows(self):
        problem = fs.SoftResProblem([[1e200], [0.0]], [0.5, 0.5], skip=0, row_ridge=1.0)
        with pytest.raises(OutOfDomainError, match="objective is not finite at x"):
            problem.at([1.0])


@pytest.mark.parametrize("made", ["plain", "from_frame"])
def test_a_notice_points_at_the_line_that_made_the_problem(made, rng):
    A = rng.standard_normal((4, 2))
    if made == "plain":
        call = lambda: fs.SoftResProblem(A, np.full(4, 0.5))  # noqa: E731
    else:
        pd = pytest.importorskip("pandas")
        df = pd.DataFrame({"x": A[:, 0], "y": 0.5})
        call = lambda: fs.SoftResProblem.from_frame(df, target="y", features=["x"])  # noqa: E731
    with pytest.warns(UserWarning, match="sums to 2") as caught:
        call()
    assert [str(warning.filename) for warning in caught] == [__file__]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_a_small_problem_answers_as_its_point_does(name, dtype, rng):
    """``value_and_grad`` goes a shorter way there; the model may change under it."""
    A, x, b, row_ridge, ridge = case(name, rng, dtype)
    problem = fs.SoftResProblem(A, b, row_ridge=row_ridge, ridge=ridge)
    for each in (
        problem,
        problem.with_penalty(ridge=0.5),
        problem.rows(np.arange(A.shape[0] - 1)) if A.shape[0] > 1 else problem,
    ):
        for start in (x, x[::-1][::-1], list(x)):
            value, grad = each.value_and_grad(start)
            point = each.at(x)
            assert value == point.value
            assert (grad == point.grad).all()
            grad[0] = 7.0  # the caller's own
    for wrong, what in (
        (np.full(x.size, np.nan), "finite"),
        (np.zeros(x.size + 1), "one entry"),
        (np.full(x.size, -np.inf), "finite"),
    ):
        with pytest.raises(ValueError, match=what):
            problem.value_and_grad(wrong)


def test_a_small_problem_says_what_overflows_and_warns_of_nothing():
    A, b = np.array([[1e200], [0.0], [-1e200]]), np.array([0.2, 0.3, 0.5])
    value, grad = fs.SoftResProblem(A, b).value_and_grad([0.0])
    steep, slope = fs.SoftResProblem(A, b).value_and_grad(np.zeros(1))
    assert (steep, slope[0]) == (value, grad[0])
    assert 1e154 < abs(slope[0]) < np.inf  # its square is not finite
    with pytest.raises(OutOfDomainError, match="ridge"):
        fs.SoftResProblem([[0.0], [0.0]], [0.5, 0.5], ridge=1.0).value_and_grad(np.array([1e200]))
