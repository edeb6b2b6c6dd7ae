"""Many targets, one A: the data of m columns, and the passes that serve them all in one read (MATH 6)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .kernels import simd
from .kernels import targets as kernels
from .passes import Added
from .runners import walk
from .sources import DenseRows, Rows

_NO_MASK = np.empty((0, 0), np.bool_)
_NO_LENGTHS = np.empty(0, np.intp)


@dataclasses.dataclass(frozen=True, eq=False)
class Targets:
    """m problems that share A and differ in b, and perhaps in which rows take part."""

    source: DenseRows
    B: np.ndarray  # (n, m) float64, C-contiguous; 0 where a row takes no part
    mask: np.ndarray  # (n, m) bool, or (0, 0)
    lengths: np.ndarray  # (m,) intp, or (0,)
    w: np.ndarray  # (n,) float64 row ridge, or (0,)
    offset: np.ndarray  # (n,) float64, or (0,)
    skip: float
    kl: bool
    ridge: float

    @property
    def m(self) -> int:
        """Number of columns."""
        return int(self.B.shape[1])

    @property
    def width(self) -> int:
        """Row length of row state."""
        return kernels.width(self.m)

    @property
    def padded(self) -> int:
        """Columns of A, padded to whole tiles."""
        return -(-self.source.d // simd.GRAM_MR) * simd.GRAM_MR

    def take(self, columns: np.ndarray, B: np.ndarray | None = None) -> Targets:
        """Some of the columns, copied (``B`` if that has been done)."""
        return dataclasses.replace(
            self,
            B=np.ascontiguousarray(self.B[:, columns]) if B is None else B,
            mask=np.ascontiguousarray(self.mask[:, columns]) if self.mask.size else self.mask,
            lengths=self.lengths[columns] if self.lengths.size else self.lengths,
        )

    def live(self, k: int) -> np.ndarray | None:
        """Rows that take part in column k (n,), or None for all."""
        if self.mask.size:
            return self.mask[:, k]
        return np.arange(self.source.n) < self.lengths[k] if self.lengths.size else None

    def wide(self, T: np.ndarray) -> np.ndarray:
        """(m, d) as the kernels take it: (padded d, width), zeros around."""
        out = np.zeros((self.padded, self.width))
        out[: T.shape[1], : T.shape[0]] = T.T
        return out

    def of(self, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """B, mask, lengths and first row of a chunk."""
        return rows.of(self.B), rows.of(self.mask), self.lengths, rows.start


class Step(Added):
    """Z += A T for all columns, and the sums of their objectives there."""

    def __init__(self, data: Targets, T: np.ndarray, Z: np.ndarray, fresh: bool):
        self.data, self.T, self.Z, self.fresh = data, data.wide(T), Z, fresh

    def block(self, rows: Rows) -> np.ndarray:
        data = self.data
        sums = np.empty((kernels.N_SUMS, data.width))
        kernels.step_rows(
            rows.A, self.T, self.fresh, rows.of(data.offset), *data.of(rows), rows.of(data.w),
            data.skip, data.kl, rows.of(self.Z), sums,
        )  # fmt: skip
        return sums

    def merge(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        before[: kernels.MOST_Y] += after[: kernels.MOST_Y]
        np.maximum(before[kernels.MOST_Y :], after[kernels.MOST_Y :], out=before[kernels.MOST_Y :])
        return before


class Gradients(Added):
    """Gradients of all columns where their z, alpha and s are known, and ``scales`` (0 to 2) of them."""

    def __init__(
        self, data: Targets, Z: np.ndarray, alpha: np.ndarray, s: np.ndarray, exactly: bool, scales: int
    ):
        self.data, self.Z, self.exactly, self.scales = data, Z, exactly, scales
        self.alpha, self.s = np.ones(data.width), np.zeros(data.width)
        self.alpha[: data.m], self.s[: data.m] = alpha, s

    def block(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        data = self.data
        G = np.empty((1 + self.scales, data.padded, data.width))
        exact = np.empty((kernels.N_EXACT, data.width))
        kernels.gradient_rows(
            rows.A, rows.of(self.Z), *data.of(rows), rows.of(data.w), data.skip, data.kl,
            self.alpha, self.s, self.exactly, G, exact,
        )  # fmt: skip
        return G, exact

    def merge(self, before: Any, after: Any) -> Any:
        before[0][...] += after[0]
        before[1][: kernels.MOST_C] += after[1][: kernels.MOST_C]
        np.maximum(before[1][kernels.MOST_C], after[1][kernels.MOST_C], out=before[1][kernels.MOST_C])
        return before


class Sizes(Added):
    """Sums of each column's b (``kernels.targets.target_sums``), each chunk's in ``parts``; no read of A."""

    reads_A = False

    def __init__(self, data: Targets):
        self.data = data
        self.parts: dict[int, np.ndarray] = {}

    def block(self, rows: Rows) -> np.ndarray:
        sums = np.empty((4, self.data.m))
        kernels.target_sums(*self.data.of(rows), self.data.kl, sums)
        self.parts[rows.start] = sums.copy()
        return sums


class Draw(Added):
    """A systematic sample of rows for each column, ``picked`` (m, slots), -1 where a slot stays empty."""

    reads_A = False

    def __init__(
        self, data: Targets, sizes: Sizes, totals: np.ndarray, slots: int, even: float, phase: np.ndarray
    ):
        self.data, self.phase = data, phase
        squares, live = totals[1], totals[2]
        even_share = np.where(squares > 0.0, even, 1.0)
        self.uniform = np.divide(slots * even_share, live, out=np.zeros(data.m), where=live > 0.0)
        self.by_square = np.divide(
            slots * (1.0 - even_share), squares, out=np.zeros(data.m), where=squares > 0.0
        )
        self.picked = np.full((data.m, slots), -1, np.intp)
        self.before = {}
        running = np.zeros(data.m)
        for start in sorted(sizes.parts):
            self.before[start] = running.copy()
            running += self.uniform * sizes.parts[start][2] + self.by_square * sizes.parts[start][1]

    def block(self, rows: Rows) -> int:
        kernels.draw(
            *self.data.of(rows), self.before[rows.start].copy(), self.uniform, self.by_square, self.phase,
            self.picked,
        )  # fmt: skip
        return 0

    def omega(self, k: int, picked: np.ndarray) -> np.ndarray:
        """How many rows each of the ``picked`` rows of column k stands for."""
        b = self.data.B[picked, k]
        return 1.0 / (self.uniform[k] + self.by_square[k] * (b * b))


class TakeColumns(Added):
    """Some columns of row state and of B, into arrays of their own; no read of A."""

    reads_A = False

    def __init__(self, data: Targets, Z: np.ndarray, columns: np.ndarray):
        self.data, self.Z, self.columns = data, Z, columns
        self.B_out = np.empty((data.source.n, columns.size))
        self.Z_out = np.empty((data.source.n, kernels.width(columns.size)))

    def block(self, rows: Rows) -> int:
        B, B_out = rows.of(self.data.B), rows.of(self.B_out)
        kernels.take_columns(rows.of(self.Z), B, self.columns, rows.of(self.Z_out), B_out)
        return 0


def sizes(data: Targets) -> tuple[Sizes, np.ndarray]:
    """The pass over B, and its sums (4, m)."""
    work = Sizes(data)
    return work, walk(data.source, work)
