"""
On a Dask cluster
=================

Rows that lie on several workers stay there: sums travel, rows do not.
"""

# %%
# Two workers on this machine stand for a cluster. On a real one only this line differs: the client is
# given the scheduler's address. (In a script of your own ``LocalCluster`` does the same; it wants ``if
# __name__ == "__main__":`` around the script.)

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client
from distributed.deploy.subprocess import SubprocessCluster

import fastsoftres as fs

cluster = SubprocessCluster(
    n_workers=2, worker_kwargs={"nthreads": 1}, scheduler_kwargs={"dashboard_address": ":0"}
)
client = Client(cluster)
client.wait_for_workers(2)
print(len(client.scheduler_info()["workers"]), "workers")

# %%
# A matrix that no one machine has
# --------------------------------
# Each of eight partitions is made where it is to lie. The target too: the exponentials of z, made
# uneven, over their sum.

n, d = 80_000, 12
rng = da.random.default_rng(0)
A = rng.standard_normal((n, d), chunks=(n // 8, d)).persist()
true = np.random.default_rng(1).standard_normal(d) / np.sqrt(d)
b = da.exp(A @ true) * rng.uniform(0.7, 1.3, n, chunks=n // 8)
b = (b / b.sum()).persist()

# %%
# The same call as for arrays. Each pass is one task a partition, and what comes back from it is of the
# size of d or d², whatever n is.

problem = fs.SoftResProblem(A, b, skip=0)
result = fs.solve(problem)
print(result.message)
print(f"{result.nit} iterations, A read {result.passes} times")
assert result.success

# %%
# It is the fit of the rows in memory
# -----------------------------------
# Here they are few enough to be fetched and compared.

here = fs.solve(fs.SoftResProblem(A.compute(), b.compute(), skip=0))
print("largest difference of the coefficients:", np.abs(result.x - here.x).max())
assert np.allclose(result.x, here.x, atol=1e-7)

f = problem.predict(result.x)  # in partitions, beside the rows
print("the largest fitted share:", f.gather().max())

fig, ax = plt.subplots(figsize=(5, 3.8), layout="constrained")
ax.plot(true, result.x, ".")
ax.axline((0, 0), slope=1, lw=0.8, color="0.7")
ax.set(xlabel="coefficient behind the target", ylabel="fitted on the cluster")

# %%
# When it pays
# ------------
# An iteration is some hundred tasks, each with about a millisecond of the scheduler's time. On one
# machine a file (:doc:`larger_than_memory`) is the better way; a cluster pays where the rows lie there
# anyway, or are too many for one machine's disk. :doc:`../scaling` has the bytes that travel and what
# was measured.

client.close()
cluster.close()
