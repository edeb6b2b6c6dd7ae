"""fastsoftres/_validate.py: what NumPy says of the input, and that each message names the argument, what
was seen and what is wanted."""

from __future__ import annotations

import decimal
import fractions

import numpy as np
import pytest
from scipy import sparse

from fastsoftres import _validate


class TestMatrix:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, ">f8", "<f4", ">f4"])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_float_matrices_are_not_copied(self, dtype, order):
        A = np.ones((3, 2), dtype=dtype, order=order)
        assert _validate.matrix(A) is A

    @pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, np.float16, np.longdouble, ">i4"])
    def test_other_real_types_become_float64(self, dtype):
        A = np.array([[0, 1], [1, 1]], dtype=dtype)
        converted = _validate.matrix(A)
        assert converted.dtype == np.float64
        np.testing.assert_array_equal(converted, [[0, 1], [1, 1]])

    def test_lists(self):
        np.testing.assert_array_equal(_validate.matrix([[1, 2.5]]), [[1.0, 2.5]])

    @pytest.mark.parametrize(
        ("A", "error", "parts"),
        [
            (np.ones(3), ValueError, ["two-dimensional", "(3,)"]),
            (np.ones((2, 2, 2)), ValueError, ["two-dimensional", "(2, 2, 2)"]),
            (5.0, ValueError, ["two-dimensional", "()"]),
            (np.ones((0, 3)), ValueError, ["at least one row", "(0, 3)"]),
            (np.ones((3, 0)), ValueError, ["one column", "(3, 0)"]),
            (np.ones((2, 2), complex), TypeError, ["real numbers", "complex128"]),
            (np.array([["a"]]), TypeError, ["real numbers", "<U1"]),
            (np.array([[None]]), TypeError, ["real numbers", "object"]),
            (np.array([["2020-01-01"]], "M8[D]"), TypeError, ["real numbers", "datetime64"]),
            ([[1.0], [1.0, 2.0]], TypeError, ["cannot be read as an array"]),
            (np.ma.masked_array([[1.0]], mask=[[True]]), TypeError, ["masked", "filled"]),
            (sparse.csr_matrix(np.eye(2) * 1j), TypeError, ["real numbers", "complex128"]),
        ],
    )
    def test_bad(self, A, error, parts):
        with pytest.raises(error) as raised:
            _validate.matrix(A, "their_name")
        for part in ["their_name", *parts]:
            assert part in str(raised.value)


class TestVector:
    @pytest.mark.parametrize("v", [[1, 2], (1.0, 2.0), np.array([1, 2], ">f8"), np.array([1, 9, 2.0])[::2]])
    def test_becomes_contiguous_float64(self, v):
        converted = _validate.vector(v, 2, "v", "row")
        assert converted.dtype == np.dtype("f8")
        assert converted.flags.c_contiguous
        np.testing.assert_array_equal(converted, [1, 2])

    @pytest.mark.parametrize(
        ("v", "error", "parts"),
        [
            ([1.0, 2.0], ValueError, ["one entry for each column of A (3)", "got 2"]),
            ([[1.0], [2.0], [3.0]], ValueError, ["one-dimensional", "(3, 1)", ".ravel()"]),
            (np.ones((3, 3)), ValueError, ["one-dimensional", "(3, 3)"]),
            (1.0, ValueError, ["one-dimensional", "()"]),
            ([1.0, np.nan, 3.0], ValueError, ["finite", "nan", "[1]"]),
            ([1.0, 2.0, -np.inf], ValueError, ["finite", "-inf", "[2]"]),
            ([1j, 2, 3], TypeError, ["real numbers", "complex128"]),
            (["a", "b", "c"], TypeError, ["real numbers", "<U1"]),
            (np.ma.masked_array([1.0, 2, 3], mask=[1, 0, 0]), TypeError, ["masked", "filled"]),
        ],
    )
    def test_bad(self, v, error, parts):
        with pytest.raises(error) as raised:
            _validate.vector(v, 3, "their_name", "column of A")
        for part in ["their_name", *parts]:
            assert part in str(raised.value)


def test_finite_tells_the_first_place_in_a_matrix():
    v = np.zeros((3, 4))
    v[1, 2], v[2, 0] = np.inf, np.nan
    with pytest.raises(ValueError, match=r"T must be finite, got inf at \[1, 2\]"):
        _validate.finite(v, "T")
    _validate.finite(np.zeros((0, 2)), "T")


class TestNumber:
    @pytest.mark.parametrize(
        "value", [0, 2.5, np.float32(2), np.int8(3), np.array(4.0), fractions.Fraction(1, 2), 1e308]
    )
    def test_real_numbers(self, value):
        assert _validate.number(value, "skip") == float(value)
        assert type(_validate.number(value, "skip")) is float

    @pytest.mark.parametrize(
        "value", [True, np.bool_(0), "1", None, 1j, [1.0], np.ones(1), decimal.Decimal(1)]
    )
    def test_not_a_real_number(self, value):
        with pytest.raises(TypeError) as raised:
            _validate.number(value, "skip")
        for part in ["skip must be a real number", type(value).__name__, repr(value)]:
            assert part in str(raised.value)

    @pytest.mark.parametrize("value", [-1e-300, np.nan, np.inf, -np.inf])
    def test_out_of_range(self, value):
        with pytest.raises(ValueError, match=r"ridge must be finite and >= 0, got (-1e-300|nan|-?inf)"):
            _validate.number(value, "ridge")

    def test_bounds(self):
        assert _validate.number(0.5, "tol", least=0.5) == 0.5
        with pytest.raises(ValueError, match=r"tol must be finite and > 0\.5, got 0\.5"):
            _validate.number(0.5, "tol", least=0.5, strict=True)


class TestCount:
    @pytest.mark.parametrize("value", [0, 7, np.int64(3), np.uint8(9)])
    def test_integers(self, value):
        assert _validate.count(value, "max_iter") == int(value)
        assert type(_validate.count(value, "max_iter")) is int

    @pytest.mark.parametrize("value", [1.0, True, "3", None, np.float64(2)])
    def test_not_an_integer(self, value):
        with pytest.raises(TypeError) as raised:
            _validate.count(value, "max_iter")
        for part in ["max_iter must be an integer", type(value).__name__, repr(value)]:
            assert part in str(raised.value)

    def test_too_small(self):
        with pytest.raises(ValueError, match="k must be at least 2, got 1"):
            _validate.count(1, "k", least=2)
