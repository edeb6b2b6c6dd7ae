"""The bundled markets: new cars in the United States, 1971 to 1990."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from .. import _validate
from .outside import add_outside_good
from .tables import distinct, read_columns

AUTOMOBILES = Path(__file__).with_name("automobiles.csv")
TARGET = "shares"
GROUP = "market"
#: Price, power to weight, air conditioning, miles a dollar, and size.
CHARACTERISTICS = ("prices", "hpwt", "air", "mpd", "space")


class Market(NamedTuple):
    """One market: what is on sale, and what people chose."""

    A: np.ndarray  # (n, d) float64, one row for each good, the outside good last
    b: np.ndarray  # (n,) float64, their shares, which sum to 1
    features: list[str]  # (d,) names of the columns


class Markets(NamedTuple):
    """Several markets, one after the other."""

    A: np.ndarray  # (n, d) float64, one row for each good, the outside good last in its market
    b: np.ndarray  # (n,) float64, their shares, which sum to 1 in each market
    features: list[str]  # (d,) names of the columns
    group_ptr: np.ndarray  # (G + 1,) rows group_ptr[g]:group_ptr[g + 1] are market g
    years: np.ndarray  # (G,) its year


@overload
def load_automobiles(market: int = 1990) -> Market: ...
@overload
def load_automobiles(market: None) -> Markets: ...
def load_automobiles(market: int | None = 1990) -> Market | Markets:
    """Car models on sale in the United States, and their shares of all households.

    Parameters
    ----------
    market : int or None, optional
        The year, 1971 to 1990. None: all of them.

    Returns
    -------
    Market or Markets
        ``A`` (n, 6), ``b`` (n,), ``features``: a constant, ``prices`` (thousand dollars of 1983),
        ``hpwt`` (horsepower by weight), ``air`` (air conditioning is standard), ``mpd`` (tens of miles
        for a dollar's petrol) and ``space`` (length times width). The last row of a market is the outside
        good, no new car at all: zeros, the constant included. For all markets also ``group_ptr`` (21,),
        the offsets of their rows, and ``years`` (20,).

    Raises
    ------
    ValueError
        If there is no data for the year.

    Notes
    -----
    Provenance: see ``fastsoftres.data``. The file itself, without outside goods, is
    ``fastsoftres.data.AUTOMOBILES``.

    Examples
    --------
    >>> from fastsoftres.data import load_automobiles
    >>> A, b, features = load_automobiles(1990)
    >>> A.shape, features[1]
    ((132, 6), 'prices')
    >>> markets = load_automobiles(None)
    >>> markets.A.shape, markets.years[0].item(), markets.group_ptr[1].item()
    ((2237, 6), 1971, 93)
    """
    features = ["constant", *CHARACTERISTICS]
    if market is None:
        columns = read_columns(AUTOMOBILES, [GROUP, TARGET, *CHARACTERISTICS])
        # the file is in the order of the years
        known, first = np.unique(columns[:, 0].astype(np.intp), return_index=True)
        ptr = np.append(first, len(columns))
        A, b, ptr = add_outside_good(with_constant(columns[:, 2:]), columns[:, 1], ptr)
        return Markets(A, b, features, ptr, known)
    year = _validate.count(market, "market")
    years = distinct(AUTOMOBILES, GROUP)
    if str(year) not in years:
        raise ValueError(f"market must be a year from {years[0]} to {years[-1]}, got {year}")
    columns = read_columns(AUTOMOBILES, [TARGET, *CHARACTERISTICS], only=(GROUP, str(year)))
    A, b, _ = add_outside_good(with_constant(columns[:, 1:]), columns[:, 0])
    return Market(A, b, features)


def with_constant(A: np.ndarray) -> np.ndarray:
    """A with a first column of ones, in A's type."""
    return np.hstack([np.ones((A.shape[0], 1), dtype=A.dtype), A])
