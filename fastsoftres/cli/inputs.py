"""From the arguments of a command to what is fitted: which file, which columns, which rows."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import _validate
from ..arrange import arrange
from ..columns import Parts, Table, arrange_table
from ..data.arrays import members, read_matrix, read_vector
from ..data.automobiles import AUTOMOBILES, CHARACTERISTICS, GROUP, TARGET, with_constant
from ..data.errors import InputError
from ..data.outside import add_outside_good, make_room
from ..data.tables import CsvTable, distinct, header
from . import files


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asked to read. None stands for 'not said'."""

    matrix: Path | None = None
    vector: Path | None = None
    target: str | None = None
    features: list[str] | None = None
    group: str | None = None
    only: str | None = None
    group_ptr: Path | None = None
    groups: Path | None = None
    group_weight: str | None = None
    offset: str | None = None
    mask: str | None = None
    outside: bool | None = None
    constant: bool | None = None
    row_ridge: float | Path = 0.0
    clusters: str | None = None
    predicting: bool = False  # no target is wanted
    memory_limit: str | None = None
    scheduler: str | None = None


class Place(NamedTuple):
    """Where in a file of n rows each row of A was; n for outside goods."""

    n: int
    rows: np.ndarray

    def given(self, values: np.ndarray) -> np.ndarray:
        """Values in the order of the file; 0 for rows not taken."""
        out = np.zeros(self.n + 1)
        out[self.rows] = values
        return out[:-1]

    def taken(self, labels: np.ndarray) -> np.ndarray:
        """Labels for the rows of A; an outside good has its group's, which is that of the row before."""
        out = labels[np.minimum(self.rows, self.n - 1)]
        added = np.flatnonzero(self.rows == self.n)
        out[added] = out[added - 1]
        return out


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """What is fitted: A and b, other arguments of ``SoftResProblem``, and in words where they come from."""

    A: Any
    b: Any
    features: list[str]
    source: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    group: str = "group"  # what a group is called
    outside: bool = False  # is the last row of each group its outside good?
    place: Place | None = None  # None: the rows are those of the file
    clusters: np.ndarray | None = None  # a label for each row of A: which groups may depend on each other


def load(request: Request) -> Dataset:
    """Read what was asked for.

    Parameters
    ----------
    request : Request
        Without any file it is the bundled automobile data, all markets, with outside goods and a constant.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If files, columns or sizes do not fit. The message is one line.
    """
    if request.matrix is None:
        if request.scheduler is not None:
            raise InputError("--scheduler needs a file that its workers can read: .npy, .parquet or Zarr")
        dataset = _table(_bundled(request), AUTOMOBILES)
        words = dataset.source.removeprefix(f"{AUTOMOBILES}")
        return dataclasses.replace(dataset, source=f"bundled: new cars sold in the United States{words}")
    if request.scheduler is not None or files.larger_than_memory(request.matrix, request.memory_limit):
        return _streamed(request, request.matrix)
    if _is_table(request):
        return _table(request, request.matrix)
    return _arrays(request, request.matrix)


def _bundled(request: Request) -> Request:
    """The request with the bundled data's defaults where the user said nothing."""
    if request.group_ptr or request.groups:
        raise InputError(
            "--group-ptr and --groups go with arrays; of the bundled data name a column with --group"
        )
    return dataclasses.replace(
        request,
        target=None if request.predicting else request.target or TARGET,
        features=request.features or list(CHARACTERISTICS),
        group=request.group or GROUP,
        outside=True if request.outside is None else request.outside,
        constant=True if request.constant is None else request.constant,
    )


# Tables: columns by name


def _is_table(request: Request) -> bool:
    columns = (request.target, request.features, request.group, request.only)
    if all(choice is None for choice in columns):
        return False
    if request.vector is not None:
        raise InputError("--target, --features, --group and --only pick columns of one table; leave out [b]")
    if request.group_ptr or request.groups:
        raise InputError("--group-ptr and --groups go with arrays; of a table name a column with --group")
    return True


def _table(request: Request, path: Path) -> Dataset:
    reader = TABLES.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: --target and --features pick columns of a {' or '.join(TABLES)} table")
    return reader(request, path)


def _csv(request: Request, path: Path) -> Dataset:
    parts = _parts(request, path, header(path))
    only = _one_group(path, request.group, request.only)
    numbers = [parts.target, *parts.features, parts.group_weight, parts.offset]
    texts = [parts.group, parts.mask, request.clusters]
    table = CsvTable(path, _said(numbers), _said(texts), only=only)
    source = f"{path}, {only[0]} {only[1]}" if only else str(path)
    return _arranged(request, path, table, parts, source)


def _arranged(request: Request, path: Path, table: Table, parts: Parts, source: str) -> Dataset:
    """What the columns of a table in memory make."""
    try:
        arranged = arrange_table(table, parts)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    w: float | np.ndarray = 0.0
    if isinstance(request.row_ridge, Path):
        w = arranged.given.taken(_vector(request.row_ridge, "row_ridge", table.n))
    elif request.row_ridge:
        w = request.row_ridge
    options = {
        "groups": arranged.rows,
        "group_weights": arranged.group_weights,
        "offset": arranged.offset,
        "row_ridge": w,
    }
    place = Place(table.n, np.asarray(arranged.given.order))
    return Dataset(
        arranged.A, arranged.b, parts.feature_names, source + _added(request), options,
        request.group or "group", parts.outside, place,
        None if request.clusters is None else place.taken(table.labels(request.clusters)),
    )  # fmt: skip


#: Readers of tables, by the suffix of the file. Each takes the request with its columns' names.
TABLES: dict[str, Callable[[Request, Path], Dataset]] = {".csv": _csv}


def _parts(request: Request, path: Path, names: list[str]) -> Parts:
    """Which columns play which part."""
    if request.target is None and not request.predicting:
        raise InputError(f"--target is missing: which column of {path} to fit? One of {', '.join(names)}")
    if not request.features:
        raise InputError(f"--features is missing: which columns of {path} to fit with? {', '.join(names)}")
    for i, name in enumerate(request.features):
        if name == request.target or name in request.features[:i]:
            raise InputError(f"--features: {name!r} is there twice, or is the target")
    try:
        return Parts(
            tuple(request.features), request.target, request.group, request.group_weight, request.offset,
            request.mask, bool(request.outside), bool(request.constant),
        )  # fmt: skip
    except ValueError as error:
        raise InputError(f"--features: {error}") from error


def _one_group(path: Path, group: str | None, only: str | None) -> tuple[str, str] | None:
    """The column and value that choose one group's rows, or None for all rows."""
    if only is None:
        return None
    if group is None:
        raise InputError("--only VALUE chooses a group: name the column with --group COLUMN")
    values = distinct(path, group)
    if only not in values:
        raise InputError(f"{path}: column {group!r} has no value {only!r}; it has {_some(values)}")
    return group, only


def _said(names: Sequence[str | None]) -> list[str]:
    return [name for name in names if name is not None]


def _some(values: list[str]) -> str:
    return ", ".join(values) if len(values) <= 8 else ", ".join([*values[:4], "...", values[-1]])


def _added(request: Request) -> str:
    return ", outside good added" if request.outside else ""


# Files that are read block by block in each pass


def _streamed(request: Request, path: Path) -> Dataset:
    """Columns of Parquet files, or a .npy or Zarr matrix beside its vector."""
    if request.predicting:
        raise InputError(f"{path}: to predict, rows are read into memory: give them as .csv, .npy or .npz")
    unfit = {
        "--clusters": request.clusters,
        "--only": request.only,
        "--outside": request.outside,
        "--constant": request.constant,
    }
    for option, value in unfit.items():
        if value:
            raise InputError(f"{option} goes with rows in memory; {path} is read block by block")
    options: dict[str, Any] = {"row_ridge": request.row_ridge, "memory_limit": request.memory_limit}
    if request.scheduler is not None and request.memory_limit is not None:
        raise InputError("--memory-limit is for a fit here: workers of --scheduler have limits of their own")
    if not _is_table(request):
        if request.vector is None:
            raise InputError(
                f"{path}: and the target? Give it as a second file, or name a column with --target"
            )
        A = files.matrix(path)
        features = getattr(A, "columns", None) or [f"x{j}" for j in range(A.d)]
        return _beside(request, _placed(request, A, path), features, f"{path}, {request.vector}", options)
    if request.mask is not None:
        raise InputError(f"--mask goes with rows in memory; {path} is read block by block")
    if request.target is None:
        raise InputError(f"--target is missing: which column of {path} to fit?")
    A, b, roles = files.columns(
        path, request.target, request.features, request.group, request.group_weight, request.offset
    )
    if isinstance(request.row_ridge, Path):
        options["row_ridge"] = _vector(request.row_ridge, "row_ridge", A.n)
    columns = A.columns
    return Dataset(
        _placed(request, A, path), b, columns, str(path), options | roles, request.group or "group"
    )


def _placed(request: Request, A: Any, path: Path) -> Any:
    """The source, or in its place a collection that workers read."""
    if request.scheduler is None:
        return A
    from .scheduler import partitioned

    return partitioned(A, path)


# Arrays: one file each, or members of one


def _arrays(request: Request, path: Path) -> Dataset:
    vector, source = request.vector, str(path) if request.predicting else f"{path}, {request.vector}"
    if vector is None and not request.predicting:
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if path.suffix.lower() != ".npz" or not {"A", "b"} <= set(members(path)):
            raise InputError(
                f"{path}: and the target? Give it as a second file, name a column of a table with --target "
                "and --features, or put A and b into one .npz"
            )
        vector, source = path, str(path)
    A, names = read_matrix(path, "A")
    if A.ndim != 2:
        raise InputError(f"{path}: a matrix is wanted, got shape {A.shape}")
    features = names or [f"x{j}" for j in range(A.shape[1])]
    if request.constant:
        A, features = with_constant(A), ["constant", *features]
    named = dataclasses.replace(request, vector=vector)
    dataset = _beside(named, A, features, source + _added(request), {"row_ridge": request.row_ridge})
    return _with_outside(dataset) if request.outside else dataset


def _beside(request: Request, A: Any, features: list[str], source: str, options: dict[str, Any]) -> Dataset:
    """A matrix with what other files say of its rows and groups."""
    n = A.shape[0]
    vector = request.vector
    b = np.full(n, 1.0 / n) if vector is None else _vector(vector, "b", n)  # to predict, any will do
    if isinstance(request.row_ridge, Path):
        options["row_ridge"] = _vector(request.row_ridge, "row_ridge", n)
    if request.offset is not None:
        options["offset"] = _vector(Path(request.offset), "offset", n)
    if request.mask is not None:
        options["mask"] = _flags(Path(request.mask), n)
    if request.group_ptr is not None:
        options["group_ptr"] = _whole(request.group_ptr, read_vector(request.group_ptr, "group_ptr"))
    if request.groups is not None:
        options["groups"] = read_vector(request.groups, "groups", kinds="fiubU")
    if request.group_weight is not None:
        options["group_weights"] = read_vector(Path(request.group_weight), "group_weights")
    clusters = None
    if request.clusters is not None:
        clusters = read_vector(Path(request.clusters), "clusters", kinds="fiubU")
        if clusters.size != n:
            raise InputError(f"{request.clusters}: {clusters.size} labels for {n} rows of A")
    return Dataset(A, b, features, source, options, outside=bool(request.outside), clusters=clusters)


def _with_outside(dataset: Dataset) -> Dataset:
    """The dataset group by group, with one more row in each group."""
    options = dict(dataset.options)
    n = dataset.b.size
    try:
        with warnings.catch_warnings():  # rows of a group may be apart: here they are read once, into place
            warnings.filterwarnings("ignore", "rows of a group are not consecutive")
            rows = arrange(n, options.pop("group_ptr", None), options.pop("groups", None), None)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
    order = np.arange(n) if rows.order is None else rows.order
    taking_part = options.get("mask", np.ones(n, np.bool_))
    place, ptr = make_room(rows.ptr)

    def wider(values: np.ndarray, last: Any) -> np.ndarray:
        out = np.full(ptr[-1], last, dtype=values.dtype)
        out[place] = values[order]
        return out

    for name, last in (("offset", 0.0), ("mask", True), ("row_ridge", 0.0)):
        if np.ndim(options.get(name, 0.0)):
            options[name] = wider(options[name], last)
    shares = np.where(taking_part, dataset.b, 0.0)[order]
    A, b, ptr = add_outside_good(
        dataset.A[order], shares, rows.ptr, None if rows.labels is None else lambda g: f"group {rows.name(g)}"
    )
    if rows.labels is None:
        options["group_ptr"] = ptr
    else:
        options["groups"] = np.repeat(rows.labels, np.diff(ptr))
    where = np.full(ptr[-1], n)
    where[place] = order
    at = Place(n, where)
    clusters = None if dataset.clusters is None else at.taken(dataset.clusters)
    return dataclasses.replace(dataset, A=A, b=b, options=options, place=at, clusters=clusters)


def _vector(path: Path, member: str, rows: int) -> np.ndarray:
    values = read_vector(path, member)
    if values.size != rows:
        raise InputError(f"{path}: {values.size} numbers for {rows} rows of A")
    try:
        return _validate.vector(values, rows, "the vector", "row of A")
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def _flags(path: Path, rows: int) -> np.ndarray:
    values = _vector(path, "mask", rows)
    wrong = values[(values != 0.0) & (values != 1.0)]
    if wrong.size:
        raise InputError(f"{path}: a mask holds 0 and 1 (or booleans), got {wrong[0]:g}")
    return values == 1.0


def _whole(path: Path, values: np.ndarray) -> np.ndarray:
    """Offsets; a .csv file has them as floats."""
    if not (np.isfinite(values) & (values == np.round(values))).all():
        raise InputError(f"{path}: whole numbers are wanted for offsets of groups")
    return values.astype(np.intp)
