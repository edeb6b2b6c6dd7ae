"""docs/theory.md and docs/sampling.md name functions and tests: do they exist?"""

from __future__ import annotations

import inspect
import pathlib
import re

import pytest

import fastsoftres as fs
from fastsoftres.hessian import SoftResHessian
from fastsoftres.solvers import sampler

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "docs" / name for name in ("theory.md", "sampling.md")]

pytestmark = pytest.mark.skipif(not PAGES[0].exists(), reason="installed without the documentation")


def claims():
    """Rows of the table of claims: what, where derived, function, test, what we found."""
    text = PAGES[0].read_text()
    table = text[text.index("| what |") :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_every_claim_has_a_derivation_a_function_and_a_test():
    assert len(claims()) >= 14
    for what, where, function, test, _ in claims():
        assert what
        assert re.search(r"MATH \d|\{doc\}|\d", where), what
        assert "`" in function, what
        assert re.search(r"test_\w+\.py", test), what


def test_the_functions_of_the_table_exist():
    homes = (fs, fs.SoftResProblem, fs.Point, SoftResHessian, sampler)
    options = {*inspect.signature(fs.SoftResProblem).parameters, *inspect.signature(fs.solve).parameters}
    for what, _, function, _, _ in claims():
        for name in re.findall(r"`([^`]+)`", function):
            called, arguments = re.fullmatch(r"([\w.=]+)(?:\((.*)\))?", name).groups()
            for option in re.findall(r"(\w+)=", f"{arguments or ''},{called}"):
                assert option in options, (what, name)
            if "=" in called or called in options:
                continue
            for part in called.split("."):
                assert any(hasattr(home, part) for home in homes), (what, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_are_named_exist(page):
    text = page.read_text()
    files = set(re.findall(r"(?:tests/)?(test_\w+\.py)", text))
    assert files
    sources = {}
    for file in files:
        path = ROOT / "tests" / file
        assert path.exists(), file
        sources[file] = path.read_text()
    for file, name in re.findall(r"(test_\w+\.py)::(\w+)", text):
        assert f"def {name}(" in sources[file], (file, name)
    everything = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    for name in re.findall(r"`(?:\.\.\.)?(_?\w+)`", text):
        if name.startswith("test_"):
            assert f"def {name}(" in everything, name
    for ending in re.findall(r"`\.\.\.(\w+)`", text):
        assert re.search(rf"def test_\w*{ending}\(", everything), ending


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pictures_and_scripts_exist(page):
    text = page.read_text()
    for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
        assert (page.parent / name).stat().st_size < 100_000
    for name in re.findall(r"scripts/\w+\.py", text):
        assert (ROOT / name).exists()
