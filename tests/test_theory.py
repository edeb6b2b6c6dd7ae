"""fastsoftres/theory against what it claims to bound: ratios found by search, eigenvalues on sampled balls,
and stationary points computed to 50 digits (mpmath)."""

from __future__ import annotations

import itertools
import math
import warnings

import mpmath
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import fastsoftres as fs

pytestmark = pytest.mark.filterwarnings("ignore:b .*sums to")


def example(rng, n=60, d=3, skip=1.0, spread=1.0, noise=0.3, **options):
    A = rng.standard_normal((n, d))
    truth = rng.standard_normal(d) * (spread / math.sqrt(d))
    ptr = options.get("group_ptr", [0, n])
    z = A @ truth
    b = np.concatenate([fs.softres(z[i:j], skip=skip) for i, j in itertools.pairwise(ptr)])
    b = b * (1.0 + noise * rng.standard_normal(n))
    if options.get("loss") == "kl":
        b = np.abs(b)
    return fs.SoftResProblem(A, b, skip=skip, **options), truth


KINDS = {
    "softmax": {"skip": 0.0},
    "resnet": {"skip": 1.0},
    "half": {"skip": 0.5, "ridge": 0.01},
    "row ridge": {"skip": 1.0, "row_ridge": 0.02},
    "groups": {"skip": 0.0, "group_ptr": [0, 1, 10, 25, 60], "group_weights": [1.0, 2.0, 0.5, 3.0]},
    "groups, resnet": {"skip": 1.0, "group_ptr": [0, 20, 60], "group_weights": [2.0, 0.5]},
    "likelihood": {"skip": 0.0, "loss": "kl", "group_ptr": [0, 20, 60], "offset": np.linspace(-1, 1, 60)},
}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.replace(" ", "-"))
def options(request):
    return KINDS[request.param]


def outcome(problem, x):
    point = problem.at(x)
    return point.f, point.grad, point.hessian().to_dense()


@pytest.mark.parametrize("radius", [1e-3, 0.1, 0.5])
@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_bounds_exceed_every_ratio_found(options, spread, radius, rng):
    problem, x = example(rng, spread=spread, **options)
    bounds = problem.lipschitz(x, radius)
    largest = _search(problem, x, radius, rng)
    for name, found in largest.items():
        assert found <= getattr(bounds.local, name) * (1 + 1e-6)
        assert found <= getattr(bounds.overall, name) * (1 + 1e-6)
        assert getattr(bounds, name) == min(getattr(bounds.local, name), getattr(bounds.overall, name))


def test_local_bounds_are_not_vacuous(rng):
    for skip in (0.0, 1.0):
        problem, x = example(rng, skip=skip)
        bounds = problem.lipschitz(x, 1e-6)
        largest = _search(problem, x, 1e-6, rng)
        assert bounds.f <= 5 * largest["f"]
        assert bounds.grad <= 60 * largest["grad"]


def _search(problem, x, radius, rng):
    """Largest ratios between pairs of points of the ball: random pairs, then steps uphill from the best
    one."""
    d = x.size

    def inside(step):
        return x + step * min(1.0, radius / np.linalg.norm(step))

    def ratios(y, w):
        gap = np.linalg.norm(y - w)
        pairs = zip(outcome(problem, y), outcome(problem, w), strict=True)
        return [float(np.linalg.norm(a - b, 2)) / gap for a, b in pairs]

    best = [(0.0, None, None)] * 3
    for turn in range(60):
        step = rng.standard_normal(d)
        centre = rng.standard_normal(d) * radius * rng.choice([0.1, 1.0, 10.0])
        size = radius * rng.choice([0.05, 0.5, 2.0])
        candidates = [(inside(centre), inside(centre + size * step))]
        if turn > 20:
            _, y, w = best[turn % 3]
            shake = 0.3 * radius * rng.standard_normal((2, d))
            candidates.append((inside(y - x + shake[0]), inside(w - x + shake[1])))
        for y, w in candidates:
            if np.linalg.norm(y - w) < 1e-3 * radius:
                continue
            found = ratios(y, w)
            best = [(r, y, w) if r > old[0] else old for r, old in zip(found, best, strict=True)]
    noise = 1e-10 / radius if radius < 1e-4 else 0.0  # rounding, over a short distance
    return {name: max(b[0] - noise, 0.0) for name, b in zip(("f", "grad", "hess"), best, strict=True)}


def test_constants_are_infinite_where_alpha_may_vanish():
    A = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.3, -1.0]])
    problem = fs.SoftResProblem(A, [0.25] * 4)
    near, far = problem.lipschitz([0.0, 0.0], 0.01), problem.lipschitz([0.0, 0.0], 50.0)
    assert math.isfinite(near.hess)
    assert far.local.f == far.local.grad == far.local.hess == math.inf


def test_constants_of_extreme_sizes_are_bounds_or_infinite(rng):
    for scale in (1e-150, 1e-8, 1e8, 1e150):
        problem = fs.SoftResProblem(rng.standard_normal((30, 2)) * scale, [1 / 30] * 30)
        bounds = problem.lipschitz([0.0, 0.0], 0.1)
        assert all(v > 0 for v in (bounds.f, bounds.grad, bounds.hess)) or scale < 1e-100
        assert not any(math.isnan(v) for v in (bounds.f, bounds.grad, bounds.hess))


def test_the_hessian_without_enough_row_ridge_can_be_indefinite(rng):
    """The abstract's positive semidefinite Hessian holds with enough regularisation, not without."""
    problem, _ = example(rng, n=40, d=2, noise=0.0)
    lowest = [
        np.linalg.eigvalsh(problem.hessian(rng.standard_normal(2) * 2).to_dense())[0] for _ in range(50)
    ]
    assert min(lowest) < -1e-4


@pytest.mark.parametrize("skip", [0.0, 1.0])
@pytest.mark.parametrize("grouped", [False, True])
def test_row_ridge_threshold_makes_the_ball_convex(skip, grouped, rng):
    options = {"group_ptr": [0, 15, 40], "group_weights": [0.5, 2.0]} if grouped else {}
    for radius in (0.05, 0.5):
        problem, x = example(rng, n=40, d=2, skip=skip, **options)
        want = 0.01
        threshold = fs.strong_convexity_row_ridge(
            problem.A, problem.b, want, radius, x=x, skip=skip, ridge=0.002, **options
        )
        assert 0.0 < threshold.local <= threshold.overall
        assert float(threshold) == threshold.local
        convex = fs.SoftResProblem(
            problem.A, problem.b, skip=skip, ridge=0.002, row_ridge=float(threshold), **options
        )
        for _ in range(200):
            step = rng.standard_normal(2)
            at = x + step * (radius * rng.random() ** 0.25 / np.linalg.norm(step))
            assert np.linalg.eigvalsh(convex.hessian(at).to_dense())[0] >= want


def test_row_ridge_threshold_is_not_vacuous(rng):
    """A hundredth of it is not enough where the Hessian is indefinite; the papers' rule is far above."""
    problem, x = example(rng, n=40, d=2, noise=0.0)
    far = x + np.array([-1.0, -1.0])
    threshold = fs.strong_convexity_row_ridge(problem.A, problem.b, 0.0, 1e-3, x=far)
    less = problem.with_penalty(row_ridge=1e-2 * float(threshold))
    assert np.linalg.eigvalsh(less.hessian(far).to_dense())[0] < 0.0
    assert threshold.overall > 1e6 * threshold.local


def test_row_ridge_threshold_of_the_likelihood_is_what_the_curvature_asks(rng):
    A = rng.standard_normal((30, 2))
    b = np.full(30, 1 / 30)
    threshold = fs.strong_convexity_row_ridge(A, b, 0.1, 1.0, skip=0.0, loss="kl")
    sigma = np.linalg.svd(A, compute_uv=False)[-1]
    assert float(threshold) == pytest.approx(0.1 / sigma**2, rel=1e-6)


def test_row_ridge_threshold_refuses_what_cannot_help(rng):
    A = rng.standard_normal((30, 2))[:, [0, 0]]
    b = np.full(30, 1 / 30)
    with pytest.raises(ValueError, match="full column rank"):
        fs.strong_convexity_row_ridge(A, b, 0.1, 1.0)
    fs.strong_convexity_row_ridge(A, b, 0.1, 1.0, ridge=0.1)
    with pytest.raises(ValueError, match="curvature must be finite and >= 0"):
        fs.strong_convexity_row_ridge(A, b, -0.1, 1.0)
    with pytest.raises(ValueError, match="radius"):
        fs.strong_convexity_row_ridge(A, b, 0.1, math.nan)
    with pytest.raises(ValueError, match="group_weights must be > 0"):
        fs.strong_convexity_row_ridge(
            rng.standard_normal((4, 1)), [0.5] * 4, 0.1, 1.0, group_ptr=[0, 2, 4], group_weights=[0, 1]
        )


# -- certificates


def true_stationary_point(problem, x, digits=50):
    """Newton's method in mpmath from x, and the Hessian's eigenvalues there."""
    with mpmath.workdps(digits):
        exact = np.frompyfunc(lambda value: mpmath.mpf(float(value)), 1, 1)
        A, b, w = exact(problem.A), exact(problem.b), exact(problem.row_ridge)
        skip, ridge = mpmath.mpf(problem.skip), mpmath.mpf(problem.ridge)
        y = exact(x)
        for _ in range(12):
            values = reference.evaluate(A, y, b, skip, w, ridge, problem.group_ptr)
            step = mpmath.lu_solve(mpmath.matrix(values.hess.tolist()), mpmath.matrix(values.grad.tolist()))
            step = np.array([step[i] for i in range(len(step))], dtype=object)
            y = y - step
            if float(max(abs(step))) < 10.0 ** (-digits // 2 - 5):
                break
        eigenvalues = np.linalg.eigvalsh(values.hess.astype(float))
        distance = mpmath.sqrt(sum((a - b) ** 2 for a, b in zip(y, exact(x), strict=True)))
        return float(distance), eigenvalues


CERTIFIED = {
    "softmax": {"skip": 0.0},
    "resnet": {"skip": 1.0},
    "ridge": {"skip": 0.5, "ridge": 1e-3},
    "row ridge": {"skip": 1.0, "row_ridge": 1e-3},
    "groups": {"skip": 0.0, "group_ptr": np.array([0, 10, 25, 50])},
}


@pytest.mark.parametrize("kind", CERTIFIED)
def test_a_certificate_is_never_wrong(kind, rng):
    proven = 0
    for turn in range(6):
        problem, _ = example(rng, n=50, d=3, spread=(0.5, 1.0, 2.0)[turn % 3], **CERTIFIED[kind])
        result = fs.solve(problem)
        assert result.success
        for error in (0.0, 1e-9, 1e-6, 1e-3, 0.05):
            x = result.x + error * rng.standard_normal(3)
            certificate = fs.certify(problem, x if error else result)
            if not certificate.proven:
                assert certificate.radius == math.inf
                continue
            proven += error == 0.0
            distance, eigenvalues = true_stationary_point(problem, x)
            assert distance <= certificate.radius
            assert not certificate.strict_minimum or eigenvalues[0] > 0
    assert proven >= 6 * 0.9


def test_a_saddle_is_proven_to_be_no_minimum(rng):
    """From far points Newton's method on the gradient finds stationary points of any kind."""
    seen = 0
    for _ in range(40):
        problem, _ = example(rng, n=30, d=2, noise=1.0)
        x = rng.standard_normal(2)
        with np.errstate(all="ignore"):
            for _ in range(30):
                try:
                    point = problem.at(x)
                    x = x - np.linalg.solve(point.hessian().to_dense(), point.grad)
                except (ValueError, np.linalg.LinAlgError):
                    break
        if not np.isfinite(x).all() or np.abs(x).max() > 20:
            continue
        try:
            certificate = fs.certify(problem, x)
        except ValueError:
            continue
        if certificate.proven:
            distance, eigenvalues = true_stationary_point(problem, x)
            assert distance <= certificate.radius
            if eigenvalues[0] < 0:
                seen += 1
                assert not certificate.strict_minimum
    assert seen >= 1


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_well_conditioned_fits_are_proven(skip, rng):
    proven = total = 0
    for n, d in [(200, 5), (2_000, 10), (20_000, 20), (100_000, 8)]:
        for noise in (0.0, 0.3):
            problem, _ = example(rng, n=n, d=d, skip=skip, noise=noise)
            result = fs.solve(problem)
            total += 1
            proven += fs.certify(problem, result).strict_minimum
    assert proven >= 0.9 * total


def test_a_likelihood_and_weights_are_proven(rng):
    problem, _ = example(rng, **KINDS["likelihood"])
    assert fs.certify(problem, fs.solve(problem)).strict_minimum
    problem, _ = example(rng, **KINDS["groups"])
    assert fs.certify(problem, fs.solve(problem)).strict_minimum


def test_float32_storage_is_proven_with_its_own_rounding(rng):
    problem, _ = example(rng, n=300, d=3, skip=0.0)
    narrow = fs.SoftResProblem(problem.A.astype(np.float32), problem.b, skip=0.0)
    certificate = fs.certify(narrow, fs.solve(narrow))
    assert certificate.strict_minimum
    distance, _ = true_stationary_point(narrow, fs.solve(narrow).x)
    assert distance <= certificate.radius


def test_no_proof_where_there_is_none(rng):
    problem, x = example(rng, skip=0.0)
    assert not fs.certify(problem, x + 1.0)
    twice = fs.SoftResProblem(np.hstack([problem.A, problem.A]), problem.b, skip=0.0)
    singular = fs.certify(twice, fs.solve(twice))
    assert not singular.proven
    assert "singular" in singular.reason
    with pytest.raises(TypeError, match="problem must be a SoftResProblem"):
        fs.certify(problem.A, x)
    with pytest.raises(ValueError, match="x must have one entry"):
        fs.certify(problem, x[:2])


@given(seed=st.integers(0, 10_000), skip=st.sampled_from([0.0, 0.3, 1.0]), log_radius=st.floats(-6, 1))
def test_row_bounds_hold_at_sampled_points(seed, skip, log_radius):
    from fastsoftres.theory.ball import ball
    from fastsoftres.theory.norms import norms

    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem, x = example(rng, n=12, d=2, skip=skip, spread=float(rng.choice([0.1, 1.0, 5.0])))
    radius = 10.0**log_radius
    point = problem.at(x)
    around = ball(point, norms(point, centred=skip == 0.0), radius)
    for _ in range(10):
        step = rng.standard_normal(2)
        try:
            at = problem.at(x + step * (radius * rng.random() / np.linalg.norm(step)))
        except ValueError:  # alpha = 0: the bounds must have said so
            assert around.ball_alpha[0] == 0.0
            continue
        f, rows = at.f, at.curvature
        c = f - problem.b
        q = c - c @ f
        va = np.abs(rows.va)
        e = np.exp(at.z - at.normaliser.shift[0]) / at.normaliser.alpha[0]
        tiny = 1e-12
        assert (np.abs(f) <= around.f * (1 + tiny) + tiny).all()
        assert (va <= around.va * (1 + tiny)).all()
        assert (np.abs(e) <= around.ea * (1 + tiny)).all()
        assert (np.abs(q) <= around.q * (1 + tiny) + tiny).all()
        assert (e * q >= around.low_eq * (1 + tiny) - tiny).all()
        assert (np.abs(va - np.abs(point.curvature.va)) <= around.drift * (1 + tiny) + tiny).all()
