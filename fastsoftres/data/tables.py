"""Tables with a header: pick columns by name, and rows by the value of one column."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from .errors import InputError
from .textfiles import number, records


def header(path: Path) -> list[str]:
    """Column names of a table.

    Parameters
    ----------
    path : Path
        A ``.csv`` file whose first line names the columns.

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If the file is missing, empty or not text.
    """
    for _, names in records(path):
        return names
    raise InputError(f"{path}: the file is empty")


def distinct(path: Path, column: str) -> list[str]:
    """The values of a column as text, each once, in the order in which they first appear.

    Parameters
    ----------
    path : Path
    column : str

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If there is no such column, or the file cannot be read.
    """
    index = _position(path, header(path), column)
    return list(dict.fromkeys(cells[index] for _, cells in islice(records(path), 1, None)))


def read_columns(path: Path, columns: Sequence[str], *, only: tuple[str, str] | None = None) -> np.ndarray:
    """Columns of numbers.

    Parameters
    ----------
    path : Path
    columns : sequence of str
    only : (column, value), optional
        Read the rows alone that have this value (compared as text) in this column; other rows may hold
        anything.

    Returns
    -------
    (rows, len(columns)) float64, C-order

    Raises
    ------
    InputError
        If a column is missing, a cell is not a finite number, or no row is left. The message names the
        file, the line and the column.
    """
    names = header(path)
    positions = [_position(path, names, column) for column in columns]
    key, value = (_position(path, names, only[0]), only[1]) if only else (0, "")
    cells = array("d")  # 8 bytes a cell: a list of floats takes 32
    for line, row in islice(records(path), 1, None):
        if only is None or row[key] == value:
            cells.extend(number(row[i], path, line, names[i]) for i in positions)
    if not cells:
        raise InputError(f"{path}: no rows" + (f" with {only[0]} = {only[1]}" if only else ""))
    return np.frombuffer(cells).reshape(-1, len(positions))


def _position(path: Path, names: list[str], column: str) -> int:
    found = names.count(column)
    if found == 1:
        return names.index(column)
    if found:
        raise InputError(f"{path}: {found} columns are called {column!r}")
    raise InputError(f"{path}: no column {column!r}; there are {', '.join(names)}")
