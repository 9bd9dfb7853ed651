"""Tests that share what a module makes run in one process; tests of kernels run wherever there is room."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("xdist")

from .conftest import pytest_xdist_make_scheduler
from .scheduling import DIVIDED, Scheduling


def _config(dist: str) -> Any:
    return SimpleNamespace(getoption=lambda _: dist, getvalue=lambda _: ["2*popen"])


def test_files_are_whole_or_divided() -> None:
    scheduling = pytest_xdist_make_scheduler(_config("load"), None)
    assert isinstance(scheduling, Scheduling)
    for whole, test in (("tests/test_experiments.py", "test_a[x::y]"), ("tests/test_nvrtc.py", "test_a[x, y]")):
        divided = Path(whole).stem in DIVIDED
        assert scheduling._split_scope(f"{whole}::{test}") == (f"{whole}::{test}" if divided else whole)
    assert {path.stem for path in Path(__file__).parent.glob("test_*.py")} > DIVIDED


def test_another_way_may_be_asked_for() -> None:
    assert pytest_xdist_make_scheduler(_config("worksteal"), None) is None
