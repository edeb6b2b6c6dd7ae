"""A pass over a file in the page cache: the reader and the kernels together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastsoftres as fs

from .problems import example


def write(folder: Path, A: np.ndarray) -> dict[str, Callable[[], object]]:
    """A matrix in each format, and how it is given to a problem."""
    import pyarrow as pa
    import zarr
    from pyarrow import parquet

    n, d = A.shape
    np.save(folder / "A.npy", A)
    rows = max(1, (4 << 20) // (8 * d))
    plain = zarr.create_array(
        folder / "plain.zarr", shape=A.shape, dtype=A.dtype, chunks=(rows, d), compressors=None
    )
    packed = zarr.create_array(folder / "packed.zarr", shape=A.shape, dtype=A.dtype, chunks=(rows, d))
    for array in (plain, packed):
        array[:] = A
    table = pa.table({f"x{j}": A[:, j] for j in range(d)})
    parquet.write_table(table, folder / "A.parquet", row_group_size=100_000)
    blocks = [(i, min(i + rows, n)) for i in range(0, n, rows)]
    return {
        ".npy": lambda: folder / "A.npy",
        "memmap": lambda: np.load(folder / "A.npy", mmap_mode="r"),
        "Zarr": lambda: folder / "plain.zarr",
        "Zarr, compressed": lambda: folder / "packed.zarr",
        "Parquet": lambda: folder / "A.parquet",
        "blocks in memory": lambda: [A[i:j] for i, j in blocks],
    }


FORMATS = [".npy", "memmap", "Zarr", "Zarr, compressed", "Parquet", "blocks in memory"]


class Streamed:
    params = FORMATS
    param_names = ("format",)

    def setup(self, format):
        if hasattr(self, "problem"):
            return
        here, self.x = example(100_000, 64)
        self.folder = tempfile.TemporaryDirectory()
        self.problem = fs.SoftResProblem(write(Path(self.folder.name), here.A)[format](), here.b)
        self.problem.value_and_grad(self.x)

    def time_value_and_grad(self, format):
        self.problem.value_and_grad(self.x)
