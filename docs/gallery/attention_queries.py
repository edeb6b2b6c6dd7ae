"""
The query behind an attention row
=================================

An attention head turns a query q and keys K into weights softmax(K q / √d). Given keys and weights, which query was
it? That is softmax regression with A = K / √d, one fit for each row.
"""

# %%
# A small layer
# -------------
# One causal layer, trained by plain gradient descent in NumPy to repeat the token that followed the last time: four
# heads of width 8, sequences of 96 tokens.

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
for _ in range(150):  # each head learns to look at the tokens equal to its own: cross-entropy of the weights
    ids = rng.integers(0, 24, T)
    X = tokens[ids] * np.sqrt(width)
    weight, Q, K = attention(Wq, Wk, X)
    same = (ids[:, None] == ids[None, :]) & causal
    slope = (weight - same / same.sum(axis=1, keepdims=True)) / (np.sqrt(d) * T)
    Wq = Wq - 0.5 * np.einsum("tw,hij,hjd->hwd", X, slope, K, optimize=True) if False else (
        Wq - 0.5 * np.einsum("iw,hij,hjd->hwd", X, slope, K, optimize=True)
    )
    Wk = Wk - 0.5 * np.einsum("jw,hij,hid->hwd", X, slope, Q, optimize=True)
weight, Q, K = attention(Wq, Wk, X)
