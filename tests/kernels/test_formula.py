"""kernels/formula.py against 50-digit mpmath (exp) and against NumPy (shifts)."""

from __future__ import annotations

import math
import platform
import re

import mpmath
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import exact_exp

from fastsoftres.kernels import _jit, formula, gradient, rowstate

COMMON = [formula.COMMON_F64, formula.COMMON_F32]
LARGEST = 709.782712893384  # log of the largest float64, rounded down
SMALLEST = -745.1332191019411  # log of half the smallest subnormal, rounded up

finite = st.floats(allow_nan=False, allow_infinity=False)


@numba.njit
def exp(x, out):
    for i in range(x.size):
        out[i] = formula.exp(x[i])


def ulps(x):
    """Error of our exp in units of the last place of the true result."""
    x = np.asarray(x, dtype=np.float64)
    got = np.empty_like(x)
    exp(x, got)
    errors = []
    for value, true in zip(got.tolist(), exact_exp(x), strict=True):
        with mpmath.workdps(50):
            errors.append(float(abs(mpmath.mpf(value) - true) / mpmath.mpf(float(np.spacing(float(true))))))
    return np.array(errors)


class TestExp:
    def test_common_range(self, rng):
        assert ulps(rng.uniform(-40, 40, 6000)).max() <= 2

    def test_whole_range(self, rng):
        assert ulps(rng.uniform(-708, LARGEST, 6000)).max() <= 2

    def test_subnormal_results(self, rng):
        x = rng.uniform(SMALLEST, -708.3964185322641, 3000)
        assert 0 < np.exp(x).max() < np.finfo(float).smallest_normal * 1.01
        assert ulps(x).max() <= 2

    def test_tiny_arguments(self, rng):
        x = rng.choice([-1.0, 1.0], 2000) * 2.0 ** rng.uniform(-1070, 0, 2000)
        assert ulps(x).max() <= 2

    def test_where_the_reduction_changes(self):
        """Around odd multiples of ln 2 / 2 the reduced argument jumps from one end to the other."""
        edges = (np.arange(-1074, 1024) + 0.5) * math.log(2)
        x = np.concatenate([np.nextafter(edges, -np.inf), edges, np.nextafter(edges, np.inf)])
        x = x[(x >= SMALLEST) & (x <= LARGEST)]
        assert x.size > 6000
        assert ulps(x).max() <= 2

    @pytest.mark.parametrize(
        ("x", "wanted"),
        [
            (0.0, 1.0),
            (-0.0, 1.0),
            (5e-324, 1.0),
            (math.inf, math.inf),
            (-math.inf, 0.0),
            (1e308, math.inf),
            (-1e308, 0.0),
            (np.nextafter(LARGEST, math.inf), math.inf),
            (np.nextafter(SMALLEST, -math.inf), 0.0),
            (-746.0, 0.0),
            (710.0, math.inf),
        ],
    )
    def test_special_values(self, x, wanted):
        out = np.empty(1)
        exp(np.array([x]), out)
        assert out[0] == wanted
        assert not np.signbit(out[0])

    def test_edges_of_the_range_are_finite_and_positive(self):
        out = np.empty(2)
        exp(np.array([LARGEST, SMALLEST]), out)
        assert 1.79e308 < out[0] < np.inf
        assert out[1] == 5e-324

    def test_nan(self):
        out = np.empty(2)
        exp(np.array([math.nan, -math.nan]), out)
        assert np.isnan(out).all()

    @given(st.floats(min_value=SMALLEST, max_value=LARGEST))
    def test_any_argument(self, x):
        assert ulps([x])[0] <= 2

    @given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=40))
    def test_position_in_a_loop_does_not_matter(self, x):
        """Vector and remainder loops agree to the bit."""
        x = np.array(x)
        together, alone = np.empty_like(x), np.empty_like(x)
        exp(x, together)
        for i in range(x.size):
            exp(x[i : i + 1], alone[i : i + 1])
        np.testing.assert_array_equal(together, alone)


X86 = platform.machine().lower() in ("x86_64", "amd64")
PACKED = re.compile(r"\bv?(?:fn?m(?:add|sub)\d*|mul)pd\b.*%[yz]mm")


def packed_instructions(function) -> int:
    """Packed multiplications in wide registers, in the code of all signatures."""
    return sum(len(PACKED.findall(code)) for code in function.inspect_asm().values())


def alone(function):
    """What compiled code links, with machine code of its own."""
    return numba.jit(nogil=True, error_model="numpy", fastmath=function.targetoptions["fastmath"])(
        function.py_func
    )


@pytest.mark.skipif(not X86, reason="names of x86 instructions")
class TestVectorised:
    """The polynomial of exp is 14 multiplications: fewer packed ones mean a scalar loop."""

    def test_plain_loop(self):
        loop = numba.njit(nogil=True, error_model="numpy", fastmath=_jit._FUSE)(exp.py_func)
        loop(np.zeros(100), np.empty(100))
        assert packed_instructions(loop) >= 14

    def test_slice_terms(self):
        loop = alone(gradient._slice_terms)
        W, sums = np.empty(4 * formula.BLOCK), np.zeros(gradient.N_SUMS)
        loop(np.zeros(64), 64, np.zeros(64), np.zeros(0), 0, False, 1.0, False, 0.0, W, sums)
        assert packed_instructions(loop) >= 14

    def test_slice_terms_for_float32_rows(self):
        loop = alone(gradient._slice_terms)
        W, sums = np.empty(4 * formula.BLOCK, np.float32), np.zeros(gradient.N_SUMS)
        loop(np.zeros(64), 64, np.zeros(64), np.zeros(0), 0, False, 1.0, False, 0.0, W, sums)
        assert packed_instructions(loop) >= 14

    def test_line_terms(self):
        loop = alone(rowstate._line_terms)
        sums = np.zeros(rowstate.N_LINE)
        loop(np.zeros(64), np.zeros(64), 64, np.zeros(64), np.zeros(0), 0, False, 1.0, False, 0.0, sums)
        assert packed_instructions(loop) >= 14

    def test_residual_terms(self):
        loop = alone(rowstate._residual_terms)
        loop(np.zeros(64), np.zeros(64), 0.0, np.zeros(64), 1.0, 0.0, 64.0, np.empty(3))
        assert packed_instructions(loop) >= 14

    def test_exponentials_of_groups(self):
        loop = alone(formula.group_exponentials)
        loop(np.zeros(64), np.array([0, 64]), 0, 1, 1.0, np.zeros(1), np.zeros(64))
        assert packed_instructions(loop) >= 14


class TestLargest:
    @given(st.lists(st.floats(allow_nan=False), max_size=40))
    def test_largest_magnitude(self, z):
        z = np.array(z, dtype=np.float64)
        assert formula.largest(z, 0, z.size) == np.max(np.abs(z), initial=0.0)

    def test_only_the_block(self):
        assert formula.largest(np.array([9.0, -2.0, 1.0, 9.0]), 1, 3) == 2.0

    @pytest.mark.parametrize("nan", [math.nan, -math.nan])
    def test_nan_counts_as_largest(self, nan):
        assert math.isnan(formula.largest(np.array([1.0, nan, math.inf]), 0, 3))


class TestNaturalShift:
    @pytest.mark.parametrize("common", COMMON)
    @pytest.mark.parametrize("skip", [0.0, 1.0, 3.0])
    def test_zero_in_the_common_range(self, skip, common, rng):
        for _ in range(20):
            z = rng.uniform(-common, common, 30)
            assert formula.natural_shift(z, 0, 30, skip, common) == 0.0

    @pytest.mark.parametrize("common", COMMON)
    def test_softmax_shifts_to_the_largest(self, common):
        for top in (-1000.0, 1000.0, -1e308, 1e308, common + 1, -common - 1):
            z = np.array([top - 5.0, top, top - abs(top)])
            assert formula.natural_shift(z, 0, 3, 0.0, common) == top

    def test_linear_term_of_large_negative_rows_needs_no_shift(self):
        assert formula.natural_shift(np.full(5, -1000.0), 0, 5, 1.0, formula.COMMON_F64) == 0.0

    @pytest.mark.parametrize("common", COMMON)
    def test_huge_skip_in_the_common_range_of_z(self, common):
        """u = exp(z) + skip z is led by the linear term, which must not overflow when squared."""
        shift = formula.natural_shift(np.array([-1.0, 3.0]), 0, 2, 1e200, common)
        assert shift == pytest.approx(math.log(3e200), rel=1e-14)

    def test_only_the_block(self):
        z = np.array([5000.0, 1.0, 2.0, 5000.0])
        assert formula.natural_shift(z, 1, 3, 0.0, formula.COMMON_F64) == 0.0

    @given(
        st.lists(finite, min_size=1, max_size=20),
        st.sampled_from([0.0, 1e-300, 0.3, 1.0, 1e5]) | st.floats(0.0, 1e100),
    )
    def test_shifted_terms_stay_in_range(self, z, skip):
        """No term overflows when squared, and the largest is not lost."""
        z = np.array(z)
        shift = formula.natural_shift(z, 0, z.size, skip, formula.COMMON_F64)
        e = np.empty_like(z)
        with np.errstate(over="ignore"):
            exp(z - shift, e)
        linear = formula.scaled_skip(skip, shift) * np.abs(z)
        largest = max(e.max(), linear.max())
        limit = 2 * math.exp(formula.COMMON_F64)
        assert 1 / limit <= largest <= limit


class TestGroupExponentials:
    """A block of whole groups: NumPy's exp, and ``natural_shift`` of each group."""

    @pytest.mark.parametrize("skip", [0.0, 1.0])
    @pytest.mark.parametrize("spread", [1.0, 60.0, 1000.0])
    def test_each_group_about_its_own_shift(self, spread, skip, rng):
        sizes = [3, 1, 9, 40, 2, 8]
        ptr = 100 + np.concatenate([[0], np.cumsum(sizes)])
        for group, stop in [(0, 6), (2, 5), (5, 6)]:
            begin, rows = ptr[group], ptr[stop] - ptr[group]
            z, E, shift = spread * rng.standard_normal(rows), np.full(300, np.nan), np.full(6, np.nan)
            formula.group_exponentials(z, ptr, group, stop, skip, shift, E)
            for g in range(group, stop):
                first, last = ptr[g] - begin, ptr[g + 1] - begin
                assert shift[g] == formula.natural_shift(z, first, last, skip, formula.COMMON_F64)
                wanted = np.exp(z[first:last] - shift[g])
                np.testing.assert_allclose(E[first:last], wanted, rtol=5e-16, atol=1e-320)
            assert np.isnan(np.delete(shift, np.arange(group, stop))).all()
            assert np.isnan(E[formula.padded(rows) :]).all()

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_what_is_not_finite_stays_in_its_group(self, bad):
        z, E, shift = np.array([0.0, 1.0, bad, 2.0, 3.0]), np.empty(32), np.empty(3)
        formula.group_exponentials(z, np.array([0, 2, 4, 5]), 0, 3, 0.0, shift, E)
        np.testing.assert_allclose(E[[0, 1, 4]], np.exp([0.0, 1.0, 3.0]), rtol=5e-16)
        assert (shift[[0, 2]] == 0).all()


class TestLossOfSums:
    """Against the loss written out, for every shift."""

    @pytest.mark.parametrize("kl", [False, True])
    @pytest.mark.parametrize("shift", [0.0, 2.0, -3.0])
    def test_loss_and_s(self, shift, kl, rng):
        z, b = rng.standard_normal(20), rng.uniform(0, 1, 20)
        e = np.exp(z - shift)
        f = e / e.sum()
        if kl:
            s, loss, size = formula.loss_of_sums(e.sum(), shift, b.sum(), b @ z, 0.0, True)
            assert s == b.sum()
            assert loss == pytest.approx(-(b @ np.log(f)), rel=1e-13, abs=0)
            assert size == 0.0
        else:
            s, loss, size = formula.loss_of_sums(e.sum(), shift, e @ e, e @ b, b @ b, False)
            assert s == pytest.approx((f - b) @ f, rel=1e-12, abs=0)
            assert loss == pytest.approx((f - b) @ (f - b) / 2, rel=1e-12, abs=0)
            assert size == pytest.approx(max(f @ f, b @ b) / 2, rel=1e-13, abs=0)


class TestScaledSkip:
    @given(st.floats(1e-300, 1e300), st.floats(-600, 600))
    def test_is_the_product(self, skip, shift):
        with mpmath.workdps(30):
            wanted = mpmath.mpf(skip) * mpmath.exp(-mpmath.mpf(shift))
            inside = 1e-300 < wanted < 1e300
        if inside:
            assert formula.scaled_skip(skip, shift) == pytest.approx(float(wanted), rel=1e-12, abs=0)

    @pytest.mark.parametrize("shift", [0.0, 1000.0, -1000.0, 1e308, -1e308, math.inf])
    def test_no_linear_term_stays_none(self, shift):
        assert formula.scaled_skip(0.0, shift) == 0.0

    def test_no_shift_is_exact(self):
        assert formula.scaled_skip(0.3, 0.0) == 0.3

    def test_vanishes_beside_a_huge_exponential(self):
        assert formula.scaled_skip(1.0, 1000.0) == 0.0
        assert formula.scaled_skip(1e300, 1e308) == 0.0


@given(st.integers(1, 200_000), st.sampled_from([4, 8]))
def test_blocks_are_multiples_of_eight_rows_in_the_first_level_cache(d, itemsize):
    rows = formula.block_rows(d * itemsize)
    assert rows % 8 == 0
    assert 8 <= rows <= formula.MOST_ROWS <= formula.BLOCK
    assert rows * d * itemsize <= formula.BLOCK_BYTES or rows == 8
    assert (rows + 8) * d * itemsize > formula.BLOCK_BYTES or rows == formula.MOST_ROWS
