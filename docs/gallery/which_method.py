"""
Which method when
=================

Newton with an assembled Hessian, Newton with products, L-BFGS and the others that ``solve`` knows, and plain
gradient descent, on the same problems.
"""

# %%
# Errors against iterations
# -------------------------
# Columns of different sizes, as data have them, and targets with noise, so that the loss does not vanish.

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fastsoftres as fs
from fastsoftres import plot
from fastsoftres.solvers.solve import METHODS as ALL_METHODS

METHODS = ALL_METHODS[1:]  # the first one, "auto", chooses


def example(n, d, skip):
    """A problem whose columns have sizes from 0.1 to 10."""
    rng = np.random.default_rng(n + d)
    A = rng.standard_normal((n, d)) * np.geomspace(0.1, 10, d)
    x = rng.standard_normal(d) / (np.geomspace(0.1, 10, d) * np.sqrt(d))
    b = np.abs(fs.softres(A @ x, skip=skip)) * rng.uniform(0.8, 1.2, n)
    return fs.SoftResProblem(A, b / b.sum(), skip=skip)


problem = example(20_000, 40, 0.0)
x0 = np.zeros(40)
results = {method: fs.solve(problem, x0, method=method, n_starts=1, maxiter=300) for method in METHODS}
fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
plot.convergence(results, ax=ax)
ax.set(xscale="symlog")

# %%
# Newton's error is squared in each of the last iterations; L-BFGS and gradient descent lose a factor in
# each. Gradient descent, here with the best fixed step that its curvature allows, is what the theory
# compares with:

best = min(result.fun for result in results.values())
curvature = np.linalg.eigvalsh(problem.hessian(results["newton"].x).to_dense())[-1]
x, descent = x0.copy(), []
for _ in range(300):
    value, gradient = problem.value_and_grad(x)
    descent.append(value)
    x = x - gradient / curvature
fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
ax.plot(np.maximum(np.array(descent) / best - 1, 1e-16), label="gradient descent")
for name, result in results.items():
    steps, losses = zip(*[(step["nit"], step["fun"]) for step in result.history], strict=True)
    ax.plot(steps, np.maximum(np.array(losses) / best - 1, 1e-16), marker=".", label=name)
ax.set(xscale="symlog", yscale="log", xlabel="iteration", ylabel="loss over the least one, less 1")
ax.legend()

# %%
# Time
# ----
# An iteration of Newton costs one assembly, n d² operations; products and L-BFGS cost reads of A only. So
# few columns call for ``"newton"``, many for ``"newton-cg"``; ``method="auto"`` decides by that. Times
# below are of the machine that built this page, one run each: a table to read the trend from, not a
# benchmark.

rows = []
for n, d in ((20_000, 8), (20_000, 64), (2_000, 200)):
    problem = example(n, d, 1.0)
    for method in METHODS:
        fs.solve(problem, method=method, n_starts=1, maxiter=2)  # compiles, or loads what was compiled
        start = time.perf_counter()
        result = fs.solve(problem, method=method, n_starts=1, maxiter=500)
        rows.append((n, d, method, time.perf_counter() - start, result.nit, result.passes, result.success))
pd.DataFrame(rows, columns=["n", "d", "method", "seconds", "iterations", "reads of A", "converged"]).round(3)

# %%
# In words
# --------
#
# ==================================  =========================================
# you have                            take
# ==================================  =========================================
# up to some hundred columns          ``"newton"`` (what ``"auto"`` does)
# thousands of columns                ``"newton-cg"``
# a rough answer, quickly             ``"lbfgs"`` with ``tol=1e-4``
# standard errors afterwards          ``"newton"``: they want an exact minimum
# ==================================  =========================================
