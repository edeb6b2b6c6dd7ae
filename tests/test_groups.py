"""Groups of rows, through the public API: against the sum of one-group problems, automatic differentiation
(jax), and the formulas a group at a time (``reference``)."""

from __future__ import annotations

import itertools
import pickle
import tracemalloc

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import relative

import fastsoftres as fs
from fastsoftres.groups import Groups

SKIPS = [0.0, 1.0, 0.3]
DTYPES = [np.float64, np.float32]
METHODS = ["newton", "newton-cg", "lbfgs"]
ACCURACY = {np.float64: 1e-12, np.float32: 1e-5}
#: Groups of one row, of a few, of a block, longer than a block.
SIZES = {
    "few": [3, 1, 5, 2, 8, 1, 4],
    "single rows": [1] * 9,
    "long": [4, 300, 1, 256, 2, 257, 900],
    "one": [50],
}


def targets(rng, ptr):
    """Positive, with sum 1 in each group."""
    b = rng.exponential(size=ptr[-1]) + 0.1
    return b / np.repeat(np.add.reduceat(b, ptr[:-1]), np.diff(ptr))


def offsets_of(sizes):
    return np.concatenate([[0], np.cumsum(sizes)])


def case(rng, sizes, d=4, dtype=np.float64, skip=0.0):
    """A, x, b, ptr with no normaliser near zero: for skip > 0 a column that lifts z."""
    ptr = offsets_of(sizes)
    A, x = rng.standard_normal((ptr[-1], d)), rng.standard_normal(d) / 3
    if skip:
        A[:, 0], x[0] = 1.0 + 0.1 * A[:, 0], 1.0
    return A.astype(dtype), x, targets(rng, ptr), ptr


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("name", SIZES)
def test_value_and_derivatives(name, skip, dtype, rng):
    """Value, gradient and all forms of the Hessian, with every parameter; jax knows the value only."""
    import jax

    A, x, b, ptr = case(rng, SIZES[name], dtype=dtype, skip=skip)
    n, g = ptr[-1], ptr.size - 1
    weights, offset, row_ridge = rng.exponential(size=g), rng.uniform(0, 1, n), rng.exponential(size=n)
    given = {"row_ridge": row_ridge, "ridge": 0.1}
    problem = fs.SoftResProblem(A, b, skip=skip, group_ptr=ptr, group_weights=weights, offset=offset, **given)
    loss = reference.loss_jax(A, b, skip, row_ridge, 0.1, ptr, weights, offset)
    value, grad = jax.value_and_grad(loss)(x)
    true = reference.plain(A, x, b, skip, row_ridge, 0.1, ptr, weights, offset)
    accuracy = ACCURACY[dtype]
    got_value, got_grad = problem.value_and_grad(x)
    assert got_value == pytest.approx(float(value), rel=1e-12, abs=0)
    assert np.linalg.norm(got_grad - grad) <= accuracy * np.linalg.norm(true.terms)
    np.testing.assert_allclose(problem.at(x).z, true.z, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(problem.predict(x), true.f, rtol=1e-11)
    wanted = np.asarray(jax.hessian(loss)(x))
    hessian = problem.hessian(x)
    assert relative(hessian.to_dense(), wanted) <= accuracy
    assert relative(hessian.to_dense(assembly_dtype=np.float32), wanted) <= 1e-5
    T = rng.standard_normal((x.size, 3))
    assert relative(hessian @ T, wanted @ T) <= accuracy
    assert relative(problem.hessp(x, T[:, 0]), wanted @ T[:, 0]) <= accuracy
    assert relative(hessian.gauss_newton(), true.gauss_newton) <= accuracy
    (_, r), (_, s) = hessian.rank_one
    H_z = np.diag(hessian.row_diag)
    for i, j in itertools.pairwise(ptr):
        H_z[i:j, i:j] += np.outer(r[i:j], r[i:j]) - np.outer(s[i:j], s[i:j])
    A = A.astype(np.float64)
    assert relative(A.T @ H_z @ A + 0.1 * np.eye(x.size), wanted) <= 1e-10


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("sizes", [[7, 1, 3], [300, 5, 700], [30_000, 2, 40_000, 1, 20_000]])
def test_groups_are_the_sum_of_problems_of_one_group(sizes, skip, rng):
    """The last: groups of several chunks, which chunk borders cut."""
    A, x, b, ptr = case(rng, sizes, d=9, skip=skip)
    problem = fs.SoftResProblem(A, b, skip=skip, group_ptr=ptr)
    alone = [fs.SoftResProblem(A[i:j], b[i:j], skip=skip) for i, j in itertools.pairwise(ptr)]
    assert problem.value(x) == pytest.approx(sum(one.value(x) for one in alone), rel=1e-12, abs=0)
    terms = reference.plain(A, x, b, skip, ptr=ptr).terms
    assert np.linalg.norm(problem.grad(x) - sum(o.grad(x) for o in alone)) <= 1e-12 * np.linalg.norm(terms)
    wanted = sum(one.hessian(x).to_dense() for one in alone)
    assert relative(problem.hessian(x).to_dense(), wanted) <= 1e-11
    t = rng.standard_normal(9)
    assert relative(problem.hessp(x, t), wanted @ t) <= 1e-11
    wanted = sum(one.hessian(x).gauss_newton() for one in alone)
    assert relative(problem.hessian(x).gauss_newton(), wanted) <= 1e-11
    np.testing.assert_allclose(problem.predict(x), np.concatenate([o.predict(x) for o in alone]), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads(dtype, rng):
    """Groups short and long over many chunks."""
    sizes = [*rng.integers(1, 11, 6000), 70_000, *rng.integers(1, 400, 300)]
    A, x, b, ptr = case(rng, sizes, d=5, dtype=dtype)
    problem = fs.SoftResProblem(A, b, skip=0.5, group_ptr=ptr, row_ridge=0.1)
    assert len(problem._source.bounds()) > 8

    def everything():
        point = problem.at(x)
        hessian = point.hessian()
        arrays = [
            np.array(point.value), point.grad, point.z, point.means, point.hessp(x), hessian.to_dense(),
            hessian.gauss_newton(), point.f, *point.normaliser,
        ]  # fmt: skip
        return [array.tobytes() for array in arrays]

    seen = []
    for count in (1, 2, 5):
        with fs.num_threads(count):
            seen.append(everything())
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("sizes", [[250], [100, 1, 149], [12] * 20])
def test_few_rows_of_many_columns(sizes, rng):
    """Chunks of a wide matrix hold fewer rows than a block: one group may be cut, several are not."""
    A, x, b, ptr = case(rng, sizes, d=2500)
    x /= 10
    problem = fs.SoftResProblem(A, b, skip=0, group_ptr=ptr)
    assert len(problem._source.bounds()) > 5
    true = reference.plain(A, x, b, 0.0, ptr=ptr)
    assert problem.value(x) == pytest.approx(true.value, rel=1e-11, abs=0)
    assert np.linalg.norm(problem.grad(x) - true.grad) <= 1e-12 * np.linalg.norm(true.terms)
    assert relative(problem.hessp(x, x), true.hess @ x) <= 1e-11
    assert relative(problem.hessian(x).to_dense(), true.hess) <= 1e-10
    part = problem.rows(np.arange(0, ptr[-1], 2))
    assert np.isfinite(part.grad(x)).all()


class TestLabels:
    @pytest.mark.parametrize(
        "labels",
        [
            np.array(["b", "b", "a", "a", "a", "c"]), [7, 7, -3, -3, -3, 0], [2.5, 2.5, 0.0, 0.0, 0.0, 1.0],
            np.array(["b", "b", "a", "a", "a", "c"], dtype=object),
        ],
    )  # fmt: skip
    def test_consecutive(self, labels, rng):
        """Numbered as they appear; the same problem as with offsets, nothing copied."""
        A, x, b, ptr = case(rng, [2, 3, 1])
        problem = fs.SoftResProblem(A, b, skip=0, groups=labels)
        np.testing.assert_array_equal(problem.group_ptr, ptr)
        assert problem.n_groups == 3
        assert list(problem.group_labels) == [labels[0], labels[2], labels[5]]
        assert problem.value(x) == fs.SoftResProblem(A, b, skip=0, group_ptr=ptr).value(x)
        assert np.shares_memory(problem._source.A, A)

    def test_scattered_rows_are_sorted_once_with_notice(self, rng):
        A, x, b, ptr = case(rng, [5, 1, 7, 3])
        labels, order = np.repeat([10, 3, 12, 4], np.diff(ptr)), rng.permutation(16)
        kept = [copy.copy() for copy in (A[order], b[order], labels[order])]
        with pytest.warns(UserWarning, match="not consecutive"):
            problem = fs.SoftResProblem(A[order], b[order], skip=0, groups=labels[order])
        together = fs.SoftResProblem(A, b, skip=0, groups=labels)
        assert problem.value(x) == pytest.approx(together.value(x), rel=1e-13, abs=0)
        np.testing.assert_allclose(problem.grad(x), together.grad(x), rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(problem.predict(x), together.predict(x)[order], rtol=1e-13)
        _, first = np.unique(labels[order], return_index=True)
        np.testing.assert_array_equal(problem.group_labels, labels[order][np.sort(first)])
        for array, copy in zip((A[order], b[order], labels[order]), kept, strict=True):
            np.testing.assert_array_equal(array, copy)

    def test_weights_follow_the_order_of_appearance(self, rng):
        A, x, b, ptr = case(rng, [4, 2, 3])
        labels, order = np.repeat(["x", "y", "z"], np.diff(ptr)), [6, 0, 4, 1, 7, 5, 2, 3, 8]  # z, x, y
        with pytest.warns(UserWarning, match="not consecutive"):
            problem = fs.SoftResProblem(
                A[order], b[order], skip=0, groups=labels[order], group_weights=[3.0, 1.0, 2.0]
            )
        wanted = fs.SoftResProblem(A, b, skip=0, group_ptr=ptr, group_weights=[1.0, 2.0, 3.0])
        assert problem.value(x) == pytest.approx(wanted.value(x), rel=1e-13, abs=0)

    @pytest.mark.parametrize(
        ("labels", "error", "match"),
        [
            ([1, 1, 2], ValueError, "one label for each row"),
            (["a", "a", None, "b"], ValueError, "missing labels"),
            ([1.0, np.nan, 2.0, 2.0], ValueError, "missing labels"),
            (np.array([1, "a", 2, 3], dtype=object), TypeError, "one kind"),
        ],
    )
    def test_bad_labels(self, labels, error, match):
        with pytest.raises(error, match=match):
            fs.SoftResProblem(np.eye(4), np.full(4, 0.25), groups=labels)

    def test_a_message_names_the_group_by_its_label(self, rng):
        A, _, b, _ = case(rng, [2, 3, 1])
        b[3] += 1.0
        with pytest.warns(UserWarning, match="group 'west' sums to 2"):
            fs.SoftResProblem(A, b, skip=0, groups=["east"] * 2 + ["west"] * 3 + ["north"])


@pytest.mark.parametrize(
    ("ptr", "error", "match"),
    [
        ([0, 2, 2, 4], ValueError, "group 1 is empty"),
        ([0, 3, 2, 4], ValueError, "group 1 ends before it begins"),
        ([0, 2], ValueError, "from 0 to the number of rows"),
        ([1, 4], ValueError, "from 0 to the number of rows"),
        ([0.0, 2.0, 4.0], TypeError, "integers"),
        ([[0, 4]], ValueError, "one-dimensional"),
    ],
)
def test_bad_offsets(ptr, error, match):
    with pytest.raises(error, match=match):
        fs.SoftResProblem(np.eye(4), np.full(4, 0.5), group_ptr=ptr)


def test_offsets_and_labels_exclude_each_other():
    with pytest.raises(TypeError, match="not both"):
        fs.SoftResProblem(np.eye(2), [0.5, 0.5], group_ptr=[0, 2], groups=[1, 1])


class TestWeights:
    @pytest.mark.parametrize("loss", ["least-squares", "kl"])
    def test_a_group_twice_is_weight_two(self, loss, rng):
        """Value, gradient, Hessian, and the fit; short groups and one longer than a block."""
        A, x, b, ptr = case(rng, [6, 3, 9, 300, 5])
        w = rng.exponential(size=ptr[-1]) / 100
        twice = [0, 1, 1, 2, 3, 3, 4]
        rows = np.concatenate([np.arange(ptr[g], ptr[g + 1]) for g in twice])
        given = {"skip": 0, "loss": loss, "ridge": 0.01}
        doubled = fs.SoftResProblem(
            A[rows], b[rows], group_ptr=offsets_of(np.diff(ptr)[twice]), row_ridge=w[rows], **given
        )
        weighted = fs.SoftResProblem(A, b, group_ptr=ptr, group_weights=[1, 2, 1, 2, 1], row_ridge=w, **given)
        assert weighted.value(x) == pytest.approx(doubled.value(x), rel=1e-13, abs=0)
        np.testing.assert_allclose(weighted.grad(x), doubled.grad(x), rtol=1e-11)
        one, other = weighted.hessian(x), doubled.hessian(x)
        assert relative(one.to_dense(), other.to_dense()) <= 1e-12
        assert relative(one.gauss_newton(), other.gauss_newton()) <= 1e-12
        t = rng.standard_normal(4)
        assert relative(one @ t, other @ t) <= 1e-12
        fitted, wanted = fs.solve(weighted), fs.solve(doubled)
        assert fitted.success and wanted.success  # noqa: PT018
        assert fitted.fun == pytest.approx(wanted.fun, rel=1e-10, abs=0)
        np.testing.assert_allclose(fitted.x, wanted.x, rtol=1e-5, atol=1e-7)

    def test_weight_zero_takes_a_group_out(self, rng):
        A, x, b, ptr = case(rng, [6, 3, 9])
        problem = fs.SoftResProblem(A, b, skip=0, group_ptr=ptr, group_weights=[1, 0, 1])
        rest = np.r_[0:6, 9:18]
        wanted = fs.SoftResProblem(A[rest], b[rest], skip=0, group_ptr=[0, 6, 15])
        assert problem.value(x) == pytest.approx(wanted.value(x), rel=1e-13, abs=0)
        assert relative(problem.hessian(x).to_dense(), wanted.hessian(x).to_dense()) <= 1e-12

    @pytest.mark.parametrize(
        ("weights", "match"),
        [([1, -1], "at group 1"), ([1], "one entry for each group"), ([1, np.nan], "finite")],
    )
    def test_bad_weights(self, weights, match):
        with pytest.raises(ValueError, match=match):
            fs.SoftResProblem(np.eye(4), np.full(4, 0.5), group_ptr=[0, 2, 4], group_weights=weights)


@pytest.mark.parametrize(("loss", "skip"), [("least-squares", 0.0), ("least-squares", 1.0), ("kl", 0.0)])
@pytest.mark.parametrize("sizes", [[40], [5, 1, 7, 300, 4]])
def test_an_offset_is_a_column_whose_coefficient_is_one(sizes, loss, skip, rng):
    """Value, gradient and Hessian of the other coefficients; the fit is where they vanish."""
    A, x, b, ptr = case(rng, sizes, skip=skip)
    offset = rng.uniform(0, 1, ptr[-1])
    given = {"skip": skip, "loss": loss, "group_ptr": ptr, "row_ridge": 0.01}
    problem = fs.SoftResProblem(A, b, offset=offset, **given)
    wider = fs.SoftResProblem(np.column_stack([A, offset]), b, **given)
    fixed = np.append(x, 1.0)
    np.testing.assert_allclose(problem.at(x).z, wider.at(fixed).z, rtol=1e-13, atol=1e-15)
    assert problem.value(x) == pytest.approx(wider.value(fixed), rel=1e-13, abs=0)
    np.testing.assert_allclose(problem.grad(x), wider.grad(fixed)[:4], rtol=1e-10, atol=1e-14)
    assert relative(problem.hessian(x).to_dense(), wider.hessian(fixed).to_dense()[:4, :4]) <= 1e-11
    result = fs.solve(problem)
    assert result.success
    there = np.append(result.x, 1.0)
    terms = reference.plain(
        np.column_stack([A, offset]), there, b, skip, 0.01, ptr=ptr, kl=loss == "kl"
    ).terms
    assert (abs(wider.grad(there)[:4]) <= 1e-7 * terms[:4]).all()


class TestMask:
    @pytest.mark.parametrize("sizes", [[60], [5, 2, 9, 400, 4, 3]])
    @pytest.mark.parametrize(("loss", "skip"), [("least-squares", 1.0), ("kl", 0.0)])
    def test_a_masked_row_is_no_row(self, loss, skip, sizes, rng):
        A, x, b, ptr = case(rng, sizes, skip=skip)
        n = ptr[-1]
        mask = rng.random(n) < 0.6
        mask[ptr[:-1]] = True
        w, offset, weights = rng.exponential(size=n), rng.uniform(0, 1, n), rng.exponential(size=len(sizes))
        b = b * mask
        b /= np.repeat(np.add.reduceat(b, ptr[:-1]), np.diff(ptr))
        counts = np.add.reduceat(mask.astype(int), ptr[:-1])
        given = {"skip": skip, "loss": loss, "group_weights": weights, "ridge": 0.01}
        masked = fs.SoftResProblem(A, b, group_ptr=ptr, mask=mask, row_ridge=w, offset=offset, **given)
        without = fs.SoftResProblem(
            A[mask], b[mask], group_ptr=offsets_of(counts), row_ridge=w[mask], offset=offset[mask], **given
        )
        assert masked.shape == without.shape
        assert masked.value(x) == without.value(x)
        np.testing.assert_array_equal(masked.grad(x), without.grad(x))
        np.testing.assert_array_equal(masked.hessian(x).to_dense(), without.hessian(x).to_dense())
        f = masked.predict(x)
        np.testing.assert_array_equal(f[mask], without.predict(x))
        np.testing.assert_array_equal(f[~mask], 0.0)
        one, other = fs.solve(masked), fs.solve(without)
        assert one.success
        np.testing.assert_array_equal(one.x, other.x)

    def test_what_is_masked_may_be_anything_finite(self, rng):
        A, x, b, ptr = case(rng, [4, 6])
        mask = np.ones(10, dtype=bool)
        mask[[1, 7]] = False
        A[[1, 7]], b[[1, 7]] = 1e30, -5.0
        b[0], b[9] = 1 - b[2:4].sum(), 1 - b[[4, 5, 6, 8]].sum()
        wanted = fs.SoftResProblem(A[mask], b[mask], skip=0, group_ptr=[0, 3, 8])
        problem = fs.SoftResProblem(A, b, skip=0, group_ptr=ptr, mask=mask)
        assert problem.value(x) == wanted.value(x)

    def test_scattered_labels_and_a_mask(self, rng):
        A, x, b, ptr = case(rng, [5, 4, 7])
        labels, order, mask = np.repeat([0, 1, 2], np.diff(ptr)), rng.permutation(16), np.ones(16, dtype=bool)
        mask[[0, 3, 9]] = False
        b = np.where(mask, b, 0.0)
        with pytest.warns(UserWarning):  # noqa: PT030  (two notices: rows are sorted, sums are not 1)
            problem = fs.SoftResProblem(A[order], b[order], skip=0, groups=labels[order], mask=mask[order])
        with pytest.warns(UserWarning, match="sums to"):
            wanted = fs.SoftResProblem(A, b, skip=0, group_ptr=ptr, mask=mask)
        assert problem.value(x) == pytest.approx(wanted.value(x), rel=1e-13, abs=0)
        np.testing.assert_allclose(problem.predict(x), wanted.predict(x)[order], rtol=1e-13)

    def test_penalties_of_given_rows_can_be_changed(self, rng):
        """``with_penalty`` takes one entry for each row as given, masked or not."""
        A, x, b, ptr = case(rng, [4, 6])
        mask = np.arange(10) % 3 != 1
        w = rng.exponential(size=10)
        given = {"skip": 0, "group_ptr": ptr, "mask": mask}
        b = np.where(mask, b, 0.0)
        b /= np.repeat(np.add.reduceat(b, ptr[:-1]), np.diff(ptr))
        changed = fs.SoftResProblem(A, b, **given).with_penalty(row_ridge=w, ridge=0.5)
        wanted = fs.SoftResProblem(A, b, row_ridge=w, ridge=0.5, **given)
        assert changed.value(x) == wanted.value(x)
        np.testing.assert_array_equal(changed.row_ridge, w[mask])
        np.testing.assert_array_equal(changed.grad(x), wanted.grad(x))
        with pytest.raises(ValueError, match="row_ridge must have one entry for each row of A"):
            changed.with_penalty(row_ridge=w[mask])

    @pytest.mark.parametrize(
        ("mask", "error", "match"),
        [
            ([1, 1, 0, 1], TypeError, "booleans"),
            ([True, False], ValueError, "one entry for each row"),
            ([True, True, False, False], ValueError, "leaves out group 1"),
        ],
    )
    def test_bad_masks(self, mask, error, match):
        with pytest.raises(error, match=match):
            fs.SoftResProblem(np.eye(4), np.full(4, 0.5), group_ptr=[0, 2, 4], mask=mask)

    def test_no_row_left(self):
        with pytest.raises(ValueError, match="leaves out every row"):
            fs.SoftResProblem(np.eye(2), [0.5, 0.5], mask=[False, False])


def test_predicting_other_rows(rng):
    """A group of its own for each new market; by default one group."""
    A, x, b, ptr = case(rng, [4, 6])
    problem = fs.SoftResProblem(A, b, skip=0.5, group_ptr=ptr)
    B, new, offset = rng.standard_normal((9, 4)), [0, 2, 3, 9], rng.uniform(1, 2, 9)
    got = problem.predict(x, B, group_ptr=new, offset=offset)
    wanted = [fs.softres(B[i:j] @ x + offset[i:j], skip=0.5) for i, j in itertools.pairwise(new)]
    np.testing.assert_allclose(got, np.concatenate(wanted), rtol=1e-13)
    np.testing.assert_allclose(problem.predict(x, B), fs.softres(B @ x, skip=0.5), rtol=1e-12)
    by_label = problem.predict(x, B, groups=np.repeat(["p", "q", "r"], np.diff(new)), offset=offset)
    np.testing.assert_array_equal(by_label, got)
    with pytest.raises(TypeError, match="give A as well"):
        problem.predict(x, group_ptr=ptr)


def test_some_rows_of_a_problem(rng):
    """What ``rows`` keeps of each group, and that groups without a row are left out."""
    A, x, b, ptr = case(rng, [4, 6, 3, 5], skip=0.5)
    w, offset, weights = rng.exponential(size=18), rng.uniform(0, 1, 18), np.array([1.0, 2.0, 3.0, 4.0])
    problem = fs.SoftResProblem(
        A, b, skip=0.5, group_ptr=ptr, group_weights=weights, row_ridge=w, offset=offset
    )
    picked = np.array([0, 2, 2, 4, 9, 13, 14, 17])
    part = problem.rows(picked)
    np.testing.assert_array_equal(part.group_ptr, [0, 3, 5, 8])
    true = reference.plain(
        A[picked], x, b[picked], 0.5, w[picked], ptr=[0, 3, 5, 8], weights=[1, 2, 4], offset=offset[picked]
    )
    assert part.value(x) == pytest.approx(true.value, rel=1e-12, abs=0)
    np.testing.assert_allclose(part.grad(x), true.grad, rtol=1e-9, atol=1e-12)
    assert part.with_penalty(row_ridge=0.0).value(x) < part.value(x)


class TestSolve:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("skip", [0.0, 1.0])
    @pytest.mark.parametrize("sizes", [[5, 1, 7, 3, 9, 4] * 6, [300, 4, 500, 2]])
    def test_every_method_finds_scipys_minimum(self, sizes, skip, method, rng):
        """The same minimum as SciPy's trust-exact on the plain formulas from the same start."""
        from scipy import optimize

        A, x, b, ptr = case(rng, sizes, skip=skip)
        noise = np.exp(0.3 * rng.standard_normal(ptr[-1]))
        u = np.exp(A @ x) + skip * (A @ x)
        b = u * noise
        b /= np.repeat(np.add.reduceat(b, ptr[:-1]), np.diff(ptr))
        weights = rng.uniform(0.5, 2, len(sizes))
        problem = fs.SoftResProblem(A, b, skip=skip, group_ptr=ptr, group_weights=weights)
        result = fs.solve(problem, 0.9 * x, method=method)
        assert result.success, result.message

        def plain(x):
            return reference.plain(A, x, b, skip, ptr=ptr, weights=weights)

        found = optimize.minimize(
            lambda x: plain(x).value, 0.9 * x, jac=lambda x: plain(x).grad, hess=lambda x: plain(x).hess,
            method="trust-exact", options={"gtol": 1e-12},
        )  # fmt: skip
        assert result.fun == pytest.approx(found.fun, rel=1e-9, abs=0)
        np.testing.assert_allclose(result.x, found.x, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("skip", [0.0, 1.0])
    def test_attainable_target_is_found_without_a_start(self, skip, dtype, rng):
        """The closed form, a constant for each group, leads to the x of the target; so do more starts."""
        A, x, _, ptr = case(rng, [8, 12, 5, 400, 9, 30], dtype=dtype, skip=skip)
        b = np.concatenate([fs.softres(A[i:j] @ x, skip=skip) for i, j in itertools.pairwise(ptr)])
        problem = fs.SoftResProblem(A, b, skip=skip, group_ptr=ptr)
        for n_starts in ("auto", 3):
            result = fs.solve(problem, n_starts=n_starts, rng=0)
            assert result.success
            np.testing.assert_allclose(result.x, x, atol=1e-7 if dtype == np.float64 else 1e-3)

    @pytest.mark.parametrize("loss", ["least-squares", "kl"])
    def test_path(self, loss, rng):
        """Each fit of a path is the fit on its own."""
        A, _, b, ptr = case(rng, [6, 9, 12, 280])
        problem = fs.SoftResProblem(A, b, skip=0, loss=loss, group_ptr=ptr)
        ridges = [1.0, 0.1, 0.01]
        path = fs.solve_path(problem, ridge=ridges)
        for result, ridge in zip(path, ridges, strict=True):
            alone = fs.solve(problem.with_penalty(ridge=ridge))
            assert result.success
            np.testing.assert_allclose(result.x, alone.x, rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize("method", METHODS)
    def test_many_small_groups(self, method, rng):
        """30,000 groups: several chunks, sampled starts, sampled preconditioner."""
        ptr = reference.ragged(rng, 30_000, 6)
        A, x = rng.standard_normal((ptr[-1], 6)), rng.standard_normal(6)
        e = np.exp(A @ x)
        b = e / np.repeat(np.add.reduceat(e, ptr[:-1]), np.diff(ptr))
        result = fs.solve(fs.SoftResProblem(A, b, skip=0, group_ptr=ptr), method=method)
        assert result.success
        np.testing.assert_allclose(result.x, x, rtol=1e-5)


def test_nothing_of_the_size_of_groups_times_columns(rng):
    """1e5 groups, 64 columns: means of all groups would be 51 MB; each pass stays below 13 MB."""
    g, d = 100_000, 64
    A = rng.standard_normal((2 * g, d), dtype=np.float32)
    b = np.tile([0.4, 0.6], g)
    problem = fs.SoftResProblem(A, b, skip=0.5, group_ptr=np.arange(0, 2 * g + 1, 2))
    x, t = np.full(d, 0.05), np.ones(d)
    problem.hessian(x).to_dense()  # compile
    rows = 8 * (2 * g)  # one row vector

    def peak(work):
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    size = 4 * g * d
    assert peak(lambda: problem.at(x)) <= 8 * rows < size
    point = problem.at(x)
    assert peak(lambda: point.hessp(t)) <= 8 * rows
    assert peak(lambda: point.hessian().to_dense()) <= 8 * rows
    assert peak(lambda: point.hessian().gauss_newton()) <= 8 * rows
    assert point.means.size == 0


@given(
    st.lists(st.integers(1, 12) | st.integers(240, 300), min_size=1, max_size=20),
    st.integers(1, 12),
    st.sampled_from([("least-squares", 0.0), ("least-squares", 1.0), ("kl", 0.0)]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=80)
def test_ragged_groups(sizes, d, model, penalised, seed):
    """Whatever the groups: value, gradient, product and Hessian are those of the textbook formulas."""
    (loss, skip), rng = model, np.random.default_rng(seed)
    A, x, b, ptr = case(rng, sizes, d, skip=skip)
    weights = rng.exponential(size=len(sizes))
    w, ridge = (rng.exponential(size=ptr[-1]), 0.3) if penalised else (0.0, 0.0)
    offset = rng.uniform(0.5, 1.5, ptr[-1])
    offset += np.maximum(-(A @ x + offset), 0.0)  # z >= 0: alpha of a group is at least its number of rows
    problem = fs.SoftResProblem(
        A,
        b,
        skip=skip,
        loss=loss,
        group_ptr=ptr,
        group_weights=weights,
        row_ridge=w,
        ridge=ridge,
        offset=offset,
    )
    true = reference.plain(A, x, b, skip, w, ridge, ptr, weights, offset, loss == "kl")
    point = problem.at(x)
    assert point.value == pytest.approx(true.value, rel=1e-11, abs=1e-14)
    assert (abs(point.grad - true.grad) <= 1e-12 * true.terms + 1e-300).all()
    size = np.linalg.norm(
        abs(A).T @ (np.repeat(weights, sizes)[:, None] * (1 + abs(A).sum(1) + w)[:, None] * abs(A))
    )
    dense = point.hessian().to_dense()
    assert np.linalg.norm(dense - true.hess) <= 1e-11 * (np.linalg.norm(true.hess) + size)
    assert np.linalg.norm(point.hessian().gauss_newton() - true.gauss_newton) <= 1e-11 * size + 1e-11
    t = rng.standard_normal(d)
    assert np.linalg.norm(point.hessp(t) - dense @ t) <= 1e-11 * np.linalg.norm(t) * (1 + size)
    np.testing.assert_allclose(point.f, true.f, rtol=1e-11)


class TestSpans:
    """groups.py: which groups a chunk holds."""

    @given(st.lists(st.integers(1, 400), min_size=1, max_size=12), st.data())
    def test_groups_of_a_chunk(self, sizes, data):
        groups = Groups(offsets_of(sizes), np.arange(len(sizes)) + 1.0)
        n = int(groups.ptr[-1])
        start = data.draw(st.integers(0, n - 1))
        stop = data.draw(st.integers(start + 1, n))
        span = groups.span(start, stop)
        of = np.repeat(np.arange(len(sizes)), sizes)[start:stop]
        assert (span.first, span.last) == (of[0], of[-1] + 1)
        np.testing.assert_array_equal(span.ptr, groups.ptr[span.first : span.last + 1])
        np.testing.assert_array_equal(span.weight, np.unique(of) + 1.0)
        assert span.head == (groups.ptr[of[0]] < start)
        assert span.tail == (groups.ptr[of[-1] + 1] > stop)
        cut = [g for g in (of[0], of[-1]) if groups.ptr[g] < start or groups.ptr[g + 1] > stop]
        assert [g for _, g in span.cut] == sorted(set(cut))

    @given(st.lists(st.integers(1, 700), min_size=1, max_size=30), st.integers(1, 500))
    def test_chunks_cut_long_groups_only(self, sizes, step):
        ptr = offsets_of(sizes)
        n = int(ptr[-1])
        groups = Groups(ptr, borders=range(step, n, step) if len(sizes) == 1 else ())
        bounds = groups.aligned([(i, min(i + step, n)) for i in range(0, n, step)])
        assert [bounds[0][0], *[stop for _, stop in bounds]] == [0, *[start for start, _ in bounds[1:]], n]
        for start, _ in bounds:
            assert start in ptr or groups.kept[np.searchsorted(ptr, start) - 1] >= 0

    def test_groups_across_borders_are_kept(self):
        groups = Groups(offsets_of([5, 300, 2, 8, 3]), borders=[5, 310, 318])
        np.testing.assert_array_equal(groups.kept, [-1, 0, -1, 1, -1])
        assert groups.n_kept == 2


def test_row_vectors_are_used_again_when_nobody_holds_them():
    """The memory of a vector that a view still shows is left alone; then it serves the next vector."""
    groups = Groups.one(50_000)
    vector = groups.row_vector()
    address, part = vector.ctypes.data, vector[7:9]
    vector[:] = 1.0
    del vector
    other = groups.row_vector()
    other[:] = 2.0
    assert other.ctypes.data != address
    assert part.tolist() == [1.0, 1.0]
    del part
    assert groups.row_vector(1).ctypes.data == address
    assert pickle.loads(pickle.dumps(groups)).row_vector().shape == (50_000,)
