"""The bundled market: new cars in the United States, 1971 to 1990."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

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


def load_automobiles(market: int = 1990) -> Market:
    """Car models on sale in the United States in one year, and their shares of all households.

    Parameters
    ----------
    market : int, optional
        The year, 1971 to 1990.

    Returns
    -------
    Market
        ``A`` (n, 6), ``b`` (n,), ``features``: a constant, ``prices`` (thousand dollars of 1983),
        ``hpwt`` (horsepower by weight), ``air`` (air conditioning is standard), ``mpd`` (tens of miles
        for a dollar's petrol) and ``space`` (length times width). The last row is the outside good, no
        new car at all: zeros, the constant included.

    Raises
    ------
    ValueError
        If there is no data for the year.

    Notes
    -----
    Provenance: see ``fastsoftres.data``.

    Examples
    --------
    >>> from fastsoftres.data import load_automobiles
    >>> A, b, features = load_automobiles(1990)
    >>> A.shape, features[1]
    ((132, 6), 'prices')
    """
    year = _validate.count(market, "market")
    years = distinct(AUTOMOBILES, GROUP)
    if str(year) not in years:
        raise ValueError(f"market must be a year from {years[0]} to {years[-1]}, got {year}")
    columns = read_columns(AUTOMOBILES, [TARGET, *CHARACTERISTICS], only=(GROUP, str(year)))
    A, b = add_outside_good(with_constant(columns[:, 1:]), columns[:, 0])
    return Market(A, b, ["constant", *CHARACTERISTICS])


def with_constant(A: np.ndarray) -> np.ndarray:
    """A with a first column of ones, in A's type."""
    return np.hstack([np.ones((A.shape[0], 1), dtype=A.dtype), A])
