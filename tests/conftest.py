"""Settings shared by all tests."""

from __future__ import annotations

import os

import hypothesis
import numpy as np
import pytest

# Before jax is imported by any test: it is a reference here, so float64, and on the host.
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# The first call of a kernel compiles it, so no deadline.
hypothesis.settings.register_profile("default", deadline=None, max_examples=60)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20240311)
