"""The page of floors: arithmetic that is as the code is now, and promises nothing below what a device can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.bench.gpu import floors
from experiments.bench.gpu.count import array_bytes, useful_flops
from experiments.bench.gpu.parts import PARTS, RowSpec

from .running import Runner


def test_the_page_is_that_of_the_code(run: Runner) -> None:
    assert run("gpu_floors", "--check").code == 0


@pytest.mark.long
def test_a_page_that_is_not_is_found_and_rewritten(run: Runner, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("old")
    code, _, err = run("gpu_floors", "--page", page, "--check")
    assert (code, page.read_text()) == (1, "old")
    assert "is not what would be written: python -m experiments gpu_floors" in err
    assert run("gpu_floors", "--page", page).code == 0
    assert run("gpu_floors", "--page", page, "--check").code == 0


@pytest.mark.parametrize("spec", PARTS["core"].specs(), ids=lambda spec: spec.title)
def test_nothing_is_reckoned_to_be_faster_than_the_device(spec: RowSpec) -> None:
    form, seconds = floors.reckoned(spec)
    if seconds is None:
        assert form == "unified"
        return
    assert seconds >= floors.H200.floor(spec.kind.name, useful_flops(spec), array_bytes(spec))
