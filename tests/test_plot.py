"""fastsoftres/plot.py: what is drawn is read back from the axes."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftres as fs

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from fastsoftres import plot  # noqa: E402


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture
def problem(rng):
    A = rng.standard_normal((80, 2))
    ptr = np.arange(0, 81, 10)
    b = fs.softres((A @ [1.0, -0.5]).reshape(8, 10), skip=0, axis=1).reshape(-1)
    return fs.SoftResProblem(A, b, skip=0, group_ptr=ptr)


def test_fit_shows_target_and_fit(problem):
    ax = plot.fit(problem, [0.2, 0.1])
    at = ax.collections[0].get_offsets()
    np.testing.assert_allclose(at[:, 0], problem.b)
    np.testing.assert_allclose(at[:, 1], problem.predict([0.2, 0.1]))
    given = plt.figure().add_subplot()
    assert plot.fit(problem, fs.solve(problem), ax=given) is given


def test_convergence_has_a_line_a_run(problem):
    runs = [fs.solve(problem, [0.0, 0.0], method=m) for m in ("newton", "lbfgs")]
    ax = plot.convergence({"a": runs[0], "b": runs[1]})
    assert [line.get_label() for line in ax.lines] == ["a", "b"]
    np.testing.assert_allclose(ax.lines[0].get_ydata()[0], runs[0].history[0]["gradient"])
    assert len(plot.convergence(runs).lines) == 2
    with pytest.raises(ValueError, match="at least one"):
        plot.convergence([])


def test_coefficients_have_their_intervals(problem):
    table = fs.inference(problem, fs.solve(problem), "cluster")
    ax = plot.coefficients(table)
    np.testing.assert_allclose(ax.lines[1].get_xdata(), table.coefficient)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x0", "x1"]


@pytest.mark.filterwarnings("ignore:b .*sums to")
def test_landscape_marks_barrier_plateau_and_minima(problem):
    ax = plot.landscape(problem, fs.solve(problem), grid=9, radius=30.0, minima=[[0.0, 0.0]])
    labels = ax.get_legend_handles_labels()[1]
    assert "barrier alpha = 0" not in labels
    assert len([line for line in ax.lines if line.get_marker() in ("*", "^")]) == 2
    resnet = fs.SoftResProblem(np.abs(problem.A[:6]), [1 / 6] * 6, skip=1)
    ax = plot.landscape(resnet, [0.0, 0.0], grid=31, radius=6.0)
    assert "barrier alpha = 0" in ax.get_legend_handles_labels()[1]
    one_hot = fs.SoftResProblem(problem.A[:6], [1.0, 0, 0, 0, 0, 0], skip=0)
    ax = plot.landscape(one_hot, [0.0, 0.0], grid=15, radius=60.0)
    assert "plateau (hatched)" in ax.get_legend_handles_labels()[1]
    with pytest.raises(ValueError, match="directions must have shape"):
        plot.landscape(problem, [0.0, 0.0], directions=[1.0])
    with pytest.raises(ValueError, match="at least two columns"):
        plot.landscape(fs.SoftResProblem([[1.0], [0.0]], [0.5, 0.5]), [0.0])


def test_profile_is_the_share_solved_within_tau():
    ax = plot.profile({"a": [1.0, 1.0, np.inf, 2.0], "b": [3.0, 4.0, 1.0, 1.0]})
    line = next(line for line in ax.lines if line.get_label() == "a")
    assert line.get_ydata()[0] == 0.5
    assert line.get_ydata()[-1] == 0.75
    with pytest.raises(ValueError, match="at least one solver"):
        plot.profile({})


def test_roofline_is_the_lower_of_two_limits():
    ax = plot.roofline({"k": (0.5, 1e9)}, bandwidth=4e9, peak=1e11)
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(y, np.minimum(100.0, 4.0 * x))
    assert ax.texts[0].get_text() == "k"
