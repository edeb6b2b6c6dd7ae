"""Rows in the partitions of a Dask collection: passes go to them, and only sums come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..opening import Given, Opened


def is_collection(A: Any) -> bool:
    """Is A an array or a dataframe of Dask?"""
    return type(A).__module__.split(".")[0] in ("dask", "dask_expr") and hasattr(A, "__dask_graph__")


def open_collection(given: Given) -> Opened:
    """The parts of a problem of such rows."""
    from .opening import opened

    return opened(given)
