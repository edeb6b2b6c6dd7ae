"""Tables of pandas, polars and pyarrow, through narwhals: their columns as arrays, and problems from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import Parts, arrange_table
from .opening import checked_row_ridge

if TYPE_CHECKING:
    from .problem import SoftResProblem

_ENCODE = "encode it as numbers first, e.g. a column of 0 and 1 for each of its values but one"


class Frame:
    """A table in memory.

    Raises
    ------
    ImportError
        Without narwhals.
    TypeError
        If it is none.
    """

    def __init__(self, df: Any):
        try:
            import narwhals as nw
        except ImportError as error:
            raise ImportError('tables need narwhals: pip install "fastsoftres[frames]"') from error
        self._nw = nw
        try:
            self._frame: Any = nw.from_native(df, eager_only=True)
        except TypeError as error:
            raise TypeError(
                "df must be a table in memory (pandas, polars or pyarrow; collect a lazy one first), got "
                f"{type(df).__module__.partition('.')[0]} {type(df).__name__}"
            ) from error
        except nw.exceptions.DuplicateError as error:
            raise ValueError("df has two columns of the same name") from error
        self.n = len(self._frame)
        if self.n == 0:
            raise ValueError("df has no rows")

    def numbers(self, name: str) -> np.ndarray:
        """A column of real numbers or booleans; nan where a value is missing."""
        nw, series = self._nw, self._series(name)
        kind = series.dtype
        if isinstance(kind, (nw.Categorical, nw.Enum)):
            raise TypeError(f"column {name!r} is categorical: {_ENCODE}")
        if isinstance(kind, nw.String):
            raise TypeError(f"column {name!r} holds text: {_ENCODE}")
        if not (kind.is_numeric() or isinstance(kind, nw.Boolean)):
            raise TypeError(f"column {name!r} must hold numbers, got {kind}: convert or {_ENCODE}")
        if series.null_count() or kind.is_decimal():
            series = series.cast(nw.Float64)
        values = series.to_numpy()
        return values if values.dtype.kind in "fiub" else values.astype(np.float64)

    def labels(self, name: str) -> np.ndarray:
        """A column of labels."""
        nw, series = self._nw, self._whole(name)
        if isinstance(series.dtype, (nw.Categorical, nw.Enum)):
            series = series.cast(nw.String)
        return series.to_numpy()

    def flags(self, name: str) -> np.ndarray:
        """A column of booleans."""
        series = self._whole(name)
        if not isinstance(series.dtype, self._nw.Boolean):
            raise TypeError(f"mask must be a column of booleans, but {name!r} holds {series.dtype}")
        return series.to_numpy().astype(np.bool_)

    def _series(self, name: str) -> Any:
        names = self._frame.columns
        if name not in names:
            raise ValueError(f"df has no column {name!r}; there are {', '.join(map(str, names))}")
        return self._frame.get_column(name)

    def _whole(self, name: str) -> Any:
        """A column without missing values."""
        series = self._series(name)
        missing = series.is_null()
        if series.dtype.is_float():
            missing = missing | series.is_nan()
        if missing.any():
            row = int(np.argmax(missing.to_numpy()))
            raise ValueError(f"column {name!r} has a missing value (null or nan) at row {row}")
        return series


def problem_from(
    cls: type[SoftResProblem], df: Any, parts: Parts, row_ridge: Any, **model: Any
) -> SoftResProblem:
    """The problem that some columns of a table make."""
    arranged = arrange_table(Frame(df), parts)
    w = checked_row_ridge(row_ridge, arranged.given.n)
    problem = cls(
        arranged.A, arranged.b, groups=arranged.rows, group_weights=arranged.group_weights,
        offset=arranged.offset, row_ridge=arranged.given.taken(w) if w.size else 0.0, **model,
    )  # fmt: skip
    problem.feature_names = parts.feature_names
    problem._arrangement, problem._parts = arranged.given, parts
    return problem


def parts_of(features: Any, outside: Any, **columns: Any) -> Parts:
    """The arguments of ``from_frame``, checked."""
    if isinstance(features, str) or not isinstance(features, Sequence) or len(features) == 0:
        raise TypeError(f"features must be a list of at least one column name, got {features!r}")
    if outside not in (None, "add"):
        raise ValueError(f"outside must be None or 'add', got {outside!r}")
    return Parts(tuple(features), outside=outside == "add", **columns)
