"""Value and gradient of a problem whose rows are one chunk, with as little Python as there can be.

At a thousand rows what surrounds a kernel takes longer than the kernel: nothing is looked up, made or checked
here that one call shares with the next.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .kernels import gradient
from .sources import DenseRows

if TYPE_CHECKING:
    from .problem import SoftResProblem


class Quick:
    """What calls at one problem share.

    A call answers None where there is something to say of x or of the answer: ``SoftResProblem.at`` says it.
    """

    def __init__(self, problem: SoftResProblem):
        data, source = problem._rows, problem._source
        n, self.d = problem.shape
        self.data, self.ridge = data, problem.ridge
        self.fits = isinstance(source, DenseRows) and source.direct and len(source.bounds()) == 1
        if not self.fits:
            return
        self.A = source.A
        span = data.groups.span(0, n)
        self.given = (
            data.b, data.w, data.offset, span.weight, span.ptr, span.base, span.kept, data.skip, data.kl,
        )  # fmt: skip
        self.spare: list[tuple[np.ndarray, ...]] = []  # work space; a thread takes one, and brings it back

    def _space(self) -> tuple[np.ndarray, ...]:
        data, groups = self.data, self.data.groups
        return (
            np.empty(data.b.size), groups.vector(), groups.vector(), groups.vector(), np.empty(2),
            groups.mean_rows(self.d), np.empty((2, gradient.N_SUMS)), np.empty((0, 4, self.d)),
        )  # fmt: skip

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray] | None:
        if type(x) is not np.ndarray or x.dtype != np.float64 or x.shape != (self.d,):
            return None
        x = x.copy()  # contiguous, and not read-only, for which the kernel would be compiled again
        G = np.empty(self.d)
        try:
            space = self.spare.pop()
        except IndexError:
            space = self._space()
        z, alpha, shift, s, totals, means, open_sums, open_G = space
        gradient.gradient_rows(
            self.A, x, *self.given, z, alpha, shift, s, totals, G, means, open_sums, open_G
        )  # fmt: skip
        loss, penalty = totals.tolist()
        self.spare.append(space)
        value = loss + penalty
        if self.ridge:
            with np.errstate(over="ignore"):  # told by ``at``, with an error
                value += 0.5 * self.ridge * float(x.dot(x))
                G += self.ridge * x
        # x that is not finite leaves no z finite, and no value
        return (value, G) if math.isfinite(value) and np.isfinite(G).all() else None
