"""Tables with a header: pick columns by name, and rows by the value of one column."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from .errors import InputError
from .textfiles import number, records

_FLAGS = {"0": False, "1": True, "false": False, "true": True}


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
    """Columns of numbers, as ``CsvTable`` reads them: (rows, len(columns)) float64, C-order."""
    return CsvTable(path, columns, only=only).cells


class CsvTable:
    """Some columns of a ``.csv`` table, read once: a ``fastsoftres.columns.Table``.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        Those of numbers.
    text : sequence of str, optional
        Those of labels or flags.
    only : (column, value), optional
        Read the rows alone that have this value (compared as text) in this column; other rows may hold
        anything.

    Raises
    ------
    InputError
        If a column is missing, a cell of numbers is not a finite number, or no row is left. The message
        names the file, the line and the column.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        text: Sequence[str] = (),
        *,
        only: tuple[str, str] | None = None,
    ):
        names = header(path)
        positions = [_position(path, names, column) for column in columns]
        texts = {column: _position(path, names, column) for column in text}
        key, value = (_position(path, names, only[0]), only[1]) if only else (0, "")
        cells, lines = array("d"), array("q")  # 8 bytes a cell: a list of floats takes 32
        self._text: dict[str, list[str]] = {column: [] for column in texts}
        for line, row in islice(records(path), 1, None):
            if only is None or row[key] == value:
                cells.extend(number(row[i], path, line, names[i]) for i in positions)
                lines.append(line)
                for column, i in texts.items():
                    self._text[column].append(sys.intern(row[i]))  # labels repeat
        if not lines:
            raise InputError(f"{path}: no rows" + (f" with {only[0]} = {only[1]}" if only else ""))
        self.path, self.n, self._lines, self._columns = path, len(lines), lines, list(columns)
        self.cells = np.frombuffer(cells).reshape(self.n, len(positions))

    def numbers(self, name: str) -> np.ndarray:
        """A column of numbers."""
        return self.cells[:, self._columns.index(name)]

    def labels(self, name: str) -> np.ndarray:
        """A column of labels, as text."""
        self._refuse(name, lambda text: not text, "the cell is empty")
        return np.array(self._text[name])

    def flags(self, name: str) -> np.ndarray:
        """A column of 0 and 1, or true and false."""
        self._refuse(name, lambda text: text.lower() not in _FLAGS, "0 or 1 is wanted, or true or false")
        return np.array([_FLAGS[text.lower()] for text in self._text[name]])

    def _refuse(self, name: str, bad: Callable[[str], bool], why: str) -> None:
        for line, text in zip(self._lines, self._text[name], strict=True):
            if bad(text):
                raise InputError(
                    f"{self.path}, line {line}, column {name}: {why}" + (text and f", got {text!r}")
                )


def _position(path: Path, names: list[str], column: str) -> int:
    found = names.count(column)
    if found == 1:
        return names.index(column)
    if found:
        raise InputError(f"{path}: {found} columns are called {column!r}")
    raise InputError(f"{path}: no column {column!r}; there are {', '.join(names)}")
