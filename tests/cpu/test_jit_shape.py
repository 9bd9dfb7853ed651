"""What the compiled engine keeps to: functions of few arguments, modules of one idea, and records that have a name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cupy_kst.cpu import jit
from cupy_kst.cpu.jit import gemm_col2im, im2col_gemm, implicit_gemm, isa, pack, weight_grad, winograd
from cupy_kst.cpu.jit.gemm_col2im import plan as col2im_plan
from cupy_kst.cpu.jit.im2col_gemm import plan as im2col_plan
from cupy_kst.cpu.jit.implicit_gemm import plan as implicit_gemm_plan
from cupy_kst.cpu.jit.pack import plan as pack_plan
from cupy_kst.cpu.jit.task import FUNCTION, HEADER, PENDING, Task, table_of, table_type
from cupy_kst.cpu.jit.weight_grad import plan as weight_grad_plan
from cupy_kst.cpu.jit.winograd import plan as winograd_plan

_HOME = Path(jit.__file__).parent
_FILES = {str(file.relative_to(_HOME)): file for file in sorted(_HOME.rglob("*.py"))}
_MOST_ARGUMENTS, _MOST_LINES = 12, 300
_TASKS: dict[str, Task] = {
    each.name: each
    for each in (
        *(implicit_gemm_plan.TASK, winograd_plan.TASK, im2col_plan.TASK, col2im_plan.TASK),
        *(weight_grad_plan.TASK, weight_grad_plan.FEW_TASK, pack_plan.PACK, pack_plan.COMBINE),
    )
}


def _functions(file: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            # What Numba and Python hand over beside the arguments.
            yield node.name, len([name for name in names if name not in ("self", "typingctx")])


@pytest.mark.parametrize("name", _FILES)
def test_functions_take_few_arguments_and_modules_have_few_lines(name: str) -> None:
    many = {function: count for function, count in _functions(_FILES[name]) if count > _MOST_ARGUMENTS}
    assert not many
    assert len(_FILES[name].read_text(encoding="utf-8").splitlines()) <= _MOST_LINES


def test_each_kernel_has_a_folder_with_its_plan() -> None:
    folders = implicit_gemm, im2col_gemm, gemm_col2im, winograd, weight_grad, pack
    for folder in folders:
        home = Path(str(folder.__file__)).parent
        assert (home / "plan.py").is_file() and (home / "kernel.py").is_file()
        assert folder.__doc__
    assert {each.name for each in _HOME.iterdir() if (each / "plan.py").is_file()} == {
        Path(str(folder.__file__)).parent.name for folder in folders
    }


def _values(task: Task) -> dict[str, Any]:
    """Return a value for each field: arrays of the types that compiled code reads, and numbers that differ."""
    arrays = {name: np.zeros(3, "f4" if kind is None else kind) for name, kind in task.arrays.items()}
    numbers = {name: number for number, name in enumerate(task.fields, 100)}
    return {**arrays, **numbers, **{name: np.ones(1, kind) for name, kind in task.parts.items()}}


@pytest.mark.parametrize("name", _TASKS)
def test_a_record_has_each_field_by_its_name(name: str) -> None:
    task, values = _TASKS[name], _values(_TASKS[name])
    words = task.record("f", 4711, values)
    found = words.view(task.dtype("f"))[0]
    assert words[FUNCTION] == found["function"] == 4711 and words[PENDING] == 0
    for field, value in values.items():
        expected = value.__array_interface__["data"][0] if field in task.arrays else value
        assert found[field] == expected, field
    assert [task.slot(field) for field in HEADER] == list(range(len(HEADER)))


@pytest.mark.parametrize("name", _TASKS)
def test_a_record_with_a_missing_or_an_unknown_field_is_refused(name: str) -> None:
    task, values = _TASKS[name], _values(_TASKS[name])
    for field in values:
        with pytest.raises(TypeError, match=f"^{name}: fields missing or unknown: \\['{field}'\\]$"):
            task.record("f", 0, {other: value for other, value in values.items() if other != field})
    with pytest.raises(TypeError, match=f"^{name}: fields missing or unknown: \\['grops'\\]$"):
        task.record("f", 0, values | {"grops": 1})


@pytest.mark.parametrize("name", _TASKS)
def test_an_array_of_another_type_is_refused(name: str) -> None:
    task, values = _TASKS[name], _values(_TASKS[name])
    for field in task.arrays:
        with pytest.raises(TypeError, match=r"^an array of complex64 where compiled code reads contiguous "):
            task.record("f", 0, values | {field: np.zeros(3, "c8")})


def test_a_table_has_a_column_for_each_name() -> None:
    kind = table_type("first", "second")
    found = table_of(kind, [1, 2], [3, 4])
    assert found["first"].tolist() == [1, 2] and found["second"].tolist() == [3, 4]
    with pytest.raises(AssertionError):
        table_of(kind, [1, 2])


def test_tiles_fit_the_registers() -> None:
    """Sums, the vectors of a step, and a broadcast number; with channels in lanes the inputs take their turns."""
    for registers, blocking in isa.BLOCKING.items():
        for mr, vectors in blocking.tiles:
            assert mr * vectors + vectors + 1 <= registers + 1
        for vectors, elements in enumerate(blocking.summed, 1):
            assert vectors * elements <= registers
