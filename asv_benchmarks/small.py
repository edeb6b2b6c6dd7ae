"""``python -m asv_benchmarks.small``: small problems beside NumPy, JAX and SciPy, and a thousand of them in
one call.

Bars: value and gradient at n = 1000, d = 20 in 25 us and no slower than NumPy or jitted JAX; a fit at n =
1000, d = 10 from a given x0 in 0.5 ms and 5 times as fast as the best of ``scipy.optimize.minimize``; 1000
problems of 512 x 32 at 5 times the throughput of JAX batched by ``vmap`` that reaches the same losses.
Everything of Python's is counted.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np

import fastsoftres as fs

from .objective import jax_calls, numpy_calls
from .settings import Settings
from .table import Row, milliseconds, verdict, with_range
from .timing import Spread, interleaved

_HEADS, _N, _D = 1000, 512, 32


def rows(settings: Settings) -> list[Row]:
    """All three comparisons."""
    return [*_gradient(settings), *_fit(settings), *_many(settings)]


def _problem(n: int, d: int, skip: float, seed: int = 0):
    """A (n, d) and a target with 30 % noise, z of order 1."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d))
    f = fs.softres(A @ rng.standard_normal(d) / np.sqrt(d), skip=skip)
    b = f * (1.0 + 0.3 * rng.standard_normal(n))
    return A, b / b.sum()


def _gradient(settings: Settings) -> list[Row]:
    A, b = _problem(1000, 20, 1.0)
    x = np.full(20, 0.1)
    problem = fs.SoftResProblem(A, b)
    calls = {"ours": _often(lambda: problem.value_and_grad(x))}
    calls |= {name: _often(call) for name, call in [*numpy_calls(A, b, x), *jax_calls(A, b, x)]}
    times = {name: [t / _CALLS for t in each] for name, each in interleaved(calls, settings.repeat).items()}
    rival = min((name for name in times if name != "ours"), key=lambda name: Spread.of(times[name]).median)
    spread = Spread.of(a / b for a, b in zip(times[rival], times["ours"], strict=True))
    fast = Spread.of(times["ours"]).median <= 25e-6
    return [
        Row(
            "value and gradient, n = 1000, d = 20", with_range(Spread.of(times["ours"]), 1e6, " us"), rival,
            with_range(Spread.of(times[rival]), 1e6, " us"), with_range(spread), "25 us, >= 1",
            verdict(spread.median, lambda value: fast and value >= 1.0, settings.judged),
        )
    ]  # fmt: skip


#: Calls of a microsecond's work that are timed together.
_CALLS = 50


def _often(call):
    def calls():
        for _ in range(_CALLS):
            call()

    return calls


def _fit(settings: Settings) -> list[Row]:
    out = []
    for skip in (0.0, 1.0):
        A, b = _problem(1000, 10, skip)
        x0 = np.zeros(10)
        problem = fs.SoftResProblem(A, b, skip=skip)
        wanted = fs.solve(problem, x0)
        rivals = _scipy(A, b, skip)
        calls = {"ours": lambda p=problem, x=x0: fs.solve(p, x)}
        for name, call in rivals.items():
            value = problem.value(call())
            if value > wanted.fun * (1.0 + 1e-9):
                raise RuntimeError(f"{name} ends at {value}, not {wanted.fun}")
            calls[name] = call
        times = interleaved(calls, 5 * settings.repeat)
        rival = min(rivals, key=lambda name: Spread.of(times[name]).median)
        spread = Spread.of(a / b for a, b in zip(times[rival], times["ours"], strict=True))
        fast = Spread.of(times["ours"]).median <= 5e-4
        out.append(
            Row(
                f"fit from x0, n = 1000, d = 10, skip = {skip:g}, {wanted.nit} iterations",
                milliseconds(times["ours"]), rival, milliseconds(times[rival]), with_range(spread),
                "0.5 ms, >= 5",
                verdict(spread.median, lambda value, fast=fast: fast and value >= 5.0, settings.judged),
            )
        )  # fmt: skip
    return out


def _scipy(A: np.ndarray, b: np.ndarray, skip: float):
    """SciPy's minimisers with NumPy's formulas on the objective over its value at 0, each a function that
    gives x."""
    from scipy.optimize import minimize

    n, d = A.shape
    scale = 1.0 / (0.5 * float(np.sum((b - 1.0 / n) ** 2)))

    def parts(x):
        z = A @ x
        e = np.exp(z)
        u, v = e + skip * z, e + skip
        alpha = u.sum()
        f = u / alpha
        return e, v, alpha, f, f - b

    def value(x):
        _, v, alpha, f, c = parts(x)
        q = c - c @ f
        return scale * 0.5 * (c @ c), scale * ((v * q / alpha) @ A)

    def hessian(x):
        e, v, alpha, f, c = parts(x)
        q = c - c @ f
        D = e * q / alpha + v * v / alpha**2
        p = A.T @ ((v * (q + f) - 0.5 * (f @ f) * v) / alpha**2)
        V = A.T @ v
        return scale * ((A.T * D) @ A - np.outer(p, V) - np.outer(V, p))

    def run(method, **options):
        more = {"hess": hessian} if method == "trust-exact" else {}
        return lambda: minimize(value, np.zeros(d), jac=True, method=method, options=options, **more).x

    return {
        "scipy BFGS": run("BFGS", gtol=1e-7),
        "scipy L-BFGS-B": run("L-BFGS-B", gtol=1e-7, ftol=1e-15, maxiter=2000),
        "scipy trust-exact": run("trust-exact", gtol=1e-7),
    }


def _many(settings: Settings) -> list[Row]:
    H = 50 if settings.quick else _HEADS
    parts = [_problem(_N, _D, 0.0, seed) for seed in range(H)]
    A, B = np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts])
    ours = fs.solve_many(A, B, skip=0.0)
    if not ours.success.all():
        raise RuntimeError(f"status {np.unique(ours.status)}")
    calls = {"ours": lambda: fs.solve_many(A, B, skip=0.0)}
    losses = {}
    for name, call in {**_jax(A, B), "closed form, lstsq on log b": lambda: _closed(A, B)}.items():
        losses[name] = _losses(A, B, call())
        calls[name] = call
    times = interleaved(calls, 1 if settings.quick else 3)
    out = []
    for name, loss in losses.items():
        reached = float(np.mean(loss <= ours.fun * (1.0 + 1e-6)))
        spread = Spread.of(a / b for a, b in zip(times[name], times["ours"], strict=True))
        barred = not name.startswith("closed")
        out.append(
            Row(
                f"{H} problems of {_N} x {_D}, skip = 0", milliseconds(times["ours"]),
                f"{name}; {reached:.0%} at the same loss, median {np.median(loss / ours.fun):.3f} times it",
                milliseconds(times[name]), with_range(spread), ">= 5" if barred else "",
                verdict(spread.median, lambda value: value >= 5.0, settings.judged) if barred else "",
            )
        )  # fmt: skip
    return out


def _losses(A: np.ndarray, B: np.ndarray, X: np.ndarray) -> np.ndarray:
    Z = np.einsum("hnd,hd->hn", A, np.asarray(X))
    F = np.exp(Z - Z.max(axis=1, keepdims=True))
    F /= F.sum(axis=1, keepdims=True)
    return 0.5 * np.sum((F - B) ** 2, axis=1)


def _closed(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Least squares on log b with a free constant, rows weighted by b (MATH 7)."""
    X = []
    for a, b in zip(A, B, strict=True):
        kept = b > 0.0
        design = np.column_stack([a[kept], np.ones(kept.sum())]) * b[kept, None]
        X.append(np.linalg.lstsq(design, np.log(b[kept]) * b[kept], rcond=None)[0][:-1])
    return np.array(X)


def _jax(A: np.ndarray, B: np.ndarray):
    """BFGS of optimistix and a damped Newton method, under ``vmap`` and ``jit``, from 0; those installed."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return {}
    try:
        import optimistix as optx
    except ImportError:
        optx = None
    jax.config.update("jax_enable_x64", True)

    def loss(x, args):
        a, b = args
        return 0.5 * jnp.sum((jax.nn.softmax(a @ x) - b) ** 2) / (0.5 * jnp.sum(b * b))

    def bfgs(a, b):
        solver = optx.BFGS(rtol=1e-8, atol=1e-8)
        return optx.minimise(loss, solver, jnp.zeros(a.shape[1]), (a, b), max_steps=500, throw=False).value

    def newton(a, b):
        def cond(state):
            _, _, g, k = state
            return (k < 100) & (jnp.max(jnp.abs(g)) > 1e-8)

        def body(state):
            x, damping, g, k = state
            H = jax.hessian(loss)(x, (a, b))
            values, vectors = jnp.linalg.eigh(H)
            size = jnp.max(jnp.abs(values))
            step = -vectors @ ((vectors.T @ g) / (jnp.abs(values) + damping * size + 1e-14 * size))
            step = step * jnp.minimum(1.0, 5.0 / jnp.max(jnp.abs(a @ step)))
            better = loss(x + step, (a, b)) <= loss(x, (a, b)) * (1.0 + 1e-13)
            x = jnp.where(better, x + step, x)
            damping = jnp.where(better, 0.1 * damping, jnp.maximum(10.0 * damping, 1e-3))
            return x, damping, jax.grad(loss)(x, (a, b)), k + 1

        x = jnp.zeros(a.shape[1])
        return jax.lax.while_loop(cond, body, (x, 1e-3, jax.grad(loss)(x, (a, b)), 0))[0]

    a, b = jnp.asarray(A), jnp.asarray(B)
    compiled = {"JAX, vmapped Newton": newton}
    if optx is not None:
        compiled["JAX, vmapped BFGS (optimistix)"] = bfgs
    compiled = {name: jax.jit(jax.vmap(one)) for name, one in compiled.items()}
    return {name: (lambda f=f: jax.block_until_ready(f(a, b))) for name, f in compiled.items()}


if __name__ == "__main__":
    from .peers import main

    warnings.filterwarnings("ignore", category=UserWarning)
    main(["--only", "small", *sys.argv[1:]])
