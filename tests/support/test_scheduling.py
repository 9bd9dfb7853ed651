"""Tests that share what a module makes run in one process; tests of kernels run wherever there is room."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("xdist")

from tests.conftest import pytest_xdist_make_scheduler

from .checkout import ROOT
from .scheduling import DIVIDED, WITHOUT_NUMBA, Scheduling


def _config(dist: str) -> Any:
    return SimpleNamespace(getoption=lambda _: dist, getvalue=lambda _: ["2*popen"])


def _files() -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}


class _Node:
    def send_runtest_some(self, indices: Any) -> None:
        pass


def test_files_are_whole_or_divided() -> None:
    scheduling = pytest_xdist_make_scheduler(_config("load"), None)
    assert isinstance(scheduling, Scheduling)
    for whole, test in (("tests/api/test_out.py", "test_a[x::y]"), ("tests/ptx/test_nvrtc.py", "test_a[x, y]")):
        divided = whole in DIVIDED
        assert scheduling._split_scope(f"{whole}::{test}") == (f"{whole}::{test}" if divided else whole)
    assert _files() > DIVIDED


def test_one_worker_begins_with_what_is_compiled() -> None:
    scheduling = pytest_xdist_make_scheduler(_config("load"), None)
    first, second = nodes = [_Node(), _Node()]
    names = ("api/test_geometry", "cpu/test_jit", "gpu/test_source", "cpu/test_winograd")
    files = [f"tests/{name}.py" for name in names]
    for node in nodes:
        scheduling.assigned_work[node] = {}
        scheduling.registered_collections[node] = files
    scheduling.workqueue.update({file: {file: False} for file in files})
    for node in (first, second, first, second):
        scheduling._assign_work_unit(node)
    assert list(scheduling.assigned_work[first]) == [files[1], files[3]]
    assert list(scheduling.assigned_work[second]) == [files[0], files[2]]
    assert _files() > WITHOUT_NUMBA


def test_another_way_may_be_asked_for() -> None:
    assert pytest_xdist_make_scheduler(_config("worksteal"), None) is None
