"""The problem suite: seeded problems that span what people fit, easy and nasty.

``problems()`` yields them by name. A problem is data only (A, b and the model's parameters), so that any
solver can be run on it. Real data: the bundled automobile markets, six markets of breakfast cereals and,
where scikit-learn is installed, its digits.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastsoftres as fs


class SuiteProblem(NamedTuple):
    """Data of one fit."""

    name: str
    A: np.ndarray
    b: np.ndarray
    skip: float
    ridge: float = 0.0
    row_ridge: float = 0.0
    attainable: bool = False  # b = f(A x_true) exactly (to rounding), no penalty
    x_true: np.ndarray | None = None

    def build(self) -> fs.SoftResProblem:
        """The problem object."""
        return fs.SoftResProblem(self.A, self.b, skip=self.skip, ridge=self.ridge, row_ridge=self.row_ridge)


# -- rows ---------------------------------------------------------------------------------------


def gaussian(rng, n, d):
    """Independent entries."""
    return rng.standard_normal((n, d))


def correlated(rng, n, d):
    """Neighbouring columns correlate by 0.95."""
    A = rng.standard_normal((n, d))
    for j in range(1, d):
        A[:, j] = 0.95 * A[:, j - 1] + np.sqrt(1 - 0.95**2) * A[:, j]
    return A


def heavy_tailed(rng, n, d):
    """Rows of Student's t with 2.5 degrees of freedom."""
    return rng.standard_t(2.5, (n, d))


def clustered(rng, n, d):
    """Keys of an attention head: a few directions shared by many rows, and a common offset."""
    centres = rng.standard_normal((8, d))
    return centres[rng.integers(8, size=n)] + 0.6 * rng.standard_normal((n, d)) + rng.standard_normal(d)


def raw_units(rng, n, d):
    """Columns of scale 1e-3 to 1e3."""
    return rng.standard_normal((n, d)) * 10.0 ** np.linspace(-3, 3, d)


def deficient(rng, n, d):
    """Half of the columns repeat combinations of the others."""
    half = max(1, d // 2)
    A = rng.standard_normal((n, half))
    return np.hstack([A, A @ rng.standard_normal((half, d - half))])


def with_constant(rng, n, d):
    """A constant column, which skip = 0 cannot identify."""
    A = rng.standard_normal((n, d))
    A[:, 0] = 1.0
    return A


ROWS: dict[str, Callable] = {
    f.__name__: f
    for f in (gaussian, correlated, heavy_tailed, clustered, raw_units, deficient, with_constant)
}

# -- targets ------------------------------------------------------------------------------------


def exact(rng, f):
    """As it is."""
    return f


def half_precision(rng, f):
    """Rounded to float16."""
    f = f.astype(np.float16).astype(float)
    return f / f.sum()


def cut(rng, f):
    """Only the largest 32 (or sixteenth) entries kept, the rest exact zeros."""
    keep = max(8, min(32, f.size // 16))
    g = np.zeros_like(f)
    top = np.argsort(f)[-keep:]
    g[top] = np.maximum(f[top], 0.0)
    return g / g.sum()


def noisy(rng, f):
    """30 % multiplicative noise."""
    g = f * (1.0 + 0.3 * rng.standard_normal(f.size))
    return g / g.sum()


def zeros(rng, f):
    """A random third set to exact zero."""
    g = np.where(rng.random(f.size) < 1 / 3, 0.0, f)
    return g / g.sum()


def unrelated(rng, f):
    """Nothing to do with A: a large residual remains."""
    return rng.dirichlet(np.full(f.size, 0.3))


TARGETS: dict[str, Callable] = {f.__name__: f for f in (exact, half_precision, cut, noisy, zeros, unrelated)}


def _synthetic(rows, target, n, d, skip, spread, model_skip=None, dtype=np.float64, **penalties):
    """z of the true x has standard deviation ``spread``: 0.5 is flat, 4 is peaked (entropy near 0)."""
    model_skip = skip if model_skip is None else model_skip
    name = f"{rows}-{target}-n{n}-d{d}-skip{skip:g}-spread{spread:g}"
    if model_skip != skip:
        name += f"-from{model_skip:g}"
    if dtype == np.float32:
        name += "-float32"
    name += "".join(f"-{k}{v:g}" for k, v in penalties.items())
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    A = ROWS[rows](rng, n, d).astype(dtype)
    x = rng.standard_normal(d)
    z = A.astype(float) @ x
    x *= spread / max(float(z.std()), 1e-300)
    f = fs.softres(A.astype(float) @ x, skip=model_skip)
    b = TARGETS[target](rng, f)
    attainable = target == "exact" and model_skip == skip and not penalties and dtype == np.float64
    return SuiteProblem(name, A, b, skip, attainable=attainable, x_true=x, **penalties)


def _synthetics() -> Iterator[SuiteProblem]:
    # attention rows: every target at every sharpness
    for target in TARGETS:
        for spread in (0.5, 1.5, 3.0, 5.0):
            for skip in (0.0, 0.5, 1.0):
                yield _synthetic("clustered", target, 512, 32, skip, spread, model_skip=0.0)
    # attainable for their own skip
    for skip in (0.0, 0.5, 1.0):
        for rows in ROWS:
            for spread in (0.7, 2.0):
                yield _synthetic(rows, "exact", 400, 20, skip, spread)
    # shapes: n/d from 2 to 1e4
    for n, d in ((64, 32), (100, 40), (1000, 10), (2000, 100), (20000, 20), (100000, 10)):
        for skip in (0.0, 1.0):
            for target in ("noisy", "unrelated"):
                yield _synthetic("gaussian", target, n, d, skip, 1.0)
    # unpleasant rows with noise
    for rows in ("correlated", "heavy_tailed", "raw_units", "deficient", "with_constant"):
        for skip in (0.0, 0.5, 1.0):
            for spread in (1.0, 3.0):
                yield _synthetic(rows, "noisy", 600, 24, skip, spread)
    # more columns than rows
    for skip in (0.0, 1.0):
        for spread in (0.5, 2.0):
            yield _synthetic("gaussian", "exact", 40, 80, skip, spread)
            yield _synthetic("gaussian", "noisy", 40, 80, skip, spread, ridge=1e-4)
    # penalties, float32
    for skip in (0.0, 1.0):
        yield _synthetic("gaussian", "noisy", 500, 20, skip, 1.0, ridge=1e-3)
        yield _synthetic("gaussian", "unrelated", 500, 20, skip, 1.0, row_ridge=1e-4)
        for target in ("noisy", "cut"):
            for spread in (1.0, 3.0):
                yield _synthetic("clustered", target, 512, 32, skip, spread, model_skip=0.0, dtype=np.float32)


def _markets() -> Iterator[SuiteProblem]:
    from fastsoftres.data import load_automobiles

    for market in (1971, 1974, 1978, 1982, 1986, 1990):
        data = load_automobiles(market)
        for skip in (0.0, 1.0):
            yield SuiteProblem(f"automobiles-{market}-skip{skip:g}", data.A, data.b, skip)


def _cereals() -> Iterator[SuiteProblem]:
    """Shares of breakfast cereals in six markets: A. Nevo's data as pyblp 1.3.0 ships it (MIT licence)."""
    with (Path(__file__).parent / "cereal.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    for market in dict.fromkeys(row["market"] for row in table):
        rows = [row for row in table if row["market"] == market]
        A = np.array([[1.0, *(float(row[c]) for c in ("prices", "sugar", "mushy"))] for row in rows])
        b = np.array([float(row["shares"]) for row in rows])
        A, b = np.vstack([A, np.zeros(4)]), np.append(b, 1.0 - b.sum())  # the outside good
        for skip in (0.0, 1.0):
            yield SuiteProblem(f"cereal-{market}-skip{skip:g}", A, b, skip)


def _digits() -> Iterator[SuiteProblem]:
    """Attention of one image over all others: b from distances, A the images."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        return
    images = load_digits().data / 16.0
    for query in (0, 7, 42):
        distance = ((images - images[query]) ** 2).sum(axis=1)
        for width in (2.0, 8.0):
            b = np.exp(-distance / width)
            b[query] = 0.0
            for skip in (0.0, 1.0):
                yield SuiteProblem(f"digits-{query}-width{width:g}-skip{skip:g}", images, b / b.sum(), skip)


def problems() -> list[SuiteProblem]:
    """All problems of the suite."""
    return [*_synthetics(), *_markets(), *_cereals(), *_digits()]
