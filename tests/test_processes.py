"""Processes made from one that has used the package, many that begin at once, and folders that cannot be
written."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from reference import run_python

import fastsoftres
from fastsoftres import kernels

SCRIPT = """
import multiprocessing, sys, warnings
import numpy as np
import fastsoftres as fs


def work(seed):
    rng = np.random.default_rng(seed)
    fs.set_num_threads(2)
    problem = fs.SoftResProblem(rng.standard_normal((40_000, 6)), rng.dirichlet(np.ones(40_000)), skip=0.5)
    return fs.solve(problem, np.full(6, 0.1), maxiter=3).x.tobytes() + problem.grad(np.ones(6)).tobytes()


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
    how = sys.argv[1]
    before = [work(seed) for seed in range(4)]  # the pool's threads exist now
    assert fs._threads._pool.size == 2
    if how == "loky":
        from joblib import Parallel, delayed

        after = Parallel(n_jobs=2, backend="loky")(delayed(work)(seed) for seed in range(4))
    else:
        with multiprocessing.get_context(how).Pool(2) as pool:
            after = pool.map(work, range(4), chunksize=1)
    assert after == before
    assert [work(seed) for seed in range(4)] == before
    print("same")
"""


@pytest.mark.parametrize("how", [*multiprocessing.get_all_start_methods(), "loky"])
def test_use_in_children_and_again_in_the_parent(how, tmp_path):
    """To the last bit."""
    if how == "loky":
        pytest.importorskip("joblib")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    assert run_python("", str(script), how, timeout=240).strip() == "same"


COLD = """if True:
    import numpy as np
    import fastsoftres as fs
    from fastsoftres.kernels import gradient
    rng = np.random.default_rng(0)
    problem = fs.SoftResProblem(rng.standard_normal((50, 3)), rng.dirichlet(np.ones(50)))
    print(problem.grad(np.ones(3)).tobytes().hex(), sum(gradient.gradient_rows.stats.cache_hits.values()))
"""


@pytest.mark.slow
def test_eight_processes_on_a_cold_cache(tmp_path):
    """All work, all agree, and what they leave is read by the next."""
    import os

    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", COLD], env=environment, stdout=-1, text=True)
        for _ in range(8)
    ]
    outputs = [process.communicate(timeout=500)[0].split() for process in running]
    assert [process.returncode for process in running] == [0] * 8
    assert len({output[0] for output in outputs}) == 1
    bits, hits = run_python(COLD, NUMBA_CACHE_DIR=str(tmp_path)).split()
    assert bits == outputs[0][0]
    assert int(hits) == 1


FIT = """if True:
    import sys, warnings
    if len(sys.argv) > 1:  # that folder, whatever finder a development install has put before the path
        sys.path.insert(0, sys.argv[1])
        ours = ("BuiltinImporter", "FrozenImporter", "PathFinder")
        sys.meta_path = [one for one in sys.meta_path if getattr(one, "__name__", "") in ours]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        import numpy as np
        import fastsoftres as fs
        problem = fs.SoftResProblem(np.eye(3), np.full(3, 1 / 3), skip=0.0)
        print(abs(problem.grad(np.zeros(3))).max() < 1e-15)
    print(fs.__file__)
    for warning in seen:
        print(warning.category.__name__, warning.message)
"""


@pytest.mark.slow
def test_installation_and_home_that_cannot_be_written(tmp_path):
    """Permissions do not stop an administrator; a file where a folder is wanted stops everybody."""
    site, home = tmp_path / "site", tmp_path / "home"
    home.write_text("a file")
    package = Path(fastsoftres.__file__).parent
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, site / "fastsoftres", ignore=ignore)
    if not (site / "fastsoftres" / "kernels").exists():
        shutil.copytree(Path(kernels.__file__).parent, site / "fastsoftres" / "kernels", ignore=ignore)
    (site / "fastsoftres" / "kernels" / "__pycache__").write_text("a file")
    below = str(home / "below")
    output = run_python(
        FIT, str(site), timeout=500, HOME=below, XDG_CACHE_HOME=below, NUMBA_CACHE_DIR="",
        PYTHONDONTWRITEBYTECODE="1",
    ).splitlines()  # fmt: skip
    assert output[0] == "True"
    assert output[1].startswith(str(site))
    assert len(output) == 3
    assert output[2].startswith("RuntimeWarning fastsoftres: no folder to cache compiled kernels in")
    assert "NUMBA_CACHE_DIR" in output[2]


def test_cache_folder_that_was_chosen_and_cannot_be_written(tmp_path):
    """Numba goes on to the next folder, or compiles anew: one warning at most, and the result."""
    (tmp_path / "file").write_text("a file")
    output = run_python(FIT, timeout=500, NUMBA_CACHE_DIR=str(tmp_path / "file" / "below")).splitlines()
    assert output[0] == "True"
    assert len(output) <= 3


@pytest.mark.slow
def test_disk_that_is_full_when_kernels_are_saved(tmp_path):
    """One warning, and the result."""
    full = """if True:
    import errno
    from numba.core import caching

    def full(self, *args):
        raise OSError(errno.ENOSPC, "No space left on device")

    caching.IndexDataCacheFile._save_data = full
"""
    code = full + FIT
    output = run_python(code, timeout=500, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert output[0] == "True"
    assert len(output) == 3
    assert output[2].startswith(
        "RuntimeWarning fastsoftres: compiled kernels cannot be written to the cache (No"
    )
