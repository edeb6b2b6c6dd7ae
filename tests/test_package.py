"""fastsoftres/__init__.py: the public names, what importing them loads (sys.modules), and the examples in
docstrings (doctest)."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
from reference import run_python

import fastsoftres as fs


def modules():
    """Every module of the package, but the command line's, which needs its own dependencies."""
    found = [info.name for info in pkgutil.walk_packages(fs.__path__, "fastsoftres.")]
    return ["fastsoftres", *(name for name in found if "__main__" not in name and ".cli" not in name)]


def test_import_loads_no_heavy_packages():
    """SciPy's optimisers and sparse algebra and the command line's packages are loaded when they are used."""
    output = run_python(
        """if True:
        import sys
        import fastsoftres
        heavy = ["scipy.optimize", "scipy.sparse.linalg", "click", "matplotlib", "jax", "tqdm"]
        heavy += ["pandas", "narwhals"]
        print(*[name for name in heavy if name in sys.modules])
        """
    )
    assert output.split() == []


def test_import_compiles_nothing():
    output = run_python(
        """if True:
        import numba.core.dispatcher
        compiled = []
        compile_function = numba.core.dispatcher.Dispatcher.compile
        def compile(self, sig):
            compiled.append(self.py_func.__name__)
            return compile_function(self, sig)
        numba.core.dispatcher.Dispatcher.compile = compile
        import fastsoftres
        print(*compiled)
        """
    )
    assert output.split() == []


def test_public_names():
    for name in fs.__all__:
        assert getattr(fs, name) is not None
    assert fs.SoftResHessian.__name__ == "SoftResHessian"
    assert len(set(fs.__all__)) == len(fs.__all__)
    with pytest.raises(AttributeError, match="module 'fastsoftres' has no attribute 'nothing'"):
        fs.nothing  # noqa: B018


def test_every_public_name_is_documented():
    for name in fs.__all__:
        if not name.startswith("__"):
            assert getattr(fs, name).__doc__, name


def test_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert fs.__version__ == version("fastsoftres")


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_every_public_object_has_an_example():
    from fastsoftres import data, plot
    from fastsoftres.sklearn import SoftResRegressor

    public = [getattr(fs, name) for name in fs.__all__ if not name.startswith("__")]
    public += [getattr(plot, name) for name in plot.__all__]
    public += [data.load_automobiles, fs.SoftResProblem.from_frame, SoftResRegressor]
    assert [one.__name__ for one in public if ">>> " not in one.__doc__] == []
