"""A matrix or a vector out of one file: .npy, .npz or .csv."""

from __future__ import annotations

import zipfile
from array import array
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .errors import InputError
from .textfiles import as_number, number, records, unreadable

SUFFIXES = (".npy", ".npz", ".csv")


class Matrix(NamedTuple):
    """An array as a file holds it, and the names of its columns where the file has them."""

    values: np.ndarray
    columns: list[str] | None


def read_matrix(path: Path, member: str = "A", kinds: str = "fiub") -> Matrix:
    """Read a matrix.

    Parameters
    ----------
    path : Path
        ``.npy``, ``.npz`` or ``.csv``. A ``.csv`` may name its columns in its first line.
    member : str, optional
        Which array of an ``.npz`` file to take where it holds more than one.
    kinds : str, optional
        Of the types that are taken from ``.npy`` and ``.npz``; by default real numbers.

    Returns
    -------
    Matrix
        ``values`` in the type and shape they have in the file, ``columns`` their names or None.

    Raises
    ------
    InputError
        If the file is missing, of another kind, or holds anything but real numbers. Pickled objects are
        never loaded.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv(path)
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}")
    try:
        with path.open("rb") as file:
            return Matrix(_load(path, file, member, kinds), None)
    except InputError:
        raise
    except Exception as error:  # a damaged file fails in numpy, zipfile, zlib, even in Python's tokenizer
        # numpy's own words suggest allow_pickle=True, which would run code from the file
        if "allow_pickle" in str(error):
            raise InputError(f"{path}: not an array of numbers in NumPy's format") from error
        raise unreadable(path, error) from error


def _load(path: Path, file: BinaryIO, member: str, kinds: str) -> np.ndarray:
    loaded: Any = np.load(file, allow_pickle=False)
    if not isinstance(loaded, np.ndarray):  # an archive, whatever the file is called
        with loaded as archive:
            loaded = archive[_member(path, archive.files, member)]
    if loaded.dtype.kind not in kinds:
        raise InputError(f"{path}: real numbers are wanted, got dtype {loaded.dtype}")
    return np.asarray(loaded)


def read_vector(path: Path, member: str = "b", kinds: str = "fiub") -> np.ndarray:
    """Read a vector, from a row or a column; see ``read_matrix``.

    Parameters
    ----------
    path : Path
    member, kinds : str, optional

    Returns
    -------
    (n,) ndarray

    Raises
    ------
    InputError
        As ``read_matrix``, and if the file holds more than one row and more than one column.
    """
    values = read_matrix(path, member, kinds).values
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.ndim != 1:
        raise InputError(f"{path}: a single column or row is wanted, got shape {values.shape}")
    return values


def members(path: Path) -> list[str]:
    """Names of the arrays in an ``.npz`` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as error:  # as above: zipfile lets through what decoding a damaged header raises
        raise unreadable(path, error) from error


def _member(path: Path, names: list[str], wanted: str) -> str:
    if wanted in names:
        return wanted
    if len(names) == 1:
        return names[0]
    raise InputError(f"{path}: no array {wanted!r}; there are {', '.join(names) or 'none'}")


def _csv(path: Path) -> Matrix:
    names: list[str] | None = None
    labels: list[str] = []
    cells = array("d")
    for line, row in records(path):
        if not labels:
            # a header holds no number at all; one bad cell among numbers is a mistake to report
            if all(as_number(cell) is None for cell in row):
                names = _names(path, row)
            labels = names or [str(i + 1) for i in range(len(row))]
            if names:
                continue
        cells.extend(number(cell, path, line, label) for cell, label in zip(row, labels, strict=True))
    if not cells:
        raise InputError(f"{path}: no numbers in the file")
    return Matrix(np.frombuffer(cells).reshape(-1, len(labels)), names)


def _names(path: Path, row: list[str]) -> list[str]:
    for i, name in enumerate(row):
        if not name:
            raise InputError(f"{path}: column {i + 1} has no name; is it a row index? write the file without")
        if row.index(name) < i:
            raise InputError(f"{path}: two columns are called {name!r}")
    return row
