"""Every script of the gallery runs as it stands, its own assertions included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "docs" / "gallery").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_gallery_script(script, tmp_path):
    for needed in ("matplotlib", "pandas", "narwhals"):
        pytest.importorskip(needed)
    if script.stem == "dask_cluster":
        pytest.importorskip("distributed")
    run = subprocess.run(
        [sys.executable, "-W", "error", str(script)], cwd=tmp_path, env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


def test_there_are_scripts():
    """One for each task."""
    assert {script.stem for script in SCRIPTS} >= {
        "market_shares", "attention_queries", "landscape", "approximate_newton", "larger_than_memory",
        "dask_cluster", "which_method", "theory_at_work",
    }  # fmt: skip
