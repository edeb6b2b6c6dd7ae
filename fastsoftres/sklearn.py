"""An estimator for scikit-learn: ``pip install fastsoftres[sklearn]``."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any

import numpy as np

from ._threads import num_threads
from .problem import SoftResProblem
from .solvers import solve

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "fastsoftres.sklearn needs scikit-learn >= 1.6: pip install fastsoftres[sklearn]"
    ) from error

__all__ = ["SoftResRegressor"]


class SoftResRegressor(RegressorMixin, BaseEstimator):
    """Softmax or softmax-ResNet regression of shares on features.

    Parameters
    ----------
    skip : float, default=1.0
        Weight of the linear term; 0 is softmax.
    loss : {"least-squares", "kl"}, default="least-squares"
    ridge, row_ridge : float, default=0.0
        Penalties on ‖x‖² and on z².
    method : str, default="auto"
    tol : float, default=1e-8
    max_iter : int, default=100
    n_starts : int or "auto", default="auto"
    random_state : int, RandomState instance or None, default=0
        Source of random starts.
    n_jobs : int or None, default=None
        Threads; None and -1 mean all that the process may use.

    Attributes
    ----------
    coef_ : (d,) or (m, d) ndarray
    n_iter_ : int or (m,) ndarray
        Iterations, of each target.
    n_features_in_ : int
    feature_names_in_ : (d,) ndarray of str
        Only where X has names.
    result_ : OptimizeResult or list of them
        What ``fastsoftres.solve`` said, for each target.

    Notes
    -----
    Rows share a normaliser: all of them, or those of one group. So predictions for some of a group's rows are
    not those for all of them, and cross-validation must keep groups together (``GroupKFold``). y may be
    negative or sum to anything; fitted values sum to 1 in each group.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsoftres.sklearn import SoftResRegressor
    >>> X = np.random.default_rng(0).standard_normal((60, 2))
    >>> groups = np.repeat(np.arange(6), 10)
    >>> u = np.exp(X @ [1.0, -0.5])
    >>> y = u / np.bincount(groups, u)[groups]
    >>> SoftResRegressor(skip=0).fit(X, y, groups=groups).coef_.round(6).tolist()
    [1.0, -0.5]
    """

    def __init__(
        self,
        *,
        skip: float = 1.0,
        loss: str = "least-squares",
        ridge: float = 0.0,
        row_ridge: float = 0.0,
        method: str = "auto",
        tol: float = 1e-8,
        max_iter: int = 100,
        n_starts: int | str = "auto",
        random_state: Any = 0,
        n_jobs: int | None = None,
    ):
        self.skip = skip
        self.loss = loss
        self.ridge = ridge
        self.row_ridge = row_ridge
        self.method = method
        self.tol = tol
        self.max_iter = max_iter
        self.n_starts = n_starts
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, groups: Any = None) -> SoftResRegressor:
        """Fit.

        Parameters
        ----------
        X : (n, d) array_like or sparse matrix
        y : (n,) or (n, m) array_like
            Shares; each column is a fit of its own.
        groups : (n,) array_like, optional
            Which rows share a normaliser; by default all.

        Returns
        -------
        SoftResRegressor
            Itself.
        """
        X, y = validate_data(
            self, X, y, dtype=[np.float64, np.float32], accept_sparse="csr", multi_output=True, y_numeric=True
        )
        targets = np.asarray(y, dtype=np.float64)
        targets = targets[:, None] if targets.ndim == 1 else targets
        rng = np.random.default_rng(_seed(self.random_state))
        with _threads(self.n_jobs), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "b (of|sums)")  # any y is a target here
            warnings.filterwarnings("ignore", "rows of a group are not consecutive")
            results = [
                solve(
                    self._problem(X, target, groups),
                    method=self.method, tol=self.tol, maxiter=self.max_iter, n_starts=self.n_starts, rng=rng,
                )
                for target in targets.T
            ]  # fmt: skip
        for j, result in enumerate(results):
            if not result.success:
                which = f" of target {j}" if len(results) > 1 else ""
                warnings.warn(_advice(f"the fit{which}", result.message), ConvergenceWarning, stacklevel=2)
        single = np.ndim(y) == 1
        self.coef_ = results[0].x if single else np.stack([r.x for r in results])
        self.n_iter_ = results[0].nit if single else np.array([r.nit for r in results])
        self.result_ = results[0] if single else results
        return self

    def _problem(self, X: Any, target: np.ndarray, groups: Any) -> SoftResProblem:
        return SoftResProblem(
            X,
            target,
            skip=self.skip,
            loss=self.loss,
            ridge=self.ridge,
            row_ridge=self.row_ridge,
            groups=groups,
        )

    def predict(self, X: Any, groups: Any = None) -> np.ndarray:
        """Fitted shares.

        Parameters
        ----------
        X : (n, d) array_like or sparse matrix
        groups : (n,) array_like, optional
            Which rows share a normaliser; by default all.

        Returns
        -------
        (n,) or (n, m) float64
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], accept_sparse="csr", reset=False)
        target = np.full(X.shape[0], 1.0 / X.shape[0])  # only f is asked for
        with _threads(self.n_jobs), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "b (of|sums)")
            warnings.filterwarnings("ignore", "rows of a group are not consecutive")
            problem = SoftResProblem(X, target, skip=self.skip, groups=groups)
            if self.coef_.ndim == 1:
                return problem.predict(self.coef_)
            return np.stack([problem.predict(x) for x in self.coef_], axis=1)

    def score(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> float:
        """Share of the variance of y that is explained (R²).

        Parameters
        ----------
        X, y, groups
            As for ``fit``.
        sample_weight : (n,) array_like, optional

        Returns
        -------
        float
        """
        from sklearn.metrics import r2_score

        return float(r2_score(y, self.predict(X, groups=groups), sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # shares are small: R² of arbitrary y is no measure
        return tags


def _seed(random_state: Any) -> Any:
    """What numpy.random.default_rng takes."""
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    return random_state


def _threads(n_jobs: int | None) -> Any:
    if n_jobs is None or n_jobs == -1:
        return nullcontext()
    return num_threads(n_jobs)


def _advice(what: str, message: str) -> str:
    hint = "raise max_iter or scale the features"
    if "no finite minimiser" in message or "plateau" in message:
        hint = "add ridge: the shares drive the coefficients to infinity"
    elif "barrier" in message:
        hint = "try skip=0, which has no barrier, or other starts (n_starts)"
    return f"{what} did not converge: {message}. What may help: {hint}"
