"""Files that the workers of a Dask cluster read: each its partitions, from the paths that are given here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..data.errors import InputError
from ..files import open_rows
from ..files.parquet import ParquetRows, Table
from ..files.source import BlockRows

#: Seconds in which a scheduler must answer.
_TIMEOUT = 10
#: Bytes of a partition, where there are enough for all threads: large beside what a task costs.
_PARTITION_BYTES = 64 << 20


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """What is fitted inside a ``with`` block is fitted by the workers of this scheduler, if there is one."""
    if address is None:
        yield
        return
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise InputError("--scheduler needs dask: pip install 'fastsoftres[dask]'") from error
    try:
        # one that finds no scheduler would stay the current client if it were the default
        client = Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"--scheduler {address}: no scheduler answers there: {error}") from error
    with client, client.as_current():
        yield


def partitioned(source: BlockRows, path: Path) -> Any:
    """The rows of a file as a ``dask.array``; here only its header has been read."""
    import dask.array
    from dask.delayed import delayed
    from dask.distributed import get_client

    da: Any = dask.array
    client: Any = get_client()
    threads = max(1, sum(client.nthreads().values()))
    unit = source.unit
    if isinstance(source, ParquetRows):  # a row group is decoded as a whole
        unit = max(group.stop - group.start for group in source.table.groups)
    rows = min(max(1, _PARTITION_BYTES // source.row_bytes), -(-source.n // threads))
    rows = max(1, rows // unit) * unit
    columns = source.columns if isinstance(source, ParquetRows) else None
    read = delayed(_rows, pure=True)
    parts = []
    for start in range(0, source.n, rows):
        stop = min(start + rows, source.n)
        part = read(str(path.resolve()), columns, start, stop)
        parts.append(da.from_delayed(part, (stop - start, source.d), source.dtype))
    return da.concatenate(parts)


def _rows(path: str, columns: list[str] | None, start: int, stop: int) -> np.ndarray:
    """Rows of a file, read where this runs."""
    source = open_rows(path) if columns is None else ParquetRows(Table(path), columns)
    assert source is not None  # of a path
    return source.take(np.arange(start, stop)).A
