"""fastsoftres/map.py against scipy.special.softmax (skip = 0) and the plain NumPy formula (skip > 0)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import exact_exp
from scipy import special

import fastsoftres as fs


def plain(z, skip, axis):
    u = np.exp(z) + skip * z
    return u / u.sum(axis=axis, keepdims=True)


SHAPES_AND_AXES = [
    ((7,), None),
    ((7,), 0),
    ((7,), -1),
    ((1,), 0),
    ((3, 4), None),
    ((3, 4), 0),
    ((3, 4), 1),
    ((3, 4), (0, 1)),
    ((3, 4), (1, 0)),
    ((2, 3, 4), 1),
    ((2, 3, 4), -3),
    ((2, 3, 4), (0, 2)),
    ((2, 3, 4), (-1, 0)),
    ((2, 3, 4), (2, 0)),
    ((2, 3, 4, 5), (3, 1)),
    ((300, 2), 1),
    ((1, 1000), 1),
]


@pytest.mark.parametrize(("shape", "axis"), SHAPES_AND_AXES)
def test_softmax(shape, axis, rng):
    z = 3 * rng.standard_normal(shape)
    f = fs.softres(z, skip=0, axis=axis)
    assert f.shape == shape
    assert f.dtype == np.float64
    np.testing.assert_allclose(f, special.softmax(z, axis=axis), rtol=1e-14)


@pytest.mark.parametrize("skip", [1.0, 0.2, 30.0])
@pytest.mark.parametrize(("shape", "axis"), SHAPES_AND_AXES)
def test_plain_formula(shape, axis, skip, rng):
    z = rng.uniform(-0.02, 3, shape)
    f = fs.softres(z, skip=skip, axis=axis)
    np.testing.assert_allclose(f, plain(z, skip, axis), rtol=1e-13, atol=1e-15)


def test_default_is_the_residual_network_over_all_axes(rng):
    z = rng.uniform(0, 1, (3, 4))
    np.testing.assert_allclose(fs.softres(z), plain(z, 1.0, None), rtol=1e-14)


def test_negative_sums_are_fine():
    """All u < 0: f is a ratio of negative numbers."""
    z = np.array([-3.0, -1.0, -0.9])
    u = np.exp(z) + z
    assert (u < 0).all()
    np.testing.assert_allclose(fs.softres(z), u / u.sum(), rtol=1e-14)


@pytest.mark.parametrize("make", [np.asfortranarray, lambda z: z[::-1, ::2], lambda z: z.astype(">f8")])
def test_layouts(make, rng):
    z = make(rng.standard_normal((5, 6)))
    before = z.copy()
    np.testing.assert_allclose(fs.softres(z, skip=0, axis=1), special.softmax(z, axis=1), rtol=1e-14)
    np.testing.assert_array_equal(z, before)


def test_input_is_not_modified(rng):
    z = rng.standard_normal(10)
    before = z.copy()
    z.flags.writeable = False
    fs.softres(z)
    np.testing.assert_array_equal(z, before)


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        (np.float32, np.float32),
        (np.float16, np.float32),
        (">f4", np.float32),
        (np.float64, np.float64),
        (np.longdouble, np.float64),
        (np.int32, np.float64),
        (np.uint64, np.float64),
        (bool, np.float64),
    ],
)
def test_dtypes(dtype, result):
    z = np.array([0, 1, 1]).astype(dtype)
    f = fs.softres(z, skip=0)
    assert f.dtype == result
    np.testing.assert_allclose(f, special.softmax([0.0, 1, 1]), rtol=2 * np.finfo(result).eps)


def test_float32_is_computed_in_float64(rng):
    """Rounded once: the nearest float32 of the float64 result."""
    z = rng.standard_normal(1000).astype(np.float32)
    np.testing.assert_array_equal(fs.softres(z), fs.softres(z.astype(np.float64)).astype(np.float32))


def test_scalars_and_lists():
    assert fs.softres(3.0) == 1.0
    assert fs.softres(3.0).shape == ()
    np.testing.assert_array_equal(fs.softres([[0, 0], [0, 0]], skip=0), np.full((2, 2), 0.25))


@pytest.mark.parametrize(("shape", "axis"), [((0,), None), ((0, 3), 1), ((3, 0), 0)])
def test_empty(shape, axis):
    assert fs.softres(np.zeros(shape), axis=axis).shape == shape


class TestExtremes:
    @pytest.mark.parametrize("offset", [-1e15, -1e4, -1000.0, -745.0, 709.0, 1000.0, 1e4, 1e15])
    def test_softmax_far_from_zero(self, offset):
        z = np.array([0.0, 1.0, -2.0]) + offset
        np.testing.assert_allclose(fs.softres(z, skip=0), special.softmax(z), rtol=1e-13)

    @pytest.mark.parametrize("skip", [0.0, 1.0, 0.1])
    def test_one_entry_dominates(self, skip):
        np.testing.assert_array_equal(fs.softres([1000.0, 0.0, -1000.0], skip=skip), [1, 0, 0])
        np.testing.assert_array_equal(fs.softres([1e308, 0.0, -1e308], skip=skip), [1, 0, 0])

    @pytest.mark.parametrize("skip", [1.0, 0.1, 1e-5])
    def test_linear_term_far_below(self, skip):
        """exp(-1000) underflows, the linear term stays."""
        np.testing.assert_allclose(fs.softres([-1000.0, -3000.0], skip=skip), [0.25, 0.75], rtol=1e-15)

    @pytest.mark.parametrize("skip", [1.0, 1e-3])
    def test_linear_terms_that_overflow_when_added(self, skip):
        np.testing.assert_allclose(fs.softres(np.full(5, -1e308), skip=skip), np.full(5, 0.2), rtol=1e-12)

    def test_huge_skip(self):
        np.testing.assert_allclose(fs.softres([1.0, 3.0], skip=1e300), [0.25, 0.75], rtol=1e-12)

    def test_balance_of_both_terms_beyond_the_range_of_exp(self):
        """skip = exp(800)/800: both terms of the first entry are equal, and neither is a float64."""
        log_skip = 800 - math.log(800)
        assert log_skip > 709
        skip, z = 1e300, np.array([700.0, 700.0 + math.log(2)])
        u = exact_exp(z) + [1e300 * float(t) for t in z]
        np.testing.assert_allclose(fs.softres(z, skip=skip), (u / u.sum()).astype(float), rtol=1e-12)


class TestErrors:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, bad):
        with pytest.raises(ValueError, match=r"z must be finite, got -?(nan|inf) at"):
            fs.softres([0.0, bad, 1.0])

    @pytest.mark.parametrize("z", [[1j], ["a"], [None]])
    def test_not_real(self, z):
        with pytest.raises(TypeError, match="z must hold real numbers, got dtype"):
            fs.softres(z)

    @pytest.mark.parametrize(("skip", "error"), [(-1.0, ValueError), (np.nan, ValueError), ("1", TypeError)])
    def test_skip(self, skip, error):
        with pytest.raises(error, match="skip must be"):
            fs.softres([0.0], skip=skip)

    @pytest.mark.parametrize("axis", [1, -2, (0, 1), 5])
    def test_axis_that_does_not_exist(self, axis):
        with pytest.raises(ValueError, match="axis"):
            fs.softres([0.0, 1.0], axis=axis)

    def test_repeated_axis(self):
        with pytest.raises(ValueError, match="axis"):
            fs.softres(np.zeros((2, 2)), axis=(0, 0))

    def test_axis_of_wrong_type(self):
        with pytest.raises(TypeError):
            fs.softres([0.0, 1.0], axis=0.5)

    def test_sum_is_zero(self):
        """u = exp(0) = 1 and u = exp(-1024) - 1024 skip = -1, both exact."""
        z = np.array([[1.0, 2.0], [0.0, -1024.0]])
        with pytest.raises(ValueError, match=r"sum\(.*\) is zero in group 1 of z along axis 1"):
            fs.softres(z, skip=2.0**-10, axis=1)


@given(
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=5), elements=st.floats(-1e300, 1e300)),
    st.data(),
)
def test_softmax_of_anything(z, data):
    axis = data.draw(st.none() | st.integers(-z.ndim, z.ndim - 1))
    f = fs.softres(z, skip=0, axis=axis)
    assert (f >= 0).all()
    np.testing.assert_allclose(f, special.softmax(z, axis=axis), rtol=1e-12, atol=1e-300)


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-40, 40)), st.floats(-600, 600))
def test_softmax_does_not_change_under_translation(z, offset):
    np.testing.assert_allclose(
        fs.softres(z + offset, skip=0), fs.softres(z, skip=0), rtol=1e-12 * (1 + abs(offset)), atol=0
    )


@given(
    hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-0.5, 500)), st.floats(0, 100), st.randoms()
)
def test_permuting_z_permutes_f(z, skip, random):
    order = list(range(z.size))
    random.shuffle(order)
    f = fs.softres(z, skip=skip)
    permuted = fs.softres(z[order], skip=skip)
    np.testing.assert_allclose(permuted, f[order], rtol=1e-9, atol=1e-12 * abs(f).max())
