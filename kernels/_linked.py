"""Functions that compiled code calls, compiled for that alone.

Numba compiles every function as if Python might call it: a wrapper that unpacks Python objects, another for
C, and machine code for all three. A helper's is never run: what its callers link and optimise into
themselves is its intermediate code. Here only that is made, which halves the time to compile the package.
"""

from __future__ import annotations

import numba
from numba import _dynfunc
from numba.core import compiler, typed_passes, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher


class _LinkedLibrary(JITCodeLibrary):
    """Intermediate code that others link, without machine code."""

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(typed_passes.NativeLowering):
    """Numba's own, into a library of that kind."""

    _name = "lowering_for_callers"

    def run_pass(self, state):
        state.library = _LinkedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        made = state["cr"]
        # what Numba knows the function by; it has no address, and ``Linked`` keeps Python from calling it
        key = _dynfunc.make_function(
            made.fndesc.lookup_module(), made.fndesc.qualname, "", 0, made.env, (state.library,)
        )
        state.targetctx.insert_user_function(key, made.fndesc, [state.library])
        state["cr"] = made._replace(cfunc=key)
        return True


class _Compiler(compiler.CompilerBase):
    def define_pipelines(self):
        pipeline = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline._finalized = False
        pipeline.passes = [
            (_Lowering if one is typed_passes.NativeLowering else one, why) for one, why in pipeline.passes
        ]
        pipeline.finalize()
        return [pipeline]


#: Options of ``numba.njit``, and of overloads.
OPTIONS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _Compiler}


class _Linked(CPUDispatcher):
    """Called from Python, as tests do, it is compiled once more, as Numba does it."""

    _callable = None

    def get_call_template(self, args, kws):
        # for a literal argument Numba compiles a variant of its own, where LLVM inlines all the same
        return super().get_call_template(tuple(types.unliteral(each) for each in args), kws)

    def __call__(self, *arguments):
        if self._callable is None:
            options = {name: value for name, value in self.targetoptions.items() if name not in OPTIONS}
            self._callable = numba.jit(**options)(self.py_func)
        return self._callable(*arguments)


def linked(**options):
    """A decorator like ``numba.njit``."""

    def decorate(function):
        if numba.config.DISABLE_JIT:
            return function
        settings = {"nopython": True, **options, **OPTIONS}
        return _Linked(function, targetoptions=settings, pipeline_class=settings.pop("pipeline_class"))

    return decorate
