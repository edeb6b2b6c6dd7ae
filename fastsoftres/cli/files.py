"""Matrices that the command line does not load: Parquet, Zarr, and a .npy under a memory limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data.errors import InputError
from ..files import open_rows
from ..files.source import BlockRows

#: Seconds between two lines of progress: none on a short read.
_INTERVAL = 0.2


def larger_than_memory(path: Path, memory_limit: str | None) -> bool:
    """Is this file read block by block?"""
    if path.is_dir() or path.suffix.lower() == ".parquet":
        return True
    if memory_limit is not None and path.suffix.lower() != ".npy":
        raise InputError(f"--memory-limit is for .npy, .parquet and Zarr, and {path} is read as a whole")
    return memory_limit is not None


def matrix(path: Path) -> BlockRows:
    """The source of a file or folder."""
    return _told(path, lambda: open_rows(path))


def columns(path: Path, *roles: Any) -> Any:
    """A, b and other arguments from the columns of Parquet files."""
    from ..files.columns import read_columns

    if not path.is_dir() and path.suffix.lower() != ".parquet":
        raise InputError(f"{path}: columns are of a .parquet file, a folder of them, or a .csv table")
    return _told(path, lambda: read_columns(path, *roles))


def _told(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (OSError, ImportError, TypeError, ValueError) as error:
        told = str(error)
        raise InputError(told if str(path) in told else f"{path}: {told}") from error


@contextmanager
def progress() -> Iterator[None]:
    """A bar of the rows of the read under way, with rows a second and the time left; on a terminal only."""
    from tqdm import tqdm

    from ..prefetch import watching

    bar: tqdm[Any] = tqdm(
        unit=" rows",
        unit_scale=True,
        disable=None,
        leave=False,
        delay=2.0,
        mininterval=_INTERVAL,
        desc="reading A",
    )

    def watch(rows: int, of: int) -> None:
        if rows < bar.n or bar.total != of:
            bar.reset(of)
        bar.update(rows - bar.n)

    try:
        with watching(watch):
            yield
    finally:
        bar.close()
