"""fastsoftres/files/budget.py: peak memory as the operating system counts it, in processes of their own.

Each solves a file of four times its budget; the lower bounds say that something was measured.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from reference import run_python

import fastsoftres as fs
from fastsoftres.files.budget import in_bytes

pytest.importorskip("pyarrow")
pytest.importorskip("zarr")

SOLVE = """if True:
    import resource, sys
    import numpy as np
    import fastsoftres as fs

    def status(name):
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    path, limit, method = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    b = np.load(path + ".b.npy")
    d = int(sys.argv[4])
    if path.endswith(".parquet"):
        import pyarrow.parquet
        pyarrow.array([1.0]).to_numpy(zero_copy_only=False)  # loads pandas where it is installed
    if path.endswith(".zarr"):
        import zarr
    # libraries loaded, kernels compiled, threads started
    A = np.random.default_rng(0).standard_normal((5_000, d))
    small = fs.SoftResProblem([A], np.full(5_000, 1 / 5_000))
    fs.solve(small, method=method, n_starts=1)
    del small, A
    before = status("VmRSS")
    given = np.load(path, mmap_mode="r") if "memmap" in sys.argv else path
    problem = fs.SoftResProblem(given, b, memory_limit=limit)
    result = fs.solve(problem, method=method)
    assert result.success, result.message
    print(status("VmHWM") - before, *result.x.tolist())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """400 MB of rows in each format, and x of their target."""
    import pyarrow as pa
    import zarr
    from pyarrow import parquet

    n, d = 400_000, 125
    rng = np.random.default_rng(1)
    A, x = rng.standard_normal((n, d)), rng.standard_normal(d) / d**0.5
    b = fs.softres(A @ x)
    folder = tmp_path_factory.mktemp("budget")
    np.save(folder / "A.npy", A)
    array = zarr.create_array(folder / "A.zarr", shape=A.shape, dtype=A.dtype, chunks=(1000, d))
    array[:] = A
    table = pa.table({f"x{j:03d}": A[:, j] for j in range(d)})
    parquet.write_table(table, folder / "A.parquet", row_group_size=5_000)
    for name in ("A.npy", "A.zarr", "A.parquet"):
        np.save(folder / f"{name}.b.npy", b)
    return folder, x, A.nbytes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("A.npy", "newton"),
        ("A.npy", "newton-cg"),
        ("memmap A.npy", "newton"),
        ("A.zarr", "newton"),
        ("A.parquet", "newton"),
    ],
)
def test_a_file_of_four_times_the_budget_is_solved_within_it(name, method, folder):
    where, wanted, size = folder
    limit = size // 4
    name, *more = reversed(name.split())
    answer = run_python(SOLVE, str(where / name), str(limit), method, str(wanted.size), *more).split()
    peak, x = int(answer[0]), np.array(answer[1:], float)
    np.testing.assert_allclose(x, wanted, atol=1e-8)
    print(name, method, f"{peak / 1e6:.1f} of {limit / 1e6:.1f} MB")
    assert 0.3 * limit < peak <= limit


class TestLimits:
    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            (512, 512),
            ("512", 512),
            ("512MB", 512 * 10**6),
            ("0.5 GiB", 2**29),
            ("2kb", 2000),
            (np.int64(7), 7),
        ],
    )
    def test_sizes(self, given, wanted):
        assert in_bytes(given) == wanted

    @pytest.mark.parametrize("given", ["", "MB", "5 XB", "-5MB", -5, 0])
    def test_other_values_are_refused(self, given):
        with pytest.raises(ValueError, match="memory_limit must be"):
            in_bytes(given)

    @pytest.mark.parametrize("given", [1.5, True, None, [5]])
    def test_other_types_are_refused(self, given):
        with pytest.raises(TypeError, match="memory_limit must be a number of bytes"):
            in_bytes(given)

    def test_a_limit_that_cannot_be_kept_says_which_can(self, rng, tmp_path):
        A = rng.standard_normal((20_000, 8))
        np.save(tmp_path / "A.npy", A)
        b = np.full(20_000, 1 / 20_000)
        with pytest.raises(ValueError, match="memory_limit must be at least") as told:
            fs.SoftResProblem(tmp_path / "A.npy", b, memory_limit="1MB")
        least = float(str(told.value).split("at least ")[1].split(" MB")[0])
        problem = fs.SoftResProblem(tmp_path / "A.npy", b, memory_limit=int(1e6 * least + 1e5))
        assert len(problem._source.edges) > 5
