"""Random shapes, layouts, types and values against the plain formulas in long double, and damaged files
against the readers of the command line.

    FASTSOFTRES_FUZZ=20000 python -m pytest tests/test_fuzz.py         that many cases of a kind instead of 40
    FASTSOFTRES_FUZZ_SECONDS=240 python -m pytest tests/test_fuzz.py   as many as come in that time; a kind
                                                                       that found nothing is "skipped" then
"""

from __future__ import annotations

import os
import resource
import struct
import sys
import time
import zipfile

import numpy as np
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastsoftres as fs
from fastsoftres.data.arrays import members, read_matrix, read_vector
from fastsoftres.data.errors import InputError
from fastsoftres.data.tables import CsvTable, distinct, header, read_columns

SECONDS = float(os.environ.get("FASTSOFTRES_FUZZ_SECONDS", "inf"))
CASES = int(os.environ.get("FASTSOFTRES_FUZZ", "100000000" if np.isfinite(SECONDS) else "40"))
short = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

_begun: dict[str, tuple[float, int]] = {}


def one_more(kind):
    """Count a case; end the test as skipped once its time is over."""
    start, count = _begun.get(kind, (time.monotonic(), 0))
    _begun[kind] = start, count + 1
    if time.monotonic() - start > SECONDS:
        pytest.skip(f"time is over: {count} cases of {kind}, no failure")


LAYOUTS = {
    "C": lambda A: A,
    "Fortran": np.asfortranarray,
    "reversed": lambda A: np.ascontiguousarray(A[::-1, ::-1])[::-1, ::-1],
    "part of a wider one": lambda A: np.repeat(np.repeat(A, 2, axis=0), 2, axis=1)[::2, ::2],
    "big-endian": lambda A: A.astype(A.dtype.newbyteorder(">")),
    "sparse": sparse.csr_array,
}


@st.composite
def cases(draw):
    """A problem, and the plain numbers it is made of."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, d = draw(st.integers(1, 80)), draw(st.integers(1, 40))
    if draw(st.integers(0, 9)) == 0:
        n = draw(st.integers(1000, 9000))
        d = min(d, 8)
    kl = draw(st.booleans())
    skip = 0.0 if kl else draw(st.sampled_from([0.0, 1e-3, 0.5, 1.0, 3.0]))
    dtype = draw(st.sampled_from(["f8", "f4"]))
    spread = 10.0 ** draw(st.integers(-6, 2))
    A = rng.standard_normal((n, d)) * spread / np.sqrt(d)
    A[rng.random(A.shape) < draw(st.sampled_from([0.0, 0.5, 0.95]))] = 0.0
    A += draw(st.sampled_from([0.0, 0.0, 1.0, 100.0]))
    A = A.astype(dtype)
    if draw(st.booleans()):
        cut = rng.random(n - 1) < draw(st.sampled_from([0.02, 0.3, 0.9]))
        ptr = np.concatenate([[0], 1 + np.flatnonzero(cut), [n]])
    else:
        ptr = np.array([0, n])
    b = np.concatenate([reference.target(rng, k) for k in np.diff(ptr)])
    options = {
        "row_ridge": draw(st.sampled_from([0.0, 0.1])) * rng.random(n),
        "ridge": draw(st.sampled_from([0.0, 0.3])),
        "offset": draw(st.sampled_from([0.0, 0.5])) * rng.standard_normal(n),
    }
    weights = rng.random(ptr.size - 1) + 0.1 if draw(st.booleans()) else np.ones(ptr.size - 1)
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    x, t = rng.standard_normal(d), rng.standard_normal(d)
    return A, LAYOUTS[layout](A), b, skip, kl, ptr, weights, options, x, t


@short
@given(cases())
def test_evaluations_against_long_double(case):
    """Errors within 1000 units of rounding (float32: of its own) of the terms that cancel, MATH 7."""
    one_more("evaluations")
    A, given_A, b, skip, kl, ptr, weights, options, x, t = case
    problem = fs.SoftResProblem(
        given_A,
        b,
        skip=skip,
        loss="kl" if kl else "least-squares",
        group_ptr=ptr,
        group_weights=weights,
        **options,
    )
    wide = np.longdouble
    z = A.astype(wide) @ x.astype(wide) + options["offset"]
    shift = wide(max(float(z.max()), 0.0)) if skip == 0.0 else wide(0)
    exact = reference.evaluate(
        A.astype(wide), x.astype(wide), b.astype(wide), wide(skip), options["row_ridge"].astype(wide),
        wide(options["ridge"]), ptr, shift, weights.astype(wide), options["offset"].astype(wide), kl,
    )  # fmt: skip
    alpha = np.add.reduceat(np.exp(z - shift) + wide(skip) * z * np.exp(-shift), ptr[:-1])
    size = np.add.reduceat(np.exp(z - shift) + wide(skip) * abs(z) * np.exp(-shift), ptr[:-1])
    if not np.isfinite(exact.hess).all() or (size > 1e3 * abs(alpha)).any() or (alpha <= 0).any():
        return  # next to the barrier rounding of z alone decides
    amplified = float(1.0 + np.max(np.abs(z)) + np.abs(A).max() * np.abs(x).sum()) * float(
        np.max(size / abs(alpha))
    )
    unit = (1e3 * 6e-8 if A.dtype == np.float32 else 1e3 * 1.1e-16) * amplified**2
    if unit > 1e-2:
        return  # the conditioning leaves no digits to compare
    point = problem.at(x)
    loss_size = (
        float(np.abs(exact.value)) + float((weights * np.add.reduceat(b * b, ptr[:-1])).sum()) + float(kl)
    )
    assert abs(point.value - exact.value) <= 1e3 * 1.1e-16 * amplified**2 * loss_size
    assert (np.abs(point.grad - exact.grad) <= unit * np.max(exact.terms) + 1e-300).all()
    np.testing.assert_allclose(
        point.f, exact.f.astype(float), rtol=1e-13 * amplified**2, atol=1e-13 * amplified**2
    )
    # of the Hessian: against the same formula with absolute values, one column of A at a time
    top = np.abs(A).astype(float)
    scale = float(
        np.max(top) ** 2
        * (
            np.sum(weights) * 30.0
            + float(np.abs(options["row_ridge"]).sum() * weights.max())
            + options["ridge"]
        )
    )
    scale = max(scale, float(np.abs(exact.hess).max())) * float(
        np.max(size / abs(alpha)) ** 2 * (1.0 + skip) ** 2
    )
    H = problem.hessian(x).to_dense()
    assert (np.abs(H - exact.hess) <= unit * scale).all()
    assert (np.abs(point.hessp(t) - exact.hess.astype(float) @ t) <= unit * scale * np.abs(t).sum()).all()


@settings(short, max_examples=max(CASES // 5, 1))
@given(cases())
def test_fits_end_with_a_finite_point(case):
    """Never above the start; a nan nowhere; a success has a small gradient."""
    one_more("fits")
    _, given_A, b, skip, kl, ptr, weights, options, x, _ = case
    problem = fs.SoftResProblem(
        given_A,
        b,
        skip=skip,
        loss="kl" if kl else "least-squares",
        group_ptr=ptr,
        group_weights=weights,
        **options,
    )
    try:
        start = problem.value(x)
    except ValueError:
        return
    for method in ("newton", "lbfgs"):
        result = fs.solve(problem, x, method=method, maxiter=50)
        assert np.isfinite(result.x).all()
        assert np.isfinite(result.jac).all()
        assert result.fun <= start * (1 + 1e-12) + 1e-15
        if result.success:
            assert result.optimality["gradient"] <= 1e-6 + 1e-8


# -- files ---------------------------------------------------------------------------------------


def readers(path):
    """Everything of the command line that opens a file."""
    yield lambda: read_matrix(path)
    yield lambda: read_vector(path)
    yield lambda: members(path)
    if path.suffix == ".csv":
        yield lambda: header(path)
        yield lambda: distinct(path, "a")
        yield lambda: read_columns(path, ["a", "b"])
        yield lambda: CsvTable(path, ["a"], ["b"]).labels("b")


def refused_or_read(path):
    """Numbers, or one line that names the file; nothing else, and without much memory."""
    for read in readers(path):
        try:
            read()
        except InputError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)


def original(kind, tmp):
    """The bytes of a sound file of a kind."""
    path = tmp / f"sound{kind}"
    values = np.arange(12.0).reshape(6, 2)
    if kind == ".npy":
        np.save(path, values)
    elif kind == ".npz":
        np.savez(path, A=values, b=values[:, 0])
    elif kind == ".npz.compressed":
        np.savez_compressed(tmp / "sound.npz", A=values, b=values[:, 0])
        path = tmp / "sound.npz"
    else:
        path.write_text("a,b\n1.5,x\n2.5,y\n-3e-5,z\n")
    return path.read_bytes()


@pytest.mark.parametrize("kind", [".npy", ".npz", ".npz.compressed", ".csv"])
@short
@given(data=st.data())
def test_damaged_files_are_refused_in_one_line(tmp_path, kind, data):
    """Bytes changed, cut, repeated, or all of them random."""
    content = bytearray(original(kind, tmp_path))
    if data.draw(st.integers(0, 4)) == 0:
        content = bytearray(data.draw(st.binary(max_size=300)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        how = data.draw(st.sampled_from(["change", "cut", "insert", "repeat"]))
        if how == "change" and content:
            content[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del content[at:]
        elif how == "insert":
            content[at:at] = data.draw(
                st.sampled_from([b"\x00", b'"', b"\n", b",", b"9" * 40, b"\xff\xfe", b"nan"])
            )
        else:
            content += content[at : at + 50]
    path = tmp_path / ("damaged." + kind.split(".")[1])
    path.write_bytes(bytes(content))
    refused_or_read(path)
    one_more(f"damaged {kind}")


def npy(header_text):
    """A file of one header and 16 bytes."""
    text = header_text.encode("latin1").ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\x00" * 16


HEADERS = [
    "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 2), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000000000, 2), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
    "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '|S4000000000', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': 'x', }",
    "{'descr': __import__('os').system('false'), 'fortran_order': False, 'shape': (2,), }",
    "(" * 100,
    "[" * 100 + "]" * 10,
]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in kB")
@pytest.mark.parametrize("kind", [".npy", ".npz"])
@pytest.mark.parametrize("text", HEADERS)
def test_headers_that_lie(tmp_path, text, kind):
    """1e12 rows in 16 bytes, pickled objects, code: refused, and no memory is taken for what is not there."""
    path = tmp_path / f"lies{kind}"
    if kind == ".npy":
        path.write_bytes(npy(text))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("A.npy", npy(text))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"lies\.np"):
        read_matrix(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_table_cells_of_any_length(tmp_path):
    """A cell beyond the csv module's limit, and a quotation that never ends."""
    path = tmp_path / "t.csv"
    for text in (
        "a,b\n" + "9" * 200_000 + ",1\n",
        'a,b\n"1,2\n' * 3,
        "a,b\n" + "1e999999,1\n",
        "a,b\n\x00,1\n",
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=r"t\.csv"):
            read_matrix(path)
