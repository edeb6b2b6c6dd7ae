"""Solvers of optimistix on the same scaled objective, written in JAX, float64.

The whole solver is one compiled function: an iteration has no overhead of Python, and each new shape
of A costs a compilation.
"""

from __future__ import annotations

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

import fastsoftres as fs

from .peers import Answer, Prepared
from .scaled import Scaled

jax.config.update("jax_enable_x64", True)
#: Seconds of the first call in each shape, which compiles; not part of any reported time.
first_calls: dict[tuple, float] = {}
_MAX_STEPS = 5000
_TOLERANCE = 1e-9


def _residuals(y, args):
    A, b, skip, weight, ridge = args
    z = A @ y
    shift = jnp.max(z)
    u = jnp.exp(z - shift) + skip * z * jnp.exp(-shift)
    return (u / u.sum() - b["b"]) * b["scale"], weight * z, ridge * y


def _objective(y, args):
    return 0.5 * sum(jnp.sum(part * part) for part in _residuals(y, args))


@functools.partial(jax.jit, static_argnames="name")
def _solve(y, args, name):
    solver = getattr(optx, name)(rtol=_TOLERANCE, atol=_TOLERANCE)
    if name == "LevenbergMarquardt":
        found = optx.least_squares(_residuals, solver, y, args, max_steps=_MAX_STEPS, throw=False)
    else:
        found = optx.minimise(_objective, solver, y, args, max_steps=_MAX_STEPS, throw=False)
    return found.value, found.result == optx.RESULTS.successful


def prepare(problem: fs.SoftResProblem, name: str) -> Prepared:
    """A solver of optimistix by its class's name."""
    scaled = Scaled(problem, np.inf)
    scale = 1.0 / np.sqrt(scaled.size)
    args = (
        jnp.asarray(problem.A / scaled.norms),
        {"b": jnp.asarray(problem.b), "scale": scale},
        problem.skip,
        jnp.asarray(np.sqrt(problem.row_ridge) * scale),
        jnp.asarray(np.sqrt(problem.ridge) / scaled.norms * scale),
    )
    start = jnp.zeros(problem.shape[1])
    began = time.perf_counter()
    jax.block_until_ready(_solve(start, args, name))
    first_calls.setdefault((name, args[0].shape, args[3].shape), time.perf_counter() - began)

    def call() -> Answer:
        y, success = jax.block_until_ready(_solve(start, args, name))
        return Answer(scaled.x(np.asarray(y)), bool(success))

    return call
