"""The command line: exit codes, what is printed, what is written."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import OptimizeResult

import fastsoftres as fs
from fastsoftres import __main__ as entry
from fastsoftres.cli import fitting, plots, progress, writing
from fastsoftres.cli.app import fastsoftres
from fastsoftres.data import load_automobiles
from fastsoftres.data.automobiles import AUTOMOBILES
from fastsoftres.data.errors import InputError

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a small exact problem: A.npy, b.npy, x.npy."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(7)
    A, x = rng.standard_normal((40, 3)), np.array([0.5, -1.0, 0.25])
    np.save("A.npy", A)
    np.save("b.npy", fs.softres(A @ x, skip=1))
    np.save("x.npy", x)
    return tmp_path


def run(*arguments, code=0):
    result = CliRunner().invoke(fastsoftres, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def refused(*arguments):
    """Exit code 2, nothing on stdout, one line on stderr; the line."""
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert re.fullmatch(r"Error: [^\n]+\n", result.stderr)
    return result.stderr


def test_no_arguments_fit_the_bundled_data_twice(folder):
    output = run("fit").stdout
    size = "A 2237 x 6 float64, 20 groups (market 1971, ..., 1990) of 73 to 151 rows, b sums to 1 in each"
    assert size in output
    assert "minimise the sum over groups of ½‖f - b‖² over x" in output
    assert "f = u / Σu (of the row's group)    u = exp(z) + λz    z = Ax" in output
    assert output.count("Converged: ") == 2
    A, b, features, group_ptr, _ = load_automobiles(None)
    fits = [fs.solve(fs.SoftResProblem(A, b, skip=skip, group_ptr=group_ptr)) for skip in (1, 0)]
    lines = {line.split("  ")[0].strip(): line for line in output.splitlines()}
    assert lines["coefficient"].split()[1:] == ["λ", "=", "1", "λ", "=", "0"]
    for j, name in enumerate(features):
        printed = [float(text) for text in lines[name].split()[1:]]
        np.testing.assert_allclose(printed, [fit.x[j] for fit in fits], rtol=1e-6)
    assert lines["relative error ‖f - b‖/‖b‖"].split()[-2:] == [f"{fit.fit['relative']:.4g}" for fit in fits]
    assert re.search(r"negative fitted shares +\d+ of 2237 +0 of 2237\n", output)
    assert Path("fit.png").read_bytes().startswith(PNG)
    assert sorted(os.listdir()) == ["A.npy", "b.npy", "fit.png", "x.npy"]  # nothing half-written is left


def test_the_bundled_table_as_a_file_gives_the_same_fit(folder):
    options = "--target shares --features prices,hpwt,air,mpd,space --group market --outside add --constant"
    table = (AUTOMOBILES, *options.split())
    for only in ((), ("--only", 1990)):
        run("fit", *table, *only, "--skip", 0, "--no-plot", "--out", "a.npy")
        run("fit", *only, "--skip", 0, "--no-plot", "--out", "b.npy")
        np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))
    A, b, _ = load_automobiles(1990)
    np.testing.assert_array_equal(np.load("a.npy"), fs.solve(fs.SoftResProblem(A, b, skip=0)).x)


def fitted(*arguments):
    """The coefficients of a command that has nothing to note."""
    assert run("fit", *arguments, "--no-plot", "--out", "fitted.npy").stderr == ""
    return np.load("fitted.npy")


@pytest.fixture
def markets(folder):
    """Three markets of goods whose shares leave something, their rows not in order; numbers of every kind."""
    rng = np.random.default_rng(3)
    labels = np.array(["Oslo", "Bergen", "Molde"])[rng.permutation(np.repeat([0, 1, 2], [5, 8, 4]))]
    A = rng.standard_normal((17, 2))
    b = rng.uniform(0.5, 1.5, 17)
    order = np.concatenate([np.flatnonzero(labels == name) for name in dict.fromkeys(labels)])
    size = {"Oslo": 2.0, "Bergen": 0.5, "Molde": 1.0}
    table = {
        "place": labels, "p": A[:, 0], "q": A[:, 1],
        "s": 0.6 * b / np.array([b[labels == label].sum() for label in labels]),
        "size": np.array([size[label] for label in labels]),
        "known": rng.standard_normal(17),
        "here": rng.permutation(np.repeat([0, 1], [3, 14])),
    }  # fmt: skip
    with open("markets.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
    return table, order


def by_hand(table, order, *, outside, mask=None):
    """Arguments of the problem that the table makes, market by market in the order of the rows."""
    A, b, w, o, ptr, weights = [], [], [], [], [0], []
    for label in dict.fromkeys(table["place"].tolist()):
        rows = [i for i in order if table["place"][i] == label and (mask is None or mask[i])]
        A += [[table["p"][i], table["q"][i]] for i in rows]
        b += [table["s"][i] for i in rows]
        w += [0.01 * i for i in rows]
        o += [table["known"][i] for i in rows]
        if outside:
            A.append([0.0, 0.0])
            b.append(1.0 - sum(table["s"][i] for i in rows))
            w.append(0.0)
            o.append(0.0)
        ptr.append(len(A))
        weights.append(table["size"][rows[0]])
    return {"A": A, "b": b, "row_ridge": w, "offset": o, "group_ptr": ptr, "group_weights": weights}


def test_groups_weights_offsets_and_masks_of_a_table(markets):
    table, order = markets
    np.save("w.npy", 0.01 * np.arange(17))
    options = ["--target", "s", "--features", "p,q", "--group", "place"]
    more = ["--outside", "add", "--group-weight", "size", "--offset", "known", "--mask", "here"]
    got = fitted("markets.csv", *options, *more, "--row-ridge", "w.npy", "--skip", 0)
    wanted = fs.SoftResProblem(**by_hand(table, order, outside=True, mask=table["here"]), skip=0)
    np.testing.assert_allclose(got, fs.solve(wanted).x, rtol=1e-9)
    got = fitted("markets.csv", *options, "--loss", "kl")
    hand = by_hand(table, order, outside=False)
    wanted = fs.SoftResProblem(hand["A"], hand["b"], skip=0, loss="kl", group_ptr=hand["group_ptr"])
    np.testing.assert_allclose(got, fs.solve(wanted).x, rtol=1e-9)


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("by", ["labels", "offsets"])
def test_groups_weights_offsets_and_masks_of_arrays(markets, outside, masked, by):
    table, order = markets
    rows = np.arange(17) if by == "labels" else order
    sizes = [np.sum(table["place"] == label) for label in dict.fromkeys(table["place"].tolist())]
    np.savez(
        "all.npz", A=np.column_stack([table["p"], table["q"]])[rows],
        b=table["s"][rows] / (1.0 if outside else 0.6), groups=table["place"][rows],
        group_ptr=np.cumsum([0, *sizes]), row_ridge=0.01 * rows, offset=table["known"][rows],
        mask=table["here"][rows],
    )  # fmt: skip
    hand = by_hand(table, order, outside=outside, mask=table["here"] if masked else None)
    if not outside:
        hand["b"] = np.array(hand["b"]) / 0.6
    np.savetxt("weights.csv", hand["group_weights"])
    options = ["--row-ridge", "all.npz", "--offset", "all.npz", "--group-weight", "weights.csv", "--skip", 0]
    options += ["--groups", "all.npz"] if by == "labels" else ["--group-ptr", "all.npz"]
    options += ["--outside", "add"] if outside else []
    options += ["--mask", "all.npz"] if masked else []
    result = run("fit", "all.npz", *options, "--no-plot", "--out", "x.npy")
    assert ("A is copied once" in result.stderr) == (by == "labels" and not outside)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "b of group .* sums to")  # where the mask takes a share out
        wanted = fs.solve(fs.SoftResProblem(**hand, skip=0))
    np.testing.assert_allclose(np.load("x.npy"), wanted.x, rtol=1e-8, atol=1e-10)


def test_a_picture_of_several_groups_has_a_panel_for_each(markets, monkeypatch):
    figures = []
    draw = plots.draw
    monkeypatch.setattr(plots, "draw", lambda *arguments: figures.append(draw(*arguments)) or figures[-1])
    run("fit")
    run("fit", "markets.csv", "--target", "s", "--features", "p,q", "--group", "place", "--outside", "add")
    bundled, small = figures
    titles = [axes.get_title() for axes in bundled.axes]
    lower = ["Relative error of each group", "The outside good", "Loss against iterations"]
    assert titles == [*map(str, range(1971, 1991)), *lower]
    data = load_automobiles(None)
    for axes, start, stop in zip(bundled.axes, data.group_ptr, data.group_ptr[1:] - 1, strict=False):
        drawn = np.concatenate([line.get_xdata() for line in axes.lines[1:]])  # the first is the diagonal
        np.testing.assert_array_equal(np.sort(drawn), np.sort(np.tile(data.b[start:stop], 2)))
    np.testing.assert_array_equal(bundled.axes[21].lines[0].get_ydata(), data.b[data.group_ptr[1:] - 1])
    assert sorted(axes.get_title() for axes in small.axes[:3]) == ["Bergen", "Molde", "Oslo"]


def test_a_picture_of_many_groups_ranks_them(folder, monkeypatch):
    figures = []
    draw = plots.draw
    monkeypatch.setattr(plots, "draw", lambda *arguments: figures.append(draw(*arguments)) or figures[-1])
    rng = np.random.default_rng(1)
    A = rng.standard_normal((120, 2))
    b = rng.dirichlet(np.ones(4), 30).reshape(-1)
    np.savez("many.npz", A=A, b=b, group_ptr=np.arange(0, 121, 4))
    run("fit", "many.npz", "--group-ptr", "many.npz", "--skip", 0)
    axes = figures[0].axes[1]
    assert axes.get_title() == "Error of each group"
    errors = axes.lines[0].get_ydata()
    assert errors.size == 30
    assert (np.diff(errors) >= 0.0).all()
    x = fs.solve(fs.SoftResProblem(A, b, skip=0, group_ptr=np.arange(0, 121, 4))).x
    f = np.exp(A @ x).reshape(30, 4)
    f /= f.sum(axis=1, keepdims=True)
    wanted = np.linalg.norm(f - b.reshape(30, 4), axis=1) / np.linalg.norm(b.reshape(30, 4), axis=1)
    np.testing.assert_allclose(errors, np.sort(wanted), rtol=1e-6)


def test_bundled_defaults_can_be_changed_one_by_one(folder):
    output = run(
        "fit", "--only", 1971, "--features", "prices, air", "--no-constant", "--skip", 0, "--no-plot"
    ).stdout
    assert "market 1971, outside good added" in output
    assert "A 93 x 2 float64" in output


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "one npz"])
def test_two_arrays_from_each_kind_of_file(folder, kind):
    A, b, x = np.load("A.npy"), np.load("b.npy"), np.load("x.npy")
    files = [f"A.{kind}", f"b.{kind}"]
    if kind == "npz":
        np.savez("A.npz", A=A)
        np.savez("b.npz", b=b)
    elif kind == "csv":
        np.savetxt("A.csv", A, delimiter=",", header="p,q,r", comments="", fmt="%.17g")
        np.savetxt("b.csv", b, fmt="%.17g")
    elif kind == "one npz":
        np.savez("both.npz", A=A, b=b)
        files = ["both.npz"]
    output = run("fit", *files, "--no-plot", "--out", "out.csv").stdout
    assert "λ = 1, softmax-ResNet regression" in output
    with open("out.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["feature", "skip=1"]
    assert [row[0] for row in rows[1:]] == (["p", "q", "r"] if kind == "csv" else ["x0", "x1", "x2"])
    np.testing.assert_allclose([float(row[1]) for row in rows[1:]], x, atol=1e-7)


def test_options_reach_the_solver(folder, monkeypatch):
    seen = {}

    def solve(problem, **options):
        seen.update(options, threads=fs.get_num_threads(), problem=problem)
        return fs.solve(problem)

    monkeypatch.setattr(fitting, "solve", solve)
    np.savetxt("w.csv", np.arange(40.0))
    model = "--skip 0.5 --ridge 0.25 --row-ridge w.csv"
    solver = "--method newton-cg --tol 1e-6 --maxiter 7 --threads 3 --starts 2 --max-seconds 60"
    output = run("fit", "A.npy", "b.npy", *model.split(), *solver.split(), "--no-plot").stdout
    assert "½‖f - b‖² + ½ Σ w²z² + ½·0.25 ‖x‖²" in output
    problem = seen.pop("problem")
    assert (problem.skip, problem.ridge) == (0.5, 0.25)
    assert problem.row_ridge.tolist() == list(range(40))
    assert callable(seen.pop("callback"))
    numbers = {"tol": 1e-6, "maxiter": 7, "threads": 3, "n_starts": 2, "max_seconds": 60.0}
    assert seen == {"method": "newton-cg", "checkpoint": None, **numbers}
    assert "½·0.125 ‖z‖²" in run("fit", "A.npy", "b.npy", "--row-ridge", 0.125, "--no-plot").stdout


def test_several_skips_stand_side_by_side_in_the_output_file(folder):
    run("fit", "A.npy", "b.npy", "--skip", 1, "--skip", 0, "--skip", 1, "--no-plot", "--out", "out.npz")
    with np.load("out.npz", allow_pickle=False) as out:
        assert out["x"].shape == (3, 2)
        assert out["skip"].tolist() == [1.0, 0.0]
        assert out["features"].tolist() == ["x0", "x1", "x2"]
    run("fit", "A.npy", "b.npy", "--skip", 1, "--skip", 0, "--no-plot", "--out", "out.csv")
    assert Path("out.csv").read_text().startswith("feature,skip=1,skip=0\nx0,")


def test_not_converged_is_exit_code_1_and_still_reports(folder):
    result = run("fit", "A.npy", "b.npy", "--skip", 0, "--maxiter", 1, "--out", "x.csv", code=1)
    assert "The iteration limit was reached" in result.stdout
    assert re.search(r"converged +no\n", result.stdout)
    assert Path("x.csv").exists()
    assert Path("fit.png").exists()


def test_an_interrupt_reports_the_best_point_so_far(folder, monkeypatch):
    def solve(problem, **options):
        stop = KeyboardInterrupt()
        stop.result = fs.solve(problem, maxiter=1)
        raise stop

    monkeypatch.setattr(fitting, "solve", solve)
    output = run("fit", "--no-plot", code=1).stdout
    assert "Interrupted; this is the best point so far" in output
    assert "λ = 1" in output
    assert re.search(r"converged +no\n", output)  # one column: the second model is not begun


def test_a_target_that_does_not_sum_to_one_is_noted_on_stderr(folder):
    np.save("b.npy", 3 * np.load("b.npy"))
    result = run("fit", "A.npy", "b.npy", "--skip", 0, "--skip", 1, "--no-plot")
    first, second = result.stderr.splitlines()
    assert first == "note: b sums to 3; the fitted values always sum to 1. Fitted as it stands"
    assert "name their column with --group" in second


def test_outside_good_of_two_arrays(folder):
    np.save("b.npy", np.full(40, 0.01))
    np.savetxt("w.csv", np.ones(40))
    options = ("--outside", "add", "--row-ridge", "w.csv", "--no-plot")
    assert "A 41 x 3 float64, b sums to 1" in run("fit", "A.npy", "b.npy", *options).stdout
    np.save("b.npy", np.full(40, 0.03))
    assert "sum to 1.2, above 1" in refused("fit", "A.npy", "b.npy", "--outside", "add")


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_plot_file(folder, suffix):
    run("fit", "A.npy", "b.npy", "--plot-file", f"plot.{suffix}")
    start = Path(f"plot.{suffix}").read_bytes()[:100]
    assert start.startswith({"png": PNG, "pdf": b"%PDF", "svg": b"<?xml"}[suffix])
    assert not Path("fit.png").exists()


def test_plot_of_wide_and_many_targets(folder):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((6000, 2))
    np.savez("$ab_$.npz", A=A, b=fs.softres(3 * A @ [1.0, 0.5], skip=0))
    run("fit", "$ab_$.npz", "--skip", 0, "--skip", 1, "--no-constant")
    assert Path("fit.png").stat().st_size > 10_000


BAD = {
    "no such file": "no.npy b.npy",
    "must end in one of": "A.txt b.npy",
    "and the target?": "A.npy",
    "40 numbers for": "wide.npy b.npy",
    "matrix is wanted": "b.npy b.npy",
    "single column or row": "A.npy A.npy",
    "must be finite, got nan at row 2, column 1": "nan.npy b.npy",
    "nanb.npy: the vector must be finite": "A.npy nanb.npy",
    "not a text file": "binary.csv b.npy",
    "line 3, column q: 'x' is not a number": "cell.csv b.npy",
    "--features is missing": "table.csv --target s",
    "--target is missing": "table.csv --features p",
    "no column 'z'; there are g, s, p": "table.csv --target s --features z",
    "'p' is there twice": "table.csv --target s --features p,p",
    "is not a list of names": "table.csv --target s --features p,,s",
    "'w' has 1 and 2 in g 'a'": "weights.csv --target s --features p --group g --group-weight w",
    "the shares of g 'a' sum to 1.25, above 1": "weights.csv --target s --features p --group g --outside add",
    "line 3, column m: 0 or 1 is wanted": "weights.csv --target s --features p --mask m",
    "line 2, column h: the cell is empty": "weights.csv --target s --features p --group h",
    "of a table name a column with --group": "table.csv --target s --features p --groups A.npy",
    "of the bundled data name a column": "--group-ptr A.npy",
    "group_ptr must run from 0 to the number of rows (40), got 0 to 3": "A.npy b.npy --group-ptr short.csv",
    "whole numbers are wanted": "A.npy b.npy --group-ptr b.npy",
    "group_weights must have one entry for each group (1), got 3": "A.npy b.npy --group-weight short.csv",
    "3 numbers for 40 rows of A": "A.npy b.npy --mask short.csv",
    "a mask holds 0 and 1 (or booleans), got": "A.npy b.npy --mask w.npy",
    "one label for each row of A (40)": "A.npy b.npy --groups short.csv --outside add",
    "loss='kl' needs skip=0": "A.npy b.npy --loss kl --skip 1",
    "'--loss'": "A.npy b.npy --loss l1",
    "has no value 'c'; it has a, b": "table.csv --target s --features p --group g --only c",
    "name the column with --group": "table.csv --target s --features p --only a",
    "leave out [b]": "A.npy b.npy --target s",
    "pick columns of a .csv": "A.npy --target s",
    "ridge must be finite": "A.npy b.npy --ridge nan",
    "'--skip': -1.0 is not in the range": "--skip -1",
    "'--threads'": "--threads 0",
    "'--tol'": "--tol 0",
    "'--method'": "--method bfgs",
    "neither a number nor": "--row-ridge many",
    "No such option": "--wrong",
    "unexpected extra argument": "A.npy b.npy c.npy",
    ".csv, .npz, .npy": "--out x.txt",
    "no such folder": "--out nowhere/x.csv",
    "is a folder": "--out folder.csv",
    ".png, .pdf, .svg": "--plot-file fit.bmp",
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_line_and_exit_code_2(folder, message):
    A, b = np.load("A.npy"), np.load("b.npy")
    np.save("wide.npy", A.T)
    A[2, 1] = b[3] = np.nan
    np.save("nan.npy", A)
    np.save("nanb.npy", b)
    Path("binary.csv").write_bytes(b"\xff\xfe\x00")
    Path("cell.csv").write_text("p,q\n1,2\n3,x\n")
    np.save("w.npy", np.full(40, 0.5))
    np.savetxt("short.csv", [0, 1, 3])
    Path("weights.csv").write_text("g,s,p,w,m,h\na,0.5,1,1,0,\na,0.75,2,2,2,x\n")
    Path("table.csv").write_text("g,s,p\na,0.5,1\nb,0.25,2\n")
    Path("folder.csv").mkdir()
    assert message in refused("fit", *BAD[message].split())
    assert not Path("fit.png").exists()


def test_wrong_commands_are_one_line_too():
    assert "No such command 'fti'" in refused("fti")
    assert "No such option" in refused("--wrong")


def test_help_and_version():
    assert "fit" in run().stdout
    assert "--row-ridge" in run("fit", "--help").stdout
    assert fs.__version__ in run("--version").stdout


def test_a_failing_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("old")

    def fail():
        with writing.replacing(path) as draft:
            draft.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert os.listdir(tmp_path) == ["x.csv"]
    assert path.read_text() == "old"
    with (
        pytest.raises(InputError, match="cannot be written"),
        writing.replacing(tmp_path / "no" / "x.csv") as draft,
    ):
        draft.write_text("never")


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "x.csv").write_text("old")
    link = tmp_path / "link.csv"
    try:
        link.symlink_to("x.csv")
    except OSError:
        pytest.skip("no symbolic links here")
    with writing.replacing(link) as draft:
        draft.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "x.csv").read_text() == "new"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def rows(count):
    return [
        {"nit": i, "fun": 1.0 / (i + 1), "gradient": 1.0, "step": 1.0, "largest_dz": 1.0}
        for i in range(count)
    ]


def told(*counts, best=0):
    """Tell the table of runs with so many iterations, and of the best of them."""
    starts = [{"start": f"start {i}"} for i in range(len(counts))]
    with progress.IterationTable(1000) as table:
        for count in counts:
            for row in rows(count)[1:]:
                table(OptimizeResult(row))
        table.finish(OptimizeResult(history=rows(counts[best]), start=f"start {best}", starts=starts))


def test_iterations_are_printed_more_rarely_as_they_go(capsys):
    told(456)
    printed = capsys.readouterr()
    numbers = [int(line.split()[0]) for line in printed.out.splitlines()[1:]]
    assert numbers == [*range(1, 21), *range(30, 201, 10), 300, 400, 455]
    assert printed.err == ""  # no progress line where stderr is not a terminal


def test_the_first_of_several_runs_is_followed_and_the_lowest_is_shown(capsys):
    told(3, 4)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["iter", "1", "2"]
    told(3, 4, best=1)
    printed = capsys.readouterr().out.splitlines()
    assert "another start, start 1:" in printed[3]
    assert [line.split()[0] for line in printed[4:]] == ["0", "1", "2", "3"]


def test_a_progress_line_appears_on_a_terminal_after_a_while_only(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    told(30)
    assert terminal.getvalue().strip() == ""
    monkeypatch.setattr(progress, "_DELAY", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    told(30)
    assert "of at most 1000 iterations" in terminal.getvalue()


def test_missing_packages_give_a_hint(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tqdm" else object())
    with pytest.raises(SystemExit) as stop:
        entry.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        'fastsoftres: the command line needs tqdm: pip install "fastsoftres[cli]"\n'
    )


def test_the_library_imports_nothing_of_the_command_line():
    code = (
        "import sys, fastsoftres, fastsoftres.data, fastsoftres.cli;"
        "sys.exit(bool({'click', 'tqdm', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_python_m(folder):
    done = subprocess.run(
        [sys.executable, "-m", "fastsoftres", "fit", "A.npy", "b.npy", "--no-plot"],
        capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"? = 1" in done.stdout  # a terminal without λ
