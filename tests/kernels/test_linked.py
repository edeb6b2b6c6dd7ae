"""kernels/_linked.py: what Numba has made of a function that compiled code calls."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from fastsoftres.kernels import _jit, dense

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")


@_jit.inline
def shifted(x, by, twice):
    return x + (2 * by if twice else by)


@numba.njit
def calls(x):
    return shifted(x, 1, True) + shifted(x, 2, False) + shifted(x, 3, True)


def test_a_helper_is_linked_into_its_callers_and_not_compiled_for_python():
    assert calls(1.0) == 13.0
    (made,) = shifted.overloads.values()  # one for all literals
    assert made.signature.args == (numba.float64, numba.intp, numba.boolean)
    names = {function.name for function in made.library.get_defined_functions()}
    assert names == {made.fndesc.llvm_func_name}  # no wrapper
    with pytest.raises(ValueError, match="object caching not enabled"):  # there is no machine code
        made.library._get_compiled_object()


def test_python_may_call_it():
    assert shifted(1.0, 2, False) == 3.0
    assert dense.total(np.arange(4.0)) == 6.0
