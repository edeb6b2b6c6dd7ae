"""``python -m asv_benchmarks.peers``: this package beside others, in one run, on the same inputs and threads.

Prints a Markdown table: medians of calls taken in turn, with the smallest and largest, and whether each
bar is met. A ratio is taken round by round and says how many times as fast as the other one is here.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from . import machine
from .settings import Settings

GROUPS = {
    "gradient": "gradient_peers",
    "assembly": "assembly_peers",
    "sparse": "sparse_peers",
    "groups": "group_sizes",
    "targets": "targets",
    "small": "small",
    "startup": "startup",
}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    options = _parser().parse_args(arguments)
    warning = machine.busy()
    machine.limit_threads(options.threads)  # before anything numerical is imported
    from fastsoftres import set_num_threads

    from .table import markdown

    set_num_threads(options.threads)
    settings = Settings(options.quick, options.repeat or (3 if options.quick else 9))
    rows = []
    for name in options.only or GROUPS:
        print(f"measuring: {name} ...", file=sys.stderr, flush=True)
        rows += importlib.import_module(f".{GROUPS[name]}", __package__).rows(settings)
    print(f"{machine.describe(options.threads)}. Median (min-max) of {settings.repeat}.\n")
    if warning:
        print(f"WARNING: {warning}.\n")
    print(markdown(rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m asv_benchmarks.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, few repetitions, no verdicts")
    parser.add_argument("--only", action="append", choices=GROUPS, help="this group only; may be repeated")
    parser.add_argument("--repeat", type=_positive, help="timed calls of each kind (default 9, quick 3)")
    parser.add_argument("--threads", type=_positive, default=machine.cores(), help="threads for everyone")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


if __name__ == "__main__":
    main()
