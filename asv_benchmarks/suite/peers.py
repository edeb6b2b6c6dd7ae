"""The solvers of the comparison: each prepares a problem and gives a function that solves it.

What is prepared (scales, arrays on the device, compiled code) is not timed.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fastsoftres as fs
from fastsoftres.solvers import starts
from fastsoftres.solvers.evaluator import Evaluator

from .scaled import Scaled, TimeUpError

#: Seconds that a peer may take on one problem.
SECONDS = 10.0
OURS = "fastsoftres"
ONE_START = "fastsoftres, one start"
CLOSED_FORM = "closed form alone"


class Answer(NamedTuple):
    """Where a solver ended, and whether it calls that a success (None: it does not say)."""

    x: np.ndarray
    success: bool | None


Prepared = Callable[[], Answer]


def fastsoftres(n_starts: int | str):
    """``fs.solve``, as it is or with another number of starts."""

    def prepare(problem: fs.SoftResProblem) -> Prepared:
        def call() -> Answer:
            result = fs.solve(problem, n_starts=n_starts)
            return Answer(result.x, result.success)

        return call

    return prepare


def closed_form(problem: fs.SoftResProblem) -> Prepared:
    """The lower of the closed-form starts, nothing after it."""

    def call() -> Answer:
        found = starts.choose(Evaluator(problem))
        best = next((start for start in found if start.name != "zeros"), found[0])
        return Answer(best.point.x, None)

    return call


def scipy_minimize(method: str, derivatives: tuple[str, ...], **options: Any):
    """A method of ``scipy.optimize.minimize``."""

    def prepare(problem: fs.SoftResProblem) -> Prepared:
        from scipy.optimize import minimize

        scaled = Scaled(problem, SECONDS)
        names = {"hessp": scaled.hessp, "hess": scaled.hessian}
        more = {name: names[name] for name in derivatives}

        def call() -> Answer:
            y = scaled.start()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    r = minimize(scaled.value_and_grad, y, jac=True, method=method, options=options, **more)
            except (TimeUpError, np.linalg.LinAlgError, ValueError):  # a solver's own breakdown is a failure
                return Answer(scaled.x(scaled.lowest), False)
            return Answer(scaled.x(r.x), bool(r.success))

        return call

    return prepare


def scipy_least_squares(problem: fs.SoftResProblem) -> Prepared:
    """``scipy.optimize.least_squares`` (trust region reflective, exact steps)."""
    from scipy.optimize import least_squares

    scaled = Scaled(problem, SECONDS)

    def call() -> Answer:
        y = scaled.start()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                r = least_squares(scaled.residuals, y, scaled.jacobian, ftol=1e-12, xtol=1e-12, gtol=1e-10)
        except (TimeUpError, np.linalg.LinAlgError, ValueError):
            return Answer(scaled.x(scaled.lowest), False)
        return Answer(scaled.x(r.x), bool(r.success))

    return call


def _optimistix(name: str):
    def prepare(problem: fs.SoftResProblem) -> Prepared:
        from . import jax_peers

        return jax_peers.prepare(problem, name)

    return prepare


#: gtol on an objective of order one: tight enough for the suite's accuracy, loose enough to be met.
SOLVERS: dict[str, Callable[[fs.SoftResProblem], Prepared]] = {
    OURS: fastsoftres("auto"),
    ONE_START: fastsoftres(1),
    "scipy trust-exact": scipy_minimize("trust-exact", ("hess",), gtol=1e-8, maxiter=2000),
    "scipy trust-krylov": scipy_minimize("trust-krylov", ("hessp",), gtol=1e-8, maxiter=2000),
    "scipy BFGS": scipy_minimize("BFGS", (), gtol=1e-8, maxiter=20_000),
    "scipy L-BFGS-B": scipy_minimize("L-BFGS-B", (), gtol=1e-8, ftol=1e-14, maxiter=20_000, maxfun=50_000),
    "scipy least_squares": scipy_least_squares,
    CLOSED_FORM: closed_form,
}
if importlib.util.find_spec("optimistix") is not None:
    SOLVERS["optimistix BFGS"] = _optimistix("BFGS")
    SOLVERS["optimistix LM"] = _optimistix("LevenbergMarquardt")
