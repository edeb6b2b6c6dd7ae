"""Softmax and softmax-ResNet regression at the speed of memory."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from ._threads import get_num_threads, num_threads, set_num_threads
from ._version import __version__
from .map import softres
from .point import Point
from .problem import SoftResProblem
from .solvers import solve, solve_many, solve_path

if TYPE_CHECKING:
    from ._about import show_versions, warmup
    from .hessian import SoftResHessian
    from .statistics.effects import Elasticities, elasticities
    from .statistics.inference import inference
    from .statistics.table import InferenceTable
    from .theory.certificate import Certificate, certify
    from .theory.convexity import strong_convexity_row_ridge

__all__ = [
    "Certificate",
    "Elasticities",
    "InferenceTable",
    "Point",
    "SoftResHessian",
    "SoftResProblem",
    "__version__",
    "certify",
    "elasticities",
    "get_num_threads",
    "inference",
    "num_threads",
    "set_num_threads",
    "show_versions",
    "softres",
    "solve",
    "solve_many",
    "solve_path",
    "strong_convexity_row_ridge",
    "warmup",
]

logging.getLogger("fastsoftres").addHandler(logging.NullHandler())  # silent unless the user listens

#: Where names are that are imported when they are first asked for.
_LATER = {
    "show_versions": "_about",
    "warmup": "_about",
    "SoftResHessian": "hessian",  # needs scipy.sparse.linalg, which is slow to import
    "Certificate": "theory.certificate",
    "certify": "theory.certificate",
    "Elasticities": "statistics.effects",
    "elasticities": "statistics.effects",
    "InferenceTable": "statistics.table",
    "inference": "statistics.inference",
    "strong_convexity_row_ridge": "theory.convexity",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
