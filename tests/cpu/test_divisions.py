"""What plans divide, in several parts that are not all of one size: each compiled form, and nothing beyond its arrays.

Calls are made in a process of its own, which ends where an array's fence is touched: the test says in which call.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from .fences import begin, check_drawn, check_layers
from .jit_forms import met
from .jit_layers import FORMS

every_form = pytest.mark.parametrize("name", FORMS)


class _Process:
    """A process with fences, started again after it ended."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace
        self._pool: ProcessPoolExecutor | None = None

    def run(self, task: Callable[..., None], *args: Any, **options: Any) -> None:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, spawn, initializer=begin, initargs=(self._trace,))
        try:
            self._pool.submit(task, *args, **options).result()
        except BrokenProcessPool:
            self.end()
            pytest.fail(f"the process ended in {self._trace.read_text()}")

    def end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = None


@pytest.fixture(scope="module", name="process")
def _process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Process]:
    process = _Process(tmp_path_factory.mktemp("fences") / "trace")
    yield process
    process.end()


@every_form
def test_layers_are_divided_with_a_remainder_wherever_a_plan_divides(name: str) -> None:
    assert FORMS[name].divides <= met(FORMS[name])


@pytest.mark.long
@every_form
def test_divided_layers_equal_the_definition_and_touch_nothing_else(name: str, process: _Process) -> None:
    process.run(check_layers, name)


@every_form
def test_drawn_cases_equal_the_definition_and_touch_nothing_else(name: str, process: _Process) -> None:
    blocks = {"max_channels": 40, "max_elements": 2000} if name == "conv_weight, blocks" else {"max_elements": 1000}
    process.run(check_drawn, name, max_examples=30, **blocks)
