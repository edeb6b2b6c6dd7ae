"""fastsoftres/solvers/: arguments, callbacks, counts of reads, several starts and paths, against what the
docstring of ``solve`` promises, reads of A counted at their source, and fits made one by one."""

from __future__ import annotations

import copy
import itertools
import re

import numpy as np
import pytest
from outside import Plain

import fastsoftres as fs
from fastsoftres.solvers import small
from fastsoftres.sources import DenseRows

KNOWN = "method must be one of auto, newton, newton-cg, approx-newton, lbfgs, got "
METHODS = ("newton", "newton-cg", "approx-newton", "lbfgs")
STOPPED, MAXITER = 6, 1


@pytest.fixture
def problem(rng) -> fs.SoftResProblem:
    """Noisy: several iterations from anywhere, several starts by default."""
    A = rng.standard_normal((120, 4))
    return fs.SoftResProblem(A, rng.dirichlet(np.full(120, 0.5)), skip=1)


@pytest.fixture
def x0() -> np.ndarray:
    """Far enough for several iterations."""
    return np.array([0.8, -0.5, 0.4, 0.6])


# -- callbacks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_callback_sees_every_iteration(problem, x0, method):
    seen = []

    def watch(intermediate_result):
        seen.append(intermediate_result)

    result = fs.solve(problem, x0, method=method, callback=watch)
    assert result.success
    assert [s.nit for s in seen] == list(range(1, result.nit + 1))
    for s, record in zip(seen, result.history[1:], strict=True):
        assert {"x", "fun", "nit", "gradient", "step", "largest_dz"} <= set(s)
        assert s.fun == record["fun"] == pytest.approx(Plain.of(problem).value(s.x), rel=1e-12)
        assert {key: s[key] for key in record} == record
    np.testing.assert_allclose(seen[-1].x, result.x, rtol=1e-12)
    steps = np.diff(np.array([x0, *(s.x for s in seen)]), axis=0)
    moved = [np.abs(problem.A @ step).max() for step in steps]
    np.testing.assert_allclose([s.largest_dz for s in seen], moved, rtol=1e-6, atol=1e-14)


def test_callback_may_keep_and_change_what_it_sees(problem, x0):
    expected = fs.solve(problem, x0)

    def spoil(intermediate_result):
        intermediate_result.x[:] = np.nan
        intermediate_result.fun = np.nan

    result = fs.solve(problem, x0, callback=spoil)
    np.testing.assert_array_equal(result.x, expected.x)
    assert result.fun == expected.fun


@pytest.mark.parametrize("method", METHODS)
def test_stop_iteration_ends_the_run_with_the_best_point(problem, x0, method):
    seen = []

    def stop_at_two(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 2:
            raise StopIteration

    result = fs.solve(problem, x0, method=method, callback=stop_at_two)
    assert result.status == STOPPED
    assert not result.success
    assert "stopped by the caller" in result.message
    assert result.nit == 2
    np.testing.assert_array_equal(result.x, seen[-1].x)
    assert result.fun == pytest.approx(Plain.of(problem).value(result.x), rel=1e-12)
    assert result.fun <= min(record["fun"] for record in result.history) * (1.0 + 1e-12)


def test_stop_iteration_ends_further_starts_too(problem):
    def stop(intermediate_result):
        raise StopIteration

    result = fs.solve(problem, callback=stop, n_starts=5)
    assert result.status == STOPPED
    assert len(result.starts) == 1


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("given", [True, False])
def test_any_other_exception_passes_through_with_the_result_so_far(problem, x0, given, method, error):
    seen = []

    def fail(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 3:
            raise error

    with pytest.raises(type(error)) as caught:
        fs.solve(problem, x0 if given else None, method=method, callback=fail)
    assert caught.value is error
    result = error.result
    del error.result
    assert not result.success
    assert result.status == STOPPED
    assert np.isfinite(result.x).all()
    assert result.fun == pytest.approx(Plain.of(problem).value(result.x), rel=1e-12)
    best = min(seen, key=lambda s: s.fun)
    assert result.fun <= best.fun * (1.0 + 1e-12)
    if given:
        np.testing.assert_array_equal(result.x, best.x)
    # nothing of the interrupted call stays behind
    assert fs.solve(problem, x0, method=method).success


def test_interrupt_in_a_later_run_keeps_the_best_of_all(problem):
    first = fs.solve(problem, n_starts=1)
    count = 0

    def fail(intermediate_result):
        nonlocal count
        count += 1
        if count > first.nit:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        fs.solve(problem, n_starts=4, callback=fail)
    result = caught.value.result
    assert len(result.starts) == 2
    assert result.fun <= first.fun * (1.0 + 1e-12)


def test_display_is_a_table(problem, x0, capsys):
    result = fs.solve(problem, x0, disp=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["nit", "objective", "rel.", "gradient", "largest", "dz"]
    assert len({len(line) for line in lines}) == 1
    rows = [line.split() for line in lines[1:]]
    assert [int(row[0]) for row in rows] == list(range(result.nit + 1))
    np.testing.assert_allclose([float(row[1]) for row in rows], [h["fun"] for h in result.history], rtol=1e-5)
    assert float(rows[-1][2]) <= 1e-8


def test_nothing_is_printed_otherwise(problem, capsys):
    fs.solve(problem)
    assert capsys.readouterr() == ("", "")


# -- reads of A ---------------------------------------------------------------------------------


@pytest.fixture
def rows_read(monkeypatch) -> list[int]:
    """Rows handed out by any source, appended as they are read."""
    counted: list[int] = []
    read = DenseRows.read

    def counting(self, start, stop):
        counted.append(stop - start)
        return read(self, start, stop)

    monkeypatch.setattr(DenseRows, "read", counting)
    monkeypatch.setattr(small, "ENTRIES", 0)  # a compiled fit asks a source once, for all rows
    return counted


@pytest.mark.parametrize("options", [{}, {"n_starts": 1}, {"n_starts": 4}, {"x0": True}, {"maxiter": 3}])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_passes_are_the_reads_of_the_matrix(rng, rows_read, x0, skip, method, options):
    problem = fs.SoftResProblem(rng.standard_normal((300, 4)), rng.dirichlet(np.full(300, 0.5)), skip=skip)
    options = {**options, "x0": x0 if "x0" in options else None}
    rows_read.clear()
    result = fs.solve(problem, method=method, **options)
    assert isinstance(result.passes, int)
    assert result.passes == sum(result.pass_counts.values())
    assert all(isinstance(count, int) and count > 0 for count in result.pass_counts.values())
    assert result.passes == sum(rows_read) / 300


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_newton_iteration_reads_the_matrix_three_times(rng, x0, skip):
    """Assembly, A t, gradient; the line search reads nothing, however many steps it tries."""
    problem = fs.SoftResProblem(rng.standard_normal((300, 4)), rng.dirichlet(np.full(300, 0.5)), skip=skip)
    runs = [fs.solve(problem, x0, method="newton", maxiter=k) for k in range(1, 6)]
    assert [run.nit for run in runs] == list(range(1, 6))
    assert all(run.status == MAXITER for run in runs)
    assert set(np.diff([run.passes for run in runs])) == {3}
    for kind in ("assembly", "product", "value_and_grad"):
        assert set(np.diff([run.pass_counts.get(kind, 0) for run in runs])) == {1}, kind
    assert runs[-1].nfev > runs[-1].nit


@pytest.mark.parametrize("method", METHODS)
def test_history_begins_at_the_start_and_never_rises(problem, x0, method):
    result = fs.solve(problem, x0, method=method)
    assert [record["nit"] for record in result.history] == list(range(result.nit + 1))
    fun = [record["fun"] for record in result.history]
    assert fun[0] == pytest.approx(problem.value(x0), rel=1e-14)
    assert all(later <= earlier * (1.0 + 1e-13) for earlier, later in itertools.pairwise(fun))
    assert result.fun == pytest.approx(fun[-1], rel=1e-12)
    assert set(result.history[0]) == {"nit", "fun", "gradient", "step", "largest_dz"}
    assert result.history[0]["step"] == 0.0


# -- several starts -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_number_of_starts(problem, count, method):
    result = fs.solve(problem, method=method, n_starts=count)
    assert len(result.starts) == count
    names = [run["start"] for run in result.starts]
    assert len(set(names)) == count
    assert result.start in names
    assert result.fun <= min(run["fun"] for run in result.starts) * (1.0 + 1e-9)
    if count == 5:
        assert {"zeros", "closed form", "random 1"} <= set(names)
    for run in result.starts:
        assert set(run) == {"start", "fun", "nit", "status"}


def test_given_start_is_the_only_one(problem, x0):
    for n_starts in ("auto", 5):
        result = fs.solve(problem, x0, n_starts=n_starts)
        assert [run["start"] for run in result.starts] == ["x0"]
        assert result.history[0]["fun"] == pytest.approx(problem.value(x0), rel=1e-14)


def test_automatic_number_of_starts(rng):
    """One where b is reproduced, more where a large residual remains, 30 at most."""
    A = rng.standard_normal((60, 3))
    reproduced = fs.solve(fs.SoftResProblem(A, fs.softres(A @ [0.5, 1.0, -0.3], skip=0), skip=0))
    assert len(reproduced.starts) == 1
    unrelated = fs.solve(fs.SoftResProblem(A, rng.dirichlet(np.full(60, 0.2)), skip=0))
    assert 4 <= len(unrelated.starts) <= 30
    lowest = min(run["fun"] for run in unrelated.starts)
    hits = sum(run["fun"] <= lowest * (1 + 1e-6) for run in unrelated.starts)
    assert hits >= 4 or len(unrelated.starts) == 30


def test_one_start_where_rows_are_many(rng):
    """With 28 rows for each column and no barrier a minimum that was found is the best."""
    A = rng.standard_normal((90, 3))
    for _ in range(5):
        b = rng.dirichlet(np.full(90, 0.2))
        result = fs.solve(fs.SoftResProblem(A, b, skip=0))
        assert len(result.starts) == 1
        assert result.fun <= fs.solve(fs.SoftResProblem(A, b, skip=0), n_starts=20).fun * (1 + 1e-6)
    assert len(fs.solve(fs.SoftResProblem(A, b, skip=1)).starts) > 1
    b[np.argmin(b)] -= 1e-9
    assert len(fs.solve(fs.SoftResProblem(A, b, skip=0)).starts) > 1


def identical(one, other):
    """Every number of two results, to the last bit."""
    assert set(one) == set(other)
    for key in one:
        np.testing.assert_equal(one[key], other[key], err_msg=key)


@pytest.mark.parametrize("method", METHODS)
def test_calls_repeat_to_the_last_bit(problem, method):
    identical(fs.solve(problem, method=method), fs.solve(problem, method=method))
    again = fs.SoftResProblem(problem.A.copy(), problem.b, skip=1)
    identical(fs.solve(problem, method=method), fs.solve(again, method=method))


def test_random_starts_follow_the_generator(problem):
    def values(rng):
        return [run["fun"] for run in fs.solve(problem, n_starts=6, rng=rng, maxiter=0).starts]

    assert values(0) == values(np.random.default_rng(0))
    assert values(5) == values(np.random.default_rng(5))
    assert values(0)[-1] != values(5)[-1]
    generator = np.random.default_rng(3)
    assert values(generator)[-1] != values(generator)[-1]  # it is used up, not copied


@pytest.mark.parametrize("n", [150, 40_000])
@pytest.mark.parametrize("method", METHODS)
def test_number_of_threads_changes_no_bit(rng, method, n):
    A = rng.standard_normal((n, 5))
    b = fs.softres(A @ [0.5, 0.2, -0.3, 0.1, 0.4]) * (1.0 + 0.2 * rng.standard_normal(n))
    problem = fs.SoftResProblem(A, b / b.sum())
    with fs.num_threads(1):
        alone = fs.solve(problem, method=method)
    with fs.num_threads(2):
        together = fs.solve(problem, method=method)
    assert alone.success
    identical(alone, together)


# -- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ridge", "row_ridge"])
@pytest.mark.parametrize("method", METHODS)
def test_path_equals_fits_made_one_by_one(rng, name, method):
    A = rng.standard_normal((100, 4))
    b = fs.softres(A @ [0.5, 1.0, -0.3, 0.2], skip=0) * (1.0 + 0.2 * rng.standard_normal(100))
    other = {"ridge": "row_ridge", "row_ridge": "ridge"}[name]
    problem = fs.SoftResProblem(A, b / b.sum(), skip=0, **{other: 1e-5})
    penalties = [1e-1, 1e-3, 1e-5, 0.0]
    path = fs.solve_path(problem, **{name: penalties}, method=method)
    assert isinstance(path, list)
    assert len(path) == 4
    for penalty, result in zip(penalties, path, strict=True):
        cold = fs.solve(
            fs.SoftResProblem(A, problem.b, skip=0, **{name: penalty, other: 1e-5}), method=method
        )
        assert result.success
        assert result.fun == pytest.approx(cold.fun, rel=1e-9)
    sizes = [np.linalg.norm(result.x if name == "ridge" else A @ result.x) for result in path]
    assert sizes == sorted(sizes)  # less penalty, larger fit
    assert getattr(problem, other) is not None
    assert problem.ridge == (0.0 if name == "ridge" else 1e-5)  # the problem stays as it was


def test_path_goes_in_the_order_given(rng, x0):
    problem = fs.SoftResProblem(rng.standard_normal((50, 4)), rng.dirichlet(np.full(50, 3.0)), skip=0)
    up = fs.solve_path(problem, ridge=np.array([1e-4, 1e-2]), x0=x0)
    down = fs.solve_path(problem, ridge=(1e-2, 1e-4))
    for one, other in zip(up, reversed(down), strict=True):
        assert one.fun == pytest.approx(other.fun, rel=1e-9)
    assert up[0].history[0]["fun"] == pytest.approx(problem.with_penalty(ridge=1e-4).value(x0), rel=1e-14)
    assert up[1].start == "x0"
    assert up[1].history[0]["fun"] == pytest.approx(
        problem.with_penalty(ridge=1e-2).value(up[0].x), rel=1e-14
    )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, TypeError, "exactly one of ridge and row_ridge"),
        ({"ridge": [1.0], "row_ridge": [1.0]}, TypeError, "exactly one of ridge and row_ridge"),
        ({"ridge": []}, ValueError, "ridge must be a non-empty sequence"),
        ({"ridge": 1.0}, ValueError, "ridge must be a non-empty sequence of numbers, got 1.0"),
        ({"row_ridge": [[1.0]]}, ValueError, "row_ridge must be a non-empty sequence"),
        ({"ridge": [1.0, -2.0]}, ValueError, "ridge must be finite and >= 0, got -2.0"),
        ({"ridge": [1.0, np.nan]}, ValueError, "ridge must be finite and >= 0, got nan"),
        ({"row_ridge": [1.0, "a"]}, TypeError, "row_ridge must be a real number, got str"),
        ({"ridge": [1.0], "method": "x"}, ValueError, "method must be one of"),
        ({"ridge": [1.0], "x0": [0.0]}, ValueError, "x0 must have one entry for each column of A"),
        ({"ridge": [1.0], "nothing": 1}, TypeError, "nothing"),
    ],
)
def test_wrong_path(problem, arguments, error, words):
    with pytest.raises(error, match=re.escape(words)):
        fs.solve_path(problem, **arguments)


# -- wrong arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"method": "bfgs"}, ValueError, KNOWN + "'bfgs'"),
        ({"method": None}, ValueError, KNOWN + "None"),
        (
            {"method": ["newton"]},
            ValueError,
            "method must be one of auto, newton, newton-cg, approx-newton, lbfgs, got",
        ),
        ({"tol": 0.0}, ValueError, "tol must be finite and > 0, got 0.0"),
        ({"tol": -1e-8}, ValueError, "tol must be finite and > 0, got -1e-08"),
        ({"tol": np.nan}, ValueError, "tol must be finite and > 0, got nan"),
        ({"tol": "1e-8"}, TypeError, "tol must be a real number, got str: '1e-8'"),
        ({"tol": None}, TypeError, "tol must be a real number, got NoneType"),
        ({"tol": True}, TypeError, "tol must be a real number, got bool"),
        ({"maxiter": -1}, ValueError, "maxiter must be at least 0, got -1"),
        ({"maxiter": 2.5}, TypeError, "maxiter must be an integer, got float: 2.5"),
        ({"maxiter": True}, TypeError, "maxiter must be an integer, got bool"),
        ({"callback": 3}, TypeError, "callback must be callable, got int"),
        ({"n_starts": 0}, ValueError, "n_starts must be at least 1, got 0"),
        ({"n_starts": 1.5}, TypeError, "n_starts must be an integer, got float: 1.5"),
        ({"n_starts": "many"}, TypeError, "n_starts must be an integer, got str: 'many'"),
        ({"n_starts": None}, TypeError, "n_starts must be an integer, got NoneType"),
        ({"rng": "seed"}, TypeError, "seed"),
        ({"rng": -1}, ValueError, "seed >= 0"),
        ({"max_seconds": 0}, ValueError, "max_seconds must be finite and > 0, got 0"),
        ({"max_seconds": -1.0}, ValueError, "max_seconds must be finite and > 0, got -1.0"),
        ({"max_seconds": "1"}, TypeError, "max_seconds must be a real number, got str: '1'"),
        ({"x0": [0.0, 1.0]}, ValueError, "x0 must have one entry for each column of A (4), got 2"),
        ({"x0": np.zeros((4, 1))}, ValueError, "x0 must be one-dimensional, got shape (4, 1)"),
        ({"x0": 0.0}, ValueError, "x0 must be one-dimensional, got shape ()"),
        ({"x0": [0.0, np.nan, 0.0, 0.0]}, ValueError, "x0 must be finite, got nan at [1]"),
        ({"x0": [1j, 0, 0, 0]}, TypeError, "x0 must hold real numbers, got dtype complex128"),
        ({"x0": list("abcd")}, TypeError, "x0 must hold real numbers"),
        ({"x0": [1e308, 1e308, 1e308, 1e308]}, ValueError, "the objective is undefined at x"),
        ({"gtol": 1e-8}, TypeError, "gtol"),
    ],
)
def test_wrong_argument_is_named_with_its_value(problem, arguments, error, words):
    with pytest.raises(error, match=re.escape(words)):
        fs.solve(problem, **arguments)


@pytest.mark.parametrize("wrong", [None, 3, np.eye(3), (np.eye(3), np.ones(3))])
def test_wrong_problem(wrong):
    with pytest.raises(TypeError, match=f"problem must be a SoftResProblem, got {type(wrong).__name__}"):
        fs.solve(wrong)


def test_options_are_keywords_only(problem, x0):
    with pytest.raises(TypeError, match="positional"):
        fs.solve(problem, x0, "newton")


def test_numpy_scalars_and_lists_are_taken(problem, x0):
    expected = fs.solve(problem, x0, maxiter=7)
    result = fs.solve(
        problem, x0.tolist(), tol=np.float64(1e-8), maxiter=np.int64(7), n_starts=np.int32(2),
        max_seconds=np.float32(60.0),
    )  # fmt: skip
    identical(expected, result)
    x = x0.astype(np.float32)
    identical(fs.solve(problem, x), fs.solve(problem, x.astype(np.float64)))


# -- what else a call may meet ------------------------------------------------------------------


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("method", METHODS)
def test_tolerance_is_met(problem, x0, method, tol):
    result = fs.solve(problem, x0, method=method, tol=tol, maxiter=500)
    if result.success or method != "lbfgs":  # SciPy's line search may stall before 1e-12
        assert result.success
        assert Plain.of(problem).relative_gradient(result.x) <= 1.1 * tol + 1e-14
    assert not (tol == 1e-3 and result.optimality.gradient < 1e-15)


def test_result_can_be_copied_and_shown(problem):
    result = fs.solve(problem)
    identical(result, copy.deepcopy(result))
    assert "converged" in repr(result)
