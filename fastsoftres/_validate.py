"""Input checks. Every message names the argument, what was seen and what is wanted."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from . import sparse


def matrix(A: Any, name: str = "A") -> Any:
    """A as a 2-D float32 or float64 array, or SciPy CSR, without a copy where it is one."""
    if sparse.is_sparse(A):
        return sparse.matrix(A, name)
    A = array(A, name)
    if A.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional (rows, columns), got shape {A.shape}")
    if A.shape[0] == 0 or A.shape[1] == 0:
        raise ValueError(f"{name} must have at least one row and one column, got shape {A.shape}")
    if A.dtype.newbyteorder("=") not in (np.float64, np.float32):
        with np.errstate(over="ignore"):  # a long double beyond float64: inf, which is refused by its place
            A = A.astype(np.float64)
    return A


def column_names(A: Any) -> list[str] | None:
    """Names of the columns of a table (pandas, polars, pyarrow); None for arrays."""
    names = getattr(A, "column_names", None) or getattr(A, "columns", None)
    return None if names is None or not hasattr(A, "__array__") else [str(name) for name in names]


def vector(v: Any, size: int, name: str, per: str) -> np.ndarray:
    """v as a finite (size,) float64 array."""
    v = array(v, name)
    if v.ndim != 1:
        hint = " (a column? use .ravel())" if v.ndim == 2 and 1 in v.shape else ""
        raise ValueError(f"{name} must be one-dimensional, got shape {v.shape}{hint}")
    if v.shape[0] != size:
        raise ValueError(f"{name} must have one entry for each {per} ({size}), got {v.shape[0]}")
    if v.dtype == np.float64:
        v = np.ascontiguousarray(v, dtype=np.float64)
    else:
        with np.errstate(over="ignore"):  # a long double beyond float64: inf, which is refused by its place
            v = np.ascontiguousarray(v, dtype=np.float64)
    finite(v, name)
    return v


def generator(rng: Any) -> np.random.Generator:
    """A random generator, from a seed or one as it is."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng must be a seed >= 0 or a numpy Generator, got {rng!r}") from error


def finite(v: np.ndarray, name: str) -> None:
    """Raise if v has a nan or inf, saying where the first is."""
    if not np.isfinite(v).all():
        at = np.unravel_index(int(np.argmin(np.isfinite(v))), v.shape)
        where = ", ".join(str(int(i)) for i in at)
        raise ValueError(f"{name} must be finite, got {v[at]} at [{where}]")


def not_negative(v: np.ndarray, name: str, per: str) -> None:
    """Raise if v has a negative entry, saying where the lowest is."""
    if (v < 0).any():
        i = int(np.argmin(v))
        raise ValueError(f"{name} must be >= 0, got {v[i]} at {per} {i}")


def number(value: Any, name: str, *, least: float = 0.0, strict: bool = False) -> float:
    """A finite real number >= least (> least if strict)."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    # abstract classes are slow to ask
    if type(value) is not float and (
        isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real)
    ):
        raise TypeError(f"{name} must be a real number, got {type(value).__name__}: {value!r}")
    try:
        value = float(value)
    except OverflowError:  # an integer or a fraction beyond float64
        raise ValueError(f"{name} must be within the range of float64, got {type(value).__name__}") from None
    if not math.isfinite(value) or value < least or (strict and value == least):
        raise ValueError(f"{name} must be finite and {'>' if strict else '>='} {least:g}, got {value}")
    return value


def count(value: Any, name: str, *, least: int = 0) -> int:
    """An integer >= least."""
    if type(value) is not int and (
        isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral)
    ):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}: {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def array(a: Any, name: str) -> np.ndarray:
    """An array of real numbers, in the caller's memory wherever that can be."""
    a = any_array(a, name)
    if a.dtype.kind not in "fiub":
        hint = f"; pass {name}.astype('float32')" if "bfloat16" in str(a.dtype) else ""
        raise TypeError(f"{name} must hold real numbers, got dtype {a.dtype}{hint}")
    return a


def any_array(a: Any, name: str) -> np.ndarray:
    """The same, of any type."""
    if hasattr(a, "tocsr"):
        raise TypeError(
            f"{name} is a sparse matrix and must be a dense vector; pass {name}.toarray().ravel()"
        )
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array; fill or drop the masked entries first, e.g. {name}.filled(0)"
        )
    if hasattr(a, "__dlpack_device__") and not isinstance(a, np.ndarray):
        _check_tensor(a, name)
    try:
        if hasattr(a, "__dlpack__") and not hasattr(a, "__array__"):
            return np.from_dlpack(a)
        return np.asarray(a)
    except Exception as error:
        raise TypeError(f"{name} cannot be read as an array: {error}") from error


#: Devices of DLPack whose memory the processor reads: its own, and pinned host memory of CUDA and ROCm.
_HOST_DEVICES = (1, 3, 11)


def _check_tensor(a: Any, name: str) -> None:
    """Refuse a tensor of another library that NumPy cannot look into, with the call that helps."""
    if getattr(a, "requires_grad", False) is True:
        raise TypeError(f"{name} is a tensor that requires gradients, which end here; pass {name}.detach()")
    if a.__dlpack_device__()[0] not in _HOST_DEVICES:
        call = next(
            (f"{name}.{move}()" for move in ("cpu", "get") if hasattr(a, move)), f"np.asarray({name})"
        )
        raise TypeError(f"{name} is a tensor on another device, and must be in host memory; pass {call}")
    if "bfloat16" in str(getattr(a, "dtype", "")):
        call = f"{name}.float()" if hasattr(a, "float") else f"{name}.astype('float32')"
        raise TypeError(f"{name} is a tensor of bfloat16, which NumPy does not have; pass {call}")
