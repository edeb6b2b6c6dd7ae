"""
The query behind an attention row
=================================

An attention head turns a query q and keys K into weights softmax(K q / √d). Given keys and weights, which
query was it? That is softmax regression with A = K / √d, one fit for each row.
"""

# %%
# A small layer
# -------------
# One causal layer of four heads of width 8, sequences of 96 tokens, trained by plain gradient descent in
# NumPy. Head h is to look at the tokens whose number is h more than its own (24 numbers in a circle).

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.special import softmax

import fastsoftres as fs

try:
    import torch
except ImportError:  # the comparison with it is left out
    torch = None

rng = np.random.default_rng(0)
T, width, heads, d = 96, 32, 4, 8
tokens = rng.standard_normal((24, width)) / np.sqrt(width)
causal = np.tril(np.ones((T, T), dtype=bool))


def attention(Wq, Wk, X):
    """Weights (heads, T, T), queries and keys (heads, T, d)."""
    Q, K = (np.einsum("tw,hwd->htd", X, W) for W in (Wq, Wk))
    score = np.where(causal, np.einsum("hid,hjd->hij", Q, K) / np.sqrt(d), -np.inf)
    weight = np.exp(score - score.max(axis=2, keepdims=True))
    return weight / weight.sum(axis=2, keepdims=True), Q, K


Wq, Wk = (rng.standard_normal((heads, width, d)) / np.sqrt(width) for _ in range(2))
for _ in range(150):
    ids = rng.integers(0, 24, T)
    X = tokens[ids] * np.sqrt(width)
    weight, Q, K = attention(Wq, Wk, X)
    match = causal & (ids == (ids[:, None] + np.arange(heads)[:, None, None]) % 24)
    count = match.sum(axis=2, keepdims=True)
    slope = np.where(count > 0, weight - match / np.maximum(count, 1), 0.0) / (
        np.sqrt(d) * T
    )  # cross-entropy's
    step = 0.5 * np.einsum("iw,hij,hjd->hwd", X, slope, K, optimize=True)
    Wk = Wk - 0.5 * np.einsum("jw,hij,hid->hwd", X, slope, Q, optimize=True)
    Wq = Wq - step
weight, Q, K = attention(Wq, Wk, X)

fig, axes = plt.subplots(1, heads, figsize=(11, 3.4), layout="constrained", sharey=True)
for h, ax in enumerate(axes):
    ax.imshow(np.sqrt(weight[h]), cmap="Blues")
    ax.set(title=f"head {h}", xlabel="key")
axes[0].set_ylabel("query")

# %%
# One fit for each row, one call for all
# --------------------------------------
# The weights are kept in half precision, as a model would store them. A causal row t has t + 1 keys:
# ``lengths`` says so. ``solve_many`` takes all heads and rows at once.

stored = weight.astype(np.float16).astype(float)
stored /= stored.sum(axis=2, keepdims=True)  # rounded weights do not sum to 1
A = K / np.sqrt(d)
lengths = np.arange(1, T + 1)


def softmax_regression():
    """Queries (heads, T, d) of all rows."""
    found = fs.solve_many(A, stored.transpose(0, 2, 1), skip=0, lengths=lengths, n_starts=1)
    return found.x.transpose(0, 2, 1)


def logarithms():
    """The classical way: a linear regression of log b, with a constant; zero weights must go."""
    Q = np.zeros((heads, T, d))
    for h in range(heads):
        for t in range(T):
            seen = stored[h, t] > 0
            X = np.column_stack([A[h, seen], np.ones(seen.sum())])
            Q[h, t] = np.linalg.lstsq(X, np.log(stored[h, t, seen]), rcond=None)[0][:d]
    return Q


def batched_torch(steps=300):
    """All rows at once by PyTorch's Adam, each row's squared error over its own ‖b‖²."""
    torch.set_num_threads(1)  # its operations are too small here for more
    keys, target, mask = torch.tensor(A), torch.tensor(stored), torch.tensor(causal)
    q = torch.zeros(heads, T, d, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([q], lr=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        score = torch.einsum("htd,hjd->htj", q, keys).masked_fill(~mask, -torch.inf)
        (((score.softmax(dim=2) - target) ** 2).sum(dim=2) / (target**2).sum(dim=2)).sum().backward()
        optimiser.step()
    return q.detach().numpy()


methods = {"softmax regression": softmax_regression, "lstsq of logarithms": logarithms}
if torch is not None:
    methods["PyTorch, 300 steps of Adam"] = batched_torch

# %%
# With fewer keys than d + 1 only a part of the query can be known: a direction that moves all scores by
# the same amount changes no weight. The *identified part* of q lies in the span of the centred keys;
# errors are measured there.


def error(found, true, keys):
    """Relative error of the identified part."""
    _, size, vectors = np.linalg.svd(keys - keys.mean(axis=0), full_matrices=False)
    basis = vectors[size > 1e-10 * max(size.max(), 1e-300)]
    return np.linalg.norm(basis @ (found - true)) / np.linalg.norm(true)


def misfit(found):
    """‖f - b‖² / ‖b‖² of all rows."""
    score = np.where(causal, np.einsum("htd,hjd->htj", found, A), -np.inf)
    return ((softmax(score, axis=2) - stored) ** 2).sum(axis=2) / (stored**2).sum(axis=2)


errors, lines = {}, {}
for name, method in methods.items():
    method()  # compiles, or loads what was compiled
    start = time.perf_counter()
    found = method()
    seconds = time.perf_counter() - start
    each = errors[name] = [
        error(found[h, t], Q[h, t], A[h, : t + 1][stored[h, t, : t + 1] > 0])
        for h in range(heads) for t in range(1, T)
    ]  # fmt: skip
    lines[name] = {
        "ms a row": 1e3 * seconds / (heads * T), "‖f - b‖²/‖b‖², mean": misfit(found).mean(),
        "error of q: quartile": np.quantile(each, 0.25), "median": np.median(each), "largest": max(each),
    }  # fmt: skip
assert np.median(errors["softmax regression"]) < np.median(errors["lstsq of logarithms"])
table = pd.DataFrame(lines).T
print(table.to_string(float_format="{:.1e}".format))

# %%
# Small weights are stored with few digits, or as 0. Logarithms give each of these the same say as the
# large ones; least squares of the weights hardly looks at them, and the median error is a fraction.
# Rows that are all but one-hot tell little about the query, whatever the method: they make the right
# end of the curves. A descent of all rows at once, as one would write it in a deep learning library
# (PyTorch, where it is installed), goes to the same minimum, but after 300 steps it fits the large
# weights only, and the directions of q that small weights decide are still where they began. Times are
# of the machine that built this page, one run each.

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name, each in errors.items():
    ax.plot(np.sort(each), np.linspace(0, 1, len(each)), label=name)
ax.set(xscale="log", xlabel="relative error of the identified part", ylabel="share of the rows")
ax.legend()

# %%
# The largest weights only
# ------------------------
# Models with many tokens often store no more than the top entries. The mask takes the others out of the
# normaliser, and what is left are weights of a softmax over the top keys: d + 1 of them still name the
# query.

k, h = 16, 0
rows = np.arange(k, T)
top = np.zeros((T, rows.size), dtype=bool)
for j, t in enumerate(rows):
    top[np.argsort(stored[h, t, : t + 1])[-k:], j] = True
targets = np.where(top, stored[h, rows].T, 0.0)
found = fs.solve_many(A[h], targets / targets.sum(axis=0), skip=0, mask=top, n_starts=1).x
each = [error(found[:, j], Q[h, t], A[h, top[:, j]]) for j, t in enumerate(rows)]
print(f"top {k} of up to {T} weights: median error {np.median(each):.1e}, largest {max(each):.1e}")
assert np.median(each) < 0.05
