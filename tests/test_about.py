"""fastsoftres/_about.py: versions as the packages themselves give them, and a warm-up after which nothing
compiles."""

from __future__ import annotations

import logging

import numba
import pytest
from reference import run_python

import fastsoftres as fs
from fastsoftres import _about


def test_versions_are_shown(capsys):
    fs.show_versions()
    shown = capsys.readouterr().out
    assert fs.__version__ in shown
    assert numba.__version__ in shown
    assert _about.information()["threads"] == fs.get_num_threads()


def test_nothing_compiles_after_a_warm_up():
    run_python(
        """
import numpy as np, fastsoftres as fs
from numba.core import event
fs.warmup()
with event.install_recorder("numba:compile") as seen:
    A = np.random.default_rng(0).standard_normal((500, 7))
    b = np.full(500, 0.002)
    for dtype in (np.float64, np.float32):
        problem = fs.SoftResProblem(A.astype(dtype), b)
        fs.solve(problem)
        fs.solve(problem, method="newton-cg")
        problem.hessian(np.zeros(7)).to_dense()
assert not seen.buffer, [str(e.data.get("dispatcher")) for _, e in seen.buffer]
"""
    )


def test_warm_up_tells_its_progress_and_checks_its_argument(caplog):
    told = []
    with caplog.at_level(logging.INFO, "fastsoftres"):
        assert fs.warmup(dtypes=["float64"], progress=told.append) > 0
    assert told[0] == "fits, float64"
    assert "fits, float64" in caplog.text
    with pytest.raises(ValueError, match="dtypes must be float64 or float32, got int64"):
        fs.warmup(dtypes=["int64"])


def test_logging_is_silent_by_default():
    assert run_python("import fastsoftres as fs; fs.warmup(dtypes=['float64'])") == ""
