"""The commands and their options."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from .. import __version__
from .._threads import num_threads
from ..data.arrays import SUFFIXES as ARRAY_SUFFIXES
from ..data.errors import InputError
from ..problem import LOSSES
from ..solvers.solve import METHODS
from . import fitting, inputs, report
from .writing import OUT_SUFFIXES, PLOT_SUFFIXES, check_writable, write_coefficients

_FILE = click.Path(path_type=Path)
_AT_LEAST_0 = click.FloatRange(min=0.0)
_ABOVE_0 = click.FloatRange(min=0.0, min_open=True)


class BadInput(click.ClickException):
    """Input that cannot be used: one line on stderr, exit code 2."""

    exit_code = 2


class _OneLineErrors(click.Group):
    """A wrong option is answered with one line, without the usage text around it."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            error.ctx = None
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            error.ctx = None
            raise


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


@click.group(cls=_OneLineErrors, invoke_without_command=True)
@click.version_option(__version__, prog_name="fastsoftres")
@click.pass_context
def fastsoftres(ctx: click.Context) -> None:
    """Softmax and softmax-ResNet regression.

    `fastsoftres fit` fits the bundled data; `fastsoftres fit --help` tells how to fit yours.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@fastsoftres.command(short_help="Fit a model to two arrays, to a table, or to the bundled data.")
@click.argument("matrix", metavar="[A]", required=False, type=_FILE)
@click.argument("vector", metavar="[b]", required=False, type=_FILE)
@click.option("--target", metavar="COLUMN", help="Of a table: the column to fit.")
@click.option("--features", metavar="NAME,...", callback=_names, help="Of a table: the columns to fit with.")
@click.option(
    "--group", metavar="COLUMN",
    help="Of a table: the column that says which rows belong together. Each group is normalised on its own.",
)  # fmt: skip
@click.option("--only", metavar="VALUE", help="Fit the rows of this group alone.")
@click.option(
    "--group-ptr", type=_FILE, metavar="FILE", help="With arrays: rows at which groups begin, and n."
)
@click.option("--groups", type=_FILE, metavar="FILE", help="With arrays: a label for each row, instead.")
@click.option(
    "--group-weight", metavar="COLUMN|FILE",
    help="Weight of each group: a column, the same in all rows of a group; with arrays a file, one a group.",
)  # fmt: skip
@click.option("--offset", metavar="COLUMN|FILE", help="Added to A x: a column, or a file, one for each row.")
@click.option(
    "--mask", metavar="COLUMN|FILE",
    help="1 where a row takes part, 0 where not: a column, or a file, one for each row.",
)  # fmt: skip
@click.option("--constant/--no-constant", default=None, help="A first column of ones.")
@click.option(
    "--outside", type=click.Choice(["add", "none"]), default=None,
    help="add: append to each group the outside good, a row of zeros with the share that the others leave.",
)  # fmt: skip
@click.option(
    "--skip", "skips", type=_AT_LEAST_0, metavar="NUMBER", multiple=True,
    help="Weight λ of the linear term; 0 is softmax. Give it again to compare. Default: 1, with kl 0.",
)  # fmt: skip
@click.option(
    "--loss", type=click.Choice(LOSSES), default=LOSSES[0], show_default=True,
    help="Half the squared error, or for λ = 0 kl: the likelihood -Σ b log f.",
)  # fmt: skip
@click.option(
    "--ridge", type=_AT_LEAST_0, metavar="NUMBER", default=0.0, show_default=True, help="Penalty on ‖x‖²."
)
@click.option(
    "--row-ridge", metavar="NUMBER|FILE", callback=_number_or_file, default="0", show_default=True,
    help="Penalty on z²: one number, or a file with one for each row.",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(METHODS), default="auto", show_default=True, help="Solver.",
)  # fmt: skip
@click.option(
    "--tol", type=_ABOVE_0, metavar="NUMBER", default=1e-8, show_default=True,
    help="Relative gradient at which a run has converged.",
)  # fmt: skip
@click.option(
    "--maxiter",
    type=click.IntRange(min=0),
    metavar="COUNT",
    default=100,
    show_default=True,
    help="Most iterations.",
)
@click.option(
    "--starts", type=click.IntRange(min=1), metavar="COUNT",
    help="Runs from different starts; the lowest counts. Default: several where it may matter.",
)  # fmt: skip
@click.option("--max-seconds", type=_ABOVE_0, metavar="NUMBER", help="Time limit of a fit.")
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="COUNT", help="Default: the cores this process may use."
)
@click.option(
    "--out", type=_FILE, metavar="FILE", help="Write the coefficients to this .csv, .npz or .npy file."
)
@click.option("--plot/--no-plot", default=True, show_default=True, help="Draw the fit.")
@click.option(
    "--plot-file", type=_FILE, metavar="FILE", default=Path("fit.png"), show_default=True,
    help="Where: .png, .pdf or .svg.",
)  # fmt: skip
def fit(
    skips: tuple[float, ...],
    ridge: float,
    loss: str,
    method: str,
    tol: float,
    maxiter: int,
    starts: int | None,
    max_seconds: float | None,
    threads: int | None,
    out: Path | None,
    plot: bool,
    plot_file: Path,
    outside: str | None,
    **what: Any,
) -> None:
    """Fit a model.

    \b
    fastsoftres fit                          the bundled data, skip = 1 beside skip = 0
    fastsoftres fit --only 1990              one of its 20 markets
    fastsoftres fit A.npy b.npy              two arrays: .npy, .npz or .csv
    fastsoftres fit both.npz                 one file with arrays A and b
    fastsoftres fit table.csv --target shares --features prices,air --group market
                                             columns of a table

    Exit code: 0 converged, 1 not converged, 2 bad input.
    """
    settings = fitting.Settings(ridge, loss, method, tol, maxiter, starts or "auto", max_seconds)
    request = inputs.Request(outside=None if outside is None else outside == "add", **what)
    usual = (0.0,) if loss == "kl" else (1.0, 0.0) if request.matrix is None else (1.0,)
    skips = tuple(dict.fromkeys(skips)) or usual
    try:
        if out:
            check_writable(out, OUT_SUFFIXES)
        if plot:
            check_writable(plot_file, PLOT_SUFFIXES)
        dataset = inputs.load(request)
        with num_threads(threads) if threads else nullcontext():
            fits = _fit(dataset, skips, settings)
        click.echo("\n" + "\n".join(report.summary(fits, dataset.features)) + "\n")
        if out:
            write_coefficients(out, dataset.features, fits)
            click.echo(f"coefficients written to {out}")
        if plot:
            from . import plots  # matplotlib is slow to import

            plots.save(fits, dataset, plot_file)
            click.echo(f"plot written to {plot_file}")
    except InputError as error:
        raise BadInput(str(error)) from error
    if not all(one.converged for one in fits):
        raise SystemExit(1)


def _fit(dataset: inputs.Dataset, skips: Sequence[float], settings: fitting.Settings) -> list[fitting.Fit]:
    """Fit one model after the other, saying what happens."""
    try:
        problems, notices = fitting.build(dataset, skips, settings)
    except (TypeError, ValueError) as error:  # what the library says of unusable data, in one line
        raise InputError(str(error)) from error
    for line in report.model(problems) + report.data(dataset, problems[0]):
        click.echo(line)
    for notice in notices:
        click.echo(f"note: {notice}", err=True)
    fits: list[fitting.Fit] = []
    for problem in problems:
        click.echo(f"\nλ = {problem.skip:g}")
        fits.append(fitting.run(problem, settings))
        for line in report.outcome(fits[-1]):
            click.echo(line)
        if fits[-1].interrupted:
            break
    return fits
