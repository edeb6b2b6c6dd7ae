"""Many targets of one A in lock-step: time, and reads of A for all of them."""

from __future__ import annotations

from fastsoftres.solvers.lockstep import lockstep
from fastsoftres.sources import DenseRows

from .common import LARGE
from .problems import many_targets


class Lockstep:
    params = ([(20_000, 32, 16), (100_000, 64, 64)] if LARGE else [(20_000, 32, 16)], [0.0, 1.0])
    param_names = ("rows x columns x targets", "skip")

    def setup(self, shape, skip):
        if hasattr(self, "source"):  # asv comes here again between timed calls
            return
        A, self.B = many_targets(*shape, skip)
        self.source = DenseRows(A)
        lockstep(self.source, self.B, skip=skip)

    def time_lockstep(self, shape, skip):
        lockstep(self.source, self.B, skip=skip)

    def track_reads(self, shape, skip):
        return lockstep(self.source, self.B, skip=skip).passes
