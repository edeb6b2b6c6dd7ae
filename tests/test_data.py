"""The bundled data, against the facts that its paper and its source state."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fastsoftres.data import load_automobiles
from fastsoftres.data.automobiles import AUTOMOBILES
from fastsoftres.data.errors import InputError
from fastsoftres.data.outside import add_outside_good

SCRIPT = Path(__file__).parents[1] / "scripts" / "make_automobile_data.py"


def test_the_file_holds_all_markets_of_the_paper():
    with AUTOMOBILES.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["market", "car", "firm", "shares", "prices", "hpwt", "air", "mpd", "space"]
    assert len(rows) == 2217  # Berry, Levinsohn & Pakes: 2217 model/years
    assert sorted({row["market"] for row in rows}) == [str(year) for year in range(1971, 1991)]
    assert {row["air"] for row in rows} == {"0", "1"}


def test_numbers_stand_in_the_file_as_in_the_source():
    digest = hashlib.sha256(AUTOMOBILES.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    assert digest == "aeb893ab2d53b208dceef5dd6a0f502ad02e619bbf603de8eecf66833447066f"


def test_a_market_with_its_outside_good():
    A, b, features = load_automobiles()
    assert A.shape == (132, 6)
    assert A.flags.c_contiguous
    assert features == ["constant", "prices", "hpwt", "air", "mpd", "space"]
    assert np.all(A[:-1, 0] == 1.0)
    assert not A[-1].any()
    assert b.min() > 0.0
    assert b.sum() == pytest.approx(1.0, abs=1e-15)
    assert b[-1] == b.max()


def test_every_market_loads():
    sizes = [load_automobiles(year).b.size - 1 for year in range(1971, 1991)]
    assert sizes[0] == 92
    assert sizes[-1] == 131
    assert sum(sizes) == 2217


def test_all_markets_are_the_single_ones_in_a_row():
    markets = load_automobiles(None)
    assert markets.years.tolist() == list(range(1971, 1991))
    assert markets.group_ptr[[0, -1]].tolist() == [0, 2217 + 20]
    for g, year in enumerate(markets.years.tolist()):
        rows = slice(*markets.group_ptr[g : g + 2])
        one = load_automobiles(year)
        np.testing.assert_array_equal(markets.A[rows], one.A)
        np.testing.assert_array_equal(markets.b[rows], one.b)
        assert markets.features == one.features


def test_an_unknown_market_is_refused():
    with pytest.raises(ValueError, match="1971 to 1990, got 2001"):
        load_automobiles(2001)
    with pytest.raises(TypeError, match="integer"):
        load_automobiles("1990")  # type: ignore[arg-type]


def test_outside_good_takes_what_is_left():
    A = np.ones((2, 3), dtype=np.float32)
    rows, shares, ptr = add_outside_good(A, np.array([0.25, 0.5]))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]
    assert shares.tolist() == [0.25, 0.5, 0.25]
    assert ptr.tolist() == [0, 3]


def test_every_market_gets_its_outside_good():
    A, b = np.arange(1.0, 6.0).reshape(5, 1), np.array([0.25, 0.5, 0.125, 0.5, 0.5])
    rows, shares, ptr = add_outside_good(A, b, np.array([0, 2, 3, 5]))
    assert rows[:, 0].tolist() == [1, 2, 0, 3, 0, 4, 5, 0]
    assert shares.tolist() == [0.25, 0.5, 0.25, 0.125, 0.875, 0.5, 0.5, 0.0]
    assert ptr.tolist() == [0, 3, 5, 8]


def test_the_market_whose_shares_exceed_one_is_named():
    A, b, ptr = np.ones((4, 1)), np.array([0.25, 0.5, 0.75, 0.5]), np.array([0, 2, 4])
    with pytest.raises(InputError, match=r"the shares of group 1 sum to 1\.25, above 1"):
        add_outside_good(A, b, ptr)
    with pytest.raises(InputError, match=r"shares of Oslo sum to 1\.25, above 1"):
        add_outside_good(A, b, ptr, ["Bergen", "Oslo"].__getitem__)


def test_shares_that_sum_to_one_leave_nothing_and_are_accepted():
    shares = add_outside_good(np.ones((3, 1)), np.array([0.1, 0.2, 0.7]) * (1 + 1e-15)).b
    assert 0.0 <= shares[-1] < 1e-15


@pytest.mark.parametrize("shares", [[0.7, 0.4], [np.nan, 0.1]])
def test_shares_above_one_are_refused(shares):
    with pytest.raises(InputError, match="above 1"):
        add_outside_good(np.ones((2, 1)), np.array(shares))


def test_the_script_keeps_the_text_of_numbers(tmp_path):
    spec = importlib.util.spec_from_file_location("make_automobile_data", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    source = tmp_path / "blp_products.csv"
    names = ["other", *script.COLUMNS.values()]
    source.write_text(
        ",".join(names) + "\nX,1971,AMC,15,0.0010,4.935802469136,0.5,0,1.8881456043959999,1.15\n"
    )
    assert script.convert(source, tmp_path / "out.csv") == 1
    header, row = (tmp_path / "out.csv").read_text().splitlines()
    assert header.split(",") == list(script.COLUMNS)
    assert row == "1971,AMC,15,0.0010,4.935802469136,0.5,0,1.8881456043959999,1.15"
