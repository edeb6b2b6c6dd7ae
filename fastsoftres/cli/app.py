"""The commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import click

from .. import __version__
from .._threads import num_threads
from ..data.errors import InputError
from . import fitting, inputs, machine, options, report
from .compiling import announced
from .scheduler import connected
from .signals import terminable
from .writing import OUT_SUFFIXES, PLOT_SUFFIXES, check_writable, write_coefficients

#: Of the tables that inference and predict write.
_TABLE_SUFFIXES = (".csv",)
_SHARE_SUFFIXES = (".csv", ".npy")


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


@click.group(cls=_OneLineErrors, invoke_without_command=True)
@click.version_option(__version__, prog_name="fastsoftres")
@click.pass_context
def fastsoftres(ctx: click.Context) -> None:
    """Softmax and softmax-ResNet regression.

    `fastsoftres fit` fits the bundled data; `fastsoftres fit --help` tells how to fit yours.
    """
    if os.environ.get("NO_COLOR"):  # https://no-color.org; else click colours what goes to a terminal
        ctx.color = False
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@contextmanager
def _work(as_json: bool = False, threads: int | None = None) -> Iterator[None]:
    """What a command does: bad input ends it in one line; for programs stdout is kept for the result."""
    try:
        with (
            redirect_stdout(sys.stderr) if as_json else nullcontext(),
            num_threads(threads) if threads else nullcontext(),
            announced(),
        ):
            yield
    except InputError as error:
        raise BadInput(str(error)) from error


def _request(outside: str | None, **what: Any) -> inputs.Request:
    return inputs.Request(outside=None if outside is None else outside == "add", **what)


def _skips(said: Sequence[float], loss: str, bundled: bool) -> tuple[float, ...]:
    usual = (0.0,) if loss == "kl" else (1.0, 0.0) if bundled else (1.0,)
    return tuple(dict.fromkeys(said)) or usual


@fastsoftres.command(short_help="Fit a model to two arrays, to a table, or to the bundled data.")
@options.rows
@options.target
@options.model
@options.solver
@click.option(
    "--memory-limit", metavar="SIZE",
    help="Bytes, or 512MB, 4GiB, that a fit of a .npy, .parquet or Zarr matrix may use; it is read block by "
    "block.",
)  # fmt: skip
@click.option(
    "--scheduler", metavar="ADDRESS",
    help="Fit on the workers of this Dask scheduler, e.g. tcp://10.0.0.1:8786; they read the .npy, .parquet "
    "or Zarr matrix from the same path.",
)  # fmt: skip
@click.option(
    "--checkpoint", type=options.FILE, metavar="FILE",
    help="Save the state here as the fit goes on; where the file exists, go on from it.",
)  # fmt: skip
@options.threads
@options.out("Write the coefficients to this .csv, .npz or .npy file.")
@click.option("--plot/--no-plot", default=True, show_default=True, help="Draw the fit.")
@click.option(
    "--plot-file", type=options.FILE, metavar="FILE", default=Path("fit.png"), show_default=True,
    help="Where: .png, .pdf or .svg.",
)  # fmt: skip
@options.as_json
def fit(
    skips: tuple[float, ...],
    ridge: float,
    loss: str,
    method: str,
    tol: float,
    maxiter: int,
    starts: int | None,
    max_seconds: float | None,
    checkpoint: Path | None,
    threads: int | None,
    out: Path | None,
    plot: bool,
    plot_file: Path,
    as_json: bool,
    **what: Any,
) -> None:
    """Fit a model.

    \b
    fastsoftres fit                          the bundled data, skip = 1 beside skip = 0
    fastsoftres fit --only 1990              one of its 20 markets
    fastsoftres fit A.npy b.npy              two arrays: .npy, .npz or .csv
    fastsoftres fit both.npz                 one file with arrays A and b
    fastsoftres fit table.csv --target shares --features prices,air --group market
                                             columns of a table, .csv or .parquet
    fastsoftres fit A.zarr b.npy             a Zarr folder, or with --memory-limit a .npy larger than memory
    fastsoftres fit A.zarr b.npy --scheduler tcp://10.0.0.1:8786
                                             on the workers of a Dask cluster; no plot is drawn

    Ctrl-C and SIGTERM end the fit with its best point so far, which is reported and written.

    Exit code: 0 converged, 1 not converged or ended so, 2 bad input.
    """
    settings = fitting.Settings(ridge, loss, method, tol, maxiter, starts or "auto", max_seconds, checkpoint)
    request = _request(**what)
    chosen = _skips(skips, loss, request.matrix is None)
    with _work(as_json, threads), connected(request.scheduler if request.matrix else None):
        if checkpoint and len(chosen) > 1:
            raise InputError("--checkpoint is of one fit: give one --skip")
        if out:
            check_writable(out, OUT_SUFFIXES)
        plot = plot and request.scheduler is None  # a picture needs all rows here
        if plot:
            check_writable(plot_file, PLOT_SUFFIXES)
        dataset = inputs.load(request)
        with terminable():
            fits = _fit(dataset, chosen, settings)
        click.echo("\n" + "\n".join(report.summary(fits, dataset.features)) + "\n")
        if out:
            write_coefficients(out, dataset.features, fits)
            click.echo(f"coefficients written to {out}")
        if plot:
            from . import plots  # matplotlib is slow to import

            plots.save(fits, dataset, plot_file)
            click.echo(f"plot written to {plot_file}")
    if as_json:
        click.echo(machine.text(machine.fits(dataset, fits)))
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
    for notice in notices + report.hints(problems[0]):
        click.echo(f"{click.style('note', fg='yellow')}: {notice}", err=True)
    fits: list[fitting.Fit] = []
    for problem in problems:
        click.secho(f"\nλ = {problem.skip:g}", bold=True)
        fits.append(fitting.run(problem, settings))
        ended, *more = report.outcome(fits[-1])
        click.secho(ended, fg="green" if fits[-1].converged else "yellow")
        for line in more:
            click.echo(line)
        if fits[-1].interrupted:
            break
    return fits


@fastsoftres.command(short_help="Coefficients with standard errors, tests and intervals.")
@options.rows
@options.target
@options.model
@options.solver
@click.option(
    "--cov", type=click.Choice(["cluster", "bootstrap", "model"]),
    help="Clustered sandwich, wild cluster bootstrap, or the model's own. Default: cluster from 40 clusters "
    "on, else bootstrap.",
)  # fmt: skip
@click.option(
    "--clusters", metavar="COLUMN|FILE",
    help="Groups that may depend on each other: a column, or with arrays a file, a label for each row. "
    "Default: groups are independent.",
)  # fmt: skip
@click.option(
    "--level", type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True), metavar="NUMBER", default=0.95,
    show_default=True, help="Of the intervals.",
)  # fmt: skip
@click.option(
    "--replicates", type=click.IntRange(min=99), metavar="COUNT", default=999, show_default=True,
    help="Of the bootstrap.",
)  # fmt: skip
@click.option("--seed", type=int, metavar="NUMBER", default=0, show_default=True, help="Of the bootstrap.")
@options.threads
@options.out("Write the table to this .csv file; with several λ one after the other.")
@options.as_json
def inference(
    skips: tuple[float, ...],
    ridge: float,
    loss: str,
    method: str,
    tol: float,
    maxiter: int,
    starts: int | None,
    max_seconds: float | None,
    threads: int | None,
    cov: str | None,
    level: float,
    replicates: int,
    seed: int,
    out: Path | None,
    as_json: bool,
    **what: Any,
) -> None:
    """Fit, and say how sure the coefficients are.

    \b
    fastsoftres inference --loss kl --cov cluster      the bundled data: 20 markets are 20 independent groups
    fastsoftres inference table.csv --target shares --features prices,air --group market --skip 0

    Rows inside one group share a normaliser and are not independent, so groups are what is counted: there
    must be more of them than coefficients.

    Exit code: 0 converged, 1 not converged (and no table), 2 bad input.
    """
    from ..statistics.inference import inference as infer
    from .writing import write_tables

    settings = fitting.Settings(ridge, loss, method, tol, maxiter, starts or "auto", max_seconds)
    request = _request(**what)
    tables = []
    with _work(as_json, threads):
        if out:
            check_writable(out, _TABLE_SUFFIXES)
        if request.matrix is not None and not (request.group or request.groups or request.group_ptr):
            raise InputError("inference counts groups: name their column with --group (arrays: --groups)")
        dataset = inputs.load(request)
        fits = _fit(dataset, _skips(skips, loss, request.matrix is None), settings)
        for one in fits:
            if not one.converged:
                continue
            try:
                table = infer(
                    one.problem, one.result, cov, clusters=dataset.clusters, level=level, n_boot=replicates,
                    rng=seed,
                )  # fmt: skip
            except (TypeError, ValueError) as error:
                raise InputError(str(error)) from error
            tables.append((one.skip, table))
            click.secho(f"\nλ = {one.skip:g}", bold=True)
            click.echo(str(table))
        if out and tables:
            write_tables(out, tables)
            click.echo(f"table written to {out}")
    if as_json:
        told = machine.fits(dataset, fits)
        click.echo(machine.text(told | {"inference": [machine.table(*one) for one in tables]}))
    if len(tables) < len(fits):
        raise SystemExit(1)


@fastsoftres.command(short_help="Shares that fitted coefficients give to other rows.")
@click.argument("coefficients", type=options.FILE)
@options.rows
@click.option(
    "--skip", "skips", type=click.FloatRange(min=0.0), metavar="NUMBER", multiple=True,
    help="Weight λ of the linear term, where the file of coefficients does not tell it (.npy).",
)  # fmt: skip
@options.threads
@options.out("Write the shares to this .csv or .npy file. Default: .csv to stdout.")
@options.as_json
def predict(
    coefficients: Path,
    skips: tuple[float, ...],
    threads: int | None,
    out: Path | None,
    as_json: bool,
    **what: Any,
) -> None:
    """Predict shares from the file that `fit --out` wrote.

    \b
    fastsoftres predict x.csv new.csv --group market --outside add
    fastsoftres predict x.npy A.npy --skip 0 --out shares.npy

    Columns are found by the coefficients' names (a `constant` is added). One row for each row of the data,
    in its order, with the table's other columns; an added outside good takes part and is left out: its share
    is what the others leave.
    """
    from . import predicting
    from .writing import write_shares

    with _work(as_json, threads):
        if out:
            check_writable(out, _SHARE_SUFFIXES)
        model = predicting.read_model(coefficients)
        lambdas = predicting.skips_of(model, skips, coefficients)
        request = predicting.request_of(model, _request(**what))
        dataset = inputs.load(request)
        shares = predicting.predict(dataset, model, lambdas)
        if out or not as_json:
            write_shares(out, shares, lambdas, predicting.beside(request))
        if out:
            click.echo(f"{shares.shape[0]} shares written to {out}", err=True)
    if as_json:
        by_skip = {f"{skip:g}": column for skip, column in zip(lambdas, shares.T, strict=True)}
        told = {"source": dataset.source, "rows": shares.shape[0], "shares": by_skip}
        click.echo(machine.text(told))


@fastsoftres.command(short_help="Versions, threads, BLAS and cache folder: what a bug report needs.")
@options.as_json
def info(as_json: bool) -> None:
    """Print versions, threads, BLAS and the folder of compiled kernels."""
    from .._about import information, show_versions

    if as_json:
        click.echo(machine.text(information()))
    else:
        show_versions()


@fastsoftres.command(short_help="How fast this machine is, and how close the passes come to it; a minute.")
@options.threads
@options.as_json
def bench(threads: int | None, as_json: bool) -> None:
    """Time a read of A, value and gradient, a Hessian product and the Hessian, side by side."""
    from . import bench as benchmark

    with _work(as_json, threads):
        click.echo("measuring; nothing else should run", err=True)
        told = benchmark.measure()
        for line in benchmark.lines(told):
            click.echo(line)
    if as_json:
        click.echo(machine.text(told))
