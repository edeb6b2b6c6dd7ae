"""Softmax and softmax-ResNet regression at the speed of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._threads import get_num_threads, num_threads, set_num_threads
from ._version import __version__
from .map import softres
from .point import Point
from .problem import SoftResProblem
from .solvers import solve, solve_many, solve_path

if TYPE_CHECKING:
    from .hessian import SoftResHessian

__all__ = [
    "Point",
    "SoftResHessian",
    "SoftResProblem",
    "__version__",
    "get_num_threads",
    "num_threads",
    "set_num_threads",
    "softres",
    "solve",
    "solve_many",
    "solve_path",
]


def __getattr__(name: str) -> Any:
    if name == "SoftResHessian":  # needs scipy.sparse.linalg, which is slow to import
        from .hessian import SoftResHessian

        return SoftResHessian
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
