"""Coefficients out of a file, and the shares that they give to other rows."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..columns import CONSTANT
from ..data.arrays import read_matrix
from ..data.automobiles import AUTOMOBILES
from ..data.errors import InputError
from ..data.tables import header
from ..data.textfiles import number, records
from ..problem import SoftResProblem
from . import inputs

_SKIP = "skip="


class Model(NamedTuple):
    """What ``fit --out`` wrote; each kind of file holds a part of it."""

    x: np.ndarray  # (d, k): a column for each fit
    features: list[str] | None  # (d,)
    skips: list[float] | None  # (k,)


def read_model(path: Path) -> Model:
    """Read the file that ``fit --out`` wrote."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv(path)
    x = read_matrix(path, "x").values.astype(np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if suffix != ".npz":
        return Model(x, None, None)
    features = read_matrix(path, "features", kinds="U").values.tolist()
    return Model(x, features, read_matrix(path, "skip").values.astype(np.float64).tolist())


def _csv(path: Path) -> Model:
    lines = records(path)
    _, heads = next(lines, (0, []))
    if len(heads) < 2 or heads[0] != "feature":
        raise InputError(f"{path}: not a file of coefficients: its first line must begin with 'feature,'")
    rows = list(lines)
    if not rows:
        raise InputError(f"{path}: no coefficients in the file")
    x = [[number(c, path, line, h) for c, h in zip(row[1:], heads[1:], strict=True)] for line, row in rows]
    known = all(head.startswith(_SKIP) for head in heads[1:])
    skips = [number(h.removeprefix(_SKIP), path, 1, h) for h in heads[1:]] if known else None
    return Model(np.array(x), [row[0] for _, row in rows], skips)


def skips_of(model: Model, said: Sequence[float], path: Path) -> list[float]:
    """λ of each column of coefficients: what the file says, or the user."""
    if model.skips is not None:
        if said and list(said) != model.skips:
            raise InputError(f"{path}: the coefficients were fitted with skip {_list(model.skips)}")
        return model.skips
    if len(said) != model.x.shape[1]:
        count = model.x.shape[1]
        wanted = "it" if count == 1 else f"it {count} times, once for each column"
        raise InputError(f"{path}: the file does not tell λ: give {wanted} with --skip NUMBER")
    return list(said)


def request_of(model: Model, request: inputs.Request) -> inputs.Request:
    """The request, with the features of the coefficients where the user named none."""
    names = model.features
    request = dataclasses.replace(request, predicting=True)
    if names is None or request.features is not None:
        return request
    constant = names[0] == CONSTANT
    features = names[1:] if constant else names
    path = request.matrix
    table = path is None
    if path is not None and path.suffix.lower() in inputs.TABLES:
        found = header(path)
        missing = [name for name in features if name not in found]
        table = request.group is not None or request.only is not None or not missing
        if constant and CONSTANT in found and CONSTANT not in missing:
            features, constant = names, False  # a column of the table, not one of ours
    return dataclasses.replace(
        request,
        features=features if table else None,
        constant=constant if request.constant is None else request.constant,
    )


def beside(request: inputs.Request) -> tuple[list[str], Iterator[list[str]]] | None:
    """A table's columns that are no features, by which a row is known again; None where rows are arrays'."""
    path = AUTOMOBILES if request.matrix is None else request.matrix
    if request.features is None or path.suffix.lower() not in inputs.TABLES:
        return None
    names = header(path)
    kept = [i for i, name in enumerate(names) if name not in request.features]
    key = -1 if request.only is None or request.group is None else names.index(request.group)
    rows = (
        [cells[i] for i in kept]
        for _, cells in itertools.islice(records(path), 1, None)
        if key < 0 or cells[key] == request.only
    )
    return [names[i] for i in kept], rows


def predict(dataset: inputs.Dataset, model: Model, skips: Sequence[float]) -> np.ndarray:
    """Shares (n, k), one row for each row of the file; 0 where the mask takes it out."""
    if dataset.A.shape[1] != model.x.shape[0]:
        raise InputError(
            f"{model.x.shape[0]} coefficients for {dataset.A.shape[1]} columns of A"
            + ("" if model.features is None else f"; they are {_list(model.features)}")
        )
    options = {name: value for name, value in dataset.options.items() if name != "group_weights"}
    columns = []
    with warnings.catch_warnings():  # any target: only f is asked for
        warnings.filterwarnings("ignore", "b (of|sums)")
        warnings.filterwarnings("ignore", "rows of a group are not consecutive")
        for x, skip in zip(model.x.T, skips, strict=True):
            try:
                f = SoftResProblem(dataset.A, dataset.b, skip=skip, **options).predict(x)
            except (TypeError, ValueError, ArithmeticError) as error:
                raise InputError(str(error)) from error
            columns.append(f if dataset.place is None else dataset.place.given(f))
    return np.column_stack(columns)


def _list(values: Sequence[object]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
