"""fastsoftres/solvers/sampling.py: draws against their expectations, sampled parts against the Hessian.

The outside truth is the assembled Hessian, itself checked against automatic differentiation in
tests/test_hessian.py, and binomial and chi-square laws for the draws.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastsoftres as fs
from fastsoftres.groups import Groups
from fastsoftres.solvers import sampling
from fastsoftres.solvers.sampling import Parts, SampledHessian, draw, fitted, magnitudes

KINDS = {
    "plain": {"skip": 1.0},
    "skip 0": {"skip": 0.0},
    "ridged": {"skip": 0.5, "row_ridge": 1e-4, "ridge": 1e-3},
    "long groups": {"skip": 1.0, "group_ptr": [0, 1500, 2400], "group_weights": [2.0, 0.5]},
    "short groups": {"skip": 0.7, "group_ptr": list(range(0, 2401, 6))},
    "both": {"skip": 1.0, "group_ptr": [0, 1500, *range(1510, 2401, 10)]},
    "kl": {"skip": 0.0, "loss": "kl", "group_ptr": list(range(0, 2401, 8))},
}


def make(kind, rng, n=2400, d=4):
    A = rng.standard_normal((n, d)) + 0.5
    options = KINDS[kind]
    ptr = options.get("group_ptr", [0, n])
    b = rng.gamma(0.7, size=n)
    for first, last in itertools.pairwise(ptr):
        b[first:last] /= b[first:last].sum()
    return fs.SoftResProblem(A, b, **options)


def exact(point):
    """The part of the Hessian that sampling estimates: Gauss-Newton and what the residual adds."""
    hessian = point.hessian()
    ridge = point.problem.ridge * np.eye(point.x.size)
    GN = hessian.gauss_newton() - ridge
    return GN, point.gram(np.float64, D=sampling.Parts.of(point, np.arange(point.z.size)).residual) if (
        point.problem.loss != "kl"
    ) else 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_sample_of_every_row_is_exact(rng, kind, monkeypatch):
    """All rows, each once with weight 1, give the parts themselves."""
    point = make(kind, rng).at(0.3 * rng.standard_normal(4))
    groups = point.problem._rows.groups
    everything = sampling.Sample(
        np.arange(point.z.size), np.ones(point.z.size), groups, np.arange(groups.n_kept)
    )
    sampled = SampledHessian(point, everything)
    GN, residual = exact(point)
    np.testing.assert_allclose(sampled.gauss_newton(), GN, rtol=1e-10, atol=1e-12 * np.abs(GN).max())
    np.testing.assert_allclose(sampled.residual(), residual, rtol=1e-10, atol=1e-12 * np.abs(GN).max())


@pytest.mark.parametrize("kind", KINDS)
def test_sample_is_unbiased(rng, kind):
    """The mean over many samples is the exact matrix, within four standard errors of each entry."""
    point = make(kind, rng).at(0.3 * rng.standard_normal(4))
    chance = magnitudes(point).rows
    drawn = [draw(rng, point.problem._rows.groups, chance, 200) for _ in range(300)]
    sampled = [SampledHessian(point, one) for one in drawn]
    GN, residual = exact(point)
    for estimates, wanted in (
        ([s.gauss_newton() for s in sampled], GN),
        ([s.residual() + np.zeros((4, 4)) for s in sampled], residual),
    ):
        error = np.std(estimates, axis=0) / np.sqrt(len(estimates)) + 1e-12 * np.abs(GN).max()
        assert np.all(np.abs(np.mean(estimates, axis=0) - wanted) <= 4.5 * error)


def test_parts_add_up_to_the_hessian_but_for_rank_one_terms_of_the_residual(rng):
    """At an attained target the residual's part vanishes and Gauss-Newton is the Hessian."""
    A, x = rng.standard_normal((500, 3)), np.array([0.4, -0.3, 0.2])
    point = fs.SoftResProblem(A, fs.softres(A @ x)).at(x)
    GN, residual = exact(point)
    H = point.hessian().to_dense()
    np.testing.assert_allclose(GN, H, rtol=1e-9, atol=1e-12 * np.abs(H).max())
    assert np.abs(residual).max() <= 1e-12 * np.abs(H).max()


@pytest.mark.parametrize("kind", KINDS)
def test_fitted_values_of_some_rows(rng, kind):
    point = make(kind, rng).at(rng.standard_normal(4))
    rows = np.sort(rng.integers(0, 2400, 50))
    if point.problem.loss == "least-squares":
        np.testing.assert_allclose(fitted(point, rows), point.f[rows], rtol=1e-9, atol=1e-15)


def test_draws_follow_their_chances(rng):
    """Counts against expectations; a row without a chance is never drawn; rows come in order."""
    chance = rng.gamma(0.5, size=300)
    chance[::7] = 0.0
    groups = Groups.one(300, kept=True)
    counts, weights = np.zeros(300), np.zeros(300)
    for _ in range(400):
        sample = draw(rng, groups, chance, 50)
        assert sample.rows.size == 50
        assert np.all(np.diff(sample.rows) >= 0)
        np.add.at(counts, sample.rows, 1.0)
        weights[sample.rows] = sample.weight
    expected = chance / chance.sum() * 50 * 400
    assert not counts[::7].any()
    assert np.all(np.abs(counts - expected) <= 5.0 * np.sqrt(expected) + 1.0)
    drawn = counts > 0
    np.testing.assert_allclose(weights[drawn], 400 / expected[drawn], rtol=1e-12)


def test_last_rows_without_a_chance_are_not_drawn(rng):
    """Blocks whose last rows have none, and blocks without any: rounding of sums finds no such row."""
    for _ in range(20):
        chance = rng.gamma(0.3, size=100_000) * rng.choice([1e-9, 1.0, 1e7])
        chance[rng.random(100_000) < 0.9] = 0.0
        chance[20_000:70_000] = 0.0
        chance[-300:] = 0.0
        sample = draw(rng, Groups.one(100_000, kept=True), chance, 3000)
        assert np.all(chance[sample.rows] > 0.0)
        assert np.all(np.diff(sample.rows) >= 0)
        assert np.sum(sample.weight * chance[sample.rows]) == pytest.approx(chance.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_all_rows_are_those_of_their_parts(rng, kind):
    point = make(kind, rng).at(0.3 * rng.standard_normal(4))
    weights = magnitudes(point)
    wanted = Parts.of(point, np.arange(point.z.size)).magnitude()
    np.testing.assert_allclose(weights.rows, wanted, rtol=1e-12, atol=1e-14 * wanted.max())
    assert weights.total == pytest.approx(wanted.sum())


def test_row_with_a_large_share_is_drawn_as_often_as_its_share(rng):
    """One draw from each of equal shares: a row with a tenth of the sum is drawn in 9 to 11 of 100."""
    chance = np.ones(1000)
    chance[500] = 999 / 9
    for _ in range(20):
        rows = draw(rng, Groups.one(1000, kept=True), chance, 100).rows
        assert 9 <= np.count_nonzero(rows == 500) <= 11


def test_short_groups_are_drawn_whole(rng):
    groups = Groups(np.arange(0, 301, 5))
    sample = draw(rng, groups, rng.gamma(1.0, size=300), 60)
    assert np.all(np.diff(sample.part.ptr) == 5)
    assert np.all(sample.rows.reshape(-1, 5) % 5 == np.arange(5))
    assert np.all(sample.weight.reshape(-1, 5) == sample.weight[::5, None])


def test_draws_repeat_for_the_same_generator(rng):
    chance = rng.gamma(1.0, size=1000)
    one, two = (draw(np.random.default_rng(3), Groups.one(1000, kept=True), chance, 40) for _ in range(2))
    assert np.array_equal(one.rows, two.rows)
