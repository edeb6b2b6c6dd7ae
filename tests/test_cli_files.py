"""The command line on files that it does not load: x of an exact target is the outside truth."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import fastsoftres as fs
from fastsoftres.cli.app import fastsoftres

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
zarr = pytest.importorskip("zarr")


def run(*arguments):
    return CliRunner().invoke(fastsoftres, ["fit", "--no-plot", *map(str, arguments)])


@pytest.fixture
def data(rng):
    A = rng.standard_normal((600, 3))
    z = A @ [0.5, -1.0, 0.2]
    b = np.concatenate([fs.softres(z[i : i + 6], skip=0) for i in range(0, 600, 6)])
    size = np.repeat(rng.uniform(1, 2, 100), 6)
    return A, b, size


def coefficients(path):
    return np.load(path)["x"] if path.suffix == ".npz" else np.load(path)


def test_columns_of_parquet(data, tmp_path):
    A, b, size = data
    table = pa.table({"a": A[:, 0], "b": A[:, 1], "c": A[:, 2], "share": b, "size": size})
    table = table.append_column("market", [[f"m{i // 6}" for i in range(600)]])
    parquet.write_table(table, tmp_path / "A.parquet")
    out = tmp_path / "x.npy"
    done = run(
        tmp_path / "A.parquet", "--target", "share", "--group", "market", "--group-weight", "size",
        "--skip", 0,
        "--out", out, "--memory-limit", "100MB",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(np.ravel(coefficients(out)), [0.5, -1.0, 0.2], atol=1e-7)
    assert "100 groups (market m0, ..., m99)" in done.output


@pytest.mark.parametrize("kind", ["zarr", "npy"])
def test_matrices(kind, data, tmp_path):
    A, b, _ = data
    np.save(tmp_path / "b.npy", b)
    np.save(tmp_path / "ptr.npy", np.arange(0, 601, 6))
    path = tmp_path / f"A.{kind}"
    if kind == "zarr":
        array = zarr.create_array(path, shape=A.shape, dtype=A.dtype, chunks=(100, 3))
        array[:] = A
    else:
        np.save(path, A)
    out, check = tmp_path / "x.npy", tmp_path / "check.npz"
    for _ in range(2):
        done = run(
            path, tmp_path / "b.npy", "--group-ptr", tmp_path / "ptr.npy", "--skip", 0, "--out", out,
            "--memory-limit", "100MB", "--checkpoint", check,
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        np.testing.assert_allclose(np.ravel(coefficients(out)), [0.5, -1.0, 0.2], atol=1e-7)


def test_bad_input_is_one_line(data, tmp_path):
    A, b, _ = data
    np.save(tmp_path / "A.npy", A)
    np.save(tmp_path / "b.npy", b)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    (tmp_path / "bad.npz").write_bytes(b"x")
    for arguments, told in [
        ((tmp_path / "t.csv", "--target", "a", "--memory-limit", "1GB"), "is for .npy, .parquet and Zarr"),
        ((tmp_path / "bad.parquet", "--target", "a"), "is not a Parquet file that can be read"),
        ((tmp_path / "A.npy", tmp_path / "b.npy", "--memory-limit", "12 parsecs"), "memory_limit must be"),
        (
            (tmp_path / "A.npy", tmp_path / "b.npy", "--memory-limit", "1GB", "--constant"),
            "goes with rows in memory",
        ),
        ((tmp_path / "A.npy", tmp_path / "b.npy", "--checkpoint", tmp_path / "bad.npz"), "no checkpoint"),
        ((tmp_path / "A.npy", "--memory-limit", "1GB"), "and the target?"),
    ]:
        done = run(*arguments)
        assert done.exit_code == 2, done.output
        assert told in done.output
