"""kernels/byaddress.py: fields read through the address are those of the tuple, the last of many too."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import pytest

from fastsoftres.kernels.byaddress import ByAddress, placed

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")


class Mixed(NamedTuple):
    flag: bool
    first: np.ndarray
    count: int
    square: np.ndarray
    factor: float


@numba.njit
def doubled(m):
    """Stores between reads of the fields: they must not be read anew from what was stored."""
    for i in range(m.square.shape[0]):
        for j in range(m.count):
            m.square[i, j] = m.factor * m.first[j]
            m.first[j] += 1.0
    return m.flag


@numba.njit
def through_an_address(flag, first, count, square, factor):
    return doubled(placed(Mixed(flag, first, count, square, factor)))


def test_fields():
    first, square = np.arange(3.0), np.zeros((2, 3))
    assert through_an_address(True, first, 3, square, 2.0) is True
    np.testing.assert_array_equal(square, [[0.0, 2.0, 4.0], [2.0, 4.0, 6.0]])
    np.testing.assert_array_equal(first, [2.0, 3.0, 4.0])
    assert through_an_address(False, first, 3, square, 2.0) is False


def test_it_is_handed_on_as_one_address():
    through_an_address(True, np.zeros(1), 1, np.zeros((1, 1)), 1.0)
    (made,) = doubled.overloads.values()
    (kind,) = made.signature.args
    assert isinstance(kind, ByAddress)
    context = numba.core.registry.cpu_target.target_context
    assert context.get_argument_type(kind).is_pointer


def test_a_name_that_is_no_field_is_refused():
    @numba.njit
    def wrong(x):
        return placed(Mixed(True, x, 1, x.reshape(1, 1), 1.0)).other

    with pytest.raises(numba.TypingError, match="other"):
        wrong(np.zeros(1))
