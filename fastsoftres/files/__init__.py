"""Matrices that do not lie in memory: files, chunked arrays, and sequences of blocks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .source import BlockRows


def open_rows(A: Any) -> BlockRows | None:
    """The source of a matrix in files; None for what is an array in memory.

    A path, a memory map, a Zarr array or HDF5 dataset, a pyarrow dataset, or a sequence or factory of blocks.
    """
    if isinstance(A, BlockRows):
        return A
    if isinstance(A, np.ndarray):
        from .npy import open_memmap

        return open_memmap(A) if isinstance(A, np.memmap) else None
    if isinstance(A, (str, os.PathLike)):
        return _open_path(Path(A))
    package = type(A).__module__.split(".")[0]
    if package in ("zarr", "h5py") and hasattr(A, "chunks"):
        from .chunked import ChunkedRows

        return ChunkedRows(A, f"the {'Zarr array' if package == 'zarr' else 'HDF5 dataset'}")
    if hasattr(A, "filesystem") and hasattr(A, "files"):
        from .parquet import ParquetRows, Table

        table = Table(A)
        return ParquetRows(table, table.numeric())
    from .pieces import SequenceRows, is_sequence

    return SequenceRows(A) if is_sequence(A) else None


def _open_path(path: Path) -> BlockRows:
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    if path.suffix.lower() == ".npy":
        from .npy import open_npy

        return open_npy(path)
    if path.is_dir() and ((path / "zarr.json").exists() or (path / ".zarray").exists()):
        from .chunked import open_zarr

        return open_zarr(path)
    if path.suffix.lower() == ".parquet" or path.is_dir():
        from .parquet import ParquetRows, Table

        table = Table(path)
        return ParquetRows(table, table.numeric())
    raise ValueError(f"A: {path} is none of .npy, .parquet, a folder of Parquet files, or a Zarr folder")
