"""Rows of a chunked array: Zarr, or a dataset of an HDF5 file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .source import BlockRows, Fill


class ChunkedRows(BlockRows):
    """An array with ``shape``, ``dtype``, ``chunks`` and slices; a chunk is decoded once a pass."""

    held = 2  # the decoded rows, and about as much of chunks under way

    def __init__(self, array: Any, name: str):
        if array.ndim != 2:
            raise ValueError(f"A must be two-dimensional (rows, columns), got shape {array.shape} in {name}")
        if np.dtype(array.dtype).kind not in "fiub":
            raise TypeError(f"A must hold real numbers, got dtype {array.dtype} in {name}")
        self.array = array
        self.shared = hasattr(array, "store")  # Zarr decodes in any thread; HDF5 has one lock for all
        self.unit = min(int(array.chunks[0]), array.shape[0]) if array.chunks else 1
        super().__init__(int(array.shape[0]), int(array.shape[1]), array.dtype, name)

    @contextlib.contextmanager
    def reader(self) -> Iterator[Fill]:
        """Reads slices."""

        def fill(start: int, stop: int, out: np.ndarray) -> np.ndarray:
            try:
                out[: stop - start] = self.array[start:stop]
            except (OSError, ValueError, RuntimeError) as error:
                raise ValueError(f"{self.name}: rows {start} to {stop} cannot be read: {error}") from error
            return out[: stop - start]

        yield fill

    def where(self, row: int) -> str:
        """The chunk that a row lies in."""
        return f" (chunk {row // self.unit} of {self.name})" if self.array.chunks else f" of {self.name}"


def open_zarr(path: Path) -> ChunkedRows:
    """The array stored in a Zarr folder."""
    try:
        import zarr
    except ImportError as error:
        raise ImportError("a Zarr array needs zarr: pip install 'fastsoftres[files]'") from error
    try:
        array = zarr.open_array(path, mode="r")
    except Exception as error:  # zarr's errors have no common class
        raise ValueError(f"{path} is not a Zarr array that can be read: {error}") from error
    return ChunkedRows(array, str(path))
