"""Compiled functions that call each other by address, so that each is compiled once.

Numba links a compiled function into each one that calls it and optimises the whole again: in a program of
many parts that call the same kernels, compile time grows with the depth of the calls (a small fit took four
times as long). Parts marked ``apart`` are called through a table of addresses, which whoever starts the
program passes in. A call costs a few nanoseconds; nothing is inlined across it.
"""

from __future__ import annotations

import inspect

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ._jit import called, called_lean

F1, F2, F3 = types.float64[::1], types.float64[:, ::1], types.float64[:, :, ::1]
I1 = types.intp[::1]
FLAG, INT, FLOAT, NOTHING = types.boolean, types.intp, types.float64, types.void

#: Places in the table: compiled callers have them built in.
SLOTS = (
    "times", "dots", "sums", "gram", "line_rows", "row_terms", "cholesky_step", "whitening", "eigen",
    "ball_step", "congruent", "locate", "differentiate", "multiply", "hessian",
    "gauss_newton", "identifiable", "eigen_step", "propose", "line_search", "move", "rested",
    "least_squares", "from_logarithms", "from_inverse", "search_alpha", "next_start", "settle",
    "recognised", "believed", "record", "identify", "finish",
)  # fmt: skip

_parts: dict[str, tuple] = {}
_table: np.ndarray | None = None


def apart(name, function, returns, *takes):
    """The kernel ``function`` as compiled code calls it through a table: ``part(table, *arguments)``.

    ``returns`` and ``takes`` are Numba types; arguments are converted to them.
    """
    if numba.config.DISABLE_JIT:
        return lambda table, *arguments: function(*arguments)
    slot = SLOTS.index(name)
    _parts[name] = (function, returns, takes)

    def call(typingctx, table, *arguments):
        def codegen(context, builder, signature, values):
            array = context.make_array(I1)(context, builder, values[0])
            at = builder.gep(array.data, [ir.Constant(ir.IntType(64), slot)], source_etype=ir.IntType(64))
            address = builder.load(at, typ=ir.IntType(64))
            kind = context.call_conv.get_function_type(returns, takes)
            callee = builder.inttoptr(address, kind.as_pointer())
            status, answer = context.call_conv.call_function(builder, callee, returns, takes, values[1:])
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return context.get_dummy_value() if returns == NOTHING else answer

        return returns(I1, *takes), codegen

    # Numba matches arguments by a signature without stars
    names = ["typingctx", "table", *(f"argument{i}" for i in range(len(takes)))]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    call.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    return intrinsic(call)


def part(returns, *takes):
    """The same as a decorator, of a function named like its place in the table."""
    return lambda function: apart(function.__name__, called(function), returns, *takes)


def lean_part(returns, *takes):
    """The same of a function that allocates nothing (``_jit.lean``)."""
    return lambda function: apart(function.__name__, called_lean(function), returns, *takes)


def table() -> np.ndarray:
    """Addresses of all parts, compiled (or loaded from the cache) at the first call."""
    global _table
    if _table is None:
        made = np.zeros(len(SLOTS), np.intp)
        for name, (compiled, returns, takes) in _parts.items():
            if not numba.config.DISABLE_JIT:
                compiled.compile(takes)
                code = compiled.overloads[takes]
                if code.signature.return_type not in (returns, types.none if returns == NOTHING else returns):
                    raise TypeError(f"{name} returns {code.signature.return_type}, not {returns}")
                made[SLOTS.index(name)] = code.library.get_pointer_to_function(code.fndesc.llvm_func_name)
        _table = made
    return _table
