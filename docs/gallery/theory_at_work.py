"""
Theory at work
==============

Bounds that are proven, beside what is found: Lipschitz constants, convexity, and a certificate of a
minimum.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastsoftres as fs

rng = np.random.default_rng(0)
A = rng.standard_normal((400, 4)) / 2
b = np.abs(fs.softres(A @ rng.standard_normal(4), skip=0)) * rng.uniform(0.5, 1.5, 400)
problem = fs.SoftResProblem(A, b / b.sum(), skip=0)
result = fs.solve(problem)

# %%
# How fast the gradient can change
# --------------------------------
# Over a ball about x the gradient changes by at most the bound times the distance. The largest ratio that
# a search over pairs of points finds must lie below; how far below is how loose the bound is.

radii = np.geomspace(0.01, 2.0, 12)
bound, found = [], []
for radius in radii:
    bound.append(problem.lipschitz(result.x, radius).grad)
    ratios = []
    for _ in range(300):
        p, q = (
            result.x + radius * v / np.linalg.norm(v) * rng.uniform() for v in rng.standard_normal((2, 4))
        )
        ratios.append(np.linalg.norm(problem.grad(p) - problem.grad(q)) / np.linalg.norm(p - q))
    found.append(max(ratios))
assert np.all(np.array(found) <= bound)
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.plot(radii, bound, marker=".", label="proven bound")
ax.plot(radii, found, marker=".", label="largest ratio found")
ax.set(xscale="log", yscale="log", xlabel="radius of the ball", ylabel="Lipschitz constant of the gradient")
ax.legend()

# %%
# The bound grows steeply, for it allows for every way in which z could move over the ball; near a
# minimum, where it is used, it is a small factor above what is found.
#
# A certificate
# -------------
# ``certify`` proves, rounding included, that one true stationary point lies within a radius of the
# computed one and that it is a strict local minimum. A run that is stopped early has a larger radius, or
# no proof.

radius, sizes = [], []
full = fs.solve(problem, np.zeros(4), n_starts=1)
for maxiter in range(1, full.nit):
    early = fs.solve(problem, np.zeros(4), n_starts=1, maxiter=maxiter)
    proof = fs.certify(problem, early)
    radius.append(proof.radius if proof.proven else np.nan)
    sizes.append(np.linalg.norm(early.x - full.x))
print(fs.certify(problem, result))
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
steps = np.arange(1, len(radius) + 1)
ax.plot(steps, np.maximum(sizes, 1e-17), marker=".", label="distance to the minimum")
ax.plot(steps, radius, marker="o", mfc="none", ls="", label="radius of the certificate, where there is one")
ax.set(yscale="log", xlabel="iterations", ylabel="distance")
ax.legend()
