"""fastsoftres/sklearn.py against scikit-learn's own checks, and against ``solve``."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

import fastsoftres as fs

sklearn = pytest.importorskip("sklearn")

from sklearn import config_context  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.model_selection import GridSearchCV, GroupKFold  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from fastsoftres.sklearn import SoftResRegressor  # noqa: E402

COUPLED = "rows share a normaliser: a prediction for some rows is not that for all"
EXPECTED = {
    "check_methods_subset_invariance": COUPLED,
}


@parametrize_with_checks(
    [SoftResRegressor(n_starts=1), SoftResRegressor(skip=0, ridge=0.1, n_starts=1)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def data(rng, count=12, size=8):
    X = rng.standard_normal((count * size, 3))
    groups = np.repeat(np.arange(count), size)
    u = np.exp(X @ [0.8, -0.4, 0.2])
    y = u / np.bincount(groups, u)[groups]
    return X, y, groups


def test_fit_is_solve(rng):
    X, y, groups = data(rng)
    y = y + 0.01 * rng.standard_normal(y.size)
    model = SoftResRegressor(skip=0, ridge=1e-3).fit(X, y, groups=groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = fs.SoftResProblem(X, y, skip=0, ridge=1e-3, groups=groups)
    np.testing.assert_allclose(model.coef_, fs.solve(problem).x, rtol=1e-8)
    np.testing.assert_allclose(model.predict(X, groups=groups), problem.predict(model.coef_), rtol=1e-12)
    assert model.result_.success
    assert model.n_iter_ == model.result_.nit
    assert model.n_features_in_ == 3


def test_many_targets(rng):
    X, y, groups = data(rng)
    Y = np.stack([y, np.roll(y, 1)], axis=1)
    model = SoftResRegressor(skip=0).fit(X, Y, groups=groups)
    assert model.coef_.shape == (2, 3)
    assert model.predict(X, groups=groups).shape == Y.shape
    one = SoftResRegressor(skip=0).fit(X, y, groups=groups)
    np.testing.assert_allclose(model.coef_[0], one.coef_, rtol=1e-8)
    assert model.score(X, Y, groups=groups) <= 1.0


def test_grid_search_keeps_groups_together(rng):
    X, y, groups = data(rng)
    with config_context(enable_metadata_routing=True):
        model = (
            SoftResRegressor(skip=0)
            .set_fit_request(groups=True)
            .set_predict_request(groups=True)
            .set_score_request(groups=True)
        )
        search = GridSearchCV(model, {"ridge": [0.0, 10.0]}, cv=GroupKFold(3))
        search.fit(X, y, groups=groups)
    assert search.best_params_ == {"ridge": 0.0}
    assert search.best_score_ > 0.999


def test_pipeline_clone_pickle(rng):
    X, y, _ = data(rng)
    pipe = make_pipeline(StandardScaler(), SoftResRegressor(skip=0)).fit(X, y)
    again = pickle.loads(pickle.dumps(pipe))
    np.testing.assert_array_equal(pipe.predict(X), again.predict(X))
    assert clone(SoftResRegressor(skip=0.5)).skip == 0.5


def test_names_of_frames(rng):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    X, y, groups = data(rng)
    for frame in (pandas.DataFrame(X, columns=list("abc")), polars.DataFrame(X, schema=list("abc"))):
        model = SoftResRegressor(skip=0).fit(frame, y, groups=groups)
        assert model.feature_names_in_.tolist() == ["a", "b", "c"]
        np.testing.assert_allclose(model.coef_, [0.8, -0.4, 0.2], rtol=1e-6)


def test_sparse_features(rng):
    sparse = pytest.importorskip("scipy.sparse")
    X, y, groups = data(rng)
    model = SoftResRegressor(skip=0).fit(sparse.csr_array(X), y, groups=groups)
    np.testing.assert_allclose(model.coef_, [0.8, -0.4, 0.2], rtol=1e-6)


def test_a_failed_fit_warns_and_says_what_to_do(rng):
    X = np.array([[1.0], [0.0], [-1.0]])
    with pytest.warns(ConvergenceWarning, match=r"did not converge: .* What may help: add ridge"):
        SoftResRegressor(skip=0).fit(X, [1.0, 0.0, 0.0])
    X, y, groups = data(rng)
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        SoftResRegressor(skip=1, max_iter=0).fit(X, y[::-1].copy(), groups=groups)


def test_threads_and_random_state(rng):
    X, y, groups = data(rng)
    coefs = [
        SoftResRegressor(n_jobs=jobs, random_state=state).fit(X, y, groups=groups).coef_
        for jobs, state in [(None, 0), (1, 0), (-1, np.random.RandomState(0))]
    ]
    np.testing.assert_array_equal(coefs[0], coefs[1])
    np.testing.assert_allclose(coefs[0], coefs[2], rtol=1e-5)
