"""Rows in files and blocks (fastsoftres/files): every answer equals that of the same rows in memory.

The outside truth is the array that was written; of the solver, the fit in memory.
"""

from __future__ import annotations

import itertools
import warnings
from typing import ClassVar

import numpy as np
import pytest

import fastsoftres as fs
from fastsoftres.files import source
from fastsoftres.files.source import BlockRows

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
zarr = pytest.importorskip("zarr")

N, D = 2_000, 5


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of some 100 rows, so that small files have many."""
    monkeypatch.setattr(source, "BLOCK_BYTES", 4096)


def as_npy(A, folder):
    np.save(folder / "A.npy", A)
    return folder / "A.npy"


def as_fortran(A, folder):
    np.save(folder / "A.npy", np.asfortranarray(A))
    return str(folder / "A.npy")


def as_swapped(A, folder):
    np.save(folder / "A.npy", A.astype(A.dtype.newbyteorder()))
    return folder / "A.npy"


def as_memmap(A, folder):
    """Rows in the middle of a larger file."""
    np.save(folder / "A.npy", np.concatenate([A[:7] + 1.0, A, A[:3]]))
    return np.load(folder / "A.npy", mmap_mode="r")[7:-3]


def as_private_memmap(A, folder):
    """Its changes are in memory and not in the file."""
    mapped = np.load(as_npy(A[::-1].copy(), folder), mmap_mode="c")
    mapped[:] = A
    return mapped


def as_zarr(A, folder):
    array = zarr.create_array(folder / "A.zarr", shape=A.shape, dtype=A.dtype, chunks=(130, 2))
    array[:] = A
    return array


def as_zarr_path(A, folder):
    as_zarr(A, folder)
    return folder / "A.zarr"


def as_table(A):
    return pa.table({f"x{j}": A[:, j] for j in range(A.shape[1])})


def as_parquet(A, folder):
    parquet.write_table(as_table(A), folder / "A.parquet", row_group_size=300)
    return folder / "A.parquet"


def as_parquet_folder(A, folder):
    (folder / "A").mkdir()
    for i, start in enumerate(range(0, len(A), 700)):
        parquet.write_table(
            as_table(A[start : start + 700]), folder / "A" / f"{i}.parquet", row_group_size=300
        )
    return folder / "A"


def as_dataset(A, folder):
    import pyarrow.dataset

    return pyarrow.dataset.dataset(as_parquet_folder(A, folder))


def as_sequence(A, folder):
    return [A[i : i + 111] for i in range(0, len(A), 111)]


def as_factory(A, folder):
    return lambda: (A[i : i + 1111] for i in range(0, len(A), 1111))


FORMATS = [
    as_npy, as_fortran, as_swapped, as_memmap, as_private_memmap, as_zarr, as_zarr_path, as_parquet,
    as_parquet_folder, as_dataset, as_sequence, as_factory,
]  # fmt: skip


def data(rng, dtype=np.float64, n=N, skip=1.0):
    A = rng.standard_normal((n, D)).astype(dtype)
    b = fs.softres(A @ rng.standard_normal(D), skip=skip) * rng.uniform(0.5, 1.5, n)
    return A, b / b.sum()


def softmax(z, ptr):
    """By group."""
    return np.concatenate([fs.softres(z[i:j], skip=0) for i, j in itertools.pairwise(ptr)])


@pytest.mark.parametrize("make", FORMATS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_answer_is_that_of_the_rows_in_memory(make, dtype, rng, tmp_path):
    A, b = data(rng, dtype)
    x, T = rng.standard_normal(D) / 3, rng.standard_normal((D, 3))
    here, there = fs.SoftResProblem(A, b), fs.SoftResProblem(make(A, tmp_path), b)
    if make is not as_private_memmap:  # only memory has its rows
        assert isinstance(there._source, BlockRows)
        assert len(there._source.edges) > 5
    assert (there.shape, there.dtype) == (here.shape, here.dtype)
    tol = 1e-12 if dtype == np.float64 else 2e-6
    ours, wanted = there.at(x), here.at(x)
    np.testing.assert_allclose(ours.z, wanted.z, rtol=0, atol=1e-14)
    assert ours.value == pytest.approx(wanted.value, rel=1e-12)
    for got, expected in [
        (ours.grad, wanted.grad),
        (ours.hessp(T), wanted.hessp(T)),
        (ours.hessian().to_dense(), wanted.hessian().to_dense()),
        (there.predict(x), here.predict(x)),
    ]:
        np.testing.assert_allclose(got, expected, rtol=0, atol=tol * np.abs(expected).max())
    rows = np.array([0, 0, 3, 150, 151, 1999])
    np.testing.assert_array_equal(there._source.take(rows).A, A[rows])


@pytest.mark.parametrize("method", ["newton", "newton-cg"])
@pytest.mark.parametrize("make", [as_npy, as_zarr, as_parquet, as_factory])
def test_solvers_need_not_know(make, method, rng, tmp_path):
    A, b = data(rng)
    wanted = fs.solve(fs.SoftResProblem(A, b), method=method)
    result = fs.solve(fs.SoftResProblem(make(A, tmp_path), b), method=method)
    assert result.success
    np.testing.assert_allclose(result.x, wanted.x, atol=1e-10)


@pytest.mark.parametrize("loss", ["least-squares", "kl"])
@pytest.mark.parametrize("sizes", [(7,), (1, 700, 299), (40, 300, 60, 600)])
def test_groups_need_not_end_where_blocks_do(sizes, loss, rng, tmp_path):
    A, _ = data(rng)
    ptr = np.minimum(np.cumsum([0, *np.resize(sizes, N)]), N)
    ptr = ptr[: np.argmax(ptr == N) + 1]
    b = softmax(A @ rng.standard_normal(D), ptr)
    options = {
        "skip": 0.0,
        "loss": loss,
        "group_ptr": ptr,
        "group_weights": rng.uniform(0.5, 2, ptr.size - 1),
    }
    options |= {"offset": rng.standard_normal(N), "row_ridge": rng.uniform(0, 1e-3, N)}
    x = rng.standard_normal(D) / 2
    here, there = fs.SoftResProblem(A, b, **options), fs.SoftResProblem(as_npy(A, tmp_path), b, **options)
    assert not np.isin(there._source.borders, ptr).all()
    np.testing.assert_allclose(there.grad(x), here.grad(x), atol=1e-12 * np.abs(here.grad(x)).max())
    H = here.hessian(x).to_dense()
    np.testing.assert_allclose(there.hessian(x).to_dense(), H, atol=1e-12 * np.abs(H).max())


def test_masked_rows_are_left_out(rng, tmp_path):
    A, b = data(rng)
    mask = rng.uniform(size=N) < 0.5
    mask[500:1000] = False  # whole blocks
    A[~mask] = np.nan  # not looked at
    x = rng.standard_normal(D) / 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        here = fs.SoftResProblem(A, b, mask=mask)
        for make in (as_npy, as_sequence, as_parquet):
            there = fs.SoftResProblem(make(A, tmp_path), b, mask=mask)
            np.testing.assert_allclose(there.grad(x), here.grad(x), rtol=1e-12)
            np.testing.assert_allclose(there.predict(x), here.predict(x), rtol=1e-12)
            rows = np.arange(0, there.shape[0], 50)
            np.testing.assert_array_equal(there._source.take(rows).A, A[mask][rows])


def test_same_bits_for_any_number_of_threads(rng, tmp_path):
    A, b = data(rng)
    problem = fs.SoftResProblem(as_npy(A, tmp_path), b)
    x = rng.standard_normal(D)
    wanted = problem.at(x)
    for threads in (1, 2, 5):
        with fs.num_threads(threads):
            point = problem.at(x)
            np.testing.assert_array_equal(point.grad, wanted.grad)
            np.testing.assert_array_equal(point.hessian().to_dense(), wanted.hessian().to_dense())


def test_blocks_bring_their_target(rng):
    A, b = data(rng)
    pairs = [(A[i : i + 300], b[i : i + 300]) for i in range(0, N, 300)]
    for blocks in (pairs, lambda: iter(pairs)):
        problem = fs.SoftResProblem(blocks)
        np.testing.assert_array_equal(problem.b, b)
    with pytest.raises(TypeError, match="b is missing"):
        fs.SoftResProblem([A])


def test_sequences_are_asked_only_for_blocks_that_are_needed(rng):
    A, b = data(rng)

    class Lazy:
        asked: ClassVar = []

        def __len__(self):
            return 20

        def __getitem__(self, i):
            self.asked.append(i)
            return A[100 * i : 100 * i + 100]

    problem = fs.SoftResProblem(Lazy(), b)
    assert Lazy.asked[1:] == list(range(20))  # the first is looked at to tell what A is
    Lazy.asked.clear()
    problem._source.take(np.array([5, 1234, 1240]))
    assert Lazy.asked == [0, 12]


class TestFromFiles:
    def table(self, rng):
        A, b = data(rng, skip=0.0)
        names = np.array([f"m{i // 40:03d}" for i in range(N)])
        b = softmax(A @ rng.standard_normal(D), range(0, N + 1, 40))
        weight = np.repeat(rng.uniform(1, 2, N // 40), 40)
        table = as_table(A).append_column("share", [b]).append_column("market", [names])
        return (
            A,
            b,
            names,
            weight,
            table.append_column("size", [weight]).append_column("log_size", [np.log(weight)]),
        )

    def test_columns_have_roles(self, rng, tmp_path):
        A, b, names, weight, table = self.table(rng)
        parquet.write_table(table, tmp_path / "t.parquet", row_group_size=170)
        problem = fs.SoftResProblem.from_files(
            tmp_path / "t.parquet", "share", features=["x3", "x0"], group="market", group_weight="size",
            offset="log_size", skip=0.0, loss="kl",
        )  # fmt: skip
        wanted = fs.SoftResProblem(
            A[:, [3, 0]],
            b,
            groups=names,
            group_weights=weight[::40],
            offset=np.log(weight),
            skip=0.0,
            loss="kl",
        )
        x = rng.standard_normal(2)
        np.testing.assert_allclose(problem.grad(x), wanted.grad(x), rtol=1e-12)
        assert problem.n_groups == 50
        np.testing.assert_array_equal(problem.group_labels, wanted.group_labels)

    def test_other_numeric_columns_are_features(self, rng, tmp_path):
        *_, table = self.table(rng)
        parquet.write_table(table, tmp_path / "t.parquet")
        problem = fs.SoftResProblem.from_files(
            tmp_path / "t.parquet", "share", group="market", group_weight="size", offset="log_size"
        )
        assert problem.shape == (N, D)

    def test_bad_columns_are_named(self, rng, tmp_path):
        *_, table = self.table(rng)
        path = tmp_path / "t.parquet"
        parquet.write_table(table, path)
        make = fs.SoftResProblem.from_files
        with pytest.raises(ValueError, match=r"target: .* has no column 'shares'; it has x0"):
            make(path, "shares")
        with pytest.raises(
            TypeError, match=r"features: column 'market' .* must hold real numbers, got string"
        ):
            make(path, "share", features=["x1", "market"])
        with pytest.raises(ValueError, match="column 'x1' is there twice"):
            make(path, "share", features=["x1", "x1"])
        with pytest.raises(ValueError, match=r"group: .* has no column"):
            make(path, "share", group="town")
        with pytest.raises(ValueError, match="must have one value in each group, but group 'm000'"):
            make(path, "share", group="market", group_weight="x0")
        with pytest.raises(ValueError, match="needs group"):
            make(path, "share", group_weight="size")

    def test_rows_of_a_group_that_are_apart_are_told(self, rng, tmp_path):
        *_, table = self.table(rng)
        path = tmp_path / "t.parquet"
        parquet.write_table(pa.concat_tables([table[:100], table[:1], table[100:]]), path, row_group_size=90)
        with pytest.raises(
            ValueError, match=r"'m000' of column 'market' comes again at row 100 \(row group 1"
        ):
            fs.SoftResProblem.from_files(path, "share", group="market")

    def test_missing_values_are_told(self, rng, tmp_path):
        *_, table = self.table(rng)
        path = tmp_path / "t.parquet"
        for name in ("share", "market", "x2"):
            values = table[name].to_pylist()
            values[1234] = None
            parquet.write_table(
                table.set_column(table.column_names.index(name), name, [values]), path, row_group_size=500
            )
            with pytest.raises(ValueError, match=r"row 1234.*row group 2"):
                fs.SoftResProblem.from_files(path, "share", group="market", features=["x2"])


class TestBadInput:
    @pytest.mark.parametrize("make", [as_npy, as_zarr, as_parquet, as_sequence])
    def test_a_nan_is_told_with_its_block(self, make, rng, tmp_path):
        A, b = data(rng)
        A[1734, 2] = np.nan
        where = {
            as_npy: r" of .*A\.npy", as_zarr: r" \(chunk 13 of ", as_parquet: r" \(row group 5 of ",
            as_sequence: r" \(row 69 of block 15\)",
        }[make]  # fmt: skip
        with pytest.raises(ValueError, match="A must be finite, got nan at row 1734, column 2" + where):
            fs.SoftResProblem(make(A, tmp_path), b)

    def test_blocks_of_another_width_or_kind(self, rng):
        A, b = data(rng)
        with pytest.raises(ValueError, match="block 1 of A has 4 columns, and block 0 has 5"):
            fs.SoftResProblem([A[:10], A[10:20, :4]], b[:20])
        with pytest.raises(ValueError, match="block 1 of A must be two-dimensional"):
            fs.SoftResProblem([A[:10], A[10]], b[:11])
        with pytest.raises(TypeError, match="block 1 of A must hold real numbers"):
            fs.SoftResProblem([A[:10], A[10:20].astype(str)], b[:20])
        with pytest.raises(ValueError, match="block 1 comes without a target"):
            fs.SoftResProblem([(A[:10], b[:10]), A[10:20]])
        with pytest.raises(ValueError, match="target of block 1 must have one entry for each of its 10 rows"):
            fs.SoftResProblem([(A[:10], b[:10]), (A[10:20], b[:9])])
        b[13] = np.inf
        with pytest.raises(ValueError, match="b must be finite, got inf at row 3 of block 1"):
            fs.SoftResProblem([(A[:10], b[:10]), (A[10:20], b[10:20])])
        with pytest.raises(ValueError, match="without a block"):
            fs.SoftResProblem(lambda: iter([]), b)

    def test_a_factory_that_changes_its_mind(self, rng):
        A, b = data(rng)
        given = [[A[:500], A[500:]], [A[:500], A[500:1500]], [A[:500]], [A[:500], A[500:], A[:1]]]
        turns = iter(given)
        problem = fs.SoftResProblem(lambda: iter(next(turns)), b)
        with pytest.raises(ValueError, match=r"block 1 of A has changed: shape \(1000, 5\), and \(1500, 5\)"):
            problem.at(np.zeros(D))
        with pytest.raises(ValueError, match="has become shorter: rows from 500 on are missing"):
            problem.at(np.zeros(D))

    def test_truncated_and_foreign_npy_files(self, rng, tmp_path):
        A, b = data(rng)
        path = as_npy(A, tmp_path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-100])
        with pytest.raises(ValueError, match="is truncated: 100 bytes are missing of a matrix of shape"):
            fs.SoftResProblem(path, b)
        path.write_bytes(whole[:50])
        with pytest.raises(ValueError, match=r"is not a \.npy file that can be read"):
            fs.SoftResProblem(path, b)
        np.save(path, np.array([[object()]]))
        with pytest.raises(TypeError, match="holds Python objects, which only unpickling could read"):
            fs.SoftResProblem(path, b)
        np.save(path, np.zeros((3, 2), complex))
        with pytest.raises(TypeError, match="must hold real numbers, got dtype complex128"):
            fs.SoftResProblem(path, b)
        np.save(path, np.zeros(3))
        with pytest.raises(ValueError, match="must be two-dimensional"):
            fs.SoftResProblem(path, b)

    def test_a_file_that_shrinks_while_it_is_used(self, rng, tmp_path):
        A, b = data(rng)
        path = as_npy(A, tmp_path)
        problem = fs.SoftResProblem(path, b)
        path.write_bytes(path.read_bytes()[:-8000])
        with pytest.raises(ValueError, match="has become shorter: rows from"):
            problem.at(np.zeros(D))

    def test_unreadable_parquet_and_zarr(self, rng, tmp_path):
        A, b = data(rng)
        path = as_parquet(A, tmp_path)
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(ValueError, match="is not a Parquet file that can be read"):
            fs.SoftResProblem(path, b)
        folder = as_zarr_path(A, tmp_path)
        next((folder / "c").rglob("7/0")).write_bytes(b"not a chunk")
        with pytest.raises(ValueError, match=r"rows \d+ to \d+ cannot be read"):
            fs.SoftResProblem(folder, b)
        (folder / "zarr.json").write_text("{}")
        with pytest.raises(ValueError, match="is not a Zarr array that can be read"):
            fs.SoftResProblem(folder, b)

    def test_damaged_pages_of_a_parquet_file(self, rng, tmp_path):
        A, b = data(rng)
        path = as_parquet(A, tmp_path)
        raw = bytearray(path.read_bytes())
        raw[1000:9000] = bytes(8000)
        path.write_bytes(raw)
        with pytest.raises(ValueError, match="row group 0 cannot be read"):
            fs.SoftResProblem(path, b)

    def test_paths(self, rng, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no file .*none\.npy"):
            fs.SoftResProblem(tmp_path / "none.npy", [1.0])
        (tmp_path / "A.txt").write_text("1")
        with pytest.raises(ValueError, match=r"is none of \.npy"):
            fs.SoftResProblem(tmp_path / "A.txt", [1.0])
        with pytest.raises(FileNotFoundError, match=r"has no \.parquet file in it"):
            fs.SoftResProblem(tmp_path, [1.0])

    def test_groups_and_masks(self, rng, tmp_path):
        A, b = data(rng)
        path = as_npy(A, tmp_path)
        with pytest.raises(ValueError, match="group 1 is empty"):
            fs.SoftResProblem(path, b, group_ptr=[0, 10, 10, N])
        with pytest.raises(ValueError, match="mask leaves out group 0"):
            fs.SoftResProblem(path, b, group_ptr=[0, 10, N], mask=np.arange(N) >= 10)
        labels = np.arange(N) // 1000
        labels[5] = 1
        with pytest.raises(ValueError, match="rows of a group must be consecutive where A is in files"):
            fs.SoftResProblem(path, b, groups=labels)
        with pytest.raises(TypeError, match="memory_limit is for A in files"):
            fs.SoftResProblem(A, b, memory_limit="1GB")

    def test_absent_libraries_name_their_command(self, rng, tmp_path, monkeypatch):
        A, b = data(rng)
        folder, path = as_zarr_path(A, tmp_path), as_parquet(A, tmp_path)
        monkeypatch.setitem(__import__("sys").modules, "zarr", None)
        monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
        for given in (folder, path):
            with pytest.raises(ImportError, match=r"pip install 'fastsoftres\[files\]'"):
                fs.SoftResProblem(given, b)
