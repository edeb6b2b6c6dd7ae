"""The objective and its gradient as a user of another library would write them, skip = 1.

Each ``..._calls(A, b, x)`` yields ``label, call``, where ``call()`` returns the value and the gradient (d,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Call = Callable[[], tuple[Any, Any]]


def numpy_calls(A: np.ndarray, b: np.ndarray, x: np.ndarray) -> Iterator[tuple[str, Call]]:
    """Two products by BLAS, the rest in as few temporaries as NumPy allows."""

    def call():
        z = A @ x
        v = np.exp(z)
        z += v
        alpha = z.sum()
        z /= alpha
        c = z - b
        v += 1.0
        value = 0.5 * (c @ c)
        s = c @ z
        c -= s
        c *= v
        c /= alpha
        return value, c @ A

    yield f"NumPy {np.__version__}", call


def _jax_loss():
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def loss(x, A, b):
        z = A @ x
        u = jnp.exp(z) + z
        c = u / u.sum() - b
        return 0.5 * (c @ c)

    return loss


def jax_calls(A: np.ndarray, b: np.ndarray, x: np.ndarray) -> Iterator[tuple[str, Call]]:
    """Automatic differentiation, compiled."""
    import jax

    compiled = jax.jit(jax.value_and_grad(_jax_loss()))
    A, b, x = jax.device_put((A, b, x), jax.devices("cpu")[0])

    def call():
        return jax.block_until_ready(compiled(x, A, b))

    yield f"JAX {jax.__version__}, jit(value_and_grad)", call


def torch_calls(A: np.ndarray, b: np.ndarray, x: np.ndarray) -> Iterator[tuple[str, Call]]:
    """Automatic differentiation, and the gradient written by hand."""
    import torch

    A, b, x = (torch.from_numpy(array) for array in (A, b, x))
    version = torch.__version__.split("+")[0]

    def differentiated():
        at = x.detach().requires_grad_()
        z = A @ at
        u = torch.exp(z) + z
        c = u / u.sum() - b
        value = 0.5 * (c @ c)
        value.backward()
        return value.detach(), at.grad

    def by_hand():
        with torch.no_grad():
            z = A @ x
            v = torch.exp(z)
            z += v
            alpha = z.sum()
            z /= alpha
            c = z - b
            v += 1.0
            value = 0.5 * (c @ c)
            c -= c @ z
            c *= v
            c /= alpha
            return value, c @ A

    yield f"PyTorch {version}, autograd", differentiated
    yield f"PyTorch {version}, by hand", by_hand


def numpy_products(A: np.ndarray, b: np.ndarray, x: np.ndarray, t: np.ndarray) -> Iterator[tuple[str, Call]]:
    """The Hessian at x times t by two products, from row vectors made once: H_z = diag(D) - p v' - v p'."""
    z = A @ x
    v = np.exp(z)
    u = v + z
    alpha = u.sum()
    f = u / alpha
    c = f - b
    q = (c - c @ f) / alpha
    D = v * q
    v = (v + 1.0) / alpha
    D += v * v
    p = q * alpha + f - 0.5 * (f @ f) * np.ones_like(f)

    def call():
        y = A @ t
        w = D * y
        w -= (v @ y) * (v * p)
        w -= ((v * p) @ y) * v
        return (w @ A,)

    yield f"NumPy {np.__version__}", call


def jax_products(A: np.ndarray, b: np.ndarray, x: np.ndarray, t: np.ndarray) -> Iterator[tuple[str, Call]]:
    """Forward over reverse, compiled: what ``jax.jvp`` of ``jax.grad`` gives."""
    import jax

    loss = _jax_loss()
    compiled = jax.jit(lambda x, t, A, b: jax.jvp(lambda x: jax.grad(loss)(x, A, b), (x,), (t,))[1])
    A, b, x, t = jax.device_put((A, b, x, t), jax.devices("cpu")[0])
    yield f"JAX {jax.__version__}, jit(jvp(grad))", lambda: (jax.block_until_ready(compiled(x, t, A, b)),)


PEERS = {"JAX": jax_calls, "PyTorch": torch_calls, "NumPy": numpy_calls}
PRODUCTS = {"JAX": jax_products, "NumPy": numpy_products}
