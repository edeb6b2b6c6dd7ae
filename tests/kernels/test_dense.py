"""kernels/dense.py: against LAPACK (NumPy's eigh, cholesky, solve), and matrices of known eigenpairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastsoftres.kernels import dense

SIZES = (1, 2, 3, 4, 5, 8, 17, 40, 100)


def orthogonal(rng, d):
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def spectrum(name, rng, d):
    """Eigenvalues of a kind."""
    return {
        "normal": lambda: rng.standard_normal(d),
        "positive": lambda: rng.exponential(size=d) + 0.1,
        "ones": lambda: np.ones(d),
        "clustered": lambda: rng.integers(1, 4, size=d) + 1e-9 * rng.standard_normal(d),
        "tight": lambda: 1.0 + 1e-15 * rng.standard_normal(d),
        "graded": lambda: np.geomspace(1e-12, 1e3, d),
        "signs": lambda: np.where(rng.random(d) < 0.5, -1.0, 1.0),
        "deficient": lambda: np.where(np.arange(d) < d // 2, 0.0, rng.standard_normal(d)),
        "rank one": lambda: np.where(np.arange(d) == 0, 7.0, 0.0),
        "zero": lambda: np.zeros(d),
        "huge": lambda: 1e150 * rng.standard_normal(d),
        "tiny": lambda: 1e-150 * rng.standard_normal(d),
    }[name]()


SPECTRA = ("normal", "positive", "ones", "clustered", "tight", "graded", "signs", "deficient", "rank one",
           "zero", "huge", "tiny")  # fmt: skip


def assert_eigenpairs(H, values, vectors):
    """Ascending, orthonormal, H V = V diag(values), and NumPy's eigenvalues, all to rounding."""
    d = H.shape[0]
    size = max(float(np.abs(H).max()) * d, 1e-300)
    assert values.shape == (d,)
    assert vectors.shape == (d, d)
    assert (np.diff(values) >= 0.0).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(d), atol=1e-13 * np.sqrt(d))
    np.testing.assert_allclose((H / size) @ vectors, vectors * (values / size), atol=2e-14)
    np.testing.assert_allclose(values / size, np.linalg.eigvalsh(H / size), atol=1e-14)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("d", SIZES)
def test_eigh_of_a_known_spectrum(rng, d, name):
    wanted = np.sort(spectrum(name, rng, d))
    Q = orthogonal(rng, d)
    H = (Q * wanted) @ Q.T
    H = 0.5 * (H + H.T)
    before = H.copy()
    values, vectors = dense.eigh(H)
    np.testing.assert_array_equal(H, before)
    assert_eigenpairs(H, values, vectors)
    size = max(np.abs(wanted).max(), 1e-300)
    np.testing.assert_allclose(values / size, wanted / size, atol=1e-14 * d)


@pytest.mark.parametrize(
    "H",
    [
        np.array([[0.0]]),
        np.array([[-3.5]]),
        np.array([[0.0, 1.0], [1.0, 0.0]]),
        np.array([[2.0, 0.0], [0.0, -1.0]]),
        np.diag([3.0, 1.0, 2.0]),
        np.ones((6, 6)),
        np.zeros((5, 5)),
        np.fliplr(np.eye(7)),
        np.kron(np.eye(3), np.array([[2.0, 1.0], [1.0, 2.0]])),
        np.diag(np.ones(9), 1) + np.diag(np.ones(9), -1),
        np.diag(np.r_[1e8, np.ones(4)]) + 1e-8,
    ],
    ids=["0", "1x1", "swap", "diagonal", "unsorted", "ones", "zeros", "reversal", "blocks", "path", "graded"],
)
def test_eigh_of_special_matrices(H):
    assert_eigenpairs(H, *dense.eigh(H))


def test_eigenvalues_of_a_path_are_cosines():
    """The tridiagonal matrix of ones beside the diagonal: 2 cos(pi k/(d + 1))."""
    d = 30
    H = np.diag(np.ones(d - 1), 1) + np.diag(np.ones(d - 1), -1)
    wanted = 2.0 * np.cos(np.pi * np.arange(d, 0, -1) / (d + 1))
    np.testing.assert_allclose(dense.eigh(H)[0], wanted, atol=1e-14)


def test_wilkinsons_matrix():
    """W21+: pairs of eigenvalues that agree to 14 digits."""
    H = np.diag(np.abs(np.arange(-10.0, 11.0))) + np.diag(np.ones(20), 1) + np.diag(np.ones(20), -1)
    assert_eigenpairs(H, *dense.eigh(H))


@given(
    hnp.arrays(np.float64, st.integers(1, 7).map(lambda d: (d, d)), elements=st.integers(-3, 3)),
    st.sampled_from([1.0, 1e-100, 1e100]),
)
def test_eigh_of_small_integer_matrices(H, scale):
    """Many repeated eigenvalues and zeros."""
    H = np.triu(H) + np.triu(H, 1).T
    assert_eigenpairs(H * scale, *dense.eigh(H * scale))


def test_mirrored_reads_the_upper_triangle_only(rng):
    upper = np.full((6, 9), np.nan)
    H = rng.standard_normal((5, 5))
    upper[:5, :5] = np.where(np.triu(np.ones((5, 5))) > 0, H, np.nan)
    np.testing.assert_array_equal(dense.mirrored(upper, 5), np.triu(H) + np.triu(H, 1).T)


# -- Cholesky -----------------------------------------------------------------------------------


def positive(rng, d, condition):
    Q = orthogonal(rng, d)
    H = (Q * np.geomspace(1.0, 1.0 / condition, d)) @ Q.T
    return 0.5 * (H + H.T)


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e8])
@pytest.mark.parametrize("d", SIZES)
def test_factor_and_solve(rng, d, condition):
    H = positive(rng, d, condition)
    L = np.zeros((d, d))
    before = H.copy()
    assert dense.factor(H, 1e-13, L)
    np.testing.assert_array_equal(H, before)
    np.testing.assert_array_equal(L, np.tril(L))
    np.testing.assert_allclose(L, np.linalg.cholesky(H), atol=1e-14 * condition)
    np.testing.assert_allclose(L @ L.T, H, atol=1e-14)
    right = rng.standard_normal(d)
    kept = right.copy()
    x = dense.solve_factored(L, right)
    np.testing.assert_array_equal(right, kept)
    assert np.linalg.norm(H @ x - right) <= 1e-14 * d * np.linalg.norm(x)
    wanted = np.linalg.solve(H, right)
    np.testing.assert_allclose(x, wanted, atol=1e-14 * condition * np.abs(wanted).max())


@pytest.mark.parametrize("d", SIZES)
@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_factor_refuses_what_is_not_positive_definite(rng, d, scale):
    Q = orthogonal(rng, d)
    for lowest in (-1.0, -1e-3, 0.0):
        H = (Q * np.r_[lowest, np.ones(d - 1)]) @ Q.T * scale
        assert not dense.factor(0.5 * (H + H.T), 1e-10, np.zeros((d, d))), lowest
    assert not dense.factor(np.zeros((d, d)), 1e-10, np.zeros((d, d)))
    assert not dense.factor(np.full((d, d), np.nan), 1e-10, np.zeros((d, d)))
    assert dense.factor(np.eye(d) * scale, 1e-10, np.zeros((d, d)))


def test_factor_refuses_pivots_below_the_floor():
    """[[1, r], [r, 1]] leaves 1 - r² of its second diagonal entry."""
    for left, floor, safe in (
        (1e-3, 1e-2, False),
        (1e-1, 1e-2, True),
        (1e-9, 1e-10, True),
        (1e-11, 1e-10, False),
    ):
        r = np.sqrt(1.0 - left)
        assert dense.factor(np.array([[1.0, r], [r, 1.0]]), floor, np.zeros((2, 2))) == safe


def test_floor_is_free_of_units(rng):
    """The verdict on S H S is that on H for any diagonal S."""
    for condition in (1e4, 1e9, 1e13):
        H = positive(rng, 6, condition)
        units = 10.0 ** rng.integers(-6, 7, 6)
        L = np.zeros((6, 6))
        assert dense.factor(H, 1e-10, L) == dense.factor(H * units * units[:, None], 1e-10, L)


@pytest.mark.parametrize("d", SIZES)
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_orthonormal_basis_extends_what_the_first_rows_span(rng, d, scale):
    for rank in sorted({0, 1, d // 2, d - 1, d}):
        # directions close to each other, of lengths far apart
        rows = (rng.standard_normal((rank, d)) + 30.0) * 10.0 ** rng.integers(-3, 4, (rank, 1)) * scale
        Q = np.full((d, d), np.nan)
        Q[:rank] = rows
        dense.orthonormal_basis(Q, rank)
        np.testing.assert_allclose(Q @ Q.T, np.eye(d), atol=1e-14 * d)
        lengths = np.linalg.norm(rows / scale, axis=1) * scale
        np.testing.assert_allclose(Q[rank:] @ rows.T / lengths, np.zeros((d - rank, rank)), atol=1e-11)


def test_orthonormal_basis_of_repeated_rows_is_one(rng):
    """What is left of a row that others span is rounding; its direction still has length 1."""
    Q = np.empty((6, 6))
    Q[:3] = rng.standard_normal(6)
    dense.orthonormal_basis(Q, 3)
    np.testing.assert_allclose(np.linalg.norm(Q, axis=1), 1.0, rtol=1e-14)
