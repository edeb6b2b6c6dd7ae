"""Machine code for processors that are not here: whole vectors of their own width
(``asv_benchmarks.processors``)."""

from __future__ import annotations

import re

import numba
import pytest

from asv_benchmarks import processors

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="needs the compiler"),
]


@pytest.mark.parametrize("name", processors.TARGETS)
def test_sums_over_rows_are_whole_vectors(name):
    """At least the eight sums of a product and the three times four of the gradient, each once."""
    pattern = processors.TARGETS[name].pattern
    assert len(re.findall(pattern, processors.assembly(name))) >= 20
