"""The same hard cases given to fastsoftres, SciPy's minimize, scikit-learn's LogisticRegression and jaxopt's
LBFGS: what each does. Prints the table of docs/reliability.md.

    python scripts/reliability_table.py

The others are asked for a softmax fit (skip = 0) as their users write it: minimize with value and
gradient in NumPy through scipy.special.softmax; LogisticRegression for the choice of a class, which is the
closest that it has, on the same matrix; jaxopt on the objective in jax.numpy. A package that is not installed
is left out.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

N, D = 40, 3
RNG = np.random.default_rng(0)
A0 = RNG.standard_normal((N, D))
B0 = RNG.dirichlet(np.full(N, 2.0))


def fastsoftres(A, b, x0, callback=None):
    import fastsoftres as fs

    return fs.solve(fs.SoftResProblem(A, b, skip=0), x0, callback=callback).x


def scipy(A, b, x0, callback=None):
    from scipy.optimize import minimize
    from scipy.special import softmax

    def objective(x):
        f = softmax(A @ x)
        c = f - b
        return 0.5 * c @ c, A.T @ (f * (c - c @ f))

    start = np.zeros(np.asarray(A).shape[1]) if x0 is None else x0
    return minimize(objective, start, jac=True, method="L-BFGS-B", callback=callback).x


def sklearn(A, b, x0, callback=None):
    from sklearn.linear_model import LogisticRegression

    if x0 is not None or callback is not None:
        raise NotImplementedError("no starting point, no callback")
    return LogisticRegression().fit(A, np.asarray(b) > 1.0 / N).coef_[0]


def jaxopt(A, b, x0, callback=None):
    import jax
    import jax.numpy as jnp
    from jaxopt import LBFGS

    if callback is not None:
        raise NotImplementedError("no callback")

    def objective(x):
        c = jax.nn.softmax(jnp.asarray(A) @ x) - jnp.asarray(b)
        return 0.5 * c @ c

    start = jnp.zeros(np.asarray(A).shape[1]) if x0 is None else jnp.asarray(x0)
    return LBFGS(objective, maxiter=200).run(start).params


def with_entry(value):
    A = A0.copy()
    A[7, 1] = value
    return A


def stop(*args, **kwargs):
    raise ZeroDivisionError("in the callback")


#: Case -> arguments.
CASES = {
    "plain": (A0, B0, None),
    "nan in A": (with_entry(np.nan), B0, None),
    "inf in A": (with_entry(np.inf), B0, None),
    "nan in b": (A0, np.where(np.arange(N) == 3, np.nan, B0), None),
    "b too short": (A0, B0[:-1], None),
    "nan in the start": (A0, B0, np.array([0.0, np.nan, 0.0])),
    "masked entries": (np.ma.masked_array(A0, mask=A0 > 2), B0, None),
    "complex A": (A0 + 0j, B0, None),
    "object A": (A0.astype(object), B0, None),
    "big-endian A": (A0.astype(">f8"), B0, None),
    "read-only, reversed": (np.ascontiguousarray(A0[::-1])[::-1], B0, None),
    "A of 1e150": (A0 * 1e150, B0, None),
    "A of 1e-150": (A0 * 1e-150, B0, None),
    "start at z = 1e5": (A0, B0, np.full(D, 1e5)),
    "an error in the callback": (A0, B0, None, stop),
}


def answer(call: Callable, arguments: tuple) -> str:
    """In a few words, what came back."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            x = np.asarray(call(*arguments), float)
        except ImportError:
            return "-"
        except NotImplementedError as error:
            return f"({error})"
        except ZeroDivisionError as error:
            return "raised" + (", with the best point" if hasattr(error, "result") else "")
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:70]}"
    noise = f", {len(seen)} warnings" if seen else ""
    if not np.isfinite(x).all():
        return "**x is nan**, no error" + noise
    A, b = np.asarray(arguments[0]), np.asarray(arguments[1])
    if call is sklearn or not np.isfinite(np.asarray(A, dtype=complex)).all():
        return "x finite" + noise
    with np.errstate(all="ignore"):
        z = np.asarray(A, dtype=complex).real @ x
        u = np.exp(z - z.max())
        loss = 0.5 * np.sum((u / u.sum() - b) ** 2) / (0.5 * b @ b)
    return f"loss {loss:.4f} of ½‖b‖²{noise}"


def main() -> None:
    """Print the table."""
    calls = [fastsoftres, scipy, sklearn, jaxopt]
    print("| case | " + " | ".join(call.__name__ for call in calls) + " |")
    print("|---" * (1 + len(calls)) + "|")
    for name, arguments in CASES.items():
        cells = [answer(call, arguments).replace("|", "\\|") for call in calls]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
