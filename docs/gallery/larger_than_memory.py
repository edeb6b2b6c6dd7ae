"""
Larger than memory
==================

A matrix in a file, read block by block: the same fit, with a limit on the memory that it may take.
"""

# %%
# A file of 200,000 rows and 40 columns, written in pieces. A real one would not fit into memory; this one
# does, so that the two fits can be compared.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastsoftres as fs
from fastsoftres import plot

n, d = 200_000, 40
rng = np.random.default_rng(0)
true = rng.standard_normal(d) / np.sqrt(d)
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "A.npy"
file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(n, d))
z = np.empty(n)
for start in range(0, n, 20_000):
    rows = rng.standard_normal((20_000, d))
    file[start : start + 20_000] = rows
    z[start : start + 20_000] = rows @ true
file.flush()
del file
b = fs.softres(z, skip=0) * rng.uniform(0.8, 1.2, n)
b /= b.sum()
print(f"{path.stat().st_size / 1e6:.0f} MB")

# %%
# The problem takes the file's name in place of an array. ``memory_limit`` bounds buffers, row state and
# sums, and is refused at once where it cannot be kept.

streamed = fs.SoftResProblem(path, b, skip=0, memory_limit="48MB")
in_memory = fs.SoftResProblem(np.load(path), b, skip=0)
results = {"from the file, 48 MB": fs.solve(streamed), "in memory": fs.solve(in_memory)}
for name, result in results.items():
    print(f"{name}: {result.message}; A read {result.passes} times, loss {result.fun:.6e}")
x, y = (result.x for result in results.values())
assert np.allclose(x, y, rtol=1e-6, atol=1e-8)

# %%
# Both take the same steps. What counts for a file is how often it is read, and an exact Newton step reads
# it three times.

fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
plot.convergence(results, ax=ax)
ax.lines[0].set(lw=4, alpha=0.4)

# %%
# Parquet files, Zarr arrays and sequences of blocks do as well, and a Dask array stays on the workers of
# a cluster: see :doc:`../scaling`.

del streamed
folder.cleanup()
