"""What comes in through the public entry points: every form of an array gives the plain array's result, and
what cannot be used is refused by its name. The user's arrays stay as they are, byte for byte.

One row a case, one column an entry point. The plain array (C order, float64 or float32) is the truth; its own
results are compared with autodiff and SciPy elsewhere.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

import fastsoftres as fs

N, D = 24, 3


class Tensor:
    """Stands in for another library's tensor: DLPack, and optionally NumPy's protocol."""

    def __init__(self, values, *, device=(1, 0), dtype="float32", **attributes):
        self.values, self.device, self.dtype = values, device, dtype
        self.__dict__.update(attributes)

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


def unaligned(values):
    buffer = np.zeros(values.nbytes + 1, np.uint8)[1:]
    out = buffer.view(values.dtype).reshape(values.shape)
    out[...] = values
    assert not out.flags.aligned
    return out


def read_only(values):
    out = values.copy()
    out.flags.writeable = False
    return out


def strided(values):
    out = np.full(tuple(2 * k for k in values.shape), 7.5, values.dtype)[
        tuple(slice(None, None, 2) for _ in values.shape)
    ]
    out[...] = values
    return out


def reversed_(values):
    every = tuple(slice(None, None, -1) for _ in values.shape)
    return np.ascontiguousarray(values[every])[every]


def memmap(values, path):
    np.save(path, values)
    return np.load(path, mmap_mode="r")


def data_frame(values):
    return pd.DataFrame(values) if values.ndim == 2 else pd.Series(values)


def polars_frame(values):
    return pl.DataFrame(values) if values.ndim == 2 else pl.Series(values)


def arrow(values):
    return (
        pa.array(values)
        if values.ndim == 1
        else pa.table({f"c{j}": column for j, column in enumerate(values.T)})
    )


def torch_tensor(values):
    torch = pytest.importorskip("torch")
    return torch.from_numpy(values.copy())


#: Forms of an array of 0s, 1s and 2s, and the type that the plain array of the same numbers has.
FORMS = {
    "list": (np.ndarray.tolist, "f8"),
    "tuple of arrays": (tuple, "f8"),
    "int64": (lambda v: v.astype("i8"), "f8"),
    "uint8": (lambda v: v.astype("u1"), "f8"),
    "big-endian int": (lambda v: v.astype(">i4"), "f8"),
    "float16": (lambda v: v.astype("f2"), "f8"),
    "longdouble": (lambda v: v.astype(np.longdouble), "f8"),
    "float32": (lambda v: v.astype("f4"), "f4"),
    "read-only": (read_only, "f8"),
    "read-only float32": (lambda v: read_only(v.astype("f4")), "f4"),
    "non-contiguous": (strided, "f8"),
    "negative strides": (reversed_, "f8"),
    "Fortran order": (np.asfortranarray, "f8"),
    "unaligned": (unaligned, "f8"),
    "unaligned float32": (lambda v: unaligned(v.astype("f4")), "f4"),
    "big-endian": (lambda v: v.astype(">f8"), "f8"),
    "big-endian float32": (lambda v: v.astype(">f4"), "f4"),
    "np.matrix-like subclass": (lambda v: v.view(type("Own", (np.ndarray,), {})), "f8"),
    "pandas": (data_frame, "f8"),
    "polars": (polars_frame, "f8"),
    "pyarrow": (arrow, "f8"),
    "DLPack alone": (Tensor, "f8"),
    "DLPack alone, float32": (lambda v: Tensor(v.astype("f4")), "f4"),
    "torch float64": (torch_tensor, "f8"),
    "torch float32": (lambda v: torch_tensor(v.astype("f4")), "f4"),
    "torch int": (lambda v: torch_tensor(v.astype("i8")), "f8"),
}  # fmt: skip


def raw(form):
    """The bytes of what was given."""
    if isinstance(form, Tensor):
        form = form.values
    return np.asarray(form).tobytes()


class Data:
    """One well-posed problem whose numbers are exact in every type."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.A = rng.integers(0, 3, (N, D)).astype(float)
        self.b = rng.integers(0, 3, N).astype(float)
        self.x = np.array([1.0, 0.0, 2.0])
        self.t = np.array([2.0, 1.0, 0.0])
        self.offset = rng.integers(0, 2, N).astype(float)
        self.row_ridge = rng.integers(0, 2, N).astype(float)
        self.group_weights = np.array([1.0, 2.0, 1.0])
        self.values = np.ones(N)
        self.dA = rng.integers(0, 2, (N, D)).astype(float)
        self.z = rng.integers(0, 3, (N, D)).astype(float)
        self.ptr = np.array([0, 8, 16, N])

    def changed(self, **changes):
        other = Data()
        other.__dict__.update(changes)
        return other

    def problem(self, **options):
        return fs.SoftResProblem(
            self.A, self.b, skip=0.5, ridge=0.5, row_ridge=self.row_ridge, offset=self.offset,
            group_ptr=self.ptr, group_weights=self.group_weights, **options,
        )  # fmt: skip


def inference(data):
    """A fit whose minimum is known to the solver, not to the arguments: x is its own."""
    problem = data.problem()
    return fs.inference(problem, fs.solve(problem, data.x), cov="model").cov.ravel()


def certified(data):
    known = fs.certify(data.problem(), data.x)
    return [known.proven, known.curvature, known.lipschitz]


def solved(data):
    found = fs.solve(data.problem(), data.x)
    assert found.success or found.message
    return [*found.x, found.fun]


def bounds(data):
    found = data.problem().lipschitz(data.x, 0.125)
    return [found.f, found.grad, found.hess]


def convexity(data):
    found = fs.strong_convexity_row_ridge(
        data.A, data.b, 0.25, 0.125, x=data.x, offset=data.offset, ridge=0.5
    )
    return [float(found), found.local, found.overall]


#: Entry points: each takes all of the data it can and gives numbers.
ENTRIES = {
    "value": lambda data: [data.problem().value(data.x)],
    "grad": lambda data: data.problem().grad(data.x),
    "value_and_grad": lambda data: data.problem().value_and_grad(data.x)[1],
    "hessp": lambda data: data.problem().hessp(data.x, data.t),
    "hessian": lambda data: data.problem().hessian(data.x).to_dense().ravel(),
    "predict": lambda data: data.problem().predict(data.x),
    "predict other rows": lambda data: data.problem().predict(
        data.x, A=data.A, group_ptr=data.ptr, offset=data.offset
    ),
    "solve": solved,
    "solve_path": lambda data: np.concatenate(
        [result.x for result in fs.solve_path(data.problem(), ridge=[1.0, 0.5], x0=data.x)]
    ),
    "solve_many": lambda data: fs.solve_many(
        data.A, data.dA, ridge=0.5, offset=data.offset, x0=data.x
    ).x.ravel(),
    "inference": inference,
    "elasticities": lambda data: fs.elasticities(
        data.problem(), data.x, 0, dA=data.dA, values=data.values
    ).own,
    "certify": certified,
    "lipschitz": bounds,
    "strong_convexity_row_ridge": convexity,
    "softres": lambda data: fs.softres(data.z, skip=0.5, axis=0).ravel(),
}  # fmt: skip

#: What carries an array, and the entry points that see it beyond the constructor.
MATRICES = ("A", "dA", "z")
VECTORS = ("b", "x", "t", "offset", "row_ridge", "group_weights", "values")
pytestmark = pytest.mark.filterwarnings("ignore:b (of|sums)")


def plain(values, dtype):
    return np.ascontiguousarray(values, dtype)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_matrix_in_any_form(entry, form):
    make, dtype = FORMS[form]
    data = Data()
    given = {name: make(getattr(data, name)) for name in MATRICES}
    before = {name: raw(value) for name, value in given.items()}
    if entry == "softres" and form == "float16":
        dtype = "f4"  # as its docstring says
    if entry == "softres" and form.startswith(("pandas", "polars", "pyarrow")):
        given["z"] = np.asarray(given["z"])
    got = ENTRIES[entry](data.changed(**given))
    wanted = ENTRIES[entry](data.changed(**{name: plain(getattr(data, name), dtype) for name in MATRICES}))
    np.testing.assert_array_equal(got, wanted)
    assert {name: raw(value) for name, value in given.items()} == before


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_all_vectors_in_any_form(entry, form):
    make, _ = FORMS[form]
    data = Data()
    given = {name: make(getattr(data, name)) for name in VECTORS}
    before = {name: raw(value) for name, value in given.items()}
    np.testing.assert_array_equal(ENTRIES[entry](data.changed(**given)), ENTRIES[entry](data))
    assert {name: raw(value) for name, value in given.items()} == before


@pytest.mark.parametrize("entry", ENTRIES)
def test_booleans(entry):
    data = Data()
    A, offset = data.A > 1, data.offset > 0
    got = ENTRIES[entry](data.changed(A=A, dA=A, z=A, offset=offset))
    f = A.astype(float)
    np.testing.assert_array_equal(got, ENTRIES[entry](data.changed(A=f, dA=f, z=f, offset=data.offset)))


@pytest.mark.parametrize("entry", ENTRIES)
def test_memory_map(entry, tmp_path):
    data = Data()
    A = memmap(data.A, tmp_path / "A.npy")
    # a memory map is read in chunks of its own, so the last bits of a sum may differ
    np.testing.assert_allclose(
        ENTRIES[entry](data.changed(A=A, dA=A, z=A)),
        ENTRIES[entry](data.changed(dA=data.A, z=data.A)),
        rtol=1e-9,
    )


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("axis", [0, 1])
def test_broadcast_with_zero_strides(entry, axis):
    data = Data()
    A = np.broadcast_to(np.take(data.A, [0], axis=axis), data.A.shape)
    assert 0 in A.strides
    got = ENTRIES[entry](data.changed(A=A, dA=A, z=A))
    full = A.copy()
    np.testing.assert_array_equal(got, ENTRIES[entry](data.changed(A=full, dA=full, z=full)))


@pytest.mark.parametrize("entry", [name for name in ENTRIES if name not in ("inference", "softres")])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (24, 1), (2, 3)])
def test_small_and_wide_shapes(entry, shape):
    """1x1, n = 1, d = 1, d > n: numbers, all finite (1.0 for one row: f is 1 there)."""
    n, d = shape
    data = Data()
    small = data.changed(
        A=data.A[:n, :d], dA=data.dA[:n, :d], b=data.b[:n], x=data.x[:d], t=data.t[:d],
        offset=data.offset[:n], row_ridge=data.row_ridge[:n], values=data.values[:n],
        ptr=np.array([0, n]), group_weights=np.array([1.0]),
    )  # fmt: skip
    if entry == "certify":  # where nothing is proven it says why, and has no numbers
        assert fs.certify(small.problem(), small.x).reason
        return
    numbers = np.asarray(ENTRIES[entry](small), float)
    assert not np.isnan(numbers).any()
    if entry.startswith("predict") and n == 1:
        assert numbers.tolist() == [1.0]


@pytest.mark.parametrize("b", ["zero", "negative", "large"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_any_target(entry, b):
    """All zero, negative, sums far from 1: accepted with a notice, the result finite."""
    data = Data()
    data.b = {"zero": np.zeros(N), "negative": -data.b, "large": 1e6 * (1.0 + data.b)}[b]
    if entry == "inference":
        data.b = data.b * 1e-3
    try:
        numbers = np.asarray(ENTRIES[entry](data), float)
    except ValueError as error:  # inference of a point that is no regular minimum
        assert entry == "inference", error
        return
    assert not np.isnan(numbers).any()


# -- what is refused ----------------------------------------------------------------------------


def replaced(values, number):
    out = values.copy()
    out.flat[1] = number
    return out


class CudaTensor(Tensor):
    """As a tensor on a graphics card looks from here."""

    def cpu(self):
        return self.values


def bad_forms(v):
    """Every array that is no array of finite real numbers, and words of the message."""
    shape = v.shape
    return {
        "nan": (replaced(v, np.nan), ["finite", "nan"]),
        "inf": (replaced(v, np.inf), ["finite", "inf"]),
        "-inf": (replaced(v, -np.inf), ["finite", "-inf"]),
        "nan in float32": (replaced(v.astype("f4"), np.nan), ["finite", "nan"]),
        "nan in a list": (replaced(v, np.nan).tolist(), ["finite", "nan"]),
        "longdouble beyond float64": (
            replaced(v.astype(np.longdouble), np.longdouble("1e4000")), ["finite", "inf"],
        ),
        "integer beyond float64": (np.full(shape, 10**400, object), ["real numbers", "object"]),
        "object": (v.astype(object), ["real numbers", "object"]),
        "complex": (v.astype(complex), ["real numbers", "complex128"]),
        "complex zero": (np.zeros(shape, "c8"), ["real numbers", "complex64"]),
        "text": (v.astype(str), ["real numbers", "<U"]),
        "bytes": (v.astype("S"), ["real numbers", "S"]),
        "dates": (v.astype("M8[s]"), ["real numbers", "datetime64"]),
        "structured": (np.zeros(shape, [("a", "f8")]), ["real numbers"]),
        "None": (np.full(shape, None), ["real numbers", "object"]),
        "masked": (np.ma.masked_array(v, mask=v > 1), ["masked", "filled"]),
        "one dimension more": (v[..., None, None], ["dimensional|shape"]),
        "empty": (v[:0], ["0"]),
        "ragged": ([[1.0], [1.0, 2.0]], ["cannot be read as an array"]),
        "pandas text": (data_frame(v.astype(str)), ["real numbers", "object|str|string"]),
        "polars missing": (polars_frame(replaced(v, np.nan)), ["finite", "nan"]),
        "requires gradients": (Tensor(v, requires_grad=True), [".detach()"]),
        "on a graphics card": (CudaTensor(v, device=(2, 0)), [".cpu()"]),
        "on another device": (Tensor(v, device=(8, 0)), ["np.asarray("]),
        "bfloat16": (Tensor(v, dtype="torch.bfloat16", float=lambda: v), [".float()"]),
        "bfloat16 of jax": (Tensor(v, dtype="bfloat16"), [".astype('float32')"]),
    }  # fmt: skip


BAD = list(bad_forms(np.ones((2, 2))))
#: For each argument, an entry point that takes it.
TAKES = {
    "A": "value", "dA": "elasticities", "z": "softres", "b": "value", "x": "value", "t": "hessp",
    "offset": "value", "row_ridge": "value", "group_weights": "value", "values": "elasticities",
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", TAKES)
def test_what_cannot_be_used_is_refused_by_name(name, case):
    data = Data()
    given, words = bad_forms(getattr(data, name))[case]
    if name == "z" and case in ("one dimension more", "empty"):
        pytest.skip("softres takes any shape")
    with pytest.raises((TypeError, ValueError)) as error:
        ENTRIES[TAKES[name]](data.changed(**{name: given}))
    assert type(error.value).__module__ == "builtins"
    message = str(error.value)
    assert message.startswith(f"{name} ") or f"{name} @" in message, message
    for word in words:
        assert any(one in message for one in word.split("|")), message


@pytest.mark.parametrize("name", ["b", "x", "t", "offset", "row_ridge", "group_weights", "values"])
@pytest.mark.parametrize("change", [lambda v: v[:-1], lambda v: np.append(v, 1.0)])
def test_wrong_lengths(name, change):
    data = Data()
    given = change(getattr(data, name))
    with pytest.raises(ValueError, match=rf"^{name} must .*{getattr(data, name).size}.* got .*{given.size}"):
        ENTRIES[TAKES[name]](data.changed(**{name: given}))


@pytest.mark.parametrize("name", [name for name in TAKES if name not in MATRICES])
def test_sparse_vectors(name):
    data = Data()
    with pytest.raises(TypeError, match=rf"{name} is a sparse matrix.*toarray"):
        ENTRIES[TAKES[name]](data.changed(**{name: sparse.csr_array(getattr(data, name)[None])}))


POINTS = [name for name in ENTRIES if name != "softres"]


@pytest.mark.parametrize("entry", POINTS)
@pytest.mark.parametrize("x", [np.full(D, np.nan), np.ones(D + 1), np.ones((D, 1)), ["a"] * D, None, 1.0])
def test_every_entry_point_checks_its_point(entry, x):
    if x is None and entry in (
        "solve",
        "solve_path",
        "solve_many",
        "inference",
        "strong_convexity_row_ridge",
    ):
        pytest.skip("None is the default start")
    with pytest.raises((TypeError, ValueError), match=r"^x0? "):
        ENTRIES[entry](Data().changed(x=x))


NUMBERS = {
    "nan": (np.nan, "nan"),
    "inf": (np.inf, "inf"),
    "negative": (-1.0, "-1"),
    "too large an integer": (10**400, "float64"),
    "text": ("1", "str"),
    "None": (None, "NoneType"),
    "boolean": (True, "bool"),
    "complex": (1j, "complex"),
    "array": (np.ones(2), "ndarray|entry"),
}
SCALARS = {
    "skip": lambda v: fs.SoftResProblem(np.eye(3), np.full(3, 1 / 3), skip=v),
    "ridge": lambda v: fs.SoftResProblem(np.eye(3), np.full(3, 1 / 3), ridge=v),
    "row_ridge": lambda v: fs.SoftResProblem(np.eye(3), np.full(3, 1 / 3), row_ridge=v),
    "tol": lambda v: fs.solve(Data().problem(), tol=v),
    "radius": lambda v: Data().problem().lipschitz(np.ones(D), v),
    "curvature": lambda v: fs.strong_convexity_row_ridge(Data().A, Data().b, v, 0.1),
    "level": lambda v: fs.inference(Data().problem(), np.ones(D), level=v),
}


@pytest.mark.parametrize("case", NUMBERS)
@pytest.mark.parametrize("name", SCALARS)
def test_numbers_out_of_range(name, case):
    value, words = NUMBERS[case]
    with pytest.raises((TypeError, ValueError), match=rf"^{name} must ") as error:
        SCALARS[name](value)
    assert any(word in str(error.value) for word in words.split("|")), error.value


@pytest.mark.parametrize("name", ["skip", "radius", "curvature"])
def test_softres_and_solvers_name_their_number(name):
    call = (lambda v: fs.softres([0.0, 1.0], skip=v)) if name == "skip" else SCALARS[name]
    with pytest.raises(ValueError, match=rf"^{name} must be finite and >= 0, got nan"):
        call(float("nan"))


@pytest.mark.parametrize("arguments", [{"tol": 0}, {"tol": -1e-8}])
def test_tolerance_must_be_positive(arguments):
    with pytest.raises(ValueError, match="tol must be finite and > 0, got"):
        fs.solve(Data().problem(), **arguments)


@pytest.mark.parametrize("value", ["bfgs", None, 3, ("newton",)])
def test_unknown_choices_list_the_known(value):
    problem = Data().problem()
    with pytest.raises(ValueError, match="method must be one of auto, newton, newton-cg, approx-newton"):
        fs.solve(problem, method=value)
    with pytest.raises(ValueError, match=r"loss must be one of least-squares, kl, got "):
        fs.SoftResProblem(np.eye(3), np.full(3, 1 / 3), loss=value)
    if value is not None:
        with pytest.raises(ValueError, match=r"cov must be one of .*, got "):
            fs.inference(problem, np.zeros(D), cov=value)


@pytest.mark.parametrize("rng", ["seed", -1, 1.5])
def test_seeds(rng):
    with pytest.raises((TypeError, ValueError), match="rng must be a seed >= 0 or a numpy Generator, got "):
        fs.solve(Data().problem(), rng=rng)


@pytest.mark.parametrize("name", ["group_ptr", "groups", "mask"])
@pytest.mark.parametrize(
    "given", [[[0], [0, 3]], np.ma.masked_array([0, 1, 3], mask=[0, 1, 0]), np.ones((3, 3)), None]
)
def test_groups_and_masks(name, given):
    if given is None:
        return
    with pytest.raises((TypeError, ValueError), match=rf"^{name} "):
        fs.SoftResProblem(np.eye(3), np.full(3, 1 / 3), **{name: given})


@pytest.mark.parametrize("call", [fs.solve, fs.solve_path, fs.certify, fs.inference, fs.elasticities])
def test_not_a_problem(call):
    more = {fs.solve_path: {"ridge": [1.0]}, fs.elasticities: {"feature": 0}}.get(call, {})
    with pytest.raises(TypeError, match=r"problem must be a SoftResProblem, got ndarray"):
        call(np.eye(3), np.zeros(3), **more) if call is not fs.solve_path else call(np.eye(3), **more)


# -- without a copy -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_tensors_are_not_copied(dtype):
    values = np.ones((4, 2), dtype)
    assert np.shares_memory(fs.SoftResProblem(Tensor(values), np.full(4, 0.25)).A, values)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_torch_tensors_are_not_copied(dtype):
    torch = pytest.importorskip("torch")
    A = torch.ones(4, 2, dtype=getattr(torch, dtype))
    problem = fs.SoftResProblem(A, np.full(4, 0.25))
    assert problem.dtype == dtype
    assert problem.A.ctypes.data == A.data_ptr()


def test_what_torch_tensors_need_is_said_and_works():
    torch = pytest.importorskip("torch")
    b = np.full(4, 0.25)
    A = torch.arange(8, dtype=torch.float32).reshape(4, 2)
    value = fs.SoftResProblem(A, b).value([0.5, 0.25])
    for other, call in [(A.clone().requires_grad_(), "detach"), (A.bfloat16(), "float")]:
        with pytest.raises(TypeError, match=rf"pass A\.{call}\(\)"):
            fs.SoftResProblem(other, b)
        assert fs.SoftResProblem(getattr(other, call)(), b).value([0.5, 0.25]) == value
