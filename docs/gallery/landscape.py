"""
The landscape of the objective
==============================

What the residual term does: the same data with λ = 0 (softmax), ½ and 1 (softmax-ResNet).
"""

# %%
# A small exact problem: the target is the model's own output at a known x, so that the loss there is 0.
# The first column of A has mean 1, as a constant would: moving against it makes all of z negative.

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import fastsoftres as fs
from fastsoftres import plot

rng = np.random.default_rng(3)
A, true = rng.normal([1.0, 0.0], 1.0, (30, 2)), np.array([1.0, -0.5])

fig, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
for ax, skip in zip(axes, (0.0, 0.5, 1.0), strict=True):
    problem = fs.SoftResProblem(A, fs.softres(A @ true, skip=skip), skip=skip)
    result = fs.solve(problem)
    assert result.fun < 1e-12
    plot.landscape(problem, result, directions=np.eye(2), radius=6.0, ax=ax)

# %%
# For λ = 0 every f is a distribution, and the loss is bounded; far out f is one-hot and the loss flat: a
# *plateau*, where the gradient is zero and a descent learns nothing. For λ > 0 the linear term lets u =
# exp(z) + λz be negative, and the normaliser Σu can vanish. There the loss has a pole, the red
# *barrier* (arXiv:2309.13482 defines the objective; the pole is hidden in its formula). Between plateau
# and pole, one region leads down to the minimum.
#
# A plain descent from a random start may therefore end anywhere. The solver starts from a closed form
# instead, where the linear part of the model already fits, looks at the curvature where it stops, and
# tells when it ended on a plateau.

starts = rng.uniform(-6, 6, (60, 2))
for skip in (0.0, 0.5, 1.0):
    problem = fs.SoftResProblem(A, fs.softres(A @ true, skip=skip), skip=skip)
    # SciPy's BFGS knows neither plateau nor barrier
    plain = [minimize(problem.value_and_grad, x0, jac=True, method="BFGS").fun < 1e-8 for x0 in starts]
    own = fs.solve(problem)
    print(
        f"λ = {skip}: BFGS from random starts finds the minimum in {np.mean(plain):.0%} of the cases; "
        f"solve: loss {own.fun:.1e} in {own.nit} iterations"
    )
