"""``python -m asv_benchmarks.roofline``: every kernel beside the limit of this machine and beside others.

In one run, in turn: the fastest of several ways to read memory, multiply-adds in cache, our kernels, NumPy
with BLAS, jitted JAX, PyTorch, dsyrk and tabmat. Passes over A are compared with the reader: their bytes are
those of A and of row vectors, and a vector that is written counts twice, since its lines are read first.
Assembly is compared with the multiply-adds. Prints Markdown; ``--picture`` draws.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import machine
from .table import text

#: What ``--only`` picks from.
PARTS = ("gradient", "product", "assembly", "odd", "layout", "groups", "threads", "rows")


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, draw."""
    options = _parser().parse_args(arguments)
    warning = machine.busy()
    machine.limit_threads(options.threads)  # before anything numerical is imported
    from fastsoftres import set_num_threads

    from . import roofs

    set_num_threads(options.threads)
    repeat = options.repeat or (3 if options.quick else 7)
    run = roofs.Run(
        (16 if options.quick else 256) << 20, repeat, options.dtype or ["float64", "float32"],
        options.threads, options.columns, not options.quick,
    )  # fmt: skip
    before = machine.others()
    tables = []
    for part in options.only or PARTS:
        print(f"measuring: {part} ...", file=sys.stderr, flush=True)
        tables += getattr(roofs, part)(run)
    print(f"{machine.describe(options.threads)}. {run.size >> 20} MiB of A, median (min-max) of {repeat}.\n")
    busy = machine.others() - before
    if busy > 0.05 * run.seconds:
        warning += (
            f" others took {busy:.1f} s of a core during {run.seconds:.0f} s: do not trust these numbers"
        )
    if warning:
        print(f"WARNING: {warning.strip()}.\n")
    for title, head, rows in tables:
        print(f"**{title}**\n\n{text(head, rows)}\n")
    if run.points and options.picture:
        roofs.draw(run, options.picture)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m asv_benchmarks.roofline", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="16 MiB of A, few repetitions, no verdicts")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only; may be repeated")
    parser.add_argument("--dtype", action="append", choices=["float64", "float32"], help="may be repeated")
    parser.add_argument("--columns", type=int, action="append", help="this d only; may be repeated")
    parser.add_argument("--repeat", type=int, help="timed calls of each kind (default 7, quick 3)")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="threads for everyone")
    parser.add_argument("--picture", type=Path, default=None, help="draw a roofline to this file")
    return parser


if __name__ == "__main__":
    main()
