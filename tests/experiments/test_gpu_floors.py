"""The page of floors: arithmetic that is as the code is now, and promises nothing below what a device can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import gpu_floors
from experiments.gpu_arrays import array_bytes
from experiments.gpu_parts import PARTS, Task
from experiments.gpu_row import useful_flops

from .running import Runner


def test_the_page_is_that_of_the_code(run: Runner) -> None:
    assert run("gpu_floors", "--check").code == 0


def test_a_page_that_is_not_is_found_and_rewritten(run: Runner, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("old")
    code, _, err = run("gpu_floors", "--page", page, "--check")
    assert (code, page.read_text()) == (1, "old")
    assert "is not what would be written: python -m experiments gpu_floors" in err
    assert run("gpu_floors", "--page", page).code == 0
    assert run("gpu_floors", "--page", page, "--check").code == 0


@pytest.mark.parametrize("task", PARTS["core"].tasks(), ids=lambda task: task.title)
def test_nothing_is_reckoned_to_be_faster_than_the_device(task: Task) -> None:
    form, seconds = gpu_floors.reckoned(task)
    if seconds is None:
        assert form == "unified"
        return
    assert seconds >= gpu_floors.H200.floor(task.kind.name, useful_flops(task), array_bytes(task))
