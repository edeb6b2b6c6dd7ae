"""
Approximate Newton at work
==========================

A Newton step from a sample of the rows: how good it must be, which rows to draw, and what it saves.
"""

# %%
# The problem
# -----------
# 100,000 rows and 30 columns, with noise in the target, so that the loss does not vanish.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fastsoftres as fs
from fastsoftres import plot

n, d = 100_000, 30
rng = np.random.default_rng(0)
A = rng.standard_normal((n, d))
true = rng.standard_normal(d) / np.sqrt(d)
x0 = np.zeros(d)


def problem_of(A):
    """The softmax of A x, made uneven."""
    b = fs.softres(A @ true, skip=0) * rng.uniform(0.7, 1.3, n)
    return fs.SoftResProblem(A, b / b.sum(), skip=0)


problem = problem_of(A)

# %%
# How good must the Hessian be?
# -----------------------------
# The gradient is exact in every iteration, so all runs go to the same point. ``epsilon`` is the relative
# error of the sampled Hessian: a step leaves about that share of the gradient, where the exact Newton step
# squares it. Smaller samples therefore take more iterations, each of them cheaper.

runs = {"newton": fs.solve(problem, x0, method="newton")}
for epsilon in (0.2, 0.4, 0.8):
    runs[f"approx-newton, ε = {epsilon}"] = fs.solve(problem, x0, method="approx-newton", epsilon=epsilon)
for result in runs.values():
    assert result.success, result.message
    np.testing.assert_allclose(result.x, runs["newton"].x, atol=1e-6)

fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
plot.convergence(runs, ax=ax)

# %%
# An exact iteration reads A three times: gradient, assembly (n d² operations, many times the arithmetic of
# a plain read) and the step. ``pass_counts`` tells what each run did, the drawing of samples included.

pd.DataFrame(
    {name: {"iterations": result.nit, **result.pass_counts} for name, result in runs.items()}
).T.fillna(0).astype(int)

# %%
# Which rows?
# -----------
# In proportion to their *leverage*, which is how much a row adds to a direction that others do not see; to
# their *magnitude*, the weight in the curvature whatever the entries are; or all alike. It matters where few
# rows know what the others do not: here five columns are all but zero, except in 300 rows. Samples of 1,000:

A[:, -5:] *= 0.01
A[rng.choice(n, 300, replace=False), -5:] *= 100.0
problem = problem_of(A)
picks = {
    sampling: fs.solve(problem, x0, method="approx-newton", sampling=sampling, sample_size=1_000)
    for sampling in ("leverage", "magnitude", "uniform")
}
fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
plot.convergence(picks, ax=ax)

# %%
# A sample that misses the 300 rows is blind in five directions, and is doubled again and again. Leverage
# costs a read or two more when a sample is drawn, and is what the theory promises an error for. Where no
# row is special all three do about the same, and the cheap ones are preferable.

for name, result in picks.items():
    print(f"{name:10} {result.nit:3} iterations, A read {result.passes} times, loss {result.fun:.12e}")
assert max(r.fun for r in picks.values()) <= min(r.fun for r in picks.values()) * (1 + 1e-8)

# %%
# With ``method="newton-cg"`` the same sample is only a preconditioner for exact products: the step is
# the exact one whatever the sample's quality, which shows in the number of products instead. That is
# what ``method="auto"`` takes where A is large. See :doc:`../sampling` and :doc:`which_method`.
