"""Results into files: whole, or not at all."""

from __future__ import annotations

import contextlib
import csv
import itertools
import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.errors import InputError
from ..statistics.table import InferenceTable
from .fitting import Fit

#: Kinds of files for coefficients, and for the picture.
OUT_SUFFIXES = (".csv", ".npz", ".npy")
PLOT_SUFFIXES = (".png", ".pdf", ".svg")
#: What an inference tells of each coefficient.
NUMBERS = ("coefficient", "std_error", "statistic", "p", "lower", "upper")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which takes its place at the end unless there was an error."""
    path = path.resolve()  # a link keeps pointing to where the file is
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield draft
        os.replace(draft, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)


def check_writable(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse, before any work is done, a file that cannot be written at the end."""
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: the name must end in one of {', '.join(suffixes)}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder")
    if not path.resolve().parent.is_dir():
        raise InputError(f"{path}: no such folder")
    if not os.access(path.resolve().parent, os.W_OK):
        raise InputError(f"{path}: the folder is not writable")


def write_coefficients(path: Path, features: Sequence[str], fits: Sequence[Fit]) -> None:
    """Write the coefficients, in the kind of file that the name asks for.

    Parameters
    ----------
    path : Path
        ``.csv``: names, λ and numbers to the last digit; ``.npz``: ``x``, ``features``, ``skip``; ``.npy``:
        x.
    features : sequence of str
    fits : sequence of Fit
        With more than one, x has a column for each.
    """
    columns = np.column_stack([fit.result.x for fit in fits])
    x = columns[:, 0] if len(fits) == 1 else columns
    suffix = path.suffix.lower()
    with replacing(path) as draft:
        if suffix == ".csv":
            heads = [f"skip={fit.skip!r}".removesuffix(".0") for fit in fits]
            with draft.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["feature", *heads])
                writer.writerows(
                    [name, *map(repr, row)] for name, row in zip(features, columns.tolist(), strict=True)
                )
            return
        with draft.open("wb") as binary:  # a file, not a name: numpy would append its suffix
            if suffix == ".npy":
                np.save(binary, x)
            else:
                np.savez(
                    binary, x=x, features=np.array(list(features)), skip=np.array([fit.skip for fit in fits])
                )


def write_tables(path: Path, tables: Sequence[tuple[float, InferenceTable]]) -> None:
    """Write coefficients with their standard errors, one line each, of each skip."""
    names = NUMBERS
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["skip", "feature", *names])
        for skip, table in tables:
            numbers = np.column_stack([getattr(table, name) for name in names])
            for name, row in zip(table.names, numbers.tolist(), strict=True):
                writer.writerow([f"{skip:g}", name, *map(repr, row)])


def write_shares(
    path: Path | None,
    shares: np.ndarray,
    skips: Sequence[float],
    beside: tuple[list[str], Iterable[list[str]]] | None,
) -> None:
    """Write predicted shares (n, k): .npy, or .csv after other columns of their table; without a path .csv to
    stdout."""
    if path is not None and path.suffix.lower() == ".npy":
        with replacing(path) as draft, draft.open("wb") as binary:
            np.save(binary, shares[:, 0] if len(skips) == 1 else shares)
        return
    if path is None:
        _shares_csv(sys.stdout, shares, skips, beside)
        return
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        _shares_csv(file, shares, skips, beside)


def _shares_csv(
    file: Any,
    shares: np.ndarray,
    skips: Sequence[float],
    beside: tuple[list[str], Iterable[list[str]]] | None,
) -> None:
    writer = csv.writer(file, lineterminator="\n")
    names, others = beside or ([], itertools.repeat([]))
    share = "predicted share" if "share" in names else "share"
    writer.writerow(names + ([share] if len(skips) == 1 else [f"{share}, skip={skip:g}" for skip in skips]))
    writer.writerows([*cells, *map(repr, row)] for cells, row in zip(others, shares.tolist(), strict=False))
