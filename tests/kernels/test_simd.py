"""kernels/simd.py against its own plain references, with small integers, for which every order of
summation in either precision gives the exact sum; struct for the bit casts."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from reference import run_python

from fastsoftres.kernels import simd

REFERENCES = simd.REFERENCES
DTYPES = [np.float64, np.float32]
SIZES = range(1, 131)
#: Set in the subprocess that runs this file again with registers of another width.
INSIDE = "FASTSOFTRES_VECTOR_BYTES" in os.environ
jit_on = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="the primitives are their references")


@numba.njit
def row_dots(A, d, x, i, last, ahead, out, o):
    simd.row_dots(A, d, x, i, last, ahead, out, o)


@numba.njit
def row_dots_2(A, d, T, k, i, last, ahead, out, ldo, o):
    simd.row_dots_2(A, d, T, k, i, last, ahead, out, ldo, o)


@numba.njit
def fetch(v, start, stop):
    simd.fetch(v, start, stop)
    simd.fetch_to_write(v, start, stop)


@numba.njit
def add_rows_1(A, d, i, rows, W, ldw, o, ahead, acc):
    simd.add_rows_1(A, d, i, rows, W, ldw, o, ahead, acc)


@numba.njit
def add_rows_3(A, d, i, rows, W, ldw, o, ahead, acc):
    simd.add_rows_3(A, d, i, rows, W, ldw, o, ahead, acc)


@numba.njit
def add_rows_4(A, d, i, rows, W, ldw, o, ahead, acc):
    simd.add_rows_4(A, d, i, rows, W, ldw, o, ahead, acc)


@numba.njit
def add_rows_2_2(A, d, i, rows, W, ldw, o, ahead, acc):
    simd.add_rows_2_2(A, d, i, rows, W, ldw, o, ahead, acc)


@numba.njit
def pack_row(A, d, i, mu, scale, centre, weight, left, right, capacity, r):
    simd.pack_row(A, d, i, mu, scale, centre, weight, left, right, capacity, r)


@numba.njit
def gram_tile(left, lo, right, ro, rows, H, ho, ldh):
    simd.gram_tile(left, lo, right, ro, rows, H, ho, ldh)


@numba.njit
def gram_tile_1(left, lo, right, ro, rows, H, ho, ldh):
    simd.gram_tile_1(left, lo, right, ro, rows, H, ho, ldh)


@numba.njit
def transpose_tile(A, ao, lda, ahead, B, bo, ldb):
    simd.transpose_tile(A, ao, lda, ahead, B, bo, ldb)


@numba.njit
def centred_tile(F, i, j, ldf, rows, mu, mi, mj, D, do, H, ho, ldh):
    simd.centred_tile(F, i, j, ldf, rows, mu, mi, mj, D, do, H, ho, ldh)


@numba.njit
def segment_sum(v, start, stop):
    return simd.segment_sum(v, start, stop)


@numba.njit
def fill(v, start, stop, value):
    simd.fill(v, start, stop, value)


@numba.njit
def add_two(F, o, G, p, a, H, q, b, count):
    simd.add_two(F, o, G, p, a, H, q, b, count)


@numba.njit
def float_bits(value):
    return simd.float_bits(value)


@numba.njit
def bits_float(value):
    return simd.bits_float(value)


ADD_ROWS = {1: add_rows_1, 3: add_rows_3, 4: add_rows_4}


def integers(rng, shape, dtype):
    """Small integers: sums and products of them are exact in float32."""
    return rng.integers(-8, 9, shape).astype(dtype)


def fenced(array, margin=40):
    """The same array inside a larger one of nans: whatever is read beside it spoils the result."""
    around = np.full(array.size + 2 * margin, np.nan, array.dtype)
    around[margin : margin + array.size] = array.reshape(-1)
    return around[margin : margin + array.size]


@pytest.mark.parametrize("dtype", DTYPES)
def test_row_dots_is_the_product_with_each_row(dtype, rng):
    for d in SIZES:
        A, x = fenced(integers(rng, (21, d), dtype)), fenced(integers(rng, d, np.float64))
        for i, last in [(0, 20), (13, 20), (16, 20), (20, 20), (3, 5)]:
            out, wanted = np.full(12, 7.0), np.full(12, 7.0)
            row_dots(A, d, x, i, last, 21 * d, out, 2)
            REFERENCES["row_dots"](A, d, x, i, last, 21 * d, wanted, 2)
            np.testing.assert_array_equal(out, wanted, err_msg=f"d={d}, rows {i}..{last}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_row_dots_2_is_the_product_with_two_vectors(dtype, rng):
    for d in SIZES:
        A, T = fenced(integers(rng, (21, d), dtype)), fenced(integers(rng, (3, d), np.float64))
        for i, last in [(0, 20), (13, 20), (16, 20), (20, 20), (3, 5)]:
            out, wanted = np.full((2, 12), 7.0), np.full((2, 12), 7.0)
            row_dots_2(A, d, T, 1, i, last, 21 * d, out, 12, 2)
            REFERENCES["row_dots_2"](A, d, T, 1, i, last, 21 * d, wanted, 12, 2)
            np.testing.assert_array_equal(out, wanted, err_msg=f"d={d}, rows {i}..{last}")


@jit_on
def test_fetch_changes_nothing_and_may_reach_past_the_end(rng):
    v = rng.standard_normal(100)
    kept = v.copy()
    for start, stop in [(0, 100), (90, 100_000), (5, 5)]:
        fetch(v, start, stop)
    np.testing.assert_array_equal(v, kept)


@pytest.mark.parametrize("dtype", DTYPES)
def test_row_dots_rounds_like_a_sum_in_float64(dtype, rng):
    for d in (1, 2, 7, 64, 129):
        A, x = rng.standard_normal((8, d)).astype(dtype), rng.standard_normal(d)
        out = np.empty(8)
        row_dots(A.reshape(-1), d, x, 0, 7, 0, out, 0)
        A = A.astype(np.float64)
        assert (abs(out - A @ x) <= (d + 8) * np.finfo(np.float64).eps * (abs(A) @ abs(x))).all()


def test_row_dots_keeps_nan_and_inf_in_their_rows(rng):
    A, x = rng.standard_normal((8, 13)), np.ones(13)
    A[2, 12], A[5, 0], A[6, :2] = np.nan, np.inf, [np.inf, -np.inf]
    out = np.empty(8)
    row_dots(A.reshape(-1), 13, x, 0, 7, 0, out, 0)
    assert math.isnan(out[2])
    assert out[5] == np.inf
    assert math.isnan(out[6])
    assert np.isfinite(out[[0, 1, 3, 4, 7]]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 3, 4])
def test_add_rows_adds_weighted_sums_of_rows(count, dtype, rng):
    function, reference = ADD_ROWS[count], REFERENCES[f"add_rows_{count}"]
    check_add_rows(function, reference, count, dtype, rng)


@pytest.mark.parametrize("dtype", DTYPES)
def test_add_rows_2_2_adds_sums_of_rows_and_of_their_absolute_values(dtype, rng):
    check_add_rows(add_rows_2_2, REFERENCES["add_rows_2_2"], 4, dtype, rng)


def check_add_rows(function, reference, count, dtype, rng):
    for d in SIZES:
        A = fenced(integers(rng, (21, d), dtype))
        W = fenced(integers(rng, (count, 24), dtype))
        for i, rows, o in [(0, 21, 0), (3, 1, 5), (0, 0, 0), (12, 9, 2), (4, 8, 16)]:
            acc = integers(rng, count * d + 20, np.float64)
            wanted = acc.copy()
            function(A, d, i, rows, W, 24, o, rows * d, acc[10:-10])
            reference(A, d, i, rows, W, 24, o, rows * d, wanted[10:-10])
            np.testing.assert_array_equal(acc, wanted, err_msg=f"d={d}, {rows} rows from {i}")


def test_add_rows_keeps_nan_in_its_column():
    for d in (5, 16, 37):
        A = np.ones((9, d))
        A[4, d - 1] = np.nan
        acc = np.zeros(3 * d)
        add_rows_3(A.reshape(-1), d, 0, 9, np.ones(27), 9, 0, 0, acc)
        assert np.isnan(acc.reshape(3, d)[:, -1]).all()
        assert (acc.reshape(3, d)[:, :-1] == 9).all()


@pytest.mark.parametrize("out", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_pack_row_fills_one_row_of_both_panels(dtype, out, rng):
    capacity, width = 5, simd.gram_columns(out)
    for d in SIZES:
        size = -(-d // width) * width
        A = fenced(integers(rng, (3, d), dtype))
        mu = np.zeros(size, dtype)
        mu[:d] = integers(rng, d, dtype)
        panels = [np.zeros(capacity * size, out) for _ in range(4)]
        for i, r in [(0, 0), (2, 4), (1, 2)]:
            numbers = A, d, i, mu, 3.0, -2.0, 0.5
            pack_row(*numbers, panels[0], panels[1], capacity, r)
            REFERENCES["pack_row"](*numbers, panels[2], panels[3], capacity, r)
        np.testing.assert_array_equal(panels[0], panels[2], err_msg=f"left, d={d}")
        np.testing.assert_array_equal(panels[1], panels[3], err_msg=f"right, d={d}")


@pytest.mark.parametrize("name", ["gram_tile", "gram_tile_1"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gram_tile_adds_a_product_of_panels(dtype, name, rng):
    width = simd.gram_columns(dtype)
    for rows in [0, 1, 2, 7, 64, 201]:
        left = fenced(integers(rng, rows * simd.GRAM_MR, dtype))
        right = fenced(integers(rng, rows * width, dtype))
        H = integers(rng, (simd.GRAM_MR + 2, width + 9), np.float64)
        wanted = H.copy()
        at = width + 9 + 4  # row 1, column 4
        globals()[name](left, 0, right, 0, rows, H.reshape(-1), at, width + 9)
        REFERENCES[name](left, 0, right, 0, rows, wanted.reshape(-1), at, width + 9)
        np.testing.assert_array_equal(H, wanted)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 8, 9, 16, 31, 100])
def test_add_two_adds_multiples_of_two_runs(count, rng):
    F = rng.integers(-4, 5, 400) * 1.0
    G, wanted = rng.integers(-4, 5, 200) * 1.0, F.copy()
    add_two(F, 5, G, 3, 2.0, F, 200, -3.0, count)
    REFERENCES["add_two"](wanted, 5, G, 3, 2.0, wanted, 200, -3.0, count)
    assert (wanted == F).all()


@pytest.mark.parametrize("rows", [8, 16, 64, 104])
def test_centred_tile_adds_products_of_columns(rows, rng):
    F, mu, D = (rng.integers(-4, 5, size) * 1.0 for size in (2000, 12, 200))
    H = rng.integers(-4, 5, 60) * 1.0
    wanted = H.copy()
    centred_tile(F, 5, 900, rows + 3, rows, mu, 1, 6, D, 7, H, 3, 11)
    REFERENCES["centred_tile"](F, 5, 900, rows + 3, rows, mu, 1, 6, D, 7, wanted, 3, 11)
    assert (wanted == H).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_tile_turns_one_square(dtype):
    w = simd.SQUARE
    A = np.arange(w * (w + 3) + 5, dtype=dtype)
    B, wanted = np.full((2, w * (w + 1) + 6), -1, dtype)
    transpose_tile(A, 5, w + 3, 10**6, B, 6, w + 1)
    REFERENCES["transpose_tile"](A, 5, w + 3, 10**6, wanted, 6, w + 1)
    np.testing.assert_array_equal(B, wanted)
    assert B[6 + 1] == A[5 + w + 3]  # row 0, column 1 of the result


def test_segment_sum_reads_its_entries_alone(rng):
    v = integers(rng, 100, np.float64)
    for start in range(40):
        for stop in range(start, 90):
            inside = fenced(v[start:stop], 60)
            assert segment_sum(inside, 0, inside.size) == v[start:stop].sum()
            assert segment_sum(v, start, stop) == REFERENCES["segment_sum"](v, start, stop)


def test_segment_sum_adds_alike_wherever_the_entries_lie(rng):
    v = rng.standard_normal(37)
    at = np.zeros(60)
    for start in range(20):
        at[start : start + 37] = v
        assert segment_sum(at, start, start + 37) == segment_sum(v, 0, 37)
    assert math.isnan(segment_sum(np.full(3, np.nan), 0, 3))


def test_fill_overwrites_no_more_than_it_says():
    for start in range(12):
        for stop in range(start, 60):
            v, wanted = np.zeros(100), np.zeros(100)
            fill(v, start, stop, 3.0)
            REFERENCES["fill"](wanted, start, stop, 3.0)
            np.testing.assert_array_equal(v[:stop], wanted[:stop])
            assert not v[stop + simd.RUN - 1 :].any()


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -1.5, 5e-324, 1.7976931348623157e308, np.inf, -np.inf])
def test_bits_of_floats(value):
    (bits,) = struct.unpack("<q", struct.pack("<d", value))
    for to_bits, to_float in [
        (float_bits, bits_float),
        (REFERENCES["float_bits"], REFERENCES["bits_float"]),
    ]:
        assert to_bits(value) == bits
        assert struct.pack("<d", to_float(bits)) == struct.pack("<d", value)


def test_bits_of_nan_come_back_as_nan():
    assert math.isnan(bits_float(float_bits(math.nan)))


def test_tiles_fit_the_registers():
    assert simd.VECTOR_BYTES in (32, 64)
    assert simd.lanes(np.float32) == 2 * simd.lanes(np.float64) == simd.VECTOR_BYTES // 4
    for dtype in DTYPES:
        assert simd.gram_columns(dtype) % simd.GRAM_MR == 0
        vectors = simd.GRAM_MR * simd.gram_columns(dtype) // simd.lanes(dtype)
        assert vectors <= (32 if simd.VECTOR_BYTES == 64 else 16) - simd.GRAM_NV - 1


def test_width_follows_environment_then_target_then_host(monkeypatch):
    monkeypatch.setenv("FASTSOFTRES_VECTOR_BYTES", "64")
    assert simd._vector_bytes() == 64
    monkeypatch.delenv("FASTSOFTRES_VECTOR_BYTES")
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: {"avx512f": True})
    assert simd._vector_bytes() == 64
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: {"avx512f": False})
    assert simd._vector_bytes() == 32
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: {"avx512f": True})
    monkeypatch.setattr(numba.config, "CPU_NAME", "generic")
    assert simd._vector_bytes() == 32
    monkeypatch.setattr(numba.config, "CPU_NAME", None)

    def unknown():
        raise RuntimeError("no host")

    monkeypatch.setattr(llvm, "get_host_cpu_features", unknown)
    assert simd._vector_bytes() == 32


@jit_on
@pytest.mark.skipif(INSIDE, reason="is the other width")
def test_other_register_width(tmp_path):
    """This file and the Gram kernels' hold for the width that this machine would not choose, too."""
    files = [
        str(Path(__file__).parent / name) for name in ("test_simd.py", "test_gram.py", "test_columns.py")
    ]
    other = "32" if simd.VECTOR_BYTES == 64 else "64"
    pytest_quietly = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    output = run_python(
        None, *pytest_quietly, *files, FASTSOFTRES_VECTOR_BYTES=other, NUMBA_CACHE_DIR=str(tmp_path)
    )
    assert " passed" in output


def test_without_compiler_the_references_are_used():
    run_python(
        """if True:
        from fastsoftres.kernels import simd
        for name, reference in simd.REFERENCES.items():
            assert getattr(simd, name) is reference, name
        """,
        NUMBA_DISABLE_JIT="1",
    )
