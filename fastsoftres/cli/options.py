"""Options that several commands share, each group of them one decorator."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..data.arrays import SUFFIXES as ARRAY_SUFFIXES
from ..opening import LOSSES
from ..solvers.solve import METHODS

FILE = click.Path(path_type=Path)
_AT_LEAST_0 = click.FloatRange(min=0.0)
_ABOVE_0 = click.FloatRange(min=0.0, min_open=True)


def _number_or_file(ctx: click.Context, param: click.Parameter, value: str) -> float | Path:
    try:
        return float(value)
    except ValueError:
        if Path(value).suffix.lower() in ARRAY_SUFFIXES:
            return Path(value)
    raise click.BadParameter(f"{value!r} is neither a number nor the name of a .npy, .npz or .csv file")


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    if value is None:
        return None
    names = [name.strip() for name in next(csv.reader([value], skipinitialspace=True), [])]
    if not names or not all(names):
        raise click.BadParameter(f"{value!r} is not a list of names with commas between them")
    return names


def together(*options: Callable[..., Any]) -> Callable[..., Any]:
    """One decorator of several, the first one on top."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


#: Which rows, and how they are arranged.
rows = together(
    click.argument("matrix", metavar="[A]", required=False, type=FILE),
    click.option(
        "--features", metavar="NAME,...", callback=_names, help="Of a table: the columns to fit with."
    ),
    click.option(
        "--group", metavar="COLUMN",
        help="Of a table: the column that says which rows belong together. Each group is normalised on its "
        "own.",
    ),
    click.option("--only", metavar="VALUE", help="Take the rows of this group alone."),
    click.option(
        "--group-ptr", type=FILE, metavar="FILE", help="With arrays: rows at which groups begin, and n."
    ),
    click.option("--groups", type=FILE, metavar="FILE", help="With arrays: a label for each row, instead."),
    click.option(
        "--offset", metavar="COLUMN|FILE", help="Added to A x: a column, or a file, one for each row."
    ),
    click.option(
        "--mask", metavar="COLUMN|FILE",
        help="1 where a row takes part, 0 where not: a column, or a file, one for each row.",
    ),
    click.option("--constant/--no-constant", default=None, help="A first column of ones."),
    click.option(
        "--outside", type=click.Choice(["add", "none"]), default=None,
        help="add: append to each group the outside good, a row of zeros with the share that the others "
        "leave.",
    ),
)  # fmt: skip

#: What is fitted to them.
target = together(
    click.argument("vector", metavar="[b]", required=False, type=FILE),
    click.option("--target", metavar="COLUMN", help="Of a table: the column to fit."),
    click.option(
        "--group-weight", metavar="COLUMN|FILE",
        help="Weight of each group: a column, the same in all rows of a group; with arrays a file, one a "
        "group.",
    ),
)  # fmt: skip

#: The objective.
model = together(
    click.option(
        "--skip", "skips", type=_AT_LEAST_0, metavar="NUMBER", multiple=True,
        help="Weight λ of the linear term; 0 is softmax. Give it again to compare. Default: 1, with kl 0.",
    ),
    click.option(
        "--loss", type=click.Choice(LOSSES), default=LOSSES[0], show_default=True,
        help="Half the squared error, or for λ = 0 kl: the likelihood -Σ b log f.",
    ),
    click.option(
        "--ridge", type=_AT_LEAST_0, metavar="NUMBER", default=0.0, show_default=True, help="Penalty on ‖x‖²."
    ),
    click.option(
        "--row-ridge", metavar="NUMBER|FILE", callback=_number_or_file, default="0", show_default=True,
        help="Penalty on z²: one number, or a file with one for each row.",
    ),
)  # fmt: skip

#: How it is minimised.
solver = together(
    click.option(
        "--method", type=click.Choice(METHODS), default="auto", show_default=True, help="Solver."
    ),
    click.option(
        "--tol", type=_ABOVE_0, metavar="NUMBER", default=1e-8, show_default=True,
        help="Relative gradient at which a run has converged.",
    ),
    click.option(
        "--maxiter", type=click.IntRange(min=0), metavar="COUNT", default=100, show_default=True,
        help="Most iterations.",
    ),
    click.option(
        "--starts", type=click.IntRange(min=1), metavar="COUNT",
        help="Runs from different starts; the lowest counts. Default: several where it may matter.",
    ),
    click.option("--max-seconds", type=_ABOVE_0, metavar="NUMBER", help="Time limit of a fit."),
)  # fmt: skip

threads = click.option(
    "--threads", type=click.IntRange(min=1), metavar="COUNT", help="Default: the cores this process may use."
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout, all else on stderr."
)


def out(words: str) -> Callable[..., Any]:
    """The option --out."""
    return click.option("--out", type=FILE, metavar="FILE", help=words)
