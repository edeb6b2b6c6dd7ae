"""The commands beside fit: predict, inference, info, bench; and --json on each."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_cli import folder, refused, run  # noqa: F401  (folder is a fixture)

import fastsoftres as fs
from fastsoftres.cli import bench, machine
from fastsoftres.data import load_automobiles

X = np.array([0.75, -0.5, 0.25])  # constant, p, q


@pytest.fixture
def table(folder):  # noqa: F811
    """train.csv and new.csv: markets with an outside good, rows of a market not together; noisy shares."""
    rng = np.random.default_rng(5)

    def market_table(count, name):
        data = pd.DataFrame(rng.standard_normal((count, 2)), columns=["p", "q"])
        data["market"] = [f"m{i}" for i in rng.permutation(np.arange(count) % (count // 5))]
        data["region"] = data["market"].str[-1]  # some markets each
        u = np.exp(X[0] + data[["p", "q"]].to_numpy() @ X[1:])
        data["true"] = u / (1.0 + pd.Series(u).groupby(data["market"]).transform("sum"))
        data["share"] = data["true"] * rng.uniform(0.9, 1.1, count)
        data.to_csv(name, index=False)
        return data

    return market_table(300, "train.csv"), market_table(35, "new.csv")


COLUMNS = ["--features", "p,q", "--group", "market", "--outside", "add", "--constant"]


def test_predict_applies_the_coefficients_by_their_names(table):
    _, new = table
    run("fit", "train.csv", "--target", "true", *COLUMNS, "--skip", 0, "--no-plot", "--out", "x.csv")
    new[["q", "market", "p"]].to_csv("other.csv", index=False)  # no shares, another order of the columns
    output = run("predict", "x.csv", "other.csv", "--group", "market", "--outside", "add").stdout
    rows = list(csv.reader(io.StringIO(output)))
    assert rows[0] == ["market", "share"]
    assert [row[0] for row in rows[1:]] == new["market"].tolist()
    np.testing.assert_allclose([float(row[1]) for row in rows[1:]], new["true"], rtol=1e-6)


def test_predict_agrees_with_the_library(table):
    train, new = table
    run(
        "fit",
        "train.csv",
        "--target",
        "share",
        *COLUMNS,
        "--skip",
        0,
        "--skip",
        1,
        "--no-plot",
        "--out",
        "x.npz",
    )
    run("predict", "x.npz", "new.csv", "--group", "market", "--outside", "add", "--out", "f.npy")
    shares = np.load("f.npy")
    with np.load("x.npz") as file:
        for j, skip in enumerate((0, 1)):
            problem = fs.SoftResProblem.from_frame(
                train,
                target="share",
                features=["p", "q"],
                group="market",
                outside="add",
                constant=True,
                skip=skip,
            )
            np.testing.assert_allclose(shares[:, j], problem.predict(file["x"][:, j], new), rtol=1e-12)


@pytest.mark.parametrize("outside", [(), ("--outside", "add")])
def test_predict_of_arrays(folder, outside):  # noqa: F811
    A, x = np.load("A.npy"), np.load("x.npy")
    labels = np.arange(40) % 3
    np.save("labels.npy", labels)
    run("predict", "x.npy", "A.npy", "--skip", 0, "--groups", "labels.npy", *outside, "--out", "f.csv")
    u = np.exp(A @ x)
    wanted = u / (np.bincount(labels, u) + bool(outside))[labels]
    with open("f.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["share"]
    np.testing.assert_allclose([float(row[0]) for row in rows[1:]], wanted, rtol=1e-12)


def test_a_masked_row_is_predicted_zero(folder):  # noqa: F811
    np.save("mask.npy", np.arange(40) != 4)
    run("predict", "x.npy", "A.npy", "--skip", 0, "--mask", "mask.npy", "--out", "f.npy")
    f = np.load("f.npy")
    assert f[4] == 0.0
    assert f.sum() == pytest.approx(1.0)


def test_bad_predictions_are_one_line(table):
    np.save("x.npy", X)
    assert "does not tell λ" in refused("predict", "x.npy", "A.npy")
    Path("x.csv").write_text("feature,skip=0\nconstant,1\np,2\nz,3\n")
    assert "no column 'z'" in refused("predict", "x.csv", "new.csv", "--group", "market")
    assert "were fitted with skip 0" in refused("predict", "x.csv", "new.csv", "--skip", 1)
    Path("x.csv").write_text("feature,skip=0\nx0,1\n")
    assert "1 coefficients for 3 columns of A; they are x0" in refused("predict", "x.csv", "A.npy")
    assert "must begin with 'feature,'" in refused("predict", "new.csv", "A.npy")
    assert "no such" in refused("predict", "nothing.csv", "A.npy").lower()


def test_inference_agrees_with_the_library(table):
    train, _ = table
    data = ("inference", "train.csv", "--target", "share", *COLUMNS, "--skip", 0)
    problem = fs.SoftResProblem.from_frame(
        train, target="share", features=["p", "q"], group="market", outside="add", constant=True, skip=0
    )
    result = fs.solve(problem)
    for options, arguments in (
        ((), {}),
        (("--clusters", "region", "--cov", "cluster", "--level", 0.5),
         {"clusters": train["region"].to_numpy(), "cov": "cluster", "level": 0.5}),
    ):  # fmt: skip
        wanted = fs.inference(problem, result, **arguments)
        output = run(*data, *options, "--out", "table.csv").stdout
        assert wanted.kind == "cluster"
        assert f"{wanted.n_clusters} clusters, t({wanted.n_clusters - 1})" in output
        written = pd.read_csv("table.csv")
        assert written["feature"].tolist() == ["constant", "p", "q"]
        for name in ("coefficient", "std_error", "p", "lower", "upper"):
            np.testing.assert_allclose(written[name], getattr(wanted, name), rtol=1e-5)


def test_inference_counts_groups(table):
    line = refused("inference", "train.csv", "--target", "share", "--features", "p,q")
    assert "name their column with --group" in line
    result = run("inference", "new.csv", "--target", "share", *COLUMNS, "--only", "m1", "--skip", 0, code=2)
    assert "Error: " in result.stderr
    assert "group" in result.stderr


def test_inference_of_the_bundled_data():
    markets = load_automobiles(None)
    problem = fs.SoftResProblem(markets.A, markets.b, skip=0, loss="kl", group_ptr=markets.group_ptr)
    wanted = fs.inference(problem, fs.solve(problem), "cluster")
    told = json.loads(run("inference", "--loss", "kl", "--cov", "cluster", "--json").stdout)
    (one,) = told["inference"]
    assert (one["clusters"], one["df"], list(one["coefficients"])) == (20, 19.0, markets.features)
    errors = [each["std_error"] for each in one["coefficients"].values()]
    np.testing.assert_allclose(errors, wanted.std_error, rtol=1e-6)


def test_without_convergence_there_is_no_table(table):
    data = ("inference", "train.csv", "--target", "share", *COLUMNS, "--skip", 0)
    assert "std. error" not in run(*data, "--maxiter", 1, code=1).stdout


def test_json_is_all_that_stdout_holds(table):
    fit = run("fit", "A.npy", "b.npy", "--no-plot", "--json", "--out", "x.csv")
    told = json.loads(fit.stdout)
    assert (told["rows"], told["columns"], told["groups"]) == (40, 3, 1)
    (one,) = told["fits"]
    assert one["converged"] is True
    np.testing.assert_allclose(list(one["coefficients"].values()), np.load("x.npy"), atol=1e-7)
    assert "rel. gradient" in fit.stderr  # what people read
    shares = json.loads(run("predict", "x.csv", "A.npy", "--json").stdout)
    np.testing.assert_allclose(shares["shares"]["1"], np.load("b.npy"), atol=1e-8)
    data = ("train.csv", "--target", "share", *COLUMNS, "--skip", 0)
    told = json.loads(run("inference", *data, "--json").stdout)
    (one,) = told["inference"]
    assert list(one["coefficients"]) == ["constant", "p", "q"]
    assert one["coefficients"]["p"]["lower"] < -0.5 < one["coefficients"]["p"]["upper"]


def test_json_has_no_word_for_nan():
    assert json.loads(machine.text({"a": [np.nan, np.float64(1.5), np.inf], 2: np.array([1])})) == {
        "a": [None, 1.5, None],
        "2": [1],
    }


def test_info():
    told = json.loads(run("info", "--json").stdout)
    assert told["fastsoftres"] == fs.__version__
    assert told["packages"]["numpy"] == np.__version__
    assert f"threads      {told['threads']}" in run("info").stdout


def test_bench_tells_rates_that_follow_from_its_times():
    told = bench.measure(n=2000, d=8, rounds=1, square=64)
    passes = told["passes"]
    assert list(passes) == ["read", "value_and_grad", "hessp", "to_dense", "matmul"]
    assert told["bytes"] == 2000 * 8 * 8
    for name in ("read", "value_and_grad", "hessp"):
        assert passes[name]["gb_per_s"] * 1e9 * passes[name]["seconds"] == pytest.approx(told["bytes"])
    assert passes["to_dense"]["gflop_per_s"] * 1e9 * passes["to_dense"]["seconds"] == pytest.approx(2000 * 64)
    assert len(bench.lines(told)) == 1 + len(passes)


def test_the_bench_command(monkeypatch):
    monkeypatch.setattr(bench.measure, "__defaults__", (2000, 8, 1, 64))
    result = run("bench", "--json")
    assert json.loads(result.stdout)["n"] == 2000
    assert "GB/s" in result.stderr
    assert "of a plain read" in run("bench").stdout


def test_colours_are_for_terminals_only(folder, monkeypatch):  # noqa: F811
    from click.testing import CliRunner

    from fastsoftres.cli.app import fastsoftres

    fit = ["fit", "A.npy", "b.npy", "--no-plot"]
    assert "\x1b[" not in run(*fit).output
    shown = CliRunner().invoke(fastsoftres, fit, color=True).output  # as on a terminal
    assert "\x1b[32mConverged" in shown
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in CliRunner().invoke(fastsoftres, fit, color=True).output


def test_predictions_stand_beside_what_names_their_rows(table):
    """The table's columns that are no features, as they are written there; one group alone with --only."""
    run("fit", "train.csv", "--target", "true", *COLUMNS, "--skip", 0, "--no-plot", "--out", "x.csv")
    _, new = table
    output = run("predict", "x.csv", "new.csv", "--group", "market", "--outside", "add").stdout
    told = pd.read_csv(io.StringIO(output))
    assert told.columns.tolist() == ["market", "region", "true", "share", "predicted share"]
    assert told["market"].tolist() == new["market"].tolist()
    np.testing.assert_allclose(told["predicted share"], new["true"], rtol=1e-6)
    command = ["predict", "x.csv", "new.csv", "--group", "market", "--only", "m3", "--outside", "add"]
    only = pd.read_csv(io.StringIO(run(*command).stdout))
    np.testing.assert_allclose(only["predicted share"], new.loc[new["market"] == "m3", "true"], rtol=1e-6)


def test_forgotten_groups_and_files_are_asked_for(table):
    said = run("fit", "train.csv", "--target", "share", "--features", "p,q", "--no-plot", "--skip", 0)
    assert "name their column with --group" in said.stderr
    assert "no such file" in refused("fit", "nothing.csv")


def test_compiling_is_announced_once(capsys):
    import numba

    from fastsoftres.cli.compiling import announced

    with announced():
        for _ in range(2):
            numba.njit(lambda x: x + 1)(1)
    assert capsys.readouterr().err.count("compiling") == 1
    numba.njit(lambda x: x + 2)(1)
    assert capsys.readouterr().err == ""
