"""
The landscape of the objective
==============================

What the residual term does: the same data with λ = 0 (softmax), ½ and 1 (softmax-ResNet).
"""

# %%
# A small exact problem: the target is the model's own output at a known x, so that the loss there is 0.

import matplotlib.pyplot as plt
import numpy as np

import fastsoftres as fs
from fastsoftres import plot

rng = np.random.default_rng(3)
A, true = rng.standard_normal((30, 2)), np.array([1.0, -0.5])

fig, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
for ax, skip in zip(axes, (0.0, 0.5, 1.0), strict=True):
    problem = fs.SoftResProblem(A, fs.softres(A @ true, skip=skip), skip=skip)
    result = fs.solve(problem)
    assert result.fun < 1e-12
    plot.landscape(problem, result, directions=np.eye(2), radius=6.0, ax=ax)

# %%
# For λ = 0 every f is a distribution, and the loss is bounded; far out f is one-hot and the loss flat: a
# *plateau*, where the gradient is zero and a descent learns nothing. For λ > 0 the linear term lets u = exp(z) + λz be
# negative, and the normaliser α = Σu can vanish. There the loss has a pole, the red *barrier* (arXiv:2309.13482 defines the
# objective; the pole is hidden in its formula). Between plateau and pole, one region leads down to the minimum.
#
# The solver starts from a closed form, where the linear part of the model already fits; it never steps across a barrier
# without seeing it, and tells when it ends on a plateau.

starts = rng.uniform(-6, 6, (200, 2))
for skip in (0.0, 0.5, 1.0):
    problem = fs.SoftResProblem(A, fs.softres(A @ true, skip=skip), skip=skip)
    ends = []
    for x0 in starts:
        try:
            ends.append(fs.solve(problem, x0, n_starts=1, maxiter=200).fun < 1e-10)
        except fs.point.OutOfDomainError:
            ends.append(False)
    own = fs.solve(problem)
    print(
        f"λ = {skip}: {np.mean(ends):.0%} of random starts reach the minimum; "
        f"the solver's own start: loss {own.fun:.1e} in {own.nit} iterations"
    )
