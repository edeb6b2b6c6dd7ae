"""Make fastsoftres/data/automobiles.csv from the automobile data that pyblp ships.

    python scripts/make_automobile_data.py [path/to/blp_products.csv]

Without a path the file is looked for in an installed pyblp (``pip install pyblp==1.3.0``). The source is
the data of Berry, Levinsohn & Pakes (Econometrica, 1995) as pyblp 1.3.0 has it (MIT licence).

What is done: nine of its columns are kept, three under a shorter name; their text is copied as it stands,
so that no number is rounded. All 20 markets are kept, in the order of the source. The outside good is not
written: it has no row in the source, and loading adds it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import sys
from pathlib import Path

#: Our name: the source's.
COLUMNS = {
    "market": "market_ids",  # the year
    "car": "clustering_ids",  # make and model
    "firm": "firm_ids",
    "shares": "shares",  # of all households
    "prices": "prices",  # thousand dollars of 1983
    "hpwt": "hpwt",  # horsepower by weight
    "air": "air",  # air conditioning is standard equipment
    "mpd": "mpd",  # tens of miles for a dollar's petrol
    "space": "space",  # length times width
}
#: blp_products.csv of pyblp 1.3.0.
SHA256 = "d203985e5caf6fbcf518ef4ca81748b06f749a3822277dddf8e77bc004859a01"
OUTPUT = Path(__file__).resolve().parents[1] / "fastsoftres" / "data" / "automobiles.csv"


def installed_source() -> Path:
    """blp_products.csv of an installed pyblp, without importing it."""
    spec = importlib.util.find_spec("pyblp")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("pyblp is not installed: give the path to blp_products.csv, or pip install pyblp==1.3.0")
    return Path(spec.submodule_search_locations[0]) / "data" / "blp_products.csv"


def convert(source: Path, output: Path) -> int:
    """Copy the columns. The number of rows written."""
    with (
        source.open(newline="", encoding="utf-8") as read,
        output.open("w", newline="", encoding="utf-8") as write,
    ):
        writer = csv.writer(write, lineterminator="\n")
        writer.writerow(COLUMNS)
        count = 0
        for row in csv.DictReader(read):
            writer.writerow([row[name] for name in COLUMNS.values()])
            count += 1
    return count


def main() -> None:
    """Read the command line, check the source, write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "source", nargs="?", type=Path, help="blp_products.csv; default: of an installed pyblp"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    source = options.source or installed_source()
    if hashlib.sha256(source.read_bytes()).hexdigest() != SHA256:
        print(f"note: {source} is not the file of pyblp 1.3.0", file=sys.stderr)
    print(f"{convert(source, options.output)} rows written to {options.output}")


if __name__ == "__main__":
    main()
