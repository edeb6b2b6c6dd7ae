"""
The query behind an attention row
=================================

An attention head turns a query q and keys K into weights softmax(K q / √d). Given keys and weights, which query was
it? That is softmax regression with A = K / √d, one fit for each row.
"""

# %%
# A small layer
# -------------
# One causal layer of four heads of width 8, sequences of 96 tokens, trained by plain gradient descent in NumPy. Head h is
# to look at the tokens whose number is h more than its own (24 numbers in a circle).

import time

import matplotlib.pyplot as plt
import numpy as np

import fastsoftres as fs

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
    slope = np.where(count > 0, weight - match / np.maximum(count, 1), 0.0) / (np.sqrt(d) * T)  # cross-entropy's
    step = 0.5 * np.einsum("iw,hij,hjd->hwd", X, slope, K, optimize=True)
    Wk = Wk - 0.5 * np.einsum("jw,hij,hid->hwd", X, slope, Q, optimize=True)
    Wq = Wq - step
weight, Q, K = attention(Wq, Wk, X)

fig, axes = plt.subplots(1, heads, figsize=(11, 3), layout="constrained", sharey=True)
for h, ax in enumerate(axes):
    ax.imshow(np.sqrt(weight[h]), cmap="Blues")
    ax.set(title=f"head {h}", xlabel="key")
axes[0].set_ylabel("query")

# %%
# One fit for each row
# --------------------
# The weights are kept in half precision, as a model would store them. A causal row t has t + 1 keys. With fewer keys
# than d + 1 only a part of the query can be known: adding the same number to all scores, or a direction that no key
# has, changes no weight. The *identified part* of q lies in the span of the centred keys, and errors are measured there.

stored = weight.astype(np.float16).astype(float)


def identified(A):
    """A projection onto the directions of q that change the weights."""
    values, vectors = np.linalg.svd(A - A.mean(axis=0), full_matrices=False)[1:]
    basis = vectors[values > 1e-10 * max(values.max(), 1e-300)]
    return basis.T @ basis


def recover(A, b):
    """Fit a row; the target need not sum to 1 exactly after rounding, and is scaled."""
    problem = fs.SoftResProblem(A, b / b.sum(), skip=0)
    return fs.solve(problem, n_starts=1).x


def by_logarithms(A, b):
    """The classical way: a linear regression of log b, with a constant; zero weights must go."""
    seen = b > 0
    X = np.column_stack([A[seen], np.ones(seen.sum())])
    return np.linalg.lstsq(X, np.log(b[seen]), rcond=None)[0][:d]


def errors(method, targets):
    """Relative error of the identified part for all heads and rows, and seconds."""
    out, start = [], time.perf_counter()
    for h in range(heads):
        for t in range(1, T):
            A, b = K[h, : t + 1] / np.sqrt(d), targets[h, t, : t + 1]
            P = identified(A[b > 0])
            out.append(np.linalg.norm(P @ (method(A, b) - Q[h, t])) / np.linalg.norm(Q[h, t]))
    return np.array(out), time.perf_counter() - start


recover(K[0] / np.sqrt(d), stored[0, -1])  # compiles, or loads what was compiled
found = {"softmax regression": errors(recover, stored), "lstsq of logarithms": errors(by_logarithms, stored)}
for name, (error, seconds) in found.items():
    quartiles = np.quantile(error, [0.25, 0.5, 0.75, 1.0])
    print(f"{name:20} {1e3 * seconds / error.size:6.2f} ms a row, error: quartiles and largest {quartiles}")
assert np.median(found["softmax regression"][0]) < 0.01

# %%
# Weights below the least half-precision number are stored as 0 or with few digits. Logarithms give each of these the same say as
# the large ones; least squares of the weights hardly looks at them.

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name, (error, _) in found.items():
    ax.plot(np.sort(error), np.linspace(0, 1, error.size), label=name)
ax.set(xscale="log", xlabel="relative error of the identified part", ylabel="share of the rows")
ax.legend()

# %%
# The largest weights only
# ------------------------
# Models with many tokens often store no more than the top entries. The mask takes the others out of the
# normaliser, and what is left are weights of a softmax over the top keys: the query is still named by d + 1 of them.

k = 16
error = []
for h in range(heads):
    for t in range(k, T, 4):
        A, b = K[h, : t + 1] / np.sqrt(d), stored[h, t, : t + 1]
        top = np.zeros(t + 1, dtype=bool)
        top[np.argsort(b)[-k:]] = True
        top &= b > 0
        problem = fs.SoftResProblem(A, np.where(top, b / b[top].sum(), 0.0), skip=0, mask=top)
        q = fs.solve(problem, n_starts=1).x
        P = identified(A[top])
        error.append(np.linalg.norm(P @ (q - Q[h, t])) / np.linalg.norm(Q[h, t]))
print(f"top {k} of up to {T} weights: median error {np.median(error):.1e}, largest {max(error):.1e}")
assert np.median(error) < 0.05
