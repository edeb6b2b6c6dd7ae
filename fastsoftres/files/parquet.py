"""Rows of Parquet files: a column of the table is a column of A."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .pieces import Piece, PieceRows

#: Rows in which columns are interleaved: as long as their destination stays in the second-level cache.
_TILE_BYTES = 512 << 10
#: Bytes read of a column at a time, and the size of a decoded page (the writers' default).
_READ_BYTES = 64 << 10
_PAGE_BYTES = 1 << 20
#: What pyarrow holds of a column of a row group (measured on 200 groups of 125 columns).
_METADATA_BYTES = 1200


class RowGroup(NamedTuple):
    """A group of rows of a file, as Parquet stores them."""

    file: int
    number: int
    start: int  # its first row among those of all files
    stop: int


class Table:
    """One Parquet file or several with the same columns, their rows one after the other."""

    def __init__(self, paths: Any):
        self.filesystem, self.paths = _files(paths)
        self.groups: list[RowGroup] = []
        self.names: list[str] = []
        self.metadata: list[Any] = [None] * len(self.paths)
        at = 0
        for i in range(len(self.paths)):
            with self.open(i) as file:
                self.metadata[i] = file.metadata
                if i == 0:
                    self.schema = file.schema_arrow
                    self.names = self.schema.names
                elif not set(self.names) <= set(file.schema_arrow.names):
                    missing = sorted(set(self.names) - set(file.schema_arrow.names))
                    raise ValueError(
                        f"{self.paths[i]} lacks columns that {self.paths[0]} has: {', '.join(missing)}"
                    )
                for g in range(file.num_row_groups):
                    stop = at + file.metadata.row_group(g).num_rows
                    self.groups.append(RowGroup(i, g, at, stop))
                    at = stop
        self.n = at

    def open(self, i: int) -> Any:
        """A file; columns are read in small parts, not whole row groups at once."""
        from pyarrow import parquet

        path = self.paths[i]
        try:
            return parquet.ParquetFile(
                path,
                metadata=self.metadata[i],
                filesystem=self.filesystem,
                pre_buffer=False,
                buffer_size=_READ_BYTES,
            )
        except FileNotFoundError:
            raise
        except Exception as error:  # pyarrow's errors have no common class beside it
            raise ValueError(f"{path} is not a Parquet file that can be read: {error}") from error

    def check(self, columns: Sequence[str], what: str) -> None:
        """Raise if a column is not there, or holds no numbers."""
        from pyarrow import types

        for name in columns:
            if name not in self.names:
                raise ValueError(
                    f"{what}: {self.name} has no column {name!r}; it has {', '.join(self.names)}"
                )
            kind = self.schema.field(name).type
            if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
                raise TypeError(f"{what}: column {name!r} of {self.name} must hold real numbers, got {kind}")

    def numeric(self) -> list[str]:
        """The columns that hold numbers."""
        from pyarrow import types

        return [
            field.name for field in self.schema
            if types.is_integer(field.type) or types.is_floating(field.type) or types.is_boolean(field.type)
        ]  # fmt: skip

    @property
    def name(self) -> str:
        """How messages call the table."""
        return str(self.paths[0]) + (
            f" (and {len(self.paths) - 1} more files)" if len(self.paths) > 1 else ""
        )

    def batches(
        self, columns: list[str], rows: int, wanted: Callable[[int, int], bool], threads: bool = True
    ) -> Iterator[tuple[int, Any]]:
        """The first row and the record batch of each batch of at most ``rows`` rows, of wanted row groups."""
        for i in range(len(self.paths)):
            picked = [g for g in self.groups if g.file == i and g.start < g.stop and wanted(g.start, g.stop)]
            if not picked:
                continue
            with self.open(i) as file:
                for group in picked:
                    at = group.start
                    try:
                        for batch in file.iter_batches(
                            rows, row_groups=[group.number], columns=columns, use_threads=threads
                        ):
                            yield at, batch
                            at += batch.num_rows
                    except OSError as error:
                        raise ValueError(
                            f"{self.paths[i]}: row group {group.number} cannot be read (rows from {at} "
                            f"on): {error}"
                        ) from error

    def column(self, name: str) -> list[Any]:
        """A column as arrays of pyarrow, one a batch."""
        return [batch.column(0) for _, batch in self.batches([name], 1 << 16, lambda start, stop: True)]

    def vector(self, name: str, what: str) -> np.ndarray:
        """A column as (n,) float64; missing values are refused."""
        self.check([name], what)
        out = np.empty(self.n)
        for at, batch in self.batches([name], 1 << 16, lambda start, stop: True):
            column = batch.column(0)
            if column.null_count:
                i = int(np.argmin(column.is_valid().to_numpy(zero_copy_only=False)))
                raise ValueError(f"{what}: column {name!r} has no value at row {at + i}{self.where(at + i)}")
            out[at : at + batch.num_rows] = column.to_numpy(zero_copy_only=False)
        return out

    def where(self, row: int) -> str:
        """The row group that a row lies in."""
        group = next(group for group in self.groups if row < group.stop)
        return f" (row group {group.number} of {self.paths[group.file]})"


class ParquetRows(PieceRows):
    """Columns of a table; missing values count as nan."""

    held = 2  # a batch of columns, and a block under way in the decoder

    def __init__(self, table: Table, columns: list[str]):
        from pyarrow import types

        table.check(columns, "features")
        self.table, self.columns = table, columns
        kinds = [table.schema.field(name).type for name in columns]
        dtype = np.float32 if all(types.is_float32(kind) for kind in kinds) else np.float64
        super().__init__(table.n, len(columns), dtype, table.name)
        longest = max(group.stop - group.start for group in table.groups)
        # of each column a page, encoded and decoded, and what was read of it; the metadata
        chunks = sum(data.num_row_groups * data.num_columns for data in table.metadata)
        self.fixed = self.d * (2 * min(_PAGE_BYTES, longest * 8) + _READ_BYTES) + _METADATA_BYTES * chunks

    def pieces(self, wanted: Callable[[int, int], bool]) -> Iterator[Piece]:
        """Batches of about a block."""
        rows = int(np.diff(self.edges).max())
        threads = self.buffers is None  # each takes memory of its own: where that is counted, one decodes
        for at, batch in self.table.batches(self.columns, rows, wanted, threads):
            by_name = {name: batch.column(j) for j, name in enumerate(batch.schema.names)}
            yield at, batch.num_rows, [by_name[name].to_numpy(zero_copy_only=False) for name in self.columns]

    def copy(self, rows: Any, start: int, stop: int, out: np.ndarray) -> None:
        """Interleave columns, a tile of rows at a time."""
        step = max(_TILE_BYTES // self.row_bytes, 64)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            tile = out[first - start : last - start]
            for j, column in enumerate(rows):
                tile[:, j] = column[first:last]

    def where(self, row: int) -> str:
        """The row group that a row lies in."""
        return self.table.where(row)


def _files(paths: Any) -> tuple[Any, list[Any]]:
    """File system (None: this machine's) and files of a path, folder, list of paths or pyarrow dataset."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ImportError("a Parquet file needs pyarrow: pip install 'fastsoftres[files]'") from error
    if hasattr(paths, "filesystem") and hasattr(paths, "files"):
        return paths.filesystem, list(paths.files)
    several = [paths] if isinstance(paths, (str, Path)) else list(paths)
    files: list[Any] = []
    for path in map(Path, several):
        if path.is_dir():
            inside = sorted(path.rglob("*.parquet"))
            if not inside:
                raise FileNotFoundError(f"{path} has no .parquet file in it")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise FileNotFoundError(f"no file {path}")
    return None, files
