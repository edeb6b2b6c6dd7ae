"""The map alone."""

from __future__ import annotations

import numpy as np

import fastsoftres as fs

from .common import DTYPES, LARGE


class Map:
    params = ([(1_000,), (1_000_000,), (10_000, 100)] + [(10_000_000,)] * LARGE, DTYPES)
    param_names = ("shape", "dtype")

    def setup(self, shape, dtype):
        if not hasattr(self, "z"):
            self.z = np.random.default_rng(0).standard_normal(shape, dtype=dtype)
            fs.softres(self.z, axis=-1)

    def time_softres(self, shape, dtype):
        fs.softres(self.z, axis=-1)
