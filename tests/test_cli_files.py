"""The command line on files that it does not load: x of an exact target is the outside truth."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from reference import run_python

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


CLUSTER = """if True:
    import os, subprocess, sys
    from pathlib import Path
    import numpy as np
    from dask.distributed import LocalCluster

    folder = Path(sys.argv[1])

    def fit(*arguments):
        command = [sys.executable, "-m", "fastsoftres", "fit", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder)

    if __name__ == "__main__":
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            there = ["--scheduler", cluster.scheduler_address, "--skip", 0, "--out", "x.npy"]
            table = ["A.parquet", "--target", "share", "--group", "market", "--group-weight", "size"]
            arrays = ["b.npy", "--group-ptr", "ptr.npy"]
            masked = ["A.npy", *arrays, "--mask", "mask.npy"]
            for what in (table, ["A.npy", *arrays], ["A.zarr", *arrays], masked):
                done = fit(*what, *there)
                assert done.returncode == 0, done.stdout + done.stderr
                assert "100 groups" in done.stdout and "yes" in done.stdout
                x = np.ravel(np.load(folder / "x.npy"))
                assert np.abs(x - [0.5, -1.0, 0.2]).max() < (0.1 if what is masked else 1e-7), x
            assert not (folder / "fit.png").exists()
        done = fit("A.npy", "b.npy", "--scheduler", cluster.scheduler_address)
        assert done.returncode == 2 and "no scheduler answers there" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
"""


@pytest.mark.slow
def test_a_scheduler_of_dask_is_asked_by_its_address(data, tmp_path):
    """Each kind of file, on two worker processes; and an address where nobody is."""
    pytest.importorskip("distributed")
    A, b, size = data
    table = pa.table({"a": A[:, 0], "b": A[:, 1], "c": A[:, 2], "share": b, "size": size})
    table = table.append_column("market", [[f"m{i // 6}" for i in range(600)]])
    parquet.write_table(table, tmp_path / "A.parquet", row_group_size=97)
    np.save(tmp_path / "A.npy", A)
    np.save(tmp_path / "b.npy", b)
    np.save(tmp_path / "ptr.npy", np.arange(0, 601, 6))
    np.save(tmp_path / "mask.npy", np.arange(600) != 17)
    array = zarr.create_array(tmp_path / "A.zarr", shape=A.shape, dtype=A.dtype, chunks=(100, 2))
    array[:] = A
    run_python(CLUSTER, str(tmp_path), timeout=500)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--scheduler", "tcp://127.0.0.1:9"), "needs a file that its workers can read"),
        (("A.npy", "b.npy", "--scheduler", "nonsense://x"), "no scheduler answers there"),
    ],
)
def test_a_scheduler_that_cannot_serve_is_one_line(arguments, told, data, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fastsoftres.cli.scheduler._TIMEOUT", 0.5)
    np.save("A.npy", data[0])
    np.save("b.npy", data[1])
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert told in done.output
