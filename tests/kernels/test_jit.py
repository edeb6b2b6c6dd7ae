"""kernels/_jit.py: what Numba's own cache statistics and files say, and IEEE arithmetic."""

from __future__ import annotations

import importlib
import math
import shutil
import sys
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest
from reference import run_python

from fastsoftres import kernels
from fastsoftres.kernels import _jit

KERNELS = Path(kernels.__file__).parent

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")


def square(x):
    return x * x


@pytest.fixture
def no_folder(monkeypatch):
    """As where neither the package's folder nor the user's can be written."""

    def refuse(dispatcher):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(numba.core.registry.CPUDispatcher, "enable_caching", refuse)
    monkeypatch.setattr(_jit, "_warned", False)


@pytest.mark.usefixtures("no_folder")
def test_without_a_cache_folder_one_warning_and_it_works():
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR") as seen:
        kernel_functions = [_jit.kernel(square) for _ in range(3)]
    assert len(seen) == 1
    assert [function(3.0) for function in kernel_functions] == [9.0] * 3


@pytest.mark.usefixtures("no_folder")
def test_second_import_does_not_warn_again():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _jit.kernel(square)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _jit.kernel(square)(2.0) == 4.0


def test_package_works_without_a_cache_folder():
    """The same in a fresh process, from import to a gradient."""
    output = run_python(
        """if True:
        import warnings
        import numba
        import numpy as np

        def refuse(dispatcher):
            raise RuntimeError("cannot cache function: no locator available")

        numba.core.registry.CPUDispatcher.enable_caching = refuse
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            import fastsoftres
            problem = fastsoftres.SoftResProblem(np.eye(3), np.full(3, 1 / 3), skip=0.0)
            print(abs(problem.grad(np.zeros(3))).max() < 1e-15)
        print(len([w for w in seen if issubclass(w.category, RuntimeWarning)]))
        """
    )
    assert output.split() == ["True", "1"]


@pytest.fixture
def copied(tmp_path):
    """A copy of the kernels as a package ``copied`` whose files may be edited, and its cache."""
    shutil.copytree(KERNELS, tmp_path / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_stamp_changes_with_any_kernel_file(copied, monkeypatch):
    monkeypatch.syspath_prepend(copied)
    module = importlib.import_module("copied._jit")
    stamps = {module._package_stamp()}
    assert stamps == {_jit._package_stamp()}
    for count, path in enumerate(sorted((copied / "copied").glob("*.py")), start=2):
        path.write_text(path.read_text() + "\n# edited\n")
        stamps.add(module._package_stamp())
        assert len(stamps) == count, path.name
    for name in [name for name in sys.modules if name.split(".")[0] == "copied"]:
        monkeypatch.delitem(sys.modules, name)


def test_stamp_changes_with_the_vector_width(monkeypatch):
    """The width is compiled into the kernels, and Numba's own key does not know it."""
    stamp = _jit._package_stamp()
    monkeypatch.setattr(_jit, "VECTOR_BYTES", 2 * _jit.VECTOR_BYTES)
    assert _jit._package_stamp() != stamp


def test_two_vector_widths_share_a_cache(tmp_path):
    """Each compiles its own Gram kernel: the other's would write beside the result."""
    code = """if True:
        import numpy as np
        from fastsoftres.kernels import gram
        A = np.random.default_rng(0).integers(-3, 4, (300, 37)) * 1.0
        size, rows, one = gram.padded(37, float), gram.packed_rows(37, float), np.ones(1)
        left, right, H = np.zeros(rows * size), np.zeros(rows * size), np.zeros((size, size))
        ptr, kept, mean = np.array([0, 300]), np.zeros(1, int), np.zeros((1, 37))
        gram.gram_rows(
            A, ptr, 0, kept, mean, one, one, one, np.ones(300), one, one, gram.PLAIN, left, right, H,
            np.zeros(size),
        )
        assert (np.triu(H[:37, :37]) == np.triu(A.T @ A)).all()
        print(sum(gram.gram_rows.stats.cache_misses.values()))
    """
    for width in ("64", "32"):
        output = run_python(code, FASTSOFTRES_VECTOR_BYTES=width, NUMBA_CACHE_DIR=str(tmp_path))
        assert output.strip() == "1"


USE_COPIED = """if True:
    import sys
    sys.path.insert(0, sys.argv[1])
    import numpy as np
    from copied import rowstate
    f, z = np.empty(2), np.array([0.0, np.log(3.0)])
    rowstate.map_rows(z, 0.0, np.array([0, 2]), 0, np.array([4.0]), np.zeros(1), f)
    assert abs(f - [0.25, 0.75]).max() < 1e-15
    stats = rowstate.map_rows.stats
    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def test_cache_is_used_until_a_helper_in_another_file_is_edited(copied):
    def run():
        return run_python(USE_COPIED, str(copied), NUMBA_CACHE_DIR=str(copied / "cache")).split()

    assert run() == ["0", "1"]
    assert run() == ["1", "0"]
    path = copied / "copied" / "formula.py"  # where the exp lies that rowstate.py calls
    path.write_text(path.read_text() + "\n# edited\n")
    assert run() == ["0", "1"]
    assert run() == ["1", "0"]


def test_processes_that_compile_at_once_leave_a_sound_cache(copied):
    """Two signatures of one function from four cold processes: every data file is what the index says."""
    code = """if True:
        import subprocess, sys
        worker = '''if True:
            import sys
            sys.path.insert(0, sys.argv[1])
            import numpy as np
            from copied import gradient
            dtype = np.dtype(sys.argv[2])
            A = np.array([[1.0, 2.0], [3.0, 4.0]], dtype)
            G, none = np.empty((4, 2)), np.empty((0, 2))
            one, x = np.ones(1), np.zeros(2)
            ptr, kept = np.array([0, 2]), np.array([-1])
            gradient.column_sums(
                A, x, x, x, one, ptr, 0, kept, 0.0, False, 2 * one, 0 * one, 0 * one, G, none, none
            )
            assert G[1].tolist() == [2.0, 3.0], G
            print(sum(gradient.column_sums.stats.cache_hits.values()))
        '''
        def start(dtype):
            return subprocess.Popen([sys.executable, "-c", worker, sys.argv[1], dtype], stdout=-1, text=True)
        for wanted in (None, "1"):
            running = [start(dtype) for dtype in ["float32", "float64"] * 2]
            for process in running:
                output, _ = process.communicate(timeout=120)
                assert process.returncode == 0
                assert wanted in (None, output.strip())
    """
    run_python(code, str(copied), NUMBA_CACHE_DIR=str(copied / "cache"))
    names = [path.name for path in (copied / "cache").rglob("*.nbc") if "column_sums" in path.name]
    assert len(names) == len(set(names)) == 2


def test_nan_and_inf_survive_the_flags():
    """Neither set of fast-math flags lets the compiler assume that they do not occur."""

    def tests(x):
        return math.isnan(x), math.isinf(x), x - x, 0.0 * x

    def total(x):
        s = 0.0
        for i in range(x.size):
            s += x[i]
        return s

    for decorate in (_jit.inline, _jit.reduction):
        function = decorate(tests)
        assert function(np.nan)[0]
        assert function(np.inf)[1]
        assert np.isnan(function(np.inf)[2:]).all()
        assert np.isnan(function(np.nan)[2:]).all()
        x = np.zeros(37)
        x[35], x[3] = np.inf, -np.inf
        assert math.isnan(decorate(total)(x))


def test_division_by_zero_does_not_raise():
    def divide(a, b):
        return a / b

    for decorate in (_jit.inline, _jit.reduction):
        assert decorate(divide)(1.0, 0.0) == math.inf


def test_kernels_release_the_interpreter_lock():
    """All public kernels are compiled with nogil and cached."""
    found = 0
    for name in ("gradient", "gram", "product", "rowstate"):
        module = importlib.import_module(f"fastsoftres.kernels.{name}")
        for function in vars(module).values():
            if isinstance(function, numba.core.registry.CPUDispatcher):
                assert function.targetoptions["nogil"]
                assert not function.targetoptions.get("parallel", False)
                found += 1
    assert found > 20
    assert sys.modules["fastsoftres.kernels.gram"].gram_rows._cache._cache_file._source_stamp == _jit._stamp
