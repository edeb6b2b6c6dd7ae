"""Readers: what a file holds is what arrives, and what is wrong is said in one line."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftres.data.arrays import members, read_matrix, read_vector
from fastsoftres.data.errors import InputError
from fastsoftres.data.tables import distinct, header, read_columns

VALUES = np.array([[1.5, -2.0], [0.1, 1e-300], [3.0, 4.0]])


def fails(message, read, *args, **kwargs):
    with pytest.raises(InputError, match=message) as error:
        read(*args, **kwargs)
    assert "\n" not in str(error.value)


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.bool_])
def test_npy_keeps_its_type(tmp_path, dtype):
    np.save(tmp_path / "A.npy", VALUES.astype(dtype))
    A, names = read_matrix(tmp_path / "A.npy")
    assert A.dtype == dtype
    assert names is None
    np.testing.assert_array_equal(A, VALUES.astype(dtype))


def test_npz_by_name_or_by_being_alone(tmp_path):
    np.savez(tmp_path / "both.npz", A=VALUES, b=VALUES[:, 0])
    np.savez_compressed(tmp_path / "one.npz", anything=VALUES)
    np.testing.assert_array_equal(read_matrix(tmp_path / "both.npz").values, VALUES)
    np.testing.assert_array_equal(read_vector(tmp_path / "both.npz"), VALUES[:, 0])
    np.testing.assert_array_equal(read_matrix(tmp_path / "one.npz").values, VALUES)
    assert members(tmp_path / "both.npz") == ["A", "b"]
    fails("no array 'C'; there are A, b", read_matrix, tmp_path / "both.npz", "C")


def test_csv_with_and_without_names(write):
    A, names = read_matrix(write("A.csv", "p, q\n1.5,-2\n0.1,1e-300\n\n3,4\n"))
    assert names == ["p", "q"]
    np.testing.assert_array_equal(A, VALUES)
    A, names = read_matrix(write("B.csv", "\ufeff1.5,-2\r\n0.1,1e-300\r\n3,4"))
    assert names is None
    np.testing.assert_array_equal(A, VALUES)


def test_a_vector_may_be_a_row_or_a_column(write, tmp_path):
    assert read_vector(write("b.csv", "share\n0.5\n0.25\n")).tolist() == [0.5, 0.25]
    assert read_vector(write("c.csv", "0.5,0.25\n")).tolist() == [0.5, 0.25]
    np.save(tmp_path / "b.npy", VALUES)
    fails(r"single column or row is wanted, got shape \(3, 2\)", read_vector, tmp_path / "b.npy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3\n", "line 2: 1 cell, the first line has 2"),
        ("a,b\n1,2\n3,x\n", "line 3, column b: 'x' is not a number"),
        ("1,x\n", "line 1, column 2: 'x' is not a number"),
        ("1,2\n3,\n", "line 2, column 2: the cell is empty"),
        ("a,b\n1,nan\n", "line 2, column b: 'nan' is not finite"),
        ("1,2\n3,1_000\n", "line 2, column 2: '1_000' is not a number"),
        (",b\n1,2\n", "column 1 has no name"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ("", "no numbers"),
        ("a,b\n", "no numbers"),
        (b"\xff\xfe1,2\n", "not a text file in UTF-8"),
    ],
)
def test_what_is_wrong_in_a_csv_is_said_with_its_place(write, text, message):
    fails(message, read_matrix, write("A.csv", text))


@pytest.mark.parametrize("name", ["bad.npy", "bad.npz"])
@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x04\x00{a: ", b"PK\x03\x04"]
)
def test_broken_binary_files(write, name, content):
    fails(name, read_matrix, write(name, content))


def test_truncated_npy(write, tmp_path):
    np.save(tmp_path / "A.npy", VALUES)
    fails("B.npy", read_matrix, write("B.npy", (tmp_path / "A.npy").read_bytes()[:-8]))


def test_an_archive_whose_names_are_damaged(tmp_path):
    """Found by scripts/fuzz_readers.py."""
    np.savez(tmp_path / "sound.npz", **{"é": VALUES})
    damaged = (tmp_path / "sound.npz").read_bytes().replace("é".encode(), b"\xff\xff")
    (tmp_path / "A.npz").write_bytes(damaged)
    for reader in (read_matrix, members):
        fails("A.npz: cannot be read", reader, tmp_path / "A.npz")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "A.npy", np.array([print], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "A.npz", A=np.array([print], dtype=object), allow_pickle=True)
    for name in ("A.npy", "A.npz"):
        with pytest.raises(InputError) as error:
            read_matrix(tmp_path / name)
        assert "allow_pickle" not in str(error.value)


def test_only_real_numbers(tmp_path):
    np.save(tmp_path / "A.npy", VALUES.astype(complex))
    fails("dtype complex128", read_matrix, tmp_path / "A.npy")
    np.save(tmp_path / "A.npy", np.array([["a"]]))
    fails("real numbers are wanted", read_matrix, tmp_path / "A.npy")


def test_missing_files_and_unknown_kinds(tmp_path):
    for name in ("no.npy", "no.npz", "no.csv"):
        fails("no such file", read_matrix, tmp_path / name)
    fails("no such file", members, tmp_path / "no.npz")
    fails(r"must end in one of \.npy, \.npz, \.csv", read_matrix, tmp_path / "A.xlsx")
    (tmp_path / "folder.csv").mkdir()
    fails("cannot be read", read_matrix, tmp_path / "folder.csv")


TABLE = 'year,name,"price, net",share\n1990,"Golf, GTI",9.5,0.25\n1991,Polo,n/a,0.125\n1990,Uno,5,0.5\n'


def test_table_columns_by_name(write):
    path = write("t.csv", TABLE)
    assert header(path) == ["year", "name", "price, net", "share"]
    assert distinct(path, "year") == ["1990", "1991"]
    rows = read_columns(path, ["share", "price, net"], only=("year", "1990"))
    assert rows.tolist() == [[0.25, 9.5], [0.5, 5.0]]


def test_rows_of_other_groups_may_hold_anything_but_not_those_read(write):
    path = write("t.csv", TABLE)
    fails("line 3, column price, net: 'n/a' is not a number", read_columns, path, ["price, net"])


def test_missing_and_ambiguous_columns(write):
    fails("no column 'cost'; there are year, name", read_columns, write("t.csv", TABLE), ["cost"])
    fails("2 columns are called 'a'", read_columns, write("u.csv", "a,a\n1,2\n"), ["a"])
    fails("no rows with year = 1950", read_columns, write("t.csv", TABLE), ["share"], only=("year", "1950"))
    fails("the file is empty", header, write("e.csv", ""))
    fails("no rows", read_columns, write("h.csv", "a,b\n"), ["a"])
