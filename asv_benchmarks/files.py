"""A pass over files beside the same reader with the same blocks whose rows nobody looks at, and A in memory.

    python -m asv_benchmarks.files            # --quick for small files, --rows, --columns, --repeat

Files are written to a temporary folder and lie in the page cache: what is measured is the reader, not the
disk.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import fastsoftres as fs
from fastsoftres.prefetch import walk_blocks

from . import machine
from .benchmarks.files import write
from .table import Row, markdown, verdict, with_range
from .timing import Spread, interleaved, ratio

#: Share of the reader's own speed that a pass must keep.
BAR = 0.8


def rows(n: int, d: int, repeat: int, judged: bool) -> list[Row]:
    """A row of the table for each format."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d))
    x = rng.standard_normal(d) / d**0.5
    b = fs.softres(A @ x)
    here = fs.SoftResProblem(A, b)
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
                    "memory": lambda: here.at(x),
                },
                repeat,
            )
            rate = {key: Spread.of([8e-9 * n * d / t for t in values]) for key, values in times.items()}
            share = ratio(times["read"], times["pass"])
            of_memory = ratio(times["memory"], times["pass"])
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
            out.append(
                Row(
                    f"{format}: the same",
                    with_range(rate["pass"], 1.0, " GB/s"),
                    "A in memory",
                    with_range(rate["memory"], 1.0, " GB/s"),
                    with_range(of_memory),
                    "",
                    "",
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
