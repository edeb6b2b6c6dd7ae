"""Files into arrays, and one real data set.

The automobile data
-------------------
``automobiles.csv``: 2,217 car models in 20 markets (one a year, 1971 to 1990) of the United States, with
their market shares. The data of S. Berry, J. Levinsohn & A. Pakes, "Automobile Prices in Market
Equilibrium", Econometrica 63 (1995), 841-890, as the PyPI package ``pyblp`` 1.3.0 ships it
(``pyblp/data/blp_products.csv``); ``scripts/make_automobile_data.py`` picks the columns. Numbers stand in
the file as they do there. The outside good is not in the file: it is added on loading.

pyblp is under the MIT licence:

    Copyright 2021 Jeff Gortmaker and Christopher Conlon

    Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
    associated documentation files (the "Software"), to deal in the Software without restriction,
    including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense,
    and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so,
    subject to the following conditions:

    The above copyright notice and this permission notice shall be included in all copies or substantial
    portions of the Software.

    THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
    LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN
    NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY,
    WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
    SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

from __future__ import annotations

from .automobiles import AUTOMOBILES, Market, Markets, load_automobiles

__all__ = ["AUTOMOBILES", "Market", "Markets", "load_automobiles"]
