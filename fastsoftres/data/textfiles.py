"""Comma-separated text, a record at a time; knows nothing of what the columns mean."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError


def records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each record, stripped. Blank lines are left out, ragged ones refused."""
    try:
        # utf-8-sig: spreadsheets begin their files with a byte order mark
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            width = 0
            for cells in reader:
                if not cells:
                    continue
                width = width or len(cells)
                if len(cells) != width:
                    found = f"{len(cells)} cell" + ("" if len(cells) == 1 else "s")
                    raise InputError(f"{path}, line {reader.line_num}: {found}, the first line has {width}")
                yield reader.line_num, [cell.strip() for cell in cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error) from error


def number(text: str, path: Path, line: int, column: str) -> float:
    """A finite number, or an error that says where it is not."""
    value = as_number(text)
    if value is None:
        what = f"{text!r} is not a number" if text else "the cell is empty"
        raise InputError(f"{path}, line {line}, column {column}: {what}")
    if not math.isfinite(value):
        raise InputError(f"{path}, line {line}, column {column}: {text!r} is not finite")
    return value


def as_number(text: str) -> float | None:
    """The number a cell holds, or None."""
    if "_" in text:  # Python reads 1_000 as a number, no other program does
        return None
    try:
        return float(text)
    except ValueError:
        return None


def unreadable(path: Path, error: Exception) -> InputError:
    """An error of the operating system or of a decoder, in one line."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such file")
    if isinstance(error, OSError) and error.strerror:
        return InputError(f"{path}: cannot be read: {error.strerror}")
    if isinstance(error, UnicodeDecodeError) and path.suffix.lower() not in (".npy", ".npz"):
        return InputError(f"{path}: not a text file in UTF-8 (byte {error.start})")
    return InputError(f"{path}: cannot be read: {' '.join(str(error).split())}")
