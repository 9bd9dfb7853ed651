"""What the documentation shows works, and what it links to is there."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

from cupy_kst import methods
from tests.support.checkout import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize(
    "module",
    [
        *(f"cupy_kst.{name}" for name in ("costs", "explain", "functional", "methods", "prepared", "subkernels")),
        *(f"cupy_kst.testing.{name}" for name in ("arrays", "cases", "checking")),
    ],
)
def test_examples_of_docstrings(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_example_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    example = re.search(r"```python\n(import numpy.*?)```", PAGES[0].read_text(), re.DOTALL)
    assert example
    names: dict[str, object] = {}
    exec(example[1], names)
    assert names["y"].shape == (1, 128, 32, 32)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == list(methods("conv_transpose"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_every_environment_variable_is_in_the_readme() -> None:
    sources = [
        *(ROOT / "cupy_kst").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "experiments").rglob("*.py"),
    ]
    used = {name for path in sources for name in re.findall(r"\bCUPY_KST_[A-Z_]+", path.read_text())}
    assert used
    listed = set(re.findall(r"`(CUPY_KST_[A-Z_]+)`", PAGES[0].read_text()))
    assert listed == used
