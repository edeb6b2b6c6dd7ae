"""From the arguments of a command to arrays: which file, which columns, which rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from .. import _validate
from ..data.arrays import members, read_matrix, read_vector
from ..data.automobiles import AUTOMOBILES, CHARACTERISTICS, GROUP, TARGET, with_constant
from ..data.errors import InputError
from ..data.outside import add_outside_good
from ..data.tables import distinct, header, read_columns


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asked to read. None stands for 'not said'."""

    matrix: Path | None = None
    vector: Path | None = None
    target: str | None = None
    features: list[str] | None = None
    group: str | None = None
    only: str | None = None
    outside: bool | None = None
    constant: bool | None = None
    row_ridge: float | Path = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """What is fitted: arrays, the names of their columns, and where they come from in words."""

    A: np.ndarray
    b: np.ndarray
    features: list[str]
    source: str
    row_ridge: float | np.ndarray


def load(request: Request) -> Dataset:
    """Read what was asked for.

    Parameters
    ----------
    request : Request
        Without any file it is the bundled automobile data, 1990, with the outside good and a constant.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If files, columns or sizes do not fit. The message is one line.
    """
    if request.matrix is None:
        request = _bundled(request)
        A, b, features, source = _table(request, AUTOMOBILES)
        source = f"bundled: new cars sold in the United States, {source}"
    elif _is_table(request):
        A, b, features, source = _table(request, request.matrix)
        source = f"{request.matrix}, {source}" if source else str(request.matrix)
    else:
        A, b, features, source = _files(request, request.matrix)
    w = _row_ridge(request.row_ridge, A.shape[0])
    if request.constant:
        A, features = with_constant(A), ["constant", *features]
    if request.outside:
        A, b = add_outside_good(A, b)
        source += ", outside good added"
        if isinstance(w, np.ndarray):
            w = np.append(w, np.zeros(1))
    return Dataset(A, b, features, source, w)


def _bundled(request: Request) -> Request:
    """The request with the bundled data's defaults where the user said nothing."""
    group = request.group or GROUP
    return dataclasses.replace(
        request,
        target=request.target or TARGET,
        features=request.features or list(CHARACTERISTICS),
        group=group,
        only=request.only or ("1990" if group == GROUP else None),
        outside=True if request.outside is None else request.outside,
        constant=True if request.constant is None else request.constant,
    )


def _is_table(request: Request) -> bool:
    columns = (request.target, request.features, request.group, request.only)
    if all(choice is None for choice in columns):
        return False
    if request.vector is not None:
        raise InputError("--target, --features, --group and --only pick columns of one table; leave out [b]")
    return True


def _table(request: Request, path: Path) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path}: --target and --features pick columns of a .csv table")
    names = header(path)
    if request.target is None:
        raise InputError(f"--target is missing: which column of {path} to fit? One of {', '.join(names)}")
    if not request.features:
        raise InputError(f"--features is missing: which columns of {path} to fit with? {', '.join(names)}")
    for i, name in enumerate(request.features):
        if name == request.target or name in request.features[:i]:
            raise InputError(f"--features: {name!r} is there twice, or is the target")
    only = _one_group(path, request.group, request.only)
    columns = read_columns(path, [request.target, *request.features], only=only)
    where = f"{only[0]} {only[1]}" if only else ""
    return np.ascontiguousarray(columns[:, 1:]), columns[:, 0].copy(), list(request.features), where


def _one_group(path: Path, group: str | None, only: str | None) -> tuple[str, str] | None:
    """The column and value that choose one group's rows, or None for all rows."""
    if group is None:
        if only is not None:
            raise InputError("--only VALUE chooses a group: name the column with --group COLUMN")
        return None
    values = distinct(path, group)
    if only is None:
        if len(values) > 1:
            raise InputError(
                f"{path}: column {group!r} has {len(values)} groups and one is fitted at a time in this "
                f"release; choose one with --only VALUE out of {_some(values)}"
            )
        return None
    if only not in values:
        raise InputError(f"{path}: column {group!r} has no value {only!r}; it has {_some(values)}")
    return group, only


def _some(values: list[str]) -> str:
    return ", ".join(values) if len(values) <= 8 else ", ".join([*values[:4], "...", values[-1]])


def _files(request: Request, path: Path) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    vector, source = request.vector, f"{path}, {request.vector}"
    if vector is None:
        if path.suffix.lower() != ".npz" or not {"A", "b"} <= set(members(path)):
            raise InputError(
                f"{path}: and the target? Give it as a second file, name a column of a table with --target "
                "and --features, or put A and b into one .npz"
            )
        vector, source = path, str(path)
    A, names = read_matrix(path, "A")
    if A.ndim != 2:
        raise InputError(f"{path}: a matrix is wanted, got shape {A.shape}")
    b = _vector(vector, read_vector(vector, "b"), A.shape[0])
    return A, b, names or [f"x{j}" for j in range(A.shape[1])], source


def _row_ridge(choice: float | Path, rows: int) -> float | np.ndarray:
    return _vector(choice, read_vector(choice, "row_ridge"), rows) if isinstance(choice, Path) else choice


def _vector(path: Path, values: np.ndarray, rows: int) -> np.ndarray:
    if values.size != rows:
        raise InputError(f"{path}: {values.size} numbers for {rows} rows of A")
    try:
        return _validate.vector(values, rows, "the vector", "row of A")
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
