"""
Market shares, end to end
=========================

Twenty years of the American car market: which characteristics sell, how sure we are, and what a higher
price would do.
"""

# %%
# The data
# --------
# One row for each car model and year, with its share of all households. Those who bought no new car chose
# the *outside good*: a row of zeros that ``outside="add"`` appends to each market, with the share that
# the others leave.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fastsoftres as fs
from fastsoftres import plot
from fastsoftres.data import AUTOMOBILES

cars = pd.read_csv(AUTOMOBILES)
features = ["prices", "hpwt", "air", "mpd", "space"]
columns = {"target": "shares", "features": features, "group": "market", "outside": "add", "constant": True}
cars.head()

# %%
# Three estimates of one model
# ----------------------------
# The model says that in each market share j is proportional to exp(z_j), with z = A x and z = 0 for the
# outside good. Then log(share_j / share_0) = a_j x, and the classical estimate is a linear regression of
# that (Berry 1994). It weighs all models alike, however few were sold. Least squares of the *shares*
# looks at the large ones; the likelihood (``loss="kl"``) lies between: it counts each buyer once.

inside = cars.groupby("market")["shares"].transform("sum")
X = np.column_stack([np.ones(len(cars)), cars[features]])
classical = np.linalg.lstsq(X, np.log(cars["shares"] / (1 - inside)), rcond=None)[0]

problems = {
    "least squares": fs.SoftResProblem.from_frame(cars, skip=0, **columns),
    "likelihood": fs.SoftResProblem.from_frame(cars, skip=0, loss="kl", **columns),
}
fits = {name: fs.solve(problem) for name, problem in problems.items()}
for result in fits.values():
    assert result.success, result.message
pd.DataFrame(
    {"log shares": classical, **{name: result.x for name, result in fits.items()}},
    index=["constant", *features],
).round(3)

# %%
# They differ a good deal: the model is not exactly right, and each estimate is the best one in its own
# sense.

fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, (name, problem) in zip(axes, problems.items(), strict=True):
    plot.fit(problem, fits[name], ax=ax)
    ax.set(xscale="log", yscale="log", title=name)

# %%
# Weights
# -------
# Later markets may matter more to us. A group's weight multiplies all that the group contributes; ten
# times the weight for the last five years:

cars["weight"] = np.where(cars["market"] >= 1986, 10.0, 1.0)
weighted = fs.SoftResProblem.from_frame(cars, skip=0, loss="kl", group_weight="weight", **columns)
pd.DataFrame(
    {"equal": fits["likelihood"].x, "late years": fs.solve(weighted).x}, index=["constant", *features]
).round(3)

# %%
# How sure are we?
# ----------------
# Shares of one market sum to 1, so its rows are not independent observations: the twenty markets are.
# ``inference`` clusters by them. Twenty is few; here the intervals are those of the t distribution with
# 19 degrees of freedom.

problem, result = problems["likelihood"], fits["likelihood"]
table = fs.inference(problem, result, cov="cluster")
print(table)

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
plot.coefficients(table, ax=ax)

# %%
# What a higher price does
# ------------------------
# Own elasticity: by how many per cent a model's share falls when its price rises by one per cent. In a
# logit it is close to the coefficient times the price, so dear cars come out as the most elastic: a known
# weakness of the model.

E = fs.elasticities(problem, result, "prices")
last = problem.group_ptr[-2]
names = cars["car"][cars["market"] == 1990].to_numpy()
own = E.own[last : problem.group_ptr[-1] - 1]
prices = cars["prices"][cars["market"] == 1990].to_numpy()
pd.DataFrame({"price": prices, "own elasticity": own}, index=names).sort_values("price").iloc[::26].round(2)

# %%

fig, ax = plt.subplots(figsize=(5, 3.5), layout="constrained")
ax.plot(prices, own, ".")
ax.set(xlabel="price, thousand dollars of 1983", ylabel="own elasticity", title="1990")

# %%
# What a buyer turns to who leaves a car: almost always to no car, for that is what most households
# choose.

print("of those who leave the first model, stay without a car:", E.diversion(19)[0, -1].round(3))

# %%
# Zero shares are kept
# --------------------
# A survey of 20,000 households a year finds no buyer for many a model. A regression of logarithms must
# drop these rows, which are just the unattractive ones, and is biased. Least squares and the likelihood
# keep them.

rng = np.random.default_rng(0)
truth = fits["likelihood"].x
f = problem.at(truth).f
counts = np.concatenate(
    [
        rng.multinomial(20_000, f[i:j] / f[i:j].sum())
        for i, j in zip(problem.group_ptr[:-1], problem.group_ptr[1:], strict=True)
    ]
)
share = counts / 20_000
survey = fs.SoftResProblem(problem.A, share, skip=0, loss="kl", group_ptr=problem.group_ptr)
kept = fs.solve(survey).x
outside_share = np.repeat(share[problem.group_ptr[1:] - 1], np.diff(problem.group_ptr))
bought = (share > 0) & (problem.A[:, 0] == 1)
logs = np.linalg.lstsq(problem.A[bought], np.log(share[bought] / outside_share[bought]), rcond=None)[0]
print(f"{np.mean(share == 0):.0%} of the rows have no buyer")
survey_table = pd.DataFrame(
    {"truth": truth, "likelihood": kept, "log shares": logs}, index=["constant", *features]
)
assert np.linalg.norm(kept - truth) < np.linalg.norm(logs - truth)
survey_table.round(3)

# %%
# What this does not do
# ---------------------
# A price is set by someone who knows more about the car than our five columns tell: quality that we do
# not see raises both price and share, so the price coefficient is too close to zero, and the elasticities
# with it. That needs *instruments* (what moves prices but not tastes). And a logit lets buyers turn to
# other models in proportion to their shares, whether these resemble the first one or not; *random
# coefficients* repair that. Both are out of scope here. `pyblp <https://pyblp.readthedocs.io>`_ is the
# place to go for them; our data are its example data. What fits well here is description: shares as they
# are, with large A, many markets, zero shares and honest clustering.
