"""Tables: from_frame against the same arrays written out by hand, closed forms and statsmodels."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fastsoftres as fs
from fastsoftres.data import AUTOMOBILES, load_automobiles

CHARACTERISTICS = ["prices", "hpwt", "air", "mpd", "space"]
KINDS = {
    "pandas": lambda data: data,
    "polars": pl.from_pandas,
    "pyarrow": pa.Table.from_pandas,
}


@pytest.fixture(params=KINDS)
def kind(request):
    """Makes a table of one of the three kinds from pandas'."""
    return KINDS[request.param]


@pytest.fixture
def cars():
    return pd.read_csv(AUTOMOBILES)


def small():
    """Five goods in two markets, out of order."""
    return pd.DataFrame({
        "place": ["Oslo", "Bergen", "Oslo", "Bergen", "Oslo"],
        "share": [0.25, 0.125, 0.25, 0.5, 0.125],
        "price": [1.0, 2.0, 3.0, 4.0, 5.0],
        "new": [True, False, False, True, True],
        "people": [10, 2, 10, 2, 10],
        "known": [0.5, -0.5, 0.25, 0.0, 1.0],
        "here": [True, True, False, True, True],
    })  # fmt: skip


def test_the_automobile_table_makes_the_bundled_problem(cars, kind):
    problem = fs.SoftResProblem.from_frame(
        kind(cars), target="shares", features=CHARACTERISTICS, group="market", outside="add", constant=True,
        skip=0, ridge=0.5,
    )  # fmt: skip
    A, b, features, group_ptr, years = load_automobiles(None)
    np.testing.assert_array_equal(problem.A, A)
    np.testing.assert_array_equal(problem.b, b)
    np.testing.assert_array_equal(problem.group_ptr, group_ptr)
    np.testing.assert_array_equal(problem.group_labels, years)
    assert problem.feature_names == features
    assert (problem.skip, problem.ridge, problem.loss) == (0.0, 0.5, "least-squares")


def test_every_argument_against_arrays_by_hand(kind):
    problem = fs.SoftResProblem.from_frame(
        kind(small()), target="share", features=["price", "new"], group="place", group_weight="people",
        offset="known", mask="here", outside="add", constant=True, skip=1, row_ridge=[1, 2, 3, 4, 5],
        ridge=0.1,
    )  # fmt: skip
    # Oslo: rows 0 and 4 (2 is masked) and its outside good; Bergen: rows 1 and 3 and its outside good
    wanted = fs.SoftResProblem(
        [[1, 1, 1], [1, 5, 1], [0, 0, 0], [1, 2, 0], [1, 4, 1], [0, 0, 0]],
        [0.25, 0.125, 0.625, 0.125, 0.5, 0.375],
        group_ptr=[0, 3, 6], group_weights=[10, 2], offset=[0.5, 1, 0, -0.5, 0, 0],
        row_ridge=[1, 5, 0, 2, 4, 0], skip=1, ridge=0.1,
    )  # fmt: skip
    np.testing.assert_array_equal(problem.A, wanted.A)
    np.testing.assert_array_equal(problem.b, wanted.b)
    np.testing.assert_array_equal(problem.row_ridge, wanted.row_ridge)
    x = [0.3, -0.2, 0.1]
    assert problem.value(x) == wanted.value(x)
    np.testing.assert_array_equal(problem.grad(x), wanted.grad(x))
    assert problem.group_labels.tolist() == ["Oslo", "Bergen"]
    # one value for each row of the table
    f = wanted.predict(x)
    np.testing.assert_array_equal(problem.predict(x), [f[0], f[3], 0.0, f[4], f[1]])
    # a new row ridge is told in rows of the table, too
    other = problem.with_penalty(row_ridge=[5, 4, 3, 2, 1])
    np.testing.assert_array_equal(other.row_ridge, [5, 1, 0, 4, 2, 0])


def test_without_groups_all_rows_are_one_market(kind):
    problem = fs.SoftResProblem.from_frame(
        kind(small()[:3]), target="share", features=["price"], outside="add"
    )
    assert problem.n_groups == 1
    assert problem.b.tolist() == [0.25, 0.125, 0.25, 0.375]
    assert problem.A.tolist() == [[1.0], [2.0], [3.0], [0.0]]
    assert problem.predict([0.1]).shape == (3,)


def test_shares_that_sum_to_one_and_zero_shares_are_accepted(kind):
    data = pd.DataFrame({"s": [0.0, 1.0, 0.5, 0.5], "p": [1.0, 2.0, 3.0, 4.0], "g": [1, 1, 2, 2]})
    for outside in (None, "add"):
        problem = fs.SoftResProblem.from_frame(
            kind(data), target="s", features=["p"], group="g", outside=outside, skip=0
        )
        assert problem.b.sum() == 2.0
        assert fs.solve(problem, n_starts=1).fun <= problem.value([0.0])


def test_exact_logit_shares_give_back_the_tastes(rng, kind):
    """Berry's inversion: log s_j - log s_0 = a_j x, a linear system that names x."""
    x = np.array([-1.0, 0.5, -0.25])
    data = pd.DataFrame(rng.standard_normal((60, 2)), columns=["p", "q"])
    data["g"] = rng.integers(0, 7, 60)
    u = np.exp(x[0] + data[["p", "q"]].to_numpy() @ x[1:])
    data["s"] = u / (1.0 + pd.Series(u).groupby(data["g"]).transform("sum"))
    for options in ({}, {"loss": "kl"}):
        problem = fs.SoftResProblem.from_frame(
            kind(data),
            target="s",
            features=["p", "q"],
            group="g",
            outside="add",
            constant=True,
            skip=0,
            **options,
        )
        result = fs.solve(problem)
        np.testing.assert_allclose(result.x, x, rtol=1e-8)
        np.testing.assert_allclose(problem.predict(result.x), data["s"], rtol=1e-8)


def test_choices_against_statsmodels_conditional_logit(rng):
    """One choice a person: the likelihood is that of the conditional logit model."""
    from statsmodels.discrete.conditional_models import ConditionalLogit

    person = np.repeat(np.arange(80), rng.integers(2, 6, 80))
    data = pd.DataFrame({"person": person, "cost": rng.standard_normal(person.size)})
    data["time"] = rng.standard_normal(person.size)
    score = data["cost"] - 0.5 * data["time"] + rng.gumbel(size=person.size)
    data["chosen"] = (score == score.groupby(data["person"]).transform("max")).astype(int)
    problem = fs.SoftResProblem.from_frame(
        data.sample(frac=1, random_state=0), target="chosen", features=["cost", "time"], group="person",
        skip=0, loss="kl",
    )  # fmt: skip
    result = fs.solve(problem)
    model = ConditionalLogit(data["chosen"], data[["cost", "time"]], groups=data["person"])
    wanted = model.fit(disp=False, method="newton", maxiter=50)
    np.testing.assert_allclose(result.x, wanted.params, rtol=1e-6)
    assert result.fun == pytest.approx(-wanted.llf, rel=1e-10)


def test_a_weight_of_two_is_the_market_twice(kind):
    data = small()
    data.loc[data["place"] == "Oslo", "people"] = 2
    data.loc[data["place"] == "Bergen", "people"] = 1
    options = {"target": "share", "features": ["price"], "group": "place", "outside": "add", "skip": 0}
    weighted = fs.SoftResProblem.from_frame(kind(data), group_weight="people", **options)
    again = data[data["place"] == "Oslo"].assign(place="Oslo again")
    twice = fs.SoftResProblem.from_frame(kind(pd.concat([data, again], ignore_index=True)), **options)
    x = [0.3]
    assert weighted.value(x) == pytest.approx(twice.value(x), rel=1e-14)
    np.testing.assert_allclose(weighted.grad(x), twice.grad(x), rtol=1e-13)


def test_the_order_of_rows_does_not_matter(cars, kind):
    options = {
        "target": "shares",
        "features": CHARACTERISTICS,
        "group": "market",
        "outside": "add",
        "skip": 0,
    }
    shuffled = cars.sample(frac=1, random_state=1)
    problems = [fs.SoftResProblem.from_frame(kind(table), **options) for table in (cars, shuffled)]
    x = [-0.1, 0.2, 0.1, 0.3, 1.0]
    np.testing.assert_allclose(problems[0].value(x), problems[1].value(x), rtol=1e-12)
    f = pd.Series(problems[1].predict(x), index=shuffled.index).sort_index()
    np.testing.assert_allclose(problems[0].predict(x), f, rtol=1e-12)


def test_names_are_carried_to_results_and_notes(kind):
    data = small().assign(twice=2 * small()["price"])
    problem = fs.SoftResProblem.from_frame(
        kind(data), target="share", features=["price", "twice"], group="place", outside="add", skip=0
    )
    result = fs.solve(problem)
    assert result.feature_names == ["price", "twice"]
    assert result.x.shape == (2,)
    assert "combinations of columns price, twice" in result.notes[0]
    path = fs.solve_path(problem, ridge=[0.1, 0.01])
    assert [fit.feature_names for fit in path] == [["price", "twice"]] * 2
    assert fs.solve(fs.SoftResProblem([[1.0], [0.0]], [0.75, 0.25])).feature_names is None


def test_a_table_as_a_matrix_keeps_its_names(kind):
    table = kind(small()[["price", "known"]])
    problem = fs.SoftResProblem(table, [0.2] * 5, skip=0)
    assert problem.feature_names == ["price", "known"]
    np.testing.assert_array_equal(problem.A, small()[["price", "known"]])
    assert fs.solve(problem).feature_names == ["price", "known"]
    np.testing.assert_array_equal(problem.predict([0.1, 0.2], table), problem.predict([0.1, 0.2]))
    with pytest.raises(
        ValueError, match=r"columns \['price', 'known'\] in this order, got \['known', 'price'\]"
    ):
        problem.predict([0.1, 0.2], kind(small()[["known", "price"]]))


def test_predict_for_another_table(cars, kind):
    problem = fs.SoftResProblem.from_frame(
        kind(cars),
        target="shares",
        features=CHARACTERISTICS,
        group="market",
        outside="add",
        constant=True,
        skip=0,
    )
    x = fs.solve(problem).x
    new = cars[cars["market"] == 1990].drop(columns=["shares"]).sample(frac=1, random_state=2)
    got = problem.predict(x, kind(new))
    u = np.exp(x[0] + new[CHARACTERISTICS].to_numpy() @ x[1:])
    np.testing.assert_allclose(got, u / (1.0 + u.sum()), rtol=1e-12)
    with pytest.raises(ValueError, match="no column 'air'"):
        problem.predict(x, kind(new.drop(columns=["air"])))
    with pytest.raises(TypeError, match="group_ptr, groups and offset are columns of the table"):
        problem.predict(x, kind(new), offset=np.zeros(131))
    # arrays still go as they did
    np.testing.assert_allclose(problem.predict(x, [[1.0] * 6, [0.0] * 6]).sum(), 1.0)


def test_float32_and_integers(kind):
    data = small().astype({"price": np.float32, "known": np.float32})
    options = {"target": "share", "group": "place", "skip": 0, "loss": "kl"}
    both = fs.SoftResProblem.from_frame(kind(data), features=["price", "known"], **options)
    assert both.dtype == np.float32
    mixed = fs.SoftResProblem.from_frame(kind(data), features=["price", "people"], **options)
    assert mixed.dtype == np.float64


def test_nullable_and_categorical_columns_without_missing_values():
    data = small().astype({"people": "Int64", "new": "boolean", "place": "category", "here": "boolean"})
    problem = fs.SoftResProblem.from_frame(
        data, target="share", features=["people", "new"], group="place", mask="here", outside="add"
    )
    assert problem.A.tolist() == [[10, 1], [10, 1], [0, 0], [2, 0], [2, 1], [0, 0]]
    assert problem.group_labels.tolist() == ["Oslo", "Bergen"]
    years = small().assign(place=pd.to_datetime(["2001", "2002", "2001", "2002", "2001"], format="%Y"))
    with pytest.raises(ValueError, match="'price' has 1 and 3 in place 2001-01-01"):
        fs.SoftResProblem.from_frame(
            years, target="share", features=["known"], group="place", group_weight="price"
        )


def test_rows_that_the_mask_takes_out_may_hold_anything(kind):
    data = small()
    data.loc[2, ["price", "share", "known"]] = np.nan
    problem = fs.SoftResProblem.from_frame(
        kind(data),
        target="share",
        features=["price"],
        group="place",
        offset="known",
        mask="here",
        outside="add",
    )
    assert problem.b.tolist() == [0.25, 0.125, 0.625, 0.125, 0.5, 0.375]


def test_the_table_is_left_alone(kind):
    data = small()
    table = kind(data)
    fs.SoftResProblem.from_frame(table, target="share", features=["price"], group="place", outside="add")
    pd.testing.assert_frame_equal(data, small())
    assert fs.SoftResProblem.from_frame(
        kind(small()), target="share", features=["price"], loss="kl", skip=0
    ).b.size


BAD = {
    "no column 'cost'; there are place, share": {"features": ["cost"]},
    "no column 'x'": {"target": "x"},
    "column 'place' holds text: encode it": {"features": ["place"]},
    "features has 'price' twice": {"features": ["price", "price"]},
    "must not hold the target": {"features": ["share"]},
    "features has a column 'constant'": {"features": ["constant"], "constant": True},
    "column 'gap' has a missing value (null or nan) at row 3": {"features": ["price", "gap"]},
    "column 'whole' has a missing value (null or nan) at row 1": {"features": ["whole"]},
    "column 'far' must be finite, got inf at row 4": {"features": ["far"]},
    "column 'gap' has a missing value": {"target": "gap"},
    "column 'label' has a missing value (null or nan) at row 2": {"group": "label"},
    "column 'flag' has a missing value (null or nan) at row 1": {"mask": "flag"},
    "mask must be a column of booleans, but 'people' holds Int64": {"mask": "people"},
    "'price' has 1 and 3 in place 'Oslo'": {"group": "place", "group_weight": "price"},
    "the shares of place 'Oslo' sum to 1.25, above 1": {"group": "place", "target": "many", "outside": "add"},
    "the shares sum to 2.25, above 1": {"target": "many", "outside": "add"},
    "mask leaves out group 'Bergen'": {"group": "place", "mask": "oslo"},
    "group_weights must be >= 0": {"group": "place", "group_weight": "minus"},
    "outside must be None or 'add', got 'none'": {"outside": "none"},
    "features must be a list of at least one column name, got 'price'": {"features": "price"},
    "features must be a list of at least one column name, got []": {"features": []},
    "row_ridge must have one entry for each row of A (5)": {"row_ridge": [1.0, 2.0]},
    "loss='kl' needs skip=0": {"loss": "kl"},
    "b must be >= 0 for loss='kl', got -0.5 at row 2": {"target": "minus2", "group": "place", "mask": "rest"}
    | {"loss": "kl", "skip": 0},
    "column 'day' must hold numbers, got Date": {"features": ["day"]},
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_wrong_is_said_with_its_column(kind, message):
    data = small().assign(
        gap=[1.0, 2.0, 3.0, np.nan, 5.0], whole=pd.array([1, None, 3, 4, 5], dtype="Int64"),
        far=[0.0, 1.0, 2.0, 3.0, np.inf], label=["a", "a", None, "b", "b"], constant=1.0, minus=-1.0,
        flag=pd.array([True, None, True, True, True], dtype="boolean"), many=[0.5, 0.5, 0.5, 0.5, 0.25],
        minus2=[0.5, 0.5, -0.5, 0.5, 1.0], rest=[False, True, True, True, True],
        oslo=small()["place"] == "Oslo", day=pd.to_datetime(["2020-01-01"] * 5),
    )  # fmt: skip
    options = {"target": "share", "features": ["price"], **BAD[message]}
    with pytest.raises((ValueError, TypeError)) as error:
        fs.SoftResProblem.from_frame(kind(data), **options)
    assert message in str(error.value)


def test_categories_are_refused_as_numbers():
    for table in (
        small().astype({"place": "category"}),
        pl.from_pandas(small()).with_columns(pl.col("place").cast(pl.Categorical)),
        pa.Table.from_pandas(small().astype({"place": "category"})),
    ):
        with pytest.raises(TypeError, match="column 'place' is categorical: encode it as numbers first"):
            fs.SoftResProblem.from_frame(table, target="share", features=["place"])


@pytest.mark.parametrize("df", [np.ones((2, 2)), {"a": [1]}, pl.LazyFrame({"a": [1]}), pd.Series([1.0])])
def test_what_is_no_table_in_memory_is_refused(df):
    with pytest.raises(TypeError, match="df must be a table in memory"):
        fs.SoftResProblem.from_frame(df, target="a", features=["b"])


def test_tables_without_rows_or_with_two_columns_of_one_name_are_refused(kind):
    with pytest.raises(ValueError, match="df has no rows"):
        fs.SoftResProblem.from_frame(kind(small()[:0]), target="share", features=["price"])
    two = pd.DataFrame([[1.0, 2.0]], columns=["a", "a"])
    with pytest.raises(ValueError, match="two columns of the same name"):
        fs.SoftResProblem.from_frame(two, target="a", features=["b"])


def test_without_narwhals_the_pip_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(ImportError, match=r'pip install "fastsoftres\[frames\]"'):
        fs.SoftResProblem.from_frame(small(), target="share", features=["price"])


def test_effects_and_clusters_of_a_table_with_outside_goods(cars):
    """Logit elasticities are x p (1 - f); the market's own label clusters as its number does."""
    shuffled = cars.sample(frac=1, random_state=3)
    options = {"features": CHARACTERISTICS, "group": "market", "outside": "add", "constant": True, "skip": 0}
    problem = fs.SoftResProblem.from_frame(shuffled, target="shares", **options)
    result = fs.solve(problem)
    own = fs.elasticities(problem, result.x, "prices").own
    wanted = result.x[1] * problem.A[:, 1] * (1.0 - problem.at(result.x).f)
    np.testing.assert_allclose(own, wanted, rtol=1e-12)
    by_row = fs.inference(problem, result, cov="cluster", clusters=shuffled["market"].to_numpy())
    by_group = fs.inference(problem, result, cov="cluster", clusters=problem.group_labels)
    np.testing.assert_allclose(by_row.cov, by_group.cov, rtol=1e-12)
    assert by_row.names[1] == "prices"
