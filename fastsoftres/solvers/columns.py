"""Columns that are under way together: row state, what passes over it tell, quasi-Newton memory."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from ..kernels import sample
from ..kernels import targets as kernels
from ..kernels.formula import CANCELS, COMMON_F64
from ..runners import walk
from ..targets import Gradients, Step, TakeColumns, Targets

#: u stays below: its square, times 1e15 rows, is far inside the range of float64.
_RANGE = math.exp(COMMON_F64)
#: Pairs that a quasi-Newton step remembers.
_MEMORY = 12


class Values(NamedTuple):
    """Of each column at its z: alpha, s, objective, the size its loss is a difference of, penalties."""

    alpha: np.ndarray
    s: np.ndarray
    value: np.ndarray
    size: np.ndarray
    penalty: np.ndarray


@dataclasses.dataclass
class RowState:
    """Row state of some columns, and what passes over it tell."""

    data: Targets
    reads: Counter[str]
    Z: np.ndarray  # (n, width)
    total: np.ndarray  # sum(b) of each column
    bb: np.ndarray  # twice the loss that says nothing, and
    floor: np.ndarray  # the least loss, as ``SoftResProblem`` has them

    @classmethod
    def of(cls, data: Targets, reads: Counter[str], sums: np.ndarray) -> RowState:
        """Z not yet written. ``sums``: of each column's b."""
        total, bb, floor = sums[0], sums[1], np.zeros(data.m)
        if data.kl:
            bb, floor = 2.0 * total, np.where(total > 0.0, total * np.log(total), 0.0) - sums[3]
        return cls(data, reads, np.empty((data.source.n, data.width)), total, bb, floor)

    def take(self, columns: np.ndarray) -> RowState:
        """The row state of some of the columns, in an array of its own."""
        work = TakeColumns(self.data, self.Z, columns)
        walk(self.data.source, work)
        data = self.data.take(columns, work.B_out)
        return RowState(
            data, self.reads, work.Z_out, self.total[columns], self.bb[columns], self.floor[columns]
        )

    def step(self, T: np.ndarray, X: np.ndarray, *, fresh: bool = False) -> tuple[Values, np.ndarray]:
        """Z += A T, which ends at X; values there, largest entries of A T. Values out of range are nan."""
        data = self.data
        self.reads["shared"] += 1
        sums = walk(data.source, Step(data, T, self.Z, fresh))[:, : data.m]
        alpha = sums[kernels.SUM_U]
        penalty = 0.5 * sums[kernels.SUM_WZZ] + 0.5 * data.ridge * np.sum(X * X, axis=1)
        if data.kl:
            s = self.total
            loss = s * np.log(alpha) - sums[kernels.SUM_UB]
            size = np.abs(sums[kernels.SUM_UB]) + np.abs(loss)
        else:
            ff, fb = sums[kernels.SUM_UU] / alpha / alpha, sums[kernels.SUM_UB] / alpha
            s = ff - fb
            loss = 0.5 * (ff - 2.0 * fb + self.bb)
            size = 0.5 * np.maximum(ff, self.bb)
        # without a shift: no u above exp(64), no sum of them that has lost its digits to underflow
        in_range = (sums[kernels.SUM_UU] <= _RANGE * _RANGE) & (np.abs(alpha) >= 1.0 / _RANGE)
        value = np.where(in_range, loss + penalty, np.nan)
        return Values(alpha, s, value, size, penalty), sums[kernels.MOST_Y]

    def gradients(
        self, at: Values, X: np.ndarray, *, scales: int = 0
    ) -> tuple[Values, np.ndarray, np.ndarray]:
        """Gradients (1 + scales, m, d) where z stands, the scales after them (MATH 7); ½‖c‖², largest abs(c).

        The values come back exact where the sums of the step had cancelled.
        """
        data = self.data
        self.reads["shared"] += 1
        alpha = np.where(np.isfinite(at.alpha) & (at.alpha != 0.0), at.alpha, 1.0)
        exactly = scales == 2 or bool((at.value - at.penalty < CANCELS * at.size).any())
        G, exact = walk(data.source, Gradients(data, self.Z, alpha, at.s, exactly, scales))
        G = np.ascontiguousarray(G[:, : data.source.d, : data.m].transpose(0, 2, 1))
        G[0] += data.ridge * X
        G[1:] += data.ridge * np.abs(X)
        exact = exact[:, : data.m]
        if not data.kl:
            cancels = exactly & (exact[kernels.HALF_CC] < CANCELS * at.size)
            at = at._replace(value=np.where(cancels, exact[kernels.HALF_CC] + at.penalty, at.value))
        return at, G, exact


@dataclasses.dataclass
class Moving:
    """Columns that are under way: their fields, columns first."""

    at: np.ndarray  # which columns of the batch they are
    active: np.ndarray
    X: np.ndarray
    P: np.ndarray
    values: Values
    g: np.ndarray
    terms: np.ndarray
    sign: np.ndarray
    nit: np.ndarray
    stride: np.ndarray  # largest abs(A t) of the last step
    S: np.ndarray  # (m, k, d) the last steps, and
    Y: np.ndarray  # the changes of the gradient
    curvature: np.ndarray  # (m, k) curvature along them, over that of P P'

    def take(self, columns: np.ndarray) -> Moving:
        """Some of the columns."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values = Values(*(v[columns] for v in fields.pop("values")))
        return Moving(values=values, **{name: field[columns] for name, field in fields.items()})

    @property
    def gradient(self) -> np.ndarray:
        """m1 of MATH 7 of each column, by the scales of the start."""
        relative = np.divide(np.abs(self.g), self.terms, out=np.zeros_like(self.g), where=self.terms > 0.0)
        return np.max(relative, axis=1, initial=0.0)

    def solved(self, R: np.ndarray) -> np.ndarray:
        """P^-1 R, column by column."""
        T = np.empty_like(R)
        sample.solve_columns(self.P, R, T)
        return T

    def decrement(self) -> np.ndarray:
        """½ g' P^-1 g."""
        return 0.5 * np.sum(self.g * self.solved(self.g), axis=1)

    def direction(self) -> np.ndarray:
        """-H^-1 g of the active columns by the two-loop recursion that begins with P (Nocedal 1980)."""
        q = self.g.copy()
        curved = np.sum(self.S * self.Y, axis=2)
        rho = np.divide(1.0, curved, out=np.zeros_like(curved), where=curved > 0.0)
        share = np.zeros_like(rho)
        for i in reversed(range(rho.shape[1])):
            share[:, i] = rho[:, i] * np.sum(self.S[:, i] * q, axis=1)
            q -= share[:, i, None] * self.Y[:, i]
        r = self.solved(q)
        for i in range(rho.shape[1]):
            r += (share[:, i] - rho[:, i] * np.sum(self.Y[:, i] * r, axis=1))[:, None] * self.S[:, i]
        downhill = np.sum(r * self.g, axis=1) > 0.0
        if not downhill.all():
            r = np.where(downhill[:, None], r, self.solved(self.g))
        return np.where(self.active[:, None], -r, 0.0)

    def remember(self, s: np.ndarray, y: np.ndarray) -> None:
        """Add a step; one that shows no curvature is noted and left out of later directions."""
        along_P = np.einsum("kji,kj->ki", self.P, s)
        size = np.sum(along_P * along_P, axis=1)
        curvature = np.divide(np.sum(s * y, axis=1), size, out=np.full(size.size, np.inf), where=size > 0.0)
        usable = (curvature > 1e-8) & (curvature < np.inf)
        s, y = np.where(usable[:, None], s, 0.0), np.where(usable[:, None], y, 0.0)
        last = slice(max(0, self.S.shape[1] + 1 - _MEMORY), None)
        self.S = np.concatenate([self.S[:, last], s[:, None]], axis=1)
        self.Y = np.concatenate([self.Y[:, last], y[:, None]], axis=1)
        self.curvature = np.concatenate([self.curvature[:, last], curvature[:, None]], axis=1)
