"""The examples of README.md and of the pages run as they stand; the commands in them are ones that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import matplotlib as mpl
import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/index.md", "docs/tutorial.md", "docs/howto.md", "docs/command_line.md"]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("page", PAGES[:-1])
def test_python_runs_when_pasted(page, tmp_path, monkeypatch):
    """A page's blocks one after the other, in an empty folder."""
    for needed in ("pandas", "narwhals"):
        pytest.importorskip(needed)
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    code = blocks(page, "python")
    assert code
    names = {}
    for block in code:
        exec(compile(block, page, "exec"), names)


def test_readme_says_what_its_example_finds(tmp_path, monkeypatch):
    names = {}
    exec(blocks("README.md", "python")[0], names)
    assert names["result"].success
    assert names["result"].x == pytest.approx([-1.0, 0.5], abs=0.1)
    shares = names["problem"].predict(names["result"].x, names["cheaper"], groups=names["groups"])
    assert shares.reshape(60, 5).sum(axis=1) == pytest.approx(1.0)


def commands(page):
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = (line.partition("  #")[0].strip() for line in text.splitlines())
    return [shlex.split(line) for line in lines if line.startswith("fastsoftres ")]


@pytest.mark.parametrize("page", ["README.md", "docs/command_line.md"])
def test_commands_and_their_options_exist(page):
    """Parsed as the program would, not run: the files in them are the reader's."""
    from fastsoftres.cli.app import fastsoftres

    found = commands(page)
    assert len(found) >= 3
    for _, name, *arguments in found:
        command = fastsoftres.get_command(None, name)
        assert command is not None, name
        command.make_context(name, arguments)


@pytest.mark.parametrize("page", ["reliability", "theory"])
def test_tests_that_pages_name_exist(page):
    """Files and, where they are named in full, functions."""
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    for name in set(re.findall(r"[\w/]*test_\w+\.py", text)):
        assert (ROOT / "tests" / name.removeprefix("tests/")).is_file(), name
    files = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for name in set(re.findall(r"`(test_\w+)`", text)):
        assert f"def {name}(" in files, name
    assert sum(line.startswith("|") and "test_" in line for line in text.splitlines()) >= 8
