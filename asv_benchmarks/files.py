"""A pass over files beside the same reader with the same blocks whose rows nobody looks at.

    python -m asv_benchmarks.files            # --quick for small files, --rows, --columns, --repeat

Files are written to a temporary folder and lie in the page cache: what is measured is the reader, not the disk.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastsoftres as fs
from fastsoftres.prefetch import walk_blocks

from . import machine
from .table import Row, markdown, verdict, with_range
from .timing import Spread, interleaved, ratio

#: Share of the reader's own speed that a pass must keep.
BAR = 0.8


def write(folder: Path, A: np.ndarray) -> dict[str, Callable[[], object]]:
    """A matrix in each format, and how it is given to a problem."""
    import pyarrow as pa
    import pyarrow.parquet as parquet
    import zarr

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


def rows(n: int, d: int, repeat: int, judged: bool) -> list[Row]:
    """A row of the table for each format."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d))
    x = rng.standard_normal(d) / d**0.5
    b = fs.softres(A @ x)
    out = []
    with tempfile.TemporaryDirectory() as name:
        for format, given in write(Path(name), A).items():
            problem = fs.SoftResProblem(given(), b)
            source = problem._source
            bounds = source.bounds()
            times = interleaved(
                {
                    "pass": lambda problem=problem: problem.at(x),
                    "read": lambda source=source, bounds=bounds: walk_blocks(
                        source, bounds, lambda index, rows: None
                    ),
                },
                repeat,
            )
            rate = {key: Spread.of([8e-9 * n * d / t for t in values]) for key, values in times.items()}
            share = ratio(times["read"], times["pass"])
            out.append(
                Row(
                    f"{format}: value and gradient, n = {n:,}, d = {d}",
                    with_range(rate["pass"], 1.0, " GB/s"),
                    "the reader alone",
                    with_range(rate["read"], 1.0, " GB/s"),
                    with_range(share),
                    f">= {BAR}",
                    verdict(share.median, lambda value: value >= BAR, judged),
                )
            )
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small files, nothing judged")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    n = 20_000 if options.quick else options.rows
    print(machine.describe(fs.get_num_threads()), machine.busy())
    print(markdown(rows(n, options.columns, options.repeat, not options.quick)))


if __name__ == "__main__":
    main()
